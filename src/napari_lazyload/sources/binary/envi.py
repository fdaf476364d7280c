"""ENVI images: a text header (``.hdr``), read by `spectral`, beside data as bsq, bil or bip."""

from __future__ import annotations

import codecs
import os
import tempfile
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.units import unit_of
from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.strided import (
    StridedLayout,
    dense,
    transposed,
)
from napari_lazyload.sources.files import (
    BadOptionError,
    FileStamp,
    check_options,
    file_name,
    open_error,
    refuse_if,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_lazyload.sources.opened import OpenResult

ENVI = "ENVI"
_SIGN = b"ENVI"
_MOST_HEADER = 1 << 24
_DATA_SUFFIXES = ("", ".img", ".bsq", ".bil", ".bip", ".dat", ".raw", ".bin", ".sli", ".hyspex")
_WHOLE = ("samples", "lines", "bands")
_LISTS = ("wavelength", "fwhm", "band names", "bbl")
_BANDS = "c"
_ORDERS = {"bsq": "cyx", "bil": "ycx", "bip": "yxc"}
_DAMAGED = "the header is damaged"


def takes_envi(path: str) -> bool:
    """Whether a path is an ENVI header, or data that has one beside it."""
    start = header_start(path, len(codecs.BOM_UTF8 + _SIGN))
    return start.removeprefix(codecs.BOM_UTF8).startswith(_SIGN)


def header_start(path: str, size: int) -> bytes:
    """Return the first bytes of the header (``.hdr``) of a path; none where there is no header."""
    head = header_of(path)
    if head is None or not os.path.isfile(head) or os.path.isdir(path):
        return b""
    try:
        with open(head, "rb") as file:
            return file.read(size)
    except OSError:
        return b""


def header_of(path: str) -> str | None:
    """Return the path of the header that belongs to a path, or None where there is none."""
    if path.lower().endswith(".hdr"):
        return path
    stem = os.path.splitext(path)[0]
    beside = (f"{path}.hdr", f"{path}.HDR", f"{stem}.hdr", f"{stem}.HDR")
    return next(filter(os.path.isfile, beside), None)


def open_envi(path: str, **options: Any) -> OpenResult:
    """Open an ENVI image. Its axes are bands, lines and samples, whatever the order of storage.

    Parameters
    ----------
    path : str
        The header, or the data.
    **options
        ``data`` (the data file, where it is not named like the header), ``trailing`` (whether to
        allow trailing bytes).

    Raises
    ------
    SourceOpenError
        If it is no ENVI header, its data is missing, compressed, or shorter or longer than the
        header says.
    """
    check_options(options, ("data", "trailing"), "ENVI files")
    path = os.path.abspath(path)
    head = header_of(path)
    if head is None:
        raise open_error(
            path, f"an ENVI header {file_name(path)}.hdr beside it", "none", "put the header back"
        )
    FileStamp.at_open(head, header=path)
    with reading_header(head, "an ENVI header"):
        known = _read_header(head)
        layout = _layout(head, known)
    data = _data_of(path, head, options.get("data"))
    stamp = FileStamp.at_open(data, header=path)
    with reading_header(head, "an ENVI header"):
        per_band, placed = _per_band(known, layout.shape[0]), _placement(known)
    name = file_name(data)
    placed |= {"exact": not options.get("trailing", False), "row_axes": int(bool(per_band))}
    source = file_source(layout, (data, stamp), "", name, (_BANDS, "y", "x"), **placed)
    fields = {field: value for field, value in known.items() if field not in per_band}
    fields |= {"data_file": name, "stored_dtype": str(layout.dtype)} | per_band
    return binary_result(path, ENVI, [source], [fields])


def _read_header(path: str) -> dict[str, Any]:
    from spectral.io import envi

    with open(path, "rb") as file:
        content = file.read(_MOST_HEADER + 1)
    refuse_if(
        len(content) > _MOST_HEADER,
        path,
        f"a header of at most {_MOST_HEADER >> 20} MiB",
        "a longer one",
        "it is no ENVI header",
    )
    with warnings.catch_warnings(), _plain_copy(path, content) as plain:
        warnings.simplefilter("ignore")  # about upper-case names
        return {str(name).lower(): value for name, value in envi.read_envi_header(plain).items()}


@contextmanager
def _plain_copy(path: str, content: bytes) -> Iterator[str]:
    """Yield a header in ASCII: `spectral` leaves a file open whose characters it cannot read."""
    if content.isascii():
        yield path
        return
    content = content.removeprefix(codecs.BOM_UTF8)
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "header.hdr")
        with open(copy, "wb") as file:
            file.write(content.decode("latin-1").encode("ascii", "replace"))
        yield copy


