"""Zarr arrays, versions 2 and 3, as grids of chunks."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.errors import ChunkReadError, LazyLoadWarning, SourceOpenError
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.sources.zarr.array_metadata import parse_layout
from napari_lazyload.sources.zarr.sharding import read_packed
from napari_lazyload.sources.zarr.store import AccessDeniedError

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.sources.zarr.node import Node
    from napari_lazyload.sources.zarr.store import Store

    Array = np.ndarray[Any, Any]

XARRAY_NAMES = "_ARRAY_DIMENSIONS"
"""The attribute in which xarray keeps the names of axes in version 2."""


class ZarrArray:
    """One array; made by :func:`open_array`. Picklable: equal arrays of one process are one object.

    Attributes
    ----------
    store : Store
        Where it is.
    path : str
        Within the store.
    zarr_format : {2, 3}
        Version of the Zarr format.
    shape : tuple of int
        Pixels along each axis; () for a single number.
    dtype : numpy.dtype
        Of what is read, in native byte order. Dates and durations are read as int64.
    stored_dtype : str
        As in the metadata: ``">u2"``, ``"<M8[ns]"``, ``"uint16"``.
    grid : ChunkGrid
        The chunks; of a sharded array those inside the shards.
    shard_shape : tuple of int or None
        Pixels of a shard, where there are some.
    dimension_names : tuple of (str or None) or None
        Version 3's own; xarray's ``_ARRAY_DIMENSIONS`` of version 2.
    fill_value : numpy.generic
        What a chunk that is not there is full of.
    codec : str
        For people: "blosc zstd", "zstd", "none", "sharded zstd".
    nbytes : int
        Of all pixels, decoded.
    form : str
        Tells these metadata from others of the same array: what they say of its chunks is part of
        their keys.
    denied : set of str
        Keys of chunks that a server did not let an anonymous user read, in this process, and that
        are shown as not there. A warning told of the first.
    """

    def __init__(
        self,
        store: Store,
        path: str,
        metadata_json: str,
        dimension_names: tuple[str | None, ...] | None,
    ) -> None:
        metadata = json.loads(metadata_json)
        self.store = store
        self.path = path
        self.zarr_format: Literal[2, 3] = metadata["zarr_format"]
        self.layout = layout = parse_layout(metadata)
        self.shape = layout.shape
        self.dtype = layout.dtype
        self.stored_dtype = layout.stored_dtype
        self.grid = layout.grid
        self.shard_shape = layout.shards.shape if layout.shards else None
        self.dimension_names = dimension_names
        self.fill_value = layout.fill_value
        self.codec = layout.codec
        self.nbytes = prod(self.shape) * self.dtype.itemsize
        self.denied_keys: set[str] = set()
        self.form = hashlib.blake2b(metadata_json.encode(), digest_size=8).hexdigest()
        self._made_from = (store, path, metadata_json, dimension_names)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_shared_array, self._made_from)

    def __repr__(self) -> str:
        return (
            f"ZarrArray({self.store.address(self.path)!r}, shape={self.shape}, dtype={self.dtype})"
        )

    def chunk(self, index: BlockIndex) -> ZarrChunk:
        """Return the reference to one chunk of `grid`; nothing is read."""
        return ZarrChunk(self, tuple(index))

    def mark_denied(self, key: str) -> None:
        """Note that a chunk is shown as not there because the server keeps it back."""
        first = not self.denied_keys
        self.denied_keys.add(key)
        if first:
            msg = (
                f"{self.store.address(key)}: the server does not let an anonymous user read this chunk, or it is not "
                f"there; it is shown with the fill value {self.fill_value}, as are others of this array"
            )
            warnings.warn(msg, LazyLoadWarning, stacklevel=2)


@dataclass(frozen=True, slots=True)
class ZarrChunk:
    """One chunk of an array.

    Parameters
    ----------
    array : ZarrArray
        Whose.
    index : tuple of int
        Its place in the array's grid.
    """

    array: ZarrArray
    index: BlockIndex

    def _keys(self) -> tuple[str, ...]:
        """Return the keys that may hold it: its own, or its shard's."""
        array, index = self.array, self.index
        if array.layout.shards:
            index, _ = array.layout.shards.split(index)
        prefix = f"{array.path}/" if array.path else ""
        return tuple(prefix + key for key in array.layout.encoding.keys(index))

    @property
    def path(self) -> str:
        """Path or URL of what holds it."""
        return self.array.store.address(self._keys()[0])

    @property
    def key(self) -> ChunkKey:
        """The array, the files that may hold the chunk, and its place and form."""
        array = self.array
        stamps = tuple(array.store.stamp(key) for key in self._keys())
        return ChunkKey(array.store.address(array.path), stamps, (array.form, self.index))

    def load(self) -> Array:
        """Read and decode it.

        Returns
        -------
        numpy.ndarray
            The fill value where it is not there; also where a server denies it to an anonymous
            user, which
            :attr:`ZarrArray.denied` notes.

        Raises
        ------
        ChunkReadError
            If it cannot be read, is cut short, or does not decode to its size.
        """
        array, layout = self.array, self.array.layout
        shape = box_shape(layout.grid.bounds(self.index))
        for key in self._keys():
            try:
                data = read_packed(array.store, key, layout.shards, self.index)
            except AccessDeniedError:
                if not array.store.anonymous:
                    raise
                array.mark_denied(key)
                data = None
            if data is not None:
                return self._decode(data, shape, key)
        if (
            not layout.fill_value
        ):  # zeros of the operating system's own making cost nothing until they are used
            return np.zeros(shape, layout.dtype)
        return np.full(shape, layout.fill_value, layout.dtype)

    def _decode(self, data: bytes, shape: tuple[int, ...], key: str) -> Array:
        layout = self.array.layout
        try:
            pixels = layout.decoder.decode(data, layout.stored_shape(self.index))
        except Exception as err:  # each codec's library has errors of its own
            address = self.array.store.address(key)
            msg = (
                f"{address}: chunk {self.index} cannot be decoded as {layout.codec} ({err}). It is damaged or cut "
                "short: copy or write it again, then retry"
            )
            raise ChunkReadError(msg, address) from err
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
        msg = f"{address}: expected a Zarr array, found a group"
        raise SourceOpenError(msg, address)
    metadata = {
        name: value
        for name, value in node.metadata.items()
        if name not in ("attributes", "dimension_names")
    }
    try:
        text = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
        return _shared_array(store, node.path, text, _dimension_names(node))
    except ValueError as err:
        msg = f"{address}: this array cannot be opened: {err}"
        raise SourceOpenError(msg, address) from err


@lru_cache(maxsize=4096)
def _shared_array(
    store: Store, path: str, metadata_json: str, dimension_names: tuple[str | None, ...] | None
) -> ZarrArray:
    return ZarrArray(store, path, metadata_json, dimension_names)


def _dimension_names(node: Node) -> tuple[str | None, ...] | None:
    """Return the names of the axes, where the metadata give one for each; None stands for no name."""
    if node.zarr_format == 3 and node.metadata.get("dimension_names") is not None:
        names = node.metadata["dimension_names"]
    else:
        names = node.attributes.get(XARRAY_NAMES)
    shape = node.metadata.get("shape")
    if not isinstance(names, list) or not isinstance(shape, list) or len(names) != len(shape):
        return None
    return tuple(name if isinstance(name, str) and name else None for name in names)
