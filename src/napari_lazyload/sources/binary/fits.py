"""FITS images: one for each header-and-data unit with pixels; `astropy` reads the cards.

Format: https://fits.gsfc.nasa.gov/fits_standard.html
"""

from __future__ import annotations

import gzip
import os
import warnings
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeGuard

import numpy as np

from napari_lazyload.sources.binary.boxes import BoxSource
from napari_lazyload.sources.binary.compressed import MOST_PACKED
from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.fits_cards import (
    is_whole,
    number_of,
    shown_limits,
    world_axes,
)
from napari_lazyload.sources.binary.fits_tiles import CompressedTiles, tile_grid
from napari_lazyload.sources.binary.header_checks import check_image, gray_axes, reading_header
from napari_lazyload.sources.binary.read_strided import check_extent, item_count
from napari_lazyload.sources.binary.strided import dense
from napari_lazyload.sources.binary.strided_chunks import Linear, Shifted
from napari_lazyload.sources.files import FileStamp, check_options, file_name, open_error, refuse_if

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.sources.opened import OpenResult, RowSource

FITS = "FITS"
_BLOCK, _CARD = 2880, 80
_GZIP, _PIECE = b"\x1f\x8b", 1 << 20
_MOST_CARDS = 1 << 22
_MOST_AXES = 999
_MOST_UNITS = 10_000
_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_HINT = "it is damaged or of another format: copy it again"
_STRUCTURE = (
    "SIMPLE",
    "XTENSION",
    "BITPIX",
    "NAXIS",
    "EXTEND",
    "PCOUNT",
    "GCOUNT",
    "END",
    "COMMENT",
    "HISTORY",
    "",
)
_NEEDED = ("XTENSION", "PCOUNT", "GCOUNT", "GROUPS", "ZIMAGE", "BSCALE", "BZERO", "BLANK")
"""What changes how pixels are read where it is there; any other card may be damaged."""

_TWICE = "image compressed by tiles in a compressed file (unpack it with: gunzip)"

