"""The bytes of one chunk, which may lie in a shard: of a shard the index is read once."""

from __future__ import annotations

import copy
import os
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.zarr.codecs import NOT_STORED, decode_index
from napari_lazyload.sources.zarr.store import read_error

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import numpy as np

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.sources.zarr.array_metadata import Shards
    from napari_lazyload.sources.zarr.store import Store

    Array = np.ndarray[Any, Any]

INDEX_BUDGET = 32 << 20
"""Bytes of shard indices that are kept: 16 for each chunk."""


def read_encoded(store: Store, key: str, shards: Shards | None, index: BlockIndex) -> bytes | None:
    """Return the encoded bytes of a chunk; None where it is not there.

    Parameters
    ----------
    store, key
        Where the chunk is, or its shard.
    shards : Shards or None
        The layout of the shards, where there are some.
    index : tuple of int
        The chunk's place in the array's grid.

    Raises
    ------
    ChunkReadError
        If it cannot be read, or the shard is cut short or damaged.
    """
    if shards is None:
        return store.get(key)
    found = _indices.get((store, key, store.stamp(key)), lambda: _read_index(store, key, shards))
    if found is None:
        return None
    _, place = shards.split(index)
    start, length = found[place].tolist()
    if start == length == NOT_STORED:
        return None
    data = store.get_range(key, start, length) if start + length < NOT_STORED else b""
    if data is None or len(data) != length:
        raise read_error(
            store.address(key),
            f"the shard is cut short or damaged: chunk {index} should be the {length} bytes from "
            f"{start} on. Copy or write it again, then retry",
        )
    return data


def _read_index(store: Store, key: str, shards: Shards) -> Array | None:
    nbytes = shards.index_nbytes
    data = store.get_range(key, -nbytes if shards.at_end else 0, nbytes)
    if data is None:
        return None
    try:
        return decode_index(data, shards.counts, shards.codecs)
    except ValueError as err:
        raise read_error(
            store.address(key),
            f"the index of this shard cannot be read ({err}). Copy or write it again, then retry",
        ) from err


class IndexCache:
    """The shard indices used last. Threads that need the same one share one read, or its error.

    Errors are not kept.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Array | None] = OrderedDict()
        self._pending: dict[Hashable, Future[Array | None]] = {}
        self._nbytes = 0

    def get(self, key: Hashable, read: Callable[[], Array | None]) -> Array | None:
        """Return the index kept under a key, or that of `read`, called once for all threads."""
        mine: Future[Array | None] = Future()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            pending = self._pending.setdefault(key, mine)
        if pending is mine:
            return self._read(key, read, mine)
        error = pending.exception()  # waits
        if error is None:
            return pending.result()
        if not isinstance(error, Exception):  # the thread that read was interrupted
            return self.get(key, read)
        raise copy.copy(error) from error.__cause__

    def _read(
        self, key: Hashable, read: Callable[[], Array | None], mine: Future[Array | None]
    ) -> Array | None:
        try:
            index = read()
        except BaseException as err:
            with self._lock:
                self._pending.pop(key, None)
            mine.set_exception(err)
            raise
        with self._lock:
            self._kept[key] = index
            self._pending.pop(key, None)
            self._nbytes += _cost(index)
            while self._nbytes > INDEX_BUDGET and len(self._kept) > 1:
                self._nbytes -= _cost(self._kept.popitem(last=False)[1])
        mine.set_result(index)
        return index


def _cost(index: Array | None) -> int:
    return 256 + getattr(index, "nbytes", 0)


_indices = IndexCache()

if hasattr(os, "register_at_fork"):
    # A child forked while a thread held a lock would wait for ever.
    os.register_at_fork(after_in_child=_indices._reset)  # noqa: SLF001 - same module
