"""Crops in a viewer: which pixels a rectangle or the view covers, and where a crop of them lies.

Coordinates, from the inside out. *Data* coordinates of a layer count level-0 pixels, whole numbers
being pixel centers: pixel ``i`` covers ``i - 0.5`` to ``i + 0.5``. The layer's transform takes them
to the layer's own world, in the layer's units, and the viewer's common units to the viewer's
*world*. Layers of fewer dimensions have the last axes of the world.

A *range* is a half-open ``(start, stop)`` pair of level-0 pixels. A region takes every pixel whose
area it meets, so that nothing that was outlined is cut off; an edge that runs along the border of
two pixels takes only the one inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.region import EDGE_TOLERANCE, pixel_range
from napari_lazyload.cropping.target import layer_transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_lazyload.cropping.target import LayerTarget

    Range = tuple[int, int]
    Matrix = NDArray[np.float64]


def displayed_axes(viewer: Any, layer: Any) -> tuple[int, ...]:
    """Return the axes of a layer that the canvas shows, rows first."""
    missing = viewer.dims.ndim - layer.ndim
    return tuple(axis - missing for axis in viewer.dims.displayed if axis >= missing)


def shown_ranges(viewer: Any, layer: Any) -> dict[int, Range]:
    """Return the pixel at which the sliders stand, for each axis of a layer that is not displayed.

    It is the one that napari shows; it may lie outside the layer.
    """
    shown = displayed_axes(viewer, layer)
    axes = sorted(set(range(layer.ndim)).difference(shown))
    if not axes:
        return {}
    to_data = np.linalg.inv(to_world(layer, viewer))
    point = np.asarray(viewer.dims.point, float)[viewer.dims.ndim - layer.ndim :]
    # napari leaves out what a tilted layer's displayed axes add to the position of its slices.
    position = (
        np.round(to_data[np.ix_(axes, axes)] @ point[axes] + to_data[axes, -1]).astype(int).tolist()
    )
    return {axis: (at, at + 1) for axis, at in zip(axes, position, strict=True)}


def rectangle_ranges(viewer: Any, shapes: Any, layer: Any) -> dict[int, Range]:
    """Return the pixels of a layer that a shape covers: its bounding box along the layer's axes.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose sliders stand for the axes that the shape lacks.
    shapes : napari.layers.Shapes
        The selected shapes count, else the last one.
    layer : napari layer
        What is to be cropped; both may have any transform, units and number of dimensions.

    Returns
    -------
    dict of int to (int, int)
        A range for each axis of `layer` that the shape has an extent along, not clipped.

    Raises
    ------
    RegionError
        If there is no shape.
    """
    vertices, _ = zip(*chosen_shapes(shapes), strict=True)
    return _covered(viewer, layer, _apply(to_world(shapes, viewer), np.concatenate(vertices)))


def chosen_shapes(shapes: Any) -> list[tuple[NDArray[np.float64], str]]:
    """Return the vertices and the types of the selected shapes, else of the last one.

    Raises
    ------
    RegionError
        If there is no shape.
    """
    if not len(shapes.data):
        raise RegionError(f"{shapes.name!r} holds no rectangle yet: drag one over the image")
    chosen = sorted(shapes.selected_data) or [len(shapes.data) - 1]
    return [
        (np.asarray(shapes.data[index], float), str(shapes.shape_type[index])) for index in chosen
    ]


def rectangle_points(
    viewer: Any, shapes: Any, layer: Any, vertices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return vertices of a Shapes layer in level-0 pixels of another layer."""
    return _to_data(viewer, layer, _apply(to_world(shapes, viewer), vertices))


def is_upright(viewer: Any, shapes: Any, layer: Any, ranges: dict[int, Range]) -> bool:
    """Whether what is drawn is a rectangle along the axes of a layer, to one pixel.

    Parameters
    ----------
    viewer, shapes, layer
        As :func:`rectangle_ranges` takes them.
    ranges : dict of int to (int, int)
        What that returned.
    """
    edges = np.array(list(ranges.values())) - 0.5
    for vertices, kind in chosen_shapes(shapes):
        points = rectangle_points(viewer, shapes, layer, vertices)[:, list(ranges)]
        distances = abs(points[:, :, None] - edges).min(axis=-1)
        if kind != "rectangle" or (distances > 1).any():
            return False
    return True


def ranges_elsewhere(
    viewer: Any, layer: Any, region: tuple[slice, ...], other: Any
) -> dict[int, Range]:
    """Return the pixels of another layer that a region covers, for each axis that it extends along.

    Parameters
    ----------
    viewer : napari.Viewer
        Where both lie.
    layer : napari layer
        Whose region it is.
    region : tuple of slice
        As :func:`clipped` gives it.
    other : napari layer
        May lie elsewhere and have other pixels, another rotation and other axes.
    """
    edges = [(part.start - 0.5, part.stop - 0.5) for part in region]
    corners = np.array(np.meshgrid(*edges)).reshape(len(edges), -1).T
    return _covered(viewer, other, _apply(to_world(layer, viewer), corners))


