"""Work on the ``dask.distributed`` cluster that the user has connected to.

No cluster is started here, and ``distributed`` is never imported.
"""

from __future__ import annotations

import os
import sys
from concurrent import futures
from contextlib import suppress
from itertools import islice, product, repeat
from math import prod
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.chunks import intersect
from napari_lazyload.core.coarse_levels import chunk_side
from napari_lazyload.core.errors import CancelledError, ChunkReadError, LazyLoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari_lazyload.core.chunks import Box, ChunkGrid

MOST_PIECE = 16 << 20
"""Bytes that a worker sends at once, unless a single chunk has more."""

# How long tasks that write files are waited for, where nobody wants the files any more.
_WAIT_SECONDS = 60

# How often is checked whether the user has cancelled.
_POLL_SECONDS = 0.05


def cluster_client() -> Any | None:
    """Return the ``dask.distributed`` client that this process is connected with, or None.

    A client that is closed, that cannot wait here (in its own event loop), or whose task this is
    (waiting for the cluster from within could take for ever) does not count.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        client = distributed.default_client()
    except (ValueError, AttributeError):  # there is none; or distributed is just being imported
        return None
    usable = client.status == "running" and not client.asynchronous
    return client if usable and not _in_task(distributed) else None


def _in_task(distributed: Any) -> bool:
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def threads_of(client: Any) -> int:
    """Return how many tasks a cluster runs at the same time; 1 where it has no worker yet."""
    return max(1, sum(map(int, client.ncores().values())))


def sees(client: Any, folder: str) -> bool:
    """Whether all workers of a cluster share a folder of this machine, and may write to it."""
    try:
        found = client.run(os.access, folder, os.W_OK)
    except Exception:  # noqa: BLE001 - a cluster that cannot say does not
        return False
    return bool(found) and all(found.values())


def pieces(grid: ChunkGrid, box: Box, most: int) -> Iterator[Box]:
    """Yield boxes that together are `box`: whole chunks, several where they are small.

    At the edges of `box` only what lies in it.

    Parameters
    ----------
    grid : ChunkGrid
        The chunks.
    box : tuple of (int, int)
        What to divide.
    most : int
        Pixels of a piece, unless a chunk has more.
    """
    blocks = grid.block_ranges(box)
    largest = prod(map(chunk_side, repeat(grid), range(len(blocks))))
    room = max(1, most // max(1, largest))
    counts: list[int] = []  # of chunks, along each axis
    for span in reversed(blocks):
        counts.insert(0, max(1, min(len(span), room)))
        room //= counts[0]
    for starts in product(*map(range, repeat(0), map(len, blocks), counts)):
        bounds = []
        for axis, (span, start, count) in enumerate(zip(blocks, starts, counts, strict=True)):
            taken = span[start : start + count]
            bounds.append((grid.span(axis, taken[0])[0], grid.span(axis, taken[-1])[1]))
        yield intersect(tuple(bounds), box)


def compute_each(
    client: Any,
    arrays: Iterable[tuple[Any, Any]],
    take: Callable[[Any, Any], Any],
    *,
    cancel: Callable[[], bool] | None = None,
    writes: bool = False,
) -> None:
    """Compute dask objects on a cluster, two for each of its threads at a time.

    Returns when all are there.

    Parameters
    ----------
    client : distributed.Client
        As :func:`cluster_client` gives it.
    arrays : iterable of (object, dask array or Delayed)
        What to compute, each with what identifies it; taken one by one.
    take : callable
        ``take(object, result)``, called in this thread in the order in which the results come.
    cancel : callable, optional
        Returns true to stop.
    writes : bool
        Whether the tasks write files: those under way are then waited for, whatever happens.

    Raises
    ------
    CancelledError
        If `cancel` returned true. What was submitted is then taken back.
    ChunkReadError
        If the cluster or the client is gone.
    Exception
        The first error that a task, `arrays`, `take` or `cancel` raised.
    """
    waiting = iter(arrays)
    running: dict[Any, Any] = {}
    most = 2 * threads_of(client)
    try:
        while True:
            _check(cancel)
            for name, array in islice(waiting, most - len(running)):
                running[client.compute(array)] = name
            if not running:
                return
            done = _finished(client, running)
            for future, pixels in zip(done, client.gather(done), strict=True):
                take(running.pop(future), pixels)
    except Exception as err:
        # What distributed says of itself; an error of a task comes back as it was.
        own = isinstance(err, futures.CancelledError) or type(err).__module__.startswith(
            "distributed."
        )
        if isinstance(err, LazyLoadError) or (client.status == "running" and not own):
            raise
        raise ChunkReadError(
            f"the cluster stopped in the middle ({type(err).__name__}). Connect again, or close "
            "the client to compute without a cluster"
        ) from err
    finally:
        with suppress(Exception):  # a client that is closed has nothing to take back
            if writes and running:
                sys.modules["distributed"].wait(list(running), timeout=_WAIT_SECONDS)
            client.cancel(list(running))


def _check(cancel: Callable[[], bool] | None) -> None:
    if cancel is not None and cancel():
        raise CancelledError("cancelled")


def _finished(client: Any, running: Iterable[Any]) -> list[Any]:
    """Return the tasks that are done, after a short time at most."""
    try:
        with client.as_current():
            sys.modules["distributed"].wait(
                list(running), timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED"
            )
    except TimeoutError:
        return []
    return [future for future in running if future.done()]
