"""JPEG: header and pixels.

Sources: ITU-T T.81 (ISO/IEC 10918-1), annex B (markers, frame header B.2.2, scan header B.2.3);
EXIF 2.32, section 4.7 (APP1); Adobe technical note 5116 (APP14: the stored values of a CMYK picture
are inverted).
"""

from __future__ import annotations

import functools
import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.image_files.orientation import choose_orientation, orient
from napari_lazyload.sources.image_header import (
    BOMB_FLOOR,
    UINT8,
    UINT16,
    ParsedHeader,
    PictureError,
    PictureInfo,
    TruncatedError,
    damaged,
    flat_picture,
)

if TYPE_CHECKING:
    from napari_lazyload.sources.image_header import FileHead

SIGNATURE = b"\xff\xd8\xff"

#: Baseline, extended, progressive and lossless; extended and progressive with arithmetic coding.
_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA))
_OTHER_FRAMES = frozenset((0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF))
_WITHOUT_LENGTH = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))
_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
_SEGMENT = struct.Struct(">H")
_FRAME = struct.Struct(">BHHB")

#: The next marker in entropy-coded data: neither a stuffed zero, nor a restart, nor filling.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")

#: A Huffman-coded block of 64 samples takes at least one bit; arithmetic coding may take less.
_RATIO = 2048

_XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"


class _Parsed(NamedTuple):
    """What the decoder needs to know."""

    components: int
    orientation: int
    scan: int


def read_header(head: FileHead) -> ParsedHeader:
    """Parse the markers up to the first scan."""
    position = 2
    frame = None
    exif = xmp = None
    while True:
        data = head.need(position + 4)
        if data[position] != 0xFF or data[position + 1] == 0xFF:
            position += 1  # junk or filling between segments: skipped, as all readers do
            continue
        marker = data[position + 1]
        if marker in _WITHOUT_LENGTH or marker == 0:
            position += 2
            continue
        if marker in (_SOS, _EOI):
            break
        (length,) = _SEGMENT.unpack_from(data, position + 2)
        body, position = position + 4, position + 2 + max(length, 2)
        if marker in _FRAMES:
            frame = (marker, *_FRAME.unpack_from(head.need(body + 6), body))
        elif marker in _OTHER_FRAMES:
            msg = f"a hierarchical or differential JPEG (frame type 0x{marker:02X})"
            raise PictureError(
                msg, "a baseline, progressive or lossless JPEG", "convert it, for example to PNG"
            )
        elif marker == _APP1:
            data = head.need(position)
            if exif is None and data.startswith(b"Exif\0\0", body):
                exif = data[body:position]
            elif xmp is None and data.startswith(_XMP_NAME, body):
                xmp = data[body:position]
    if frame is None or marker == _EOI:
        raise damaged("a JPEG file without an image", "a frame and a scan")
    info, packed = _describe(frame, choose_orientation(exif, xmp) if exif or xmp else 1)
    parsed = _Parsed(frame[4], info.metadata.get("orientation", 1), position)
    return ParsedHeader(info, packed, _RATIO, BOMB_FLOOR, parsed)


@functools.lru_cache(maxsize=64)
def _describe(frame: tuple[int, int, int, int, int], orientation: int) -> tuple[PictureInfo, int]:
    """Return what the frame's numbers mean, and the bytes to unpack; a series shares them."""
    marker, bits, height, width, components = frame
    lossless = marker == 0xC3
    if components not in (1, 3, 4) or (components == 4 and bits != 8):
        msg = f"a JPEG of {components} components of {bits} bits"
        raise PictureError(
            msg, "1 or 3 components, or 4 of 8 bits", "convert it, for example to TIFF"
        )
    if bits not in (8, 12) and not (lossless and 2 <= bits <= 16):
        raise damaged(f"a JPEG of {bits} bits", "8 or 12 bits")
    metadata: dict[str, Any] = {"bits": bits}
    if orientation != 1:
        metadata["orientation"] = orientation
    dtype = UINT8 if bits <= 8 else UINT16
    packed = height * width * components * dtype.itemsize
    if orientation > 4:
        height, width = width, height
    samples = min(components, 3)
    return flat_picture("jpeg", height, width, samples, dtype, metadata=metadata), packed


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode the image; `page` is 0."""
    import imagecodecs

    parsed: _Parsed = header.detail
    _check_complete(data, parsed.scan)
    array: npt.NDArray[Any] = imagecodecs.jpeg8_decode(data)
    if parsed.components == 4:
        array = _rgb_from_inverted_cmyk(array)
    return orient(array, parsed.orientation)


def _check_complete(data: bytes, scan: int) -> None:
    """Raise TruncatedError without an end marker: libjpeg would fill the rest with gray."""
    if data.endswith(b"\xff\xd9"):
        return
    position = scan
    while match := _NEXT_MARKER.search(data, position):
        marker = data[match.start() + 1]
        if marker == _EOI:
            return
        position = match.end()
        if marker not in _WITHOUT_LENGTH and position + 2 <= len(data):
            position += _SEGMENT.unpack_from(data, position)[0]
    msg = f"a file that ends after {len(data):,} bytes, before its end marker"
    raise TruncatedError(msg)


def _rgb_from_inverted_cmyk(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn the stored values of a CMYK JPEG into RGB, to the same gray level as Pillow.

    Stored values are 255 - ink, so that red is what cyan leaves of the paper that black leaves:
    (255 - cyan) * (255 - black) / 255, rounded.
    """
    paper = array[..., 3].astype(np.uint16)
    result = np.empty((*paper.shape, 3), np.uint8)
    for color in range(3):
        product = array[..., color] * paper
        product += 128
        product += product >> 8  # this and the next line: a rounded division by 255
        product >>= 8
        result[..., color] = product
    return result