def view_ranges(viewer: Any, layer: Any) -> dict[int, Range]:
    """Return the pixels of a layer that the canvas shows in 2-D.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose camera and canvas.
    layer : napari layer
        What is to be cropped.

    Returns
    -------
    dict of int to (int, int)
        A range for each displayed axis of `layer`, not clipped.

    Raises
    ------
    RegionError
        In 3-D, where the canvas shows no box.
    """
    if viewer.dims.ndisplay != 2:
        raise RegionError(
            "the current view is a region in 2-D alone: switch to 2-D, or take another region"
        )
    camera = viewer.scene.camera
    half = np.asarray(viewer.canvas.viewbox_size(viewer.layers), float) / camera.zoom / 2
    corners = np.tile(np.asarray(viewer.dims.point, float), (4, 1))
    signs = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])
    corners[:, list(viewer.dims.displayed)] = np.asarray(camera.center[-2:]) + signs * half
    return _covered(viewer, layer, corners)


def clipped(ranges: Sequence[Range], target: LayerTarget) -> tuple[slice, ...]:
    """Return ranges within the layer, as a region that :func:`napari_lazyload.crop` takes.

    Parameters
    ----------
    ranges : sequence of (int, int)
        For each axis of the layer.
    target : LayerTarget
        What is to be cropped.

    Raises
    ------
    RegionError
        If nothing is left.
    """
    region = []
    for (start, stop), size, name in zip(ranges, target.sizes, target.slider_names, strict=True):
        if stop <= start:
            raise RegionError(
                f"the region is empty: along {name}, {start} to {stop} holds no pixel"
            )
        if stop <= 0 or start >= size:
            raise RegionError(
                f"the region lies outside {target.layer.name!r}: "
                f"along {name} it is {start} to {stop}, the image 0 to {size}"
            )
        region.append(slice(max(0, start), min(size, stop)))
    return tuple(region)


def axis_scales(layer: Any) -> list[tuple[float, float, str]]:
    """Return offset, pixel size and unit of each axis, which turn level-0 pixels into world units.

    Where the layer is rotated or sheared, the distance along its own axis from the center of its
    first pixel.
    """
    matrix = layer_transform(layer)
    upright = np.array_equal(matrix[:-1, :-1], np.diag(np.diag(matrix[:-1, :-1])))
    sizes = np.diag(matrix)[:-1] if upright else np.linalg.norm(matrix[:-1, :-1], axis=0)
    offsets = matrix[:-1, -1] if upright else np.zeros(layer.ndim)
    return [
        (float(offset), float(size), f"{unit:~}")
        for offset, size, unit in zip(offsets, sizes, layer.units, strict=True)
    ]


def to_world(layer: Any, viewer: Any) -> Matrix:
    """Return the homogeneous matrix from data to the last axes of the viewer's world."""
    matrix = layer_transform(layer)
    matrix[:-1] *= _unit_factors(layer.units, viewer.layers.units)[:, None]
    return matrix


def _unit_factors(own: Sequence[Any], common: Sequence[Any] | None) -> NDArray[np.float64]:
    """Return how many of the viewer's units one of the layer's is, for each axis of the layer."""
    if common is None or len(common) < len(own):
        return np.ones(len(own))
    pairs = zip(own, common[-len(own) :], strict=True)
    # Most units are equal, and pint is slow.
    factors = [unit == other or (1 * unit).to(other).magnitude for unit, other in pairs]
    return np.array(factors, float)


def _apply(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:-1, :-1].T + matrix[:-1, -1]


def _covered(viewer: Any, layer: Any, world: NDArray[np.float64]) -> dict[int, Range]:
    """Return the pixels of a layer that the box around points meets, where it has an extent."""
    points = _to_data(viewer, layer, world)
    axes = np.flatnonzero(np.ptp(points, axis=0) > EDGE_TOLERANCE).tolist()
    if len(axes) < 2:  # a dot or an upright line: still a box in the plane that is seen
        axes = sorted({*axes, *displayed_axes(viewer, layer)})
    low, high = np.min(points, axis=0).tolist(), np.max(points, axis=0).tolist()
    return {axis: pixel_range(low[axis], high[axis]) for axis in axes}


def _to_data(viewer: Any, layer: Any, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points of the world in level-0 pixels of a layer; sliders stand for missing axes.

    Raises
    ------
    RegionError
        If a point is nowhere, or the layer's transform has no inverse.
    """
    missing = layer.ndim - world.shape[1]
    if missing > 0:
        point = np.asarray(viewer.dims.point, float)[-layer.ndim :][:missing]
        world = np.hstack([np.tile(point, (len(world), 1)), world])
    try:
        inverse = np.asarray(np.linalg.inv(to_world(layer, viewer)), np.float64)
    except np.linalg.LinAlgError as err:
        raise RegionError(
            f"{layer.name!r} is squeezed flat by its transform, so that no region of it is found; "
            "give it a scale other than 0"
        ) from err
    with np.errstate(over="ignore", invalid="ignore"):
        points = _apply(inverse, world[:, -layer.ndim :])
    if not np.isfinite(points).all():
        raise RegionError(
            f"the region has no place in {layer.name!r}: "
            "a corner of it is not a number, or infinitely far away"
        )
    return points
