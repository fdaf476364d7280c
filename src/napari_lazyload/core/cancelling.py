"""Waiting that another thread can end: whoever opens an address says by which event."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

from napari_lazyload.core.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_event: ContextVar[Event | None] = ContextVar("cancel", default=None)
_POLL_SECONDS = 0.05


@contextmanager
def cancellable(event: Event) -> Iterator[None]:
    """Let `event` end what waits for a server in this thread, while the ``with`` block lasts.

    The wait then raises `CancelledError` at once; its request is left to itself.
    """
    token = _event.set(event)
    try:
        yield
    finally:
        _event.reset(token)


def wait_for(call: Callable[[], T]) -> T:
    """Return what `call` returns; in a `cancellable` block it runs in a thread of its own.

    Raises
    ------
    CancelledError
        If the event was set.
    Exception
        Whatever `call` raises.
    """
    event = _event.get()
    if event is None:
        return call()
    result: Future[T] = Future()

    def work() -> None:
        try:
            result.set_result(call())
        except BaseException as err:  # noqa: BLE001 - for the thread that waits
            result.set_exception(err)

    # A daemon: leaving Python does not wait for a server that hangs.
    Thread(target=work, daemon=True, name="lazyload-opening").start()
    while not event.is_set():
        try:
            return result.result(_POLL_SECONDS)
        except TimeoutError:
            if result.done():
                raise
    raise CancelledError("opening was cancelled")
