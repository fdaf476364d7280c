"""MRC and CCP4 maps and stacks; the header is read with the types and rules of `mrcfile`.

Format: https://www.ccpem.ac.uk/mrc_format/mrc2014.php
"""

from __future__ import annotations

import bz2
import gzip
import os
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.binary.compressed import PackedSource, packed_notes
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.read_strided import check_extent
from napari_lazyload.sources.binary.strided import StridedFileSource, StridedLayout, dense
from napari_lazyload.sources.files import FileStamp, check_options, file_name, open_error

if TYPE_CHECKING:
    from napari_lazyload.sources.opened import OpenResult

MRC = "MRC"
_HEADER = 1024
_MOST_EXTENDED = 1 << 28
_IMAGE_STACK = 0
_VOLUME_STACKS = range(401, 631)
_BYTES = 0
_IMOD, _STAMP_IN_EXTRA = 1146047817, 40
_SIGNED, _HALF_BYTES = 1, 16
"""Flags that IMOD leaves beside its stamp (https://bio3d.colorado.edu/imod/doc/mrc_format.txt)."""

_OPENERS = {"gzip": gzip.open, "bzip2": bz2.open, "": open}


def open_mrc(path: str, **options: Any) -> OpenResult:
    """Open an MRC file: a volume, a stack of images or of volumes.

    Axes are put in the order z, y, x (MAPC, MAPR, MAPS), with the voxel size in Angstrom and the
    origin. Stacks whose extended header describes each frame (FEI1, FEI2) have a row of the table
    for each.

    Parameters
    ----------
    path : str
        The file; compressed by gzip or bzip2 it is unpacked as one chunk.
    **options
        ``trailing`` (whether bytes behind the pixels are put up with).

    Raises
    ------
    SourceOpenError
        If it is no MRC file, of a mode that is not known, or shorter or longer than its header
        says.
    """
    check_options(options, ("trailing",), "MRC files")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, "an MRC file")
    codec = _codec(path)
    opener: Any = _OPENERS[codec]
    with reading_header(path, "an MRC file"), opener(path, "rb") as file:
        header, order = _read_header(path, file.read(_HEADER))
        layout, axes = _layout(path, header, order)
        frames = _frame_headers(file, header, order, axes, layout.shape)
    if not codec:
        check_extent(path, stamp.size, layout.end, exact=not options.get("trailing", False))
    source = _source(
        path, stamp, codec, layout, axes=axes, header=header, row_axes=int(bool(frames))
    )
    if not source.row_map.axes:
        frames = {}
    return binary_result(
        path, MRC, [source], [_fields(header, layout) | frames], notes=packed_notes(source)
    )


def _codec(path: str) -> str:
    with reading_header(path, "an MRC file"), open(path, "rb") as file:
        start = file.read(3)
    return "gzip" if start[:2] == b"\x1f\x8b" else "bzip2" if start == b"BZh" else ""


def _read_header(path: str, block: bytes) -> tuple[Any, str]:
    """Return the header, and the byte order of the file."""
    from mrcfile import utils
    from mrcfile.dtypes import HEADER_DTYPE

    if len(block) < _HEADER:
        raise open_error(
            path,
            f"an MRC header of {_HEADER} bytes",
            f"{len(block)} bytes",
            "it is truncated: copy it again",
        )
    plain = np.frombuffer(block, HEADER_DTYPE)[0]
    try:
        stamped = str(utils.byte_order_from_machine_stamp(plain["machst"]))
    except ValueError:  # older software left the stamp empty
        stamped = "<"
    found = []
    for order in sorted("<>", key=lambda one: one != stamped):
        header = np.rec.array(np.frombuffer(block, HEADER_DTYPE.newbyteorder(order)))[0]
        sizes = [int(header[name]) for name in ("nx", "ny", "nz")]
        if 0 <= int(header["mode"]) < 1000 and all(0 < size < 1 << 30 for size in sizes):
            found.append((max(sizes), header, order))
    if found:
        # Some software leaves a wrong stamp; read in the wrong order, sizes come out far larger.
        return min(found, key=lambda one: one[0])[1:]
    sizes = [int(plain[name]) for name in ("nx", "ny", "nz", "mode")]
    raise open_error(
        path,
        "an MRC file",
        f"sizes and mode of {tuple(sizes)}",
        "it is damaged or of another format",
    )


