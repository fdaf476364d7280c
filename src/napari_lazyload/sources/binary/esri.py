"""ESRI's band files (``.bil .bip .bsq .flt``): a text header (``.hdr``) beside the pixels.

Format: https://desktop.arcgis.com/en/arcmap/latest/manage-data/raster-and-images/
bil-bip-and-bsq-raster-files.htm; what GDAL's EHdr driver assumes where the header is silent.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.envi import header_of
from napari_lazyload.sources.binary.header_checks import MOST_HEADER, check_image, reading_header
from napari_lazyload.sources.binary.strided import StridedLayout
from napari_lazyload.sources.files import FileStamp, check_options, file_name, open_error, refuse_if

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.sources.opened import OpenResult

ESRI = "ESRI band file"
_DATA_SUFFIXES = (".bil", ".bip", ".bsq", ".flt", ".dem")
_KINDS = {"U": "u", "S": "i", "F": "f"}
_DAMAGED = "mend its header"


def takes_esri(path: str) -> bool:
    """Whether a path is such a header, or pixels that have one beside them."""
    head = header_of(path)
    if head is None or not os.path.isfile(head) or os.path.isdir(path):
        return False
    try:
        with open(head, "rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    return start.isascii() and {"NROWS", "NCOLS"} <= _fields(start).keys()


def open_esri(path: str, **options: Any) -> OpenResult:
    """Open a band file by its header or its pixels; axes are bands (where several), rows, columns.

    Parameters
    ----------
    path : str
        The header, or the data.
    **options
        ``trailing`` (whether to allow trailing bytes).

    Raises
    ------
    SourceOpenError
        If the header has no size, its data is missing, or shorter or longer than it says.
    """
    check_options(options, ("trailing",), "ESRI band files")
    path = os.path.abspath(path)
    head = header_of(path)
    if head is None:
        raise open_error(path, "a header (.hdr) beside it", "none", "put the header back")
    FileStamp.at_open(head, header=path)
    with reading_header(head, "an ESRI header"), open(head, "rb") as file:
        fields = _fields(file.read(MOST_HEADER))
    data = path if path != head else _data_of(head)
    layout = _layout(head, fields, os.path.splitext(data)[1].lower())
    axes = ("c", "y", "x")[-len(layout.shape) :]
    stamp = FileStamp.at_open(data, header=path)
    is_padding = 0 < stamp.size - layout.end < layout.strides[-2]  # of the last row
    exact = not (is_padding or options.get("trailing", False))
    steps = _steps(fields)
    placed: dict[str, Any] = {"scale": (1.0, *steps)[-len(axes) :]} if steps else {}
    name = file_name(data)
    source = file_source(layout, (data, stamp), "", name, axes, exact=exact, **placed)
    return binary_result(
        path, ESRI, [source], [fields | {"data_file": name, "stored_dtype": str(layout.dtype)}]
    )


def _fields(text: bytes) -> dict[str, str]:
    """Return the header: a name and a value a line, whatever their case and the signs between."""
    fields: dict[str, str] = {}
    for line in text.decode("ascii", "replace").splitlines():
        name, *value = line.replace("=", " ").replace(":", " ").split()[:2] or [""]
        if value:
            fields.setdefault(name.upper(), value[0])
    return fields


def _data_of(head: str) -> str:
    base = os.path.splitext(head)[0]
    suffixes = [case for suffix in _DATA_SUFFIXES for case in (suffix, suffix.upper())]
    return next(filter(os.path.isfile, (f"{base}{end}" for end in suffixes)), f"{base}.bil")


def _whole(head: str, fields: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = fields.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal() or len(text) > 18:
        raise open_error(head, f"a whole number for {name}", repr(text), _DAMAGED)
    return int(text)


def _layout(head: str, fields: Mapping[str, str], suffix: str) -> StridedLayout:
    """Return where the pixels are, as bands (where several), rows and columns."""
    dtype = _dtype(head, fields, suffix)
    rows, columns = _whole(head, fields, "NROWS"), _whole(head, fields, "NCOLS")
    bands = _whole(head, fields, "NBANDS", 1)
    check_image(head, (bands, rows, columns), dtype)
    item = dtype.itemsize
    interleave = fields.get("LAYOUT", "BIL").upper()
    if interleave == "BIP":
        row = _whole(head, fields, "TOTALROWBYTES", columns * bands * item)
        strides = (item, row, bands * item)
    elif interleave == "BSQ":
        row = _whole(head, fields, "BANDROWBYTES", columns * item)
        strides = (rows * row + _whole(head, fields, "BANDGAPBYTES", 0), row, item)
    elif interleave == "BIL":
        band = _whole(head, fields, "BANDROWBYTES", columns * item)
        strides = (band, _whole(head, fields, "TOTALROWBYTES", bands * band), item)
    else:
        raise open_error(head, "LAYOUT of BIL, BIP or BSQ", interleave, _DAMAGED)
    least = columns * item * (bands if interleave == "BIP" else 1)
    refuse_if(
        strides[1] < least,
        head,
        f"at least {least} bytes in a row",
        f"{strides[1]}",
        _DAMAGED,
    )
    offset = _whole(head, fields, "SKIPBYTES", 0)
    if bands == 1:
        return StridedLayout((rows, columns), dtype, offset, strides[1:])
    return StridedLayout((bands, rows, columns), dtype, offset, strides)


def _dtype(head: str, fields: Mapping[str, str], suffix: str) -> np.dtype[Any]:
    is_float = suffix == ".flt"
    bits = _whole(head, fields, "NBITS", 32 if is_float else 8)
    kind = fields.get("PIXELTYPE", "F" if is_float else "").upper()[:1]
    if not kind:
        kind = "S" if fields.get("NODATA", fields.get("NODATA_VALUE", "")).startswith("-") else "U"
    refuse_if(
        kind not in _KINDS or bits not in ((32, 64) if kind == "F" else (8, 16, 32)),
        head,
        "pixels of 8, 16 or 32 bits (signed or unsigned), or floats of 32 or 64",
        f"{bits} bits, PIXELTYPE {fields.get('PIXELTYPE', 'unsigned')}",
        "convert it with gdal_translate",
    )
    order = ">" if fields.get("BYTEORDER", "I").upper().startswith("M") else "<"
    return np.dtype(f"{order}{_KINDS[kind]}{bits // 8}")


def _steps(fields: Mapping[str, str]) -> tuple[float, float] | None:
    """Return the height and the width of a pixel on the map, None where the header lacks them."""
    cell = fields.get("CELLSIZE", "")
    try:
        high, wide = (float(fields.get(name, cell)) for name in ("YDIM", "XDIM"))
    except ValueError:
        return None
    return (high, wide) if 0 < high < math.inf and 0 < wide < math.inf else None
