"""How an array lies in its store: chunk shapes, keys, shards, codecs. Pure: made from metadata alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
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
    from napari_lazyload.sources.zarr.codecs import Decoder

    Metadata = Mapping[str, Any]
    Edges: TypeAlias = "tuple[int | tuple[int, ...], ...]"

SHARDING = "sharding_indexed"
_MEMBERS = frozenset(
    (
        *("zarr_format", "node_type", "attributes", "dimension_names", "consolidated_metadata"),
        *(
            "shape",
            "data_type",
            "fill_value",
            "codecs",
            "chunk_grid",
            "chunk_key_encoding",
            "storage_transformers",
        ),
    )
)
MOST_EDGES = 1 << 24
"""Most chunks of one size in a row that a chunk grid may list."""


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
        Whether the metadata name the separator: writers of version 2 once left it out, whichever
        they took.
    """

    prefix: str
    separator: str
    declared: bool = True

    def keys(self, index: BlockIndex) -> tuple[str, ...]:
        """Return where the chunk may be, the likeliest place first."""
        numbers = [*([self.prefix] if self.prefix else []), *map(str, index)] or ["0"]
        separators = (self.separator,) if self.declared or len(index) < 2 else (self.separator, "/")
        return tuple(separator.join(numbers) for separator in separators)


@dataclass(frozen=True, slots=True)
class Shards:
    """Chunks that lie together in one key, with an index of where.

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
        Where the index is; else at the start.
    """

    shape: tuple[int, ...]
    counts: tuple[int, ...]
    codecs: tuple[Codec, ...]
    index_nbytes: int
    at_end: bool

    def split(self, index: BlockIndex) -> tuple[BlockIndex, BlockIndex]:
        """Return the shard that a chunk is in, and its place there."""
        pairs = [divmod(block, count) for block, count in zip(index, self.counts, strict=True)]
        return tuple(shard for shard, _ in pairs), tuple(place for _, place in pairs)


@dataclass(frozen=True, slots=True)
class ArrayMetadata:
    """One array.

    Parameters
    ----------
    shape : tuple of int
        Pixels along each axis.
    dtype : numpy.dtype
        Of the pixels that are given out, native.
    stored_dtype : str
        As in the metadata.
    edges : tuple of (int or tuple of int)
        Pixels of each chunk as it is stored, along each axis: may reach over the end.
    fill_value : numpy.generic
        Of chunks that are not there.
    encoding : KeyEncoding
        Of keys of chunks, or of shards.
    decoder : Decoder
        Of a chunk.
    shards : Shards or None
        Where chunks lie in shards.
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
    decoder: Decoder
    shards: Shards | None
    codec: str
    grid: ChunkGrid

    def stored_shape(self, index: BlockIndex) -> tuple[int, ...]:
        """Return the shape that a chunk has in its store, where it may reach over the array's end."""
        return tuple(
            edge if isinstance(edge, int) else edge[at]
            for edge, at in zip(self.edges, index, strict=True)
        )


def parse_layout(metadata: Metadata) -> ArrayMetadata:
    """Return what ``.zarray`` or the ``zarr.json`` of an array says.

    Raises
    ------
    ValueError
        If it is wrong, or not known here; the message says what.
    """
    return _layout_v2(metadata) if metadata["zarr_format"] == 2 else _layout_v3(metadata)


def _layout_v2(metadata: Metadata) -> ArrayMetadata:
    shape = _sizes(metadata, "shape", 0)
    dtype, name = dtype_v2(metadata.get("dtype"))
    chunks = _chunk_shape(metadata.get("chunks"), shape)
    separator = metadata.get("dimension_separator")
    if separator not in (".", "/", None):
        msg = f'expected "dimension_separator": "." or "/", found {separator!r}'
        raise ValueError(msg)
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
    """Refuse what an extension of version 3 adds, but for what says that a reader need not know it."""
    unknown = [
        name
        for name, value in metadata.items()
        if name not in _MEMBERS
        and not (isinstance(value, dict) and value.get("must_understand") is False)
    ]
    if unknown:
        msg = f"its metadata have {', '.join(map(repr, unknown))}, which a reader must understand and is not known here"
        raise ValueError(msg)


def _layout_v3(metadata: Metadata) -> ArrayMetadata:
    _refuse_unknown(metadata)
    if metadata.get("storage_transformers"):
        msg = f"its storage transformers are not known here: {metadata['storage_transformers']}"
        raise ValueError(msg)
    shape = _sizes(metadata, "shape", 0)
    dtype, name = dtype_v3(metadata.get("data_type"))
    if metadata.get("fill_value") is None:
        msg = 'expected a "fill_value", which chunks that are not stored are full of, found none'
        raise ValueError(msg)
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
    first = tuple(edge if isinstance(edge, int) else next(iter(edge), 1) for edge in edges)
    decoder = decoder_v3(metadata, listed, dtype, first)
    return ArrayMetadata(
        shape,
        dtype,
        name,
        edges,
        fill,
        encoding,
        decoder,
        shards,
        _told(codecs),
        _grid(shape, edges),
    )


