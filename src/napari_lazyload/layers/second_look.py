"""Whether the files of what a view took from memory are still those that were read: looked up once it is drawn.

A view of hundreds of chunks would wait for the system hundreds of times, and for a file server far longer. It is shown
from memory, and a thread looks at its files afterwards; what was replaced meanwhile is let go of, and read.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading import cache, scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Source
    from napari_lazyload.layers.frames import Frame


class SecondLook:
    """Looks at the files of one source, in the pool.

    Parameters
    ----------
    source : Source
        Whose.
    replaced : callable
        Called without arguments, in the thread that looked, when a frame shows what is no longer in its file.
    """

    def __init__(self, source: Source, replaced: Callable[[], Any]) -> None:
        self._source = source
        self._pool = scheduler.pool_of(source)
        self._replaced = replaced
        self._job: scheduler.Job | None = None

    @property
    def busy(self) -> bool:
        """Whether some files are still to be looked at."""
        return self._job is not None and not self._job.done.is_set()

    def look(self, frames: Iterable[Frame]) -> None:
        """Look once at what some frames took from memory; what other frames took is not looked at any more."""
        taken = [(frame, frame.unlooked) for frame in frames if frame.unlooked]
        if not taken:
            return
        for frame, _ in taken:
            frame.unlooked = {}
        self.cancel()
        with suppress(RuntimeError):  # no more threads
            self._job = self._pool.submit(partial(self._run, taken), tier=scheduler.Tier.PREFETCH, owner=self)

    def cancel(self) -> None:
        """Look at nothing any more."""
        if self.busy:
            self._pool.cancel(self)

    def _run(self, taken: list[tuple[Frame, dict[BlockIndex, Hashable]]], job: scheduler.Job) -> None:
        for frame, keys in taken:
            gone = set()
            for index, key in keys.items():
                if job.cancelled:
                    return
                if self._key(frame.level, index) != key:
                    gone.add(key)
            if gone:
                cache.shared.drop(gone.__contains__)
                frame.stale = True
                self._replaced()

    def _key(self, level: int, index: BlockIndex) -> Hashable | None:
        try:
            return self._source.chunk(level, index).key
        except ChunkReadError:  # the file is gone: whoever reads it will say so
            return None
