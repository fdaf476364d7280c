"""The chunk cache: decoded chunks under one byte budget, each read once however many ask at the same moment.

Two rules keep it free of deadlocks and leaks. Whoever first asks for an absent chunk reads it in its own thread, and
those who ask meanwhile wait for that thread, which itself waits for nobody. And no array leaves the package without a
copy, so that a view kept by a caller never holds an evicted chunk in memory.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from napari_lazyload.core.source import Chunk

    Array = np.ndarray[Any, Any]


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


class _Flight:
    """One read under way, and what came of it."""

    __slots__ = ("array", "done", "error", "keep")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.array: Array | None = None
        self.error: BaseException | None = None
        self.keep = False


class ChunkCache:
    """Least-recently-used decoded chunks under a byte budget. All methods may be called from any thread.

    Parameters
    ----------
    budget : callable, optional
        Returns the bytes that may be kept; by default the setting ``cache_budget``.
    """

    def __init__(self, budget: Callable[[], int] | None = None) -> None:
        self._budget = budget or (lambda: settings.current().cache_budget)
        self._reset()

    def _reset(self) -> None:
        """Start empty, with new locks: also what a forked child must do."""
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, Array] = OrderedDict()
        self._flights: dict[Hashable, _Flight] = {}
        self._nbytes = 0
        self.counters = CacheCounters()

    @property
    def nbytes(self) -> int:
        """Bytes of the chunks that are kept now."""
        return self._nbytes

    def __len__(self) -> int:
        """Return how many chunks are kept now."""
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        """Return whether the chunk is kept, without counting it as used."""
        return key in self._entries

    def read(self, chunk: Chunk, *, keep: bool = True) -> Array:
        """Return the decoded chunk, read in this thread if no one has it.

        Parameters
        ----------
        chunk : Chunk
            What to read.
        keep : bool
            Whether the chunk enters the cache; a crop leaves the chunks that are being browsed alone.

        Returns
        -------
        numpy.ndarray
            Read-only and shared: copy what leaves the package.

        Raises
        ------
        ChunkReadError
            If the chunk cannot be read. Failures are not kept, the next call tries again.
        """
        key = chunk.key
        while True:
            with self._lock:
                kept = self._entries.get(key)
                if kept is not None:
                    self._entries.move_to_end(key)
                    self.counters.hits += 1
                    return kept
                flight = self._flights.get(key)
                if mine := flight is None:
                    flight = self._flights[key] = _Flight()
                flight.keep |= keep
            if mine:
                return self._load(key, chunk, flight)
            flight.done.wait()
            if flight.array is not None:
                self.counters.shared += 1
                return flight.array
            if isinstance(flight.error, Exception):
                raise copy.copy(flight.error) from flight.error
            # The reading thread was interrupted (Ctrl-C, not a fault of the file): read it here.

    def _load(self, key: Hashable, chunk: Chunk, flight: _Flight) -> Array:
        try:
            array = chunk.load()
            if array.base is not None:  # a view would keep more than it counts
                array = array.copy()
            array.flags.writeable = False
            flight.array = array
        except BaseException as err:
            flight.error = err
            raise
        finally:
            with self._lock:
                self._land(key, flight)
            flight.done.set()
        return array

    def _land(self, key: Hashable, flight: _Flight) -> None:
        """Take a finished read off the list and keep its array; the lock is held."""
        if self._flights.get(key) is flight:  # not so after a fork
            del self._flights[key]
        self.counters.reads += 1
        if flight.array is None:
            self.counters.failures += 1
            return
        size = flight.array.nbytes
        self.counters.read_nbytes += size
        if flight.keep and size <= self._budget():
            self._entries[key] = flight.array
            self._nbytes += size
            self._evict()

    def _evict(self) -> None:
        budget = self._budget()
        while self._nbytes > budget and self._entries:
            _, array = self._entries.popitem(last=False)
            self._nbytes -= array.nbytes
            self.counters.evictions += 1

    def trim(self) -> None:
        """Drop chunks until the budget in force is kept."""
        with self._lock:
            self._evict()

    def drop(self, belongs: Callable[[Hashable], bool] | None = None) -> int:
        """Drop the chunks whose key `belongs` says yes to, all by default; return how many."""
        with self._lock:
            gone = [key for key in self._entries if belongs is None or belongs(key)]
            for key in gone:
                self._nbytes -= self._entries.pop(key).nbytes
        return len(gone)

    def snapshot(self) -> dict[str, int]:
        """Return the counters, the bytes and number of chunks kept, and the budget."""
        with self._lock:
            return {
                "budget": self._budget(),
                "nbytes": self._nbytes,
                "chunks": len(self._entries),
                "reading": len(self._flights),
                **asdict(self.counters),
            }


shared = ChunkCache()
"""The one cache of the process."""

if hasattr(os, "register_at_fork"):
    # A child forked while a thread held the lock would wait for ever, and the flights' threads do not exist there.
    os.register_at_fork(after_in_child=shared._reset)  # noqa: SLF001 - same module
