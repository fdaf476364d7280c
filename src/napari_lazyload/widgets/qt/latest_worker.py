"""Work beside the window, on a thread that ends when there is nothing to do.

No Qt here: the caller looks at the task from a timer of its own. A thread that never touches a Qt
object cannot call one that is gone. It is no pool of `loading.scheduler` either, which the user may
have paused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")

Checkpoint: TypeAlias = Callable[[], None]
"""Called between short pieces of work. It lets other threads run, and raises `Cancelled` when
nobody waits for the result."""

_WORK = 0.0005
_PAUSE = 0.0003
"""Seconds of work after which to sleep, and how long. A window that paints requests the interpreter
lock hundreds of times, and gets it at once while this thread sleeps. ``sleep(0)`` takes the lock
back before a waiter is awake."""


class Cancelled(Exception):  # noqa: N818 - no error: the work was cancelled
    """Raised by a checkpoint in work whose result nobody waits for."""


class Task(Generic[T]):
    """Some work and, once `done`, its result or its error.

    Attributes
    ----------
    result : object
        What the work returned, None where it failed or was cancelled.
    error : BaseException or None
        What the work raised.
    seconds : float
        How long the work took.
    """

    def __init__(self, work: Callable[[Checkpoint], T]) -> None:
        self._work = work
        self._cancelled = threading.Event()
        self.done = False
        self.result: T | None = None
        self.error: BaseException | None = None
        self._slept = 0.0
        self.seconds = 0.0

    def cancel(self) -> None:
        """Cancel the work; it ends at its next checkpoint."""
        self._cancelled.set()

    def checkpoint(self) -> None:
        """Let other threads run; raise `Cancelled` if the work was cancelled."""
        if self._cancelled.is_set():
            raise Cancelled
        if time.perf_counter() - self._slept >= _WORK:
            time.sleep(_PAUSE)
            self._slept = time.perf_counter()

    def run(self) -> None:
        """Do the work in the calling thread."""
        started = time.perf_counter()
        try:
            if not self._cancelled.is_set():
                self.result = self._work(self.checkpoint)
        except BaseException as error:  # noqa: BLE001 - kept for the thread that asked
            self.error = error
        finally:
            del self._work
            self.seconds = time.perf_counter() - started
            self.done = True  # set last: the caller polls it


class LatestWorker:
    """Runs one task at a time; a newer task cancels the older one and takes its place.

    Parameters
    ----------
    name : str
        The thread's name in a list of threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._running: Task[Any] | None = None
        self._next: Task[Any] | None = None

    def submit(self, work: Callable[[Checkpoint], T]) -> Task[T]:
        """Start the work, or queue it behind the task that is being cancelled."""
        task: Task[T] = Task(work)
        with self._lock:
            self._next = task
            if self._running is not None:
                self._running.cancel()
                return task
            self._running = task
        threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return task

    def cancel(self) -> None:
        """Cancel all work; the thread ends at its next checkpoint."""
        with self._lock:
            self._next = None
            if self._running is not None:
                self._running.cancel()

    def _run(self) -> None:
        while True:
            with self._lock:
                task = self._running = self._next
                self._next = None
            if task is None:
                return
            task.run()
