"""Whether the files of what a view took from memory are still those that were read: looked up once it is drawn.

A view of hundreds of chunks would wait for the system hundreds of times, and for a file server far
longer. It is shown from memory, and a thread looks at its files afterwards; what was replaced
meanwhile is let go of, and read.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading import cache, scheduler
from napari_lazyload.loading.jobs import Job, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Source
    from napari_lazyload.layers.display.frame import Frame


class Revalidator:
    """Looks at the files of one source, in the pool.

    Parameters
    ----------
    source : Source
        Whose.
    replaced : callable
        Called without arguments, in the thread that looked, when a frame shows what is no longer in
        its file.
    """

    def __init__(self, source: Source, replaced: Callable[[], Any]) -> None:
        self._source = source
        self._pool = scheduler.pool_of(source)
        self._replaced = replaced
        self._job: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether some files are being looked at, or will be; not while the user has the pool wait."""
        return self._job is not None and not self._job.done.is_set() and not self._pool.paused

    def revalidate(self, frames: Iterable[Frame]) -> None:
        """Look once at what some frames took from memory; what other frames took is not looked at any more."""
        frames = [frame for frame in frames if frame.unverified]
        if not frames:
            return
        self.cancel()
        with suppress(RuntimeError):  # no more threads
            self._job = self._pool.submit(
                partial(self._run, frames), tier=Tier.PREFETCH, owner=self
            )

    def cancel(self) -> None:
        """Look at nothing any more."""
        if self._job is not None:
            self._pool.cancel(self)

    def _run(self, frames: Iterable[Frame], job: Job) -> None:
        for frame in frames:
            gone = set()
            for index, key in list(frame.unverified.items()):
                if job.cancelled:
                    break
                if self._key(frame.level, index) != key:
                    gone.add(key)
                frame.unverified.pop(index, None)
            if gone:
                cache.shared.drop(gone.__contains__)
                frame.stale = True
                self._replaced()

    def _key(self, level: int, index: BlockIndex) -> Hashable | None:
        try:
            return self._source.chunk(level, index).key
        except ChunkReadError:  # the file is gone: whoever reads it will say so
            return None
