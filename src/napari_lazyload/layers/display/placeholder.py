"""Pixels on the screen that are not, or not all, those of the data: they have no value."""

from __future__ import annotations

from typing import Any

import numpy as np


class PlaceholderArray(np.ndarray[Any, Any]):
    """A view that is subsampled, or not complete yet. A single pixel of it has no value.

    Attributes
    ----------
    value : str or None
        What the status bar says instead.
    """

    value: str | None = None

    def __array_finalize__(self, obj: Any) -> None:
        self.value = getattr(obj, "value", None)

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else ()
        if parts and all(isinstance(part, (int, np.integer)) for part in parts):
            return self.value
        return super().__getitem__(key)


def placeholder_array(pixels: np.ndarray[Any, Any], value: str | None) -> PlaceholderArray:
    """Return the same pixels as :class:`PlaceholderArray`."""
    view = pixels.view(PlaceholderArray)
    view.value = value
    return view
