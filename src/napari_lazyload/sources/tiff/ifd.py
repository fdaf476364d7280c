"""TIFF structure: image file directories, how far they reach, and plain files without a library.

Sources: TIFF 6.0, section 2 (header, IFD, field types) and section 8 (baseline tags); BigTIFF as in
the libtiff documentation. `tifffile` reads the pixels and everything that is not plain; what is
here tells truncated files, which it opens with fewer pages or default values, and answers for the
plain files of cameras and exports in a fraction of its time.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from napari_lazyload.sources.image_header import PictureError, TruncatedError

if TYPE_CHECKING:
    from napari_lazyload.sources.image_header import FileHead

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION = 266, 270
STRIP_OFFSETS, SAMPLES, STRIP_COUNTS, X_RESOLUTION, Y_RESOLUTION = 273, 277, 279, 282, 283
PLANAR, RESOLUTION_UNIT, SOFTWARE, PREDICTOR, TILE_WIDTH, SAMPLE_FORMAT = (
    284,
    296,
    305,
    317,
    322,
    339,
)

#: The first private tag: those of instruments are sometimes broken in files that are otherwise fine.
_PRIVATE = 32768

#: Tags that say nothing about how pages make up an image; any other one makes a file "not plain".
_HARMLESS = frozenset(
    (
        *(
            254,
            256,
            257,
            258,
            259,
            262,
            266,
            269,
            270,
            271,
            272,
            273,
            274,
            277,
            278,
            279,
            280,
            281,
            282,
            283,
            284,
            296,
        ),
        *(
            305,
            306,
            315,
            316,
            317,
            322,
            323,
            324,
            325,
            338,
            339,
            340,
            341,
            700,
            33432,
            34377,
            34665,
            34675,
            36867,
        ),
    )
)

_TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}

_WIDE = frozenset(kind for kind, width in _TYPE_BYTES.items() if width > 4)

_MAX_TAGS = 4096

#: Software and descriptions from which `tifffile` makes something other than "one page, one image".
_SPECIAL_SOFTWARE = (
    b"SI.",
    b"PerkinElmer",
    b"Philips",
    b"IndicaLabs",
    b"MedScan",
    b"Ventana",
    b"ScanOutput",
    b"TVX",
)
_SPECIAL_DESCRIPTIONS = (
    b"<",
    b"{",
    b"[",
    b"shape=",
    b"SCIFIO=",
    b"ImageJ=",
    b"Aperio",
    b"state.",
    b"FLIM",
    b"Motic",
)

_PIXELS = re.compile(rb"<(?:\w+:)?Pixels\b[^>]*>")
_COMPANION = re.compile(rb"""<(?:\w+:)?BinaryOnly\b[^>]*\bMetadataFile=["']([^"'>]+)["']""")
_PLANE_AXES = re.compile(rb'\bSize[ZCT]="(\d+)"')
_MOST_PLANES = 1 << 22

_STACKED = re.compile(rb"^(?:images|channels|slices|frames)=(?!1\s*$)", re.MULTILINE)

_DTYPES = {
    **{(1, bits): np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{(2, bits): np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{(3, bits): np.dtype(f"f{bits // 8}") for bits in (16, 32, 64)},
}


ByteOrder = Literal["<", ">"]


class Flavour(NamedTuple):
    """Classic TIFF or BigTIFF, in one byte order."""

    order: ByteOrder
    counter: struct.Struct
    entry: struct.Struct
    pointer: struct.Struct

    def number(self, raw: bytes) -> int:
        """Return an unsigned number from its bytes."""
        return int.from_bytes(raw, "little" if self.order == "<" else "big")


_ORDERS: tuple[ByteOrder, ByteOrder] = ("<", ">")
_FLAVOURS = {
    (order, big): Flavour(
        order,
        struct.Struct(order + ("Q" if big else "H")),
        struct.Struct(order + ("HHQ8s" if big else "HHI4s")),
        struct.Struct(order + ("Q" if big else "I")),
    )
    for order in _ORDERS
    for big in (False, True)
}


class Entry(NamedTuple):
    """One field of a directory: its type, how many values, and the values themselves or where they are."""

    kind: int
    number: int
    raw: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.number * _TYPE_BYTES.get(self.kind, 1)


class Directory(NamedTuple):
    """One image file directory."""

    entries: dict[int, Entry]
    following: int


def read_flavour(head: FileHead) -> tuple[Flavour, int]:
    """Return the flavour of a TIFF file and the position of its first directory."""
    data = head.need(8)
    big = data[2:4] in (b"+\0", b"\0+")
    flavour = _FLAVOURS["<" if data[:2] == b"II" else ">", big]
    (first,) = flavour.pointer.unpack_from(head.need(16) if big else data, 8 if big else 4)
    return flavour, first


def read_directory(head: FileHead, flavour: Flavour, offset: int) -> Directory:
    """Read one directory; raises what `_fields` does."""
    found, following = _fields(head, flavour, offset)
    entries: dict[int, Entry] = {}
    for tag, kind, number, raw in found:
        if tag not in entries:
            entries[tag] = Entry(kind, number, raw)
    return Directory(entries, following)


def _fields(
    head: FileHead, flavour: Flavour, offset: int
) -> tuple[list[tuple[int, int, int, bytes]], int]:
    """Return tag, type, number and value of each field of a directory, and where the next directory is.

    Raises
    ------
    TruncatedError
        It reaches beyond the end of the file, or the values of one of its standard fields do.
    """
    width, step, pointer = flavour.counter.size, flavour.entry.size, flavour.pointer.size
    data = head.at(offset, width + 16 * step)
    if len(data) < width:
        msg = f"a file of {head.size:,} bytes whose directory is at {offset:,}"
        raise TruncatedError(msg)
    (count,) = flavour.counter.unpack_from(data)
    if count > _MAX_TAGS:
        raise PictureError(
            f"a directory of {count:,} tags",
            "a TIFF directory",
            "the file is damaged: export it again",
        )
    end = width + count * step
    if len(data) < end + pointer:
        data = head.at(offset, end + pointer)
        if len(data) < end + pointer:
            msg = f"a file of {head.size:,} bytes with a directory that ends at {offset + end + pointer:,}"
            raise TruncatedError(msg)
    found = [*flavour.entry.iter_unpack(data[width:end])]
    for tag, kind, number, raw in found:
        if (number > 1 or kind in _WIDE) and tag < _PRIVATE:
            nbytes = number * _TYPE_BYTES.get(kind, 1)
            where = flavour.number(raw)
            if nbytes > pointer and where + nbytes > head.size:
                msg = f"a file of {head.size:,} bytes with values of tag {tag} at {where:,} to {where + nbytes:,}"
                raise TruncatedError(msg)
    (following,) = flavour.pointer.unpack_from(data, end)
    return found, following


def is_imagej(head: FileHead) -> bool:
    """Return whether the description of the first page is one of ImageJ."""
    flavour, offset = read_flavour(head)
    text = _text(head, flavour, read_directory(head, flavour, offset).entries.get(DESCRIPTION))
    return text.startswith(b"ImageJ=")


def check_chain(head: FileHead) -> int:
    """Walk over all directories; return how many there are.

    Raises
    ------
    TruncatedError
        One lies beyond the end of the file: readers stop there and show fewer pages than the file
        has.
    """
    flavour, offset = read_flavour(head)
    seen: set[int] = set()
    while offset and offset not in seen:
        if offset >= head.size:
            msg = f"a file of {head.size:,} bytes with directory {len(seen)} at {offset:,}"
            raise TruncatedError(msg)
        seen.add(offset)
        _, offset = _fields(head, flavour, offset)
    return len(seen)


def ome_xml(head: FileHead) -> str:
    """Return the OME-XML of a set's companion where a file names one, else "": that of the file itself is to be taken.

    Raises
    ------
    PictureError
        More planes are described than anybody has: tifffile makes a list of them.
    """
    flavour, offset = read_flavour(head)
    text = _text(head, flavour, read_directory(head, flavour, offset).entries.get(DESCRIPTION))
    companion = _COMPANION.search(text)
    other = ""
    if companion is not None:
        # Its name alone: what lies elsewhere is not a file's to choose.
        name = os.path.basename(companion[1].decode("utf-8", "replace").replace("\\", "/"))
        path = os.path.join(os.path.dirname(os.path.abspath(head.path)), name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                text = file.read()
            other = text.decode("utf-8", "replace")
    planes = max(
        (math.prod(map(int, _PLANE_AXES.findall(one))) for one in _PIXELS.findall(text)), default=0
    )
    if planes > _MOST_PLANES:
        found = f"OME-XML that describes {planes:,} planes"
        raise PictureError(
            found, f"at most {_MOST_PLANES:,}", "the file is damaged: export it again"
        )
    return other


def value_bytes(head: FileHead, flavour: Flavour, entry: Entry) -> bytes:
    """Return the bytes of the values of a field."""
    nbytes = entry.nbytes
    return (
        entry.raw[:nbytes]
        if nbytes <= flavour.pointer.size
        else head.at(flavour.number(entry.raw), nbytes)
    )


def values(head: FileHead, flavour: Flavour, entry: Entry) -> tuple[int, ...]:
    """Return the whole numbers of a field."""
    code = f"{flavour.order}{entry.number}{_INTEGERS[entry.kind]}"
    return struct.unpack(code, value_bytes(head, flavour, entry))


class Plain(NamedTuple):
    """A TIFF file of one directory whose image is that directory's."""

    height: int
    width: int
    samples: int
    dtype: np.dtype[Any]
    directory: int
    data_offset: int | None
    description: bytes
    entries: dict[int, Entry]
    flavour: Flavour


