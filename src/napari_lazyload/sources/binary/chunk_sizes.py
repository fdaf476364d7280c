"""The chunks in which a binary is read: as people look at it, and as its bytes lie."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.files import refuse_option_if

if TYPE_CHECKING:
    from collections.abc import Sequence

Sizes = tuple["int | tuple[int, ...]", ...]

BAND = 2 << 20
"""Planes of more bytes are read in bands of rows of at most so many. Twice that took 1.5 times as
long: from 4 MiB on, NumPy asks for huge pages, which the system has to clear first."""

SMALL = 256 << 10
"""Planes of fewer bytes are read several together."""

SHORT_RUN = 1024
"""Where fewer bytes of a plane lie next to each other, chunks follow the order of storage
instead."""

_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}


def auto_chunks(
    shape: Sequence[int],
    strides: Sequence[int],
    itemsize: int,
    *,
    fixed: Sequence[int] = (),
    single: int = 0,
    target: int | None = None,
) -> tuple[int, ...]:
    """Return the chunk size along each axis.

    Parameters
    ----------
    shape : sequence of int
        Of the image.
    strides : sequence of int
        Bytes between neighbors along each axis.
    itemsize : int
        Bytes of a pixel.
    fixed : sequence of int
        Axes that are never split: colors.
    single : int
        So many leading axes have chunks of one: frames that the meta table counts, or that lie
        apart.
    target : int, optional
        Bytes of a chunk; by default up to `BAND` and at least `SMALL`.
    """
    band, small = (BAND, SMALL) if target is None else (target, target)
    free = [axis for axis in range(len(shape)) if axis not in fixed]
    plane = free[-2:]
    chunks = [size if axis in fixed else 1 for axis, size in enumerate(shape)]
    room = band // max(1, prod(shape[axis] for axis in fixed) * itemsize)  # in pixels
    by_stride = strides.__getitem__
    plane_nbytes = prod(shape[axis] for axis in plane) * itemsize
    run = run_nbytes(shape, strides, itemsize, [*plane, *fixed])
    if run >= min(SHORT_RUN, plane_nbytes):
        _grow(chunks, shape, sorted(plane, key=by_stride), room)
        room = small // max(1, prod(chunks) * itemsize)
        if prod(chunks[axis] for axis in plane) * itemsize == plane_nbytes:
            _grow(chunks, shape, sorted(free[single:-2], key=by_stride), room)
    else:
        _grow(chunks, shape, sorted(free[single:], key=by_stride), room)
    return tuple(chunks)


def _grow(chunks: list[int], shape: Sequence[int], axes: Sequence[int], room: int) -> None:
    """Let axes be whole, one by one, as long as there is room; the last is split evenly."""
    for axis in axes:
        parts = ceil(shape[axis] / max(1, room))
        chunks[axis] = ceil(shape[axis] / parts)
        room //= chunks[axis]  # at most one behind an axis that was split


def run_nbytes(
    shape: Sequence[int], strides: Sequence[int], itemsize: int, axes: Sequence[int] | None = None
) -> int:
    """Return how many bytes lie next to each other in the block that spans `axes` (all of them)."""
    run = itemsize
    if axes is None:
        axes = range(len(shape))
    for axis in sorted(axes, key=strides.__getitem__):
        if shape[axis] > 1:
            if strides[axis] > run + run // 8:  # a little padding is no gap
                break
            run = strides[axis] * (shape[axis] - 1) + run
    return run


def chunk_sizes(
    chunks: Any,
    axes: Sequence[str],
    shape: Sequence[int],
    strides: Sequence[int],
    itemsize: int,
    *,
    fixed: Sequence[int] = (),
    single: int = 0,
) -> Sizes:
    """Return the chunk sizes that a user requests.

    Parameters
    ----------
    chunks : "auto", str, int, tuple, or mapping
        ``"auto"``; bytes such as ``"16 MiB"``; one size for every axis, where -1 is the whole axis;
        for each axis a size, None (automatic) or a tuple of sizes; or a mapping from axis name or
        number to one of these.
    axes, shape, strides, itemsize, fixed, single
        As in :func:`auto_chunks`.

    Raises
    ------
    ValueError
        If the chunks do not suit the shape; the message says why.
    """

    def auto(target: int | None = None) -> tuple[int, ...]:
        return auto_chunks(shape, strides, itemsize, fixed=fixed, single=single, target=target)

    if chunks is None or (isinstance(chunks, str) and chunks == "auto"):
        return auto()
    if isinstance(chunks, str):
        return auto(_nbytes(chunks))
    requested: list[Any] = [None] * len(shape)
    if isinstance(chunks, Mapping):
        for axis, size in chunks.items():
            requested[_axis_number(axis, axes)] = size
    elif isinstance(chunks, Iterable):
        requested = list(chunks)
        refuse_option_if(
            len(requested) != len(shape),
            f"chunks {chunks!r}: expected {len(shape)} sizes for axes {', '.join(axes)}, "
            f"got {len(requested)}",
        )
    else:
        requested = [-1 if axis in fixed else chunks for axis in range(len(shape))]
    each = zip(requested, auto(), shape, axes, strict=True)
    return tuple(_size(*along, chunks) for along in each)


def _axis_number(axis: Any, axes: Sequence[str]) -> int:
    if axis in axes:
        return list(axes).index(axis)
    try:
        number = operator.index(axis)
    except TypeError:
        number = len(axes)
    refuse_option_if(
        not -len(axes) <= number < len(axes),
        f"chunks name the axis {axis!r}; there are {', '.join(axes)}, or numbers below {len(axes)}",
    )
    return number


def _size(
    requested: Any, automatic: int, size: int, axis: str, chunks: Any
) -> int | tuple[int, ...]:
    """Return the chunks along one axis."""
    if requested is None or (isinstance(requested, str) and requested == "auto"):
        return automatic
    if isinstance(requested, Iterable) and not isinstance(requested, str):
        parts = tuple(_whole(part, axis, chunks) for part in requested)
        refuse_option_if(
            sum(parts) != size or min(parts, default=0) < 1,
            f"chunks {chunks!r}: those of axis {axis!r} must be positive and sum to {size}, "
            f"got {parts}",
        )
        return parts
    number = _whole(requested, axis, chunks)
    if number == -1:
        return size
    refuse_option_if(
        number < 1,
        f"chunks {chunks!r}: the size along axis {axis!r} must be at least 1, or -1 for all of it, "
        f"got {number}",
    )
    return min(number, size)


def _whole(value: Any, axis: str, chunks: Any) -> int:
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    msg = f"chunks {chunks!r}: the size along axis {axis!r} must be a whole number, got {value!r}"
    raise ValueError(msg)


def _nbytes(text: str) -> int:
    """Return the bytes of a text such as ``"16 MiB"``."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)\s*", text, re.IGNORECASE | re.ASCII)
    if found is None or found[2].lower() not in _UNITS:
        units = "(B, kB, MB, GB, KiB, MiB or GiB)"
        msg = f"chunks {text!r}: expected 'auto' or bytes such as '16 MiB' {units}"
        raise ValueError(msg)
    nbytes = int(float(found[1]) * _UNITS[found[2].lower()])
    refuse_option_if(nbytes < 1, f"chunks {text!r}: expected at least one byte")
    return nbytes
