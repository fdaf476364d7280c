"""Boxes: the container of JPEG 2000, JPEG XL and AVIF files.

Source: ISO/IEC 14496-12, section 4.2 (a box is its length, its type and its contents; length 1
means that 64 bits follow, 0 that it reaches the end of the file).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from napari_lazyload.sources.image_header import TruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_lazyload.sources.image_header import FileHead


def file_boxes(head: FileHead) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, begin and end of the contents of each box of a file; contents are not read.

    Raises
    ------
    TruncatedError
        A box reaches beyond the end of the file.
    """
    position = 0
    size = head.size
    while position + 8 <= size:
        kind, begin, end = _box(head.at(position, 16), position, size)
        if end > size or end < begin:
            msg = f"a file of {size:,} bytes with a box {kind!r} that ends at {end:,}"
            raise TruncatedError(msg)
        yield kind, begin, end
        position = end


def inner_boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield what `file_boxes` does of ``data[position:end]``; stop at a broken box."""
    while position + 8 <= end:
        kind, begin, stop = _box(data[position : position + 16], position, end)
        if stop > end or stop < begin:
            return
        yield kind, begin, stop
        position = stop


def _box(start: bytes, position: int, limit: int) -> tuple[bytes, int, int]:
    """Return type, begin and end of the contents of the box that starts with these bytes."""
    size, kind = struct.unpack_from(">I4s", start)
    if size == 1:
        (size,) = struct.unpack_from(">Q", start, 8)
        return kind, position + 16, position + size
    return kind, position + 8, position + size if size else limit
