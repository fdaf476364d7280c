"""Shapes and types that fit the size of a raw file, and a preview of what they would show."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.binary.strided_chunks import StridedBlock

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import Box
    from napari_lazyload.sources.binary.strided import StridedFileSource

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Guess:
    """A shape and a type that fit the size of a file, which says nothing about signs.

    Parameters
    ----------
    shape : tuple of int
        Slowest axis first.
    dtype : str
        Name of NumPy's.
    offset : int
        Bytes of a header before the first pixel.
    """

    shape: tuple[int, ...]
    dtype: str
    offset: int = 0

    def __str__(self) -> str:
        offset = f", offset={self.offset}" if self.offset else ""
        return f"shape={self.shape}, dtype={self.dtype!r}{offset}"


_SIDES = "2048 1024 512 256 4096 128 64 1000 2000 500 1280 1200 600 400 300 200 100 3000 4000"
_PLANES = (
    *((int(side), int(side)) for side in _SIDES.split()),
    (2160, 2560),
    (2048, 2560),
    (1200, 1920),
    (1080, 1920),
    (1040, 1392),
    (960, 1280),
    (768, 1024),
    (600, 800),
    (720, 1280),
    (480, 640),
)
_HEADERS = (512, 1024, 2048, 4096, 256, 128, 64, 100, 80, 352, 348, 8192)
"""Lengths of headers, tried where nothing fits without one."""

_TYPES = ("uint16", "uint8", "float32", "float64")
_MOST_GUESSES = 12
_SMALL_SIDE = 200


def guesses(size: int, dtype: Any = None) -> list[Guess]:
    """Return shapes and types that fit a file of `size` bytes, the likeliest first.

    Parameters
    ----------
    size : int
        Of the file, in bytes.
    dtype : dtype-like, optional
        Where that is known.
    """
    try:
        types = _TYPES if dtype is None else (np.dtype(dtype).name,)
    except TypeError:
        types = _TYPES
    for header in (0, *_HEADERS):
        found: list[Guess] = []
        for name in types:
            found += _of_type(size - header, name, header)
        if found:
            return list(dict.fromkeys(sorted(found, key=_unlikely)))[:_MOST_GUESSES]
    return []


def _of_type(size: int, dtype: str, header: int) -> list[Guess]:
    count, left = divmod(size, np.dtype(dtype).itemsize)
    if left or count < 4:
        return []
    shapes: list[tuple[int, ...]] = []
    cube = round(count ** (1 / 3))
    if cube > 1 and cube**3 == count:
        shapes.append((cube, cube, cube))
    if isqrt(count) ** 2 == count:
        shapes.append((isqrt(count),) * 2)
    if dtype == "uint8":
        shapes += [(*plane, 3) for plane in _PLANES if plane[0] * plane[1] * 3 == count]
    fitting = [plane for plane in _PLANES if count % (plane[0] * plane[1]) == 0]
    for high, wide in fitting[:3]:
        planes = count // (high * wide)
        shapes.append((planes, high, wide)[planes == 1 :])
    return [Guess(shape, dtype, header) for shape in shapes]


def _unlikely(guess: Guess) -> tuple[bool, bool, bool, int]:
    """Return the key that sorts guesses, the likeliest first.

    Usual planes go before others; then what is one image or one cube, then larger planes, then
    types.
    """
    shape = guess.shape
    usual = shape[-2:] in _PLANES or shape[-3:-1] in _PLANES
    single = len(shape) == 2 or shape[-1] == 3 or len(set(shape)) == 1
    rank = _TYPES.index(guess.dtype) if guess.dtype in _TYPES else 0
    return not usual, not single, min(shape[-2:]) < _SMALL_SIDE, rank


def plane_count(source: StridedFileSource) -> int:
    """Return how many planes an image has, along all axes before those of a plane."""
    sizes = source.meta.shape[: -3 if source.meta.rgb else -2]
    return int(np.prod(sizes, dtype=object)) if sizes else 1


def plane_sketch(source: StridedFileSource, number: int, side: int) -> Array:
    """Return every k-th pixel of one plane, at most `side` each way; nothing else is read.

    Parameters
    ----------
    source : StridedFileSource
        Of one block of one file.
    number : int
        Of the plane.
    side : int
        Most pixels along each axis.

    Returns
    -------
    numpy.ndarray
        (y, x), or (y, x, 3 or 4) of colors.

    Raises
    ------
    ChunkReadError
        If it cannot be read.
    """
    shape, lead = source.meta.shape, -3 if source.meta.rgb else -2
    whole_plane = [(0, size) for size in shape[lead:]]
    index = np.unravel_index(number, (1, *shape[:lead]))[1:]
    box: Box = (*((int(place), int(place) + 1) for place in index), *whole_plane)
    whole = source.box_reader(0, box)
    if whole is None:
        msg = "a sketch is of an image in one block"
        raise ValueError(msg)
    steps = [1] * len(box)
    for axis in (lead, lead + 1):
        steps[axis] = -(-shape[axis] // side)
    sizes = tuple(-(-size // step) for size, step in zip(whole.shape, steps, strict=True))
    strides = tuple(stride * step for stride, step in zip(whole.strides, steps, strict=True))
    thin = StridedBlock(whole.path, whole.offset, sizes, strides, whole.dtype, opened=whole.opened)
    return thin.load().reshape(sizes[lead:])
