"""Pixels on the screen that are not, or not all, those of the data: no value is told for them."""

from __future__ import annotations

from typing import Any

import numpy as np


class PlaceholderArray(np.ndarray[Any, Any]):
    """A view that is thinned out, or not all there yet. A single pixel of it has no value to tell.

    Attributes
    ----------
    value : str or None
        What is told instead.
    """

    value: str | None = None

    def __array_finalize__(self, source: Any) -> None:
        self.value = getattr(source, "value", None)

    def __getitem__(self, key: Any) -> Any:
        if (
            isinstance(key, tuple)
            and key
            and all(isinstance(part, (int, np.integer)) for part in key)
        ):
            return self.value
        return super().__getitem__(key)


def placeholder_array(pixels: np.ndarray[Any, Any], value: str | None) -> PlaceholderArray:
    """Return the same pixels as :class:`PlaceholderArray`."""
    view = pixels.view(PlaceholderArray)
    view.value = value
    return view
