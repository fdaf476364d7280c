"""Orientation of photographs: how EXIF and XMP say it, and what it does to an array.

Sources: EXIF 2.32, section 4.6.4 (tag 0x0112, values 1 to 8), TIFF 6.0, section 2 (image file
directories), and Adobe XMP part 2 (``tiff:Orientation``). Which of the two counts follows Pillow's
``ImageOps.exif_transpose``: EXIF, and XMP only where EXIF says nothing.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

_ORIENTATION_TAG = 0x0112
_INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

#: Steps along y and x after the axes are swapped (5 to 8) or not (2 to 4).
_FLIPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}


def exif_orientation(block: bytes) -> int | None:
    """Return the orientation in an EXIF block, or None where it says none or is broken.

    Parameters
    ----------
    block : bytes
        A TIFF structure, with or without the word "Exif" and two zero bytes before it.
    """
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 10:
        return None
    (offset,) = struct.unpack_from(order + "I", block, 4)
    if offset + 2 > len(block):
        return None
    (count,) = struct.unpack_from(order + "H", block, offset)
    found = None
    for start in range(offset + 2, min(offset + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, number = struct.unpack_from(order + "HHI", block, start)
        if tag == _ORIENTATION_TAG and kind in _INTEGER_TYPES and number == 1:
            (found,) = struct.unpack_from(order + _INTEGER_TYPES[kind], block, start + 8)
    return found


def xmp_orientation(packet: bytes) -> int | None:
    """Return the orientation in an XMP packet, or None where it says none."""
    match = _XMP.search(packet)
    return int(match[1]) if match else None


def choose_orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """Return the orientation (1 to 8) that these blocks give; 1 where they are absent or broken."""
    value = exif_orientation(exif) if exif else None
    if value is None and xmp:
        value = xmp_orientation(xmp)
    return value if value is not None and 1 <= value <= 8 else 1


def orient(array: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn a (y, x) or (y, x, s) array as its EXIF orientation says, into a new C-contiguous array.

    Parameters
    ----------
    array : ndarray
        Pixels as they are stored, C-contiguous.
    orientation : int
        1 to 8; 1 returns `array` itself.
    """
    if orientation == 1:
        return array
    turned = _as_pixels(array)
    if orientation > 4:
        turned = turned.swapaxes(0, 1)
    flip_y, flip_x = _FLIPS[orientation]
    turned = np.ascontiguousarray(turned[::flip_y, ::flip_x])
    shape = turned.shape[:2] + array.shape[2:]
    return turned.view(array.dtype).reshape(shape)


def _as_pixels(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """View (y, x, s) as (y, x) with one item per pixel, which is copied twice as fast."""
    if array.ndim == 2:
        return array
    size = array.shape[2] * array.dtype.itemsize
    return array.view(f"u{size}" if size in (2, 4, 8) else f"V{size}")[..., 0]
