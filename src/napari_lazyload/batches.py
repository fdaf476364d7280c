"""Batches for training loops: read ahead, in order, never more than asked for, over when the loop is.

A *plan* says which positions make which batch. A batch on its way is a `_Filling`; an *engine* (threads or processes)
fills it, image by image, and whoever brings the last image joins them. No thread waits for work: threads begin with a
batch and end when there is nothing to read, so that none outlives the loop. Nothing here knows what an image is made
from; `napari_lazyload.sequence` hands in functions that read one.
"""

from __future__ import annotations

import functools
import multiprocessing
import operator
import pickle
import threading
import weakref
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from napari_lazyload.core import settings
from napari_lazyload.core.errors import ChunkReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

Array: TypeAlias = "np.ndarray[Any, Any]"
Random: TypeAlias = "np.random.Generator | np.random.RandomState"
Read: TypeAlias = "Callable[[], Array]"
"""Gives the pixels of one image, which may be shared: they are never handed on without a copy."""
Outcome: TypeAlias = "tuple[Array, ...] | BaseException"
Batch: TypeAlias = "tuple[Any, ...]"


def at_least(name: str, value: Any, least: int) -> int:
    """Return `value` as a whole number.

    Raises
    ------
    TypeError
        If it is not one.
    ValueError
        If it is below `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, (bool, np.bool_)):
        msg = f"{name} must be a whole number of at least {least}, got {value!r}"
        raise TypeError(msg)
    if number < least:
        msg = f"{name} must be at least {least}, got {number}"
        raise ValueError(msg)
    return number


def random_order(shuffle: Any) -> Random | None:
    """Return what draws the order, or None where images come in theirs.

    Raises
    ------
    TypeError
        If `shuffle` is none of True, False, None, a Generator, a RandomState.
    """
    if shuffle is None or isinstance(shuffle, (bool, np.bool_)):
        return np.random.default_rng() if shuffle else None
    if isinstance(shuffle, (np.random.Generator, np.random.RandomState)):
        return shuffle
    msg = (
        "shuffle must be True, False, a numpy.random.Generator or a RandomState, "
        f"got {shuffle!r}; for a seed give numpy.random.default_rng(seed)"
    )
    raise TypeError(msg)


def probabilities(weights: Any, count: int) -> Array:
    """Return the chance of each of `count` images to be drawn.

    Raises
    ------
    ValueError
        If there are not `count` weights, one is negative or not finite, or all are zero.
    """
    given = np.asarray(weights, dtype=float)
    if given.shape != (count,):
        msg = f"weights must be {count} numbers, one for each image, got an array of shape {given.shape}"
        raise ValueError(msg)
    if not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
        msg = "weights must be finite, not negative, and not all zero"
        raise ValueError(msg)
    return np.asarray(given / given.sum())


def plan_batches(
    count: int, batch_size: int, *, random: Random | None, chances: Array | None, drop_last: bool, repeats: int
) -> Iterator[Array]:
    """Yield the positions of each batch, one epoch after the other; each epoch begins with a batch of its own.

    Parameters
    ----------
    count : int
        How many images there are.
    batch_size : int
        How many make a batch.
    random : Generator, RandomState or None
        Draws the order of each epoch; without it images come in theirs.
    chances : numpy.ndarray or None
        Draw `count` images with replacement, each with its chance.
    drop_last : bool
        Whether a short batch at the end of an epoch is left out.
    repeats : int
        How many epochs.
    """
    for _ in range(repeats):
        if chances is not None:
            order = (random or np.random.default_rng()).choice(count, count, p=chances)
        else:
            order = np.arange(count) if random is None else random.permutation(count)
        stop = count - count % batch_size if drop_last else count
        for start in range(0, stop, batch_size):
            yield order[start : start + batch_size]


def join_images(images: Sequence[Array]) -> Array | list[Array]:
    """Return new pixels: one array ``(n, ...)`` where shapes agree, of a dtype that holds all, else a list."""
    if len({image.shape for image in images}) == 1:
        return np.stack(images)
    return [np.array(image) for image in images]


def join_batch(
    positions: Array, outcomes: Sequence[Outcome], *, columns: Sequence[Array | int], skipped: dict[str, str] | None
) -> Batch | None:
    """Return one batch, or None where no image of it could be read.

    Parameters
    ----------
    positions : numpy.ndarray of int
        Which images it is made of.
    outcomes : sequence
        For each position the images that were read there, or the error.
    columns : sequence of (numpy.ndarray or int)
        What follows the images: an array to take the positions from, or which of the images read at each position.
    skipped : dict or None
        Notes the path and the reason of images that cannot be read; without it their error is raised.

    Raises
    ------
    Exception
        The first error among `outcomes`; with `skipped`, the first that is not a `ChunkReadError`.
    """
    kept: list[int] = []
    images: list[tuple[Array, ...]] = []
    for at, outcome in enumerate(outcomes):
        if isinstance(outcome, tuple):
            kept.append(at)
            images.append(outcome)
        elif skipped is not None and isinstance(outcome, ChunkReadError):
            skipped[outcome.path] = outcome.message
        else:
            raise outcome
    if not kept:
        return None
    rows = positions[kept]
    joined = [join_images(part) for part in zip(*images, strict=True)]
    return (joined[0], *(joined[column] if isinstance(column, int) else column[rows] for column in columns))


class _Filling:
    """One batch on its way.

    Attributes
    ----------
    positions : numpy.ndarray of int
        Which images it is made of.
    claimed : int
        How many of them a thread has taken; guarded by the engine.
    done : threading.Event
        Set when all are there, or the batches were closed.
    """

    __slots__ = ("_batch", "_error", "_join", "_left", "_lock", "_outcomes", "claimed", "done", "positions")

    def __init__(self, positions: Array, join: Callable[[Array, Sequence[Outcome]], Batch | None]) -> None:
        self.positions = positions
        self.claimed = 0
        self.done = threading.Event()
        self._join = join
        self._outcomes: list[Any] = [None] * len(positions)
        self._left = len(positions)
        self._lock = threading.Lock()
        self._batch: Batch | None = None
        self._error: BaseException | None = None

    def put(self, at: int, outcomes: Sequence[Outcome]) -> None:
        """Take what was read from place `at` on; the last call joins the batch."""
        with self._lock:
            self._outcomes[at : at + len(outcomes)] = outcomes
            self._left -= len(outcomes)
            if self._left:
                return
        try:
            self._batch = self._join(self.positions, self._outcomes)
        except BaseException as err:  # noqa: BLE001 - raised by take() in the thread that waits for the batch
            self._error = err
        self._outcomes = []
        self.done.set()

    def take(self) -> Batch | None:
        """Return the batch, which is forgotten here, or None where there is none.

        Raises
        ------
        Exception
            What kept the batch from being made.
        """
        error, self._error = self._error, None
        batch, self._batch = self._batch, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback would hold the images that could be read
        return batch


class _Engine(Protocol):
    """Reads the images of batches, those of the first one first."""

    def start(self, filling: _Filling) -> None:
        """Begin to read; never waits."""

    def close(self) -> None:
        """Begin no further read. May be called by the garbage collector, in any thread."""


class _Threads:
    """At most so many threads, which end when there is nothing to read."""

    def __init__(self, reads: Callable[[int], Sequence[Read]], workers: int) -> None:
        self._reads = reads
        self._workers = workers
        self._lock = threading.Lock()
        self._queue: deque[_Filling] = deque()
        self._running = 0
        self._closed = False

    def start(self, filling: _Filling) -> None:
        with self._lock:
            self._queue.append(filling)
            more = min(self._workers - self._running, len(filling.positions))
            self._running += more
        for _ in range(more):
            threading.Thread(target=self._work, name="lazyload-batches", daemon=True).start()

    def close(self) -> None:
        self._closed = True  # and no lock: the collector may run in a thread that holds it

    def _claim(self) -> tuple[_Filling, int] | None:
        """Return the next image to read, or None where the thread shall end."""
        with self._lock:
            if self._closed or not self._queue:
                self._running -= 1
                return None
            filling = self._queue[0]
            at = filling.claimed
            filling.claimed += 1
            if filling.claimed == len(filling.positions):
                self._queue.popleft()
            return filling, at

    def _work(self) -> None:
        while (claim := self._claim()) is not None:
            filling, at = claim
            filling.put(at, [_outcome(self._reads, int(filling.positions[at]))])
            del claim, filling  # or a batch would stay in memory until the next one


def _outcome(reads: Callable[[int], Sequence[Read]], position: int) -> Outcome:
    try:
        return tuple(read() for read in reads(position))
    except BaseException as err:  # noqa: BLE001 - raised at its batch, in the thread that asks for it
        return err


class _Processes:
    """Worker processes, begun afresh (spawned): threads and locks of this process do not reach them."""

    def __init__(self, reads: Callable[[int], Sequence[Read]], workers: int) -> None:
        self._reads = reads
        self._workers = workers
        self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))

    def start(self, filling: _Filling) -> None:
        places = np.arange(len(filling.positions))
        for part in np.array_split(places, min(self._workers, len(places))):
            at, size = int(part[0]), len(part)
            work = [tuple(self._reads(int(position))) for position in filling.positions[part]]
            try:
                # Pickled here: what fails in the pool's own thread may keep its processes alive for ever (Python 3.11).
                future = self._pool.submit(_outcomes, pickle.dumps(work))
            except Exception as err:  # noqa: BLE001 - raised at its batch
                filling.put(at, [_explained(err)] * size)
            else:
                future.add_done_callback(functools.partial(_land, filling, at, size))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _outcomes(pickled: bytes) -> list[Outcome]:
    """Read images in a worker process."""
    work: Sequence[Sequence[Read]] = pickle.loads(pickled)
    return [_sendable(_outcome(work.__getitem__, at)) for at in range(len(work))]


def _sendable(outcome: Outcome) -> Outcome:
    """Return what was read, or an error that survives the way back."""
    if isinstance(outcome, BaseException):
        try:
            pickle.loads(pickle.dumps(outcome))  # own bytes
        except Exception:  # noqa: BLE001 - whatever the error's class does when it is pickled
            return RuntimeError(f"{type(outcome).__name__}: {outcome}")
    return outcome


def _land(filling: _Filling, at: int, size: int, future: Future[list[Outcome]]) -> None:
    if future.cancelled():  # closed: whoever waits was told so
        return
    error = future.exception()
    filling.put(at, future.result() if error is None else [_explained(error)] * size)


def _explained(error: BaseException) -> BaseException:
    """Return the error of a worker process with what the user can do about it."""
    explained: BaseException
    if isinstance(error, RuntimeError):  # the pool's own
        explained = RuntimeError(
            f"a worker process ended before its work was done: {error}. A script that uses processes needs "
            "`if __name__ == '__main__':` around what it runs; memory may also have run out"
        )
    else:
        explained = TypeError(
            f"an image cannot go to a worker process: {error}. Map functions that a module defines, or use threads"
        )
    explained.__cause__ = error
    return explained


def make_engine(reads: Callable[[int], Sequence[Read]], workers: int | str | None) -> _Engine:
    """Return what reads images.

    Parameters
    ----------
    reads : callable
        Gives the functions that read the images at one position.
    workers : int, str or None
        Threads (by default the setting ``workers``), or ``"processes"`` or ``"processes:4"``.

    Raises
    ------
    ValueError, TypeError
        If `workers` is none of these.
    """
    if workers is None or not isinstance(workers, str):
        return _Threads(reads, settings.current().workers if workers is None else at_least("workers", workers, 1))
    kind, _, number = workers.partition(":")
    if kind not in ("threads", "processes") or (workers != kind and not (number.isdecimal() and int(number))):
        msg = f"workers must be a number of threads, 'processes' or 'processes:<number>', got {workers!r}"
        raise ValueError(msg)
    count = int(number) if number else settings.current().workers
    return _Threads(reads, count) if kind == "threads" else _Processes(reads, count)


class Batches:
    """Iterates over batches that are read ahead; made by :meth:`napari_lazyload.ImageSequence.batches`.

    Reading begins at once. Leaving a ``with`` block, :meth:`close`, the last batch, and the end of the object's life
    all stop it: no further read begins. Any thread may ask for the next batch.

    Parameters
    ----------
    plan : iterator of numpy.ndarray
        Positions of each batch.
    engine : engine
        Reads them.
    join : callable
        Makes a batch from positions and what was read.
    total : int
        How many batches the plan has.
    prefetch : int
        How many batches are read or waiting beyond the one that is asked for.
    skipped : dict
        Where `join` notes what it leaves out.
    """

    def __init__(
        self,
        plan: Iterator[Array],
        engine: _Engine,
        join: Callable[[Array, Sequence[Outcome]], Batch | None],
        *,
        total: int,
        prefetch: int,
        skipped: dict[str, str],
    ) -> None:
        self.skipped = skipped
        """Path and reason of each image left out so far with ``on_error="skip"``."""
        self._plan = plan
        self._engine = engine
        self._join = join
        self._total = total
        self._prefetch = prefetch
        self._turn = threading.Lock()
        self._ahead: deque[_Filling] = deque()
        self._waited_for: set[_Filling] = set()
        self._stop = weakref.finalize(self, engine.close)
        self._extend(prefetch)

    def __repr__(self) -> str:
        state = f"{len(self._ahead)} read ahead" if self._stop.alive else "closed"
        return f"<Batches: {self._total} in all, {state}>"

    def __len__(self) -> int:
        """Return how many batches there are in all; fewer come where all images of one are skipped."""
        return self._total

    def __iter__(self) -> Batches:
        return self

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __next__(self) -> Batch:
        """Return the next batch, and begin to read another.

        Raises
        ------
        ChunkReadError
            If an image of this batch cannot be read; the next call gives the batch after it.
        """
        while (filling := self._advance()) is not None:
            try:
                filling.done.wait()
                batch = filling.take()
            finally:
                self._waited_for.discard(filling)
            if batch is not None:
                return batch
        with self._turn:
            if not self._waited_for:  # another thread may still wait for an earlier batch
                self._stop()
        raise StopIteration

    def _advance(self) -> _Filling | None:
        """Return the batch whose turn it is, with as many as allowed begun behind it."""
        with self._turn:
            self._extend(1)
            if not self._ahead:
                return None
            filling = self._ahead.popleft()
            self._waited_for.add(filling)
            self._extend(self._prefetch)
            return filling

    def _extend(self, ahead: int) -> None:
        while self._stop.alive and len(self._ahead) < ahead:
            positions = next(self._plan, None)
            if positions is None:
                return
            filling = _Filling(positions, self._join)
            self._ahead.append(filling)
            self._engine.start(filling)

    def close(self) -> None:
        """Stop: no further read begins, what was read ahead is dropped, and the next call ends the loop."""
        with self._turn:
            self._stop()
            self._ahead.clear()
            for filling in list(self._waited_for):
                filling.done.set()
