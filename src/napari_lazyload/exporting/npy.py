"""NPY, as NumPy's own writer makes it, but streamed.

Source of the format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. The
pixels are written by calls, not through a memory map: where the disk is full, a call fails with an
error, a memory map ends the program.
"""

from __future__ import annotations

from itertools import zip_longest
from math import prod
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.exporting.streaming import read_slabs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.exporting.streaming import ExportProgress, PixelStream

    Array = np.ndarray[Any, Any]

_HEADER = 4096
"""More bytes than a header has."""


def npy_nbytes(stream: PixelStream) -> int:
    """Return how large the file is, at most."""
    return prod(stream.shape) * stream.dtype.itemsize + _HEADER


def write_npy(path: str, stream: PixelStream, progress: ExportProgress) -> None:
    """Write an array to a path where nothing is."""
    header = {
        "descr": np.lib.format.dtype_to_descr(stream.dtype),
        "fortran_order": False,
        "shape": stream.shape,
    }
    with open(path, "wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for size in write_pixels(file, stream, progress):
            progress.add(size)


def write_pixels(file: IO[bytes], stream: PixelStream, progress: ExportProgress) -> Iterator[int]:
    """Write a stream from where a file stands, each source chunk read once; yield pixel counts."""
    start = file.tell()
    units = stream.grid if stream.chunked else ChunkGrid(stream.shape, (1,) * len(stream.shape))
    for box, pixels in read_slabs(stream, units, progress):
        _put(file, start, stream, box, pixels)
        yield pixels.size


def _put(file: IO[bytes], start: int, stream: PixelStream, box: Box, pixels: Array) -> None:
    """Write a box to its place, in runs that are contiguous in the file."""
    axis = _runs_from(box, stream.shape)
    origin = [first for first, _ in box]
    for index in np.ndindex(*box_shape(box)[:axis]):
        position = 0  # in pixels, as of an array in C order
        for size, first, offset in zip_longest(stream.shape, origin, index, fillvalue=0):
            position = position * size + first + offset
        file.seek(start + stream.dtype.itemsize * position)
        file.write(np.ascontiguousarray(pixels[index]).data.cast("B"))


def _runs_from(box: Box, shape: Sequence[int]) -> int:
    """Return the first axis from which on a box is contiguous: all axes behind it are whole."""
    axis = len(shape) - 1
    while axis > 0 and box[axis] == (0, shape[axis]):
        axis -= 1
    return axis
