"""BMP: header and pixels.

Source: Microsoft, "Bitmap Storage" (BITMAPFILEHEADER, BITMAPCOREHEADER, BITMAPINFOHEADER, V4 and
V5). Which palettes count as grey or as black and white, and which 32-bit pictures have alpha,
follows Pillow.
"""

from __future__ import annotations

import io
import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.image_header import (
    BOOL,
    UINT8,
    FileHead,
    ParsedHeader,
    PictureError,
    TruncatedError,
    flat_picture,
)

SIGNATURE = b"BM"

#: Lengths of the information headers that bitmaps without a file header begin with.
_BARE_SIZES = tuple(struct.pack("<I", size) for size in (40, 108, 124))

#: An information header and a palette.
_LONGEST_HEADER = 124 + 1024

_RGB, _RLE8, _RLE4, _BITFIELDS = 0, 1, 2, 3
_GRAY_RAMP = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()

#: Alpha masks that Pillow takes for an alpha channel, with their red, green and blue masks.
_ALPHA_MASKS = frozenset(
    (
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        (0, 0, 0, 0),
    )
)


class _Parsed(NamedTuple):
    """What the header says of the pixels."""

    offset: int
    width: int
    height: int
    bits: int
    compression: int
    samples: int
    top_down: bool

    @property
    def stride(self) -> int:
        """Bytes of one row, which are a multiple of four."""
        return (self.width * self.bits + 31) // 32 * 4

    @property
    def padding(self) -> int:
        """Bytes that only fill a row."""
        return self.stride - (self.width * self.bits + 7) // 8


def is_bare(data: bytes) -> bool:
    """Tell whether a file begins with the information header, as bitmaps of the clipboard (.dib) do."""
    return data[:4] in _BARE_SIZES and data[12:14] == b"\1\0"


def _with_file_header(data: bytes) -> bytes:
    """Return a bitmap with the file header that it may lack."""
    if data.startswith(SIGNATURE):
        return data
    size, bits, compression, colors = struct.unpack_from("<I10xHI12xI", data)
    masks = 12 if size == 40 and compression == _BITFIELDS else 0
    palette = 4 * (colors or 1 << bits) if bits <= 8 else 0
    offset = min(14 + size + masks + palette, 0xFFFFFFFF)
    return struct.pack("<2sIHHI", SIGNATURE, 14 + len(data), 0, 0, offset) + data


def read_header(head: FileHead) -> ParsedHeader:
    """Parse the file header, the information header and the palette."""
    if not head.data.startswith(SIGNATURE):
        head = FileHead(
            head.path, _with_file_header(head.need(min(head.size, _LONGEST_HEADER))), complete=True
        )
    data = head.need(18)
    offset, size = struct.unpack_from("<II", data, 10)
    data = head.need(14 + min(size, 124))
    if size == 12:
        width, height, _planes, bits = struct.unpack_from("<HHHH", data, 18)
        compression = colors = 0
    elif size in (40, 52, 56, 64, 108, 124):
        width, height, _planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        (colors,) = struct.unpack_from("<I", data, 46)
    else:
        msg = f"a BMP with an information header of {size} bytes"
        raise PictureError(
            msg, "a header of 12, 40, 52, 56, 64, 108 or 124 bytes", "export it as PNG"
        )
    if bits not in (1, 4, 8, 16, 24, 32) or compression > _BITFIELDS:
        msg = f"a BMP of {bits} bits with compression {compression}"
        raise PictureError(
            msg, "1, 4, 8, 16, 24 or 32 bits, plain or run-length coded", "export it as PNG"
        )
    samples, dtype = _samples(head, size, bits, compression, colors)
    if bits <= 8 and offset == 14 + size:  # some writers forget the palette
        offset += (3 if size == 12 else 4) * (colors or 1 << bits)
    parsed = _Parsed(offset, width, abs(height), bits, compression, samples, height < 0)
    info = flat_picture("bmp", abs(height), width, samples, dtype, metadata={"bits": bits})
    packed = parsed.stride * abs(height)
    if compression in (_RLE8, _RLE4):
        return ParsedHeader(info, packed, 512, 2**24, parsed)
    return ParsedHeader(info, packed, 1, 2**16, parsed)


def _samples(
    head: FileHead, size: int, bits: int, compression: int, colors: int
) -> tuple[int, np.dtype[Any]]:
    """Return samples per decoded pixel, and their type."""
    if bits <= 8:
        colors = colors or 1 << bits
        step = 3 if size == 12 else 4
        if colors > 256:
            msg = f"a palette of {colors:,} colours"
            raise PictureError(msg, f"at most {1 << bits}", "the file is damaged: export it again")
        raw = head.need(14 + size + step * colors)[14 + size : 14 + size + step * colors]
        palette = b"".join(raw[i : i + 3] for i in range(0, len(raw), step))
        if bits == 1 and palette == b"\0\0\0\xff\xff\xff":
            return 1, BOOL
        gray = bits == 8 and colors > 2 and palette == _GRAY_RAMP[: 3 * colors]
        return (1 if gray else 3), UINT8
    if bits == 32 and compression == _BITFIELDS:
        if size < 52:
            return 3, UINT8
        masks = struct.unpack_from("<IIII" if size >= 56 else "<III", head.data, 54)
        return (4 if masks in _ALPHA_MASKS else 3), UINT8
    return 3, UINT8


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode the picture; `page` is 0."""
    data = _with_file_header(data)
    parsed: _Parsed = header.detail
    if parsed.compression in (_RLE8, _RLE4):
        # imagecodecs shows what is missing as black, be it skipped or lost
        return _decode_with_pillow(data, header)
    missing = parsed.offset + header.packed - len(data)
    if missing > parsed.padding:
        msg = f"a file of {len(data):,} bytes"
        raise TruncatedError(msg, f"{parsed.offset + header.packed:,} bytes, as its header says")
    if missing > 0:  # some writers leave out what only fills the last row
        data += bytes(missing)
    if parsed.samples == 1 and parsed.compression == _RGB:
        return _decode_rows(data, parsed)
    import imagecodecs

    try:
        array: npt.NDArray[Any] = imagecodecs.bmp_decode(
            data, asrgb=True if parsed.samples == 3 else None
        )
    except Exception:  # noqa: BLE001  an unusual variant, or damaged: Pillow knows, and its error is the one to tell
        return _decode_with_pillow(data, header)
    return array if array.shape == header.info.shape else _decode_with_pillow(data, header)


def _decode_rows(data: bytes, parsed: _Parsed) -> npt.NDArray[Any]:
    """Decode plain grey or black-and-white rows, which are stored from the bottom to the top."""
    stored = np.frombuffer(data, np.uint8, parsed.stride * parsed.height, parsed.offset)
    rows = stored.reshape(parsed.height, parsed.stride)
    if not parsed.top_down:
        rows = rows[::-1]
    if parsed.bits == 8:
        return rows[:, : parsed.width].copy()
    return np.unpackbits(rows, axis=1, count=parsed.width).view(np.bool_)


def _decode_with_pillow(data: bytes, header: ParsedHeader) -> npt.NDArray[Any]:
    """Decode what imagecodecs does not: OS/2 headers, rare bit fields and run lengths."""
    from PIL import BmpImagePlugin

    image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
    mode = {3: "RGB", 4: "RGBA"}.get(header.info.shape[-1] if header.info.rgb else 1, "L")
    return np.array(image.convert("1" if header.info.dtype == BOOL else mode))
