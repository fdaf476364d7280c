"""What went wrong where: failed chunks of each source, and who wants to hear of it."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import BlockIndex

    Listener = Callable[[str, int, BlockIndex, str | None], object]

_log = logging.getLogger(__name__)


class LoadStatus:
    """Failed chunks by source token. All methods may be called from any thread; listeners hear in that thread."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[str, dict[tuple[int, BlockIndex], str]] = {}
        self._listeners: list[Listener] = []

    def connect(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(token, level, index, reason)`` at each change; reason is None once the chunk loads.

        Returns
        -------
        callable
            Disconnects the listener.
        """
        with self._lock:
            self._listeners.append(listener)

        def disconnect() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return disconnect

    def fail(self, token: str, level: int, index: BlockIndex, reason: str) -> bool:
        """Note a failed chunk; return whether this is news."""
        with self._lock:
            chunks = self._failed.setdefault(token, {})
            news = chunks.get((level, index)) != reason
            chunks[level, index] = reason
        if news:
            self._tell(token, level, index, reason)
        return news

    def clear(self, token: str, level: int, index: BlockIndex) -> None:
        """Note that a chunk that may have failed before is there now."""
        with self._lock:
            known = self._failed.get(token, {}).pop((level, index), None)
        if known is not None:
            self._tell(token, level, index, None)

    def _tell(self, token: str, level: int, index: BlockIndex, reason: str | None) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(token, level, index, reason)
            except Exception:  # noqa: BLE001 - a window that is gone spoils no read, and keeps none from hearing
                _log.exception("a listener of the load status failed")

    def failures(self, token: str) -> dict[tuple[int, BlockIndex], str]:
        """Return the reason of each failed chunk of one source, by (level, index)."""
        with self._lock:
            return dict(self._failed.get(token, {}))

    def total(self) -> int:
        """Return how many chunks are failed now, in all sources."""
        with self._lock:
            return sum(map(len, self._failed.values()))

    def forget(self, token: str) -> None:
        """Drop all that is known of a source that was closed."""
        with self._lock:
            self._failed.pop(token, None)


shared = LoadStatus()
"""The one status of the process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=shared._reset)  # noqa: SLF001 - who listens is in the parent
