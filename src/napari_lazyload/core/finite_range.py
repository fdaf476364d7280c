"""The least and the greatest number among some pixels."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np


def finite_range(pixels: np.ndarray[Any, Any]) -> tuple[float, float] | None:
    """Return the smallest and the largest finite number among some pixels, None without any."""
    if not pixels.size:
        return None
    low, high = float(pixels.min()), float(pixels.max())
    if isfinite(low) and isfinite(high):  # most pixels: a mask of them all would only cost time
        return low, high
    finite = pixels[np.isfinite(pixels)]
    return (float(finite.min()), float(finite.max())) if finite.size else None
