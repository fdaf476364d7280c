"""From the bytes of a Zarr chunk to its pixels.

Bytes that are compressed once, by zstd, blosc, gzip or zlib, are decoded straight into the array
that is returned. All other codecs of version 2, and those of version 3 from bytes to bytes, are
those of numcodecs. The rest, such as filters of version 3, is decoded by zarr, chunk by chunk.
"""

from __future__ import annotations

import json
import threading
import warnings
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_lazyload.sources.zarr.dtypes import named
from napari_lazyload.sources.zarr.unpack import CodecError, check_blosc, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Array = np.ndarray[Any, Any]
    Config = Mapping[str, Any]

Step: TypeAlias = "Callable[[Any, Array | None, int], Any]"

NOT_STORED = (1 << 64) - 1
"""Offset and length, in the index of a shard, of a chunk that is not there."""

# Functions of imagecodecs that decode into an array, by the name of the codec. That of zlib is
# libdeflate's.
_FAST = {
    "zstd": "zstd_decode",
    "blosc": "blosc_decode",
    "gzip": "gzip_decode",
    "zlib": "deflate_decode",
}
_CHECKSUMS = ("adler32", "crc32", "fletcher32", "jenkins_lookup3")
_BYTES_TO_BYTES = frozenset((*_FAST, *_CHECKSUMS, "bz2", "lz4", "lzma", "shuffle"))
_SILENT = frozenset(("bytes", "crc32c", "transpose"))