def _layout(path: str, header: Any, order: str) -> tuple[StridedLayout, tuple[str, ...]]:
    """Return where the pixels are, in the order in which they are shown, and the names of the axes."""
    from mrcfile import utils

    mode = int(header["mode"])
    try:
        dtype = _bytes_type(path, header, order) or np.dtype(
            utils.dtype_from_mode(mode)
        ).newbyteorder(order)
    except ValueError as err:
        hint = "convert it to mode 2 (float32) or 1 (int16)"
        raise open_error(path, "mode 0, 1, 2, 4, 6 or 12", f"mode {mode}", hint) from err
    shape = _shape(header)
    extended = int(header["nsymbt"])
    if extended < 0:
        raise open_error(
            path,
            "an extended header of 0 bytes or more",
            f"{extended} bytes",
            "the header is damaged",
        )
    layout = dense(shape, dtype, _HEADER + extended)
    check_image(path, shape, layout.dtype)
    if int(header["ispg"]) == _IMAGE_STACK:
        return layout, ("frame", "y", "x")[-len(shape) :]
    names = _axis_names(header)
    stored = (*("volume",) * (len(shape) - 3), *names)
    shown = (*("volume",) * (len(shape) - 3), "z", "y", "x")
    places = [stored.index(axis) for axis in shown]
    moved = StridedLayout(tuple(shape[place] for place in places), layout.dtype, layout.offset, ())
    return StridedLayout(
        moved.shape, moved.dtype, moved.offset, tuple(layout.strides[place] for place in places)
    ), shown


def _bytes_type(path: str, header: Any, order: str) -> np.dtype[Any] | None:
    """Return unsigned bytes where the header says that pixels of mode 0 are such, None where the mode tells the type.

    They have a sign by the standard of 2014, and had none in IMOD before. Its files say which by a
    flag, others by a highest value that no signed byte has.
    """
    if int(header["mode"]) != _BYTES:
        return None
    stamp, flags = np.frombuffer(header["extra2"].tobytes(), f"{order}i4", 2, _STAMP_IN_EXTRA)
    if stamp == _IMOD:
        if flags & _HALF_BYTES:
            raise open_error(
                path,
                "a byte for each pixel",
                "two pixels in a byte",
                "unpack it with clip, of IMOD",
            )
        return None if flags & _SIGNED else np.dtype(np.uint8)
    low, high = float(header["dmin"]), float(header["dmax"])
    return np.dtype(np.uint8) if low >= 0 and 127 < high <= 255 else None


def _shape(header: Any) -> tuple[int, ...]:
    """Return the shape as `mrcfile` has it; where the sections are not whole volumes it is one volume."""
    from mrcfile import utils

    sections, each = int(header["nz"]), int(header["mz"])
    if int(header["ispg"]) in _VOLUME_STACKS and (each < 1 or sections % each):
        return sections, int(header["ny"]), int(header["nx"])
    return tuple(map(int, utils.data_shape_from_header(header)))


def _axis_names(header: Any) -> tuple[str, ...]:
    """Return the names of sections, rows and columns."""
    order = tuple(int(header[name]) for name in ("maps", "mapr", "mapc"))
    return (
        tuple("xyz"[number - 1] for number in order)
        if sorted(order) == [1, 2, 3]
        else ("z", "y", "x")
    )


