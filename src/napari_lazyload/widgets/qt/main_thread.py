"""Run a function in the main thread, from any thread."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable


class _Poster(QObject):
    """Lives in the main thread, where each event that is posted to it runs the next function."""

    _KIND = QEvent.Type(QEvent.registerEventType())

    def __init__(self) -> None:
        super().__init__()
        self._calls: deque[tuple[Callable[[], Any], float]] = deque()
        app = QCoreApplication.instance()
        if app is not None:
            self.moveToThread(app.thread())

    def post(self, function: Callable[[], Any], delay: float) -> None:
        # An event costs a tenth of a signal or a timer, and each step of a slider posts.
        self._calls.append((function, delay))
        QCoreApplication.postEvent(self, QEvent(self._KIND))

    def event(self, event: Any) -> bool:
        if event.type() != self._KIND:
            return bool(super().event(event))
        function, delay = self._calls.popleft()
        if delay > 0:
            QTimer.singleShot(round(delay * 1000), function)
        else:
            function()
        return True


_poster: list[_Poster] = []


def post_to_main(function: Callable[[], Any], delay: float = 0.0) -> None:
    """Call `function` in the main thread, from its event loop, after `delay` seconds."""
    if not _poster:
        _poster.append(_Poster())
    _poster[0].post(function, delay)
