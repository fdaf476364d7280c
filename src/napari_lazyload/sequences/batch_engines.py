"""Who reads the images of batches: threads that end when there is nothing to read, or processes.

A batch that is read is a `PendingBatch`; an *engine* fills it, image by image, and whoever brings
the last image joins them.
"""

from __future__ import annotations

import functools
import multiprocessing
import pickle
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from napari_lazyload.core import settings
from napari_lazyload.sequences.batch_plan import Array, at_least
from napari_lazyload.sequences.malloc_trim import malloc_trimmer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Read: TypeAlias = "Callable[[], Array]"
"""Gives the pixels of one image, which may be shared: they are never handed on without a copy."""
Reads: TypeAlias = "Callable[[int], Sequence[Read]]"
"""Gives what reads the images at a position: one, or one of each sequence that is read along."""
Outcome: TypeAlias = "tuple[Array, ...] | BaseException"
"""The images that were read at one position, or what went wrong."""
Batch: TypeAlias = "tuple[Any, ...]"
Join: TypeAlias = (
    "Callable[[Array, Mapping[int, BaseException], Sequence[BatchImages]], Batch | None]"
)
"""Makes a batch of its positions, the errors by place, and the images that were read."""


class BatchImages:
    """The images of a batch that come from one sequence.

    Each is copied to its place as it comes, so that a pending batch holds its own pixels and no
    decoded chunk.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._array: Array | None = None
        self._odd: dict[int, Array] = {}

    def put(self, at: int, image: Array) -> None:
        """Take the image of one place."""
        with self._lock:
            if self._array is None:
                self._array = np.empty((self._size, *image.shape), image.dtype)
        if image.shape == self._array.shape[1:] and image.dtype == self._array.dtype:
            self._array[at] = image
        else:  # unlike the one that came first
            self._odd[at] = image

    def joined(self, kept: Sequence[int]) -> Array | list[Array]:
        """Return the images of some places: what :func:`join_images` makes of them."""
        array = self._array
        assert array is not None  # of no image there is no batch
        if not self._odd and len(kept) == self._size:
            return array
        return join_images([self._odd.get(at, array[at, ...]) for at in kept])


def join_images(images: Sequence[Array]) -> Array | list[Array]:
    """Return new pixels: an array ``(n, ...)`` of a dtype that holds all, or a list.

    A list where shapes differ.
    """
    if len({image.shape for image in images}) == 1:
        return np.stack(images)
    return [np.array(image) for image in images]


class PendingBatch:
    """A batch whose images are still being read.

    Attributes
    ----------
    positions : numpy.ndarray of int
        Which images it is made of.
    claimed : int
        How many of them a thread has taken; guarded by the engine.
    done : threading.Event
        Set when all are there, or the batches were closed.
    """

    def __init__(self, positions: Array, join: Join) -> None:
        self.positions = positions
        self.claimed = 0
        self.done = threading.Event()
        self._join = join
        self._parts: list[BatchImages] = []
        self._errors: dict[int, BaseException] = {}
        self._left = len(positions)
        self._lock = threading.Lock()
        self._batch: Batch | None = None
        self._error: BaseException | None = None

    def put(self, at: int, outcomes: Sequence[Outcome]) -> None:
        """Take what was read from place `at` on; the last call joins the batch."""
        for place, outcome in enumerate(outcomes, at):
            if isinstance(outcome, BaseException):
                self._errors[place] = outcome
            else:
                self._place(place, outcome)
        with self._lock:
            self._left -= len(outcomes)
            if self._left:
                return
        try:
            self._batch = self._join(self.positions, self._errors, self._parts)
        except BaseException as err:  # noqa: BLE001 - raised by take(), in the thread that waits
            self._error = err
        self._errors, self._parts = {}, []
        self.done.set()

    def _place(self, at: int, images: tuple[Array, ...]) -> None:
        with self._lock:
            if not self._parts:
                self._parts = [BatchImages(len(self.positions)) for _ in images]
        try:
            for part, image in zip(self._parts, images, strict=True):
                part.put(at, image)
                malloc_trimmer.record(image.nbytes)
        except BaseException as err:  # noqa: BLE001 - memory has run out: raised at this batch
            self._errors[at] = err

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


class Engine(Protocol):
    """Reads the images of batches, those of the first one first."""

    def start(self, pending: PendingBatch) -> None:
        """Begin to read; never waits."""

    def close(self) -> None:
        """Begin no further read. May be called by the garbage collector, in any thread."""


class _Threads:
    """At most so many threads, which end when there is nothing to read."""

    def __init__(self, reads: Reads, workers: int) -> None:
        self._reads = reads
        self._workers = workers
        self._lock = threading.Lock()
        self._queue: deque[PendingBatch] = deque()
        self._running = 0
        self._closed = False

    def start(self, pending: PendingBatch) -> None:
        with self._lock:
            self._queue.append(pending)
            more = min(self._workers - self._running, len(pending.positions))
            self._running += more
        for _ in range(more):
            threading.Thread(target=self._work, name="lazyload-batches", daemon=True).start()

    def close(self) -> None:
        self._closed = True  # and no lock: the collector may run in a thread that holds it

    def _claim(self) -> tuple[PendingBatch, int] | None:
        """Return the next image to read, or None where the thread shall end."""
        with self._lock:
            if self._closed or not self._queue:
                self._running -= 1
                return None
            pending = self._queue[0]
            at = pending.claimed
            pending.claimed += 1
            if pending.claimed == len(pending.positions):
                self._queue.popleft()
            return pending, at

    def _work(self) -> None:
        while (claim := self._claim()) is not None:
            pending, at = claim
            pending.put(at, [_outcome(self._reads, int(pending.positions[at]))])
            del claim, pending  # or a batch would stay in memory until the next one


def _outcome(reads: Reads, position: int) -> Outcome:
    try:
        return tuple(read() for read in reads(position))
    except BaseException as err:  # noqa: BLE001 - raised at its batch, in the thread that asks for it
        return err


class _Processes:
    """Worker processes, spawned: threads and locks of this process do not reach them."""

    def __init__(self, reads: Reads, workers: int) -> None:
        self._reads = reads
        self._workers = workers
        self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))

    def start(self, pending: PendingBatch) -> None:
        places = np.arange(len(pending.positions))
        for part in np.array_split(places, min(self._workers, len(places))):
            at, size = int(part[0]), len(part)
            work = [tuple(self._reads(int(position))) for position in pending.positions[part]]
            try:
                # Pickled here: what fails in the pool's own thread may keep its processes alive
                # for ever (Python 3.11).
                future = self._pool.submit(_outcomes, pickle.dumps(work))
            except Exception as err:  # noqa: BLE001 - raised at its batch
                pending.put(at, [_explained(err)] * size)
            else:
                future.add_done_callback(functools.partial(_deliver, pending, at, size))

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


def _deliver(pending: PendingBatch, at: int, size: int, future: Future[list[Outcome]]) -> None:
    if future.cancelled():  # closed: whoever waits knows
        return
    error = future.exception()
    pending.put(at, future.result() if error is None else [_explained(error)] * size)


def _explained(error: BaseException) -> BaseException:
    """Return the error of a worker process with what the user can do about it."""
    explained: BaseException
    if isinstance(error, RuntimeError):  # the pool's own
        explained = RuntimeError(
            f"a worker process ended before its work was done: {error}. A script that uses "
            "processes needs `if __name__ == '__main__':` around what it runs; memory may also "
            "have run out"
        )
    else:
        explained = TypeError(
            f"an image cannot go to a worker process: {error}. Map functions that a module "
            "defines, or use threads"
        )
    explained.__cause__ = error
    return explained


def make_engine(reads: Reads, workers: int | str | None) -> Engine:
    """Return what reads images.

    Parameters
    ----------
    reads : callable
        Gives what reads the images at a position.
    workers : int, str or None
        A number of threads, ``"threads"``, ``"threads:4"``, ``"processes"`` or ``"processes:4"``;
        without a number, that of the setting ``workers``.

    Raises
    ------
    ValueError, TypeError
        If `workers` is none of these.
    """
    if workers is None:
        return _Threads(reads, settings.current().workers)
    if not isinstance(workers, str):
        return _Threads(reads, at_least("workers", workers, 1))
    kind, colon, number = workers.partition(":")
    is_bad_number = colon and not (number.isdecimal() and int(number))
    if kind not in ("threads", "processes") or is_bad_number:
        raise ValueError(
            "workers must be a number of threads, 'processes' or 'processes:<number>', "
            f"got {workers!r}"
        )
    count = int(number or settings.current().workers)
    return _Threads(reads, count) if kind == "threads" else _Processes(reads, count)
