"""How an array lies in its store: chunk shapes, keys, shards, codecs; made from metadata alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import floordiv, mod, sub
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.sources.zarr.codecs import (
    LITTLE,
    Codec,
    codecs_name,
    decoder_v2,
    decoder_v3,
    index_nbytes,
    parse_codecs,
)
from napari_lazyload.sources.zarr.dtypes import dtype_v2, dtype_v3, fill_value, named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.sources.zarr.codecs import Pipeline, ThroughZarr
    from napari_lazyload.sources.zarr.node import Node

    Metadata = Mapping[str, Any]
    Edges: TypeAlias = "tuple[int | tuple[int, ...], ...]"

SHARDING = "sharding_indexed"
_ENCODINGS = {"default": ("c", "/"), "v2": ("", ".")}
_MEMBERS = frozenset(
    ("zarr_format", "node_type", "attributes", "dimension_names", "consolidated_metadata", "shape")
).union(
    ("data_type", "fill_value", "codecs", "chunk_grid", "chunk_key_encoding"),
    ("storage_transformers",),
)
MOST_EDGES = 1 << 24
"""Most chunks of one size in a row that a chunk grid may list."""


XARRAY_NAMES = "_ARRAY_DIMENSIONS"
"""The attribute in which xarray keeps the names of axes in version 2."""


@dataclass(frozen=True, slots=True)
class KeyEncoding:
    """How the key of a chunk is made from its index.

    Parameters
    ----------
    prefix : str
        What comes before the index, "c" or "".
    separator : str
        Between numbers.
    declared : bool
        Whether the metadata name the separator. Old writers of version 2 left it out and used
        either.
    """

    prefix: str
    separator: str
    declared: bool = True

    def keys(self, index: BlockIndex) -> tuple[str, ...]:
        """Return the possible keys of the chunk, the likeliest first."""
        parts = [*filter(None, [self.prefix]), *map(str, index)] or ["0"]
        key = self.separator.join(parts)
        if self.declared or len(parts) < 2:
            return (key,)
        return key, {".": "/", "/": "."}[self.separator].join(parts)


@dataclass(frozen=True, slots=True)
class Shards:
    """Chunks that lie together in one key, with an index of their places.

    Parameters
    ----------
    shape : tuple of int
        Pixels of a shard.
    counts : tuple of int
        Chunks in a shard, along each axis.
    codecs : tuple of Codec
        Of the index.
    index_nbytes : int
        Length of the index.
    at_end : bool
        Whether the index is at the end; else at the start.
    """

    shape: tuple[int, ...]
    counts: tuple[int, ...]
    codecs: tuple[Codec, ...]
    index_nbytes: int
    at_end: bool

    def split(self, index: BlockIndex) -> tuple[BlockIndex, BlockIndex]:
        """Return the shard that a chunk is in, and its place there."""
        return tuple(map(floordiv, index, self.counts)), tuple(map(mod, index, self.counts))


@dataclass(frozen=True, slots=True)
class ArrayMetadata:
    """One array.

    Parameters
    ----------
    shape : tuple of int
        Pixels along each axis.
    dtype : numpy.dtype
        Of the decoded pixels, native.
    stored_dtype : str
        As in the metadata.
    edges : tuple of (int or tuple of int)
        Pixels of each stored chunk along each axis; the last may reach over the end.
    fill_value : numpy.generic
        Of chunks that are not there.
    encoding : KeyEncoding
        Of keys of chunks, or of shards.
    decoder : Pipeline or ThroughZarr
        Of a chunk.
    shards : Shards or None
        The shards, where chunks lie in some.
    codec : str
        For people.
    grid : ChunkGrid
        The chunks cut to the shape.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stored_dtype: str
    edges: Edges
    fill_value: Any
    encoding: KeyEncoding
    decoder: Pipeline | ThroughZarr
    shards: Shards | None
    codec: str
    grid: ChunkGrid

    def stored_shape(self, index: BlockIndex) -> tuple[int, ...]:
        """Return the shape of a chunk in its store, where it may reach over the array's end."""
        return tuple(map(_edge_at, self.edges, index))


def _edge_at(edge: int | tuple[int, ...], number: int) -> int:
    """Return the size of a chunk along an axis; 1 on an axis that has no chunks."""
    if isinstance(edge, int):
        return edge
    return edge[number] if edge else 1


