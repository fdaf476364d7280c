"""NRRD volumes, attached and detached; the header is read by `pynrrd`.

Format: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.affine import placement
from napari_lazyload.sources.binary.compressed import PackedSource
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import (
    MOST_HEADER,
    check_image,
    gray_axes,
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
    transposed,
)
from napari_lazyload.sources.files import FileStamp, check_options, file_name, open_error, refuse_if

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.sources.opened import OpenResult

NRRD = "NRRD"
_END = re.compile(rb"\r?\n\r?\n")
_CODECS = {
    "raw": "",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
    "ascii": "text",
    "text": "text",
    "txt": "text",
    "hex": "hex",
}
_COLORS = {"RGB-color": 3, "3-color": 3, "RGBA-color": 4, "4-color": 4}
_SAVE_RAW = "save it with encoding: raw"
_DOMAIN = ("domain", "space")


def open_nrrd(path: str, **options: Any) -> OpenResult:
    """Open a NRRD file, or a detached header with its data files.

    Axes are reversed, so that the fastest one comes last. Space directions and origin give scale
    and, where the volume is rotated, an affine matrix with the world's axes reversed too.

    Parameters
    ----------
    path : str
        ``.nrrd`` or ``.nhdr``; data that is compressed or written as text is unpacked as one chunk.
    **options
        ``outside`` (whether data files may lie outside the header's folder), ``trailing`` (whether
        to allow trailing bytes).

    Raises
    ------
    SourceOpenError
        If it is no NRRD file, a data file is missing, or shorter or longer than the header says.
    """
    check_options(options, ("outside", "trailing"), "NRRD files")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, "a NRRD file")
    with reading_header(path, "a NRRD file"):
        header, names, start = _read_header(path)
        shape, dtype, codec = _form(path, header)
        files = [(path, stamp)]
        if names is not None:
            files = stamped_files(path, names, outside=options.get("outside", False))
            start = 0
        layout = dense(shape, dtype)
        axes = _axes(header, shape, layout.dtype)
        placed = _placement(header, axes, shape)
        lines = int(header.get("line skip", header.get("lineskip", 0)))
        start += _skipped_lines(files[0][0], start, lines)
        skip = int(header.get("byte skip", header.get("byteskip", 0)))
    layout, axes = _shown(layout, axes)
    source: StridedFileSource | PackedSource
    if codec:
        check_single(path, files)
        refuse_if(
            skip < -1,
            path,
            "a byte skip of -1 or more before compressed data",
            f"{skip}",
            _SAVE_RAW,
        )
        packed = StridedLayout(layout.shape, layout.dtype, skip, layout.strides)
        source = PackedSource(packed, files[0], codec, file_name(path), axes, start=start, **placed)
    else:
        exact = not options.get("trailing", False)
        source = source_of_files(
            path, layout, axes, files, start=start, skip=skip, exact=exact, **placed
        )
    left_out = ("data file", "datafile")
    fields = {name: value for name, value in header.items() if name not in left_out}
    fields |= {"data_files": len(files), "stored_dtype": str(dtype)}
    return binary_result(path, NRRD, [source], [fields])


def _read_header(path: str) -> tuple[dict[str, Any], list[str] | None, int]:
    """Return the fields, the names of data files, and where the header ends.

    An attached header has None for names.
    """
    import nrrd

    with open(path, "rb") as file:
        block = file.read(MOST_HEADER)
    refuse_if(
        not block.startswith(b"NRRD"),
        path,
        "a NRRD file",
        f"a file that begins with {block[:8]!r}" if block else "an empty file",
        "export it again",
    )
    end = _END.search(block)
    if end is None and len(block) == MOST_HEADER:
        raise open_error(
            path, "a header that ends with an empty line", "none", "it is damaged: export it again"
        )
    text, stop = block, len(block)
    if end is not None:
        text, stop = block[: end.start()], end.end()
    lines = [line.rstrip("\r") for line in header_text(text).split("\n")]
    lines = [line for line in lines if not _is_disguised(line)]
    lines, names = _split_data_files(path, lines)
    return dict(nrrd.read_header(lines)), names, stop


def _is_disguised(line: str) -> bool:
    """Whether a line is a key with a value (``key:=value``) whose key is the name of a field.

    It says nothing of the image. pynrrd would take it for the field.
    """
    key, assigned, _ = line.partition(":=")
    return bool(assigned) and ":" not in key and key.strip().lower() in _FIELDS


def _split_data_files(path: str, lines: list[str]) -> tuple[list[str], list[str] | None]:
    """Return the lines without those that name data files, and these names."""
    for number, line in enumerate(lines):
        field = re.match(r"data ?file\s*:(?!=)\s*(.*)", line.strip(), re.IGNORECASE)
        if field and re.match(r"LIST\b", field[1]):
            return lines[:number], [name for name in lines[number + 1 :] if name.strip()]
        if field:
            names = numbered_names(path, field[1])
            rest = [*lines[:number], *lines[number + 1 :]]
            return rest, [field[1]] if names is None else names
    return lines, None


def _form(path: str, header: Mapping[str, Any]) -> tuple[tuple[int, ...], np.dtype[Any], str]:
    """Return shape (fastest axis last), stored type and codec."""
    from nrrd.reader import _TYPEMAP_NRRD2NUMPY as TYPES  # pynrrd has no public name for it

    encoding = str(header.get("encoding", "")).lower()
    refuse_if(
        encoding not in _CODECS,
        path,
        f"an encoding of {', '.join(_CODECS)}",
        repr(encoding),
        _SAVE_RAW,
    )
    shape = tuple(map(int, header["sizes"]))[::-1]
    if len(shape) != int(header["dimension"]):
        raise open_error(
            path, f"{header['dimension']} sizes", f"{len(shape)}", "the header is damaged"
        )
    kind = TYPES.get(str(header["type"]).lower())
    if kind is None or kind == "V":
        raise open_error(
            path, "a type of numbers", repr(header["type"]), "save it with another type"
        )
    dtype = np.dtype(kind)
    check_image(path, shape, dtype)
    if dtype.itemsize > 1 and _CODECS[encoding] != "text":
        orders = {"little": "<", "big": ">"}
        endian = str(header.get("endian", "")).lower()
        refuse_if(
            endian not in orders,
            path,
            "endian: little or big",
            repr(endian),
            "add it to the header",
        )
        dtype = dtype.newbyteorder(orders[endian])
    return shape, dtype, _CODECS[encoding]


def _skipped_lines(path: str, start: int, count: int) -> int:
    """Return how many bytes the first lines of the data have."""
    if count <= 0:
        return 0
    with open(path, "rb") as file:
        file.seek(start)
        block = file.read(MOST_HEADER)
    end = -1
    for _ in range(min(count, len(block) + 1)):
        end = block.find(b"\n", end + 1)
        refuse_if(
            end < 0,
            path,
            f"{count} lines before the data",
            "fewer",
            "check the line skip of the header",
        )
    return end + 1


def _axes(
    header: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[str, ...]:
    """Return the names of the axes, slowest first, as they are stored."""
    ndim = len(shape)
    kinds = list(map(str, header.get("kinds") or ()))[::-1]
    if len(kinds) != ndim:
        kinds = [""] * ndim
    directions = header.get("space directions")
    spatial = [_is_space(directions, ndim - 1 - axis, kinds[axis]) for axis in range(ndim)]
    if not any(kinds) and directions is None:
        return gray_axes(shape)  # a file of colors says so itself, by its kinds
    names = [""] * ndim
    room = list("xyz")
    for axis in reversed(range(ndim)):
        if spatial[axis] and room:
            names[axis] = room.pop(0)
        elif _COLORS.get(kinds[axis]) == shape[axis] and dtype.itemsize <= 2 and "s" not in names:
            names[axis] = "s"
        else:
            is_time = kinds[axis] == "time" or (spatial[axis] and not room)
            base = "ct"[is_time]
            names[axis] = base if base not in names else f"axis{axis}"
    return tuple(names)


def _is_space(directions: Any, number: int, kind: str) -> bool:
    """Whether an axis of the file lies in space."""
    if kind and kind not in _DOMAIN and kind != "???":
        return False
    if directions is None:
        return kind in _DOMAIN
    return _is_finite(directions[number])


def _is_finite(direction: Any) -> bool:
    """Whether a direction is given, in numbers."""
    return direction is not None and bool(np.isfinite(np.asarray(direction, float)).all())


def _shown(layout: StridedLayout, axes: tuple[str, ...]) -> tuple[StridedLayout, tuple[str, ...]]:
    """Return the layout with colors last, and channels before the plane."""
    order = sorted(range(len(axes)), key=lambda axis: _PLACES.get(axes[axis], -1))
    return transposed(layout, order), tuple(axes[axis] for axis in order)


# fmt: off
_FIELDS = frozenset((
    "type", "dimension", "sizes", "encoding", "endian", "space", "space dimension",
    "space directions", "space origin", "space units", "spacings", "axis mins", "units", "kinds",
    "centers", "centerings", "byte skip", "byteskip", "line skip", "lineskip", "data file",
    "datafile",
))
# fmt: on
"""Names of fields that are read (Teem, "Definition of NRRD File Format", section 5)."""

_PLACES = {"t": 0, "c": 1, "z": 2, "y": 3, "x": 4, "s": 5}


def _placement(
    header: Mapping[str, Any], stored: tuple[str, ...], shape: tuple[int, ...]
) -> dict[str, Any]:
    """Return scale, translation or affine, and units, for the axes as they are shown."""
    shown = sorted(stored, key=lambda axis: _PLACES.get(axis, -1))
    names = tuple(axis for axis in shown if axis != "s")
    directions = header.get("space directions")
    steps = {} if directions is None else _steps(directions, stored)
    spatial = tuple(axis for axis in names if axis in steps)
    if not spatial:
        return _spaced(header, stored, names, shape)
    matrix = np.stack([steps[axis] for axis in spatial], axis=1)
    origin = header.get("space origin")
    first = np.zeros(len(matrix)) if origin is None else np.asarray(origin, float)[::-1]
    placed: dict[str, Any] = placement(matrix, first, names, spatial)
    units = header.get("space units")
    if units is not None and matrix.shape[0] == len(spatial):
        placed["units"] = _units(units, spatial, names)
    return placed


def _units(units: Any, axes: tuple[str, ...], names: tuple[str, ...]) -> tuple[str | None, ...]:
    """Return the units of the axes `names`, from those of `axes` as the header has them."""
    known = dict(zip(axes, list(units)[::-1], strict=False))
    return tuple(str(known.get(axis, "")).strip('"') or None for axis in names)


def _steps(directions: Any, stored: tuple[str, ...]) -> dict[str, np.ndarray[Any, Any]]:
    """Return the step along each axis in space, or time, with the world's axes reversed."""
    steps = {}
    for axis, direction in zip(stored, list(directions)[::-1], strict=False):
        if axis in ("t", "z", "y", "x") and _is_finite(direction):
            steps[axis] = np.asarray(direction, float)[::-1]
    if "t" in steps and len(steps["t"]) < len(steps):
        del steps["t"]
    return steps


