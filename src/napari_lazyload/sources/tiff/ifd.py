"""TIFF structure: image file directories, how far they reach, and plain files without a library.

Sources: TIFF 6.0, section 2 (header, IFD, field types) and section 8 (baseline tags); BigTIFF as in
the the libtiff documentation. `tifffile` reads the pixels and everything that is not plain. What is
here finds truncated files, which it opens with fewer pages or default values. It describes the
plain files of cameras and exports in a fraction of its time.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
import struct
from typing import Any, Literal, NamedTuple

import numpy as np

from napari_lazyload.sources.image_header import FileHead, PictureError, TruncatedError

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP = 266, 270, 273, 277, 278
STRIP_COUNTS = 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, SOFTWARE = 282, 283, 284, 296, 305
PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 317, 322, 323, 324, 325
SAMPLE_FORMAT = 339

# The first private tag: those of instruments are sometimes broken in files that are fine else.
_PRIVATE = 32768

# Tags that say nothing about how pages make up an image; any other one makes a file "not plain".
# fmt: off
_HARMLESS = frozenset((
    254, *range(256, 260), 262, 266, *range(269, 275), *range(277, 285), 296, 305, 306, 315, 316,
    317, *range(322, 326), *range(338, 342), 700, 33432, 34377, 34665, 34675, 36867,
))
# fmt: on

# Bytes of a value, by its type.
_TYPE_BYTES = dict(
    zip(
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18),
        (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 8, 8, 8),
        strict=True,
    )
)
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}

_WIDE = frozenset(kind for kind, width in _TYPE_BYTES.items() if width > 4)

_MAX_TAGS = 4096
_DAMAGED = "the file is damaged: export it again"

#: Software and descriptions from which `tifffile` makes something other than "one page, one image".
_SPECIAL_SOFTWARE = tuple(
    b"SI. PerkinElmer Philips IndicaLabs MedScan Ventana ScanOutput TVX".split()
)
_SPECIAL_DESCRIPTIONS = tuple(b"< { [ shape= SCIFIO= ImageJ= Aperio state. FLIM Motic".split())

_PIXELS = re.compile(rb"<(?:\w+:)?Pixels\b[^<>]*+>")
_COMPANION = re.compile(rb"""<(?:\w+:)?BinaryOnly\b[^<>]*\bMetadataFile=["']([^"'<>]+)["']""")
_IDENTITY = re.compile(rb"""<(?:\w+:)?OME\b[^<>]*\bUUID=["']([^"'<>]*)""")
_PLANE_AXES = re.compile(rb'\bSize[ZCT]="(\d{1,18})"')
_FILE_NAME = re.compile(rb"""(\bFileName=["'])([^"'<>]+)(["'])""")
_MOST_XML = 256 << 20
"""A longer companion is not read."""
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


class IfdEntry(NamedTuple):
    """One field of a directory: its type, how many values, and these or where they are."""

    kind: int
    number: int
    raw: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.number * _TYPE_BYTES.get(self.kind, 1)


def read_flavour(head: FileHead) -> tuple[Flavour, int]:
    """Return the flavour of a TIFF file and the position of its first directory."""
    data = head.need(8)
    big = data[2:4] in (b"+\0", b"\0+")
    flavour = _FLAVOURS["<" if data[:2] == b"II" else ">", big]
    (first,) = flavour.pointer.unpack_from(head.need(16) if big else data, 8 if big else 4)
    return flavour, first


def read_directory(
    head: FileHead, flavour: Flavour, offset: int
) -> tuple[dict[int, IfdEntry], int]:
    """Read one directory, and where the next one is; raises what `_fields` does."""
    found, following = _fields(head, flavour, offset)
    # Of a tag that comes twice, the first holds.
    entries = {tag: IfdEntry(kind, number, raw) for tag, kind, number, raw in reversed(found)}
    return entries, following


def _fields(
    head: FileHead, flavour: Flavour, offset: int
) -> tuple[list[tuple[int, int, int, bytes]], int]:
    """Return the fields of a directory, and where the next directory is.

    A field is its tag, its type, the number of its values, and the values or where they are.

    Raises
    ------
    TruncatedError
        It reaches beyond the end of the file, or the values of one of its standard fields do.
    """
    width, step, pointer = flavour.counter.size, flavour.entry.size, flavour.pointer.size
    data = head.at(offset, width + 16 * step)
    if len(data) < width:
        raise TruncatedError(f"a file of {head.size:,} bytes whose directory is at {offset:,}")
    (count,) = flavour.counter.unpack_from(data)
    if count > _MAX_TAGS:
        raise PictureError(f"a directory of {count:,} tags", "a TIFF directory", _DAMAGED)
    end = width + count * step
    if len(data) < end + pointer:
        data = head.at(offset, end + pointer)
        if len(data) < end + pointer:
            last = f"{offset + end + pointer:,}"
            raise TruncatedError(
                f"a file of {head.size:,} bytes with a directory that ends at {last}"
            )
    found = [*flavour.entry.iter_unpack(data[width:end])]
    for tag, kind, number, raw in found:
        if (number > 1 or kind in _WIDE) and tag < _PRIVATE:
            nbytes = number * _TYPE_BYTES.get(kind, 1)
            where = flavour.number(raw)
            if nbytes > pointer and where + nbytes > head.size:
                place = f"{where:,} to {where + nbytes:,}"
                raise TruncatedError(
                    f"a file of {head.size:,} bytes with values of tag {tag} at {place}"
                )
    (following,) = flavour.pointer.unpack_from(data, end)
    return found, following


def first_text(head: FileHead) -> bytes:
    """Return the description in the first directory."""
    flavour, offset = read_flavour(head)
    entries, _ = read_directory(head, flavour, offset)
    return _text(head, flavour, entries.get(DESCRIPTION))


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
            raise TruncatedError(
                f"a file of {head.size:,} bytes with directory {len(seen)} at {offset:,}"
            )
        seen.add(offset)
        _, offset = _fields(head, flavour, offset)
    return len(seen)


def companion_xml(path: str, text: bytes) -> str:
    """Return the OME-XML that describes a set, of the companion or the TIFF file that a file names.

    It is "" where a file names none: its own is used then.

    Parameters
    ----------
    path : str
        The file.
    text : bytes
        The description in its first directory.

    Raises
    ------
    PictureError
        More planes are described than anybody has: tifffile makes a list of them.
    """
    companion = _COMPANION.search(text)
    other = ""
    if companion is not None:
        # Its name alone: what lies elsewhere is not a file's to choose.
        name = os.path.basename(companion[1].decode("utf-8", "replace").replace("\\", "/"))
        beside = os.path.join(os.path.dirname(os.path.abspath(path)), name)
        if os.path.isfile(beside) and os.path.getsize(beside) <= _MOST_XML:
            text = _set_text(beside, text)
            other = text.decode("utf-8", "replace")
    folder = os.path.dirname(os.path.abspath(path))
    named = {found[1] for found in _FILE_NAME.findall(text)}
    safe = {name: _name_inside(folder, name) for name in named}
    if any(name != inside for name, inside in safe.items()):
        text = _FILE_NAME.sub(lambda found: found[1] + safe[found[2]] + found[3], text)
        other = text.decode("utf-8", "replace")
    for pixels in _PIXELS.findall(text):
        planes = math.prod(map(int, _PLANE_AXES.findall(pixels)))
        if planes > _MOST_PLANES:
            found = f"OME-XML that describes {planes:,} planes"
            raise PictureError(found, f"at most {_MOST_PLANES:,}", _DAMAGED)
    return other


def _name_inside(folder: str, name: bytes) -> bytes:
    """Return the name of a file of a set that tifffile may open: one in the folder of the set.

    Of a name that leads elsewhere, the last part counts. Pipes and the like are no files.
    """
    plain = name.replace(b"\\", b"/")
    first, *_ = parts = plain.split(b"/")
    if not first or b":" in first or b".." in parts:
        name = plain = parts[-1]
    path = os.path.join(folder, html.unescape(plain.decode("utf-8", "replace")))
    return b"no file" if os.path.exists(path) and not os.path.isfile(path) else name


def _set_text(path: str, own: bytes) -> bytes:
    """Return the OME-XML in a companion or in the first file of a set."""
    with open(path, "rb") as file:
        if file.read(4) not in SIGNATURES:
            file.seek(0)
            return file.read()
    with FileHead(path) as head:
        text = first_text(head)
    # tifffile takes the file with the UUID of the whole text for the one that is open.
    own_identity, identity = _IDENTITY.search(own), _IDENTITY.search(text)
    if identity is None:
        return text
    name = b"" if own_identity is None else own_identity[1]
    return text[: identity.start(1)] + name + text[identity.end(1) :]


def value_bytes(head: FileHead, flavour: Flavour, entry: IfdEntry) -> bytes:
    """Return the bytes of the values of a field."""
    if entry.nbytes <= flavour.pointer.size:
        return entry.raw[: entry.nbytes]
    return head.at(flavour.number(entry.raw), entry.nbytes)


def values(head: FileHead, flavour: Flavour, entry: IfdEntry) -> tuple[int, ...]:
    """Return the whole numbers of a field."""
    code = f"{flavour.order}{entry.number}{_INTEGERS[entry.kind]}"
    return struct.unpack(code, value_bytes(head, flavour, entry))


class Plain(NamedTuple):
    """A TIFF file of one directory whose image is that directory's.

    `data_offset` is where its pixels begin, if they are stored as they are and lie together.
    """

    height: int
    width: int
    samples: int
    dtype: np.dtype[Any]
    directory: int
    data_offset: int | None
    description: bytes
    entries: dict[int, IfdEntry]
    flavour: Flavour


def read_plain(head: FileHead) -> Plain | None:
    """Describe a plain file from its only directory: None for one that `tifffile` has to describe.

    Plain means: one directory, known tags alone, gray or RGB samples side by side of 8, 16, 32 or
    64 bits, and no description of a format that arranges pages.
    """
    flavour, offset = read_flavour(head)
    entries, following = read_directory(head, flavour, offset)
    if following or not _HARMLESS.issuperset(entries) or not entries.keys() >= {WIDTH, LENGTH}:
        return None

    def number(tag: int, default: int) -> int:
        return _number(head, flavour, entries.get(tag), default)

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
    if number(COMPRESSION, 1) == 1 and number(PREDICTOR, 1) == 1:
        nbytes = height * width * samples * kind.itemsize
        data_offset = _contiguous(head, flavour, entries, nbytes)
    return Plain(height, width, samples, kind, offset, data_offset, description, entries, flavour)


def plain_tile(head: FileHead, plain: Plain) -> tuple[int, int] | None:
    """Return rows and columns of a tile or strip, None where the page is read whole."""

    def number(tag: int, default: int) -> int:
        return _number(head, plain.flavour, plain.entries.get(tag), default)

    tile = min(number(ROWS_PER_STRIP, plain.height), plain.height), plain.width
    if TILE_WIDTH in plain.entries:
        tile = number(TILE_LENGTH, 0), number(TILE_WIDTH, 0)
    # tifffile and libtiff disagree on what a predictor is without compression.
    unclear = number(COMPRESSION, 1) == 1 and number(PREDICTOR, 1) != 1
    return None if unclear or min(tile) < 1 else tile


def _number(head: FileHead, flavour: Flavour, entry: IfdEntry | None, default: int) -> int:
    """Return the number that a field holds, once or several times; -1 for anything else."""
    if entry is None:
        return default
    if entry.number == 1 and entry.kind in (3, 4):
        return flavour.number(entry.raw[: _TYPE_BYTES[entry.kind]])
    if entry.kind not in _INTEGERS:
        return -1
    found = set(values(head, flavour, entry))
    return found.pop() if len(found) == 1 else -1


def _text(head: FileHead, flavour: Flavour, entry: IfdEntry | None) -> bytes:
    """Return the bytes of a text field."""
    if entry is None or entry.kind != 2:
        return b""
    return value_bytes(head, flavour, entry).rstrip(b"\0 ")


def _is_plain_description(text: bytes, shape: tuple[int, ...]) -> bool:
    """Whether a description leaves a single page as it is."""
    if text.startswith(b"ImageJ="):
        return _STACKED.search(text) is None
    if text.startswith(b'{"shape":'):
        try:
            shaped = json.loads(text)
            plain = "axes" not in shaped and "truncated" not in shaped
            return plain and tuple(shaped["shape"]) == shape
        except (ValueError, TypeError, KeyError):
            return False
    special = text.startswith(_SPECIAL_DESCRIPTIONS) or text.endswith(b">")
    return not special and b"scanimage" not in text


def _contiguous(
    head: FileHead, flavour: Flavour, entries: dict[int, IfdEntry], nbytes: int
) -> int | None:
    """Return where the strips or tiles begin that follow each other without a gap, or None."""
    offsets, counts = entries.get(STRIP_OFFSETS), entries.get(STRIP_COUNTS)
    if TILE_WIDTH in entries:
        width, wide, height, tall = (
            _number(head, flavour, entries.get(tag), 0)
            for tag in (WIDTH, TILE_WIDTH, LENGTH, TILE_LENGTH)
        )
        if wide != width or wide % 16 or tall < 16 or tall % 16 or height % tall:
            return None
        offsets, counts = entries.get(TILE_OFFSETS), entries.get(TILE_COUNTS)
    if offsets is None or counts is None or offsets.number != counts.number:
        return None
    if not _INTEGERS.keys() >= {offsets.kind, counts.kind}:
        return None
    starts, sizes = values(head, flavour, offsets), values(head, flavour, counts)
    if not all(starts):  # left out, as in sparse files of GDAL
        return None
    if len(starts) == 1:
        return starts[0]
    ends = map(sum, zip(starts, sizes, strict=True))
    follows = all(end == start for end, start in zip(ends, starts[1:], strict=False))
    return starts[0] if follows and sum(sizes) == nbytes else None
