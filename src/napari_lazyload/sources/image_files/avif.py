"""AVIF: header and pixels.

Sources: ISO/IEC 23008-12 (HEIF), sections 6.5 (ispe 6.5.3, auxC 6.5.8, irot 6.5.10, imir 6.5.12)
and 9.3 (ipco, ipma); AV1 ISO media file format binding, section 2.3 (av1C).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.image_files.iso_boxes import file_boxes, inner_boxes
from napari_lazyload.sources.image_files.orientation import orient
from napari_lazyload.sources.image_header import (
    UINT8,
    UINT16,
    ParsedHeader,
    PictureError,
    expand_gray_alpha,
    flat_picture,
    shown_samples,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_lazyload.sources.image_header import FileHead

_BRANDS = (b"avif", b"avis")

_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")

#: Bits per sample by the flags "high bit depth" and "twelve bits".
_BITS = {0: 8, 0x20: 8, 0x40: 10, 0x60: 12}

#: EXIF orientation of (quarter turns anti-clockwise, mirror axis or None); the turn comes first.
_ORIENTATIONS = {
    (0, None): 1,
    (1, None): 8,
    (2, None): 3,
    (3, None): 6,
    (0, 0): 4,
    (0, 1): 2,
    (1, 0): 5,
    (1, 1): 7,
    (2, 0): 2,
    (2, 1): 4,
    (3, 0): 7,
    (3, 1): 5,
}


def is_avif(data: bytes) -> bool:
    """Whether a file that begins with a file type box is AVIF, by its brands."""
    end = min(struct.unpack_from(">I", data)[0], len(data), 256)
    return any(data[i : i + 4] in _BRANDS for i in (8, *range(16, end, 4)))


def read_header(head: FileHead) -> ParsedHeader:
    """Parse the item properties of the primary image."""
    meta = moving = None
    for kind, begin, end in file_boxes(head):
        if kind == b"meta":
            meta = head.at(begin + 4, end - begin - 4)
        moving = moving or kind == b"moov"
    if meta is None:
        raise PictureError(
            "an AVIF file without a still image", "a meta box", "convert it, for example to PNG"
        )
    primary, alpha, properties, uses = _items(meta)
    width = height = 0
    turns, mirror, flags = 0, None, None
    for kind, body in _properties_of(primary, properties, uses):
        if kind == b"ispe" and len(body) >= 12:
            width, height = struct.unpack_from(">II", body, 4)
        elif kind == b"irot" and body:
            turns = body[0] & 3
        elif kind == b"imir" and body:
            mirror = body[0] & 1
        elif kind == b"av1C" and len(body) >= 3:
            flags = body[2]
    if flags is None:  # a grid: its tiles hold the codec's settings
        flags = next(
            (body[2] for kind, body in properties if kind == b"av1C" and len(body) >= 3), 0
        )
    orientation = _ORIENTATIONS[turns, mirror]
    bits = _BITS[flags & 0x60]
    samples = (1 if flags & 0x10 else 3) + alpha
    metadata: dict[str, Any] = {"bits": bits}
    if moving:
        metadata["note"] = "an animation; its still image is shown"
    if orientation != 1:
        metadata["orientation"] = orientation
    dtype = UINT8 if bits == 8 else UINT16
    packed = height * width * samples * dtype.itemsize
    if orientation > 4:
        height, width = width, height
    samples = shown_samples(samples)
    info = flat_picture("avif", height, width, samples, dtype, metadata=metadata)
    return ParsedHeader(info, packed, detail=orientation)


_Property = tuple[bytes, bytes]


def _items(meta: bytes) -> tuple[int, bool, list[_Property], dict[int, list[int]]]:
    """Return the primary item, its alpha, all properties, and which ones each item uses."""
    primary = 0
    auxiliary: set[int] = set()
    properties: list[_Property] = []
    uses: dict[int, list[int]] = {}
    for kind, begin, end in inner_boxes(meta, 0, len(meta)):
        if kind == b"pitm":
            primary = int.from_bytes(meta[begin + 4 : end], "big")
        elif kind == b"iref":
            auxiliary.update(_references(meta[begin:end], b"auxl"))
        elif kind == b"iprp":
            for inner, start, stop in inner_boxes(meta, begin, end):
                if inner == b"ipco":
                    properties = [
                        (name, meta[i:j]) for name, i, j in inner_boxes(meta, start, stop)
                    ]
                elif inner == b"ipma":
                    uses.update(_associations(meta[start:stop]))
    alpha = any(
        kind == b"auxC" and body[4:].split(b"\0", 1)[0] in _ALPHA
        for item in auxiliary
        for kind, body in _properties_of(item, properties, uses)
    )
    return primary, alpha, properties, uses


def _properties_of(
    item: int, properties: list[_Property], uses: dict[int, list[int]]
) -> list[_Property]:
    """Return the properties of one item, in their order."""
    return [properties[index - 1] for index in uses.get(item, ()) if 0 < index <= len(properties)]


def _references(data: bytes, wanted: bytes) -> list[int]:
    """Return the items that refer to another one in this way; version 1 has 32-bit numbers."""
    width = 2 if data[:1] == b"\0" else 4
    return [
        int.from_bytes(data[begin : begin + width], "big")
        for kind, begin, _ in inner_boxes(data, 4, len(data))
        if kind == wanted
    ]


def _associations(data: bytes) -> dict[int, list[int]]:
    """Return the property numbers of each item from an ipma box."""
    item_bytes = 2 + 2 * (data[0] > 0)
    step = 1 + (data[3] & 1)
    mask = (1 << 8 * step - 1) - 1  # the highest bit says "essential"
    (entries,) = struct.unpack_from(">I", data, 4)
    position = 8
    result: dict[int, list[int]] = {}
    for _ in range(min(entries, len(data))):
        begin = position + item_bytes
        item = int.from_bytes(data[position:begin], "big")
        position = begin + 1 + step * data[begin]
        indices = range(begin + 1, position, step)
        result[item] = [int.from_bytes(data[i : i + step], "big") & mask for i in indices]
    return result


def decode(data: bytes, header: ParsedHeader, page: int) -> npt.NDArray[Any]:
    """Decode the still image; `page` is 0."""
    import imagecodecs

    array: npt.NDArray[Any] = imagecodecs.avif_decode(data, index=0)
    return orient(expand_gray_alpha(array), header.detail)
