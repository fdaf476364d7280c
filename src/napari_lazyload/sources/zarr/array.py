"""Zarr arrays, versions 2 and 3, as grids of chunks."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import sys
import threading
import warnings
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.errors import LazyLoadWarning, SourceOpenError
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.sources.zarr.array_metadata import dimension_names_of, parse_metadata
from napari_lazyload.sources.zarr.codecs import NOT_STORED, decode_index, most_encoded
from napari_lazyload.sources.zarr.node import ARRAY, FILES, V3, read_nodes
from napari_lazyload.sources.zarr.store import AccessDeniedError, check_size, open_error, read_error

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.sources.zarr.array_metadata import KeyEncoding, Shards
    from napari_lazyload.sources.zarr.node import Node
    from napari_lazyload.sources.zarr.store import Store

    Array = np.ndarray[Any, Any]


class ZarrArray:
    """One array; made by :func:`open_array`. Picklable: equal arrays of one process are one object.

    Attributes
    ----------
    store : Store
        The store that it is in.
    path : str
        Within the store.
    zarr_format : {2, 3}
        Version of the Zarr format.
    shape : tuple of int
        Pixels along each axis; () for a single number.
    dtype : numpy.dtype
        Of the decoded pixels, in native byte order. Dates and durations are read as int64.
    stored_dtype : str
        As in the metadata: ``">u2"``, ``"<M8[ns]"``, ``"uint16"``.
    grid : ChunkGrid
        The chunks; of a sharded array those inside the shards.
    shard_shape : tuple of int or None
        Pixels of a shard; None without shards.
    dimension_names : tuple of (str or None) or None
        Version 3's own; xarray's ``_ARRAY_DIMENSIONS`` of version 2.
    layout : ArrayMetadata
        The chunks in their store: fill value, keys, shards, decoder.
    codec : str
        For people: "blosc zstd", "zstd", "none", "sharded zstd".
    nbytes : int
        Of all pixels, decoded.
    form : str
        A hash of the metadata. It is part of the keys of chunks, for the metadata may be replaced.
    denied_keys : set of str
        Keys of chunks that a server did not let an anonymous user read, in this process. They are
        shown as not there; a warning reports the first.
    """

    def __init__(
        self,
        store: Store,
        path: str,
        metadata_json: str,
        dimension_names: tuple[str | None, ...] | None,
        *,
        denies_missing: bool = False,
    ) -> None:
        metadata = json.loads(metadata_json)
        self.store = store
        self.path = path
        self.zarr_format: Literal[2, 3] = metadata["zarr_format"]
        self.layout = layout = parse_metadata(metadata)
        self.shape = layout.shape
        self.dtype = layout.dtype
        self.stored_dtype = layout.stored_dtype
        self.grid = layout.grid
        self.shard_shape = layout.shards.shape if layout.shards else None
        self.dimension_names = dimension_names
        self.codec = layout.codec
        self.nbytes = prod(self.shape) * self.dtype.itemsize
        self.denied_keys: set[str] = set()
        self._encoding = layout.encoding
        self._looked_around = False
        self.form = hashlib.blake2b(metadata_json.encode(), digest_size=8).hexdigest()
        self._denies_missing = denies_missing
        self._made_from = (store, path, metadata_json, dimension_names, denies_missing)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_shared_array, self._made_from)

    def __repr__(self) -> str:
        return (
            f"ZarrArray({self.store.address(self.path)!r}, shape={self.shape}, dtype={self.dtype})"
        )

    def chunk(self, index: BlockIndex) -> ZarrChunk:
        """Return the reference to one chunk of `grid`; nothing is read."""
        return ZarrChunk(self, tuple(index))

    def keys(self, index: BlockIndex) -> tuple[str, ...]:
        """Return the keys that may hold a chunk: its own, or its shard's."""
        return self._keys_by(self._encoding, index)

    def _keys_by(self, encoding: KeyEncoding, index: BlockIndex) -> tuple[str, ...]:
        if self.layout.shards:
            index, _ = self.layout.shards.split(index)
        return tuple(f"{self.path}/{key}".lstrip("/") for key in encoding.keys(index))

    def encoded(self, index: BlockIndex) -> tuple[bytes, str] | None:
        """Return the encoded bytes of a chunk and the key that holds them; None for a blank one.

        Raises
        ------
        ChunkReadError
            If it cannot be read, is cut short, or the whole array is gone.
        """
        found = self._read_by(self._encoding, index)
        if found is not None:
            self._looked_around = True
            return found
        self._refuse_if_gone()
        if self._looked_around or not index:
            return None
        return self._look_around(index)

    def _read_by(self, encoding: KeyEncoding, index: BlockIndex) -> tuple[bytes, str] | None:
        decoded = prod(self.layout.stored_shape(index)) * self.dtype.itemsize
        most = most_encoded(decoded)
        for key in self._keys_by(encoding, index):
            try:
                data = read_encoded(self.store, key, self.layout.shards, index, most)
            except AccessDeniedError:
                if not (self.store.anonymous or self._denies_missing):
                    raise
                self.mark_denied(key)
                data = None
            if data is not None:
                return data, key
        return None

    def _refuse_if_gone(self) -> None:
        """Raise where a chunk is missing because its whole array is."""
        own = f"{self.path}/{V3 if self.zarr_format == 3 else ARRAY}".lstrip("/")
        with suppress(AccessDeniedError):
            if (self.store.stamp if self.store.is_local else self.store.get)(own) is not None:
                return
        above = [*accumulate(self.path.split("/")[:-1], "{}/{}".format), ""]
        for node in read_nodes(self.store, above).values():
            if not isinstance(node, SourceOpenError | None) and self.path in node.consolidated:
                return
        raise read_error(
            self.store.address(own),
            "a chunk is missing, and so are the metadata of its array, which were there at "
            "opening: the store was deleted, moved or unmounted. Put it back and retry",
        )

    def _look_around(self, index: BlockIndex) -> tuple[bytes, str] | None:
        """Look, when no chunk was found yet, whether chunks have other names than they should."""
        self._looked_around = True
        expected = self.keys(index)[0].removeprefix(self.path).lstrip("/")
        # The first chunk tells, for threads ask in any order, and go on by the declared names.
        free = replace(self._encoding, declared=False)
        first = (0,) * len(index)
        if self._read_by(self._encoding, first) is not None:
            return None
        found = self._read_by(free, first)
        problem = "they are read by the names that they have"
        if found is not None:
            self._encoding = free
            found = self._read_by(free, index)
        else:
            keys = self._keys_by(free, index)
            firsts = {key.removeprefix(self.path).lstrip("/") for key in keys}
            known = "|".join(re.escape(first.split("/")[0]) for first in firsts)
            listed = self.store.list_dir(self.path) if self.store.is_local else None
            names = set(listed or ()).difference(FILES)
            if not names or any(
                map(re.compile(re.sub("[0-9]+", "[0-9]+", known)).fullmatch, names)
            ):
                return None
            problem = f"it holds {min(names)!r} instead; they are shown blank"
        warnings.warn(
            f"{self.store.address(self.path)}: its chunks are not named as its metadata say, such "
            f"as {expected!r}: {problem}",
            LazyLoadWarning,
            stacklevel=2,
        )
        return found

    def mark_denied(self, key: str) -> None:
        """Record that a chunk is shown as not there because the server denies it."""
        first = not self.denied_keys
        self.denied_keys.add(key)
        if first:
            warnings.warn(
                f"{self.store.address(key)}: the server does not let "
                f"{'an anonymous' if self.store.anonymous else 'this'} user read this "
                "chunk, or it is not there; it is shown with the fill value "
                f"{self.layout.fill_value}, as are others of this array",
                LazyLoadWarning,
                stacklevel=2,
            )


