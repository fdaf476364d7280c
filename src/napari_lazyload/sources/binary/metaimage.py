"""MetaImage volumes (``.mhd`` with its data, ``.mha``), as ITK writes them.

No Python library reads the header without the data, so that the few lines of ``key = value`` are
read here. Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import os
import re
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.affine import placement
from napari_lazyload.core.units import length_unit
from napari_lazyload.sources.binary.compressed import PackedSource
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import (
    MOST_HEADER,
    check_image,
    header_text,
    reading_header,
)
from napari_lazyload.sources.binary.split_files import (
    check_single,
    numbered_names,
    source_of_files,
    stamped_files,
)
from napari_lazyload.sources.binary.strided import (
    StridedFileSource,
    StridedLayout,
    dense,
    samples_first,
)
from napari_lazyload.sources.files import FileStamp, check_options, file_name, open_error, refuse_if

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.sources.opened import OpenResult

METAIMAGE = "MetaImage"
_LINE = re.compile(rb"([^\n]*)(\n|$)")
_LIST = re.compile(r"LIST(?:\s+([0-9]{1,2})D?)?", re.IGNORECASE | re.ASCII)
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_AXES = ("x", "y", "z", "t", *(f"axis{number}" for number in range(5, 40)))
_DAMAGED = "the header is damaged"
_TRUE = ("true", "t", "1", "yes")


def open_metaimage(path: str, **options: Any) -> OpenResult:
    """Open a MetaImage.

    Axes are reversed to z, y, x. Spacing, origin and direction give scale, translation and affine,
    with the world in the order z, y, x. Several channels come first, the colors of an RGB(A) image
    last.

    Parameters
    ----------
    path : str
        ``.mhd`` or ``.mha``; compressed data is unpacked as one chunk.
    **options
        ``outside`` (whether data files may lie outside the header's folder), ``trailing`` (whether
        bytes behind the pixels are expected: no word is said of them then).

    Raises
    ------
    SourceOpenError
        If it is no MetaImage, or a data file is missing or shorter than the header says.
    """
    check_options(options, ("outside", "trailing"), "MetaImage files")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, "a MetaImage header")
    with reading_header(path, "a MetaImage header"):
        header, names, start = _read_header(path)
        layout, axes = _layout(path, header)
        files = [(path, stamp)]
        if names is not None:
            files = stamped_files(path, names, outside=options.get("outside", False))
            start = 0
        placed = _placement(header, axes)
        skip = int(header.get("HeaderSize", 0))
        if skip > 0:  # counted from the beginning of the file, also behind a header
            start = 0
        codec = _codec(path, header)
    source: StridedFileSource | PackedSource
    if codec:
        check_single(path, files)
        begin = start + max(0, skip)
        source = PackedSource(layout, files[0], codec, file_name(path), axes, start=begin, **placed)
    else:
        source = source_of_files(
            path,
            layout,
            axes,
            files,
            start=start,
            skip=skip,
            exact=not options.get("trailing", False),
            **placed,
        )
    fields = dict(header) | {"data_files": len(files), "stored_dtype": str(layout.dtype)}
    return binary_result(path, METAIMAGE, [source], [fields])


def _read_header(path: str) -> tuple[dict[str, str], list[str] | None, int]:
    """Return the fields, the names of data files (None for LOCAL), and where the header ends."""
    with open(path, "rb") as file:
        block = file.read(MOST_HEADER)
    header: dict[str, str] = {}
    for line in _LINE.finditer(block):
        key, equals, value = header_text(line[1]).partition("=")
        if not equals and (line[1].strip() or line.end() == len(block)):
            break
        if not equals:
            continue
        header[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return header, _data_names(path, header, block[line.end() :]), line.end()
    raise open_error(
        path,
        "lines of 'key = value' that end with ElementDataFile",
        f"a file that begins with {block[:16]!r}" if block else "an empty file",
        "export it again",
    )


def _data_names(path: str, header: Mapping[str, str], rest: bytes) -> list[str] | None:
    """Return the names of the data files."""
    text = header["ElementDataFile"]
    if text.upper() == "LOCAL":
        return None
    listed = _LIST.fullmatch(text)
    if listed is None:
        return numbered_names(path, text) or [text]
    sizes = list(map(int, header.get("DimSize", "1").split()))
    count = prod(sizes[int(listed[1] or len(sizes) - 1) :])
    names = [line.strip() for line in header_text(rest).splitlines() if line.strip()]
    refuse_if(
        not 0 < count <= len(names), path, f"{count} names of data files", f"{len(names)}", _DAMAGED
    )
    return names[:count]


def _flag(header: Mapping[str, str], *names: str) -> bool:
    return any(header.get(name, "").lower() in _TRUE for name in names)


def _codec(path: str, header: Mapping[str, str]) -> str:
    if header.get("BinaryData", "True").lower() not in _TRUE:
        return "text"
    if not _flag(header, "CompressedData"):
        return ""
    kind = header.get("CompressionType", "zlib").lower()
    refuse_if(
        kind not in ("zlib", ""),
        path,
        "data compressed by zlib",
        f"by {kind!r}",
        "save it without compression",
    )
    return "zlib"


def _layout(path: str, header: Mapping[str, str]) -> tuple[StridedLayout, tuple[str, ...]]:
    """Return where the pixels are, as they are shown, and the names of the axes."""
    if header.get("ObjectType", "Image").lower() != "image":
        raise open_error(path, "ObjectType = Image", header["ObjectType"], "read it with ITK")
    sizes = tuple(map(int, header["DimSize"].split()))
    if len(sizes) != int(header["NDims"]):
        raise open_error(path, f"{header['NDims']} sizes", f"{len(sizes)}", _DAMAGED)
    kind = header["ElementType"].split()[0].removesuffix("_ARRAY")
    refuse_if(
        kind not in _TYPES,
        path,
        f"an ElementType of {', '.join(_TYPES)}",
        kind,
        "save it with another type",
    )
    big = _flag(header, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    dtype = np.dtype(f"{'>' if big else '<'}{_TYPES[kind]}")
    channels = int(header.get("ElementNumberOfChannels", 1))
    names = _AXES[: len(sizes)][::-1]
    check_image(path, sizes, dtype)
    if channels == 1:
        return dense(sizes[::-1], dtype), names
    stored = dense((*sizes[::-1], channels), dtype)
    check_image(path, stored.shape, dtype)
    if channels in (3, 4) and dtype.itemsize == 1 and len(sizes) == 2:
        return stored, (*names, "s")
    return samples_first(stored), ("c", *names)


def _numbers(header: Mapping[str, str], *names: str) -> list[float] | None:
    for name in names:
        if name in header:
            return list(map(float, header[name].split()))
    return None


def _placement(header: Mapping[str, str], axes: tuple[str, ...]) -> dict[str, Any]:
    """Return scale, translation or affine, and units."""
    ndim = int(header["NDims"])
    names = tuple(axis for axis in axes if axis != "s")
    spatial = tuple(axis for axis in names if axis != "c")
    spacing = _numbers(header, "ElementSpacing", "ElementSize")
    origin = _numbers(header, "Offset", "Position", "Origin")
    matrix = _numbers(header, "TransformMatrix", "Rotation", "Orientation")
    if spacing is None and origin is None and matrix is None:
        return {}
    steps, first, rotation = np.ones(ndim), np.zeros(ndim), np.eye(ndim)
    if spacing is not None and len(spacing) == ndim:
        steps = np.array(spacing)
    if origin is not None and len(origin) == ndim:
        first = np.array(origin)
    if matrix is not None and len(matrix) == ndim**2:
        rotation = np.array(matrix).reshape(ndim, ndim)
    # Row i of the matrix is the direction of axis i.
    directions = (rotation.T * steps)[::-1, ::-1]
    placed: dict[str, Any] = placement(directions, first[::-1], names, spatial)
    unit = length_unit(header.get("DistanceUnits"))
    if unit is not None:
        placed["units"] = tuple(map(dict.fromkeys("xyz", unit).get, names))
    return placed
