"""One iterator of work, drained by several threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_lazyload.loading.jobs import Job

_END = object()


class WorkSharing:
    """One iterator drained by several threads."""

    def __init__(
        self,
        work: Callable[[Any], Any],
        items: Iterable[Any],
        cancel: Callable[[], bool] | None,
        progress: Callable[[int], Any] | None,
    ) -> None:
        self._work = work
        self._items = iter(items)
        self._cancel = cancel
        self._progress = progress
        self._state = threading.Condition()
        self._helping = 0
        self._count = 0
        self._closed = False
        self._error: BaseException | None = None

    def assist(self, _job: Job) -> None:
        """Do items in a worker thread; :meth:`finish` waits for it."""
        with self._state:
            self._helping += 1
        self.run_until_empty()
        with self._state:
            self._helping -= 1
            self._state.notify_all()

    def run_until_empty(self) -> None:
        """Do items until there are none, or one failed; errors are kept for :meth:`finish`."""
        while True:
            try:
                item = self._next()
                if item is _END:
                    return
                self._work(item)
                if self._progress is not None:
                    self._report()
            except BaseException as err:  # noqa: BLE001 - raised by finish() in the calling thread
                self.stop(err)

    def _next(self) -> Any:
        with self._state:
            if self._closed or self._error is not None:
                return _END
            if self._cancel is not None and self._cancel():
                raise CancelledError("cancelled; nothing was kept")
            return next(self._items, _END)

    def _report(self) -> None:
        with self._state:
            self._count += 1
            if self._progress is not None and self._error is None:
                self._progress(self._count)

    def stop(self, error: BaseException) -> None:
        """Let no further item begin because of `error`, unless another one came first."""
        with self._state:
            if self._error is None:
                self._error = error

    def finish(self) -> None:
        """Wait for the items that other threads have begun, then raise the first error."""
        with self._state:
            self._closed = True  # a helper that comes late does nothing
            while self._helping:
                self._state.wait()
            error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback leads here: the cycle would keep the pixels of a failed read