def parse_metadata(metadata: Metadata) -> ArrayMetadata:
    """Return the content of a ``.zarray``, or of the ``zarr.json`` of an array.

    Raises
    ------
    ValueError
        If it is wrong, or not known here; the message says what.
    """
    return _parse_v2(metadata) if metadata["zarr_format"] == 2 else _parse_v3(metadata)


def _parse_v2(metadata: Metadata) -> ArrayMetadata:
    shape = _sizes(metadata, "shape", 0)
    dtype, name = dtype_v2(metadata.get("dtype"))
    chunks = _chunk_shape(metadata.get("chunks"), shape)
    separator = metadata.get("dimension_separator")
    if separator not in (".", "/", None):
        raise ValueError(f'expected "dimension_separator": "." or "/", found {separator!r}')
    decoder, codec = decoder_v2(metadata, dtype, len(shape))
    return ArrayMetadata(
        shape,
        dtype.newbyteorder("="),
        name,
        chunks,
        fill_value(metadata.get("fill_value"), dtype),
        KeyEncoding("", separator or ".", separator is not None),
        decoder,
        None,
        codec,
        _grid(shape, chunks),
    )


def _refuse_unknown(metadata: Metadata) -> None:
    """Refuse extensions of version 3, but for those that a reader need not understand."""
    unknown = [
        repr(name)
        for name, value in metadata.items()
        if name not in _MEMBERS
        and not (isinstance(value, dict) and value.get("must_understand") is False)
    ]
    if unknown:
        raise ValueError(
            f"its metadata have {', '.join(unknown)}, which a reader must understand and is not "
            "known here"
        )


def _parse_v3(metadata: Metadata) -> ArrayMetadata:
    _refuse_unknown(metadata)
    if metadata.get("storage_transformers"):
        raise ValueError(
            f"its storage transformers are not known here: {metadata['storage_transformers']}"
        )
    shape = _sizes(metadata, "shape", 0)
    dtype, name = dtype_v3(metadata.get("data_type"))
    if metadata.get("fill_value") is None:
        raise ValueError(
            'expected a "fill_value", the value of chunks that are not stored, found none'
        )
    fill = fill_value(metadata["fill_value"], dtype)
    edges = _edges(metadata.get("chunk_grid"), shape)
    listed = metadata.get("codecs")
    codecs = parse_codecs(listed)
    encoding = _encoding(metadata.get("chunk_key_encoding", "default"))
    inner = _inner(codecs, edges)
    shards = None
    if inner is not None:
        shards, edges = inner
        listed = codecs[0].config.get("codecs", [LITTLE])
    decoder = decoder_v3(metadata, listed, dtype, tuple(_edge_at(edge, 0) for edge in edges))
    return ArrayMetadata(
        shape,
        dtype,
        name,
        edges,
        fill,
        encoding,
        decoder,
        shards,
        _codecs_label(codecs),
        _grid(shape, edges),
    )


def _codecs_label(codecs: Sequence[Codec]) -> str:
    """Return the names of codecs for people, those in shards among them."""
    for number, codec in enumerate(codecs):
        if codec.name == SHARDING:
            inner = parse_codecs(codec.config.get("codecs", [LITTLE]))
            label = _codecs_label([*inner, *codecs[:number], *codecs[number + 1 :]])
            return f"sharded {label}".removesuffix(" none")
    return codecs_name(codecs)


def _sizes(metadata: Metadata, name: str, least: int) -> tuple[int, ...]:
    found = metadata.get(name)
    if not isinstance(found, list) or not all(_is_size(size, least) for size in found):
        raise ValueError(f'expected "{name}": a list of whole numbers, found {found!r}')
    return tuple(found)