def _spaced(
    header: Mapping[str, Any],
    stored: tuple[str, ...],
    names: tuple[str, ...],
    shape: tuple[int, ...],
) -> dict[str, Any]:
    """Return the placement that spacings and the first positions along the axes give."""
    spacings = _finite(header, "spacings", stored)
    lowest = _finite(header, "axis mins", stored)
    highest = _finite(header, "axis maxs", stored)
    centers = header.get("centers", header.get("centerings", ()))
    if isinstance(centers, str):
        centers = centers.split()
    centered: dict[str, str] = {}
    if len(centers) == len(stored):
        centered = dict(zip(stored, list(centers)[::-1], strict=True))
    for axis, size in zip(stored, shape, strict=True):
        parts = {"cell": size, "node": size - 1}.get(centered.get(axis, ""), 0)
        if axis not in spacings and {axis} <= lowest.keys() & highest.keys() and parts > 0:
            spacings[axis] = (highest[axis] - lowest[axis]) / parts
        if axis in lowest and centered.get(axis) == "cell":  # where the first cell begins
            lowest[axis] += spacings.get(axis, 1.0) / 2
    placed: dict[str, Any] = {}
    if spacings:
        placed["scale"] = tuple(spacings.get(axis, 1.0) for axis in names)
    if lowest:
        placed["translate"] = tuple(lowest.get(axis, 0.0) for axis in names)
    units = header.get("units")
    if units is not None and len(units) == len(stored):
        placed["units"] = _units(units, stored, names)
    return placed


def _finite(header: Mapping[str, Any], field: str, stored: tuple[str, ...]) -> dict[str, float]:
    """Return the numbers that a field gives for the axes."""
    values = header.get(field, header.get(field.replace(" ", "")))
    if values is None or len(values) != len(stored):
        return {}
    known = zip(stored, map(float, list(values)[::-1]), strict=True)
    return {axis: value for axis, value in known if np.isfinite(value)}
