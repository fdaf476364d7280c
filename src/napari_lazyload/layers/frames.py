"""The pixels of one view while they come in: exact chunks, and what stands in for those that are not there yet."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import box_slices
from napari_lazyload.loading.box import sampled_chunks, sampled_shape, samples

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.core.errors import ChunkReadError
    from napari_lazyload.core.source import Source

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels and where they lie: a chunk of a coarser level, or what was shown before.

    Parameters
    ----------
    pixels : numpy.ndarray
        With all axes of the level.
    level : int
        Which level they are of.
    box : tuple of (int, int)
        Which pixels of it.
    steps : tuple of int
        Every how many pixels of each axis are there.
    free : frozenset of int
        Axes along which they stand in for any other place.
    """

    pixels: Array
    level: int
    box: Box
    steps: tuple[int, ...]
    free: frozenset[int] = frozenset()


class Frame:
    """The pixels of one box of one level, filled by worker threads and read by the window at any time.

    Parameters
    ----------
    source : Source
        Whose.
    level : int
        Which level.
    box : tuple of (int, int)
        Along all axes of the level.
    steps : tuple of int, optional
        Every how many pixels are kept; all by default.

    Attributes
    ----------
    pixels : numpy.ndarray
        All axes of the level; not to be written by others.
    failures : dict
        Why chunks cannot be read, by index; their pixels are zero.
    done : threading.Event
        Set once every chunk was read or failed.
    stand_in : str
        What the missing pixels show: "" nothing, else in words.
    """

    def __init__(self, source: Source, level: int, box: Box, steps: tuple[int, ...] | None = None) -> None:
        self.source = source
        self.level = level
        self.box = box
        self.sampled = steps
        self.steps = steps or (1,) * len(box)
        self.pixels: Array = np.zeros(sampled_shape(box, self.steps), source.meta.dtype)
        self.failures: dict[BlockIndex, ChunkReadError] = {}
        self.done = threading.Event()
        self.stand_in = ""
        self._grid = source.meta.levels[level].grid
        self._missing = dict.fromkeys(sampled_chunks(source, level, box, self.steps))
        self.total = len(self._missing)
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
        bounds = self._grid.bounds(index)
        with self._lock:
            if index not in self._missing:
                return False
            if self.total == 1 and self.sampled is None:
                self.pixels = pixels[box_slices(self.box, bounds)]  # the cache's own, read-only: no copy
            else:
                placed = [samples(*one) for one in zip(self.box, bounds, self.steps, strict=True)]
                self.pixels[tuple(target for target, _ in placed)] = pixels[tuple(taken for _, taken in placed)]
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

    def _settle(self, index: BlockIndex) -> None:
        del self._missing[index]
        if not self._missing:
            self.stand_in = ""
            self.done.set()

    def _place(self, index: BlockIndex) -> tuple[slice, ...]:
        """Return which of the pixels belong to a chunk."""
        bounds = self._grid.bounds(index)
        return tuple(samples(*one)[0] for one in zip(self.box, bounds, self.steps, strict=True))

    def paint(self, picture: Picture, stand_in: str) -> bool:
        """Let what is missing show another picture, as far as that reaches; return whether any of it does."""
        found = self._looked_up(picture)
        if found is None:
            return False
        firsts, part = found
        with self._lock:
            if len(self._missing) == self.total:
                self.pixels[tuple(map(_reach, firsts, part.shape))] = part
            else:
                for index in self._missing:
                    self._paint_chunk(index, firsts, part)
            if self._missing:
                self.stand_in = stand_in
        return True

    def _paint_chunk(self, index: BlockIndex, firsts: list[int], part: Array) -> None:
        target, taken = [], []
        for place, first, size in zip(self._place(index), firsts, part.shape, strict=True):
            start, stop = max(place.start, first), min(place.stop, first + size)
            if start >= stop:
                return
            target.append(slice(start, stop))
            taken.append(slice(start - first, stop - first))
        self.pixels[tuple(target)] = part[tuple(taken)]

    def _looked_up(self, picture: Picture) -> tuple[list[int], Array] | None:
        """Return where a picture begins in the frame, and its pixels as many as the frame has there."""
        firsts, part = [], picture.pixels
        for axis in range(len(self.box)):
            if axis in picture.free:
                where = np.zeros(self.pixels.shape[axis], np.intp)
            else:
                where = self._positions(axis, picture)
            inside = np.flatnonzero((where >= 0) & (where < part.shape[axis]))
            if not inside.size:
                return None
            firsts.append(int(inside[0]))
            part = _taken(part, axis, where[inside[0] : inside[-1] + 1])
        return firsts, part

    def _positions(self, axis: int, picture: Picture) -> np.ndarray[Any, Any]:
        """Return which pixel of a picture lies at each pixel of the frame, along one axis."""
        mine, theirs = self.source.meta.levels[self.level], self.source.meta.levels[picture.level]
        start = self.box[axis][0]
        pixels = start + np.arange(self.pixels.shape[axis]) * self.steps[axis]
        centres = mine.first_centre[axis] + pixels * mine.factors[axis]
        where = np.rint((centres - theirs.first_centre[axis]) / theirs.factors[axis])
        first, stop = picture.box[axis]
        where = np.clip(where, 0, theirs.shape[axis] - 1) - first
        nearest = np.minimum(np.rint(where / picture.steps[axis]), picture.pixels.shape[axis] - 1)
        positions: np.ndarray[Any, Any] = np.where((where >= 0) & (where < stop - first), nearest, -1).astype(np.intp)
        return positions

    def as_picture(self, free: frozenset[int] = frozenset()) -> Picture:
        """Return what is shown now, for another frame to begin with."""
        return Picture(self.pixels, self.level, self.box, self.steps, free)


def _reach(first: int, size: int) -> slice:
    return slice(first, first + size)


def _taken(pixels: Array, axis: int, where: np.ndarray[Any, Any]) -> Array:
    """Return some pixels along one axis; a view where they follow each other."""
    if where.size == 1 or (where[-1] - where[0] == where.size - 1 and (np.diff(where) == 1).all()):
        key = [slice(None)] * pixels.ndim
        key[axis] = slice(int(where[0]), int(where[-1]) + 1)
        return pixels[tuple(key)]
    return pixels.take(where, axis)


def chunk_picture(source: Source, level: int, index: BlockIndex, pixels: Array) -> Picture:
    """Return one chunk as a picture."""
    bounds = source.meta.levels[level].grid.bounds(index)
    return Picture(pixels, level, bounds, (1,) * len(bounds))


def block_indices(source: Source, level: int, box: Box) -> list[BlockIndex]:
    """Return the chunks of a level that a box touches."""
    return list(product(*source.meta.levels[level].grid.block_ranges(box)))
