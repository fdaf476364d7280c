"""The pixels of one view while they come in: exact chunks, and placeholders for missing ones."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import box_slices
from napari_lazyload.loading.read_box import sampled_blocks, sampled_shape, samples

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from napari_lazyload.core.chunks import BlockIndex, Box, ChunkGrid
    from napari_lazyload.core.errors import ChunkReadError
    from napari_lazyload.core.source import Source

    Array = np.ndarray[Any, Any]
    Indices = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Pixels and where they lie: a chunk of a coarser level, or what was shown before.

    Parameters
    ----------
    pixels : numpy.ndarray
        With all axes of the level.
    level : int
        Which level they are of.
    box : tuple of (int, int)
        Which pixels of it.
    strides : tuple of int
        Stride of the pixels along each axis of the level.
    free : frozenset of int
        Axes along which they stand in for any other place.
    """

    pixels: Array
    level: int
    box: Box
    strides: tuple[int, ...]
    free: frozenset[int] = frozenset()


class Frame:
    """The pixels of one box of one level, filled by worker threads, read by the window any time.

    Parameters
    ----------
    source : Source
        Whose.
    level : int
        Which level.
    box : tuple of (int, int)
        Along all axes of the level.
    strides : tuple of int, optional
        Stride of the kept pixels along each axis; all by default.

    Attributes
    ----------
    pixels : numpy.ndarray
        All axes of the level; not to be written by others.
    failures : dict
        Why chunks cannot be read, by index; their pixels are zero.
    done : threading.Event
        Set once every chunk was read or failed.
    placeholder_kind : str
        What the missing pixels show, in words; "" for nothing.
    unverified : dict
        Keys of chunks that were taken from memory and whose files are still to be looked at, by
        index.
    changes : int
        How many chunks have come in.
    """

    def __init__(
        self, source: Source, level: int, box: Box, strides: tuple[int, ...] | None = None
    ) -> None:
        self.source = source
        self.level = level
        self.box = box
        self.sampled = strides
        self.strides = strides or (1,) * len(box)
        self.pixels: Array = np.zeros(sampled_shape(box, self.strides), source.meta.dtype)
        self.failures: dict[BlockIndex, ChunkReadError] = {}
        self.done = threading.Event()
        self.placeholder_kind = ""
        self.unverified: dict[BlockIndex, Hashable] = {}
        self.changes = 0
        self._grid = source.meta.levels[level].grid
        self._cuts = [
            _cuts(self._grid, axis, pair, stride)
            for axis, (pair, stride) in enumerate(zip(box, self.strides, strict=True))
        ]
        self._missing = dict.fromkeys(product(*self._cuts))
        self.total = len(self._missing)
        self._places: dict[tuple[Any, ...], tuple[int, Indices]] = {}
        self._lock = threading.Lock()
        if not self._missing:
            self.done.set()

    @property
    def key(self) -> tuple[Any, ...]:
        """What it shows; equal keys show the same."""
        return (self.source.token, self.level, self.box, self.sampled)

    @property
    def complete(self) -> bool:
        """Whether every chunk was read or failed."""
        return not self._missing

    @property
    def nbytes(self) -> int:
        """Bytes beside the cache; pixels of a single chunk are the cache's own."""
        return self.pixels.nbytes if self.pixels.flags.owndata else 0

    def missing(self) -> list[BlockIndex]:
        """Return the chunks that are not there yet."""
        with self._lock:
            return list(self._missing)

    def take(self, index: BlockIndex, pixels: Array | None, error: ChunkReadError | None) -> bool:
        """Take what came of reading a chunk; return whether it was missing."""
        if pixels is not None:
            return self.put(index, pixels)
        return error is not None and self.fail(index, error)

    def put(self, index: BlockIndex, pixels: Array) -> bool:
        """Take a chunk that was read; return whether it was missing."""
        with self._lock:
            if index not in self._missing:
                return False
            if self.total == 1 and self.sampled is None:
                bounds = self._grid.bounds(index)
                # The cache's own, read-only: no copy.
                self.pixels = pixels[box_slices(self.box, bounds)]
            else:
                cuts = [along[block] for along, block in zip(self._cuts, index, strict=True)]
                places, taken = zip(*cuts, strict=True)
                self.pixels[places] = pixels[taken]
            self._settle(index)
        return True

    def fail(self, index: BlockIndex, error: ChunkReadError) -> bool:
        """Take note that a chunk cannot be read; return whether it was missing."""
        with self._lock:
            if index not in self._missing:
                return False
            self.failures[index] = error
            self.pixels[self._place(index)] = 0
            self._settle(index)
        return True

    def mark_missing(self, index: BlockIndex) -> None:
        """Wait for a chunk again, whose file was replaced; the old pixels are shown until then."""
        with self._lock:
            self._missing[index] = None
            self.done.clear()

    def _settle(self, index: BlockIndex) -> None:
        del self._missing[index]
        self.changes += 1
        if not self._missing:
            self.placeholder_kind = ""
            self.done.set()

    def _place(self, index: BlockIndex) -> tuple[slice, ...]:
        """Return which of the pixels belong to a chunk."""
        return tuple(along[block][0] for along, block in zip(self._cuts, index, strict=True))

    def paint_placeholder(self, picture: Placeholder, placeholder_kind: str) -> bool:
        """Let missing chunks show a placeholder as far as it reaches; return whether any does."""
        found = self._overlap(picture)
        if found is None:
            return False
        firsts, part = found
        with self._lock:
            if len(self._missing) == self.total:
                reach = zip(firsts, part.shape, strict=True)
                self.pixels[tuple(slice(first, first + size) for first, size in reach)] = part
            else:
                for index in self._under(firsts, part.shape):
                    self._paint_chunk(index, firsts, part)
            if self._missing:
                self.placeholder_kind = placeholder_kind
        return True

    def _under(self, firsts: list[int], shape: tuple[int, ...]) -> Iterator[BlockIndex]:
        """Yield the missing chunks under a part of the pixels, which begins at `firsts`."""
        blocks = [
            [
                block
                for block, (place, _) in along.items()
                if place.start < first + size and place.stop > first
            ]
            for along, first, size in zip(self._cuts, firsts, shape, strict=True)
        ]
        return (index for index in product(*blocks) if index in self._missing)

    def _paint_chunk(self, index: BlockIndex, firsts: list[int], part: Array) -> None:
        target, taken = [], []
        for place, first, size in zip(self._place(index), firsts, part.shape, strict=True):
            start, stop = max(place.start, first), min(place.stop, first + size)
            target.append(slice(start, stop))
            taken.append(slice(start - first, stop - first))
        self.pixels[tuple(target)] = part[tuple(taken)]

    def _overlap(self, picture: Placeholder) -> tuple[list[int], Array] | None:
        """Return where a placeholder begins in the frame, and its pixels at those of the frame."""
        firsts, part = [], picture.pixels
        for axis in range(len(self.box)):
            first, where = self._reached(axis, picture)
            if not where.size:
                return None
            firsts.append(first)
            part = _taken(part, axis, where)
        return firsts, part

    def _reached(self, axis: int, picture: Placeholder) -> tuple[int, Indices]:
        """Return where a placeholder begins along an axis, and which of its pixels lie there.

        Chunks of one level are placeholders whose places along most axes are the same: each is
        worked out once.
        """
        place = (
            axis,
            axis in picture.free,
            picture.level,
            picture.box[axis],
            picture.strides[axis],
        )
        found = self._places.get(place)
        if found is None:
            count = picture.pixels.shape[axis]
            where = self._positions(axis, picture)
            inside = np.flatnonzero((where >= 0) & (where < count))
            first = int(inside[0]) if inside.size else 0
            found = self._places[place] = first, where[first : first + inside.size]
        return found

    def _positions(self, axis: int, picture: Placeholder) -> Indices:
        """Return which pixel of a placeholder lies at each pixel along one axis; -1 for none."""
        if axis in picture.free:
            return np.zeros(self.pixels.shape[axis], np.intp)
        mine, theirs = self.source.meta.levels[self.level], self.source.meta.levels[picture.level]
        start = self.box[axis][0]
        pixels = start + np.arange(self.pixels.shape[axis]) * self.strides[axis]
        centers = mine.first_center[axis] + pixels * mine.factors[axis]
        where = np.rint((centers - theirs.first_center[axis]) / theirs.factors[axis])
        first, stop = picture.box[axis]
        where = np.clip(where, 0, theirs.shape[axis] - 1) - first
        nearest = np.minimum(np.rint(where / picture.strides[axis]), picture.pixels.shape[axis] - 1)
        positions: Indices = np.where((where >= 0) & (where < stop - first), nearest, -1).astype(
            np.intp
        )
        return positions

    def as_placeholder(self, free: frozenset[int] = frozenset()) -> Placeholder:
        """Return what is shown now, for another frame to begin with."""
        return Placeholder(self.pixels, self.level, self.box, self.strides, free)


