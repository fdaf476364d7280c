"""Work beside the window, on a thread that ends when there is nothing to do.

No Qt here: whoever submits looks at the task from a timer of its own. A thread that never touches a
Qt object cannot call one that is gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")

Checkpoint: TypeAlias = Callable[[], None]
"""Called between short pieces of work: lets other threads run, raises `Cancelled` when the result
is not wanted."""

_WORK = 0.0005
_PAUSE = 0.0003
"""Seconds of work after which to sleep, and for how long: a window that paints asks for the
interpreter lock hundreds of times, and gets it all at once while this thread sleeps. ``sleep(0)``
takes it back before a waiter is awake."""


class Cancelled(Exception):  # noqa: N818 - no error: the work was called off
    """Raised by a checkpoint in work whose result nobody waits for."""


class Task(Generic[T]):
    """Some work and, once `done`, its result or its error.

    Attributes
    ----------
    seconds : float
        How long the work took.
    """

    def __init__(self, work: Callable[[Checkpoint], T]) -> None:
        self._work = work
        self._cancelled = threading.Event()
        self._done = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._slept = 0.0
        self.seconds = 0.0

    @property
    def done(self) -> bool:
        """Whether the work has ended, well or not."""
        return self._done.is_set()

    @property
    def error(self) -> BaseException | None:
        """What the work raised."""
        return self._error

    def result(self) -> T | None:
        """Return the result, or None where the work failed or was called off."""
        return self._result

    def cancel(self) -> None:
        """Call the work off; it ends at its next checkpoint."""
        self._cancelled.set()

    def checkpoint(self) -> None:
        """Let other threads run; raise `Cancelled` if the work was called off."""
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
                self._result = self._work(self.checkpoint)
        except BaseException as error:  # noqa: BLE001 - kept for the thread that asked
            self._error = error
        finally:
            del self._work
            self.seconds = time.perf_counter() - started
            self._done.set()


class LatestWorker:
    """Runs one task at a time; a newer task calls the older one off and takes its place.

    Parameters
    ----------
    name : str
        The thread's name, for whoever lists threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._running: Task[Any] | None = None
        self._next: Task[Any] | None = None

    def submit(self, work: Callable[[Checkpoint], T]) -> Task[T]:
        """Start the work, or queue it behind the one that is being called off."""
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
        """Call off all work; the thread ends at its next checkpoint."""
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
