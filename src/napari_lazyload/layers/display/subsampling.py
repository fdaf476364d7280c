"""The strides of a view: every k-th frame or pixel where the whole would not fit the budget."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.coarse_levels import plane_axes
from napari_lazyload.loading import plan

if TYPE_CHECKING:
    from napari_lazyload.arrays.lazy_array import LazyArray
    from napari_lazyload.core.metadata import ImageMeta
    from napari_lazyload.core.source import Source

FIRST_CHUNKS = 8
"""Chunks along the axis that has the most, in the first impression of a volume without a
pyramid."""

MAX_SIDE = 2048
"""Longest side of a sampled view: what common graphics cards take as one 3-D texture."""


def strides_for(
    source: Source, view: LazyArray, budget: int, *, texture: bool = False
) -> tuple[int, ...] | None:
    """Return the stride of the shown pixels along each axis of the level, or None where all fit.

    Chunks along axes that count files or planes are skipped first, for they cost a read each; then
    pixels within chunks, so that the result stays within half the budget.

    Parameters
    ----------
    source : Source
        Where the pixels come from.
    view : LazyArray
        What napari asks for, before it is read.
    budget : int
        Bytes that a view may read.
    texture : bool
        Whether it must fit a 3-D texture, too.
    """
    meta = source.meta.levels[view.level]
    grid = meta.grid
    itemsize = view.dtype.itemsize
    # A plane of a computed level must be decoded to be seen, a volume of it may show fewer planes.
    pixels = grid.touched_pixels(view.box)
    if texture:
        pixels = plan.decoded(source.meta, view.level, view.box)[1]
    touched = pixels * itemsize
    shape = box_shape(view.box)
    fits = not texture or max(shape, default=0) <= MAX_SIDE
    if touched <= budget and fits:
        return None
    ranges = grid.block_ranges(view.box)
    strides = [1] * len(shape)
    excess = touched / budget
    # The axis with the most chunks gives most: it is the one that counts frames.
    for axis in sorted(_free_axes(source.meta, view.level), key=lambda axis: -len(ranges[axis])):
        if excess <= 1 or len(ranges[axis]) == 1:
            break
        skip = min(ceil(excess), len(ranges[axis]))
        size = max(1, -(-shape[axis] // len(ranges[axis])))
        strides[axis] = skip * size
        excess /= skip
    _thin_out(shape, strides, budget // 2, itemsize)
    return tuple(strides) if max(strides) > 1 else None


def _free_axes(meta: ImageMeta, level: int) -> list[int]:
    """Return the axes along which whole chunks may be left out.

    Of a computed level these are not the axes of its planes.
    """
    axes = range(len(meta.axes))
    if meta.levels[level].computed_from is None:
        return list(axes)
    return [axis for axis in axes if axis not in plane_axes(meta)]


def _thin_out(shape: tuple[int, ...], strides: list[int], budget: int, itemsize: int) -> None:
    """Widen the strides of the longest axes until the result fits `budget` and a texture."""

    def sides() -> list[int]:
        return [-(-size // stride) for size, stride in zip(shape, strides, strict=True)]

    while prod(sides()) * itemsize > budget or (
        max(sides()) > MAX_SIDE and sum(side > 1 for side in sides()) > 2
    ):
        longest = int(np.argmax(sides()))
        strides[longest] += max(1, strides[longest] // 4)


def first_strides(
    source: Source, view: LazyArray, strides: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """Return strides that give a first impression of a view from a few chunks.

    None where the view has few chunks as it is.

    Parameters
    ----------
    source, view
        As in :func:`strides_for`.
    strides : tuple of int or None
        Those that the view is shown with in the end.
    """
    meta = source.meta.levels[view.level]
    ranges = meta.grid.block_ranges(view.box)
    shape = box_shape(view.box)
    final = strides or (1,) * len(shape)
    free = _free_axes(source.meta, view.level)
    if not free:
        return None
    axis = max(free, key=lambda axis: len(ranges[axis]))
    wide = max(1, -(-shape[axis] // FIRST_CHUNKS))
    if len(ranges[axis]) <= 2 * FIRST_CHUNKS or wide < 2 * final[axis]:
        return None
    return (*final[:axis], wide, *final[axis + 1 :])
