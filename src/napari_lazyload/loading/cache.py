"""The chunk cache: decoded chunks under one byte budget, each read once for all who ask.

Two rules keep it free of deadlocks and leaks. Whoever first asks for an absent chunk reads it in
its own thread, and those who ask meanwhile wait for that thread, which itself waits for nobody. And
no array leaves the package without a copy, so that a view kept by a caller never holds an evicted
chunk in memory.
"""

from __future__ import annotations

import copy
import os
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core import settings
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.retry import locked_or_away, retrying
from napari_lazyload.core.source import is_ready, path_of
from napari_lazyload.loading import status

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from napari_lazyload.core.source import Chunk, ChunkKey
    from napari_lazyload.loading.status import ChunkReporter

    Array = np.ndarray[Any, Any]

ENTRY_NBYTES, LEAST_ENTRIES = 4096, 1024
"""No more chunks are kept than the budget has entries of so many bytes: a key and an array object
cost some 630 bytes which it does not count. So many chunks are always allowed."""


TORN_READS = 3
"""How often a file is read that is changed meanwhile."""

ATTEMPTS, FIRST_PAUSE = 3, 0.1
"""How often a file that is locked or away for the moment is read, and how long after the first
time."""


@dataclass(slots=True)
class CacheCounters:
    """What the cache did since it was made.

    Parameters
    ----------
    reads : int
        Chunks read and decoded, failures included.
    failures : int
        Reads that raised.
    hits : int
        Requests answered from memory.
    shared : int
        Requests that waited for a read already under way.
    evictions : int
        Chunks dropped to stay within the budget.
    read_nbytes : int
        Decoded bytes of all reads.
    """

    reads: int = 0
    failures: int = 0
    hits: int = 0
    shared: int = 0
    evictions: int = 0
    read_nbytes: int = 0


class PendingRead:
    """One read under way, and what came of it."""

    __slots__ = ("array", "done", "error", "keep")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.array: Array | None = None
        self.error: BaseException | None = None
        self.keep = False

    def result(self) -> Array | None:
        """Wait for the read of another thread; None if it was interrupted, no fault of the file."""
        self.done.wait()
        if isinstance(self.error, Exception):
            raise _again(self.error)
        return self.array


