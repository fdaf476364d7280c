"""The resolutions of a pyramid, in order, placed by their transformations where they are sane."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from operator import attrgetter, gt
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.metadata import LevelMeta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import ChunkGrid

    Array = np.ndarray[Any, Any]

FAR = 0.5
"""Pixels that a level may lie from where a viewer shows it before a note says so."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """An array of a pyramid.

    Parameters
    ----------
    path : str
        As in the metadata.
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
    """Return the arrays of one pyramid, finest first; `notes` say what was left out or sorted."""
    by_size = sorted(found, key=lambda level: -prod(level.array.shape))
    paths = list(map(attrgetter("path"), found))
    if list(map(attrgetter("path"), by_size)) != paths:
        notes.append(f"its levels are in the order {', '.join(paths)}; sorted by size")
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
    if any(map(gt, array.shape, finer.shape)):
        return f"its shape {array.shape} is no smaller one of {finer.shape}"
    return None


def level_metas(levels: Sequence[Resolution], notes: list[str]) -> tuple[LevelMeta, ...]:
    """Return factors and offsets of each level, by its transformation if that suits its shape."""
    finest = levels[0]
    metas = [LevelMeta(finest.array.grid, (1.0,) * len(finest.array.shape))]
    for level in levels[1:]:
        grid = level.array.grid
        placed = _by_matrix(level, finest)
        if placed is None:
            metas.append(LevelMeta(grid, by_shape(grid, finest.array.grid)))
            if level.matrix is not None and finest.matrix is not None:
                notes.append(
                    f"the transformations of level {level.path!r} do not suit its shape, which is "
                    "followed"
                )
            continue
        factors, offsets = placed
        centered = (factors - 1) / 2
        if np.allclose(offsets, centered) or not (level.shifted or np.any(offsets)):
            metas.append(LevelMeta(grid, tuple(factors.tolist())))
            continue
        metas.append(LevelMeta(grid, tuple(factors.tolist()), tuple(offsets.tolist())))
        off = np.max(np.abs(offsets - centered) / factors)
        if off > FAR:
            notes.append(
                f"level {level.path!r} lies {off:.2g} of its pixels from where viewers show it, "
                "which place levels by their shapes; crops of it are placed right"
            )
    return tuple(metas)


def by_shape(grid: ChunkGrid, finest: ChunkGrid) -> tuple[float, ...]:
    """Return the number of pixels of the finest level in one of this level, along each axis.

    The finest level has pixels on every axis; an axis of a coarser one without any counts as equal.
    """
    return tuple(big / (small or big) for big, small in zip(finest.shape, grid.shape, strict=True))


def _by_matrix(level: Resolution, finest: Resolution) -> tuple[Array, Array] | None:
    """Return the factors and offsets of the transformations, None where they cannot be true."""
    if level.matrix is None or finest.matrix is None or not np.linalg.det(finest.matrix):
        return None
    relative = np.linalg.inv(finest.matrix) @ level.matrix
    inner, offsets = relative[:-1, :-1], relative[:-1, -1]
    factors = np.diag(inner)
    shape = np.array(level.array.shape)
    # Compare in pixels, for axes may differ in scale by many orders.
    stray = np.abs(inner - np.diag(factors)) * shape
    if stray.max(initial=0) > FAR or not np.isfinite(offsets).all() or not (factors > 0).all():
        return None
    off = np.abs(np.array(finest.array.shape) / factors - shape)
    return (factors, offsets) if (off <= 1 + 1e-6 * shape).all() else None