def _is_size(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _chunk_shape(found: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of all chunks; an axis without pixels may have chunks of none."""
    if isinstance(found, list) and len(found) == len(shape):
        sizes = tuple(
            chunk or int(chunk == 0 == size) for chunk, size in zip(found, shape, strict=True)
        )
        if all(_is_size(size, 1) for size in sizes):
            return sizes
    raise ValueError(
        f"expected a chunk shape of {len(shape)} whole numbers, as the array's shape "
        f"{list(shape)}, found {found!r}"
    )


def _edges(grid: Any, shape: tuple[int, ...]) -> Edges:
    """Return the chunk sizes of a version 3 chunk grid: one for each axis, or all of an axis."""
    name, config = named(grid)
    if name == "regular":
        return _chunk_shape(config.get("chunk_shape"), shape)
    if name != "rectilinear" or not isinstance(config.get("chunk_shapes"), list):
        raise ValueError(f'expected a chunk grid "regular" or "rectilinear", found {grid!r}')
    edges = tuple(map(_axis_edges, config["chunk_shapes"]))
    sizes = zip(edges, shape, strict=False)
    too_short = any(not isinstance(edge, int) and sum(edge) < size for edge, size in sizes)
    if too_short or len(edges) != len(shape):
        raise ValueError(
            f"its chunks {config['chunk_shapes']} do not cover the shape {list(shape)}"
        )
    return edges


def _axis_edges(found: Any) -> int | tuple[int, ...]:
    """Return the chunk sizes of one axis: one for all, or a list of sizes and ``[size, times]``."""
    if _is_size(found, 1):
        return int(found)
    sizes: list[int] = []
    parts: list[Any] = found if isinstance(found, list) else [None]
    for part in parts:
        size, times = part if isinstance(part, list) and len(part) == 2 else (part, 1)
        if not (_is_size(size, 1) and _is_size(times, 1) and times <= MOST_EDGES):
            raise ValueError(f"expected chunk sizes, found {found!r}")
        sizes += [size] * times
    return tuple(sizes)


def _grid(shape: tuple[int, ...], edges: Edges) -> ChunkGrid:
    """Return the chunks, cut where they reach over the end."""
    cut: list[int | tuple[int, ...]] = []
    for size, edge in zip(shape, edges, strict=True):
        if isinstance(edge, int):
            cut.append(min(edge, max(size, 1)))
        else:
            ends = [min(end, size) for end in accumulate(edge, initial=0)]
            cut.append(tuple(map(sub, ends[1:], ends)))
    return ChunkGrid(shape, tuple(cut))


def _encoding(found: Any) -> KeyEncoding:
    name, config = named(found)
    if name not in _ENCODINGS:
        raise ValueError(f'expected a chunk key encoding "default" or "v2", found {found!r}')
    prefix, separator = _ENCODINGS[name]
    separator = config.get("separator", separator)
    if separator not in (".", "/"):
        raise ValueError(f'expected a separator "." or "/", found {separator!r}')
    return KeyEncoding(prefix, separator)


def _inner(codecs: Sequence[Codec], edges: Edges) -> tuple[Shards, tuple[int, ...]] | None:
    """Return the shards and the shape of their chunks; None without shards, or with whole reads."""
    if len(codecs) != 1 or codecs[0].name != SHARDING:
        return None
    config = codecs[0].config
    chunk = _chunk_shape(config.get("chunk_shape"), tuple(1 for _ in edges))
    for edge, part in zip(edges, chunk, strict=True):
        sizes = {edge} if isinstance(edge, int) else set(edge)
        if any(size % part for size in sizes):
            raise ValueError(f"its shards {list(edges)} are not made of whole chunks {list(chunk)}")
    shard = tuple(edge for edge in edges if isinstance(edge, int))
    if len(shard) < len(edges):  # of several sizes: read whole
        return None
    listed = parse_codecs(config.get("index_codecs", [LITTLE, "crc32c"]))
    counts = tuple(map(floordiv, shard, chunk))
    nbytes = index_nbytes(counts, listed)
    if nbytes is None:
        return None
    location = config.get("index_location", "end")
    if location not in ("start", "end"):
        raise ValueError(f'expected "index_location": "start" or "end", found {location!r}')
    return Shards(shard, counts, tuple(listed), nbytes, location == "end"), chunk


def dimension_names_of(node: Node) -> tuple[str | None, ...] | None:
    """Return the axis names, where the metadata give one for each; None stands for no name."""
    names = node.attributes.get(XARRAY_NAMES)
    if node.zarr_format == 3:
        own = node.metadata.get("dimension_names")
        names = names if own is None else own
    shape = node.metadata.get("shape")
    if not isinstance(names, list) or not isinstance(shape, list) or len(names) != len(shape):
        return None
    return tuple((isinstance(name, str) and name) or None for name in names)
