"""What one layer reads for its views: a rough picture first, then the view, then what the slider comes to next."""

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.source import status_token
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
"""So long each view may copy chunks that are in memory, and on for as long as it may wait; the rest
is left to the pool."""

VERIFY_LATER_FROM = 16
"""The files of a view of more chunks are looked at after it is shown; see `second_look`."""


class ChunkRequests:
    """The chunks of one source that one layer wants.

    Parameters
    ----------
    source : Source
        Where they come from.
    deliver : callable
        As :class:`ChunkQueue` takes it.
    patience : FrameBudget
        How long views may wait.
    replaced : callable
        As :class:`Revalidator` takes it.
    """

    def __init__(
        self,
        source: Source,
        on_chunk: OnChunk,
        frame_budget: FrameBudget,
        replaced: Callable[[], Any],
    ) -> None:
        self.source = source
        self.second_look = Revalidator(source, replaced)
        self._patience = frame_budget
        self._rough = ChunkQueue(source, Tier.COARSE, on_chunk)
        self._fine = ChunkQueue(source, Tier.VISIBLE, on_chunk)
        self._ahead = ChunkQueue(source, Tier.PREFETCH, on_chunk)
        self._later: Callable[[], Any] | None = None

    @property
    def busy(self) -> bool:
        """Whether something that is seen is being read."""
        return (
            self._later is not None
            or self._fine.busy
            or self._rough.busy
            or bool(self._ahead.reading())
        )

    def defer(self, ask: Callable[[], Any]) -> None:
        """Call a function that wants chunks when this turn of the event loop ends; the last one of the turn alone."""
        self._later = ask
        self._patience.at_end(self._ask)

    def _ask(self) -> None:
        ask, self._later = self._later, None
        if ask is not None:
            ask()

    def request(
        self, exact: list[ChunkAddress], coarse: list[ChunkAddress], tier: Tier = Tier.VISIBLE
    ) -> None:
        """Replace what is wanted for the view; chunks that are read ahead at this moment come by themselves."""
        ahead = self._ahead.reading()
        self._rough.request([place for place in coarse if place not in ahead])
        self._fine.request([place for place in exact if place not in ahead], tier)

    def prefetch(self, level: int, indices: list[BlockIndex]) -> None:
        """Replace what is read ahead, but for what is in memory or failed."""
        state = status.shared.state
        token = status_token(self.source)
        self._ahead.request(
            [
                (level, index)
                for index in indices
                if state(token, level, index) not in ("loaded", "failed")
            ]
        )

    def resume(self, frame: Frame) -> None:
        """Read what is missing of a frame, should that have been cancelled."""
        if not frame.complete and not self._fine.busy:
            self.request(places(frame), [])

    def cancel(self) -> None:
        """Want nothing any more."""
        self._later = None
        self.second_look.cancel()
        for fetch in (self._fine, self._rough, self._ahead):
            fetch.request([])

    def fill(self, frame: Frame) -> None:
        """Put in what is in memory, for as long as that may take."""
        end = time.monotonic() + COPY_SECONDS
        state, token = status.shared.state, status_token(frame.source)
        taken = _unverified if frame.total > VERIFY_LATER_FROM else _verified
        for index in frame.missing():
            if state(token, frame.level, index) != "loaded":
                continue  # nor is it in memory, but for what other data sets read of the same file: the pool finds it
            pixels = taken(frame, index)
            if pixels is not None:
                frame.put(index, pixels)
            if time.monotonic() > end and not self._patience.remaining():
                return

    def expected_within_budget(self, frame: Frame) -> bool:
        """Return whether what is not in memory of a frame may be read within the patience of a view."""
        state, token = status.shared.state, status_token(self.source)
        count = sum(state(token, frame.level, index) != "loaded" for index in frame.missing())
        turns = ceil(count / scheduler.pool_of(self.source).at_once(quick=is_quick(self.source)))
        return turns * status.shared.read_seconds(token) <= self._patience.seconds

    def wait(self, frame: Frame) -> bool:
        """Give fast reads a moment, so that they are seen at once; return whether the frame is complete."""
        return frame.complete or frame.done.wait(self._patience.remaining())


def _verified(frame: Frame, index: BlockIndex) -> Array | None:
    """Return a chunk that is in memory, if its file is still the one that was read."""
    return peek_block(frame.source, frame.level, index)


def _unverified(frame: Frame, index: BlockIndex) -> Array | None:
    """Return a chunk that is in memory; its file is still to be looked at."""
    key = status.shared.key(status_token(frame.source), frame.level, index)
    pixels = None if key is None else cache.shared.kept(key)
    if pixels is not None:
        frame.unverified[index] = key
    return pixels


def places(frame: Frame) -> list[ChunkAddress]:
    """Return what is missing of a frame, from the centre outwards."""
    grid = frame.source.meta.levels[frame.level].grid
    return [(frame.level, index) for index in plan.from_center(grid, frame.box, frame.missing())]
