"""WebP: header and pixels.

Source: Google, "WebP Container Specification" (RIFF, VP8X, ANMF, EXIF, XMP), RFC 6386 section 9.1
(VP8 frame header) and the "WebP Lossless Bitstream Specification", section 3.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.image_files.orientation import choose_orientation, orient
from napari_lazyload.sources.image_header import (
    UINT8,
    ParsedHeader,
    TruncatedError,
    animated,
    damaged,
    flat_picture,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_lazyload.sources.image_header import FileHead

_ANIMATION, _XMP, _EXIF, _ALPHA = 0x02, 0x04, 0x08, 0x10


def read_header(head: FileHead) -> ParsedHeader:
    """Parse the first chunk, and the list of chunks where EXIF or an animation asks for it."""
    data = head.need(25)
    (riff_size,) = struct.unpack_from("<I", data, 4)
    kind = data[12:16]
    metadata: dict[str, Any] = {"bits": 8}
    frames = orientation = 1
    if kind == b"VP8X":
        data = head.need(30)
        flags = data[20]
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        alpha = bool(flags & _ALPHA)
        if flags & (_ANIMATION | _EXIF | _XMP):
            count, orientation = _walk(head, riff_size)
            frames = count if flags & _ANIMATION else 1
    elif kind == b"VP8L":
        if data[20] != 0x2F:
            raise damaged("a broken lossless WebP", "its signature")
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    elif kind == b"VP8 ":
        if head.need(30)[23:26] != b"\x9d\x01\x2a":
            raise damaged("a broken lossy WebP", "a key frame first")
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", head.data, 26))
        alpha = False
    else:
        raise damaged(f"a WebP chunk {kind!r} first", "VP8, VP8L or VP8X")
    samples = 3 + alpha
    if orientation != 1:
        metadata["orientation"] = orientation
    packed = height * width * samples
    if orientation > 4:
        height, width = width, height
    info = flat_picture("webp", height, width, samples, UINT8, metadata=metadata)
    if frames > 1:
        info = animated(info, frames)
    return ParsedHeader(info, packed, detail=(orientation, riff_size + 8))


def _walk(head: FileHead, riff_size: int) -> tuple[int, int]:
    """Return the number of animation frames, and the orientation."""
    frames = 0
    exif = xmp = None
    position = 12
    while position + 8 <= min(riff_size + 8, head.size):
        kind, size = struct.unpack("<4sI", head.at(position, 8))
        if kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF":
            exif = head.at(position + 8, size)
        elif kind == b"XMP ":
            xmp = head.at(position + 8, size)
        position += 8 + size + size % 2
    return max(frames, 1), choose_orientation(exif, xmp)


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode one frame; those of an animation are composed from its beginning."""
    import imagecodecs

    orientation, size = header.detail
    if len(data) < size:
        msg = f"a file of {len(data):,} bytes"
        raise TruncatedError(msg, f"{size:,} bytes, as its header says")
    alpha = header.info.shape[-1] == 4
    frame = page if header.info.page_ndim else None
    array: npt.NDArray[Any] = imagecodecs.webp_decode(data, index=frame, hasalpha=alpha)
    return orient(array, orientation)
