"""Unpacking with an end: no stream becomes larger than what is expected of it.

A few bytes can unpack to any number; the libraries of the codecs would take the memory first.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BLOSC_HEADER = 16


class CodecError(ValueError):
    """Bytes that do not decode to the pixels that the metadata promise."""


class TooLargeError(CodecError):
    """A stream that unpacks to more than it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"it unpacks to more than the {most} bytes that are expected")


def unpack(codec: str, config: Mapping[str, Any], data: Any, most: int) -> bytes | None:
    """Return what a stream unpacks to; None for a codec that is not known here.

    Parameters
    ----------
    codec : str
        The name that numcodecs has for it.
    config : mapping
        Its configuration.
    data : bytes
        The stream.
    most : int
        Most bytes of the result.

    Raises
    ------
    TooLargeError
        If there are more.
    Exception
        Whatever the codec's library raises on damaged bytes.
    """
    unpacker = _UNPACKERS.get(codec)
    if unpacker is None:
        check_announced(codec, data, most)
        return None
    found = unpacker(data, config, most)
    if len(found) > most:
        raise TooLargeError(most)
    return found


def check_announced(codec: str, data: Any, most: int) -> None:
    """Refuse a stream whose header announces more than `most` bytes.

    Raises
    ------
    TooLargeError
        If it does.
    """
    places = {"blosc": 4, "lz4": 0}
    if codec in places and memoryview(data).nbytes >= places[codec] + 4:
        (announced,) = struct.unpack_from("<I", data, places[codec])
        if announced > most:
            raise TooLargeError(most)


def _gzip(data: Any, _config: Mapping[str, Any], most: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(most + 1)


def _bz2(data: Any, _config: Mapping[str, Any], most: int) -> bytes:
    with bz2.BZ2File(io.BytesIO(data)) as file:
        return file.read(most + 1)


def _lzma(data: Any, config: Mapping[str, Any], most: int) -> bytes:
    form, filters = config.get("format", lzma.FORMAT_XZ), config.get("filters")
    with lzma.LZMAFile(io.BytesIO(data), format=form, filters=filters) as file:
        return file.read(most + 1)


def _zlib(data: Any, _config: Mapping[str, Any], most: int) -> bytes:
    stream = zlib.decompressobj()
    found = stream.decompress(data, most + 1)
    if not stream.eof and len(found) <= most:
        raise zlib.error("incomplete or truncated stream")
    return found


def _zstd(data: Any, _config: Mapping[str, Any], most: int) -> bytes:
    import imagecodecs

    try:
        return bytes(imagecodecs.zstd_decode(data, out=most))
    except imagecodecs.ZstdError as err:
        if "too small" in str(err):
            raise TooLargeError(most) from err
        raise


_UNPACKERS: dict[str, Callable[[Any, Mapping[str, Any], int], bytes]] = {
    "bz2": _bz2,
    "gzip": _gzip,
    "lzma": _lzma,
    "zlib": _zlib,
    "zstd": _zstd,
}


def check_blosc(data: Any, expected: int | None) -> None:
    """Refuse bytes of blosc that are shorter than their header says, or decode to another size.

    The library would read behind their end.

    Raises
    ------
    CodecError
        With both sizes.
    """
    found = memoryview(data).nbytes
    decoded, encoded = 0, _BLOSC_HEADER
    if found >= _BLOSC_HEADER:
        decoded, encoded = struct.unpack_from("<I4xI", data, 4)
    if found < encoded:
        raise CodecError(f"it has {found} bytes, expected {encoded}: cut short")
    if expected is not None and decoded != expected:
        raise CodecError(f"it decodes to {decoded} bytes, expected {expected}")
