"""Pixels to read back."""

from __future__ import annotations

from typing import Any

import numpy as np


def pixels(shape: tuple[int, ...] = (6, 40, 50), dtype: str = "u2") -> np.ndarray[Any, Any]:
    """Return pixels that all differ, as far as the type allows."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)
