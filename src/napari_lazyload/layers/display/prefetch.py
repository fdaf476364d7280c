"""Which way a slider moves, and which chunks it will come to next."""

from __future__ import annotations

import time
from math import ceil, prod
from typing import TYPE_CHECKING

from napari_lazyload.core import settings
from napari_lazyload.core.source import status_token
from napari_lazyload.loading import plan, scheduler, status

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.core.source import Source

REST_SECONDS = 1.0
"""A slider that has rested so long moves slowly, however it moved before."""

FEWEST = 2
"""Frames read ahead of the slowest slider."""


class SliderMotion:
    """Follows the boxes that one layer shows, and predicts which chunks come next."""

    def __init__(self) -> None:
        self._last: tuple[int, Box] | None = None
        self._moved_at = 0.0
        self._rate = 0.0
        self._axis: int | None = None
        self._stride = 0
        self._regular = False

    def moved(self, level: int, box: Box, displayed: frozenset[int]) -> bool:
        """Take note of the view that is shown now; return whether it is another one than before.

        Parameters
        ----------
        level : int
            Which level is shown.
        box : tuple of (int, int)
            Which pixels of it.
        displayed : frozenset of int
            The axes that are seen as a whole.
        """
        last, self._last = self._last, (level, box)
        if last == self._last:
            return False
        before = box if last is None else last[1]
        changed = [axis for axis, pair in enumerate(box) if pair != before[axis]]
        if last is None or last[0] != level or len(changed) != 1 or changed[0] in displayed:
            self._axis = None  # another zoom, another level, two sliders at once
            return True
        now = time.monotonic()
        rested = now - self._moved_at
        self._rate = 0.0 if rested > REST_SECONDS else 1 / max(rested, 1e-3)
        self._moved_at = now
        axis = changed[0]
        stride = box[axis][0] - before[axis][0]
        if self._axis == axis and self._stride > 0 and box[axis][0] == 0 and stride < -1:
            return True  # a movie begins again, and goes on as before
        self._regular = self._axis == axis and stride == self._stride
        self._axis, self._stride = axis, stride
        if not stride:
            self._axis = None  # thicker or thinner, but no further
        return True

    def next_chunks(self, source: Source, *, complete: bool) -> list[BlockIndex]:
        """Return the chunks of about a second of the movement, within a quarter of the budget.

        Parameters
        ----------
        source : Source
            What is shown.
        complete : bool
            Whether the view itself is complete. Before that, chunks are prefetched for a movie
            alone: a slider that moves evenly, and no faster than the pool reads. They begin as far
            ahead as reads need.
        """
        if self._last is None or self._axis is None:
            return []
        level, box = self._last
        now = settings.current()
        under_way = ceil(self._rate * status.shared.read_seconds(status_token(source)))
        movie = self._regular and 0 < under_way < scheduler.pool_of(source).workers
        if not complete and not movie:
            return []
        depth = min(now.look_ahead, max(FEWEST, ceil(self._rate)))
        stride = self._stride if self._regular else self._stride // abs(self._stride)
        shown = source.meta.levels[level]
        first, stop = box[self._axis]
        skipped = (not complete) * under_way * stride
        if not 0 <= first + skipped < shown.shape[self._axis]:
            return []
        pair = (first + skipped, stop + skipped)
        origin = (*box[: self._axis], pair, *box[self._axis + 1 :])
        chunks = plan.ahead(shown.grid, origin, self._axis, stride, depth)
        pixels = now.cache_budget // 4 // source.meta.dtype.itemsize
        if shown.computed_from is not None:
            pixels //= prod(shown.steps or ())  # so many times the pixels are decoded
        return plan.within(shown.grid, chunks, pixels)
