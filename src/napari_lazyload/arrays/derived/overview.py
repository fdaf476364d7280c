"""Levels that no file holds: every second, fourth, ... pixel of an image whose coarsest level is too large.

A chunk of such a level is made from whole chunks of the next finer one, which are read one after
the other and let go of again, down to those of the file. So each chunk of the file is decoded once
for an overview, and no more of it is kept than the pixels that are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core import settings
from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.core.coarse_levels import chunk_side, overview_steps
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
    from collections.abc import Sequence

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
    steps : tuple of int
        The k of each axis.
    finer_nbytes : int
        Bytes of the whole level that its parts are of.
    """

    parts: tuple[SourcePart, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    steps: tuple[int, ...]
    finer_nbytes: int

    @property
    def path(self) -> str:
        """Where the first of its parts is."""
        return path_of(self.parts[0].chunk)

    @property
    def ready(self) -> bool:
        """Whether the keys of all parts can be told without waiting."""
        return all(is_ready(part.chunk) for part in self.parts)

    @property
    def key(self) -> ChunkKey:
        """The keys of its parts, and which pixels of them it has."""
        taken = tuple((part.first, part.place) for part in self.parts)
        keys = [part.chunk.key for part in self.parts]
        return joined_key(keys, "strided", self.steps, self.shape, taken)

    def load(self) -> Array:
        """Read the parts one after the other; see `napari_lazyload.core.source.Chunk`."""
        keep = self.finer_nbytes <= settings.current().cache_budget // KEPT_SHARE
        pixels = np.empty(self.shape, self.dtype)
        for part in self.parts:
            finer = read_chunk(part.chunk, part.shape, self.dtype, keep=keep)
            taken = finer[
                tuple(
                    slice(first, None, step)
                    for first, step in zip(part.first, self.steps, strict=True)
                )
            ]
            place = zip(part.place, taken.shape, strict=True)
            pixels[tuple(slice(start, start + size) for start, size in place)] = taken
        return pixels


class ComputedLevels:
    """An image with computed levels behind its own.

    Parameters
    ----------
    source : Source
        The original.
    steps : sequence of tuple of int
        For each computed level and axis, every how many pixels of the level before it has.
    """

    def __init__(self, source: Source, steps: Sequence[tuple[int, ...]]) -> None:
        self.original = source
        self.remote = is_remote(source)
        self.status_token = status_token(source)
        self._steps = tuple(steps)
        self._stored = len(source.meta.levels)
        levels = list(source.meta.levels)
        cost = _Cost(
            levels[-1].grid,
            source.meta.dtype.itemsize,
            REMOTE_PARTS if self.remote else CHUNK_PARTS,
        )
        for one in self._steps:
            levels.append(self._thinned(levels[-1], one, cost))
        self.meta = replace(source.meta, levels=tuple(levels))
        self.token = (
            f"{source.token}-every-{'-'.join('x'.join(map(str, one)) for one in self._steps)}"
        )

    def _thinned(self, finer: LevelMeta, steps: tuple[int, ...], cost: _Cost) -> LevelMeta:
        groups = cost.groups(finer.grid, steps)
        shape = tuple(-(-size // step) for size, step in zip(finer.shape, steps, strict=True))
        chunks = tuple(
            _sizes(finer.grid, axis, *one)
            for axis, one in enumerate(zip(steps, groups, strict=True))
        )
        return LevelMeta(
            ChunkGrid(shape, chunks),
            tuple(factor * step for factor, step in zip(finer.factors, steps, strict=True)),
            finer.first_center,
            steps=tuple(
                a * b for a, b in zip(finer.steps or (1,) * len(steps), steps, strict=True)
            ),
            computed_from=self._stored - 1,
        )

    def chunk(self, level: int, index: BlockIndex) -> Chunk:
        """Return the reference to one chunk, stored or computed."""
        if level < self._stored:
            return self.original.chunk(level, index)
        steps, finer = self._steps[level - self._stored], self.meta.levels[level - 1].grid
        box = self._finer_box(level, index)
        parts = []
        for block in sampled_chunks(self, level - 1, box, steps):
            bounds = finer.bounds(block)
            found = [samples(*one) for one in zip(box, bounds, steps, strict=True)]
            first, place = (tuple(one[side].start for one in found) for side in (1, 0))
            parts.append(SourcePart(self.chunk(level - 1, block), box_shape(bounds), first, place))
        shape = box_shape(self.meta.levels[level].grid.bounds(index))
        nbytes = prod(finer.shape) * self.meta.dtype.itemsize
        return StridedChunk(tuple(parts), shape, self.meta.dtype, steps, nbytes)

    def _finer_box(self, level: int, index: BlockIndex) -> Box:
        """Return the pixels of the next finer level from the first to the last that a computed chunk takes."""
        bounds, steps = (
            self.meta.levels[level].grid.bounds(index),
            self._steps[level - self._stored],
        )
        return tuple(
            (start * step, (stop - 1) * step + 1)
            for (start, stop), step in zip(bounds, steps, strict=True)
        )

    def box_reader(self, level: int, box: Box) -> BoxReader | None:
        """Return what reads a box of a stored level in one go, where the original can."""
        return box_reader(self.original, level, box) if level < self._stored else None


class _Cost:
    """How many chunks of the file, and bytes of them, a chunk of the level that was made last needs."""

    def __init__(self, grid: ChunkGrid, itemsize: int, most: int) -> None:
        self._parts, self._most = 1, most
        self._nbytes = (
            prod(max(chunk_side(grid, axis), 1) for axis in range(len(grid.shape))) * itemsize
        )

    def groups(self, finer: ChunkGrid, steps: tuple[int, ...]) -> list[int]:
        """Return how many chunks of the finer level a computed one takes along each axis."""
        groups = [1] * len(steps)
        sides = [chunk_side(finer, axis) / step for axis, step in enumerate(steps)]
        planar = [axis for axis, step in enumerate(steps) if step > 1][-2:]
        while True:
            small = [
                axis
                for axis in planar
                if groups[axis] < finer.numblocks[axis] and sides[axis] < CHUNK_SIDE
            ]
            if not small:
                break
            axis = min(small, key=lambda axis: sides[axis])
            allowed = 2 * self._parts <= self._most and 2 * self._nbytes <= CHUNK_NBYTES
            if sides[axis] >= 1 and not allowed:
                break
            groups[axis] *= 2
            sides[axis] *= 2
            self._parts, self._nbytes = 2 * self._parts, 2 * self._nbytes
        return groups


def _sizes(finer: ChunkGrid, axis: int, step: int, group: int) -> int | tuple[int, ...]:
    """Return the chunks of a computed level: the pixels that each group of finer chunks has."""
    chunk, size = finer.chunks[axis], finer.shape[axis]
    if isinstance(chunk, int) and (group * chunk) % step == 0:
        return max(1, min(group * chunk, -(-size // step) * step) // step)
    if isinstance(chunk, int) and step % (group * chunk) == 0:
        return 1
    blocks = finer.numblocks[axis]
    ends = [
        -(-finer.span(axis, min(last, blocks) - 1)[1] // step)
        for last in range(group, blocks + group, group)
    ]
    return tuple(b - a for a, b in zip([0, *ends], ends, strict=False) if b > a)


def with_overview(source: Source) -> Source:
    """Return a source whose coarsest level can be looked at as a whole: itself, where that is so.

    Every k-th pixel is read without the others where the source can do so.
    """
    strided = as_strided(source)
    if strided is not None:
        source = strided.with_strided_levels()
    steps = overview_steps(source.meta)
    return ComputedLevels(source, steps) if steps else source