@dataclass(frozen=True, slots=True)
class ZarrChunk:
    """One chunk of an array.

    Parameters
    ----------
    array : ZarrArray
        The array that it is a part of.
    index : tuple of int
        Its place in the array's grid.
    """

    array: ZarrArray
    index: BlockIndex

    @property
    def path(self) -> str:
        """Path or URL of the file that holds it."""
        return self.array.store.address(self.array.keys(self.index)[0])

    @property
    def key(self) -> ChunkKey:
        """The array, the files that may hold the chunk, and its place and form."""
        array = self.array
        return ChunkKey(
            array.store.address(array.path),
            tuple(array.store.stamp(key) for key in array.keys(self.index)),
            (array.form, self.index),
        )

    def load(self) -> Array:
        """Read and decode it.

        Returns
        -------
        numpy.ndarray
            Its pixels; the fill value where it is not there, or where a server denies it to an
            anonymous user, see :attr:`ZarrArray.denied_keys`.

        Raises
        ------
        ChunkReadError
            If it cannot be read, is cut short, does not decode to its size, or the array is gone.
        """
        layout = self.array.layout
        shape = box_shape(layout.grid.bounds(self.index))
        if prod(shape) * layout.dtype.itemsize > sys.maxsize:  # of which NumPy makes a ValueError
            raise MemoryError(f"{prod(shape):,} pixels")
        found = self.array.encoded(self.index)
        if found is not None:
            return self._decode(found[0], shape, found[1])
        if not layout.fill_value:  # the operating system provides zeros as they are touched
            return np.zeros(shape, layout.dtype)
        return np.full(shape, layout.fill_value, layout.dtype)

    def _decode(self, data: bytes, shape: tuple[int, ...], key: str) -> Array:
        layout = self.array.layout
        try:
            pixels = layout.decoder.decode(data, layout.stored_shape(self.index))
        except Exception as err:  # each codec's library has errors of its own
            raise read_error(
                self.array.store.address(key),
                f"chunk {self.index} cannot be decoded as {layout.codec} ({err}). It is damaged or "
                "cut short: copy or write it again, then retry",
            ) from err
        if pixels.shape != shape:
            pixels = pixels[tuple(slice(size) for size in shape)]
        return np.asarray(pixels, layout.dtype, order="C")


