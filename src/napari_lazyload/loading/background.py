"""Background work that gives way to views, since threads of Python share one interpreter."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari_lazyload.loading import cache

if TYPE_CHECKING:
    from collections.abc import Callable

QUIET_SECONDS = 0.2
"""How long nobody must have asked for a chunk before background work goes on, its first step
included."""

PATIENCE_SECONDS, SLOT_SECONDS = 1.0, 0.005
"""Where somebody asks all the time, such as a movie, background work gets a slot now and then."""


class RedrawGuard:
    """Whether a window is about to draw: it requests no chunk then, and needs the interpreter."""

    def __init__(self) -> None:
        self._until = 0.0

    def begin(self) -> None:
        """Hold background work up until `end` is called, for `PATIENCE_SECONDS` at most."""
        self._until = time.monotonic() + PATIENCE_SECONDS

    def end(self) -> None:
        """Let background work go on once it is quiet."""
        self._until = 0.0

    def active(self) -> bool:
        """Return whether background work is held up."""
        return time.monotonic() < self._until


drawing = RedrawGuard()
"""Of all windows of the process."""


class BackgroundThrottle:
    """Tells a background loop whether to stop, and holds it up while frames are being looked at.

    Parameters
    ----------
    stop : callable
        Returns true once the loop shall end.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop
        self._asked = -1
        self._quiet_at = 0.0
        self._slot_ends = 0.0

    def __call__(self) -> bool:
        """Return whether to stop, as soon as the next step may be made."""
        now = time.monotonic()
        if now >= self._slot_ends:
            latest = now + PATIENCE_SECONDS
            while now < min(self._quiet(now), latest) and not self._stop():
                time.sleep(0.02)
                now = time.monotonic()
            self._slot_ends = now + SLOT_SECONDS
        return self._stop()

    def _quiet(self, now: float) -> float:
        """Return when it will have been quiet long enough, if nobody asks from now on."""
        counters = cache.shared.counters
        asked = counters.hits + counters.reads + counters.shared
        if asked != self._asked or drawing.active():
            self._asked, self._quiet_at = asked, now + QUIET_SECONDS
        return self._quiet_at
