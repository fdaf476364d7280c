"""Coarser levels: which pixels become one, and its value."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]

_ALIKE = 1.5
"""Axes whose pixels are less than this many times as long as the shortest ones are halved with
them, so that pixels of coarse levels are cubes."""


def level_factors(
    shape: Sequence[int], sizes: Sequence[float], space: Sequence[int], smallest: int
) -> list[tuple[int, ...]]:
    """Return for each coarser level how many pixels of the level before make one, for each axis.

    Parameters
    ----------
    shape : sequence of int
        Pixels of the finest level.
    sizes : sequence of float
        Of a pixel along each axis.
    space : sequence of int
        Which axes are halved.
    smallest : int
        A level that is no longer than this along those axes is the last.
    """
    levels: list[tuple[int, ...]] = []
    now, lengths = list(shape), [abs(size) or 1.0 for size in sizes]
    while max(map(now.__getitem__, space)) > smallest:
        open_axes = [axis for axis in space if now[axis] > 1]
        shortest = min(map(lengths.__getitem__, open_axes))
        factors = [1] * len(now)
        for axis in open_axes:
            if lengths[axis] < _ALIKE * shortest:
                factors[axis] = 2
        now = coarser(now, factors)
        lengths = np.multiply(lengths, factors).tolist()
        levels.append(tuple(factors))
    return levels


def coarser(shape: Sequence[int], factors: Sequence[int]) -> list[int]:
    """Return the shape of the next level; an incomplete block makes a pixel, too."""
    return [-(-size // factor) for size, factor in zip(shape, factors, strict=True)]


def level_shapes(shape: Sequence[int], factors: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the shapes of all levels, finest first, of what `level_factors` returns."""
    shapes = [tuple(shape)]
    for step in factors:
        shapes.append(tuple(coarser(shapes[-1], step)))
    return shapes


def count_pixels(shapes: Sequence[Sequence[int]]) -> int:
    """Return how many pixels are read and written: the finest level, and then all of them."""
    return prod(shapes[0]) + sum(map(prod, shapes))


def reduced(pixels: Array, factors: Sequence[int], *, nearest: bool) -> Array:
    """Return one level from the one before.

    Parameters
    ----------
    pixels : numpy.ndarray
        Of the level before, from the first pixel of a block on.
    factors : sequence of int
        Pixels of a block, for each axis: 1 or 2. Blocks at the end may have fewer.
    nearest : bool
        Take the first pixel of each block (labels and truth values, which have no mean) instead of
        the mean. Means of whole numbers are rounded to the nearest, halves up.
    """
    if nearest or pixels.dtype.kind == "b":
        firsts = tuple(slice(None, None, factor) for factor in factors)
        return np.ascontiguousarray(pixels[firsts])
    missing = [-size % factor for size, factor in zip(pixels.shape, factors, strict=True)]
    if any(missing):  # a pixel that is repeated for a missing one leaves the mean as it is
        pixels = np.pad(pixels, [(0, count) for count in missing], mode="edge")
    count = prod(factors)
    if pixels.dtype.kind not in "iu":
        wide = np.result_type(pixels.dtype, np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            mean: Array = _sum(pixels, factors, wide) / wide.type(count)
    elif pixels.dtype.itemsize < 8:
        wide = np.dtype(f"{pixels.dtype.kind}4" if pixels.dtype.itemsize <= 2 else np.int64)
        mean = (_sum(pixels, factors, wide) + wide.type(count // 2)) // wide.type(count)
    else:  # a sum of 64-bit numbers could overflow: that of their quotients cannot
        number = pixels.dtype.type
        quotients, rests = np.divmod(pixels, number(count))
        rest = _sum(rests, factors, pixels.dtype) + number(count // 2)
        mean = _sum(quotients, factors, pixels.dtype) + rest // number(count)
    return mean.astype(pixels.dtype, copy=False)


def _sum(pixels: Array, factors: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """Return the sum of each block; the slowest axis first, which leaves less for the others."""
    total = pixels
    for axis, factor in enumerate(factors):
        if factor == 2:
            halves = [total[(*(slice(None),) * axis, slice(first, None, 2))] for first in (0, 1)]
            total = np.add(*halves, dtype=dtype)
    return total.astype(dtype, copy=False)
