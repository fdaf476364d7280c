"""Chunks that a view requests: read in order by the pool, replaced when the view changes."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.source import status_token
from napari_lazyload.loading import scheduler, status
from napari_lazyload.loading.read_box import read_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Source
    from napari_lazyload.loading.jobs import Job, Tier

    ChunkAddress = tuple[int, BlockIndex]
    OnChunk = Callable[[int, BlockIndex, np.ndarray[Any, Any] | None, ChunkReadError | None], Any]


QUICK_SECONDS = 0.02
"""Reads that take less wait for no disk: what they need is a core."""


def is_quick(source: Source) -> bool:
    """Whether the latest reads of a source kept a core busy for a moment, without waiting."""
    return scheduler.pool_of(source) is scheduler.shared and (
        0 < status.shared.read_seconds(status_token(source)) < QUICK_SECONDS
    )


class ChunkQueue:
    """The requested chunks of one source; takes a few places of the pool at a time.

    Parameters
    ----------
    source : Source
        Where the chunks come from.
    tier : Tier
        How urgent they are.
    deliver : callable
        ``deliver(level, index, pixels, error)``, in the thread that read; what was wanted once and
        is not any more, but had begun, is delivered too.
    """

    def __init__(self, source: Source, tier: Tier, on_chunk: OnChunk) -> None:
        self._source = source
        self._pool = scheduler.pool_of(source)
        self._tier = tier
        self._deliver = on_chunk
        self._lock = threading.Lock()
        self._wanted: deque[ChunkAddress] = deque()
        self._running: dict[ChunkAddress, Job] = {}
        self._round = 0
        self._called = 0
        self._asked = 0.0

    def request(self, places: Sequence[ChunkAddress], tier: Tier | None = None) -> None:
        """Replace what is wanted; reads of other chunks that have not begun never begin.

        Parameters
        ----------
        places : sequence of (level, index)
            In the order in which they are wanted; those being read already go on.
        tier : Tier, optional
            How urgent they are, from now on.
        """
        wanted = dict.fromkeys(places)
        with self._lock:
            self._tier = self._tier if tier is None else tier
            if not (wanted or self._wanted or self._running or self._called):
                return  # as before: most steps of a slider find everything in memory
            self._pool.cancel(self)
            self._round += 1
            self._called = 0
            self._asked = time.monotonic()
            for place, job in self._running.items():
                job.cancelled = place not in wanted
            before, self._wanted = (
                self._wanted,
                deque(place for place in wanted if place not in self._running),
            )
            self._tell(before)
            self._call(len(self._wanted))

    def _tell(self, before: Iterable[ChunkAddress]) -> None:
        """Report to the status what is requested no more, and what is now; the lock is held."""
        token, stays = status_token(self._source), set(self._wanted)
        dropped = {place: place not in stays for place in before}
        for level, gone in _by_level(place for place, drop in dropped.items() if drop).items():
            status.shared.unqueue(token, level, gone)
        for level, new in _by_level(
            place for place in self._wanted if place not in dropped
        ).items():
            status.shared.queue(token, level, new)

    @property
    def busy(self) -> bool:
        """Whether something that is wanted is not there yet."""
        with self._lock:
            return bool(self._wanted) or any(not job.cancelled for job in self._running.values())

    def reading(self) -> set[ChunkAddress]:
        """Return the chunks that are being read now."""
        with self._lock:
            return set(self._running)

    def _call(self, count: int) -> None:
        """Begin some more reads, no more than the pool has threads; the lock is held."""
        quick = is_quick(self._source)
        for _ in range(min(count, self._pool.workers - self._called)):
            pull = partial(self._pull, self._round)
            with suppress(RuntimeError):  # no more threads: those that are there come to it
                self._pool.submit(pull, tier=self._tier, owner=self, asked=self._asked, quick=quick)
                self._called += 1

    def _pull(self, number: int, job: Job) -> None:
        """Read the next requested chunk, in a worker; `number` is that of the request."""
        with self._lock:
            if number != self._round:
                return
            self._called -= 1
            if not self._wanted:
                return
            level, index = place = self._wanted.popleft()
            self._running[place] = job
            status.shared.dequeued(status_token(self._source), level, index)
        pixels = error = None
        try:
            pixels = read_block(self._source, level, index)
        except ChunkReadError as err:
            error = err.with_traceback(None)
        except BaseException as err:  # noqa: BLE001 - a source of any plugin; the slider must not hear of it
            error = ChunkReadError(
                f"{self._source.meta.name}: {type(err).__name__}: {err}", self._source.meta.name
            )
        finally:
            with self._lock:
                del self._running[place]
                if self._wanted and not job.cancelled:
                    self._call(1)
        self._deliver(level, index, pixels, error)


def _by_level(places: Iterable[ChunkAddress]) -> dict[int, list[BlockIndex]]:
    found: dict[int, list[BlockIndex]] = {}
    for level, index in places:
        found.setdefault(level, []).append(index)
    return found
