"""Worker threads with priorities, and the way many chunks are read at once without ever waiting for a full pool.

Threads are daemons: leaving the program is never held up by a read that hangs.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from napari_lazyload.core import settings
from napari_lazyload.core.errors import CancelledError, LazyLoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

IDLE_SECONDS = 2.0


class Tier(IntEnum):
    """What is done first. A lower number goes first."""

    VISIBLE = 0
    PREFETCH = 1
    BACKGROUND = 2


class Job:
    """One submitted call.

    Attributes
    ----------
    owner : hashable
        Whom it is for; all jobs of an owner are cancelled together.
    cancelled : bool
        Long work looks at this between steps and stops.
    done : threading.Event
        Set when the call returned, raised or was dropped.
    error : BaseException or None
        What it raised.
    """

    __slots__ = ("cancelled", "done", "error", "owner", "work")

    def __init__(self, work: Callable[[Job], Any], owner: Hashable) -> None:
        self.work = work
        self.owner = owner
        self.cancelled = False
        self.done = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do the work unless it was cancelled; an error is kept, not raised."""
        try:
            if not self.cancelled:
                self.work(self)
        except BaseException as err:  # noqa: BLE001 - a worker thread outlives any job
            self.error = err
            if not isinstance(err, LazyLoadError):  # a fault of ours: say so as Python does for any thread
                threading.excepthook(threading.ExceptHookArgs((type(err), err, err.__traceback__, None)))
        finally:
            self.done.set()

    def cancel(self) -> None:
        """Ask the work to stop; a job that has not begun never begins."""
        self.cancelled = True


class Scheduler:
    """A pool of at most ``settings.workers`` threads that end when there is nothing to do.

    The background never takes the last thread, so that what is visible finds one.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._wake = threading.Condition()
        self._queue: list[tuple[Tier, int, Job]] = []
        self._running: dict[Job, Tier] = {}
        self._order = itertools.count()
        self._threads = 0
        self._idle = 0

    def submit(self, work: Callable[[Job], Any], *, tier: Tier = Tier.VISIBLE, owner: Hashable = None) -> Job:
        """Queue ``work(job)`` and return its job."""
        job = Job(work, owner)
        with self._wake:
            heapq.heappush(self._queue, (tier, next(self._order), job))
            if self._idle:
                self._wake.notify()
            elif self._threads < settings.current().workers:
                self._threads += 1
                threading.Thread(target=self._worker, name=f"lazyload-{self._threads}", daemon=True).start()
        return job

    def cancel(self, owner: Hashable) -> int:
        """Cancel the queued and running jobs of `owner`; return how many."""
        with self._wake:
            jobs = [job for _, _, job in self._queue if job.owner == owner]
            self._queue = [entry for entry in self._queue if entry[2].owner != owner]
            heapq.heapify(self._queue)
            for job in jobs:
                job.cancel()
                job.done.set()
            running = [job for job in self._running if job.owner == owner]
            for job in running:
                job.cancel()
        return len(jobs) + len(running)

    def _take(self) -> tuple[Tier, Job] | None:
        """Return the next job that may run now; the lock is held."""
        if not self._queue:
            return None
        tier = self._queue[0][0]
        busy = sum(running is Tier.BACKGROUND for running in self._running.values())
        if tier is Tier.BACKGROUND and busy >= max(1, settings.current().workers - 1):
            return None
        _, _, job = heapq.heappop(self._queue)
        self._running[job] = tier
        return tier, job

    def _worker(self) -> None:
        while True:
            with self._wake:
                while (taken := self._take()) is None:
                    self._idle += 1
                    woken = self._wake.wait(IDLE_SECONDS)
                    self._idle -= 1
                    if not woken and not self._queue:
                        self._threads -= 1
                        return
            taken[1].run()
            with self._wake:
                del self._running[taken[1]]
                self._wake.notify()

    def snapshot(self) -> dict[str, int]:
        """Return how many jobs are queued and running, by tier, and how many threads there are."""
        with self._wake:
            queued = [tier for tier, _, _ in self._queue]
            running = list(self._running.values())
            threads = self._threads
        counts = {f"queued_{tier.name.lower()}": queued.count(tier) for tier in Tier}
        return {**counts, "running": len(running), "threads": threads}

    def each(
        self,
        work: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        tier: Tier = Tier.VISIBLE,
        workers: int | None = None,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> None:
        """Call `work` on every item, in this thread and in idle workers; return when all are done.

        The calling thread does items itself and waits only for items that another thread has already begun, so that
        nested calls and a pool that is busy for ever cannot deadlock.

        Parameters
        ----------
        work : callable
            Gets one item.
        items : iterable
            Taken one by one, as threads become free.
        tier : Tier
            Priority of the helping threads.
        workers : int, optional
            At most so many threads, this one included; by default the setting.
        cancel : callable, optional
            Returns true to stop; asked before each item.
        progress : callable, optional
            Called with the number of items done, from whichever thread finished one, one call at a time.

        Raises
        ------
        CancelledError
            If `cancel` said so.
        Exception
            The first error that `work` raised; no further item begins after it.
        """
        run = _SharedRun(work, items, cancel, progress)
        helpers = (workers or settings.current().workers) - 1
        for _ in range(min(helpers, run.more_than_one())):
            self.submit(run.drain, tier=tier, owner=run)
        run.drain()
        self.cancel(run)
        run.wait()


class _SharedRun:
    """One iterator drained by several threads."""

    def __init__(
        self,
        work: Callable[[Any], Any],
        items: Iterable[Any],
        cancel: Callable[[], bool] | None,
        progress: Callable[[int], Any] | None,
    ) -> None:
        self._work = work
        self._size = len(items) if hasattr(items, "__len__") else None
        self._items = iter(items)
        self._cancel = cancel
        self._progress = progress
        self._state = threading.Condition()
        self._active = 0
        self._count = 0
        self._error: BaseException | None = None

    def more_than_one(self) -> int:
        """Return how many helpers the number of items has work for."""
        return 1 << 30 if self._size is None else max(0, self._size - 1)

    def _next(self) -> tuple[bool, Any]:
        with self._state:
            if self._error is not None:
                return False, None
            try:
                if self._cancel is not None and self._cancel():
                    self._error = CancelledError("cancelled; nothing was kept")
                    return False, None
                item = next(self._items)
            except StopIteration:
                return False, None
            except BaseException as err:  # noqa: BLE001 - raised again by wait() in the calling thread
                self._error = err
                return False, None
            self._active += 1
            return True, item

    def drain(self, _job: Job | None = None) -> None:
        while True:
            more, item = self._next()
            if not more:
                return
            error: BaseException | None = None
            try:
                self._work(item)
            except BaseException as err:  # noqa: BLE001
                error = err
            with self._state:
                self._active -= 1
                self._count += 1
                try:
                    if error is None and self._progress is not None:
                        self._progress(self._count)
                except BaseException as err:  # noqa: BLE001
                    error = err
                self._error = self._error or error
                self._state.notify_all()

    def wait(self) -> None:
        with self._state:
            while self._active:
                self._state.wait()
            error, self._error = self._error, None
        if error is not None:
            raise error


shared = Scheduler()
"""The one pool of the process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=shared._reset)  # noqa: SLF001 - the parent's threads are not here
