"""Batches for training loops: read ahead, in order, never more than asked for.

A *plan* (`batch_plan`) says which positions make which batch, an *engine* (`batch_engines`) reads
them. No thread waits for work: threads begin with a batch and end when there is nothing to read, so
that none outlives the loop. Nothing here knows what an image is made from;
`napari_lazyload.sequences.sequence` hands in functions that read one.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.sequences.batch_engines import (
    Batch,
    BatchImages,
    Engine,
    Join,
    PendingBatch,
    Read,
    make_engine,
)
from napari_lazyload.sequences.batch_plan import (
    Array,
    at_least,
    plan_batches,
    probabilities,
    random_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Reader: TypeAlias = "Callable[[int], Read]"
"""Gives what reads the image at a position."""


def join_batch(
    positions: Array,
    errors: Mapping[int, BaseException],
    parts: Sequence[BatchImages],
    *,
    columns: Sequence[Array | None],
    skipped: dict[str, str] | None,
) -> Batch | None:
    """Return one batch, or None where no image of it could be read.

    Parameters
    ----------
    positions : numpy.ndarray of int
        Which images it is made of.
    errors : mapping of int to exception
        What went wrong, by place in the batch.
    parts : sequence of BatchImages
        The images that were read, those of each sequence.
    columns : sequence of (numpy.ndarray or None)
        What follows the images: an array to take the positions from, or None for the next images
        read at them.
    skipped : dict or None
        Notes the path and the reason of images that cannot be read; without it their error is
        raised.

    Raises
    ------
    Exception
        The first of `errors`; with `skipped`, the first that is not a `ChunkReadError`.
    """
    for _, error in sorted(errors.items()):
        if skipped is None or not isinstance(error, ChunkReadError):
            raise error
        skipped[error.path] = error.message
    kept = [at for at in range(len(positions)) if at not in errors]
    if not kept:
        return None
    rows = positions[kept]
    joined = (part.joined(kept) for part in parts)
    return (next(joined), *(next(joined) if column is None else column[rows] for column in columns))


class Batches:
    """Iterates over batches that are read ahead; made by `napari_lazyload.ImageSequence.batches`.

    Reading begins at once. Leaving a ``with`` block, :meth:`close`, the last batch, and the end of
    the object's life all stop it: no further read begins. Any thread may ask for the next batch.

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
        engine: Engine,
        join: Join,
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
        self._ahead: deque[PendingBatch] = deque()
        self._waited_for: set[PendingBatch] = set()
        self._stop = weakref.finalize(self, engine.close)
        self._extend(prefetch)

    def __repr__(self) -> str:
        state = f"{len(self._ahead)} read ahead" if self._stop.alive else "closed"
        return f"<Batches: {self._total} in all, {state}>"

    def __len__(self) -> int:
        """Return the number of all batches; fewer come where all images of one are skipped."""
        return self._total

    def __iter__(self) -> Batches:
        return self

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> Batch:
        """Return the next batch, and begin to read another.

        Raises
        ------
        ChunkReadError
            If an image of this batch cannot be read; the next call gives the batch after it.
        """
        while (pending := self._advance()) is not None:
            try:
                pending.done.wait()
                batch = pending.take()
            finally:
                self._waited_for.discard(pending)
            if batch is not None:
                return batch
        with self._turn:
            if not self._waited_for:  # another thread may still wait for an earlier batch
                self._stop()
        raise StopIteration

    def _advance(self) -> PendingBatch | None:
        """Return the batch whose turn it is, with as many as allowed begun behind it."""
        with self._turn:
            self._extend(1)
            if not self._ahead:
                return None
            pending = self._ahead.popleft()
            self._waited_for.add(pending)
            self._extend(self._prefetch)
            return pending

    def _extend(self, ahead: int) -> None:
        while self._stop.alive and len(self._ahead) < ahead:
            positions = next(self._plan, None)
            if positions is None:
                return
            pending = PendingBatch(positions, self._join)
            self._ahead.append(pending)
            self._engine.start(pending)

    def close(self) -> None:
        """Stop: no read begins, what was read ahead is dropped, and the next call ends the loop."""
        with self._turn:
            self._stop()
            self._ahead.clear()
            for pending in list(self._waited_for):
                pending.done.set()


def make_batches(
    reader: Reader,
    beside: Sequence[Array | Reader],
    count: int,
    *,
    batch_size: int,
    shuffle: Any,
    weights: Any,
    drop_last: bool,
    repeats: int,
    prefetch: int,
    workers: int | str | None,
    on_error: str,
) -> Batches:
    """Begin to read batches.

    Parameters
    ----------
    reader : callable
        Gives what reads the image at a position.
    beside : sequence of (numpy.ndarray or callable)
        What follows the images in a batch: values by position, or another reader.
    count : int
        How many images there are.
    batch_size, shuffle, weights, drop_last, repeats, prefetch, workers, on_error
        See :meth:`napari_lazyload.ImageSequence.batches`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described there.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    size, epochs = at_least("batch_size", batch_size, 1), at_least("repeats", repeats, 1)
    ahead = at_least("prefetch", prefetch, 0)
    chances = None if weights is None else probabilities(weights, count)
    random = random_order(shuffle)
    readers = [reader, *(read for read in beside if callable(read))]
    columns = [None if callable(column) else column for column in beside]
    skipped: dict[str, str] = {}
    return Batches(
        plan_batches(
            count, size, random=random, chances=chances, drop_last=drop_last, repeats=epochs
        ),
        make_engine(lambda position: [read(position) for read in readers], workers),
        functools.partial(
            join_batch, columns=columns, skipped=skipped if on_error == "skip" else None
        ),
        total=epochs * (count // size if drop_last else -(-count // size)),
        prefetch=ahead,
        skipped=skipped,
    )
