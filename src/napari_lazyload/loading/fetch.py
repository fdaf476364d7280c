"""Chunks that a view wants, read in order by the pool, and replaced as a whole when the view changes."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_lazyload.core import settings
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading import scheduler, status
from napari_lazyload.loading.box import read_block

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Source

    Place = tuple[int, BlockIndex]
    Deliver = Callable[[int, BlockIndex, np.ndarray[Any, Any] | None, ChunkReadError | None], Any]


class Fetch:
    """A list of wanted chunks of one source, which takes a few places of the pool, never the queue of all its chunks.

    Parameters
    ----------
    source : Source
        Where the chunks come from.
    tier : Tier
        How urgent they are.
    deliver : callable
        ``deliver(level, index, pixels, error)``, in the thread that read; what was wanted once and is not any more,
        but had begun, is delivered too.
    """

    def __init__(self, source: Source, tier: scheduler.Tier, deliver: Deliver) -> None:
        self._source = source
        self._tier = tier
        self._deliver = deliver
        self._lock = threading.Lock()
        self._wanted: deque[Place] = deque()
        self._running: dict[Place, scheduler.Job] = {}

    def want(self, places: Sequence[Place], tier: scheduler.Tier | None = None) -> None:
        """Replace what is wanted; reads of other chunks that have not begun never begin.

        Parameters
        ----------
        places : sequence of (level, index)
            In the order in which they are wanted; those being read already go on.
        tier : Tier, optional
            How urgent they are, from now on.
        """
        token = self._source.token
        with self._lock:
            dropped = set(self._wanted)
            self._tier = self._tier if tier is None else tier
            scheduler.shared.cancel(self)
            self._wanted = deque(place for place in places if place not in self._running)
            wanted = set(places)
            for place, job in self._running.items():
                job.cancelled = place not in wanted
            queued = list(self._wanted)
        for level in {level for level, _ in dropped - set(queued)}:
            status.shared.unqueue(token, level, [index for at, index in dropped - set(queued) if at == level])
        for level in {level for level, _ in queued}:
            status.shared.queue(token, level, [index for at, index in queued if at == level])
        for _ in range(min(len(queued), settings.current().workers)):
            self._call()

    @property
    def busy(self) -> bool:
        """Whether something that is wanted is not there yet."""
        with self._lock:
            return bool(self._wanted) or any(not job.cancelled for job in self._running.values())

    def reading(self) -> set[Place]:
        """Return the chunks that are being read now."""
        with self._lock:
            return set(self._running)

    def _call(self) -> None:
        with suppress(RuntimeError):  # no more threads: those that are there come to it
            scheduler.shared.submit(self._pull, tier=self._tier, owner=self)

    def _pull(self, job: scheduler.Job) -> None:
        """Read the next wanted chunk, in a worker thread."""
        with self._lock:
            if not self._wanted or job.cancelled:
                return
            level, index = place = self._wanted.popleft()
            self._running[place] = job
        pixels = error = None
        try:
            pixels = read_block(self._source, level, index)
        except ChunkReadError as err:
            error = err.with_traceback(None)
        except Exception as err:  # noqa: BLE001 - a source of any plugin; the slider must not hear of it
            error = ChunkReadError(f"{self._source.meta.name}: {type(err).__name__}: {err}", self._source.meta.name)
        finally:
            with self._lock:
                self._running.pop(place, None)
                more = bool(self._wanted) and not job.cancelled
            if more:
                self._call()
        self._deliver(level, index, pixels, error)
