"""Crops in a viewer: which pixels a rectangle or the view covers, and where a crop of them lies.

Coordinates, from the inside out. *Data* coordinates of a layer count level-0 pixels, whole numbers
being pixel centres: pixel ``i`` covers ``i - 0.5`` to ``i + 0.5``. The layer's transform takes them
to the layer's own world, in the layer's units, and the viewer's common units to the viewer's
*world*. Layers of fewer dimensions have the last axes of the world.

A *range* is a half-open ``(start, stop)`` pair of level-0 pixels. A region takes every pixel whose
area it meets, so that nothing that was outlined is cut off; an edge that runs along the border of
two pixels takes only the one inside.
"""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.errors import RegionError
from napari_lazyload.cropping.target import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.core.metadata import LevelMeta

    Range = tuple[int, int]
    Matrix = NDArray[np.float64]

_TOLERANCE = 1e-6
"""Pixels by which an edge may miss the border between two pixels and still be taken to lie on
it."""


def axis_names(layer: Any) -> tuple[str, ...]:
    """Return the names of a layer's axes, without the colour axis."""
    return Target(layer).meta.axes[: layer.ndim]


def axis_sizes(layer: Any) -> tuple[int, ...]:
    """Return the level-0 pixels of a layer along its axes, without the colour axis."""
    return (
        tuple(map(int, layer.level_shapes[0][: layer.ndim]))
        if layer.multiscale
        else layer.data.shape[: layer.ndim]
    )


def displayed_axes(viewer: Any, layer: Any) -> tuple[int, ...]:
    """Return the axes of a layer that the canvas shows, rows first."""
    missing = viewer.dims.ndim - layer.ndim
    return tuple(axis - missing for axis in viewer.dims.displayed if axis >= missing)


def shown_ranges(viewer: Any, layer: Any) -> dict[int, Range]:
    """Return the pixel at which the sliders stand, for each axis of a layer that is not displayed.

    It is the one that napari shows; it may lie outside the layer.
    """
    shown = displayed_axes(viewer, layer)
    axes = [axis for axis in range(layer.ndim) if axis not in shown]
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
    corners = np.concatenate([corners for corners, _ in chosen_shapes(shapes)])
    return _covered(viewer, layer, _apply(to_world(shapes, viewer), corners))


def chosen_shapes(shapes: Any) -> list[tuple[NDArray[np.float64], str]]:
    """Return the vertices and the types of the selected shapes, else of the last one.

    Raises
    ------
    RegionError
        If there is no shape.
    """
    if not len(shapes.data):
        msg = f"{shapes.name!r} holds no rectangle yet: drag one over the image"
        raise RegionError(msg)
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
    """Return whether what is drawn is a rectangle along the axes of a layer, up to the pixels that it cuts through.

    Parameters
    ----------
    viewer, shapes, layer
        As :func:`rectangle_ranges` takes them.
    ranges : dict of int to (int, int)
        What that returned.
    """
    for vertices, kind in chosen_shapes(shapes):
        points = rectangle_points(viewer, shapes, layer, vertices)
        for axis, (start, stop) in ranges.items():
            beside = np.minimum(
                abs(points[:, axis] - (start - 0.5)), abs(points[:, axis] - (stop - 0.5))
            )
            if kind != "rectangle" or (beside > 1).any():
                return False
    return True


