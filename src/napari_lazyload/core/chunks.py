"""Grids of chunks: which block of a level holds which pixels.

A *box* is one half-open ``(start, stop)`` pair per axis, in pixels of one level, in the order of
the level's axes.
"""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate, product
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Box: TypeAlias = "tuple[tuple[int, int], ...]"
BlockIndex: TypeAlias = "tuple[int, ...]"

MOST_BLOCKS = 1 << 27
"""Most chunks along one axis: dask lists the size of each."""


def box_shape(box: Box) -> tuple[int, ...]:
    """Return the number of pixels that `box` has along each axis."""
    return tuple(stop - start for start, stop in box)


def box_slices(box: Box, origin: Box | None = None) -> tuple[slice, ...]:
    """Return `box` as slices, counted from the start of `origin` where that is given."""
    if origin is None:
        return tuple(slice(start, stop) for start, stop in box)
    return tuple(
        slice(start - base, stop - base)
        for (start, stop), (base, _) in zip(box, origin, strict=True)
    )


def intersect(first: Box, second: Box) -> Box:
    """Return the box that both cover; on an axis where they do not meet, ``stop <= start``."""
    return tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(first, second, strict=True))


@dataclass(frozen=True, slots=True)
class ChunkGrid:
    """The chunks of one level.

    Parameters
    ----------
    shape : tuple of int
        Pixels of the level along each axis.
    chunks : tuple of (int or tuple of int)
        For each axis the size of every chunk (the last one may be cut short), or the size of each
        chunk in turn, where a chunk may be empty.

    Raises
    ------
    ValueError
        If the chunks do not cover the shape, or are too many.
    """

    shape: tuple[int, ...]
    chunks: tuple[int | tuple[int, ...], ...]
    _ends: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make NumPy's integers Python's, which JSON needs, and refuse a grid with gaps."""
        if len(self.shape) != len(self.chunks):
            count = len(self.chunks)
            msg = f"a grid for {len(self.shape)} axes needs as many chunk sizes, got {count}"
            raise ValueError(msg)
        try:
            shape = tuple(map(operator.index, self.shape))
            chunks = tuple(map(_sizes, self.chunks))
        except TypeError as err:  # dask has chunks of unknown size, which are NaN
            msg = f"a grid needs whole numbers, got shape {self.shape} and chunks {self.chunks}"
            raise ValueError(msg) from err
        for size, chunk in zip(shape, chunks, strict=True):
            if not _covers(chunk, size):
                msg = f"chunks {chunk} do not cover an axis of {size} pixels"
                raise ValueError(msg)
            if isinstance(chunk, int) and -(-size // chunk) > MOST_BLOCKS:
                what = f"chunks of {chunk} along an axis of {size:,} pixels"
                msg = f"{what} are more than {MOST_BLOCKS:,}"
                raise ValueError(msg)
        ends = tuple(map(_ends, chunks))
        for name, value in (("shape", shape), ("chunks", chunks), ("_ends", ends)):
            object.__setattr__(self, name, value)  # frozen

    def __reduce__(self) -> tuple[Any, ...]:
        return (ChunkGrid, (self.shape, self.chunks))

    @property
    def numblocks(self) -> BlockIndex:
        """Number of chunks along each axis."""
        return tuple(
            -(-size // chunk) if isinstance(chunk, int) else len(chunk)
            for size, chunk in zip(self.shape, self.chunks, strict=True)
        )

    @property
    def full_box(self) -> Box:
        """The box of the whole level."""
        return tuple((0, size) for size in self.shape)

    def span(self, axis: int, block: int) -> tuple[int, int]:
        """Return the half-open pixel range of block number `block` along `axis`."""
        chunk = self.chunks[axis]
        if isinstance(chunk, int):
            return block * chunk, min((block + 1) * chunk, self.shape[axis])
        end = self._ends[axis][block]
        return end - chunk[block], end

    def bounds(self, index: BlockIndex) -> Box:
        """Return the box of the chunk at `index`."""
        return tuple(self.span(axis, block) for axis, block in enumerate(index))

    def block_range(self, axis: int, start: int, stop: int) -> range:
        """Return the numbers of the blocks along `axis` that hold one of ``start:stop``."""
        if stop <= start:
            return range(0)
        chunk = self.chunks[axis]
        if isinstance(chunk, int):
            return range(start // chunk, -(-stop // chunk))
        ends = self._ends[axis]
        return range(bisect_right(ends, start), bisect_left(ends, stop) + 1)

    def block_ranges(self, box: Box) -> tuple[range, ...]:
        """Return :meth:`block_range` of every axis of `box`."""
        return tuple(self.block_range(axis, start, stop) for axis, (start, stop) in enumerate(box))

    def touched(self, box: Box) -> Iterator[BlockIndex]:
        """Yield the index of each chunk that holds a pixel of `box`, last axis fastest."""
        return product(*self.block_ranges(box))

    def count(self, box: Box) -> int:
        """Return how many chunks hold a pixel of `box`."""
        return prod(map(len, self.block_ranges(box)))

    def touched_pixels(self, box: Box) -> int:
        """Return how many pixels the chunks that `box` touches hold together."""
        pixels = 1
        for axis, blocks in enumerate(self.block_ranges(box)):
            if not blocks:
                return 0
            pixels *= self.span(axis, blocks[-1])[1] - self.span(axis, blocks[0])[0]
        return pixels

    def block_sizes(self, axis: int, start: int, stop: int) -> tuple[int, ...]:
        """Return how much of ``start:stop`` each touched block holds; one of 0 if it is empty."""
        blocks = self.block_range(axis, start, stop)
        if not blocks:
            return (0,)
        chunk = self.chunks[axis]
        if isinstance(chunk, int) and len(blocks) > 2:
            first = (blocks[0] + 1) * chunk - start
            last = stop - blocks[-1] * chunk
            return (first, *(chunk,) * (len(blocks) - 2), last)
        spans = (self.span(axis, block) for block in blocks)
        return tuple(min(b, stop) - max(a, start) for a, b in spans)


def _sizes(chunk: Any) -> int | tuple[int, ...]:
    if isinstance(chunk, Iterable):
        return tuple(map(operator.index, chunk))
    return operator.index(chunk)


def _ends(chunk: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return where each chunk of a list ends; nothing for chunks of one size."""
    return () if isinstance(chunk, int) else tuple(accumulate(chunk))


def _covers(chunk: int | tuple[int, ...], size: int) -> bool:
    """Whether chunks of one axis are together as long as it is."""
    if isinstance(chunk, int):
        return chunk > 0 <= size
    return sum(chunk) == size and min(chunk, default=0) >= 0