def most_encoded(nbytes: int) -> int:
    """Return the most bytes that a chunk of so many bytes has before and between its codecs.

    Filters may store values of a larger type, and codecs add a little to what they cannot pack.
    """
    return 16 * nbytes + (1 << 16)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Decodes the bytes of a chunk, step by step, then takes them as an array.

    Parameters
    ----------
    dtype : numpy.dtype
        As stored.
    steps : tuple of callable
        In the order of decoding. Each takes bytes, the array to decode into (the last one alone),
        and the most bytes that it may return.
    axes : tuple of int
        The axis of the image that each stored axis is.
    """

    dtype: np.dtype[Any]
    steps: tuple[Step, ...]
    axes: tuple[int, ...]

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Array:
        """Return a new array of `shape`, axes in their order, in any byte and memory order.

        Raises
        ------
        CodecError
            If the bytes are damaged, or decode to another number of pixels.
        Exception
            Whatever the codec's library raises on damaged bytes.
        """
        stored = np.empty(tuple(shape[axis] for axis in self.axes), self.dtype)
        flat = stored.reshape(-1).view(np.uint8)
        unpacked: Any = data
        for step in self.steps[:-1]:
            unpacked = step(unpacked, None, most_encoded(flat.size))
        if self.steps:
            unpacked = self.steps[-1](unpacked, flat, flat.size)
        if unpacked is not flat:
            found = _as_bytes(unpacked)
            if found.size != flat.size:
                raise CodecError(
                    f"it decodes to {found.size} bytes, expected {flat.size} for {shape} pixels of "
                    f"type {self.dtype}"
                )
            flat[:] = found
        in_order = self.axes == tuple(range(len(self.axes)))
        return stored if in_order else stored.transpose(np.argsort(self.axes))


def _as_bytes(data: Any) -> Array:
    """Return the result of a codec as an array of bytes."""
    found = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    return np.ravel(found, order="A").view(np.uint8)


class ThroughZarr:
    """Decodes by zarr: an array of one chunk in memory, which is given the bytes of each chunk.

    Parameters
    ----------
    metadata : mapping
        The ``zarr.json`` of an array of version 3.
    codecs : list
        Of the chunk.
    shape : tuple of int
        Of the chunk; chunks of another shape have another decoder.
    """

    def __init__(self, metadata: Config, codecs: Sequence[Any], shape: tuple[int, ...]) -> None:
        import zarr
        from zarr.core.buffer import default_buffer_prototype
        from zarr.storage import MemoryStore

        kept = ("zarr_format", "node_type", "data_type", "fill_value")
        one_chunk = {
            **{name: metadata[name] for name in kept if name in metadata},
            "shape": shape,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": codecs,
            "attributes": {},
        }
        self._shape, self._nbytes = shape, 0
        last = parse_codecs(codecs)[-1]
        self._outermost = last.name.removeprefix("numcodecs."), last.config
        self._of_shape = lru_cache(maxsize=64)(lambda other: ThroughZarr(metadata, codecs, other))
        self._key = "c" + "/0" * len(shape)
        self._buffer = default_buffer_prototype().buffer
        self._bytes = {"zarr.json": self._buffer.from_bytes(json.dumps(one_chunk).encode())}
        self._lock = threading.Lock()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr warns of codecs outside the standard
            self._array = zarr.open_array(MemoryStore(self._bytes), mode="r")
        self._nbytes = self._array.nbytes

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Array:
        """As `Pipeline.decode`."""
        if shape != self._shape:
            return self._of_shape(shape).decode(data, shape)
        unpack(*self._outermost, data, most_encoded(self._nbytes))  # zarr itself knows no end
        with self._lock:
            self._bytes[self._key] = self._buffer.from_bytes(data)
            try:
                return np.asarray(self._array[...])
            finally:
                del self._bytes[self._key]


# --- Version 2
# --------------------------------------------------------------------------------------------------


def decoder_v2(metadata: Config, dtype: np.dtype[Any], ndim: int) -> tuple[Pipeline, str]:
    """Return the decoder that ``.zarray`` describes, and the names of its codecs for people.

    Raises
    ------
    ValueError
        If a codec is not known, or not safe.
    """
    filters = metadata.get("filters") or []
    configs = list(filters) if isinstance(filters, list) else [filters]
    if metadata.get("compressor"):
        configs.append(metadata["compressor"])
    if not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in configs):
        raise ValueError(f'expected filters and a compressor with an "id", found {configs}')
    order = metadata.get("order", "C")
    if order not in ("C", "F"):
        raise ValueError(f'expected "order": "C" or "F", found {order!r}')
    steps = tuple(_numcodecs_step(one["id"], one, dtype) for one in reversed(configs))
    axes = tuple(range(ndim))
    names = [_name(config["id"], config) for config in configs]
    return Pipeline(dtype, steps, axes if order == "C" else axes[::-1]), " + ".join(names) or "none"


def _name(codec: str, config: Config) -> str:
    return f"{codec} {config['cname']}" if codec == "blosc" and "cname" in config else codec


def _numcodecs_step(codec: str, config: Config, dtype: np.dtype[Any]) -> Step:
    """Return the step that decodes a codec of numcodecs' registry.

    For the fast codecs, numcodecs is loaded only when imagecodecs fails.
    """
    text = json.dumps({**config, "id": codec}, sort_keys=True)
    if codec == "pcodec" and _has_pcodec():
        return partial(_decode_pcodec, dtype)
    if codec not in _FAST:
        _numcodec(text)  # a name that is not known is refused at opening

    def step(data: Any, out: Array | None, most: int) -> Any:
        if codec == "blosc":
            check_blosc(data, None if out is None else out.nbytes)
        if out is not None and codec in _FAST and _decode_into(out, data, _FAST[codec]):
            return out
        found = unpack(codec, config, data, most)
        # numcodecs knows every form, and has a message for broken ones.
        return _numcodec(text).decode(data) if found is None else found

    return step


def _has_pcodec() -> bool:
    import imagecodecs

    return bool(imagecodecs.PCODEC.available)


def _decode_pcodec(dtype: np.dtype[Any], data: Any, out: Array | None, _most: int) -> Array:
    """Decode numbers, of which there are as many as `out` holds."""
    import imagecodecs

    if out is None:
        raise CodecError("pcodec before another codec is not known here")
    count = out.nbytes // dtype.itemsize
    return np.asarray(imagecodecs.pcodec_decode(data, shape=(count,), dtype=dtype))


def _decode_into(out: Array, data: Any, function: str) -> bool:
    """Decode into `out` by imagecodecs; return whether that filled it."""
    import imagecodecs

    try:
        found = getattr(imagecodecs, function)(data, out=out)
    except (RuntimeError, ValueError, ImportError):
        return False
    return bool(found.nbytes == out.nbytes)


@lru_cache(maxsize=256)
def _numcodec(text: str) -> Any:
    """Return numcodecs' codec of a configuration."""
    import numcodecs
    import numcodecs.registry

    config = json.loads(text)
    codec = config["id"]
    if codec == "pickle":
        raise ValueError(
            "its codec 'pickle' runs code from the file when it is read: refused. Ask its author "
            "for another format"
        )
    try:
        if codec not in numcodecs.registry.codec_registry:
            config = _config_for_imagecodecs(config)
        return numcodecs.registry.get_codec(config)
    except (ValueError, TypeError, ImportError) as err:  # an unknown name is a ValueError too
        raise ValueError(
            f"its codec {codec!r} is not known here, or not in this form ({err}); a package may be "
            "missing"
        ) from err


