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
    PictureError,
    TruncatedError,
    flat_picture,
    rgba_from_gray_alpha,
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

#: Chunks after the pixels are rare; a look at this many last bytes tells whether they may hold an orientation.
_TAIL_BYTES = 512
_TAIL_SIGNS = (b"eXIf", b"TXt", b"tEXt", b"xpacket", b"xmpmeta")

#: Inflated size allowed for a text chunk; an EXIF block is at most 64 KiB, which hexadecimal digits double.
_TEXT_LIMIT = 2**18


class _Parsed(NamedTuple):
    """Where the parts of a PNG file are."""

    depth: int
    color: int
    interlaced: bool
    palette: tuple[int, int] | None
    transparency: tuple[int, int] | None
    pixels: int
    orientation: int


class _Notes:
    """What the chunks around the pixels say, gathered while walking over them."""

    __slots__ = ("exif", "frames", "palette", "per_metre", "raw_exif", "transparency", "xmp")

    def __init__(self) -> None:
        self.palette: tuple[int, int] | None = None
        self.transparency: tuple[int, int] | None = None
        self.frames = 1
        self.per_metre: tuple[int, int] | None = None
        self.exif: bytes | None = None
        self.raw_exif: bytes | None = None
        self.xmp: bytes | None = None

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8."""
        return choose_orientation(self.exif or self.raw_exif, self.xmp)


def read_header(head: FileHead) -> ParsedHeader:
    """Parse the chunks up to the first pixels (and look for EXIF behind them)."""
    data = head.need(41)
    start = _FIRST_CHUNK
    notes = None
    if data[37:41] != b"IDAT":
        notes = _Notes()
        start = _walk(head, start, notes)
    if _may_go_on_behind_pixels(head, start):
        notes = notes or _Notes()
        _walk_behind_pixels(head, start, notes)
    return _bare_header(data[12:29]) if notes is None else _build_header(data[12:29], start, notes)


@functools.lru_cache(maxsize=64)
def _bare_header(ihdr: bytes) -> ParsedHeader:
    """Build the header of a file of nothing but pixels: the same one for all pictures of a series."""
    return _build_header(ihdr, _FIRST_CHUNK, _Notes())


def _build_header(ihdr: bytes, start: int, notes: _Notes) -> ParsedHeader:
    """Build the header from the contents of IHDR, where the pixels begin, and what was found around them."""
    if ihdr[:4] != b"IHDR":
        msg = f"a chunk {ihdr[:4]!r} first"
        raise PictureError(
            msg, "a PNG file that begins with IHDR", "the file is damaged: export it again"
        )
    width, height, depth, color, _compression, _filters, interlace = _IHDR.unpack_from(ihdr, 4)
    if depth not in _DEPTHS.get(color, ()):
        msg = f"bit depth {depth} with colour type {color}"
        raise PictureError(
            msg, "a PNG of a standard pixel type", "the file is damaged: export it again"
        )
    samples = _SAMPLES[color]
    packed = height * (1 + (width * depth * samples + 7) // 8)
    if color == _PALETTE:
        if notes.palette is None:
            msg = "a palette picture without a palette"
            raise PictureError(
                msg, "a PLTE chunk before the pixels", "the file is damaged: export it again"
            )
        samples = 4 if notes.transparency else 3
    elif color == _GRAY_ALPHA:
        samples = 4
    orientation = notes.orientation
    if orientation > 4:
        height, width = width, height
    dtype = UINT16 if depth == 16 else BOOL if depth == 1 and color == _GRAY else UINT8
    info = flat_picture(
        "png", height, width, samples, dtype, metadata=_metadata(depth, color, orientation, notes)
    )
    parsed = _Parsed(
        depth, color, bool(interlace), notes.palette, notes.transparency, start, orientation
    )
    return ParsedHeader(info, packed, DEFLATE_RATIO, 65536, parsed)


def _metadata(depth: int, color: int, orientation: int, notes: _Notes) -> dict[str, Any]:
    """Return the extras of the file."""
    metadata: dict[str, Any] = {"bits": depth}
    remarks = []
    if notes.transparency and color != _PALETTE:
        remarks.append("one colour is declared transparent; it is shown as it is")
    if notes.frames > 1:
        remarks.append(f"an animation of {notes.frames} frames; its default image is shown")
    if remarks:
        metadata["note"] = "; ".join(remarks)
    if notes.per_metre:
        metadata["resolution"] = notes.per_metre
    if orientation != 1:
        metadata["orientation"] = orientation
    return metadata


def _may_go_on_behind_pixels(head: FileHead, start: int) -> bool:
    """Tell whether chunks behind the pixels may say something; nearly always one look at the size is enough."""
    (length,) = struct.unpack_from(">I", head.need(start + 8), start)
    if start + 12 + length + len(_END) == head.size:
        return False
    tail = head.tail(_TAIL_BYTES)
    return any(sign in tail for sign in _TAIL_SIGNS)


def _walk(head: FileHead, position: int, notes: _Notes) -> int:
    """Note the chunks from `position` to the first pixels; return where those begin."""
    while True:
        length, kind = _CHUNK.unpack_from(head.need(position + 8), position)
        if kind == b"IDAT":
            return position
        if kind == b"IEND":
            msg = "a PNG file without pixels"
            raise PictureError(
                msg, "at least one IDAT chunk", "the file is damaged: export it again"
            )
        _note_chunk(head, kind, position, length, notes)
        position += 12 + length


def _walk_behind_pixels(head: FileHead, position: int, notes: _Notes) -> None:
    """Note the chunks that describe orientation behind the pixels; a damaged end is the decoder's business."""
    size = head.size
    while position + 12 <= size:
        length, kind = _CHUNK.unpack(head.at(position, 8))
        if kind == b"IEND" or position + 12 + length > size:
            return
        if kind == b"eXIf" or kind in _TEXT:
            head.need(position + 12 + length)
            _note_chunk(head, kind, position, length, notes)
        position += 12 + length


