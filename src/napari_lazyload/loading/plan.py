"""From a view to the chunks that it needs, in order. Pure: reads and keeps nothing."""

from __future__ import annotations

from itertools import accumulate, product
from math import ceil, floor, prod
from operator import getitem
from typing import TYPE_CHECKING

from napari_lazyload.core.chunks import box_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_lazyload.core.chunks import BlockIndex, Box, ChunkGrid
    from napari_lazyload.core.metadata import ImageMeta

MOST_SORTED = 4096
"""More chunks than that are taken as they come: nobody sees which one is first."""

_EPS = 1e-6


def from_center(grid: ChunkGrid, box: Box, indices: Iterable[BlockIndex]) -> list[BlockIndex]:
    """Return chunks with those nearest to the centre of a box first."""
    listed = list(indices)
    if not 1 < len(listed) <= MOST_SORTED:
        return listed
    offsets = []
    for axis, (start, stop) in enumerate(box):
        spans = {block: grid.span(axis, block) for block in {index[axis] for index in listed}}
        offsets.append(
            {block: ((low + high - start - stop) / 2) ** 2 for block, (low, high) in spans.items()}
        )
    return sorted(listed, key=lambda index: sum(map(getitem, offsets, index)))


def same_place(meta: ImageMeta, level: int, box: Box, other: int) -> Box:
    """Return the pixels of another level that cover a box, at least one along each axis."""
    mine, theirs = meta.levels[level], meta.levels[other]
    found = []
    for axis, (start, stop) in enumerate(box):
        offset, size = theirs.first_center[axis], theirs.shape[axis]
        low = mine.first_center[axis] + (start - 0.5) * mine.factors[axis] - offset
        high = mine.first_center[axis] + (stop - 0.5) * mine.factors[axis] - offset
        first = floor(low / theirs.factors[axis] + 0.5 + _EPS)
        last = ceil(high / theirs.factors[axis] + 0.5 - _EPS)
        first = max(0, min(first, size - 1))
        found.append((first, min(max(first + 1, last), size)))
    return tuple(found)


def ahead(grid: ChunkGrid, box: Box, axis: int, stride: int, depth: int) -> list[BlockIndex]:
    """Return the chunks of the next views along one axis, without those of this view.

    Parameters
    ----------
    grid : ChunkGrid
        Of the level that is shown.
    box : tuple of (int, int)
        What is shown now.
    axis : int
        Along which axis the view moves.
    stride : int
        By how many pixels at a time; negative towards the start.
    depth : int
        How many views.
    """
    start, stop = box[axis]
    seen = set(grid.block_range(axis, start, stop))
    others = grid.block_ranges(box)
    found: list[BlockIndex] = []
    for step in range(1, depth + 1):
        low, high = max(0, start + step * stride), min(grid.shape[axis], stop + step * stride)
        blocks = [block for block in grid.block_range(axis, low, high) if block not in seen]
        seen.update(blocks)
        for block in blocks:
            ranges = [
                range(block, block + 1) if at == axis else other for at, other in enumerate(others)
            ]
            piece = tuple(
                grid.span(at, block) if at == axis else pair for at, pair in enumerate(box)
            )
            found += from_center(grid, piece, product(*ranges))
    return found


def decoded(
    meta: ImageMeta, level: int, box: Box, steps: Sequence[int] | None = None
) -> tuple[int, int]:
    """Return about how many chunks and pixels are decoded for every k-th pixel of a box.

    Parameters
    ----------
    meta : ImageMeta
        The image.
    level : int
        Which level; of a computed one, the chunks of the file that it is made from are counted.
    box : tuple of (int, int)
        In pixels of the level.
    steps : sequence of int, optional
        The k of each axis; every pixel by default.
    """
    one, chunks, pixels = meta.levels[level], 1, 1
    stored, between = one.grid, (1,) * len(box)
    if one.computed_from is not None and one.steps is not None:
        stored, between = meta.levels[one.computed_from].grid, one.steps
    for axis, blocks in enumerate(one.grid.block_ranges(box)):
        if not blocks:
            return 0, 0
        start, stop = one.grid.span(axis, blocks[0])[0], one.grid.span(axis, blocks[-1])[1]
        step = between[axis] * (1 if steps is None else steps[axis])
        read = stored.block_range(axis, start * between[axis], (stop - 1) * between[axis] + 1)
        first, last = stored.span(axis, read[0])[0], stored.span(axis, read[-1])[1]
        taken = min(
            len(read), max(1, -(-(last - first) // step))
        )  # blocks between two pixels are passed over
        chunks *= taken
        pixels *= -(-(last - first) * taken // len(read))
    return chunks, pixels


def within(grid: ChunkGrid, indices: Sequence[BlockIndex], pixels: int) -> list[BlockIndex]:
    """Return the first chunks, as many as have so many pixels in all."""
    totals = accumulate(prod(box_shape(grid.bounds(index))) for index in indices)
    return [index for index, total in zip(indices, totals, strict=True) if total <= pixels]


def nbytes(box: Box, itemsize: int) -> int:
    """Return the bytes of the pixels of a box."""
    return prod(box_shape(box)) * itemsize
