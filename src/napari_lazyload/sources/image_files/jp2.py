"""JPEG 2000: header and pixels, as a bare codestream or in JP2 boxes.

Sources: ITU-T T.800 (ISO/IEC 15444-1), annex A (A.1: which markers stand alone, SIZ A.5.1, SOT
A.4.2, EOC A.4.4) and annex I (boxes: pclr I.5.3.4, cmap I.5.3.5).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.image_files.iso_boxes import file_boxes, inner_boxes
from napari_lazyload.sources.image_header import (
    BOMB_RATIO,
    ParsedHeader,
    TruncatedError,
    damaged,
    expand_gray_alpha,
    flat_picture,
    itemsize_of,
    shown_samples,
)

if TYPE_CHECKING:
    from napari_lazyload.sources.image_header import FileHead

BOX_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
STREAM_SIGNATURE = b"\xff\x4f\xff\x51"

_SOT, _EOC = 0xFF90, 0xFFD9
_WITHOUT_LENGTH = range(0xFF30, 0xFF40)

#: Unpacked bytes that are always accepted; the decoder takes four bytes for each of them.
_FLOOR = 2**25


def read_header(head: FileHead) -> ParsedHeader:
    """Parse the boxes and the SIZ segment of the codestream."""
    begin, end = 0, head.size
    columns = depth = None
    if head.data.startswith(BOX_SIGNATURE):
        for kind, start, stop in file_boxes(head):
            if kind == b"jp2h":
                columns, depth = _palette(head.at(start, stop - start))
            elif kind == b"jp2c":
                begin, end = start, stop
                break
        else:
            raise damaged("a JP2 file without a codestream", "a jp2c box")
    height, width, components = _siz(head, begin)
    bits = max(component & 0x7F for component in components) + 1
    signed = any(component & 0x80 for component in components)
    samples = len(components)
    if columns is not None and depth is not None:
        samples, bits, signed = columns, depth, False
    dtype = np.dtype(f"{'i' if signed else 'u'}{itemsize_of(bits)}")
    packed = height * width * samples * dtype.itemsize
    shown = shown_samples(samples)
    info = flat_picture("jpeg2000", height, width, shown, dtype, metadata={"bits": bits})
    return ParsedHeader(info, packed, BOMB_RATIO, _FLOOR, (begin, end))


def _siz(head: FileHead, begin: int) -> tuple[int, int, list[int]]:
    """Return height, width and the depth byte of each component, from the SIZ segment."""
    data = head.at(begin, 42)
    if len(data) < 42:
        raise TruncatedError("a file that ends inside its header")
    if not data.startswith(STREAM_SIGNATURE):
        raise damaged("a codestream without a size", "SOC and SIZ")
    right, bottom, left, top = struct.unpack_from(">IIII", data, 8)
    (count,) = struct.unpack_from(">H", data, 40)
    parts = head.at(begin + 42, 3 * count)
    if len(parts) < 3 * count or not count:
        raise TruncatedError("a file that ends inside its header")
    steps = {(parts[i + 1], parts[i + 2]) for i in range(0, len(parts), 3)}
    across, down = parts[1], parts[2]
    if not across or not down:
        raise damaged("a component of no size", "a sampling of 1 or more")
    if len(steps) > 1:
        across = down = 1  # subsampled chroma: the decoder brings it to full size
    return (
        -(-bottom // down) - -(-top // down),
        -(-right // across) - -(-left // across),
        list(parts[::3]),
    )


def _palette(data: bytes) -> tuple[int, int] | tuple[None, None]:
    """Return the number of channels and the bits of the palette in a jp2h box, or None and None."""
    columns = depth = None
    for kind, start, stop in inner_boxes(data, 0, len(data)):
        if kind == b"pclr" and stop - start >= 4:
            columns = data[start + 2]
            depth = max(data[start + 3 : start + 3 + columns], default=0) % 128 + 1
        elif kind == b"cmap" and columns is not None:
            columns = (stop - start) // 4
    return (columns, depth) if columns is not None and depth is not None else (None, None)


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode the image; `page` is 0."""
    import imagecodecs

    _check_complete(data, *header.detail)
    array: npt.NDArray[Any] = imagecodecs.jpeg2k_decode(data)
    return expand_gray_alpha(array)


def _check_complete(data: bytes, begin: int, end: int) -> None:
    """Raise TruncatedError where tile parts or the end marker lack: decoders would show a part."""
    position = begin + 2
    while position + 4 <= end:
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == _SOT:
            part = 0
            if position + 10 <= end:
                (part,) = struct.unpack_from(">I", data, position + 6)
            # a part of length 0 reaches the end marker
            position = position + part if part else end - 2
        elif marker == _EOC:
            return
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            position += 2 + length
    if data[position : position + 2] != b"\xff\xd9" or position + 2 > end:
        msg = f"a file that ends after {len(data):,} bytes, before its end marker"
        raise TruncatedError(msg)
