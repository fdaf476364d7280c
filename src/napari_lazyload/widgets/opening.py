"""Open an address while the window lives on: a server answers when it likes."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from napari.utils.notifications import show_info
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QProgressDialog

from napari_lazyload.core.cancelling import cancellable
from napari_lazyload.core.errors import CancelledError
from napari_lazyload.core.text import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QMainWindow

T = TypeVar("T")

AT_ONCE = 0.08
"""Seconds after which a wait is shown: what comes sooner needs no word."""
_LOOK_MS = 20
_MOST_SHOWN = 60


def open_in_window(opened: Callable[[], T], address: str, window: QMainWindow) -> T | None:
    """Return what a function opens in a thread; meanwhile the window handles its events.

    Parameters
    ----------
    opened : callable
        Opens the address.
    address : str
        What the user is told.
    window : QMainWindow
        Where the wait and its *Cancel* are shown, unless it ends at once.

    Returns
    -------
    object or None
        None where the user cancelled, or closed the window.

    Raises
    ------
    Exception
        Whatever `opened` raises.
    """
    cancel, result = threading.Event(), Future[T]()

    def work() -> None:
        try:
            with cancellable(cancel):
                result.set_result(opened())
        except BaseException as err:  # noqa: BLE001 - for the thread that waits
            result.set_exception(err)

    threading.Thread(target=work, daemon=True, name="lazyload-opening").start()
    try:
        return result.result(AT_ONCE)
    except TimeoutError:
        if result.done():
            raise
    _wait_in_window(result, cancel, address, window)
    if cancel.is_set():
        show_info(plain_text(f"Opening {_short(address)} was cancelled"))
        return None
    try:
        return result.result(0)
    except CancelledError:
        return None


def _wait_in_window(
    result: Future[T], cancel: threading.Event, address: str, window: QMainWindow
) -> None:
    """Handle events until there is a result, or the user cancels."""
    dialog = QProgressDialog(plain_text(f"Opening {_short(address)}"), "Cancel", 0, 0, window)
    dialog.setWindowTitle("Lazy Load")
    dialog.setWindowModality(Qt.WindowModality.NonModal)
    dialog.setMinimumDuration(0)
    dialog.canceled.connect(cancel.set)
    gone = threading.Event()
    window.destroyed.connect(gone.set)
    loop, timer = QEventLoop(), QTimer()

    def look() -> None:
        if result.done() or cancel.is_set() or gone.is_set():
            loop.quit()

    timer.timeout.connect(look)
    timer.start(_LOOK_MS)
    dialog.show()
    loop.exec()
    timer.stop()
    if gone.is_set():  # and the dialog with it
        cancel.set()
        return
    window.destroyed.disconnect(gone.set)
    dialog.canceled.disconnect(cancel.set)  # closing it would cancel
    dialog.close()
    dialog.deleteLater()


def _short(address: str) -> str:
    """Return an address without its query, which may hold a secret, from its end."""
    plain = address.partition("?")[0]
    return plain if len(plain) <= _MOST_SHOWN else f"...{plain[-_MOST_SHOWN:]}"
