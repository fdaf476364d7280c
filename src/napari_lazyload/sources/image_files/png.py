"""PNG: header and pixels.

Sources: PNG specification, third edition, sections 5 (chunks), 11.2 (IHDR, PLTE, IDAT, IEND) and
11.3 (tRNS, eXIf, iTXt, pHYs, acTL). The raw EXIF profile in text chunks is ImageMagick's habit,
which Pillow honours too.
"""

from __future__ import annotations

import functools
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.image_files.orientation import choose_orientation, orient
from napari_lazyload.sources.image_header import (
    BOOL,
    DEFLATE_RATIO,
    UINT8,
    UINT16,
    ParsedHeader,
    TruncatedError,
    damaged,
    expand_gray_alpha,
    flat_picture,
)

if TYPE_CHECKING:
    from napari_lazyload.sources.image_header import FileHead

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_FIRST_CHUNK = 33
_IHDR = struct.Struct(">IIBBBBB")
_CHUNK = struct.Struct(">I4s")

_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGBA: 4}
_SHOWN_SAMPLES = {_GRAY: 1, _RGB: 3, _PALETTE: 3, _GRAY_ALPHA: 4, _RGBA: 4}
_DEPTHS = {
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _RGBA: (8, 16),
}

_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_EXIF_KEYWORD = b"Raw profile type exif"
_XMP_KEYWORD = b"XML:com.adobe.xmp"

#: Chunks that matter for what is shown: kind, and keyword of a text.
_WANTED = {(kind, kind) for kind in (b"PLTE", b"tRNS", b"acTL", b"pHYs", b"eXIf")}
_WANTED |= {(b"tEXt", _EXIF_KEYWORD), (b"zTXt", _EXIF_KEYWORD), (b"iTXt", _XMP_KEYWORD)}

#: Chunks behind the pixels are rare; this many last bytes show whether one may matter.
_TAIL_BYTES = 512
_TAIL_SIGNS = (b"eXIf", b"TXt", b"tEXt", b"xpacket", b"xmpmeta")

#: Inflated size of a text chunk: an EXIF block has at most 64 KiB, which digits double.
_TEXT_LIMIT = 2**18


class _Parsed(NamedTuple):
    """What the decoder needs to know."""

    depth: int
    color: int
    interlaced: bool
    palette: bytes
    pixels: int
    orientation: int


_Chunks = dict[bytes, bytes]
"""Whole chunks by their kind, texts by their keyword."""


def read_header(head: FileHead) -> ParsedHeader:
    """Parse the chunks up to the first pixels (and look for EXIF behind them)."""
    data = head.need(41)
    start = _FIRST_CHUNK
    chunks: _Chunks = {}
    if data[37:41] != b"IDAT":
        start = _walk(head, start, chunks)
    if _may_go_on_behind_pixels(head, start):
        _walk_behind_pixels(head, start, chunks)
    ihdr = data[12:29]
    if chunks:
        return _build_header(ihdr, start, chunks)
    return _plain_header(ihdr, start)


@functools.lru_cache(maxsize=64)
def _plain_header(ihdr: bytes, start: int) -> ParsedHeader:
    """Build the header of a file of pixels alone: the same for all images of a series."""
    return _build_header(ihdr, start, {})


