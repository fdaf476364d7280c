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

#: Samples per pixel by Pillow's mode and the stored bits; three for all others.
_SAMPLES = {("1", 1): 1, ("L", 8): 1, ("RGBA", 32): 4}


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
    samples = _SAMPLES.get((image.mode, bits), 3)
    dtype = BOOL if image.mode == "1" and samples == 1 else UINT8
    width, height = image.size
    info = flat_picture("bmp", height, width, samples, dtype, metadata={"bits": bits})
    stride = (width * bits + 31) // 32 * 4  # rows are filled to a multiple of four bytes
    packed = stride * height
    codec, _, offset, _ = image.tile[0]
    run_lengths = codec == "bmp_rle"
    mode = {1: "1" if dtype == BOOL else "L", 3: "RGB", 4: "RGBA"}[samples]
    # imagecodecs shows what run lengths lack as black, be it skipped or lost
    by_pillow = run_lengths or samples == 1 or not is_file
    end = 0 if run_lengths else offset + packed
    parsed = _Parsed(end, stride - (width * bits + 7) // 8, by_pillow, mode)
    ratio, floor = (512, 2**24) if run_lengths else (1, 2**16)
    return ParsedHeader(info, packed, ratio, floor, parsed)


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
        return np.array(_open(data).convert(parsed.mode))
    import imagecodecs

    as_rgb = True if parsed.mode == "RGB" else None
    try:
        array: npt.NDArray[Any] = imagecodecs.bmp_decode(data, asrgb=as_rgb)
    except Exception:  # noqa: BLE001  an unusual variant or damaged: Pillow's error says which
        return np.array(_open(data).convert(parsed.mode))
    if array.shape == header.info.shape:
        return array
    return np.array(_open(data).convert(parsed.mode))
