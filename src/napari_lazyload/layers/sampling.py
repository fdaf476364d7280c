"""How much of a view is read at once: every k-th frame or pixel where the whole would not fit the memory budget."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.loading.box import read_sampled

if TYPE_CHECKING:
    from napari_lazyload.arrays import Failed, LazyArray
    from napari_lazyload.core.source import Source

MAX_SIDE = 2048
"""Longest side of a sampled view: what common graphics cards take as one 3-D texture."""


def steps_for(source: Source, view: LazyArray, budget: int) -> tuple[int, ...] | None:
    """Return the distance of the pixels to show, for each axis of the level, or None where all fit.

    Chunks along axes that count files or planes are skipped first, for they cost a read each; then pixels within
    chunks, so that the result stays within half the budget.

    Parameters
    ----------
    source : Source
        Where the pixels come from.
    view : LazyArray
        What napari asks for, before it is read.
    budget : int
        Bytes that a view may read.
    """
    grid = source.meta.levels[view.level].grid
    itemsize = view.dtype.itemsize
    touched = grid.touched_pixels(view.box) * itemsize
    if touched <= budget:
        return None
    shape = box_shape(view.box)
    ranges = grid.block_ranges(view.box)
    steps = [1] * len(shape)
    excess = touched / budget
    # The axis with the most chunks gives most: it is the one that counts frames.
    for axis in sorted(range(len(shape)), key=lambda axis: -len(ranges[axis])):
        if excess <= 1 or len(ranges[axis]) == 1:
            break
        skip = min(ceil(excess), len(ranges[axis]))
        size = max(1, -(-shape[axis] // len(ranges[axis])))
        steps[axis] = skip * size
        excess /= skip
    _thin_out(shape, steps, budget // 2, itemsize)
    return tuple(steps)


def _thin_out(shape: tuple[int, ...], steps: list[int], budget: int, itemsize: int) -> None:
    """Widen the steps of the longest axes until the result fits `budget` and a texture."""

    def sides() -> list[int]:
        return [-(-size // step) for size, step in zip(shape, steps, strict=True)]

    while prod(sides()) * itemsize > budget or (max(sides()) > MAX_SIDE and sum(side > 1 for side in sides()) > 2):
        longest = int(np.argmax(sides()))
        steps[longest] += max(1, steps[longest] // 4)


class Sampled(np.ndarray[Any, Any]):
    """A sampled view. A single pixel of it has no value to tell: what lies at the position was not read.

    Attributes
    ----------
    steps : tuple of int or None
        Every how many pixels of each axis of the layer were read.
    """

    steps: tuple[int, ...] | None = None

    def __array_finalize__(self, source: Any) -> None:
        self.steps = getattr(source, "steps", None)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and key and all(isinstance(part, (int, np.integer)) for part in key):
            return None
        return super().__getitem__(key)


def read_view(source: Source, view: LazyArray, steps: tuple[int, ...], failed: Failed) -> np.ndarray[Any, Any]:
    """Read the pixels that `steps` keep; axes that the view dropped are dropped."""
    pixels = read_sampled(source, view.level, view.box, steps, failed)
    return pixels.reshape([pixels.shape[axis] for axis in view.kept_axes])


def marked(pixels: np.ndarray[Any, Any], steps: tuple[int, ...]) -> Sampled:
    """Return the same pixels as :class:`Sampled`."""
    view = pixels.view(Sampled)
    view.steps = steps
    return view
