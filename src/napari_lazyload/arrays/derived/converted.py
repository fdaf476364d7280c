"""An image whose values are converted chunk by chunk, for what a viewer cannot show as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.source import is_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Chunk, Source

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class ConvertedChunk:
    """A chunk of another source, converted; the original does not enter the cache."""

    chunk: Chunk
    function: Callable[[Array], Array]
    dtype: np.dtype[Any]

    @property
    def key(self) -> Hashable:
        """Key of the original, and what is done to it."""
        return ("converted", self.function.__name__, self.dtype.str, self.chunk.key)

    def load(self) -> Array:
        """Read the original and convert it."""
        return np.ascontiguousarray(self.function(self.chunk.load()), self.dtype)


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
        self.remote = is_remote(source)

    def chunk(self, level: int, index: BlockIndex) -> ConvertedChunk:
        """Return the reference to one converted chunk."""
        return ConvertedChunk(self.original.chunk(level, index), self._function, self.meta.dtype)


def truth_as_number(pixels: Array) -> Array:
    """Return 1 for True and 0 for False."""
    return pixels.astype(np.uint8)


def displayable(source: Source) -> tuple[Source, str | None]:
    """Return a source that napari can show, and what was done to it in words, or None.

    Complex values are shown as their magnitude, extended precision as double precision, labels of
    truth values as 0 and
    1.
    """
    dtype = source.meta.dtype
    if source.meta.kind == "labels" and dtype.kind == "b":
        number = np.dtype(np.uint8)
        return ConvertedSource(
            source, truth_as_number, number
        ), "labels of truth values are shown as 0 and 1"
    if dtype.kind == "c":
        shown = np.dtype(np.float32 if dtype.itemsize <= 8 else np.float64)
        return ConvertedSource(
            source, np.abs, shown
        ), f"{dtype} values are shown as their magnitude"
    if dtype.kind == "f" and dtype.itemsize > 8:
        return ConvertedSource(
            source, np.positive, np.dtype(np.float64)
        ), f"{dtype} is shown as float64"
    return source, None