_IMAGE_CARDS = ("BITPIX", "NAXIS")
"""What the header of a compressed image says of its table; of the image, behind a Z."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """One header with its data: the cards, where the data begins, how many bytes it has."""

    number: int
    cards: Mapping[str, Any]
    offset: int
    nbytes: int

    @property
    def name(self) -> str:
        """As the header has it, or its number."""
        return str(self.cards.get("EXTNAME") or f"HDU {self.number}")

    @property
    def is_compressed(self) -> bool:
        """Whether it is a table of compressed tiles."""
        return self.cards.get("ZIMAGE") is True

    @property
    def image_cards(self) -> Mapping[str, Any]:
        """The cards as they would be if the image were not compressed."""
        if not self.is_compressed:
            return self.cards
        own = {key: card for key, card in self.cards.items() if not key.startswith(_IMAGE_CARDS)}
        prefixed = [key for key in own if key.startswith("Z") and key[1:].startswith(_IMAGE_CARDS)]
        return own | {key[1:]: own[key] for key in prefixed}


def open_fits(path: str, **options: Any) -> OpenResult:
    """Open the images of a FITS file, the primary one and those of its extensions.

    The order of axes is that of NumPy, the fastest last. Values are scaled (BSCALE, BZERO, BLANK)
    chunk by chunk, as astropy does it; unsigned integers stay integers.

    Parameters
    ----------
    path : str
        The file; compressed by gzip it is unpacked once to find its images, and each image as one
        chunk.
    **options
        ``scaled`` (True: stored values are scaled as the header says).

    Raises
    ------
    SourceOpenError
        If it is no FITS file, holds no image, or is shorter than its headers say.
    """
    check_options(options, ("scaled",), "FITS files")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, "a FITS file")
    packed = _is_packed(path)
    opener: Any = gzip.open if packed else open
    with reading_header(path, "a FITS file"), opener(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's, about cards that it mends
        size = _unpacked_size(path, file) if packed else stamp.size
        units, skipped, notes = _units(path, file, size)
        images = [unit for unit in units if _is_image(unit, skipped, packed=packed)]
        refuse_if(
            not images,
            path,
            "at least one image of two axes or more",
            "; ".join(f"{len(names)} x {why}" for why, names in skipped.items()) or "none",
            "open it with astropy",
        )
        sources, headers = [], []
        for unit, title in zip(images, _titles(images), strict=True):
            source, fields = _image(path, stamp, unit, title, options, packed=packed)
            sources.append(source)
            headers.append(fields)
    return binary_result(path, FITS, sources, headers, skipped=skipped, notes=notes)


def _is_packed(path: str) -> bool:
    with reading_header(path, "a FITS file"), open(path, "rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def _unpacked_size(path: str, file: IO[bytes]) -> int:
    """Return how many bytes a packed file has when it is unpacked."""
    size = 0
    while data := file.read(_PIECE):
        size += len(data)
        refuse_if(
            size > MOST_PACKED,
            path,
            f"at most {MOST_PACKED >> 30} GiB in one compressed file",
            "more",
            "unpack it with gunzip to read it in place",
        )
    return size


def _units(
    path: str, file: IO[bytes], size: int
) -> tuple[list[_Unit], dict[str, list[str]], list[str]]:
    """Return the units of a file, what is left out behind the last one, and notes."""
    units: list[_Unit] = []
    skipped: dict[str, list[str]] = {}
    place = 0
    while place + _BLOCK <= size and len(units) < _MOST_UNITS:
        text = _header_text(path, file, place, first=not units)
        if text is None:
            skipped.setdefault("bytes that are no header", []).append(f"at byte {place}")
            break
        unit = _unit(path, len(units), text, place + -(-len(text) // _BLOCK) * _BLOCK)
        check_extent(
            path, size, unit.offset + unit.nbytes, exact=False, what=f"header {unit.number}"
        )
        units.append(unit)
        place = unit.offset + -(-unit.nbytes // _BLOCK) * _BLOCK
    refuse_if(not units, path, f"a header of at least {_BLOCK} bytes", f"{size} bytes", _HINT)
    if 0 < size - place < _BLOCK:
        skipped.setdefault("bytes that are no header", []).append(f"at byte {place}")
    notes = []
    if place > size:  # all pixels are there, and yet it may have been cut
        lacking = f"expected {place:,} bytes (blocks of {_BLOCK:,}), found {size:,}"
        hint = "its pixels are whole, but it may be truncated: compare it with the original"
        notes = [f"{path}: {lacking}; {hint}"]
    return units, skipped, notes


def _header_text(path: str, file: IO[bytes], place: int, *, first: bool) -> str | None:
    """Return the cards of the header at a place, or None where there is none."""
    file.seek(place)
    text = b""
    while len(text) < _MOST_CARDS and len(block := file.read(_BLOCK)) == _BLOCK:
        text += block
        if len(text) == _BLOCK and not block.startswith(b"SIMPLE  =" if first else b"XTENSION="):
            if not first:
                return None
            raise open_error(path, "a FITS file", f"one that begins with {block[:9]!r}", _HINT)
        for start in range(len(text) - _BLOCK, len(text), _CARD):
            if text[start : start + 8] == b"END     ":
                return text[: start + _CARD].decode("ascii", "replace")
    if not first:
        return None
    raise open_error(path, "a header that ends with END", "none", _HINT)


def _unit(path: str, number: int, text: str, offset: int) -> _Unit:
    from astropy.io import fits

    cards: dict[str, Any] = {}
    for card in fits.Header.fromstring(text).cards:
        try:
            cards.setdefault(card.keyword, card.value)
        except fits.VerifyError:
            if card.keyword in _NEEDED:
                raise
    shape = _shape(path, cards)
    count = item_count(shape) if shape else 0
    if cards.get("GROUPS") is True and shape and shape[-1] == 0:
        count = item_count(shape[:-1])
    extra, groups = int(cards.get("PCOUNT", 0)), int(cards.get("GCOUNT", 1))
    nbytes = abs(_bitpix(path, cards)) // 8 * groups * (extra + count)
    refuse_if(
        min(extra, groups) < 0 or nbytes >= 1 << 63,
        path,
        "a size of data",
        f"PCOUNT {extra}, GCOUNT {groups}, axes of {shape}",
        _HINT,
    )
    return _Unit(number, cards, offset, nbytes)


def _bitpix(path: str, cards: Mapping[str, Any]) -> int:
    bitpix = cards.get("BITPIX")
    if bitpix not in _TYPES:
        raise open_error(path, f"BITPIX of {', '.join(map(str, _TYPES))}", repr(bitpix), _HINT)
    return int(bitpix)


def _shape(path: str, cards: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the sizes of the axes, the fastest last."""
    ndim = cards.get("NAXIS")
    if not _is_count(ndim) or ndim > _MOST_AXES:
        raise open_error(path, f"NAXIS of 0 to {_MOST_AXES}", repr(ndim), _HINT)
    shape: list[Any] = [cards.get(f"NAXIS{number}") for number in range(ndim, 0, -1)]
    if not all(map(_is_count, shape)):
        raise open_error(path, f"{ndim} sizes of axes", f"{shape}", _HINT)
    return tuple(shape)