def _cuts(
    grid: ChunkGrid, axis: int, pair: tuple[int, int], step: int
) -> dict[int, tuple[slice, slice]]:
    """Return where the pixels of each block along an axis go, and which of the block they are."""
    blocks = sampled_blocks(grid, axis, *pair, step)
    return {block: samples(pair, grid.span(axis, block), step) for block in blocks}


def _taken(pixels: Array, axis: int, where: Indices) -> Array:
    """Return some pixels along one axis; a view where they follow each other."""
    if where.size == 1 or (where[-1] - where[0] == where.size - 1 and (np.diff(where) == 1).all()):
        key = [slice(None)] * pixels.ndim
        key[axis] = slice(int(where[0]), int(where[-1]) + 1)
        return pixels[tuple(key)]
    return pixels.take(where, axis)


def chunk_placeholder(source: Source, level: int, index: BlockIndex, pixels: Array) -> Placeholder:
    """Return one chunk as a placeholder."""
    bounds = source.meta.levels[level].grid.bounds(index)
    return Placeholder(pixels, level, bounds, (1,) * len(bounds))


def block_indices(source: Source, level: int, box: Box) -> list[BlockIndex]:
    """Return the chunks of a level that a box touches."""
    return list(product(*source.meta.levels[level].grid.block_ranges(box)))
