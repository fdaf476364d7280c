"""What went wrong where: failed chunks of each source, and who wants to hear of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import BlockIndex

    Listener = Callable[[str, int, BlockIndex, str | None], object]


class LoadStatus:
    """Failed chunks by source token. All methods may be called from any thread; listeners hear in that thread."""

    def __init__(self) -> None:
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
            listeners = list(self._listeners) if news else []
        for listener in listeners:
            listener(token, level, index, reason)
        return news

    def clear(self, token: str, level: int, index: BlockIndex) -> None:
        """Note that a chunk that may have failed before is there now."""
        with self._lock:
            known = self._failed.get(token, {}).pop((level, index), None)
            listeners = list(self._listeners) if known is not None else []
        for listener in listeners:
            listener(token, level, index, None)

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
