"""An image, a layer or an array, as levels with named axes and a place in the world."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.image import Image
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.affine import linear, matrix_from
from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.core.region import level_box, region_box

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import Box

    Array = np.ndarray[Any, Any]


class Target:
    """Anything that can be cropped, as levels of arrays with named axes.

    Parameters
    ----------
    image : Image, napari layer, or array
        A layer may be single- or multiscale; an array NumPy, dask, zarr or any that slices and has
        shape and dtype.

    Attributes
    ----------
    arrays : list
        The levels, finest first.
    meta : ImageMeta
        Axes, shapes and chunk grids of those arrays.
    """

    def __init__(self, image: Any) -> None:
        if isinstance(image, Image):
            self.arrays: list[Any] = list(image.boxes)
            axes = image.axes
        elif is_layer(image):
            self.arrays = list(image.data) if image.multiscale else [image.data]
            axes = _layer_axes(image, self.arrays[0].ndim)
        else:
            array = as_array(image)
            self.arrays, axes = (
                [array],
                tuple(f"axis {number}" for number in range(len(array.shape))),
            )
        levels = tuple(level_meta(array, self.arrays[0]) for array in self.arrays)
        self.meta = ImageMeta("", axes, np.dtype(self.arrays[0].dtype), levels)

    def box(self, region: Any, level: int) -> Box:
        """Return the pixels of a level that a region in level-0 pixels covers."""
        if not -len(self.arrays) <= level < len(self.arrays):
            msg = f"level must be 0 to {len(self.arrays) - 1}, got {level}"
            raise RegionError(msg)
        return level_box(
            region_box(region, self.meta.axes, self.meta.shape), self.meta.levels[level]
        )


def as_array(image: Any) -> Any:
    """Return an array as it is, and whatever NumPy can make one of as such."""
    if hasattr(image, "shape") and hasattr(image, "dtype"):
        return image
    found = None if hasattr(image, "as_layer_data_tuple") else np.asarray(image)
    if found is None or found.dtype.kind not in "biufc":
        msg = f"expected an image of a dataset, an Image or Labels layer, or an array of numbers, got {image!r:.80}"
        raise TypeError(msg)
    return found


def is_layer(image: Any) -> bool:
    """Whether something is an Image or Labels layer of napari."""
    if hasattr(image, "as_layer_data_tuple") and not hasattr(image, "level_shapes"):
        return False  # points, shapes and the like
    return hasattr(image, "multiscale") and hasattr(image, "axis_labels") and hasattr(image, "data")


def _layer_axes(layer: Any, ndim: int) -> tuple[str, ...]:
    link = layer.metadata.get(METADATA_KEY)
    if link is not None and len(link.axes) + link.image.rgb == ndim:
        return (*link.axes, RGB_AXIS)[:ndim]
    labels = tuple(layer.axis_labels)
    return (*labels, RGB_AXIS)[:ndim] if len(labels) < ndim else labels


def level_meta(array: Any, finest: Any) -> LevelMeta:
    """Return the shape, chunk grid and factors of one of the levels."""
    own, base = own_level(array), own_level(finest)
    if own is not None and base is not None:
        return replace(
            own, factors=tuple(a / b for a, b in zip(own.factors, base.factors, strict=True))
        )
    shape = tuple(array.shape)
    chunks = getattr(array, "chunks", None)
    if not isinstance(chunks, tuple) or len(chunks) != len(shape):
        chunks = shape
    chunks = tuple(size or 1 if isinstance(size, int) else tuple(size) for size in chunks)
    grid = ChunkGrid(shape, chunks)
    return LevelMeta(
        grid,
        tuple(full / size if size else 1.0 for full, size in zip(finest.shape, shape, strict=True)),
    )


def own_level(array: Any) -> LevelMeta | None:
    """Return what the source says of a whole level: its factors, and a grid that does not list a million chunks."""
    if not isinstance(array, LazyArray) or array.source is None:
        return None
    level, kept = array.source.meta.levels[array.level], array.kept_axes
    if array.shape != tuple(level.shape[axis] for axis in kept):
        return None
    grid = ChunkGrid(array.shape, tuple(level.grid.chunks[axis] for axis in kept))
    return LevelMeta(grid, tuple(level.factors[axis] for axis in kept))


def first_center(target: Target, level: int) -> Array:
    """Return where the centre of the first pixel of a level lies, in pixels of the finest one."""
    if level == 0:
        return np.zeros(len(target.meta.axes))
    own, base = (level_of(target.arrays[number]) for number in (level, 0))
    if own is None or base is None:
        return (np.asarray(target.meta.levels[level].factors) - 1) / 2
    center: Array = (own[0] - base[0]) / base[1]
    return center


def level_of(array: Any) -> tuple[Array, Array] | None:
    """Return where a level of ours begins, and its factors; for the axes that its array has."""
    if not isinstance(array, LazyArray) or array.source is None:
        return None
    level, kept = array.source.meta.levels[array.level], list(array.kept_axes)
    return np.asarray(level.first_center)[kept], np.asarray(level.factors)[kept]


def world_transform(image: Any, count: int) -> Array:
    """Return the matrix from level-0 pixels to the world."""
    if isinstance(image, Image):
        return matrix_from(image.scale, image.translate, image.affine.tolist())
    if not is_layer(image):
        return np.eye(count + 1)
    shear = np.asarray(image.shear, float)
    if shear.ndim == 1:  # the upper triangle, row by row
        values, shear = shear, np.eye(count)
        shear[np.triu_indices(count, k=1)] = values
    inner = linear(np.asarray(image.rotate, float) @ shear @ np.diag(image.scale), image.translate)
    whole: Array = np.asarray(image.affine.affine_matrix, float) @ inner
    return whole


def units_of(image: Any, count: int) -> tuple[str | None, ...]:
    """Return the units of an image or a layer, one for each axis."""
    if isinstance(image, Image):
        return image.units
    return tuple(map(str, image.units)) if is_layer(image) else (None,) * count