def read_plain(head: FileHead) -> Plain | None:
    """Describe a plain file from its only directory, or return None for one that `tifffile` has to look at.

    Plain means: one directory, known tags alone, grey or RGB samples side by side of 8, 16, 32 or
    64 bits, and no description of a format that arranges pages.
    """
    flavour, offset = read_flavour(head)
    entries, following = read_directory(head, flavour, offset)
    if (
        following
        or not _HARMLESS.issuperset(entries)
        or WIDTH not in entries
        or LENGTH not in entries
    ):
        return None

    def number(tag: int, default: int) -> int:
        entry = entries.get(tag)
        if entry is None:
            return default
        if entry.number == 1 and entry.kind in (3, 4):
            return flavour.number(entry.raw[: 2 if entry.kind == 3 else 4])
        if entry.kind not in _INTEGERS:
            return -1
        found = set(values(head, flavour, entry))
        return found.pop() if len(found) == 1 else -1

    samples, photometric = number(SAMPLES, 1), number(PHOTOMETRIC, -1)
    gray = samples == 1 and photometric in (0, 1)
    color = samples in (3, 4) and photometric == 2 and number(PLANAR, 1) == 1
    kind = _DTYPES.get((number(SAMPLE_FORMAT, 1), number(BITS, 1)))
    if not (gray or color) or kind is None or number(SUBFILE_TYPE, 0) or number(FILL_ORDER, 1) != 1:
        return None
    height, width = number(LENGTH, 0), number(WIDTH, 0)
    shape = (height, width) if gray else (height, width, samples)
    description = _text(head, flavour, entries.get(DESCRIPTION))
    software = _text(head, flavour, entries.get(SOFTWARE))
    if not _is_plain_description(description, shape) or software.startswith(_SPECIAL_SOFTWARE):
        return None
    data_offset = None
    if number(COMPRESSION, 1) == 1 and number(PREDICTOR, 1) == 1 and TILE_WIDTH not in entries:
        data_offset = _contiguous(head, flavour, entries, height * width * samples * kind.itemsize)
    return Plain(height, width, samples, kind, offset, data_offset, description, entries, flavour)