class ChunkCache:
    """Least-recently-used decoded chunks under a byte budget; for any thread.

    Parameters
    ----------
    budget : callable, optional
        Returns the bytes that may be kept; by default the setting ``cache_budget``.
    evicted : callable, optional
        Called with the key of each chunk that is let go of.
    """

    def __init__(
        self,
        budget: Callable[[], int] | None = None,
        evicted: Callable[[ChunkKey], Any] | None = None,
    ) -> None:
        self._setting = budget or (lambda: settings.current().cache_budget)
        self._evicted = evicted or (lambda _key: None)
        self._reset()

    def _reset(self) -> None:
        """Start empty, with new locks: also what a forked child must do."""
        self._lock = (
            threading.RLock()
        )  # the garbage collector may close a data set in a thread that holds it
        self._entries: OrderedDict[ChunkKey, Array] = OrderedDict()
        self._flights: dict[ChunkKey, PendingRead] = {}
        self._nbytes = 0
        self._reserved: dict[Hashable, int] = {}
        self.counters = CacheCounters()

    def _budget(self) -> int:
        """Return the bytes that chunks may take: what is lent to views is not theirs."""
        return max(0, self._setting() - sum(self._reserved.values()))

    @property
    def crowded(self) -> bool:
        """Whether views hold more than half of the budget."""
        return self._budget() < self._setting() // 2

    def reserve(self, owner: Hashable, nbytes: int) -> None:
        """Reserve a part of the budget for pixels that a view holds; 0 takes it back."""
        with self._lock:
            if nbytes:
                self._reserved[owner] = nbytes
            else:
                self._reserved.pop(owner, None)
            self._evict()

    @property
    def nbytes(self) -> int:
        """Bytes of the chunks that are kept now."""
        return self._nbytes

    def __len__(self) -> int:
        """Return how many chunks are kept now."""
        return len(self._entries)

    def __contains__(self, key: ChunkKey) -> bool:
        """Return whether the chunk is kept, without counting it as used."""
        return key in self._entries

    def peek(
        self,
        chunk: Chunk,
        reporter: ChunkReporter | None = None,
        fits: Callable[[Array], bool] = lambda _array: True,
    ) -> Array | None:
        """Return the decoded chunk if it is in memory and fits; reads nothing, never waits."""
        if not is_ready(chunk):
            return None
        key = chunk.key
        array = self._kept(key, touch=True)
        if array is None or not fits(array):
            return None
        if reporter is not None:
            self._tell(reporter, key)
        return array

    def kept(self, key: ChunkKey) -> Array | None:
        """Return the chunk that is kept under a key, whatever became of its file since."""
        return self._kept(key, touch=True)

    def _tell(self, reporter: ChunkReporter, key: ChunkKey) -> None:
        """Tell that a chunk is there, and whether it is kept."""
        with self._lock:  # nobody may evict it, nor keep it, between the look and the word
            again = reporter.loaded(key, kept=key in self._entries)
        if again:
            reporter.recovered()

    def read(
        self,
        chunk: Chunk,
        *,
        keep: bool = True,
        reporter: ChunkReporter | None = None,
        check: Callable[[Array], Any] | None = None,
    ) -> Array:
        """Return the decoded chunk, read in this thread if no one has it.

        Parameters
        ----------
        chunk : Chunk
            What to read.
        keep : bool
            Whether the chunk enters the cache; a crop leaves the chunks that are being browsed
            alone.
        note : ChunkReporter, optional
            Told what becomes of the chunk.
        check : callable, optional
            Raises where the pixels are not what was expected; that counts as a failure.

        Returns
        -------
        numpy.ndarray
            Read-only and shared: copy what leaves the package.

        Raises
        ------
        ChunkReadError
            If the chunk cannot be read. Failures are not kept, the next call tries again.
        """
        try:
            key = chunk.key
            array = self._find(chunk, key, keep, reporter)
            if check is not None:
                check(array)
        except BaseException as err:
            if reporter is not None:
                reporter.fail(err)
            raise
        if reporter is not None:
            self._tell(reporter, key)
        return array

    def _find(
        self, chunk: Chunk, key: ChunkKey, keep: bool, reporter: ChunkReporter | None
    ) -> Array:
        array = self._kept(key, touch=keep)
        while array is None:
            mine = PendingRead()
            try:
                pending = self._join_pending(key, mine, keep=keep)
                if pending is mine:
                    return self._load(chunk, key, mine, reporter)
            finally:  # whatever happens, Ctrl-C included: nobody may wait for a read that is over
                self._finish(key, mine)
            array = self._kept(key, touch=keep) if pending is None else pending.result()
        return array

    def _kept(self, key: ChunkKey, *, touch: bool) -> Array | None:
        """Return a chunk from memory; `touch` says whether this counts as its latest use."""
        with self._lock:
            array = self._entries.get(key)
            if array is not None:
                self.counters.hits += 1
                if touch:
                    self._entries.move_to_end(key)
            return array

    def _join_pending(self, key: ChunkKey, mine: PendingRead, *, keep: bool) -> PendingRead | None:
        """Return the pending read of `key`, or `mine`, now pending; None if one just ended."""
        with self._lock:
            if key in self._entries:
                return None
            pending = self._flights.setdefault(key, mine)
            pending.keep |= keep
            self.counters.shared += pending is not mine
            return pending

    def _load(
        self, chunk: Chunk, key: ChunkKey, pending: PendingRead, reporter: ChunkReporter | None
    ) -> Array:
        if reporter is not None:
            reporter.begin()
        try:
            pending.array = _own_memory(
                retrying(
                    lambda: _loaded_whole(chunk, key),
                    locked_or_away,
                    attempts=ATTEMPTS,
                    first_pause=FIRST_PAUSE,
                )
            )
        except BaseException as err:
            pending.error = _again(err)
            raise
        if reporter is not None:
            reporter.end(pending.array.nbytes)
        return pending.array

    def _finish(self, key: ChunkKey, pending: PendingRead) -> None:
        """Take a read that is over off the list, count it, and keep its array if requested."""
        try:
            with self._lock:
                if (
                    self._flights.get(key) is pending
                ):  # not so where it was another's, nor in a forked child
                    del self._flights[key]
                    self._take_in(key, pending)
        finally:
            pending.done.set()

    def _take_in(self, key: ChunkKey, pending: PendingRead) -> None:
        self.counters.reads += 1
        if pending.array is None:
            self.counters.failures += 1
            return
        size = pending.array.nbytes
        self.counters.read_nbytes += size
        if pending.keep and size <= self._budget():
            self._entries[key] = pending.array
            self._nbytes += size
            self._evict()

    def _evict(self) -> None:
        budget = self._budget()
        most = max(LEAST_ENTRIES, budget // ENTRY_NBYTES)
        while self._entries and (self._nbytes > budget or len(self._entries) > most):
            key, array = self._entries.popitem(last=False)
            self._nbytes -= array.nbytes
            self.counters.evictions += 1
            self._evicted(key)

    def trim(self) -> None:
        """Drop chunks until the budget in force is kept."""
        with self._lock:
            self._evict()

    def drop(self, belongs: Callable[[ChunkKey], bool] | None = None) -> int:
        """Drop the chunks whose key `belongs` says yes to, all by default; return how many.

        What is being read now is not kept either, unless somebody asks for it again.
        """
        with self._lock:
            keys = [*self._entries, *self._flights]
        gone = [key for key in keys if belongs is None or belongs(key)]
        count = 0
        with self._lock:
            for key in gone:
                if key in self._flights:
                    self._flights[key].keep = False
                if key in self._entries:
                    self._nbytes -= self._entries.pop(key).nbytes
                    count += 1
                    self._evicted(key)
        return count

    def snapshot(self) -> dict[str, int]:
        """Return the counters, the bytes and number of chunks kept, and the budget."""
        with self._lock:
            return {
                "budget": self._setting(),
                "lent": sum(self._reserved.values()),
                "nbytes": self._nbytes,
                "chunks": len(self._entries),
                "reading": len(self._flights),
                **asdict(self.counters),
            }


def _loaded_whole(chunk: Chunk, key: ChunkKey) -> Array:
    """Return a chunk's pixels; they are read again where its file was changed meanwhile.

    Half of them could else be old and half new. `key` is that of the moment before.
    """
    now = key
    for _ in range(TORN_READS):
        before, pixels = now, _loaded(chunk)
        now = chunk.key  # raises where it is gone, or no longer the file that was opened
        if now == before:
            return pixels
    path = path_of(chunk)
    raise ChunkReadError(
        f"{path or chunk}: expected a file that stays as it is while it is read, found one "
        f"that changed in each of {TORN_READS} reads: it is being written. Retry when it is done",
        path,
    )


def _loaded(chunk: Chunk) -> Array:
    """Return a chunk's pixels; too large a chunk is an error of the file, not of the program."""
    try:
        return chunk.load()
    except MemoryError as err:
        path = path_of(chunk)
        raise ChunkReadError(
            f"{path or chunk}: expected a chunk that fits into the memory, found a larger one "
            f"({err}). Write the image again in smaller chunks",
            path,
        ) from err


def _own_memory(array: Array) -> Array:
    """Return the array read-only, or a copy where it would keep something larger in memory."""
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    if base.base is not None or base.nbytes != array.nbytes:
        base = array = np.array(array, order="C")
    base.flags.writeable = array.flags.writeable = False
    return array


def _again(error: BaseException) -> BaseException:
    """Return a copy of an error for another thread, without a traceback that holds pixels."""
    try:
        again = copy.copy(error)
    except Exception:  # noqa: BLE001 - a foreign error that cannot be made twice is shared
        return error
    again.__cause__ = error.__cause__
    return again


shared = ChunkCache(evicted=status.shared.evicted)
"""The one cache of the process."""

if hasattr(os, "register_at_fork"):
    # A child forked while a thread held the lock would wait for ever, and the flights' threads do
    # not exist there.
    os.register_at_fork(after_in_child=shared._reset)  # noqa: SLF001 - same module
