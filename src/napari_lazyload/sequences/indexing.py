"""What an index to a sequence means: one image, or the places of several."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


def one_position(index: Any, count: int) -> int | None:
    """Return the place, from 0, that a whole number means; None where the index is of another kind.

    Raises
    ------
    IndexError
        If it is out of range.
    """
    if isinstance(index, (bool, np.bool_)):
        return None
    try:
        number = operator.index(index)
    except TypeError:
        return None
    if not -count <= number < count:
        raise _out_of_range(number, count)
    return number % count


def positions(index: Any, count: int) -> Array:
    """Return the places, from 0, that an index to several of `count` images means.

    Raises
    ------
    IndexError
        If a number is out of range.
    ValueError
        If the index has more than one axis, or a mask not one value for each image.
    TypeError
        If it is of another type.
    """
    if isinstance(index, slice):
        return np.arange(*index.indices(count))
    if isinstance(index, tuple):
        raise ValueError(  # noqa: TRY004 - NumPy reads a tuple as an index to several axes
            f"a sequence has one axis, got the index {index!r}; give a list, "
            "or index the image that seq[i] gives"
        )
    if not isinstance(index, (list, range, np.ndarray, pd.Series, pd.Index)):
        raise _another_type(index)
    chosen = np.asarray(_in_row_order(index) if isinstance(index, pd.Series) else index)
    if chosen.ndim > 1:
        raise ValueError(
            f"an index to a sequence has one axis, got {chosen.ndim} axes of shape {chosen.shape}"
        )
    if chosen.dtype == bool and chosen.ndim:
        return _where_true(chosen, count)
    if not chosen.size:
        return np.empty(0, np.intp)
    if chosen.dtype.kind not in "iu" or not chosen.ndim:
        raise _another_type(index)
    for edge in (chosen.min(), chosen.max()):
        if not -count <= edge < count:
            raise _out_of_range(int(edge), count)
    chosen = chosen.astype(np.intp)
    return np.where(chosen < 0, chosen + count, chosen)


def _where_true(mask: Array, count: int) -> Array:
    if len(mask) != count:
        raise ValueError(
            f"a mask must have one bool for each of the {count} images, got {len(mask)}"
        )
    return np.flatnonzero(mask)


def _in_row_order(mask: pd.Series[Any]) -> pd.Series[Any]:
    """Return a mask in the order of the rows that it numbers, all else as it is."""
    numbers = pd.RangeIndex(len(mask))
    if (
        mask.dtype != bool
        or mask.index.equals(numbers)
        or not mask.index.sort_values().equals(numbers)
    ):
        return mask
    return mask.reindex(numbers)


def _out_of_range(index: int, count: int) -> IndexError:
    there = "there is no image"
    if count:
        there = f"there are {count} images, 0 to {count - 1} or -{count} to -1"
    return IndexError(f"index {index} is out of range: {there}")


def _another_type(index: Any) -> TypeError:
    what = f"{index.dtype} array" if isinstance(index, (np.ndarray, pd.Series)) else repr(index)
    wanted = "a whole number, a slice, a list or 1-D array of whole numbers, or a mask of bool"
    return TypeError(f"an index is {wanted}, got {what}")
