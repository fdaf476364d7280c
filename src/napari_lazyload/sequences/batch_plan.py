"""The arguments of batches, and which images make which batch."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

Array: TypeAlias = "np.ndarray[Any, Any]"
Random: TypeAlias = "np.random.Generator | np.random.RandomState"


def at_least(name: str, value: Any, least: int) -> int:
    """Return `value` as a whole number.

    Raises
    ------
    TypeError
        If it is not one.
    ValueError
        If it is below `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def random_order(shuffle: Any) -> Random | None:
    """Return what draws the order, or None where images come in theirs.

    Raises
    ------
    TypeError
        If `shuffle` is none of True, False, None, a Generator, a RandomState.
    """
    if shuffle is None or isinstance(shuffle, (bool, np.bool_)):
        return np.random.default_rng() if shuffle else None
    if isinstance(shuffle, (np.random.Generator, np.random.RandomState)):
        return shuffle
    raise TypeError(
        "shuffle must be True, False, a numpy.random.Generator or a RandomState, "
        f"got {shuffle!r}; for a seed give numpy.random.default_rng(seed)"
    )


def probabilities(weights: Any, count: int) -> Array:
    """Return the chance of each of `count` images to be drawn.

    Raises
    ------
    ValueError
        If there are not `count` weights, one is negative or not finite, or all are zero.
    """
    given = np.asarray(weights, dtype=float)
    if given.shape != (count,):
        raise ValueError(
            f"weights must be {count} numbers, one for each image, "
            f"got an array of shape {given.shape}"
        )
    if not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
        raise ValueError("weights must be finite, not negative, and not all zero")
    return np.asarray(given / given.sum())


def plan_batches(
    count: int,
    batch_size: int,
    *,
    random: Random | None,
    chances: Array | None,
    drop_last: bool,
    repeats: int,
) -> Iterator[Array]:
    """Yield the positions of each batch, epoch by epoch; no batch has images of two.

    Parameters
    ----------
    count : int
        How many images there are.
    batch_size : int
        How many make a batch.
    random : Generator, RandomState or None
        Draws the order of each epoch; without it images come in theirs.
    chances : numpy.ndarray or None
        Draw `count` images with replacement, each with its chance.
    drop_last : bool
        Whether a short batch at the end of an epoch is left out.
    repeats : int
        How many epochs.
    """
    for _ in range(repeats):
        if chances is not None:
            order = (random or np.random.default_rng()).choice(count, count, p=chances)
        else:
            order = np.arange(count) if random is None else random.permutation(count)
        stop = count - count % batch_size if drop_last else count
        for start in range(0, stop, batch_size):
            yield order[start : start + batch_size]
