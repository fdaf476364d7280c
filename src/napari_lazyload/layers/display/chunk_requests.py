"""What one layer reads: coarse pixels first, then the view, then what the slider comes to."""

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.source import status_token
from napari_lazyload.layers.display import time_budget
from napari_lazyload.layers.display.revalidate import Revalidator
from napari_lazyload.loading import cache, plan, scheduler, status
from napari_lazyload.loading.chunk_queue import ChunkQueue, is_quick
from napari_lazyload.loading.jobs import Tier
from napari_lazyload.loading.read_box import peek_block

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Source
    from napari_lazyload.layers.display.frame import Frame
    from napari_lazyload.layers.display.time_budget import FrameBudget
    from napari_lazyload.loading.chunk_queue import ChunkAddress, OnChunk

    Array = np.ndarray[Any, Any]

COPY_SECONDS = 0.008
"""How long each view may copy chunks from memory, beside its wait. The pool does the rest."""

VERIFY_LATER_FROM = 16
"""The files of a view of more chunks are looked at after it is shown; see `revalidator`."""


class ChunkRequests:
    """The chunks of one source that one layer requests.

    Parameters
    ----------
    source : Source
        Where they come from.
    on_chunk : callable
        As :class:`ChunkQueue` takes it.
    frame_budget : FrameBudget
        How long views may wait.
    """

    def __init__(
        self,
        source: Source,
        on_chunk: OnChunk,
        frame_budget: FrameBudget,
    ) -> None:
        self.source = source
        self.revalidator = Revalidator(source, on_chunk)
        self._frame_budget = frame_budget
        self._coarse = ChunkQueue(source, Tier.COARSE, on_chunk)
        self._exact = ChunkQueue(source, Tier.VISIBLE, on_chunk)
        self._prefetch = ChunkQueue(source, Tier.PREFETCH, on_chunk)
        self._later: Callable[[], Any] | None = None

    @property
    def busy(self) -> bool:
        """Whether something that is seen is being read."""
        requested = self._later is not None or self._exact.busy or self._coarse.busy
        return requested or bool(self._prefetch.reading())

    def defer(self, ask: Callable[[], Any]) -> None:
        """Call a function that requests chunks when this turn of the event loop ends.

        Of several in one turn the last one alone is called.
        """
        self._later = ask
        self._frame_budget.at_end(self._ask)

    def _ask(self) -> None:
        ask, self._later = self._later, None
        if ask is not None:
            ask()

    def request(
        self, exact: list[ChunkAddress], coarse: list[ChunkAddress], tier: Tier = Tier.VISIBLE
    ) -> None:
        """Replace the requests of the view; chunks being prefetched come by themselves."""
        prefetched = self._prefetch.reading()
        self._coarse.request([place for place in coarse if place not in prefetched])
        self._exact.request([place for place in exact if place not in prefetched], tier)

    def prefetch(self, level: int, indices: list[BlockIndex]) -> None:
        """Replace what is prefetched, except what is in memory or failed."""
        state, token = status.shared.state, status_token(self.source)
        self._prefetch.request(
            [
                (level, index)
                for index in indices
                if state(token, level, index) not in ("loaded", "failed")
            ]
        )

    def resume(self, frame: Frame) -> None:
        """Read what is missing of a frame, should that have been cancelled."""
        if not frame.complete and not self._exact.busy:
            self.request(places(frame), [])

    def cancel(self) -> None:
        """End all requests."""
        self._later = None
        self.revalidator.cancel()
        for queue in (self._exact, self._coarse, self._prefetch):
            queue.request([])

    def fill(self, frame: Frame) -> None:
        """Put in what is in memory, for as long as that may take."""
        end = time.monotonic() + COPY_SECONDS
        state, token = status.shared.state, status_token(frame.source)
        verify_later = frame.total > VERIFY_LATER_FROM
        for index in frame.missing():
            if state(token, frame.level, index) != "loaded":
                continue  # what other data sets read of the same file, the pool finds
            if verify_later:
                pixels = _unverified(frame, index)
            else:
                pixels = peek_block(frame.source, frame.level, index)
            if pixels is not None:
                frame.put(index, pixels)
            if time.monotonic() > end and not self._frame_budget.remaining():
                return

    def expected_within_budget(self, frame: Frame) -> bool:
        """Whether what is not in memory of a frame is read in the time that a view may wait."""
        state, token = status.shared.state, status_token(self.source)
        count = sum(state(token, frame.level, index) != "loaded" for index in frame.missing())
        turns = ceil(count / scheduler.pool_of(self.source).at_once(quick=is_quick(self.source)))
        return turns * status.shared.read_seconds(token) <= time_budget.WAIT_SECONDS

    def wait(self, frame: Frame) -> bool:
        """Give fast reads a moment to be seen at once; return whether the frame is complete."""
        return frame.complete or frame.done.wait(self._frame_budget.remaining())


def _unverified(frame: Frame, index: BlockIndex) -> Array | None:
    """Return a chunk that is in memory; its file is still to be looked at."""
    key = status.shared.key(status_token(frame.source), frame.level, index)
    if key is None or (pixels := cache.shared.kept(key)) is None:
        return None
    frame.unverified[index] = key
    return pixels


def places(frame: Frame) -> list[ChunkAddress]:
    """Return the missing chunks of a frame, from the center outwards."""
    grid = frame.source.meta.levels[frame.level].grid
    return [(frame.level, index) for index in plan.from_center(grid, frame.box, frame.missing())]