def ranges_elsewhere(
    viewer: Any, layer: Any, region: tuple[slice, ...], other: Any
) -> dict[int, Range]:
    """Return the pixels of another layer that the region of a layer covers, for each axis that it has an extent along.

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
        msg = "the current view is a region in 2-D alone: switch to 2-D, or take another region"
        raise RegionError(msg)
    camera = viewer.scene.camera
    half = np.asarray(viewer.canvas.viewbox_size(viewer.layers), float) / camera.zoom / 2
    corners = np.tile(np.asarray(viewer.dims.point, float), (4, 1))
    signs = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])
    corners[:, list(viewer.dims.displayed)] = np.asarray(camera.center[-2:]) + signs * half
    return _covered(viewer, layer, corners)


def clipped(ranges: Sequence[Range], layer: Any) -> tuple[slice, ...]:
    """Return ranges within the layer, as a region that :func:`napari_lazyload.crop` takes.

    Parameters
    ----------
    ranges : sequence of (int, int)
        For each axis of the layer.
    layer : napari layer
        What is to be cropped.

    Raises
    ------
    RegionError
        If nothing is left.
    """
    region = []
    for (start, stop), size, name in zip(ranges, axis_sizes(layer), axis_names(layer), strict=True):
        if stop <= start:
            msg = f"the region is empty: along {name}, {start} to {stop} holds no pixel"
            raise RegionError(msg)
        if stop <= 0 or start >= size:
            msg = f"the region lies outside {layer.name!r}: along {name} it is {start} to {stop}, the image 0 to {size}"
            raise RegionError(msg)
        region.append(slice(max(0, start), min(size, stop)))
    return tuple(region)


def level_factors(layer: Any, level: int) -> tuple[float, ...]:
    """Return how many level-0 pixels a pixel of a level spans along each axis of a layer, without the colour axis.

    What the source says counts; the ratio of the shapes where the data is not ours, as napari has
    it.
    """
    arrays = list(layer.data) if layer.multiscale else [layer.data]
    factors = np.divide(arrays[0].shape, arrays[level].shape)
    if all(isinstance(array, LazyArray) and array.source is not None for array in arrays):
        finest, own = (_kept(array, _level(array).factors) for array in (arrays[0], arrays[level]))
        factors = own / finest
    return tuple(factors[: layer.ndim].tolist())


def _level(array: LazyArray) -> LevelMeta:
    return array.source.meta.levels[array.level]  # type: ignore[union-attr] # asked for arrays that have a source


def _kept(array: LazyArray, values: Sequence[float]) -> NDArray[np.float64]:
    """Return those of the values along the axes of a level that belong to the axes of its array."""
    return np.asarray(values)[list(array.kept_axes)]


def first_center(layer: Any, level: int) -> NDArray[np.float64]:
    """Return where the centre of the first pixel of a level lies, in level-0 pixels."""
    arrays = list(layer.data) if layer.multiscale else [layer.data]
    if all(isinstance(array, LazyArray) and array.source is not None for array in arrays):
        finest, own = (
            _kept(array, _level(array).first_center) for array in (arrays[0], arrays[level])
        )
        first: NDArray[np.float64] = (own - finest) / _kept(arrays[0], _level(arrays[0]).factors)
        return first[: layer.ndim]
    return (np.asarray(level_factors(layer, level)) - 1) / 2


def placement(layer: Any, level: int, start: Sequence[int]) -> dict[str, Any]:
    """Return the transform with which a crop lies over its layer.

    A level-0 crop lies pixel upon pixel. A pixel ``j`` of a coarser level covers ``f`` level-0
    pixels from ``j * f`` on, so that its centre lies at ``j * f + (f - 1) / 2``: there napari draws
    it, too. A level of ours that lies elsewhere says so itself, and its crop goes there.

    Parameters
    ----------
    layer : napari layer
        What was cropped.
    level : int
        Which level.
    start : sequence of int
        First pixel of the crop along each axis, in pixels of the level.

    Returns
    -------
    dict
        ``scale`` and ``translate``; with the layer's own ``rotate``, ``shear`` and ``affine`` they
        place the crop.
    """
    factors = np.asarray(level_factors(layer, level))
    first = np.asarray(start[: layer.ndim]) * factors + first_center(layer, level)
    return {
        "scale": np.asarray(layer.scale) * factors,
        "translate": np.asarray(layer.translate) + _linear(layer) @ first,
    }


def level_box(layer: Any, region: tuple[slice, ...], level: int) -> Box:
    """Return the pixels of a level that a region covers, along all axes of the data."""
    return Target(layer).box(region, level)


def axis_scales(layer: Any) -> list[tuple[float, float, str]]:
    """Return what turns level-0 pixels of each axis of a layer into world units: offset, size of a pixel, unit.

    Where the layer is rotated or sheared, the distance along its own axis from the centre of its
    first pixel.
    """
    matrix = own_world(layer)
    upright = np.array_equal(matrix[:-1, :-1], np.diag(np.diag(matrix[:-1, :-1])))
    sizes = np.diag(matrix)[:-1] if upright else np.linalg.norm(matrix[:-1, :-1], axis=0)
    offsets = matrix[:-1, -1] if upright else np.zeros(layer.ndim)
    return [
        (float(offset), float(size), f"{unit:~}")
        for offset, size, unit in zip(offsets, sizes, layer.units, strict=True)
    ]


def _linear(layer: Any) -> Matrix:
    """Return the matrix from data to the layer's world without its ``affine``: rotate after shear after scale."""
    shear = np.asarray(layer.shear, float)
    if shear.ndim == 1:  # the upper triangle, row by row
        values, shear = shear, np.eye(layer.ndim)
        shear[np.triu_indices(layer.ndim, k=1)] = values
    linear: Matrix = (
        np.asarray(layer.rotate, float) @ shear @ np.diag(np.asarray(layer.scale, float))
    )
    return linear


