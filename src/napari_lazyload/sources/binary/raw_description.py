"""Raw files: what a script says of one, and the frames in it."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.binary.header_checks import check_image, default_axes, named_axes
from napari_lazyload.sources.binary.read_strided import check_extent, dense_strides, item_count
from napari_lazyload.sources.binary.records import pick_field
from napari_lazyload.sources.binary.strided import Frames, StridedFileSource, StridedLayout, dense
from napari_lazyload.sources.files import FileStamp, file_name, open_error, refuse_option_if

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_GRID = 1 << 27
"""A grid has at most so many places: each costs eight bytes."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a raw file holds.

    Parameters
    ----------
    dtype : numpy.dtype
        As stored, byte order included; may have fields.
    shape : tuple of int, optional
        Slowest axis first; one size may be -1. By default as many as the file holds behind
        `offset`.
    offset : int
        Bytes before the first pixel.
    order : {"C", "F"}
        Whether the last or the first axis is stored fastest.
    key : str, optional
        The field to show, for a type with fields.
    positions : numpy.ndarray of int, optional
        Where on a grid each frame lies, (frames, grid axes).
    exact : bool
        Whether bytes behind the last pixel are refused.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None = None
    offset: int = 0
    order: str = "C"
    key: str | None = None
    positions: np.ndarray[Any, Any] | None = None
    exact: bool = False


def description(
    dtype: Any,
    shape: Any = None,
    offset: Any = 0,
    order: str = "C",
    key: str | None = None,
    *,
    positions: Any = None,
    exact: bool = False,
) -> Description:
    """Return what users write as a `Description`.

    Raises
    ------
    ValueError
        If a value is none that it can be.
    """
    try:
        stored = np.dtype("none" if dtype is None else dtype)  # NumPy takes None for float64
    except (TypeError, ValueError, SyntaxError) as err:
        usual = "write one such as 'uint16', '>f4' or a structured one"
        msg = f"dtype={dtype!r} is no type of NumPy; {usual}"
        raise ValueError(msg) from err
    refuse_option_if(
        stored.hasobject or stored.itemsize == 0,
        f"dtype={dtype!r}: expected numbers of a fixed size, not objects",
    )
    refuse_option_if(
        order not in ("C", "F"),
        f"order must be 'C' (last axis fastest) or 'F' (first axis fastest), got {order!r}",
    )
    start = _whole("offset", offset)
    refuse_option_if(start < 0, f"offset must be at least 0, got {offset!r}")
    return Description(stored, _shape(shape), start, order, key, _positions(positions), exact)


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    msg = f"{name} must be made of whole numbers, got {value!r}"
    raise ValueError(msg)


def _shape(shape: Any) -> tuple[int, ...] | None:
    if shape is None:
        return None
    sizes = shape if isinstance(shape, (tuple, list, np.ndarray)) else (shape,)
    found = tuple(_whole("shape", size) for size in sizes)
    known = [size for size in found if size != -1]
    refuse_option_if(
        not found or len(found) > len(known) + 1 or min(known, default=1) < 1,
        "shape must have positive sizes, of which one may be -1 (as many as there are), "
        f"got {shape!r}",
    )
    return found


def _positions(positions: Any) -> np.ndarray[Any, Any] | None:
    if positions is None:
        return None
    places = np.asarray(positions)
    if places.ndim == 1:
        places = places[:, np.newaxis]
    refuse_option_if(
        places.ndim != 2 or not places.size or places.dtype.kind not in "iu" or places.min() < 0,
        "positions must be the index of each frame on the grid, as whole numbers of at least "
        "0: an array of shape (frames,) or (frames, grid axes), "
        f"got shape {places.shape} of {places.dtype}",
    )
    return places.astype(np.int64)


