"""Pixels that are compressed, or written as text, in one piece: unpacked as one chunk."""

from __future__ import annotations

import bz2
import gzip
import uuid
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.core.row_map import ONE_ROW
from napari_lazyload.core.settings import current
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.sources.binary.read_strided import Array, item_count, native, span_nbytes
from napari_lazyload.sources.files import FileStamp, read_error, refuse_if

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.sources.binary.strided import StridedLayout
    from napari_lazyload.sources.binary.strided_chunks import Convert

MOST_PACKED = 2 << 30
"""More bytes than this are not unpacked in one piece."""

_DENSEST = {"gzip": 1040, "zlib": 1040, "bzip2": 1 << 16, "hex": 1}
"""No stream of these kinds grows by more than so many times when it is unpacked."""

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class PackedChunk:
    """All pixels of a file.

    Parameters
    ----------
    path : str
        Absolute path.
    codec : {"gzip", "zlib", "bzip2", "text", "hex"}
        How they are packed; ``text`` is numbers in ASCII.
    start : int
        Where the packed bytes begin.
    layout : StridedLayout
        Of the pixels, with the offset in the unpacked bytes.
    convert : callable, optional
        What is done to the values.
    opened : tuple of int
        The stamp of the file when its header was read.
    """

    path: str
    codec: str
    start: int
    layout: StridedLayout
    convert: Convert | None
    opened: FileStamp

    @property
    def key(self) -> ChunkKey:
        """Its file, and what is unpacked as what."""
        layout = self.layout
        form = (layout.shape, layout.dtype.str, layout.offset, layout.strides)
        part = (self.codec, self.start, form, self.convert)
        return ChunkKey(self.path, FileStamp.verify(self.path, self.opened), part)

    def load(self) -> Array:
        """Unpack; see `napari_lazyload.core.source.Chunk`."""
        FileStamp.verify(self.path, self.opened)
        layout = self.layout
        span = span_nbytes(layout.shape, layout.strides, layout.dtype.itemsize)
        try:
            with open(self.path, "rb") as file:
                file.seek(self.start)
                if self.codec == "text":
                    block = _text(file, layout)
                else:
                    block = _unpack(file, self.codec, layout.offset, span)
        except (OSError, EOFError, zlib.error, ValueError, MemoryError, OverflowError) as err:
            raise read_error(
                self.path,
                f"{span:,} bytes of {self.codec} data",
                f"data that cannot be unpacked ({type(err).__name__}: {err})",
                "it is truncated or damaged: copy it again",
            ) from err
        stored = np.ndarray(layout.shape, layout.dtype, block, strides=layout.strides)
        pixels = native(stored.astype(stored.dtype, order="C", copy=not stored.flags.c_contiguous))
        return pixels if self.convert is None else np.ascontiguousarray(self.convert(pixels))


def _unpack(file: IO[bytes], codec: str, skip: int, span: int) -> Array:
    """Return `span` unpacked bytes, after the first `skip` ones; the last ones for a skip of -1."""
    if skip == -1:
        return _unpack_end(file, codec, span)
    block = np.empty(span, np.uint8)
    view = block.data
    done = -skip
    for data in _PIECES[codec](file):
        use = data[max(0, -done) :]
        begin = max(0, done)
        part = use[: span - begin]
        view[begin : begin + len(part)] = part
        done += len(data)
        if done >= span:
            return block
    raise EOFError(f"it ends after {max(0, done):,} bytes")


def _unpack_end(file: IO[bytes], codec: str, span: int) -> Array:
    """Return the last `span` unpacked bytes."""
    tail = bytearray()
    for data in _PIECES[codec](file):
        tail += data
        if len(tail) > 2 * span + _PIECE:
            del tail[:-span]
    if len(tail) < span:
        raise EOFError(f"it ends after {len(tail):,} bytes")
    return np.frombuffer(tail, np.uint8)[len(tail) - span :]


