"""ENVI images: a text header (``.hdr``) beside raw data in bsq, bil or bip order; the header is read by `spectral`."""

from __future__ import annotations

import codecs
import os
import tempfile
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.units import unit_of
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.read_strided import check_extent, dense_strides
from napari_lazyload.sources.binary.strided import StridedFileSource, StridedLayout
from napari_lazyload.sources.files import (
    BadOptionError,
    FileStamp,
    check_options,
    file_name,
    open_error,
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


def takes_envi(path: str) -> bool:
    """Return whether a path is an ENVI header, or data that has one beside it."""
    head = header_of(path)
    if head is None or not os.path.isfile(head) or os.path.isdir(path):
        return False
    try:
        with open(head, "rb") as file:
            start = file.read(len(codecs.BOM_UTF8 + _SIGN))
    except OSError:
        return False
    return start.removeprefix(codecs.BOM_UTF8).startswith(_SIGN)


def header_of(path: str) -> str | None:
    """Return the path of the header that belongs to a path, or None where there is none."""
    if path.lower().endswith(".hdr"):
        return path
    stems = (path, os.path.splitext(path)[0])
    found = [
        f"{stem}{suffix}"
        for stem in stems
        for suffix in (".hdr", ".HDR")
        if os.path.isfile(f"{stem}{suffix}")
    ]
    return found[0] if found else None


def open_envi(path: str, **options: Any) -> OpenResult:
    """Open an ENVI image. Its axes are bands, lines and samples, whatever the order of storage.

    Parameters
    ----------
    path : str
        The header, or the data.
    **options
        ``data`` (the data file, where it is not named like the header), ``trailing`` (whether bytes
        behind the pixels are put up with).

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
    check_extent(data, stamp.size, layout.end, exact=not options.get("trailing", False))
    with reading_header(head, "an ENVI header"):
        more, rows = _per_band(known, layout.shape[0]), _placed(known)
    row_axes = int(bool(more))
    source = StridedFileSource(
        layout, [(data, stamp)], file_name(data), (_BANDS, "y", "x"), row_axes=row_axes, **rows
    )
    fields = {name: value for name, value in known.items() if name not in more}
    fields |= {"data_file": file_name(data), "stored_dtype": str(layout.dtype)} | more
    return binary_result(path, ENVI, [source], [fields])


def _read_header(path: str) -> dict[str, Any]:
    from spectral.io import envi

    with open(path, "rb") as file:
        content = file.read(_MOST_HEADER + 1)
    if len(content) > _MOST_HEADER:
        raise open_error(
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
    """Yield a header in plain ASCII: where `spectral` cannot read a character it leaves the file open."""
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
        raise open_error(
            path, f"a whole number for {name!r}", repr(value), "the header is damaged"
        ) from err


def _layout(path: str, known: Mapping[str, Any]) -> StridedLayout:
    """Return where the pixels are, as bands, lines and samples."""
    from spectral.io.envi import envi_to_dtype

    if _whole(path, known, "file compression", "0"):
        raise open_error(
            path, "data without compression", "file compression = 1", "save it without compression"
        )
    code = str(known.get("data type"))
    if code not in envi_to_dtype:
        raise open_error(
            path, f"a data type of {', '.join(envi_to_dtype)}", code, "the header is damaged"
        )
    order = _whole(path, known, "byte order", "0")
    if order not in (0, 1):
        raise open_error(path, "byte order 0 or 1", str(order), "the header is damaged")
    dtype = np.dtype(envi_to_dtype[code]).newbyteorder("<" if order == 0 else ">")
    columns, rows, bands = (_whole(path, known, name) for name in _WHOLE)
    check_image(path, (bands, rows, columns), dtype)
    offset = _whole(path, known, "header offset", "0")
    if offset < 0:
        raise open_error(path, "a header offset of 0 or more", str(offset), "the header is damaged")
    stored = {"bsq": "cyx", "bil": "ycx", "bip": "yxc"}.get(
        str(known.get("interleave", "")).lower()
    )
    if stored is None:
        raise open_error(
            path,
            "interleave of bsq, bil or bip",
            repr(known.get("interleave")),
            "the header is damaged",
        )
    sizes = {"c": bands, "y": rows, "x": columns}
    steps = dict(
        zip(stored, dense_strides([sizes[axis] for axis in stored], dtype.itemsize), strict=True)
    )
    return StridedLayout(
        (bands, rows, columns), dtype, offset, tuple(steps[axis] for axis in "cyx")
    )


def _data_of(path: str, head: str, named: Any) -> str:
    """Return the data file: the one that was opened, or named, or the one named like the header."""
    if named is not None:
        if not isinstance(named, (str, os.PathLike)):
            msg = f"data must be the path of the data file, got {named!r}"
            raise BadOptionError(msg)
        return os.path.join(os.path.dirname(head), os.fspath(named))
    if path != head:
        return path
    base = os.path.splitext(head)[0]
    beside = [
        f"{base}{suffix}"
        for lower in _DATA_SUFFIXES
        for suffix in dict.fromkeys((lower, lower.upper()))
    ]
    return next((one for one in beside if os.path.isfile(one)), f"{base}.img")


def _per_band(known: Mapping[str, Any], bands: int) -> dict[str, list[Any]]:
    """Return what the header says of each band, as numbers where they are."""
    found: dict[str, list[Any]] = {}
    for name in _LISTS:
        values = known.get(name)
        if isinstance(values, list) and len(values) == bands:
            found[name] = [_number(value) for value in values]
    return found


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _placed(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pixel size that the header tells: by itself, or among what it says of the map."""
    for name, first in (("pixel size", 0), ("map info", 5)):
        said = known.get(name)
        if not isinstance(said, list) or len(said) < first + 2:
            continue
        wide, high = (_number(size) for size in said[first : first + 2])
        if (
            isinstance(wide, float)
            and isinstance(high, float)
            and 0 < wide < np.inf
            and 0 < high < np.inf
        ):
            units = [
                str(one).split("=")[-1].strip().lower()
                for one in said[first + 2 :]
                if "unit" in str(one).lower()
            ]
            unit = unit_of(units[0]) if units else None
            return {"scale": (1.0, high, wide), "units": (None, unit, unit) if unit else None}
    return {}
