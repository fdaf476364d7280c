"""Crops of other outlines than boxes: which pixels of the box lie in the shapes that were drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.errors import RegionError
from napari_lazyload.layers.crop.geometry import chosen_shapes, rectangle_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.cropping.target import LayerTarget

_FLAT = 1e-6
"""Pixels that a shape may reach along an axis and still lie in a plane."""

_AROUND = 180
"""Corners of the polygon that stands for an ellipse."""


@dataclass(frozen=True, slots=True)
class Mask:
    """What was drawn in a plane of a layer: pixels with the center in none of the polygons are out.

    Parameters
    ----------
    axes : tuple of int
        The two axes of the layer that the polygons lie along.
    polygons : tuple of sequence of (float, float)
        Their corners along those axes, in level-0 pixels.
    """

    axes: tuple[int, int]
    polygons: tuple[tuple[tuple[float, float], ...], ...]

    def shapes(self, box: Box) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shape of a box in the plane, and with one pixel along all other axes."""
        whole = box_shape(box)
        broad = [1] * len(whole)
        for axis in self.axes:
            broad[axis] = whole[axis]
        return (whole[self.axes[0]], whole[self.axes[1]]), tuple(broad)


def shapes_mask(viewer: Any, shapes: Any, layer: Any) -> Mask:
    """Return the mask of the selected shapes, else of the last one, in a layer.

    Raises
    ------
    RegionError
        If there is no shape, or the shapes do not lie in one plane of the layer.
    """
    points = [
        rectangle_points(viewer, shapes, layer, _outline(vertices, kind))
        for vertices, kind in chosen_shapes(shapes)
    ]
    axes = np.flatnonzero(np.ptp(np.concatenate(points), axis=0) > _FLAT).tolist()
    if len(axes) != 2:
        msg = (
            f"what is drawn in {shapes.name!r} lies in no plane of {layer.name!r}: "
            "take its box, without the mask"
        )
        raise RegionError(msg)
    polygons = [tuple(map(tuple, corners[:, axes].tolist())) for corners in points]
    return Mask((axes[0], axes[1]), tuple(polygons))


def _outline(vertices: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Return the corners of the polygon that a shape is, or nearly is."""
    if kind != "ellipse":
        return vertices
    center = vertices.mean(axis=0)
    across, along = (vertices[1] - vertices[0]) / 2, (vertices[3] - vertices[0]) / 2
    turns = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)[:, None]
    outline: NDArray[np.float64] = center + np.cos(turns) * across + np.sin(turns) * along
    return outline


def corners_in_level(
    mask: Mask, target: LayerTarget, level: int, box: Box
) -> list[NDArray[np.float64]]:
    """Return the corners of each polygon in pixels of a crop, its first pixel being 0.

    Parameters
    ----------
    mask : Mask
        What was drawn.
    target : LayerTarget
        The layer that it was drawn on.
    level : int
        Which level was cropped.
    box : tuple of (int, int)
        Which pixels of the level, for each axis of the data.
    """
    axes = list(mask.axes)
    factors = np.asarray(target.level_factors(level))[axes]
    first = target.first_center(level)[axes]
    starts = np.array(box)[axes, 0]
    return [(np.asarray(polygon) - first) / factors - starts for polygon in mask.polygons]


def inside(mask: Mask, target: LayerTarget, level: int, box: Box) -> NDArray[np.bool_]:
    """Return which pixels of a crop belong to it: an array with one pixel along all axes but two.

    Parameters
    ----------
    mask, target, level, box
        As :func:`corners_in_level` takes them.
    """
    from skimage.measure import grid_points_in_poly

    shape, broad = mask.shapes(box)
    found = np.zeros(shape, bool)
    for corners in corners_in_level(mask, target, level, box):
        found |= grid_points_in_poly(shape, corners)  # type: ignore[no-untyped-call] # no types
    return found.reshape(broad)
