"""Levels that no file holds: every second, fourth, ... pixel of a coarsest level that is too large.

A chunk of such a level is made from whole chunks of the next finer one, which are read one after
the other and let go of again, down to those of the file. So each chunk of the file is decoded once
for an overview, and no more of it is kept than the pixels that are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import repeat
from math import prod
from operator import add, mul
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core import settings
from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.core.coarse_levels import chunk_side, overview_steps, strided_shape
from napari_lazyload.core.metadata import LevelMeta
from napari_lazyload.core.source import (
    as_strided,
    box_reader,
    is_ready,
    is_remote,
    joined_key,
    path_of,
    status_token,
)
from napari_lazyload.loading.read_box import read_chunk, sampled_chunks, samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.core.source import BoxReader, Chunk, ChunkKey, Source

    Array = np.ndarray[Any, Any]


CHUNK_SIDE, CHUNK_NBYTES, CHUNK_PARTS, REMOTE_PARTS = 256, 8 << 20, 256, 4
"""A computed chunk has at most so many pixels along each side, and is made from at most so many
bytes in at most so many chunks of the file; of a server fewer, for its chunks come many at a
time."""

KEPT_SHARE = 8
"""Chunks on the way to a coarser level are kept where all of their level takes less than this part
of the budget."""


@dataclass(frozen=True, slots=True)
class SourcePart:
    """A chunk of the next finer level.

    Parameters
    ----------
    chunk : Chunk
        How it is read.
    shape : tuple of int
        Its pixels.
    first : tuple of int
        Which of them is taken first.
    place : tuple of int
        Where that goes in the computed chunk.
    """

    chunk: Chunk
    shape: tuple[int, ...]
    first: tuple[int, ...]
    place: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StridedChunk:
    """Every k-th pixel of some chunks.

    Parameters
    ----------
    parts : tuple of SourcePart
        What it is made from.
    shape : tuple of int
        Of the result.
    dtype : numpy.dtype
        Of the image.
    strides : tuple of int
        The k of each axis.
    finer_nbytes : int
        Bytes of the whole level that its parts are of.
    """

    parts: tuple[SourcePart, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    finer_nbytes: int

    @property
    def path(self) -> str:
        """Where the first of its parts is."""
        return path_of(self.parts[0].chunk)

    @property
    def ready(self) -> bool:
        """Whether the keys of all parts can be found without waiting."""
        return all(is_ready(part.chunk) for part in self.parts)

    @property
    def key(self) -> ChunkKey:
        """The keys of its parts, and which pixels of them it has."""
        taken = tuple((part.first, part.place) for part in self.parts)
        keys = [part.chunk.key for part in self.parts]
        return joined_key(keys, "strided", self.strides, self.shape, taken)

    def load(self) -> Array:
        """Read the parts one after the other; see `napari_lazyload.core.source.Chunk`."""
        keep = self.finer_nbytes <= settings.current().cache_budget // KEPT_SHARE
        pixels = np.empty(self.shape, self.dtype)
        for part in self.parts:
            finer = read_chunk(part.chunk, part.shape, self.dtype, keep=keep)
            taken = finer[tuple(map(slice, part.first, repeat(None), self.strides))]
            ends = map(add, part.place, taken.shape)
            pixels[tuple(map(slice, part.place, ends))] = taken
        return pixels


class ComputedLevels:
    """An image with computed levels behind its own.

    Parameters
    ----------
    source : Source
        The original.
    strides : sequence of tuple of int
        For each computed level and axis, every how many pixels of the level before it has.
    """

    def __init__(self, source: Source, strides: Sequence[tuple[int, ...]]) -> None:
        self.original = source
        self.remote = is_remote(source)
        self.status_token = status_token(source)
        self._strides = tuple(strides)
        self._stored = len(source.meta.levels)
        levels = list(source.meta.levels)
        most = REMOTE_PARTS if self.remote else CHUNK_PARTS
        cost = _Cost(levels[-1].grid, source.meta.dtype.itemsize, most)
        for level_strides in self._strides:
            levels.append(self._thinned(levels[-1], level_strides, cost))
        self.meta = replace(source.meta, levels=tuple(levels))
        self.token = f"{source.token}-every-{self._strides}"

    def _thinned(self, finer: LevelMeta, strides: tuple[int, ...], cost: _Cost) -> LevelMeta:
        groups = cost.chunks_to_join(finer.grid, strides)
        chunks = tuple(map(_sizes, repeat(finer.grid), range(len(strides)), strides, groups))
        return LevelMeta(
            ChunkGrid(strided_shape(finer.shape, strides), chunks),
            tuple(map(mul, finer.factors, strides)),
            finer.first_center,
            strides=tuple(map(mul, finer.strides or repeat(1), strides)),
            computed_from=self._stored - 1,
        )

    def chunk(self, level: int, index: BlockIndex) -> Chunk:
        """Return the reference to one chunk, stored or computed."""
        if level < self._stored:
            return self.original.chunk(level, index)
        strides, finer = self._strides[level - self._stored], self.meta.levels[level - 1].grid
        shown = self.meta.levels[level].grid.bounds(index)
        # The pixels of the finer level from the first to the last that the chunk takes.
        box = tuple(
            (start * stride, (stop - 1) * stride + 1)
            for (start, stop), stride in zip(shown, strides, strict=True)
        )
        parts = []
        for block in sampled_chunks(self, level - 1, box, strides):
            bounds = finer.bounds(block)
            places, taken = zip(*map(samples, box, bounds, strides), strict=True)
            chunk = self.chunk(level - 1, block)
            parts.append(SourcePart(chunk, box_shape(bounds), _starts(taken), _starts(places)))
        nbytes = prod(finer.shape) * self.meta.dtype.itemsize
        return StridedChunk(tuple(parts), box_shape(shown), self.meta.dtype, strides, nbytes)

    def box_reader(self, level: int, box: Box) -> BoxReader | None:
        """Return what reads a box of a stored level in one go, where the original can."""
        return box_reader(self.original, level, box) if level < self._stored else None


def _starts(slices: Iterable[slice]) -> tuple[int, ...]:
    return tuple(pixels.start for pixels in slices)


def _sides(grid: ChunkGrid) -> list[int]:
    """Return the longest side of a chunk along each axis."""
    return list(map(chunk_side, repeat(grid), range(len(grid.shape))))


class _Cost:
    """What a chunk of the level that was made last needs: chunks of the file, and their bytes."""

    def __init__(self, grid: ChunkGrid, itemsize: int, most: int) -> None:
        self._parts, self._most = 1, most
        self._nbytes = prod(map(max, _sides(grid), repeat(1))) * itemsize

    def chunks_to_join(self, finer: ChunkGrid, strides: tuple[int, ...]) -> list[int]:
        """Return how many chunks of the finer level a computed one takes along each axis.

        A stride leaves little of a chunk, and many small chunks are slow to show. So along the last
        two axes with a stride two, four, ... neighbors are joined, the shorter side first, until
        the sides reach `CHUNK_SIDE` or what the chunk is made from becomes too costly.
        """
        counts = [1] * len(strides)
        # Pixels that a computed chunk has of `counts` finer ones; a fraction where a stride is
        # longer than a chunk.
        sides = np.divide(_sides(finer), strides).tolist()
        planar = np.flatnonzero(np.greater(strides, 1))[-2:].tolist()
        while True:
            # Axes that still have neighbors to join, and short sides.
            small = [
                axis
                for axis in planar
                if counts[axis] < finer.numblocks[axis] and sides[axis] < CHUNK_SIDE
            ]
            if not small:
                break
            axis = min(small, key=sides.__getitem__)
            allowed = 2 * self._parts <= self._most and 2 * self._nbytes <= CHUNK_NBYTES
            # A chunk without a pixel of its own must be joined, whatever that costs.
            if sides[axis] >= 1 and not allowed:
                break
            counts[axis] *= 2
            sides[axis] *= 2
            # The next coarser level is made from this one: the cost adds up over the levels.
            self._parts, self._nbytes = 2 * self._parts, 2 * self._nbytes
        return counts


def _sizes(finer: ChunkGrid, axis: int, stride: int, count: int) -> int | tuple[int, ...]:
    """Return the chunks of a computed level along an axis: the pixels of every `count` chunks."""
    chunk, size = finer.chunks[axis], finer.shape[axis]
    if isinstance(chunk, int) and (count * chunk) % stride == 0:
        return max(1, min(count * chunk, -(-size // stride) * stride) // stride)
    if isinstance(chunk, int) and stride % (count * chunk) == 0:
        return 1
    blocks = finer.numblocks[axis]
    ends = [
        -(-finer.span(axis, min(last, blocks) - 1)[1] // stride)
        for last in range(count, blocks + count, count)
    ]
    return tuple(filter(None, np.diff(ends, prepend=0).tolist()))


def with_overview(source: Source) -> Source:
    """Return a source whose coarsest level can be viewed whole: the same one where that is so.

    Every k-th pixel is read without the others where the source can do so.
    """
    strided = as_strided(source)
    if strided is not None:
        source = strided.with_strided_levels()
    strides = overview_steps(source.meta)
    return ComputedLevels(source, strides) if strides else source
