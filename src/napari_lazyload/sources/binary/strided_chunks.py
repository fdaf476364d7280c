"""References to strided blocks of files, and what is done to their values.

A chunk is complete in itself: path, position, form, and the stamp of the file when its header was
read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.source import ChunkKey, joined_key
from napari_lazyload.sources.binary.chunk_sizes import run_nbytes
from napari_lazyload.sources.binary.read_strided import Array, item_count, read_strided
from napari_lazyload.sources.files import FileStamp

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import Box


LONG_RUN = 1024
"""Where so many bytes of a box lie next to each other, it is read alone, without the rest of its
chunks."""


class Convert(Protocol):
    """What is done to stored values; hashable and picklable, for it is part of a chunk's key."""

    def __call__(self, stored: Array) -> Array:
        """Return the values, in the same shape."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Linear:
    """Stored values times a slope, plus an intercept; one stored value may stand for "no value".

    Parameters
    ----------
    slope, intercept : float
        The line; a slope of 1 and an intercept of 0 are left out, so that no rounding comes from
        them.
    dtype : str
        Of the result, a float.
    blank : int, optional
        The stored value that becomes NaN.
    """

    slope: float
    intercept: float
    dtype: str
    blank: int | None = None

    def __call__(self, stored: Array) -> Array:
        """Return the values."""
        values = stored.astype(self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.slope != 1:
                values *= values.dtype.type(self.slope)
            if self.intercept != 0:
                values += values.dtype.type(self.intercept)
        if self.blank is not None:
            values[stored == self.blank] = np.nan
        return values


@dataclass(frozen=True, slots=True)
class Shifted:
    """Integers stored with the other sign: the highest bit is flipped."""

    def __call__(self, stored: Array) -> Array:
        """Return the values: signed as unsigned, or unsigned as signed."""
        unsigned = np.dtype(f"u{stored.dtype.itemsize}")
        flipped: Array = stored.view(unsigned) ^ unsigned.type(1 << (8 * unsigned.itemsize - 1))
        return flipped if stored.dtype.kind == "i" else flipped.view(f"i{unsigned.itemsize}")


@dataclass(frozen=True, slots=True)
class StridedBlock:
    """A strided block of one file.

    Parameters
    ----------
    path : str
        Absolute path.
    offset : int
        Where its first pixel is, in bytes.
    shape : tuple of int
        Of the chunk in the grid.
    strides : tuple of int
        Bytes between neighbors along each axis.
    dtype : numpy.dtype
        As stored, byte order included.
    convert : callable, optional
        What is done to the values.
    opened : tuple of int, optional
        The stamp of the file when its header was read; None where no header was: any file that is
        long enough will do.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    convert: Convert | None = None
    opened: FileStamp | None = None

    @property
    def key(self) -> ChunkKey:
        """Its file, and which bytes are read as what."""
        stamp = FileStamp.verify(self.path, self.opened)
        part = (self.offset, self.shape, self.strides, self.dtype.str, self.convert)
        return ChunkKey(self.path, stamp, part)

    def sub_chunk(self, box: Box) -> StridedBlock:
        """Return a part of the block, which reads only its own bytes; `box` is in its pixels."""
        offset = self.offset + sum(
            start * step for (start, _), step in zip(box, self.strides, strict=True)
        )
        return replace(self, offset=offset, shape=box_shape(box))

    @property
    def is_raw_layout(self) -> bool:
        """Whether it is stored as it is shown, in the same order, and in long runs."""
        steps = [step for step, size in zip(self.strides, self.shape, strict=True) if size > 1]
        if self.convert is not None or steps != sorted(steps, reverse=True):
            return False
        run = run_nbytes(self.shape, self.strides, self.dtype.itemsize)
        return run >= min(LONG_RUN, item_count(self.shape) * self.dtype.itemsize)

    def load_into(self, target: Array) -> None:
        """Read the block into an array; see `napari_lazyload.core.source.BoxReader`."""
        if self.convert is not None or target.dtype != self.dtype.newbyteorder("="):
            np.copyto(target, self.load(), casting="unsafe")
            return
        FileStamp.verify(self.path, self.opened)
        read_strided(self.path, self.offset, target.view(self.dtype), self.strides)

    def load(self) -> Array:
        """Read the block; see `napari_lazyload.core.source.Chunk`."""
        FileStamp.verify(self.path, self.opened)
        stored = np.empty(self.shape, self.dtype.newbyteorder("="))
        read_strided(self.path, self.offset, stored.view(self.dtype), self.strides)
        return stored if self.convert is None else np.ascontiguousarray(self.convert(stored))


@dataclass(frozen=True, slots=True)
class BlankChunk:
    """A block that no file holds: zeros.

    Parameters
    ----------
    path : str
        The file of its image, or the address of a store.
    shape : tuple of int
        Of the chunk in the grid.
    dtype : numpy.dtype
        Of the image.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def key(self) -> ChunkKey:
        """Its form; all blanks of one form are the same."""
        return ChunkKey(self.path, None, ("blank", self.shape, self.dtype.str))

    def load_into(self, target: Array) -> None:
        """Fill an array with zeros."""
        target[...] = 0

    def load(self) -> Array:
        """Return zeros."""
        return np.zeros(self.shape, self.dtype)


@dataclass(frozen=True, slots=True)
class GroupChunk:
    """Frames that lie apart, read as one block.

    Parameters
    ----------
    parts : tuple of StridedBlock or BlankChunk
        One frame each, in C order of the axes that count frames.
    shape : tuple of int
        Of the whole.
    dtype : numpy.dtype
        Of the result.
    """

    parts: tuple[StridedBlock | BlankChunk, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def key(self) -> ChunkKey:
        """The keys of all frames."""
        return joined_key([part.key for part in self.parts], self.shape)

    @property
    def path(self) -> str:
        """The file of the first frame."""
        return self.parts[0].path

    def load(self) -> Array:
        """Read the frames one after the other."""
        pixels = np.empty((len(self.parts), prod(self.shape) // len(self.parts)), self.dtype)
        for row, part in zip(pixels, self.parts, strict=True):
            part.load_into(row.reshape(part.shape))
        return pixels.reshape(self.shape)
