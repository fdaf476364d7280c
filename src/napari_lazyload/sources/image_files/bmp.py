"""BMP: Pillow reads the header, imagecodecs the usual pixels.

Pillow decides which palettes count as gray or as black and white, and which 32-bit images have
alpha. It also decodes what imagecodecs does not: bitmaps of the clipboard, headers of OS/2, rare
bit fields, run lengths.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.image_header import (
    BOOL,
    UINT8,
    FileHead,
    ParsedHeader,
    TruncatedError,
    flat_picture,
)

if TYPE_CHECKING:
    from PIL.BmpImagePlugin import BmpImageFile

SIGNATURE = b"BM"

#: Lengths of the information headers that bitmaps without a file header begin with.
_BARE_SIZES = tuple(struct.pack("<I", size) for size in (40, 108, 124))

#: A file header, the longest information header and a palette.
_LONGEST_HEADER = 14 + 124 + 1024

#: The mode that is shown, by Pillow's mode and the stored bits; RGB for all others.
_MODES = {("1", 1): "1", ("L", 8): "L", ("RGBA", 32): "RGBA"}


class _Parsed(NamedTuple):
    """What the decoder needs to know."""

    end: int
    padding: int
    by_pillow: bool
    mode: str


def is_bare(data: bytes) -> bool:
    """Whether a file begins with the information header, as bitmaps of the clipboard (.dib) do."""
    return data[:4] in _BARE_SIZES and data[12:14] == b"\1\0"


def _open(data: bytes) -> BmpImageFile:
    """Let Pillow read the header."""
    from PIL.BmpImagePlugin import BmpImageFile, DibImageFile

    image_class = BmpImageFile if data.startswith(SIGNATURE) else DibImageFile
    return image_class(io.BytesIO(data))


def read_header(head: FileHead) -> ParsedHeader:
    """Read size, pixel type, and where the pixels begin."""
    data = head.at(0, _LONGEST_HEADER)
    image = _open(data)
    is_file = data.startswith(SIGNATURE)
    start = 14 if is_file else 0
    bits = data[start + (10 if data[start] == 12 else 14)]
    mode = _MODES.get((image.mode, bits), "RGB")
    dtype = BOOL if mode == "1" else UINT8
    width, height = image.size
    info = flat_picture("bmp", height, width, len(mode), dtype, metadata={"bits": bits})
    stride = (width * bits + 31) // 32 * 4  # rows are filled to a multiple of four bytes
    packed = stride * height
    codec, _, offset, _ = image.tile[0]
    run_lengths = codec == "bmp_rle"
    # imagecodecs shows what run lengths lack as black, be it skipped or lost
    by_pillow = run_lengths or len(mode) == 1 or not is_file
    padding = stride - (width * bits + 7) // 8
    if run_lengths:
        return ParsedHeader(info, packed, 512, 2**24, _Parsed(0, padding, by_pillow, mode))
    parsed = _Parsed(offset + packed, padding, by_pillow, mode)
    return ParsedHeader(info, packed, 1, 2**16, parsed)


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode the image; `page` is 0."""
    parsed: _Parsed = header.detail
    missing = parsed.end - len(data)
    if missing > parsed.padding:
        msg = f"a file of {len(data):,} bytes"
        raise TruncatedError(msg, f"{parsed.end:,} bytes, as its header says")
    if missing > 0:  # some writers leave out what only fills the last row
        data += bytes(missing)
    if parsed.by_pillow:
        return _decode_with_pillow(data, parsed.mode)
    import imagecodecs

    as_rgb = parsed.mode == "RGB" or None
    try:
        array: npt.NDArray[Any] = imagecodecs.bmp_decode(data, asrgb=as_rgb)
    except Exception:  # noqa: BLE001  an unusual variant or damaged: Pillow's error says which
        return _decode_with_pillow(data, parsed.mode)
    if array.shape == header.info.shape:
        return array
    return _decode_with_pillow(data, parsed.mode)


def _decode_with_pillow(data: bytes, mode: str) -> npt.NDArray[Any]:
    """Decode into a mode; Pillow's own array of single bits holds 255 where NumPy wants 1."""
    image = _open(data)
    if mode == "1":
        return np.array(image.convert("L")) > 0
    return np.array(image.convert(mode))