def _gzip(file: IO[bytes]) -> Any:
    with gzip.GzipFile(fileobj=file) as unpacked:
        while data := unpacked.read(_PIECE):
            yield data


def _bzip2(file: IO[bytes]) -> Any:
    with bz2.BZ2File(file) as unpacked:
        while data := unpacked.read(_PIECE):
            yield data


def _zlib(file: IO[bytes]) -> Any:
    # With the header of gzip too, as some writers have it.
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    while not unpacker.eof and (packed := unpacker.unconsumed_tail or file.read(_PIECE)):
        yield unpacker.decompress(packed, _PIECE)


def _hex(file: IO[bytes]) -> Any:
    left = b""
    while packed := file.read(_PIECE):
        digits = left + bytes(packed).translate(None, b" \t\r\n\v\f")
        even = len(digits) // 2 * 2
        left = digits[even:]
        yield bytes.fromhex(digits[:even].decode("ascii"))


_PIECES = {"gzip": _gzip, "bzip2": _bzip2, "zlib": _zlib, "hex": _hex}


def _text(file: IO[bytes], layout: StridedLayout) -> Array:
    """Return numbers that are written as text, as stored values in the order of the file."""
    count = item_count(layout.shape)
    words = file.read().replace(b",", b" ").split()
    if len(words) != count:
        raise ValueError(f"it has {len(words):,} numbers instead of {count:,}")
    kind = float if layout.dtype.kind == "f" else int
    return np.array([kind(word) for word in words], layout.dtype)


class PackedSource:
    """An image that is one chunk; arguments as of `PackedChunk` and `StridedFileSource`.

    Raises
    ------
    SourceOpenError
        If it is too large to be unpacked in one piece, or larger than its file can hold.
    """

    def __init__(
        self,
        layout: StridedLayout,
        file: tuple[str, FileStamp],
        codec: str,
        name: str,
        axes: tuple[str, ...],
        *,
        start: int = 0,
        convert: Convert | None = None,
        dtype: Any = None,
        **meta: Any,
    ) -> None:
        path, opened = file
        check_packed(path, layout, codec, opened[1] - start)
        self.file = file
        self.paths = (file[0],)
        self.row_map = ONE_ROW
        self.token = f"packed-{uuid.uuid4().hex}"
        self._chunk = PackedChunk(path, codec, start, layout, convert, opened)
        shown = np.dtype(layout.dtype if dtype is None else dtype).newbyteorder("=")
        grid = ChunkGrid(layout.shape, layout.shape)
        self.meta = ImageMeta(name, axes, shown, (LevelMeta(grid, (1.0,) * len(axes)),), **meta)

    def chunk(self, _level: int, _index: BlockIndex) -> PackedChunk:
        """Return the only chunk."""
        return self._chunk


def check_packed(path: str, layout: StridedLayout, codec: str, size: int) -> None:
    """Refuse what cannot be unpacked in one piece; `size` is that of the packed bytes."""
    nbytes = layout.end - layout.offset
    refuse_if(
        nbytes > MOST_PACKED,
        path,
        f"at most {MOST_PACKED >> 30} GiB in one compressed piece",
        f"{nbytes:,} bytes as {codec}",
        "unpack it (gunzip, or save it without compression) to read it in place",
    )
    count = nbytes // layout.dtype.itemsize
    least = 2 * count - 1 if codec == "text" else nbytes // _DENSEST[codec]
    refuse_if(
        size < least,
        path,
        f"{nbytes:,} bytes of pixels",
        f"{size:,} bytes of {codec}, which cannot hold them",
        "it is truncated, or its header is damaged",
    )


def packed_notes(source: Any) -> list[str]:
    """Return what to say of an image that the cache cannot keep: each view unpacks it again."""
    if not isinstance(source, PackedSource):
        return []
    meta = source.meta
    if item_count(meta.shape) * meta.dtype.itemsize <= current().cache_budget:
        return []
    problem = "compressed in one piece, larger than the cache: each view unpacks all of it"
    return [f"{meta.name}: {problem}; unpack the file"]
