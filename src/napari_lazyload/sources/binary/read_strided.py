"""Positioned reads of strided pixels: each read opens the file, and closes it again.

Nothing is mapped, so that a file which shrinks gives an error instead of a signal, and nothing
keeps it open between two reads.
"""

from __future__ import annotations

import operator
import os
import warnings
from itertools import accumulate
from math import prod
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_lazyload.core.errors import ChunkReadError, LazyLoadWarning
from napari_lazyload.sources.files import open_error, read_error, refuse_if

if TYPE_CHECKING:
    from collections.abc import Sequence

Array: TypeAlias = "np.ndarray[Any, Any]"

PAGE = 4096
"""Gaps shorter than a page are read through: the system reads the page anyway."""

MOST_SPAN = 8 << 20
"""Pixels with gaps between them are read in pieces of at most so many bytes."""


def span_nbytes(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> int:
    """Return the bytes from the first pixel of a strided block to the end of its last one."""
    if 0 in shape:
        return 0
    return sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + itemsize


def dense_strides(shape: Sequence[int], itemsize: int, order: str = "C") -> tuple[int, ...]:
    """Return the strides in bytes of pixels that lie next to each other, in C or Fortran order."""
    fastest_first = slice(None) if order == "F" else slice(None, None, -1)
    steps = accumulate(shape[fastest_first], operator.mul, initial=itemsize)
    return tuple(steps)[:-1][fastest_first]


def read_strided(path: str, offset: int, target: Array, strides: tuple[int, ...]) -> None:
    """Read a strided block of a file.

    Parameters
    ----------
    path : str
        The file.
    offset : int
        Where the first pixel is.
    target : numpy.ndarray
        Filled; of the type that is stored, byte order included. Its bytes are in native order
        afterwards.
    strides : tuple of int
        Bytes between neighbors in the file along each axis.

    Raises
    ------
    ChunkReadError
        If the file cannot be read, or ends before the block does.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            if target.size and _as_stored(target, strides):
                _read_into(file, offset, target)
            elif target.size:
                _fill(file, offset, *_slowest_first(target, strides))
    except (OSError, ValueError, MemoryError) as err:
        if isinstance(err, ChunkReadError):
            raise
        raise read_error(
            path,
            "a file that can be read",
            f"an error of the system: {getattr(err, 'strerror', None) or err}",
            "check the disk or the network and retry",
        ) from err
    if not target.dtype.isnative:
        target.byteswap(inplace=True)


def native(pixels: Array) -> Array:
    """Return pixels in native byte order, swapped in place."""
    if pixels.dtype.isnative:
        return pixels
    return pixels.byteswap(inplace=True).view(pixels.dtype.newbyteorder("="))


def _as_stored(target: Array, strides: tuple[int, ...]) -> bool:
    """Whether an array has its pixels in the order in which they are stored, without gaps."""
    dense = dense_strides(target.shape, target.dtype.itemsize)
    return target.flags.c_contiguous and strides == dense


def _slowest_first(target: Array, strides: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    """Return an array with its axes in stored order, without those of one pixel; and strides."""
    longer = [axis for axis, size in enumerate(target.shape) if size > 1]
    order = sorted(longer, key=lambda axis: -strides[axis])
    single = tuple(axis for axis, size in enumerate(target.shape) if size <= 1)
    first: tuple[Any, ...] = (*(0,) * len(single), ...)
    return target.transpose((*single, *order))[first], tuple(strides[axis] for axis in order)


def _fill(file: IO[bytes], offset: int, target: Array, strides: tuple[int, ...]) -> None:
    """Fill `target`, whose axes are in stored order, from the bytes at `offset`."""
    itemsize, shape = target.dtype.itemsize, target.shape
    span = span_nbytes(shape, strides, itemsize)
    few_gaps = _gap(shape, strides, itemsize) < PAGE or span <= 1.1 * target.nbytes
    if _as_stored(target, strides):
        _read_into(file, offset, target)
    elif span <= MOST_SPAN and few_gaps:
        block = np.empty(span, np.uint8)
        _read_into(file, offset, block)
        target[...] = np.ndarray(shape, target.dtype, block, strides=strides)
    else:
        _fill_in_parts(file, offset, target, strides)


def _fill_in_parts(file: IO[bytes], offset: int, target: Array, strides: tuple[int, ...]) -> None:
    inner = span_nbytes(target.shape[1:], strides[1:], target.dtype.itemsize)
    step, row = 1, target[0, ...]
    if _gap(target.shape, strides, target.dtype.itemsize) < PAGE:
        step = max(1, (MOST_SPAN - inner) // strides[0])
    elif inner == row.nbytes and row.flags.c_contiguous:  # rows, of which there may be many
        for number in range(len(target)):
            _read_into(file, offset + number * strides[0], target[number, ...])
        return
    for start in range(0, len(target), step):
        part = target[start : start + step]
        if len(part) == 1:
            _fill(file, offset + start * strides[0], part[0, ...], strides[1:])
        else:
            _fill(file, offset + start * strides[0], part, strides)


def _gap(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> int:
    """Return the longest distance between the end of one piece and the beginning of the next."""
    longest, run = 0, itemsize
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        longest = max(longest, stride - run)
        run = (size - 1) * stride + run
    return longest


def _read_into(file: IO[bytes], offset: int, target: Array) -> None:
    """Fill a contiguous array from the bytes at `offset`."""
    view = target.reshape(-1).view(np.uint8).data.cast("B")
    file.seek(offset)
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined] # typeshed: raw files only
        if not count:
            end = offset + len(view)
            raise read_error(
                str(file.name),
                f"a file of at least {end:,} bytes",
                f"one that ends at byte {min(offset + done, os.fstat(file.fileno()).st_size):,}",
                "it was cut short while open: copy it again, and open it again",
            )
        done += count


def check_extent(
    path: str, size: int, end: int, *, exact: bool = True, what: str | None = None
) -> None:
    """Refuse a file that is shorter than its pixels; say of a longer one that it is.

    Parameters
    ----------
    path : str
        The file.
    size : int
        Its bytes.
    end : int
        Where the last pixel ends.
    exact : bool
        Whether more bytes than that matter.
    what : str, optional
        What the user says of the pixels, where the file has no header: then more bytes are refused.

    Raises
    ------
    SourceOpenError
        With both sizes.
    """
    refuse_if(
        size < end,
        path,
        f"{end:,} bytes as {what or 'its header'} says",
        f"{size:,} bytes",
        "it is truncated, or described wrongly: copy it again",
    )
    if not exact or size <= end:
        return
    if what is None:
        expected = f"expected {end:,} bytes as its header says, found {size:,} bytes"
        hint = "If the image looks wrong, check the shape and the type in the header"
        text = f"{path}: {expected}; the {size - end:,} bytes behind the pixels are ignored. {hint}"
        warnings.warn(text, LazyLoadWarning, stacklevel=2)
        return
    raise open_error(
        path,
        f"{end:,} bytes as {what} says",
        f"{size:,} bytes",
        f"{size - end:,} bytes are left over: check the description, or open it with trailing=True",
    )


def item_count(shape: Sequence[int]) -> int:
    """Return how many pixels a shape has, as a Python number, which never overflows."""
    return prod(map(int, shape))
