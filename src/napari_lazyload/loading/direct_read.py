"""Boxes read straight into their place, where the bytes of a file are its pixels.

Such a box is neither decoded nor kept: the system has the bytes in memory, and a copy of them would
only be written twice. Chunks that are in memory already, or on the way there, are used; what fails
is left to whoever reads chunk by chunk, and says which.
"""

from __future__ import annotations

import time
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import box_shape, intersect
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.retry import locked_or_away, retrying
from napari_lazyload.core.source import box_reader, status_token, sub_chunk
from napari_lazyload.loading import cache, status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_lazyload.core.chunks import Box, ChunkGrid
    from napari_lazyload.core.source import BoxReader, Chunk, Source

    Array = np.ndarray[Any, Any]
    Blocks = tuple[range, ...]

AT_ONCE = 16 << 20
"""Neighbouring chunks are read together up to so many bytes: by one thread, in one go."""

LEAST = 1 << 20
"""Boxes of fewer bytes go through the cache, so that small frames which lie in one chunk are read
once."""


class DirectReader:
    """Reads parts of one level of a source into arrays, where that can be done.

    Parameters
    ----------
    source : Source
        One that can is a `napari_lazyload.core.source.BoxSource`.
    level : int
        Which level.
    keep : bool
        Whether chunks should rather enter the cache, if they are worth it.
    """

    def __init__(self, source: Source, level: int, *, keep: bool) -> None:
        self._source = source
        self._token = status_token(source)
        self._level = level
        self._keep = keep
        self._grid = source.meta.levels[level].grid
        self._whole: tuple[Box, BoxReader] | None = None

    def _box_reader(self, box: Box) -> BoxReader | None:
        """Return what reads a box, or None where it is better read in chunks."""
        reader = box_reader(self._source, self._level, box)
        if reader is None or not self._keep:
            return reader
        nbytes = prod(box_shape(box)) * self._source.meta.dtype.itemsize
        if nbytes < LEAST or not reader.is_raw_layout:
            return None
        return reader

    def runs(self, box: Box) -> list[Blocks] | None:
        """Return the neighboring chunks that are read together; None where each is read alone."""
        reader = self._box_reader(box)
        if reader is None:
            return None
        if not self._keep and not reader.is_raw_layout:  # with keep, only such are returned
            return None
        self._whole = (box, reader)
        return list(joined(self._grid, box, self._source.meta.dtype.itemsize))

    def read(self, blocks: Blocks, box: Box, target: Array) -> bool:
        """Fill `target` with the part of some chunks that lies in `box`; return whether it did.

        What was not is to be read chunk by chunk, and may have been filled in part.
        """
        if self._whole is not None and self._whole[0] == box:
            reader: BoxReader | None = self._whole[1]
        else:
            reader = self._box_reader(box)
        if reader is None:
            return False
        token, level = self._token, self._level
        indices = list(product(*blocks))
        if status.shared.available(token, level, indices):
            return False
        reporter = status.shared.reporter(token, level, indices[0])
        began = time.perf_counter()
        try:
            _load_into(reader, target)
        except ChunkReadError:
            return False
        status.shared.read_directly(reporter, indices, target.nbytes, time.perf_counter() - began)
        return True


def joined(grid: ChunkGrid, box: Box, itemsize: int) -> Iterator[Blocks]:
    """Yield the chunks of a box in groups of neighbors of about `AT_ONCE` bytes, or one by one.

    Parameters
    ----------
    grid : ChunkGrid
        Of the level.
    box : Box
        In pixels of the level.
    itemsize : int
        Bytes of a pixel.

    Yields
    ------
    tuple of range
        For each axis the numbers of the blocks.
    """
    ranges, sizes = grid.block_ranges(box), box_shape(box)
    axis, inner = len(sizes), itemsize
    while axis > 0 and inner * sizes[axis - 1] <= AT_ONCE:
        axis -= 1
        inner *= sizes[axis]
    if axis == 0:
        if all(ranges):
            yield ranges
        return
    split = axis - 1
    groups = list(_groups(grid, split, ranges[split], max(1, AT_ONCE // max(1, inner))))
    for lead in product(*ranges[:split]):
        for group in groups:
            yield (*(range(block, block + 1) for block in lead), group, *ranges[axis:])


def _groups(grid: ChunkGrid, axis: int, blocks: range, most: int) -> Iterator[range]:
    """Yield neighboring blocks of an axis, of at most `most` pixels together or one block."""
    first = blocks.start
    for block in blocks:
        if block > first and grid.span(axis, block)[1] - grid.span(axis, first)[0] > most:
            yield range(first, block)
            first = block
    if blocks:
        yield range(first, blocks.stop)


def blocks_box(grid: ChunkGrid, blocks: Blocks, box: Box) -> Box:
    """Return the part of `box` that some neighbouring chunks hold."""
    spans = tuple(
        (grid.span(axis, one[0])[0], grid.span(axis, one[-1])[1]) for axis, one in enumerate(blocks)
    )
    return intersect(spans, box)


def read_alone(chunk: Chunk, dtype: np.dtype[Any], box: Box) -> Array | None:
    """Return a part of one chunk as a new array; None where the cache should read it.

    Parameters
    ----------
    chunk : Chunk
        One that can be read in part is a `napari_lazyload.core.source.DivisibleChunk`.
    dtype : numpy.dtype
        Of the image.
    box : Box
        In pixels of the chunk.

    Raises
    ------
    ChunkReadError
        If it cannot be read.
    """
    if prod(box_shape(box)) * dtype.itemsize < LEAST:
        return None
    reader = sub_chunk(chunk, box)
    if reader is None or not reader.is_raw_layout or chunk.key in cache.shared:
        return None
    pixels = np.empty(box_shape(box), dtype)
    _load_into(reader, pixels)
    return pixels


def _load_into(reader: BoxReader, target: Array) -> None:
    retrying(
        lambda: reader.load_into(target),
        locked_or_away,
        attempts=cache.ATTEMPTS,
        first_pause=cache.FIRST_PAUSE,
    )