def open_array(store: Store, node: Node) -> ZarrArray:
    """Return the array that a node of kind "array" describes; nothing is read.

    Raises
    ------
    SourceOpenError
        If the metadata are wrong, or it holds no numbers, or a codec is not known here.
    """
    address = store.address(node.path)
    if node.kind != "array":
        raise open_error(address, "expected a Zarr array, found a group")
    metadata = dict(node.metadata)
    metadata.pop("attributes", None)
    metadata.pop("dimension_names", None)
    try:
        text = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
        return _shared_array(store, node.path, text, dimension_names_of(node), node.denies_missing)
    except ValueError as err:
        raise open_error(address, f"this array cannot be opened: {err}") from err


@lru_cache(maxsize=4096)
def _shared_array(
    store: Store,
    path: str,
    metadata_json: str,
    dimension_names: tuple[str | None, ...] | None,
    denies_missing: bool,
) -> ZarrArray:
    return ZarrArray(store, path, metadata_json, dimension_names, denies_missing=denies_missing)


# --- Shards
# --------------------------------------------------------------------------------------------------

INDEX_BUDGET = 32 << 20
"""Bytes of shard indices that are kept: 16 for each chunk."""


def read_encoded(
    store: Store, key: str, shards: Shards | None, index: BlockIndex, most: int
) -> bytes | None:
    """Return the encoded bytes of a chunk; None where it is not there.

    Parameters
    ----------
    store, key
        Where the chunk is, or its shard.
    shards : Shards or None
        The layout of the shards, where there are some.
    index : tuple of int
        The chunk's place in the array's grid.
    most : int
        Most bytes that it can have.

    Raises
    ------
    ChunkReadError
        If it cannot be read, or is longer than that, or the shard is cut short or damaged.
    """
    if shards is None:
        return store.get(key, most)
    found = _indices.get((store, key, store.stamp(key)), lambda: _read_index(store, key, shards))
    if found is None:
        return None
    _, place = shards.split(index)
    start, length = found[place].tolist()
    if start == length == NOT_STORED:
        return None
    check_size(store.address(key), length, most)
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
