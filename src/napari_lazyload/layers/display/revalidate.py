"""Whether what a view took from memory is still in its files: looked up once it is drawn.

A view of hundreds of chunks would wait for the system hundreds of times, and for a file server far
longer. It is shown from memory, and a thread looks at its files afterwards. Chunks of replaced
files are missing again, and come in like all others.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading import scheduler
from napari_lazyload.loading.chunk_queue import ChunkQueue
from napari_lazyload.loading.jobs import Job, Tier

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Source
    from napari_lazyload.layers.display.frame import Frame
    from napari_lazyload.loading.chunk_queue import ChunkAddress, OnChunk


class Revalidator:
    """Looks at the files of one source, in the pool.

    Parameters
    ----------
    source : Source
        Whose files.
    on_chunk : callable
        As :class:`ChunkQueue` takes it; gets the chunks of replaced files.
    """

    def __init__(self, source: Source, on_chunk: OnChunk) -> None:
        self._source = source
        self._pool = scheduler.pool_of(source)
        self._queue = ChunkQueue(source, Tier.VISIBLE, on_chunk)
        self._job: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether files are looked at, or will be; not while the user has the pool wait."""
        return self._job is not None and not self._job.done.is_set() and not self._pool.paused

    def revalidate(self, frames: Iterable[Frame]) -> None:
        """Look once at what some frames took from memory, and no longer at what others took."""
        frames = [frame for frame in frames if frame.unverified]
        if not frames:
            return
        self._pool.cancel(self)
        with suppress(RuntimeError):  # no more threads
            run = partial(self._run, frames)
            self._job = self._pool.submit(run, tier=Tier.PREFETCH, owner=self)

    def cancel(self) -> None:
        """Look at nothing any more."""
        self._pool.cancel(self)
        self._queue.request([])

    def _run(self, frames: Iterable[Frame], job: Job) -> None:
        replaced = list(self._replaced(frames, job))
        if replaced:
            self._queue.request(replaced)

    def _replaced(self, frames: Iterable[Frame], job: Job) -> Iterator[ChunkAddress]:
        """Yield the chunks that their file no longer has, missing from now on."""
        for frame in frames:
            for index, key in list(frame.unverified.items()):
                if job.cancelled:
                    return
                if self._key(frame.level, index) != key:
                    frame.mark_missing(index)
                    yield frame.level, index
                frame.unverified.pop(index, None)

    def _key(self, level: int, index: BlockIndex) -> Hashable | None:
        with suppress(ChunkReadError):  # the file is gone: whoever reads it will say so
            return self._source.chunk(level, index).key
        return None
