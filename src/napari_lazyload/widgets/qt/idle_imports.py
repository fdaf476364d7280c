"""Import heavy packages while nobody uses the window: an import holds the interpreter."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer

from napari_lazyload.core import lazy_imports
from napari_lazyload.loading import background, cache, scheduler, status
from napari_lazyload.loading.jobs import Job, Tier

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

IDLE_SECONDS = 1.0
"""How long nobody must have touched the window, nor asked for a chunk, before a package is
imported."""

POLL_MS = 100

_USED = frozenset(
    {
        QEvent.Type.KeyPress,
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonRelease,
        QEvent.Type.MouseMove,
        QEvent.Type.NativeGesture,
        QEvent.Type.TouchUpdate,
        QEvent.Type.Wheel,
    }
)


def import_when_idle(window: QWidget | None) -> None:
    """Import what is pending, package by package, while nobody uses a window; once a window."""
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    if window is not None and window.findChild(IdleImports, options=direct) is None:
        IdleImports(window)


class IdleImports(QObject):
    """Imports the next package when a window is idle; ends with the window or the last package.

    Parameters
    ----------
    window : QWidget
        Its parent. One that is not on the screen is not idle: nobody waits for it.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._owner = ("imports", id(self))
        self._seen: Any = None
        self._quiet_at = 0.0
        self._job: Job | None = None
        self._nothing_left = False
        self._watched: QObject | None = None
        lazy_imports.loaders.add(self)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.CoarseTimer)
        self._timer.timeout.connect(self._poll)
        self._timer.start(POLL_MS)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Note that the user does something; filters nothing."""
        if event is not None and event.type() in _USED:
            self._quiet_at = time.monotonic() + IDLE_SECONDS
        return super().eventFilter(watched, event)

    def _poll(self) -> None:
        if self._nothing_left:
            self.end()
        elif self._idle() and (self._job is None or self._job.done.is_set()):
            self._job = scheduler.shared.submit(
                self._import_one, tier=Tier.BACKGROUND, owner=self._owner
            )

    def _import_one(self, _job: Job) -> None:
        """Import one package; runs in a worker thread."""
        self._nothing_left = lazy_imports.load_next() is None

    def _idle(self) -> bool:
        counters = cache.shared.counters
        seen = (counters.hits + counters.reads + counters.shared, status.shared.version)
        if not self._watches() or seen != self._seen or background.drawing.active():
            self._seen, self._quiet_at = seen, time.monotonic() + IDLE_SECONDS
        return time.monotonic() >= self._quiet_at

    def _watches(self) -> bool:
        """Watch the user's input to the window, and return whether it is on the screen."""
        if not self._window.isVisible():
            return False
        handle = self._window.windowHandle()  # all input passes it, and little else
        if handle is not None and handle is not self._watched:
            handle.installEventFilter(self)
            self._watched = handle
        return True

    def end(self) -> None:
        """Import nothing more."""
        self._timer.stop()
        lazy_imports.loaders.discard(self)
        scheduler.shared.cancel(self._owner)
        if self._watched is not None:
            self._watched.removeEventFilter(self)
            self._watched = None
