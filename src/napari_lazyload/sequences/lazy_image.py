"""One image of a sequence in the hands of its user: read at first use, or read already."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_lazyload.core.text import describe_pixels
from napari_lazyload.sequences.file_store import Array, Form, form_of
from napari_lazyload.sequences.items import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a meta table, cut out at first use: a million images need no million Series."""

    frame: pd.DataFrame
    position: int

    def __reduce__(self) -> tuple[Any, ...]:
        return (Row, (self.frame.iloc[[self.position]], 0))

    def series(self) -> pd.Series[Any]:
        """Return the row, a copy."""
        return self.frame.iloc[self.position].copy()


class LazyImage:
    """One image that is read when its pixels are first requested: once, in the requesting thread.

    Parameters
    ----------
    load_fn : callable
        Called without arguments; returns the pixels. If it raises, the next use calls it again.
    meta : pandas.Series or mapping, optional
        What is known of the image.

    Raises
    ------
    TypeError
        If `load_fn` cannot be called.
    """

    __slots__ = ("__weakref__", "_data", "_load_fn", "_lock", "_meta")

    def __init__(
        self,
        load_fn: Callable[[], Any],
        meta: pd.Series[Any] | Mapping[str, Any] | Row | None = None,
    ) -> None:
        if not callable(load_fn):
            raise TypeError(
                f"load_fn must be a function without arguments that returns pixels, got {load_fn!r}"
            )
        self._load_fn = load_fn
        self._meta = meta
        self._lock = threading.Lock()
        self._data: Array | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (LazyImage, (self._load_fn, self._meta))

    @property
    def meta(self) -> pd.Series[Any] | None:
        """Its row of the meta table, a copy; None where nothing was given."""
        if self._meta is None:
            return None
        return self._meta.series() if isinstance(self._meta, Row) else pd.Series(self._meta).copy()

    @property
    def loaded(self) -> bool:
        """Whether the pixels are there."""
        return self._data is not None

    @property
    def data(self) -> Array:
        """The pixels, read-only; pages first where a file has several, then y, x, color samples.

        Raises
        ------
        ChunkReadError
            If the file cannot be read; it is tried again at the next use.
        """
        with self._lock:
            if self._data is None:
                pixels = np.asarray(self._load_fn()).view()
                pixels.flags.writeable = False
                self._data = pixels
            return self._data

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis: from the header, or of `data` if a function may change them."""
        return self._form()[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel: from the header, or of `data` where a function may change it."""
        return self._form()[1]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def _form(self) -> Form:
        form = None
        if isinstance(self._load_fn, Item) and not self.loaded:
            form = self._load_fn.form()
        return form or form_of(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        name = getattr(self._load_fn, "__name__", "image")
        if isinstance(self._load_fn, Item):
            name = self._load_fn.name
        state = "not loaded" if self._data is None else describe_pixels(*form_of(self._data))
        return f"<LazyImage {name!r}: {state}>"


class LoadedImage(np.ndarray[Any, np.dtype[Any]]):
    """One image of a sequence with ``lazy=False``: a read-only NumPy array that knows its row.

    Results of arithmetic are plain arrays.
    """

    _row: Row | None

    def __new__(cls, pixels: Array, row: Row | None) -> LoadedImage:
        """Make a view of `pixels`."""
        self = np.asarray(pixels).view(cls)
        self.flags.writeable = False
        self._row = row
        return self

    def __array_finalize__(self, other: Any) -> None:
        self._row = getattr(other, "_row", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __reduce__(self) -> tuple[Any, ...]:
        return (LoadedImage, (np.array(self), self._row))

    @property
    def data(self) -> Array:  # type: ignore[override] # the pixels, as of LazyImage
        """The pixels as a plain NumPy array, read-only."""
        return self.view(np.ndarray)

    @property
    def meta(self) -> pd.Series[Any] | None:
        """Its row of the meta table, a copy."""
        return None if self._row is None else self._row.series()