def _build_header(ihdr: bytes, start: int, chunks: _Chunks) -> ParsedHeader:
    """Build the header from IHDR, where the pixels begin, and the chunks around them."""
    if ihdr[:4] != b"IHDR":
        raise damaged(f"a chunk {ihdr[:4]!r} first", "a PNG file that begins with IHDR")
    width, height, depth, color, _compression, _filters, interlace = _IHDR.unpack_from(ihdr, 4)
    if depth not in _DEPTHS.get(color, ()):
        raise damaged(
            f"bit depth {depth} with color type {color}", "a PNG of a standard pixel type"
        )
    packed = height * (1 + (width * depth * _SAMPLES[color] + 7) // 8)
    palette = b""
    samples = _SHOWN_SAMPLES[color]
    if color == _PALETTE:
        if b"PLTE" not in chunks:
            raise damaged("a palette image without a palette", "a PLTE chunk before the pixels")
        palette = chunks[b"PLTE"] + chunks.get(b"tRNS", b"")
        samples += b"tRNS" in chunks
    orientation = _orientation(chunks)
    if orientation > 4:
        height, width = width, height
    dtype: np.dtype[Any] = UINT16 if depth == 16 else UINT8
    if depth == 1 and color == _GRAY:
        dtype = BOOL
    metadata = _metadata(depth, color, orientation, chunks)
    info = flat_picture("png", height, width, samples, dtype, metadata=metadata)
    parsed = _Parsed(depth, color, bool(interlace), palette, start, orientation)
    return ParsedHeader(info, packed, DEFLATE_RATIO, 65536, parsed)


def _metadata(depth: int, color: int, orientation: int, chunks: _Chunks) -> dict[str, Any]:
    """Return the extras of the file."""
    metadata: dict[str, Any] = {"bits": depth}
    notes = []
    if b"tRNS" in chunks and color != _PALETTE:
        notes.append("one color is declared transparent; it is shown as it is")
    animation = _contents(chunks, b"acTL")
    frames = int.from_bytes(animation[:4], "big")
    if frames > 1 and len(animation) >= 4:
        notes.append(f"an animation of {frames} frames; its default image is shown")
    if notes:
        metadata["note"] = "; ".join(notes)
    size = _contents(chunks, b"pHYs")
    if len(size) == 9 and size[8] == 1:
        metadata["resolution"] = struct.unpack_from(">II", size)[::-1]
    if orientation != 1:
        metadata["orientation"] = orientation
    return metadata


def _contents(chunks: _Chunks, kind: bytes) -> bytes:
    """Return the contents of a chunk; empty where there is none."""
    return chunks.get(kind, b"")[8:-4]


def _may_go_on_behind_pixels(head: FileHead, start: int) -> bool:
    """Whether chunks behind the pixels may matter; nearly always the size of the file says no."""
    (length,) = struct.unpack_from(">I", head.need(start + 8), start)
    if start + 12 + length + len(_END) == head.size:
        return False
    tail = head.tail(_TAIL_BYTES)
    return any(sign in tail for sign in _TAIL_SIGNS)


def _walk(head: FileHead, position: int, chunks: _Chunks) -> int:
    """Gather the chunks from `position` to the first pixels; return where those begin."""
    while True:
        length, kind = _CHUNK.unpack_from(head.need(position + 8), position)
        if kind == b"IDAT":
            return position
        if kind == b"IEND":
            raise damaged("a PNG file without pixels", "at least one IDAT chunk")
        end = position + 12 + length
        _gather(head, kind, position, end, chunks)
        position = end


def _walk_behind_pixels(head: FileHead, position: int, chunks: _Chunks) -> None:
    """Gather what gives an orientation behind the pixels; the decoder looks at a damaged end."""
    size = head.size
    while position + 12 <= size:
        length, kind = _CHUNK.unpack(head.at(position, 8))
        end = position + 12 + length
        if kind == b"IEND" or end > size:
            return
        if kind == b"eXIf" or kind in _TEXT:
            _gather(head, kind, position, end, chunks)
        position = end


def _gather(head: FileHead, kind: bytes, position: int, end: int, chunks: _Chunks) -> None:
    """Keep one chunk where it matters for what is shown."""
    name = kind
    if kind in _TEXT:
        keyword_end = min(position + 88, end - 4)
        name = head.need(keyword_end)[position + 8 : keyword_end].split(b"\0", 1)[0]
    if (kind, name) in _WANTED:
        chunks[name] = head.need(end)[position:end]


def _orientation(chunks: _Chunks) -> int:
    """Return the EXIF orientation, 1 to 8."""
    exif = _contents(chunks, b"eXIf") or _raw_profile(chunks.get(_EXIF_KEYWORD, b""))
    return choose_orientation(exif, _international_text(_contents(chunks, _XMP_KEYWORD)))


def _raw_profile(chunk: bytes) -> bytes:
    """Return the bytes of a hexadecimal profile: three lines of heading, then digits."""
    text = chunk[8:-4].partition(b"\0")[2]
    if chunk[4:8] == b"zTXt":
        text = _inflate(text[1:])
    digits = b"".join(text.split(b"\n")[3:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def _international_text(contents: bytes) -> bytes:
    """Return the text of an iTXt chunk as bytes."""
    fields = contents.partition(b"\0")[2]
    text = fields[2:].split(b"\0", 2)[-1]
    return _inflate(text) if fields[:1] == b"\1" else text


def _inflate(text: bytes) -> bytes:
    """Return a compressed text; empty where it is broken."""
    try:
        return zlib.decompressobj().decompress(text, _TEXT_LIMIT)
    except zlib.error:
        return b""


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode the default image; `page` is 0."""
    import imagecodecs

    parsed: _Parsed = header.detail
    stream = _pixel_stream(data, parsed)
    # libpng complains on stderr of each interlaced file that imagecodecs gives it; spng does not
    quiet = parsed.interlaced and _spng_reads(parsed, header.info.shape[-1])
    decoder = imagecodecs.spng_decode if quiet else imagecodecs.png_decode
    array: npt.NDArray[Any] = decoder(stream)
    if header.info.dtype == BOOL:
        array = array.astype(np.bool_)
    return orient(expand_gray_alpha(array), parsed.orientation)


def _spng_reads(parsed: _Parsed, samples: int) -> bool:
    """Whether spng reads this pixel type; it leaves out the alpha of a palette."""
    if parsed.color == _PALETTE:
        return samples == 3
    return parsed.color != _GRAY_ALPHA and (parsed.depth < 16 or samples == 4)


def _pixel_stream(data: bytes, parsed: _Parsed) -> bytes:
    """Return a PNG of the pixel chunks alone, and make sure that the file is complete.

    Other chunks change nothing that is shown, but let libpng write warnings to stderr; a color key
    would become an alpha channel.
    """
    begin = parsed.pixels
    if begin == _FIRST_CHUNK and data.endswith(_END):
        return data
    position = begin
    end = begin
    while True:
        if position + 12 > len(data):
            msg = f"a file that ends after {len(data):,} bytes, before its IEND chunk"
            raise TruncatedError(msg)
        length, kind = _CHUNK.unpack_from(data, position)
        if kind == b"IEND":
            break
        position += 12 + length
        if kind == b"IDAT":
            end = position
    if begin == _FIRST_CHUNK and end + 12 == len(data):
        return data
    return b"".join((data[:_FIRST_CHUNK], parsed.palette, data[begin:end], _END))
