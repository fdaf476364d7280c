"""The state of every chunk: queued, loading, loaded, failed or evicted, summed by source.

Whoever reads through the cache tells, by the `ChunkReporter` of the chunk. What is shown of it is a
snapshot, taken when a window has the time; only failures are told to listeners at once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_lazyload.core.chunk_states import NEXT, ChunkState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import ChunkKey

    Listener = Callable[[str, int, BlockIndex, str | None], object]
    ChunkAddress = tuple[int, BlockIndex]

_log = logging.getLogger(__name__)

MOST_EVICTED = 50_000
"""Of so many chunks of a source that were loaded once and are gone it is remembered; of older ones
it is not."""

INTERRUPTIONS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What may end a read and is no fault of the file."""

IN_HAND = (ChunkState.LOADED, ChunkState.LOADING)
"""States of chunks that the cache has, or will have in a moment."""

LATEST = 0.2
"""Weight of the latest read in the mean time of a read."""


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """One source, or several, at one moment.

    Parameters
    ----------
    queued, loading, loaded, failed, evicted : int
        Chunks in each state; loaded ones are in memory now, evicted ones were.
    reads : int
        Chunks read and decoded so far.
    read_nbytes : int
        Their decoded bytes.
    busy_seconds : float
        How long threads were busy with that, added up.
    read_seconds : float
        Mean time of the latest reads; 0 before the first.
    """

    queued: int = 0
    loading: int = 0
    loaded: int = 0
    failed: int = 0
    evicted: int = 0
    reads: int = 0
    read_nbytes: int = 0
    busy_seconds: float = 0.0
    read_seconds: float = 0.0