def described_source(
    path: str,
    what: Description,
    *,
    axes: Sequence[str] | None = None,
    chunks: Any = "auto",
    least: int = 1,
    **meta: Any,
) -> StridedFileSource:
    """Return the source of a raw file that a description fits.

    Parameters
    ----------
    path : str
        Absolute path.
    what : Description
        What it holds.
    axes : sequence of str, optional
        Names; the end of ``t c z y x`` by default.
    chunks : Any
        See `napari_lazyload.sources.binary.chunk_sizes.chunk_sizes`.
    least : int
        Fewer axes than this are no image.
    **meta
        More fields of `ImageMeta`.

    Raises
    ------
    SourceOpenError
        If it is not there, or too short, or too long where the description is exact.
    ValueError
        If shape, positions or chunks do not suit it.
    """
    size = FileStamp.at_open(path, "a raw file").size
    if what.positions is not None:
        layout, frames = _scattered(path, size, what, what.positions)
    else:
        shape = _full_shape(path, size, what)
        records = dense(shape, what.dtype, what.offset, what.order)
        _check(path, size, records.end, what)
        layout, frames = pick_field(path, records, what.key), None
    check_image(path, layout.shape, layout.dtype, least=least)
    names = named_axes(path, axes, layout.shape) or default_axes(layout.shape, layout.dtype)
    # No stamp: nothing but the size is known of the file, and one that is still being written is
    # welcome.
    return StridedFileSource(
        layout, [(path, None)], file_name(path), names, frames=frames, chunks=chunks, **meta
    )


def _check(path: str, size: int, end: int, what: Description) -> None:
    text = f"{what.shape} of {what.dtype} at {what.offset}"[:200]
    check_extent(path, size, end, exact=what.exact, what=f"shape and type ({text})")


def _full_shape(path: str, size: int, what: Description) -> tuple[int, ...]:
    """Return the shape; an axis of -1 is as long as the size of the file says."""
    known = what.shape or (-1,)
    if -1 not in known:
        return known
    step = what.dtype.itemsize * -item_count(known)
    rest = size - what.offset
    count = rest // step
    if count < 1 or (rest % step and (what.exact or what.shape is None)):
        raise open_error(
            path,
            f"{what.offset:,} bytes and then whole pieces of {step:,} bytes",
            f"{size:,} bytes, {rest % step:,} of them left over",
            "check dtype, shape and offset",
        )
    place = known.index(-1)
    return (*known[:place], count, *known[place + 1 :])


def _scattered(
    path: str, size: int, what: Description, places: np.ndarray[Any, Any]
) -> tuple[StridedLayout, Frames]:
    """Return the layout of frames on a grid: the grid's axes first, then those of a frame."""
    ndim = places.shape[1]
    highest = tuple(places.max(axis=0).tolist())
    shape = what.shape or tuple(place + 1 for place in highest)
    grid, inner = shape[:ndim], shape[ndim:]
    refuse_option_if(
        len(grid) < ndim or -1 in shape or (places >= np.array(grid)).any(),
        f"positions reach {highest}; shape={what.shape} must begin with the {ndim} sizes of "
        "a grid that holds them",
    )
    refuse_option_if(
        item_count(grid) > MOST_GRID, f"a grid of {grid} has more than {MOST_GRID:,} places"
    )
    record = dense(inner, what.dtype, what.offset, what.order)
    frame = pick_field(path, record, what.key)
    stride = item_count(inner) * what.dtype.itemsize
    _check(path, size, what.offset + stride * len(places), what)
    numbers = np.full(item_count(grid), -1, np.int64)
    flat = np.ravel_multi_index(tuple(places.T), grid)
    numbers[flat] = np.arange(len(places))
    refuse_option_if(
        (numbers >= 0).sum() < len(places),
        "positions must differ: two frames cannot lie at the same place of the grid",
    )
    lead = dense_strides(grid, stride)
    layout = StridedLayout(
        (*grid, *frame.shape), frame.dtype, frame.offset, (*lead, *frame.strides)
    )
    return layout, Frames(ndim, stride, len(places), numbers)


def absolute(path: str | os.PathLike[str]) -> str:
    """Return an absolute path; ``~`` is the user's home."""
    return os.path.abspath(os.path.expanduser(os.fsdecode(path)))