def _is_count(value: Any) -> TypeGuard[int]:
    return is_whole(value) and value >= 0


def _titles(units: list[_Unit]) -> list[str]:
    """Return the name of each image; the version is added where several have the same."""
    if len(units) == 1:
        return [""]
    names = [unit.name for unit in units]
    titles = []
    for unit, name in zip(units, names, strict=True):
        version = f" {unit.cards.get('EXTVER', unit.number)}" if names.count(name) > 1 else ""
        titles.append(f"{name}{version}")
    return titles


def _is_image(unit: _Unit, skipped: dict[str, list[str]], *, packed: bool) -> bool:
    """Whether a unit is an image; the reason why not goes into `skipped`."""
    cards = unit.image_cards
    kind = str(cards.get("XTENSION", "IMAGE")).strip()
    ndim = int(cards.get("NAXIS", 0))
    shape = [cards.get(f"NAXIS{number}", 0) for number in range(ndim, 0, -1)]
    why = None
    if unit.is_compressed and packed:
        why = _TWICE
    elif cards.get("SIMPLE") is False:
        why = "data that says it is not standard (SIMPLE = F)"
    elif kind != "IMAGE" and not unit.is_compressed:
        why = f"{kind} extension"
    elif cards.get("GROUPS") is True and shape and shape[-1] == 0:
        why = "random groups"
    elif unit.nbytes and (len(shape) < 2 or len(shape) > 32):
        why = f"data of {len(shape)} axes"
    if why is not None:
        skipped.setdefault(why, []).append(unit.name)
    return why is None and unit.nbytes > 0


def _image(
    path: str,
    stamp: FileStamp,
    unit: _Unit,
    title: str,
    options: Mapping[str, Any],
    *,
    packed: bool,
) -> tuple[RowSource, dict[str, Any]]:
    """Return the source of one unit, and its cards."""
    cards = unit.image_cards
    layout = dense(_shape(path, cards), _TYPES[_bitpix(path, cards)], unit.offset)
    check_image(path, layout.shape, layout.dtype)
    more: dict[str, Any] = shown_limits(cards)
    scaled = options.get("scaled", True)
    convert, dtype = _scaling(path, cards, layout.dtype) if scaled else (None, None)
    axes = gray_axes(layout.shape)
    more |= world_axes(cards, axes)
    name = f"{file_name(path)} {title}".strip()
    source: RowSource
    if unit.is_compressed:
        count = _shape(path, unit.cards)[0]  # the table has one row for each tile
        source = BoxSource(
            "astropy",
            (path, stamp),
            CompressedTiles(path, unit.number, scaled=scaled),
            grid=tile_grid(path, layout.shape, layout.dtype.itemsize, cards, count=count),
            dtype=np.dtype(dtype or layout.dtype),
            name=name,
            axes=axes,
            **more,
        )
    else:
        codec = "gzip" if packed else ""
        more |= {"convert": convert, "dtype": dtype}
        source = file_source(layout, (path, stamp), codec, name, axes, exact=False, **more)
    fields = {"hdu": unit.number, "data_offset": unit.offset, "stored_dtype": str(layout.dtype)}
    shown = [key for key in cards if key not in _STRUCTURE and not key.startswith("NAXIS")]
    return source, fields | {key: cards[key] for key in shown}


def _scaling(
    path: str, cards: Mapping[str, Any], dtype: np.dtype[Any]
) -> tuple[Linear | Shifted | None, str | None]:
    """Return the conversion of stored values, as astropy has it, and the type of the result."""
    for key in ("BSCALE", "BZERO"):
        if isinstance(cards.get(key), str):
            raise open_error(
                path,
                f"a number for {key}",
                repr(cards[key]),
                "mend the header, or open it with scaled=False",
            )
    slope, zero = number_of(cards, "BSCALE", 1.0), number_of(cards, "BZERO", 0.0)
    blank = cards.get("BLANK")
    if not is_whole(blank) or dtype.kind not in "iu":
        blank = None
    if slope == 1 and zero == 0 and blank is None:
        return None, None
    bits = 8 * dtype.itemsize
    if dtype.kind in "iu" and slope == 1:
        if dtype.kind == "i" and zero == 2.0 ** (bits - 1):
            return Shifted(), f"u{dtype.itemsize}"
        if dtype.kind == "u" and zero == -128:
            return Shifted(), "i1"
    real = "f4" if bits <= 16 else "f8"
    if dtype.kind == "f":
        real = f"f{dtype.itemsize}"
    return Linear(slope, zero, real, blank), real