def own_world(layer: Any) -> Matrix:
    """Return the homogeneous matrix from data to the layer's own world."""
    inner = np.eye(layer.ndim + 1)
    inner[:-1, :-1] = _linear(layer)
    inner[:-1, -1] = layer.translate
    matrix: Matrix = np.asarray(layer.affine.affine_matrix, float) @ inner
    return matrix


def to_world(layer: Any, viewer: Any) -> Matrix:
    """Return the homogeneous matrix from data to the last axes of the viewer's world."""
    matrix = own_world(layer)
    matrix[:-1] *= _unit_factors(layer.units, viewer.layers.units)[:, None]
    return matrix


def _unit_factors(own: Sequence[Any], common: Sequence[Any] | None) -> NDArray[np.float64]:
    """Return how many of the viewer's units one of the layer's is, for each axis of the layer."""
    if common is None or len(common) < len(own):
        return np.ones(len(own))
    pairs = zip(own, common[-len(own) :], strict=True)
    return np.array(
        [1.0 if unit == other else (1 * unit).to(other).magnitude for unit, other in pairs]
    )


def _apply(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:-1, :-1].T + matrix[:-1, -1]


def _covered(viewer: Any, layer: Any, world: NDArray[np.float64]) -> dict[int, Range]:
    """Return the pixels of a layer that the box around some points of the world meets, where it has an extent."""
    points = _to_data(viewer, layer, world)
    axes = [axis for axis in range(layer.ndim) if np.ptp(points[:, axis]) > _TOLERANCE]
    if len(axes) < 2:  # a dot or an upright line: still a box in the plane that is seen
        axes = sorted({*axes, *displayed_axes(viewer, layer)})
    low, high = np.min(points, axis=0).tolist(), np.max(points, axis=0).tolist()
    return {axis: _met(low[axis], high[axis]) for axis in axes}


def _to_data(viewer: Any, layer: Any, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points of the world in level-0 pixels of a layer; the sliders stand for axes that the points lack.

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
        msg = f"{layer.name!r} is squeezed flat by its transform, so that no region of it can be found"
        raise RegionError(msg) from err
    with np.errstate(over="ignore", invalid="ignore"):
        points = _apply(inverse, world[:, -layer.ndim :])
    if not np.isfinite(points).all():
        msg = f"the region has no place in {layer.name!r}: a corner of it is not a number, or infinitely far away"
        raise RegionError(msg)
    return points


def _met(low: float, high: float) -> Range:
    """Return the pixels whose area the interval meets, at least one."""
    start = floor(low + 0.5 + _TOLERANCE)
    return start, max(start + 1, ceil(high + 0.5 - _TOLERANCE))
