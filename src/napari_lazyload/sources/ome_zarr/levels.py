"""The resolutions of a pyramid, in order, with where each lies: from its transformations where they are sane."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.metadata import LevelMeta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import ChunkGrid

    Array = np.ndarray[Any, Any]

FAR = 0.5
"""So many of its own pixels a level may lie from where a viewer puts it before that is said."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """An array of a pyramid.

    Parameters
    ----------
    path : str
        As the metadata name it.
    array : Any
        A `ZarrArray`, or anything with its `grid`, `shape` and `dtype`.
    matrix : numpy.ndarray or None
        From its pixels to the world, where that is known.
    shifted : bool
        Whether the metadata say where its first pixel lies; many writers leave that out.
    """

    path: str
    array: Any
    matrix: Array | None
    shifted: bool = False


def ordered(found: Sequence[Resolution], notes: list[str]) -> list[Resolution]:
    """Return the arrays that make one pyramid, finest first; `notes` say what was left out or put in order."""
    by_size = sorted(found, key=lambda one: -prod(one.array.shape))
    if [one.path for one in by_size] != [one.path for one in found]:
        notes.append(
            f"its levels are in the order {', '.join(one.path for one in found)}; sorted by size"
        )
    finest, *coarser = by_size
    kept = [finest]
    for level in coarser:
        why = _unfit(level.array, kept[-1].array, finest.array)
        if why:
            notes.append(f"level {level.path!r} is left out: {why}")
        else:
            kept.append(level)
    return kept


def _unfit(array: Any, finer: Any, finest: Any) -> str | None:
    """Return why an array cannot be a level below another."""
    if len(array.shape) != len(finest.shape):
        return f"it has {len(array.shape)} dimensions, the finest one {len(finest.shape)}"
    if array.dtype != finest.dtype:
        return f"it is of type {array.dtype}, the finest one {finest.dtype}"
    if array.shape == finer.shape:
        return "it is as large as the one before"
    if any(size > other for size, other in zip(array.shape, finer.shape, strict=True)):
        return f"its shape {array.shape} is no smaller one of {finer.shape}"
    return None


def level_metas(levels: Sequence[Resolution], notes: list[str]) -> tuple[LevelMeta, ...]:
    """Return factors and offsets of each level, from its transformation where that agrees with its shape."""
    finest = levels[0]
    metas = [LevelMeta(finest.array.grid, (1.0,) * len(finest.array.shape))]
    for level in levels[1:]:
        placed = _by_matrix(level, finest)
        if placed is None and level.matrix is not None and finest.matrix is not None:
            notes.append(
                f"the transformations of level {level.path!r} do not suit its shape, which is followed"
            )
        if placed is None:
            metas.append(LevelMeta(level.array.grid, by_shape(level.array.grid, finest.array.grid)))
            continue
        factors, offsets = placed
        centered = tuple((factor - 1) / 2 for factor in factors)
        if np.allclose(offsets, centered) or not (level.shifted or any(offsets)):
            metas.append(LevelMeta(level.array.grid, factors))
            continue
        metas.append(LevelMeta(level.array.grid, factors, offsets))
        off = max(abs(a - b) / f for a, b, f in zip(offsets, centered, factors, strict=True))
        if off > FAR:
            notes.append(
                f"level {level.path!r} lies {off:.2g} of its pixels from where viewers show it, which place levels by "
                "their shapes; crops of it are placed right"
            )
    return tuple(metas)


def by_shape(grid: ChunkGrid, finest: ChunkGrid) -> tuple[float, ...]:
    """Return how many pixels of the finest level one of this level spans, by their numbers."""
    return tuple(
        big / small if small else 1.0 for big, small in zip(finest.shape, grid.shape, strict=True)
    )


def _by_matrix(
    level: Resolution, finest: Resolution
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return factors and offsets that the transformations say, None where they do not or cannot be true."""
    if level.matrix is None or finest.matrix is None or not np.linalg.det(finest.matrix):
        return None
    relative = np.linalg.inv(finest.matrix) @ level.matrix
    inner, offsets = relative[:-1, :-1], tuple(float(one) for one in relative[:-1, -1])
    factors = tuple(float(one) for one in np.diag(inner))
    # Compare in pixels, for axes may differ in scale by many orders.
    stray = np.abs(inner - np.diag(np.diag(inner))) * np.array(level.array.shape)
    if stray.max(initial=0) > FAR or not all(map(isfinite, offsets)):
        return None
    shapes = zip(factors, finest.array.shape, level.array.shape, strict=True)
    if all(
        factor > 0 and abs(big / factor - small) <= 1 + 1e-6 * small
        for factor, big, small in shapes
    ):
        return factors, offsets
    return None