def _placed(header: Any, axes: tuple[str, ...]) -> dict[str, Any]:
    """Return voxel size and origin, in Angstrom."""
    starts = dict(zip(_axis_names(header), ("nzstart", "nystart", "nxstart"), strict=True))
    origin = [float(header["origin"][axis]) for axis in "xyz"]
    known: dict[str, float] = {}
    first: dict[str, float] = {}
    for axis, begin in zip("xyz", origin, strict=True):
        length, count = float(header["cella"][axis]), int(header[f"m{axis}"])
        if np.isfinite(length) and length > 0 and count > 0 and axis in axes:
            known[axis] = float(np.float32(length) / np.float32(count))  # as mrcfile has it
            start = (
                begin
                if any(origin) and np.isfinite(origin).all()
                else int(header[starts[axis]]) * known[axis]
            )
            first[axis] = start
    if not known or ("frame" in axes and not {"x", "y"} <= known.keys()):
        return {}
    return {
        "scale": tuple(known.get(axis, 1.0) for axis in axes),
        "translate": tuple(first.get(axis, 0.0) for axis in axes),
        "units": tuple("angstrom" if axis in known else None for axis in axes),
    }


def _source(
    path: str,
    stamp: FileStamp,
    codec: str,
    layout: StridedLayout,
    *,
    axes: tuple[str, ...],
    header: Any,
    row_axes: int,
) -> StridedFileSource | PackedSource:
    meta = _placed(header, axes) | _limits(header, layout)
    if codec:
        return PackedSource(layout, (path, stamp), codec, file_name(path), axes, **meta)
    return StridedFileSource(
        layout, [(path, stamp)], file_name(path), axes, row_axes=row_axes, **meta
    )


def _limits(header: Any, layout: StridedLayout) -> dict[str, Any]:
    """Return the contrast limits that the header tells; where they were not worked out, the lowest is not lowest."""
    low, high, mean = (float(header[name]) for name in ("dmin", "dmax", "dmean"))
    if layout.dtype.kind == "c" or not (
        np.isfinite([low, high]).all() and low < high and low <= mean <= high
    ):
        return {}
    return {"contrast_limits": (low, high)}


def _frame_headers(
    file: IO[bytes], header: Any, order: str, axes: tuple[str, ...], shape: tuple[int, ...]
) -> dict[str, Any]:
    """Return what an extended header says of each frame; nothing where it is of another kind."""
    from mrcfile import dtypes

    kind, nbytes = bytes(header["exttyp"]), int(header["nsymbt"])
    if (
        kind not in (b"FEI1", b"FEI2")
        or len(shape) != 3
        or not 0 < nbytes <= _MOST_EXTENDED
        or axes[0] not in ("frame", "z")
    ):
        return {}
    dtype = np.dtype(dtypes.get_ext_header_dtype(kind, order))
    block = file.read(nbytes)
    step = (
        int(np.frombuffer(block, f"{order}i4", 1)[0]) if len(block) >= 4 else 0
    )  # "Metadata size": each record's own
    if step < dtype.itemsize or len(block) < step * shape[0]:
        return {}
    # A record may be longer than what is known of it.
    found = np.ndarray((shape[0],), dtype, block, strides=(step,))
    columns = {}
    for name in dtype.names:
        values = found[name]
        if (
            values.ndim == 1
            and values.dtype.kind in "iufSb"
            and np.any(values != np.zeros(1, values.dtype))
        ):
            columns[name] = list(values)
    return columns


def _fields(header: Any, layout: StridedLayout) -> dict[str, Any]:
    """Return the header for the table."""
    fields: dict[str, Any] = {"data_offset": layout.offset, "stored_dtype": str(layout.dtype)}
    for name in (
        "mode",
        "ispg",
        "nsymbt",
        "exttyp",
        "dmin",
        "dmax",
        "dmean",
        "rms",
        "mapc",
        "mapr",
        "maps",
    ):
        fields[name] = header[name]
    fields |= {f"m{axis}": header[f"m{axis}"] for axis in "xyz"}
    fields |= {f"cell_{axis} (angstrom)": float(header["cella"][axis]) for axis in "xyz"}
    fields |= {f"origin_{axis} (angstrom)": float(header["origin"][axis]) for axis in "xyz"}
    labels = [bytes(label).split(b"\0")[0].decode("latin-1").strip() for label in header["label"]]
    fields["labels"] = "; ".join(filter(None, labels[: max(0, min(10, int(header["nlabl"])))]))
    return fields
