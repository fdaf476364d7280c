"""Run a function in the main thread, from any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication

if TYPE_CHECKING:
    from collections.abc import Callable


class _Poster(QObject):
    """Lives in the main thread; a signal to it is delivered there."""

    called = Signal(object, float)

    def __init__(self) -> None:
        super().__init__()
        app = QApplication.instance()
        if app is not None:
            self.moveToThread(app.thread())
        self.called.connect(self._run)

    def _run(self, function: Callable[[], Any], delay: float) -> None:
        QTimer.singleShot(round(delay * 1000), function)  # later, also where the main thread itself asks


_poster: list[_Poster] = []


def post_to_main(function: Callable[[], Any], delay: float = 0.0) -> None:
    """Call `function` in the main thread once its event loop comes to it, and `delay` seconds have passed."""
    if not _poster:
        _poster.append(_Poster())
    _poster[0].called.emit(function, delay)