def _whole(path: str, known: Mapping[str, Any], name: str, default: str | None = None) -> int:
    value = known.get(name, default)
    try:
        return int(str(value))
    except ValueError as err:
        raise open_error(path, f"a whole number for {name!r}", repr(value), _DAMAGED) from err


def _layout(path: str, known: Mapping[str, Any]) -> StridedLayout:
    """Return where the pixels are, as bands, lines and samples."""
    from spectral.io.envi import envi_to_dtype

    refuse_if(
        _whole(path, known, "file compression", "0"),
        path,
        "data without compression",
        "file compression = 1",
        "save it without compression",
    )
    code = str(known.get("data type"))
    refuse_if(
        code not in envi_to_dtype,
        path,
        f"a data type of {', '.join(envi_to_dtype)}",
        code,
        _DAMAGED,
    )
    order = _whole(path, known, "byte order", "0")
    refuse_if(order not in (0, 1), path, "byte order 0 or 1", str(order), _DAMAGED)
    dtype = np.dtype(f"{'<>'[order]}{envi_to_dtype[code]}")
    columns, rows, bands = (_whole(path, known, name) for name in _WHOLE)
    check_image(path, (bands, rows, columns), dtype)
    offset = _whole(path, known, "header offset", "0")
    refuse_if(offset < 0, path, "a header offset of 0 or more", str(offset), _DAMAGED)
    interleave = known.get("interleave")
    stored = _ORDERS.get(str(interleave).lower())
    if stored is None:
        raise open_error(path, "interleave of bsq, bil or bip", repr(interleave), _DAMAGED)
    sizes = {"c": bands, "y": rows, "x": columns}
    layout = dense([sizes[axis] for axis in stored], dtype, offset)
    return transposed(layout, [stored.index(axis) for axis in "cyx"])


def _data_of(path: str, head: str, named: Any) -> str:
    """Return the data file: the one that was opened, or named, or the one named like the header."""
    if named is not None:
        if not isinstance(named, (str, os.PathLike)):
            raise BadOptionError(f"data must be the path of the data file, got {named!r}")
        return os.path.join(os.path.dirname(head), os.fspath(named))
    if path != head:
        return path
    base = os.path.splitext(head)[0]
    suffixes = [case for suffix in _DATA_SUFFIXES for case in (suffix, suffix.upper())]
    beside = (f"{base}{suffix}" for suffix in suffixes)
    return next(filter(os.path.isfile, beside), f"{base}.img")


def _per_band(known: Mapping[str, Any], bands: int) -> dict[str, list[Any]]:
    """Return what the header says of each band, as numbers where they are."""
    found: dict[str, list[Any]] = {}
    for name in _LISTS:
        values = known.get(name)
        if isinstance(values, list) and len(values) == bands:
            found[name] = list(map(_number, values))
    return found


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _placement(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pixel size of the header: given alone, or with the map."""
    for name, first in (("pixel size", 0), ("map info", 5)):
        values = known.get(name)
        if not isinstance(values, list) or len(values) < first + 2:
            continue
        wide, high, *rest = map(_number, values[first:])
        if _is_size(wide) and _is_size(high):
            texts = (str(value).lower() for value in rest)
            text = next((text for text in texts if "unit" in text), "")
            unit = unit_of(text.split("=")[-1])
            return {"scale": (1.0, high, wide), "units": unit and (None, unit, unit)}
    return {}


def _is_size(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < np.inf
