"""An image whose values are converted chunk by chunk, for what a viewer cannot show as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.source import box_reader, is_ready, is_remote, path_of, status_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.core.source import BoxReader, Chunk, ChunkKey, Source

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class ConvertedChunk:
    """A chunk of another source, converted; the original does not enter the cache."""

    chunk: Chunk
    function: Callable[[Array], Array]
    dtype: np.dtype[Any]

    @property
    def path(self) -> str:
        """Where the original is."""
        return path_of(self.chunk)

    @property
    def ready(self) -> bool:
        """Whether the key of the original can be found without waiting."""
        return is_ready(self.chunk)

    @property
    def key(self) -> ChunkKey:
        """Key of the original, and what is done to it."""
        return self.chunk.key.derived("converted", self.function.__name__, self.dtype.str)

    def load(self) -> Array:
        """Read the original and convert it."""
        return np.ascontiguousarray(self.function(self.chunk.load()), self.dtype)


@dataclass(frozen=True, slots=True)
class ConvertedBox:
    """A box of another source, converted once it is read.

    Parameters
    ----------
    reader : BoxReader
        Reads the original.
    stored : numpy.dtype
        Type of the original.
    function : callable
        Converts it.
    """

    reader: BoxReader
    stored: np.dtype[Any]
    function: Callable[[Array], Array]

    @property
    def is_raw_layout(self) -> bool:
        """Never: what is converted is worth keeping."""
        return False

    def load_into(self, target: Array) -> None:
        """Read and convert the box; see `napari_lazyload.core.source.BoxReader`."""
        pixels = np.empty(target.shape, self.stored)
        self.reader.load_into(pixels)
        np.copyto(target, self.function(pixels), casting="unsafe")


class ConvertedSource:
    """The image of another source after ``function``, which keeps the shape of an array.

    Parameters
    ----------
    source : Source
        The original.
    function : callable
        A named function of a module, so that it pickles.
    dtype : numpy.dtype
        What it gives.
    """

    def __init__(
        self, source: Source, function: Callable[[Array], Array], dtype: np.dtype[Any]
    ) -> None:
        self.original = source
        self._function = function
        self.meta = replace(source.meta, dtype=dtype, contrast_limits=None)
        self.token = f"{source.token}-{function.__name__}-{dtype.str}"
        self.status_token = status_token(source)
        self.remote = is_remote(source)

    def chunk(self, level: int, index: BlockIndex) -> ConvertedChunk:
        """Return the reference to one converted chunk."""
        return ConvertedChunk(self.original.chunk(level, index), self._function, self.meta.dtype)

    def box_reader(self, level: int, box: Box) -> ConvertedBox | None:
        """Return what reads a box and converts it, where the original can read it."""
        reader = box_reader(self.original, level, box)
        if reader is None:
            return None
        return ConvertedBox(reader, self.original.meta.dtype, self._function)


def truth_as_number(pixels: Array) -> Array:
    """Return 1 for True and 0 for False."""
    return pixels.astype(np.uint8)


def displayable(source: Source) -> tuple[Source, str | None]:
    """Return a source that napari can show, and what was done to it in words, or None.

    Complex values are shown as their magnitude, extended precision as double precision, labels of
    truth values as 0 and 1.
    """
    dtype = source.meta.dtype
    if source.meta.kind == "labels" and dtype.kind == "b":
        number = np.dtype(np.uint8)
        text = "labels of truth values are shown as 0 and 1"
        return ConvertedSource(source, truth_as_number, number), text
    if dtype.kind == "c":
        shown = np.dtype(np.float32 if dtype.itemsize <= 8 else np.float64)
        text = f"{dtype} values are shown as their magnitude"
        return ConvertedSource(source, np.abs, shown), text
    if dtype.kind == "f" and dtype.itemsize > 8:
        double = np.dtype(np.float64)
        return ConvertedSource(source, np.positive, double), f"{dtype} is shown as float64"
    return source, None