def _note_chunk(head: FileHead, kind: bytes, position: int, length: int, notes: _Notes) -> None:
    """Note one chunk that matters for what is shown."""
    begin, end = position + 8, position + 8 + length
    if kind == b"PLTE":
        notes.palette = (position, end + 4)
    elif kind == b"tRNS":
        notes.transparency = (position, end + 4)
    elif kind == b"acTL" and length >= 4:
        (notes.frames,) = struct.unpack_from(">I", head.need(end), begin)
    elif kind == b"pHYs" and length == 9:
        x, y, unit = struct.unpack_from(">IIB", head.need(end), begin)
        notes.per_metre = (y, x) if unit == 1 else None
    elif kind == b"eXIf":
        notes.exif = head.need(end)[begin:end]
    elif kind in _TEXT:
        keyword = head.need(min(begin + 80, end))[begin : min(begin + 80, end)].split(b"\0", 1)[0]
        if keyword == _EXIF_KEYWORD and kind != b"iTXt":
            notes.raw_exif = _raw_profile(kind, head.need(end)[begin:end])
        elif keyword == _XMP_KEYWORD and kind == b"iTXt":
            notes.xmp = _international_text(head.need(end)[begin:end])


def _raw_profile(kind: bytes, chunk: bytes) -> bytes | None:
    """Return the bytes of a hexadecimal profile (three lines of heading, then digits), or None where it is broken."""
    text = chunk.partition(b"\0")[2]
    try:
        if kind == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], _TEXT_LIMIT)
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except (zlib.error, ValueError):
        return None


def _international_text(chunk: bytes) -> bytes | None:
    """Return the text of an iTXt chunk as bytes, or None where it is broken."""
    fields = chunk.partition(b"\0")[2]
    if len(fields) < 2:
        return None
    compressed = fields[0] == 1
    text = fields[2:].split(b"\0", 2)[-1]
    if not compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, _TEXT_LIMIT)
    except zlib.error:
        return None


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode the default image; `page` is 0."""
    import imagecodecs

    parsed: _Parsed = header.detail
    stream = _pixel_stream(data, parsed)
    # libpng complains on stderr of each interlaced file that imagecodecs gives it; spng reads the
    # common kinds in peace
    quiet = parsed.interlaced and _spng_reads(parsed, header.info.shape[-1])
    array: npt.NDArray[Any] = (
        imagecodecs.spng_decode(stream) if quiet else imagecodecs.png_decode(stream)
    )
    if parsed.color == _GRAY_ALPHA:
        array = rgba_from_gray_alpha(array)
    elif header.info.dtype == BOOL:
        array = array.astype(np.bool_)
    return orient(array, parsed.orientation)


def _spng_reads(parsed: _Parsed, samples: int) -> bool:
    """Tell whether spng reads this pixel type; the others stay with libpng (spng leaves out the alpha of a palette)."""
    if parsed.color == _PALETTE:
        return samples == 3
    return parsed.color != _GRAY_ALPHA and (parsed.depth < 16 or samples == 4)


def _pixel_stream(data: bytes, parsed: _Parsed) -> bytes:
    """Return a PNG of the pixel chunks alone, and make sure that the file is complete.

    Other chunks change nothing that is shown, but let libpng write warnings to stderr; a colour key
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
    parts = [data[:_FIRST_CHUNK]]
    if parsed.color == _PALETTE:
        parts += [data[slice(*span)] for span in (parsed.palette, parsed.transparency) if span]
    return b"".join([*parts, data[begin:end], _END])
