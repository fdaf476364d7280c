"""ESRI's BIL, BIP and BSQ images, and float grids: a header of text (``.hdr``) beside the pixels.

Format: https://desktop.arcgis.com/en/arcmap/latest/manage-data/raster-and-images/
bil-bip-and-bsq-raster-files.htm; what a header leaves out is as GDAL takes it:
https://gdal.org/en/stable/drivers/raster/ehdr.html
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.envi import header_of, header_start
from napari_lazyload.sources.binary.header_checks import check_image, header_text, reading_header
from napari_lazyload.sources.binary.strided import StridedLayout
from napari_lazyload.sources.files import (
    FileStamp,
    check_options,
    file_name,
    open_error,
    refuse_if,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.sources.opened import OpenResult

ESRI = "ESRI"
_MOST_HEADER = 1 << 16
_DATA_SUFFIXES = (".bil", ".bip", ".bsq", ".flt", ".dem", ".img", ".raw", ".bin", ".dat", "")
_LAYOUTS = ("BIL", "BIP", "BSQ")
_FILLED = {"bandrowbytes", "totalrowbytes", "bandgapbytes"}
_TYPES = {"U": "u", "S": "i", "F": "f"}
_DAMAGED = "the header is damaged"


def takes_esri(path: str) -> bool:
    """Whether a path is such a header, or data that has one beside it."""
    return {"nrows", "ncols"} <= _fields(header_start(path, _MOST_HEADER)).keys()


def open_esri(path: str, **options: Any) -> OpenResult:
    """Open an image of ESRI. Its axes are bands, rows and columns, whatever the order of storage.

    On the map only the sizes of pixels are taken: the image stays as its pixels lie, the north at
    the top. The other fields of the header are in the table.

    Parameters
    ----------
    path : str
        The header, or the data.
    **options
        ``trailing`` (whether bytes behind the pixels are expected: no word is said of them then).

    Raises
    ------
    SourceOpenError
        If it is no such header, its data is missing, or shorter than the header says.
    """
    check_options(options, ("trailing",), "ESRI files")
    path = os.path.abspath(path)
    head = header_of(path)
    if head is None:
        raise open_error(
            path, f"a header {file_name(path)}.hdr beside it", "none", "put the header back"
        )
    FileStamp.at_open(head, header=path)
    data = _data_beside(head) if path == head else path
    with reading_header(head, "a header of ESRI"):
        with open(head, "rb") as file:
            known = _fields(file.read(_MOST_HEADER))
        layout = _layout(head, known, data)
        size = _size(known)
    stamp = FileStamp.at_open(data, header=path)
    axes = ("c", "y", "x")[-len(layout.shape) :]
    scale = (1.0, *size)[-len(axes) :]
    # The last row or band may be filled up, too.
    exact = not options.get("trailing", False) and not known.keys() & _FILLED
    name = file_name(data)
    source = file_source(layout, (data, stamp), "", name, axes, exact=exact, scale=scale)
    fields = known | {"data_file": name, "stored_dtype": str(layout.dtype)}
    return binary_result(path, ESRI, [source], [fields])


def _fields(block: bytes) -> dict[str, str]:
    """Return the fields of a header, their names in lower case: each line is a name and a value."""
    if b"\0" in block:
        return {}
    words = (line.split(None, 1) for line in header_text(block).splitlines())
    return {line[0].lower(): line[1].strip() for line in words if len(line) == 2}


def _data_beside(head: str) -> str:
    """Return the data file that is named like a header."""
    base = os.path.splitext(head)[0]
    names = [f"{base}{case}" for suffix in _DATA_SUFFIXES for case in (suffix, suffix.upper())]
    return next(filter(os.path.isfile, names), names[0])


def _layout(path: str, known: Mapping[str, str], data: str) -> StridedLayout:
    """Return where the pixels are, as rows and columns, behind the bands where there are some."""
    rows, columns, bands = (
        _whole(path, known, name, default)
        for name, default in (("nrows", None), ("ncols", None), ("nbands", 1))
    )
    dtype = _dtype(path, known, data)
    check_image(path, (bands, rows, columns), dtype)
    offset = _whole(path, known, "skipbytes", 0)
    stored, item = known.get("layout", "BIL").upper(), dtype.itemsize
    refuse_if(stored not in _LAYOUTS, path, f"a LAYOUT of {', '.join(_LAYOUTS)}", stored, _DAMAGED)
    line = _at_least(path, known, "bandrowbytes", columns * item)
    if stored == "BIP":
        whole = _at_least(path, known, "totalrowbytes", columns * bands * item)
        strides = (item, whole, bands * item)
    elif stored == "BIL":
        strides = (line, _at_least(path, known, "totalrowbytes", bands * line), item)
    else:
        gap = _whole(path, known, "bandgapbytes", 0)
        strides = (rows * columns * item + gap, columns * item, item)
    first = 1 if bands == 1 else 0
    return StridedLayout((bands, rows, columns)[first:], dtype, offset, strides[first:])


def _dtype(path: str, known: Mapping[str, str], data: str) -> np.dtype[Any]:
    """Return the type of a pixel."""
    kind = known.get("pixeltype", "")[:1].upper()
    if not kind and data.lower().endswith(".flt"):
        kind = "F"
    if not kind:  # GDAL's rule: a header of no type names a value below 0 for "no data"
        kind = "S" if _number(known.get("nodata", known.get("nodata_value"))) < 0 else "U"
    bits = _whole(path, known, "nbits", 32 if kind == "F" else 8)
    sizes = (32, 64) if kind == "F" else (8, 16, 32, 64)
    fits = kind in _TYPES and bits in sizes
    refuse_if(
        not fits,
        path,
        "pixels of 8, 16, 32 or 64 bits (NBITS), whole or float (PIXELTYPE)",
        f"{bits} bits, {known.get('pixeltype', 'of no type')}",
        "convert it with gdal_translate",
    )
    order = known.get("byteorder", "M")[:1].upper()
    refuse_if(
        order not in "IML", path, "a BYTEORDER of I or M", known.get("byteorder", ""), _DAMAGED
    )
    return np.dtype(f"{'>' if order == 'M' else '<'}{_TYPES[kind]}{bits // 8}")


def _whole(path: str, known: Mapping[str, str], name: str, default: int | None) -> int:
    """Return a whole number of 0 or more."""
    text = known.get(name, str(default)).split()[0]
    refuse_if(
        not (text.isdecimal() and len(text) < 19),
        path,
        f"a whole number for {name.upper()}",
        repr(text),
        _DAMAGED,
    )
    return int(text)


def _at_least(path: str, known: Mapping[str, str], name: str, least: int) -> int:
    """Return the bytes of a row, which may be filled up."""
    found = _whole(path, known, name, least)
    refuse_if(found < least, path, f"{name.upper()} of at least {least}", str(found), _DAMAGED)
    return found


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _size(known: Mapping[str, str]) -> tuple[float, float]:
    """Return the height and the width of a pixel, 1 where the header has none."""
    cell = known.get("cellsize")
    high, wide = (abs(_number(known.get(name, cell))) for name in ("ydim", "xdim"))
    if 0 < high < np.inf and 0 < wide < np.inf:
        return high, wide
    return 1.0, 1.0