def _told(codecs: Sequence[Codec]) -> str:
    """Return codecs for people, those in shards among them."""
    for codec in codecs:
        if codec.name == SHARDING:
            outer = [one for one in codecs if one is not codec]
            inner = parse_codecs(codec.config.get("codecs", [LITTLE]))
            return f"sharded {_told([*inner, *outer])}".removesuffix(" none")
    return codecs_name(codecs)


def _sizes(metadata: Metadata, name: str, least: int) -> tuple[int, ...]:
    found = metadata.get(name)
    if not isinstance(found, list) or not all(_is_size(size, least) for size in found):
        msg = f'expected "{name}": a list of whole numbers, found {found!r}'
        raise ValueError(msg)
    return tuple(found)


def _is_size(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _chunk_shape(found: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of all chunks; an axis without pixels may have chunks of none."""
    if isinstance(found, list) and len(found) == len(shape):
        sizes = [
            1 if chunk == 0 == size else chunk for chunk, size in zip(found, shape, strict=True)
        ]
        if all(_is_size(size, 1) for size in sizes):
            return tuple(sizes)
    msg = f"expected a chunk shape of {len(shape)} whole numbers, as the array's shape {list(shape)}, found {found!r}"
    raise ValueError(msg)


def _edges(grid: Any, shape: tuple[int, ...]) -> Edges:
    """Return the chunk sizes that a chunk grid of version 3 gives, one for each axis, or all of an axis."""
    name, config = named(grid)
    if name == "regular":
        return _chunk_shape(config.get("chunk_shape"), shape)
    if name != "rectilinear" or not isinstance(config.get("chunk_shapes"), list):
        msg = f'expected a chunk grid "regular" or "rectilinear", found {grid!r}'
        raise ValueError(msg)
    edges = tuple(map(_axis_edges, config["chunk_shapes"]))
    if len(edges) != len(shape) or any(
        not isinstance(edge, int) and sum(edge) < size
        for edge, size in zip(edges, shape, strict=True)
    ):
        msg = f"its chunks {config['chunk_shapes']} do not cover the shape {list(shape)}"
        raise ValueError(msg)
    return edges


def _axis_edges(found: Any) -> int | tuple[int, ...]:
    """Return the chunk sizes of one axis: a number for all, or a list of numbers and of ``[size, times]``."""
    if _is_size(found, 1):
        return int(found)
    sizes: list[int] = []
    parts: list[Any] = found if isinstance(found, list) else [None]
    for one in parts:
        size, times = one if isinstance(one, list) and len(one) == 2 else (one, 1)
        if not (_is_size(size, 1) and _is_size(times, 1) and times <= MOST_EDGES):
            msg = f"expected chunk sizes, found {found!r}"
            raise ValueError(msg)
        sizes += [size] * times
    return tuple(sizes)


def _grid(shape: tuple[int, ...], edges: Edges) -> ChunkGrid:
    """Return the chunks, cut where they reach over the end."""
    cut: list[int | tuple[int, ...]] = []
    for size, edge in zip(shape, edges, strict=True):
        if isinstance(edge, int):
            cut.append(min(edge, max(size, 1)))
        else:
            ends = [min(end, size) for end in accumulate(edge)]
            cut.append(tuple(stop - start for start, stop in zip([0, *ends], ends, strict=False)))
    return ChunkGrid(shape, tuple(cut))


def _encoding(found: Any) -> KeyEncoding:
    name, config = named(found)
    if name not in ("default", "v2"):
        msg = f'expected a chunk key encoding "default" or "v2", found {found!r}'
        raise ValueError(msg)
    separator = config.get("separator", "/" if name == "default" else ".")
    if separator not in (".", "/"):
        msg = f'expected a separator "." or "/", found {separator!r}'
        raise ValueError(msg)
    return KeyEncoding("c" if name == "default" else "", separator)


def _inner(codecs: Sequence[Codec], edges: Edges) -> tuple[Shards, tuple[int, ...]] | None:
    """Return the shards and the shape of the chunks in them; None where there are none that can be read in parts."""
    if len(codecs) != 1 or codecs[0].name != SHARDING:
        return None
    config = codecs[0].config
    chunk = _chunk_shape(config.get("chunk_shape"), tuple(1 for _ in edges))
    sizes = [(edge,) if isinstance(edge, int) else edge for edge in edges]
    if any(size % part for some, part in zip(sizes, chunk, strict=True) for size in some):
        msg = f"its shards {list(edges)} are not made of whole chunks {list(chunk)}"
        raise ValueError(msg)
    shard = tuple(edge for edge in edges if isinstance(edge, int))
    if len(shard) < len(edges):  # of several sizes: read whole
        return None
    listed = parse_codecs(config.get("index_codecs", [LITTLE, "crc32c"]))
    counts = tuple(size // part for size, part in zip(shard, chunk, strict=True))
    nbytes = index_nbytes(counts, listed)
    if nbytes is None:
        return None
    location = config.get("index_location", "end")
    if location not in ("start", "end"):
        msg = f'expected "index_location": "start" or "end", found {location!r}'
        raise ValueError(msg)
    return Shards(shard, counts, tuple(listed), nbytes, location == "end"), chunk
