"""What a cast to another type would lose."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np


def cast_loss(source_dtype: Any, dtype: Any, limits: tuple[float, float] | None = None) -> str:
    """Return what a cast of pixels would lose, as a sentence; "" where it keeps every value.

    Parameters
    ----------
    source_dtype, dtype : dtype-like
        What the pixels are, and what they are to become as ``astype`` does it.
    limits : (number, number), optional
        The least and the greatest value, where they are known; by default all that the type can
        hold.

    Returns
    -------
    str
        One sentence.

    Examples
    --------
    >>> cast_loss("uint16", "uint8")
    'As uint8, values above 255 wrap around.'
    >>> cast_loss("uint16", "uint8", limits=(0, 200))
    ''
    >>> cast_loss("uint16", "float16")
    'As float16, whole numbers beyond 2048 are rounded and values above 65504 become infinite.'
    """
    source, target = np.dtype(source_dtype), np.dtype(dtype)
    lost: list[str] = []
    if source.kind == "c":
        if target.kind != "c":
            lost.append("the imaginary part is dropped")
        source = np.empty(0, source).real.dtype
    low, high = _value_range(source, limits)
    if target.kind == "b":
        if not (source.kind in "biu" and low >= 0 and high <= 1):
            lost.append("all values but 0 become True")
    elif target.kind in "iu":
        lost += _lost_to_whole(source, target, low, high)
    elif target.kind in "fc" and source.kind in "biuf":
        lost += _lost_to_float(source, np.empty(0, target).real.dtype, low, high)
    else:
        lost.append(f"values of type {source} cannot be kept")
    if not lost:
        return ""
    *first, last = lost
    return f"As {target}, {' and '.join(filter(None, [', '.join(first), last]))}."


def _value_range(source: np.dtype[Any], limits: tuple[float, float] | None) -> tuple[Any, Any]:
    """Return the least and the greatest value that pixels have."""
    if limits is not None and all(map(isfinite, limits)):
        # Python's integers compare exactly with what floats hold.
        kind = int if source.kind in "iu" else float
        return kind(limits[0]), kind(limits[1])
    if source.kind in "iu":
        return int(np.iinfo(source).min), int(np.iinfo(source).max)
    if source.kind == "f":
        return float(np.finfo(source).min), float(np.finfo(source).max)
    return (0, 1)


def _lost_to_whole(
    source: np.dtype[Any], target: np.dtype[Any], low: float, high: float
) -> list[str]:
    info = np.iinfo(target)
    if low < info.min and high > info.max:
        beyond = f"values outside {info.min} to {info.max}"
    elif low < info.min:
        beyond = "negative values" if info.min == 0 else f"values below {info.min}"
    else:
        beyond = f"values above {info.max}" * (high > info.max)
    if source.kind in "biu":
        return [f"{beyond} wrap around"] * bool(beyond)
    others = f"NaN, infinity and {beyond}" if beyond else "NaN and infinity"
    return ["fractions are cut off", f"{others} become arbitrary numbers"]


def _lost_to_float(
    source: np.dtype[Any], target: np.dtype[Any], low: float, high: float
) -> list[str]:
    info, lost, furthest = np.finfo(target), [], max(-low, high)
    whole, largest = 2 ** (info.nmant + 1), float(info.max)
    if source.kind == "f":
        if np.finfo(source).nmant > info.nmant:
            lost.append(f"values are rounded to {info.precision} digits")
    elif furthest > whole:
        lost.append(f"whole numbers beyond {whole} are rounded")
    # Values less than half a step beyond the largest number are rounded to it.
    if isfinite(largest) and furthest >= largest + 2.0 ** (info.maxexp - info.nmant - 2):
        where = ("above", "beyond")[-low > largest]
        lost.append(f"values {where} {largest:g} become infinite")
    return lost