def _text(head: FileHead, flavour: Flavour, entry: Entry | None) -> bytes:
    """Return the bytes of a text field."""
    return (
        value_bytes(head, flavour, entry).rstrip(b"\0 ")
        if entry is not None and entry.kind == 2
        else b""
    )


def _is_plain_description(text: bytes, shape: tuple[int, ...]) -> bool:
    """Tell whether a description leaves a single page as it is."""
    if text.startswith(b"ImageJ="):
        return _STACKED.search(text) is None
    if text.startswith(b'{"shape":'):
        try:
            shaped = json.loads(text)
            return (
                tuple(shaped["shape"]) == shape
                and "axes" not in shaped
                and "truncated" not in shaped
            )
        except (ValueError, TypeError, KeyError):
            return False
    return (
        not text.startswith(_SPECIAL_DESCRIPTIONS)
        and not text.endswith(b">")
        and b"scanimage" not in text
    )


def _contiguous(
    head: FileHead, flavour: Flavour, entries: dict[int, Entry], nbytes: int
) -> int | None:
    """Return where the strips begin that follow each other without a gap, or None."""
    offsets, counts = entries.get(STRIP_OFFSETS), entries.get(STRIP_COUNTS)
    if offsets is None or counts is None or offsets.number != counts.number:
        return None
    if not _INTEGERS.keys() >= {offsets.kind, counts.kind}:
        return None
    starts, sizes = values(head, flavour, offsets), values(head, flavour, counts)
    if not all(starts):  # left out, as in sparse files of GDAL
        return None
    if len(starts) == 1:
        return starts[0] if sizes[0] in (0, nbytes) or sizes[0] > nbytes else None
    follows = all(
        start + size == following
        for start, size, following in zip(starts, sizes, starts[1:], strict=False)
    )
    return starts[0] if follows and sum(sizes) == nbytes else None
