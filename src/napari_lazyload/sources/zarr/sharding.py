"""The bytes of one chunk, which may lie in a shard: the shard's index is read once, then the chunk's bytes alone."""

from __future__ import annotations

import copy
import os
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.sources.zarr.codecs import NOT_STORED, decode_index

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import numpy as np

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.sources.zarr.array_metadata import Shards
    from napari_lazyload.sources.zarr.store import Store

    Array = np.ndarray[Any, Any]

INDEX_BUDGET = 32 << 20
"""Bytes of shard indices that are kept: 16 for each chunk."""


def read_packed(store: Store, key: str, shards: Shards | None, index: BlockIndex) -> bytes | None:
    """Return the bytes of a chunk as stored; None where it is not there.

    Parameters
    ----------
    store, key
        Where it is, or its shard.
    shards : Shards or None
        How shards are made up, where there are some.
    index : tuple of int
        The chunk's place in the array's grid.

    Raises
    ------
    ChunkReadError
        If it cannot be read, or the shard is cut short or damaged.
    """
    if shards is None:
        return store.get(key)
    found = _kept.get((store, key, store.stamp(key)), lambda: _read_index(store, key, shards))
    if found is None:
        return None
    start, length = (int(number) for number in found[shards.split(index)[1]])
    if start == length == NOT_STORED:
        return None
    data = store.get_range(key, start, length) if start + length < NOT_STORED else b""
    if data is None or len(data) != length:
        address = store.address(key)
        msg = (
            f"{address}: the shard is cut short or damaged: chunk {index} should be the {length} bytes from {start} "
            "on. Copy or write it again, then retry"
        )
        raise ChunkReadError(msg, address)
    return data


def _read_index(store: Store, key: str, shards: Shards) -> Array | None:
    data = store.get_range(key, -shards.index_nbytes if shards.at_end else 0, shards.index_nbytes)
    if data is None:
        return None
    try:
        return decode_index(data, shards.counts, shards.codecs)
    except ValueError as err:
        address = store.address(key)
        msg = f"{address}: the index of this shard cannot be read ({err}). Copy or write it again, then retry"
        raise ChunkReadError(msg, address) from err


class _Kept:
    """The indices used last. Each is read once, however many threads ask: they share what comes of it, errors too.

    Failures are not kept.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Array | None] = OrderedDict()
        self._reading: dict[Hashable, Future[Array | None]] = {}
        self._nbytes = 0

    def get(self, key: Hashable, read: Callable[[], Array | None]) -> Array | None:
        """Return what is kept under a key, or what `read` gives, in this thread or in the one that has begun it."""
        mine: Future[Array | None] = Future()
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
            reading = self._reading.setdefault(key, mine)
        if reading is mine:
            return self._read(key, read, mine)
        error = reading.exception()  # waits
        if error is None:
            return reading.result()
        if not isinstance(error, Exception):  # the other one was interrupted
            return self.get(key, read)
        raise copy.copy(error) from error.__cause__

    def _read(
        self, key: Hashable, read: Callable[[], Array | None], mine: Future[Array | None]
    ) -> Array | None:
        try:
            found = read()
        except BaseException as err:
            self._land(key)
            mine.set_exception(err)
            raise
        self._keep(key, found)
        self._land(key)
        mine.set_result(found)
        return found

    def _land(self, key: Hashable) -> None:
        with self._lock:
            self._reading.pop(key, None)

    def _keep(self, key: Hashable, found: Array | None) -> None:
        with self._lock:
            self._found[key] = found
            self._nbytes += _cost(found)
            while self._nbytes > INDEX_BUDGET and len(self._found) > 1:
                self._nbytes -= _cost(self._found.popitem(last=False)[1])


def _cost(found: Array | None) -> int:
    return 256 + (0 if found is None else found.nbytes)


_kept = _Kept()

if hasattr(os, "register_at_fork"):
    # A child forked while a thread held a lock would wait for ever.
    os.register_at_fork(after_in_child=_kept._reset)  # noqa: SLF001 - same module
