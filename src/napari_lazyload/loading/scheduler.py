"""Worker threads with priorities; many chunks are read at once without a wait for a full pool.

Threads are daemons: leaving the program is never held up by a read that hangs. What keeps a slider
quick while reads are slow are three rules of :meth:`Scheduler._may_run`: the last free thread is
for what is visible; reads for views that have passed take half of the threads at most, so that the
view on which a drag ends finds one free; and a read that hangs no longer counts.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections.abc import Sized
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_lazyload.core import settings
from napari_lazyload.core.source import is_remote
from napari_lazyload.loading.jobs import Job, Tier
from napari_lazyload.loading.work_sharing import WorkSharing

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from napari_lazyload.core.source import Source

IDLE_SECONDS = 2.0

SETTLE_SECONDS = 0.04
"""While passed views are still being read, a new one waits so long whether it is passed, too."""

STALL_SECONDS, MOST_STALLED = 1.5, 32
"""A job that runs longer gives its place in the pool to another; at most so many do."""

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Scheduler:
    """A pool of threads that end when there is nothing to do.

    Look-ahead and background never take the last thread, so that what is visible finds one: with
    one worker they have a thread of their own.

    Parameters
    ----------
    workers : callable
        Returns how many threads there are at most; asked each time, for the setting may change.

    Attributes
    ----------
    paused : bool
        Whether queued jobs wait until :meth:`pause` lets them go on.
    """

    def __init__(self, workers: Callable[[], int] = lambda: settings.current().workers) -> None:
        self._workers = workers
        self._reset()

    @property
    def workers(self) -> int:
        """How many threads there are at most."""
        return self._workers()

    def at_once(self, *, quick: bool) -> int:
        """Return how many jobs for what is visible run at once."""
        return min(self.workers, CORES) if quick else self.workers

    def _reset(self) -> None:
        self._wake = threading.Condition()
        self._queue: list[tuple[Tier, int, Job]] = []
        self._running: set[Job] = set()
        self.paused = False
        self._order = itertools.count()
        self._threads = 0
        self._idle = 0

    def submit(
        self,
        work: Callable[[Job], Any],
        *,
        tier: Tier = Tier.VISIBLE,
        owner: Hashable = None,
        asked: float | None = None,
        quick: bool = False,
    ) -> Job:
        """Queue ``work(job)`` and return its job.

        Parameters
        ----------
        work : callable
            Gets the job.
        tier : Tier
            What goes first.
        owner : hashable
            Whom it is for.
        asked : float, optional
            When that was wanted, of `time.monotonic`: a view that goes on has settled already; now
            by default.
        quick : bool
            Whether it is over in a moment, and keeps a core busy till then: no more of these run at
            once than there are cores, however many threads there are.

        Raises
        ------
        RuntimeError
            If no thread can be started and none is there; the work will not run then.
        """
        job = Job(work, owner, tier, asked, quick=quick)
        with self._wake:
            heapq.heappush(self._queue, (tier, next(self._order), job))
            try:
                self._call_thread()
            except RuntimeError:
                if not self._threads:
                    self._unqueue(lambda queued: queued is job)
                    raise
        return job

    def _call_thread(self) -> None:
        """Wake a thread, and start one where more jobs wait than threads; the lock is held."""
        self._wake.notify()
        # One more than may run: it watches, where all others hang, when they give up their places.
        most = max(2, self.workers) + len(self._stalled()) + self._count(Tier.BACKGROUND) + 1
        if len(self._queue) <= self._idle or self._threads >= most:
            return
        self._threads += 1
        try:
            threading.Thread(
                target=self._worker, name=f"lazyload-{self._threads}", daemon=True
            ).start()
        except RuntimeError:  # the system has no more, or Python is about to end
            self._threads -= 1
            raise

    def _unqueue(self, belongs: Callable[[Job], bool]) -> list[Job]:
        """Take jobs off the queue and end them; the lock is held."""
        jobs = [job for _, _, job in self._queue if belongs(job)]
        if jobs:
            gone = set(jobs)
            self._queue = [entry for entry in self._queue if entry[2] not in gone]
            heapq.heapify(self._queue)
        for job in jobs:
            job.cancel()
            job.drop()
        return jobs

    def cancel(self, owner: Hashable) -> int:
        """Cancel the queued and running jobs of `owner`; return how many."""
        with self._wake:
            queued = self._unqueue(lambda job: job.owner == owner)
            running = [job for job in self._running if job.owner == owner]
            for job in running:
                job.cancel()
            if queued and self._queue:  # what stood behind these may be allowed
                with suppress(RuntimeError):
                    self._call_thread()
        return len(queued) + len(running)

    def pause(self, *, paused: bool = True) -> None:
        """Let queued jobs wait, or go on; what runs goes on, and so do reads of other threads."""
        with self._wake:
            self.paused = paused
            for _ in self._queue if not paused else ():
                with suppress(RuntimeError):
                    self._call_thread()

    def _stalled(self) -> list[Job]:
        """Return the running jobs that gave up their place; the lock is held."""
        late = time.monotonic() - STALL_SECONDS
        return [
            job for job in self._running if job.began < late and job.tier is not Tier.BACKGROUND
        ][:MOST_STALLED]

    def _count(self, *tiers: Tier) -> int:
        """Return how many running jobs are of some tiers; the lock is held."""
        return sum(job.tier in tiers for job in self._running)

    def _patience(self, now: float) -> float:
        """Return after how many seconds the first job of the queue may run; the lock is held.

        `now` is a moment before it was looked whether the job may run: what became due since was
        seen there.
        """
        times = [job.began + STALL_SECONDS - now for job in self._running]
        times.append(self._queue[0][2].asked + SETTLE_SECONDS - now)
        return min((later for later in times if later > 0), default=IDLE_SECONDS) + 0.001

    def _take(self) -> Job | None:
        """Return the next job that may run now; the lock is held."""
        if not self._queue or self.paused:
            return None
        job = self._queue[0][2]
        if not self._may_run(job):
            return None
        heapq.heappop(self._queue)
        job.began = time.monotonic()
        self._running.add(job)
        if self._queue:  # what stood behind this one may be allowed, and the setting may have grown
            with suppress(RuntimeError):
                self._call_thread()
        return job

    def _may_run(self, job: Job) -> bool:
        """Return whether the first job of the queue may begin now; the lock is held."""
        workers = self.workers
        if job.tier is Tier.BACKGROUND:
            return self._count(Tier.BACKGROUND) < max(1, workers - 1)
        stalled = self._stalled()
        counted = [
            running
            for running in self._running
            if running.tier < Tier.BACKGROUND and running not in stalled
        ]
        if job.quick and sum(running.quick for running in counted) >= max(
            1, CORES - (job.tier is Tier.PREFETCH)
        ):
            return False
        seen = [running for running in counted if running.tier <= Tier.VISIBLE]
        if job.tier is Tier.PREFETCH:
            return len(counted) < max(1, workers - 1)
        passed = sum(running.cancelled for running in seen)
        if passed >= max(1, workers // 2) and time.monotonic() < job.asked + SETTLE_SECONDS:
            return False
        return len(seen) < workers and len(counted) < max(2, workers)

    def _wait_for_job(self) -> Job | None:
        """Return the next job, or None after some idle time; the lock is held."""
        woken, now = True, time.monotonic()
        while (job := self._take()) is None and woken:
            self._idle += 1
            if (
                self._queue and not self.paused
            ):  # the first one is to settle, or a job that hangs to give up its place
                self._wake.wait(self._patience(now))
            else:
                woken = self._wake.wait(IDLE_SECONDS)
            self._idle -= 1
            now = time.monotonic()
        return job

    def _worker(self) -> None:
        while True:
            with self._wake:
                job = self._wait_for_job()
                if job is None:
                    self._threads -= 1
                    return
            job.run()
            with self._wake:
                self._running.discard(job)  # not there in a child that was forked by the job
            del job  # its owner may hold pixels, which an idle thread must not keep

    def snapshot(self) -> dict[str, int]:
        """Return queued jobs by tier, running ones, threads, and whether it is paused."""
        with self._wake:
            queued = [tier for tier, _, _ in self._queue]
            running, threads = len(self._running), self._threads
        counts = {f"queued_{tier.name.lower()}": queued.count(tier) for tier in Tier}
        return {**counts, "running": running, "threads": threads, "paused": self.paused}

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

        The calling thread does items itself and waits only for items that another thread has
        already begun, so that nested calls and a pool that is busy for ever cannot deadlock.

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
            Called with the number of items done, from whichever thread finished one, one call at a
            time.

        Raises
        ------
        CancelledError
            If `cancel` said so.
        Exception
            The first error that `work`, `items`, `cancel` or `progress` raised; no further item
            begins after it.
        """
        run = WorkSharing(work, items, cancel, progress)
        helpers = (workers or self.workers) - 1
        if isinstance(items, Sized):
            helpers = min(helpers, len(items) - 1)
        try:
            with suppress(RuntimeError):  # no more threads: this one does it all
                for _ in range(helpers):
                    self.submit(run.assist, tier=tier, owner=run)
            run.run_until_empty()
        except BaseException as err:  # noqa: BLE001 - Ctrl-C between two items; raised again below
            run.stop(err)
        finally:
            if helpers > 0:
                self.cancel(run)
        run.finish()


shared = Scheduler()
"""The pool of the process: for reads that keep a core busy, and for all else."""

remote = Scheduler(lambda: settings.current().remote_workers)
"""The pool for reads that wait for a server, many at a time, and leave the cores to others
meanwhile."""


def pool_of(source: Source) -> Scheduler:
    """Return the pool that reads a source."""
    return remote if is_remote(source) else shared


def pause(*, paused: bool = True) -> None:
    """Let the queued jobs of both pools wait, or go on."""
    for pool in (shared, remote):
        pool.pause(paused=paused)


def snapshot() -> dict[str, int]:
    """Return :meth:`Scheduler.snapshot` of both pools, summed up."""
    one, other = shared.snapshot(), remote.snapshot()
    return {
        name: one[name] or other[name] if name == "paused" else one[name] + other[name]
        for name in one
    }


if hasattr(os, "register_at_fork"):  # the parent's threads are not there in a child
    for _pool in (shared, remote):
        os.register_at_fork(after_in_child=_pool._reset)  # noqa: SLF001