def _config_for_imagecodecs(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of imagecodecs' codec of the same format; the same for none.

    Its names have a prefix, which other writers leave out. What numcodecs' zfpy is told is needed
    only to write.
    """
    import imagecodecs.numcodecs

    name = "zfp" if config["id"] == "zfpy" else config["id"].removeprefix("imagecodecs_")
    if not hasattr(imagecodecs.numcodecs, name.capitalize()):
        return config
    imagecodecs.numcodecs.register_codecs(f"imagecodecs_{name}", verbose=False)
    return {**({} if config["id"] == "zfpy" else config), "id": f"imagecodecs_{name}"}


# --- Version 3
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec of version 3 metadata."""

    name: str
    config: Config


LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
"""The codec of shards that name none."""


def parse_codecs(listed: Any) -> list[Codec]:
    """Return the codecs of version 3 metadata.

    Raises
    ------
    ValueError
        If it is no list of names and configurations.
    """
    codecs = []
    for part in listed if isinstance(listed, list) else [None]:
        name, config = named(part)
        if not name:
            raise ValueError(f"expected a list of codecs, each with a name, found {listed!r}")
        codecs.append(Codec(name, config))
    return codecs


def codecs_name(codecs: Sequence[Codec]) -> str:
    """Return the names of codecs for people; those that every array has are left out."""
    shown = [codec for codec in codecs if codec.name not in _SILENT]
    names = [_name(codec.name.removeprefix("numcodecs."), codec.config) for codec in shown]
    return " + ".join(names) or "none"


def decoder_v3(
    metadata: Config, listed: Any, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Pipeline | ThroughZarr:
    """Return the decoder of chunks of version 3.

    Parameters
    ----------
    metadata : mapping
        ``zarr.json``.
    listed : list
        Codecs of the chunk, which may be those inside a shard.
    dtype : numpy.dtype
        Native.
    shape : tuple of int
        Of the first chunk.

    Raises
    ------
    ValueError
        If a codec is not known.
    """
    codecs = parse_codecs(listed)
    pipeline = _own_pipeline(codecs, dtype, len(metadata["shape"]))
    if pipeline is not None:
        return pipeline
    names = ", ".join(map(attrgetter("name"), codecs))
    if any(codec.name.endswith("pickle") for codec in codecs):
        raise ValueError(f"its codecs ({names}) run code from the file when it is read: refused")
    try:
        return ThroughZarr(metadata, listed, shape)
    except Exception as err:
        raise ValueError(
            f"its codecs ({names}) are not known to zarr either ({err}); a package may be missing"
        ) from err


def _own_pipeline(codecs: Sequence[Codec], dtype: np.dtype[Any], ndim: int) -> Pipeline | None:
    """Return the pipeline of transpose, bytes, and codecs from bytes to bytes; None for others."""
    axes = tuple(range(ndim))
    remaining = list(codecs)
    while remaining and remaining[0].name == "transpose":
        axes = tuple(map(axes.__getitem__, _order(remaining.pop(0).config.get("order"), ndim)))
    if remaining and remaining[0].name in ("numcodecs.pcodec", "numcodecs.zfpy"):
        name = remaining[0].name.removeprefix("numcodecs.")
        remaining[:1] = [Codec("bytes", {"endian": "little"}), Codec(name, remaining[0].config)]
    if not remaining or remaining[0].name != "bytes":
        return None
    endian = remaining.pop(0).config.get("endian")
    if endian not in ("little", "big") and (endian is not None or dtype.itemsize > 1):
        raise ValueError(
            'expected "endian": "little" or "big" of the codec "bytes" for values of type '
            f"{dtype}, found {endian!r}"
        )
    dtype = dtype.newbyteorder(">" if endian == "big" else "<")
    steps = tuple(filter(None, (_bytes_step(codec, dtype) for codec in reversed(remaining))))
    if len(steps) < len(remaining):
        return None
    return Pipeline(dtype, steps, axes)


def _order(order: Any, ndim: int) -> list[int]:
    """Return the order of the axes of a transpose; drafts of version 3 had names for two."""
    axes = list(range(ndim))
    if order in ("C", "F"):
        return axes if order == "C" else axes[::-1]
    if not isinstance(order, list) or len(order) != ndim or not all(map(order.count, axes)):
        raise ValueError(f"expected a transpose of {ndim} axes, found {order!r}")
    return order


def _bytes_step(codec: Codec, dtype: np.dtype[Any]) -> Step | None:
    if codec.name == "crc32c":
        return _strip_crc32c
    name = codec.name.removeprefix("numcodecs.")
    if name in ("pcodec", "zfpy"):
        return _numcodecs_step(name, {}, dtype)
    if name not in _BYTES_TO_BYTES:
        return None
    return _numcodecs_step(name, codec.config if name != codec.name else {}, dtype)


def _strip_crc32c(data: Any, _out: Array | None, _most: int) -> memoryview:
    """Return the bytes before their checksum, which is verified."""
    view = memoryview(data).cast("B")
    if len(view) < 4 or crc32c(view[:-4]) != int.from_bytes(view[-4:], "little"):
        raise CodecError("its checksum (crc32c) is wrong: the bytes are damaged or cut short")
    return view[:-4]


def crc32c(data: Any) -> int:
    """Return the checksum of version 3's codec of that name."""
    import google_crc32c

    return int(google_crc32c.value(bytes(data)))


def decode_index(data: bytes, chunks: tuple[int, ...], codecs: Sequence[Codec]) -> Array:
    """Return the index of a shard: ``(*chunks, 2)`` offsets and lengths.

    Raises
    ------
    CodecError
        If its checksum is wrong, or it is cut short.
    """
    pipeline = _own_pipeline(codecs, np.dtype(np.uint64), len(chunks) + 1)
    if pipeline is None:
        raise CodecError(f"an index with codecs {codecs_name(codecs)} is not known here")
    return np.ascontiguousarray(pipeline.decode(data, (*chunks, 2)), np.uint64)


def index_nbytes(chunks: tuple[int, ...], codecs: Sequence[Codec]) -> int | None:
    """Return the length of the index of a shard; None if its codecs change it, or are unknown."""
    names = list(map(attrgetter("name"), codecs))
    if not _SILENT.issuperset(names):
        return None
    return 16 * prod(chunks) + 4 * names.count("crc32c")