class _Chunks:
    """The chunks of one source that somebody wanted."""

    __slots__ = (
        "busy_seconds",
        "counts",
        "keys",
        "lists",
        "read_nbytes",
        "read_seconds",
        "reads",
        "reasons",
        "states",
    )

    def __init__(self) -> None:
        self.states: dict[ChunkAddress, ChunkState] = {}
        # Under which the cache keeps the latest pixels.
        self.keys: dict[ChunkAddress, ChunkKey] = {}
        # On how many lists of requested chunks each stands.
        self.lists: Counter[ChunkAddress] = Counter()
        self.reasons: dict[ChunkAddress, str] = {}
        self.counts: Counter[ChunkState] = Counter()
        self.reads = self.read_nbytes = 0
        self.busy_seconds = self.read_seconds = 0.0

    def move(self, place: ChunkAddress, state: ChunkState | None) -> bool:
        """Give a chunk another state where that is legal; return whether it was."""
        before = self.states.get(place)
        if before is state or state not in NEXT[before]:
            return before is state
        if before is not None:
            self.counts[before] -= 1
            del self.states[place]  # a state is added at the end, so that the oldest come first
        if state is not None:
            self.counts[state] += 1
            self.states[place] = state
        if self.counts[ChunkState.EVICTED] > MOST_EVICTED:
            self._forget_evicted()
        return True

    def _forget_evicted(self) -> None:
        """Forget the older half, so that it need not be done for each."""
        evicted = [place for place, state in self.states.items() if state is ChunkState.EVICTED]
        for place in evicted[: len(evicted) - MOST_EVICTED // 2]:
            del self.states[place]
            self.counts[ChunkState.EVICTED] -= 1

    def listed(self, place: ChunkAddress) -> None:
        """Put a chunk on one more list; one in memory or being read keeps its state."""
        self.lists[place] += 1
        if self.states.get(place) is not ChunkState.LOADED:
            self.move(place, ChunkState.QUEUED)

    def unlisted(self, place: ChunkAddress) -> bool:
        """Take a chunk off a list; return whether it stands on none."""
        self.lists[place] -= 1
        if self.lists[place] > 0:
            return False
        del self.lists[place]
        return True


class ChunkReporter:
    """Tells the status of one read; made for each, and used by the cache.

    Parameters
    ----------
    status : LoadStatus
        Whom to tell.
    token : str
        Whose chunk.
    level, index
        Which one.
    chunks
        Where the status keeps its state.
    """

    __slots__ = ("_began", "chunks", "index", "level", "status", "token")

    def __init__(
        self, status: LoadStatus, token: str, level: int, index: BlockIndex, chunks: _Chunks
    ) -> None:
        self.status = status
        self.token = token
        self.level = level
        self.index = index
        self.chunks = chunks
        self._began = 0.0

    def begin(self) -> None:
        """Tell that the chunk is being read."""
        self._began = time.perf_counter()
        self.status.began(self)

    def end(self, nbytes: int) -> None:
        """Tell that it was read."""
        self.status.ended(self, nbytes, time.perf_counter() - self._began)

    def loaded(self, key: ChunkKey, *, kept: bool) -> bool:
        """Report that its pixels are there; return whether :meth:`recovered` must be called."""
        return self.status.loaded(self, key, kept=kept)

    def recovered(self) -> None:
        """Report to listeners that a chunk loads which failed before; without the cache's lock."""
        self.status.recovered(self)

    def fail(self, error: BaseException) -> None:
        """Tell why it could not be read; an interruption is no fault of the file."""
        if not self.status.knows(self):
            return
        if isinstance(error, INTERRUPTIONS):
            self.status.clear(self.token, self.level, self.index)
        else:
            self.status.fail(self.token, self.level, self.index, str(error))


class LoadStatus:
    """The state of chunks by source token; for any thread. Listeners are called in that thread."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = (
            threading.RLock()
        )  # the garbage collector may close a data set in a thread that holds it
        self._sources: dict[str, _Chunks] = {}
        self._kept: dict[ChunkKey, set[tuple[str, ChunkAddress]]] = {}
        self._listeners: list[Listener] = []
        self.version = 0

    # --- what readers tell
    # ------------------------------------------------------------------------------------------

    def queue(self, token: str, level: int, indices: Iterable[BlockIndex]) -> None:
        """Record that chunks wait on a list; those in memory or being read keep their state."""
        with self._lock:
            chunks = self._sources.setdefault(token, _Chunks())
            for index in indices:
                chunks.listed((level, index))
            self.version += 1

    def unqueue(self, token: str, level: int, indices: Iterable[BlockIndex]) -> None:
        """Record that chunks are off a list unread; those on another one keep their state."""
        with self._lock:
            chunks = self._sources.get(token)
            if chunks is None:
                return
            for index in indices:
                place = (level, index)
                if chunks.unlisted(place) and chunks.states.get(place) is ChunkState.QUEUED:
                    failed = place in chunks.reasons
                    chunks.move(place, ChunkState.FAILED if failed else None)
            self.version += 1

    def dequeued(self, token: str, level: int, index: BlockIndex) -> None:
        """Note that a chunk is off a list because whoever took it reads it now."""
        with self._lock:
            chunks = self._sources.get(token)
            if chunks is not None:
                chunks.unlisted((level, index))

    def reporter(self, token: str, level: int, index: BlockIndex) -> ChunkReporter:
        """Return what tells the status of one read of a chunk."""
        with self._lock:
            chunks = self._sources.get(token)
            if chunks is None:
                chunks = self._sources[token] = _Chunks()
            return ChunkReporter(self, token, level, index, chunks)

    def knows(self, reporter: ChunkReporter) -> bool:
        """Return whether the source was not forgotten since its read began."""
        return self._sources.get(reporter.token) is reporter.chunks

    def began(self, reporter: ChunkReporter) -> None:
        """Note that a chunk is being read."""
        with self._lock:
            reporter.chunks.move((reporter.level, reporter.index), ChunkState.LOADING)
            self.version += 1

    def ended(self, reporter: ChunkReporter, nbytes: int, seconds: float) -> None:
        """Count a read, and how long it took."""
        with self._lock:
            chunks = reporter.chunks
            chunks.reads += 1
            chunks.read_nbytes += nbytes
            chunks.busy_seconds += seconds
            weight = LATEST if chunks.reads > 1 else 1.0
            chunks.read_seconds += weight * (seconds - chunks.read_seconds)

    def read_directly(
        self, reporter: ChunkReporter, indices: Iterable[BlockIndex], nbytes: int, seconds: float
    ) -> None:
        """Count a read of several chunks past the cache; those in it keep their state."""
        chunks, recovered = reporter.chunks, []
        with self._lock:
            self.ended(reporter, nbytes, seconds)
            for index in indices if self.knows(reporter) else ():
                place = (reporter.level, index)
                state = chunks.states.get(place)
                if state is not ChunkState.EVICTED and state not in IN_HAND:
                    chunks.move(place, ChunkState.EVICTED)
                if chunks.reasons and chunks.reasons.pop(place, None) is not None:
                    recovered.append(index)
            self.version += 1
        for index in recovered:
            self._tell(reporter.token, reporter.level, index, None)

    def loaded(self, reporter: ChunkReporter, key: ChunkKey, *, kept: bool) -> bool:
        """Record that a chunk's pixels are there; return whether it failed before."""
        place, chunks = (reporter.level, reporter.index), reporter.chunks
        with self._lock:
            same = (
                kept
                and chunks.states.get(place) is ChunkState.LOADED
                and chunks.keys.get(place) == key
            )
            if same or not self.knows(reporter):
                return False
            chunks.move(place, ChunkState.LOADED if kept else ChunkState.EVICTED)
            if kept:
                self._let_go(reporter.token, chunks, place)
                chunks.keys[place] = key
                self._kept.setdefault(key, set()).add((reporter.token, place))
            self.version += 1
            return chunks.reasons.pop(place, None) is not None

    def recovered(self, reporter: ChunkReporter) -> None:
        """Tell listeners that a chunk loads which failed before."""
        self._tell(reporter.token, reporter.level, reporter.index, None)

    def _let_go(self, token: str, chunks: _Chunks, place: ChunkAddress) -> None:
        """Forget under which key the cache keeps a chunk; the lock is held."""
        key = chunks.keys.pop(place, None)
        if key is None or key not in self._kept:
            return
        self._kept[key].discard((token, place))
        if not self._kept[key]:
            del self._kept[key]

    def evicted(self, key: ChunkKey) -> None:
        """Note that the cache let go of a chunk."""
        with self._lock:
            for token, place in self._kept.pop(key, ()):
                chunks = self._sources[token]
                del chunks.keys[place]
                if chunks.states.get(place) is ChunkState.LOADED:
                    chunks.move(place, ChunkState.EVICTED)
            self.version += 1

    def fail(self, token: str, level: int, index: BlockIndex, reason: str) -> bool:
        """Note a failed chunk; return whether this is news."""
        with self._lock:
            chunks = self._sources.setdefault(token, _Chunks())
            chunks.move((level, index), ChunkState.FAILED)
            news = chunks.reasons.get((level, index)) != reason
            chunks.reasons[level, index] = reason
            self.version += 1
        if news:
            self._tell(token, level, index, reason)
        return news

    def clear(self, token: str, level: int, index: BlockIndex) -> None:
        """Forget that a chunk failed, or that it was being read, so that it may be tried again."""
        with self._lock:
            chunks = self._sources.get(token)
            known = None
            if chunks is not None:
                known = chunks.reasons.pop((level, index), None)
                chunks.move((level, index), None)
                if chunks.lists.get((level, index)):
                    chunks.move((level, index), ChunkState.QUEUED)
                self.version += 1
        if known is not None:
            self._tell(token, level, index, None)

    def forget(self, token: str) -> None:
        """Drop all that is known of a source that was closed."""
        with self._lock:
            chunks = self._sources.pop(token, None)
            if chunks is not None:
                for place in list(chunks.keys):
                    self._let_go(token, chunks, place)
            self.version += 1

    # --- who hears, and what can be asked
    # ---------------------------------------------------------------------------

    def connect(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(token, level, index, reason)`` at each failure, with None once it loads.

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

    def _tell(self, token: str, level: int, index: BlockIndex, reason: str | None) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(token, level, index, reason)
            except Exception:  # noqa: BLE001 - a window that is gone spoils no read, and keeps none from hearing
                _log.exception("a listener of the load status failed")

    def available(self, token: str, level: int, indices: Iterable[BlockIndex]) -> bool:
        """Return whether the cache has one of some chunks, or reads it now."""
        chunks = self._sources.get(token)
        if chunks is None or not any(chunks.counts[state] for state in IN_HAND):
            return False
        return any(chunks.states.get((level, index)) in IN_HAND for index in indices)

    def state(self, token: str, level: int, index: BlockIndex) -> ChunkState | None:
        """Return the state of one chunk."""
        chunks = self._sources.get(token)
        return None if chunks is None else chunks.states.get((level, index))

    def key(self, token: str, level: int, index: BlockIndex) -> ChunkKey | None:
        """Return under which key the cache keeps one chunk; None where it has it not."""
        chunks = self._sources.get(token)
        return None if chunks is None else chunks.keys.get((level, index))

    def states(self, token: str) -> dict[tuple[int, BlockIndex], ChunkState]:
        """Return the states of the requested chunks of a source, by (level, index)."""
        with self._lock:
            chunks = self._sources.get(token)
            return {} if chunks is None else dict(chunks.states)

    def failures(self, token: str) -> dict[tuple[int, BlockIndex], str]:
        """Return the reason of each failed chunk of one source, by (level, index)."""
        with self._lock:
            chunks = self._sources.get(token)
            return {} if chunks is None else dict(chunks.reasons)

    def total(self) -> int:
        """Return how many chunks are failed now, in all sources."""
        with self._lock:
            return sum(len(chunks.reasons) for chunks in self._sources.values())

    def read_seconds(self, token: str) -> float:
        """Return the mean time of the latest reads of a source; 0 before the first."""
        chunks = self._sources.get(token)
        return 0.0 if chunks is None else chunks.read_seconds

    def summary(self, tokens: Iterable[str] | None = None) -> LoadSummary:
        """Return the sum over some sources, all by default; the cost is that of a few additions."""
        with self._lock:
            found = (
                list(self._sources.values())
                if tokens is None
                else [self._sources[token] for token in set(tokens) if token in self._sources]
            )
            counts: Counter[ChunkState] = sum((chunks.counts for chunks in found), Counter())
            return LoadSummary(
                **{state.value: counts[state] for state in ChunkState},
                reads=sum(chunks.reads for chunks in found),
                read_nbytes=sum(chunks.read_nbytes for chunks in found),
                busy_seconds=sum(chunks.busy_seconds for chunks in found),
                read_seconds=max((chunks.read_seconds for chunks in found), default=0.0),
            )


shared = LoadStatus()
"""The one status of the process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=shared._reset)  # noqa: SLF001 - who listens is in the parent
