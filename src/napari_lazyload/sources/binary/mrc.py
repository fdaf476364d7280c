"""MRC and CCP4 maps and stacks; the header is read with the types and rules of `mrcfile`.

Format: https://www.ccpem.ac.uk/mrc_format/mrc2014.php
"""

from __future__ import annotations

import bz2
import gzip
import operator
import os
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.strided import (
    StridedLayout,
    dense,
    transposed,
)
from napari_lazyload.sources.files import FileStamp, check_options, file_name, open_error, refuse_if

if TYPE_CHECKING:
    from napari_lazyload.sources.opened import OpenResult

MRC = "MRC"
_HEADER = 1024
_MOST_EXTENDED = 1 << 28
_IMAGE_STACK = 0
_STACKS = (".st", ".mrcs", ".ali")
_VOLUME_STACKS = range(401, 631)
_BYTES = 0
_IMOD, _STAMP_IN_EXTRA = 1146047817, 40
_SIGNED, _HALF_BYTES = 1, 16
"""Flags that IMOD leaves beside its stamp (https://bio3d.colorado.edu/imod/doc/mrc_format.txt)."""

_FIELDS = (
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
    "mx",
    "my",
    "mz",
)
"""Fields of the header that the table shows as they are."""

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
        ``trailing`` (whether to allow trailing bytes).

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
    meta = _placement(header, axes) | _limits(header, layout)
    fields = _fields(header, layout)
    if frames and not codec:
        meta["row_axes"] = 1
        fields |= frames
    meta["exact"] = not options.get("trailing", False)
    source = file_source(layout, (path, stamp), codec, file_name(path), axes, **meta)
    return binary_result(path, MRC, [source], [fields])


def _codec(path: str) -> str:
    with reading_header(path, "an MRC file"), open(path, "rb") as file:
        start = file.read(3)
    if start == b"BZh":
        return "bzip2"
    return "gzip" if start[:2] == b"\x1f\x8b" else ""


def _read_header(path: str, block: bytes) -> tuple[Any, str]:
    """Return the header, and the byte order of the file."""
    from mrcfile import utils
    from mrcfile.dtypes import HEADER_DTYPE

    refuse_if(
        len(block) < _HEADER,
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
    for order in sorted("<>", key=stamped.__ne__):
        header = np.rec.array(np.frombuffer(block, HEADER_DTYPE.newbyteorder(order)))[0]
        sizes = [int(header[name]) for name in ("nx", "ny", "nz")]
        if 0 <= int(header["mode"]) < 1000 and 0 < min(sizes) <= max(sizes) < 1 << 30:
            found.append((max(sizes), header, order))
    if found:
        # Some software leaves a wrong stamp; read in the wrong order, sizes come out far larger.
        return min(found, key=operator.itemgetter(0))[1:]
    raise open_error(
        path,
        "an MRC file",
        f"sizes and mode of {tuple(int(plain[name]) for name in ('nx', 'ny', 'nz', 'mode'))}",
        "it is damaged or of another format",
    )


def _layout(path: str, header: Any, order: str) -> tuple[StridedLayout, tuple[str, ...]]:
    """Return where the pixels are, in the order in which they are shown, and names of axes."""
    from mrcfile import utils

    mode = int(header["mode"])
    try:
        dtype = np.dtype(utils.dtype_from_mode(mode)).newbyteorder(order)
        if mode == _BYTES and _is_unsigned(path, header, order):
            dtype = np.dtype(np.uint8)
    except ValueError as err:
        raise open_error(
            path,
            "mode 0, 1, 2, 4, 6 or 12",
            f"mode {mode}",
            "convert it to mode 2 (float32) or 1 (int16)",
        ) from err
    shape = _shape(header)
    extended = int(header["nsymbt"])
    refuse_if(
        extended < 0,
        path,
        "an extended header of 0 bytes or more",
        f"{extended} bytes",
        "the header is damaged",
    )
    layout = dense(shape, dtype, _HEADER + extended)
    check_image(path, shape, layout.dtype)
    if _is_stack(path, header):
        return layout, ("frame", "y", "x")[-len(shape) :]
    lead = ("volume",) * (len(shape) - 3)
    stored, shown = (*lead, *_axis_names(header)), (*lead, "z", "y", "x")
    return transposed(layout, [stored.index(axis) for axis in shown]), shown


def _is_stack(path: str, header: Any) -> bool:
    """Whether sections are images apart, such as particles or a tilt series.

    Before the standard of 2014, volumes had space group 0 as well; they count as many sections in
    the cell as there are. So do some tilt series, which their suffix tells.
    """
    if int(header["ispg"]) != _IMAGE_STACK:
        return False
    cell = int(header["mz"]) == int(header["nz"]) > 1 and float(header["cella"]["z"]) > 0
    stem = path.lower().removesuffix(".gz").removesuffix(".bz2")
    return not cell or stem.endswith(_STACKS)


def _is_unsigned(path: str, header: Any, order: str) -> bool:
    """Whether the bytes of mode 0 have no sign.

    They have a sign by the standard of 2014, and had none in IMOD before. Its files say which by a
    flag, others by a highest value that no signed byte has.
    """
    stamp, flags = np.frombuffer(header["extra2"].tobytes(), f"{order}i4", 2, _STAMP_IN_EXTRA)
    if stamp == _IMOD:
        refuse_if(
            flags & _HALF_BYTES,
            path,
            "a byte for each pixel",
            "two pixels in a byte",
            "unpack it with clip, of IMOD",
        )
        return not flags & _SIGNED
    return float(header["dmin"]) >= 0 and 127 < float(header["dmax"]) <= 255


def _shape(header: Any) -> tuple[int, ...]:
    """Return the shape as `mrcfile` has it; sections that are not whole volumes are one volume."""
    from mrcfile import utils

    sections, each = int(header["nz"]), int(header["mz"])
    if int(header["ispg"]) in _VOLUME_STACKS and (each < 1 or sections % each):
        return sections, int(header["ny"]), int(header["nx"])
    return tuple(map(int, utils.data_shape_from_header(header)))


def _axis_names(header: Any) -> tuple[str, ...]:
    """Return the names of sections, rows and columns."""
    order = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if sorted(order) != [1, 2, 3]:
        return ("z", "y", "x")
    return tuple("xyz"[number - 1] for number in order)


def _placement(header: Any, axes: tuple[str, ...]) -> dict[str, Any]:
    """Return voxel size and origin, in Angstrom."""
    starts = dict(zip(_axis_names(header), ("nzstart", "nystart", "nxstart"), strict=True))
    origin = [float(header["origin"][axis]) for axis in "xyz"]
    has_origin = any(origin) and np.isfinite(origin).all()
    known: dict[str, float] = {}
    first: dict[str, float] = {}
    for axis, begin in zip("xyz", origin, strict=True):
        length, count = float(header["cella"][axis]), int(header[f"m{axis}"])
        if np.isfinite(length) and length > 0 and count > 0 and axis in axes:
            known[axis] = float(np.float32(length) / np.float32(count))  # as mrcfile has it
            first[axis] = begin if has_origin else int(header[starts[axis]]) * known[axis]
    if not known or ("frame" in axes and not {"x", "y"} <= known.keys()):
        return {}
    scale = tuple(known.get(axis, 1.0) for axis in axes)
    translate = tuple(first.get(axis, 0.0) for axis in axes)
    units = tuple(map(dict.fromkeys(known, "angstrom").get, axes))
    return {"scale": scale, "translate": translate, "units": units}


def _limits(header: Any, layout: StridedLayout) -> dict[str, Any]:
    """Return the contrast limits of the header; those that were never computed are in disorder."""
    low, mean, high = (float(header[name]) for name in ("dmin", "dmean", "dmax"))
    ordered = -np.inf < low <= mean <= high < np.inf and low < high
    return {"contrast_limits": (low, high)} if ordered and layout.dtype.kind != "c" else {}


def _frame_headers(
    file: IO[bytes], header: Any, order: str, axes: tuple[str, ...], shape: tuple[int, ...]
) -> dict[str, Any]:
    """Return the columns of an extended header, a row for each frame; none for other kinds."""
    from mrcfile import dtypes

    kind, nbytes = bytes(header["exttyp"]), int(header["nsymbt"])
    of_frames = kind in (b"FEI1", b"FEI2") and len(shape) == 3 and axes[0] in ("frame", "z")
    if not of_frames or not 4 <= nbytes <= _MOST_EXTENDED:
        return {}
    dtype = np.dtype(dtypes.get_ext_header_dtype(kind, order))
    block = file.read(nbytes).ljust(4, b"\0")
    step = int(np.frombuffer(block, f"{order}i4", 1)[0])  # "Metadata size": of each record
    if step < dtype.itemsize or len(block) < step * shape[0]:
        return {}
    # A record may be longer than what is known of it.
    found = np.ndarray((shape[0],), dtype, block, strides=(step,))
    columns = {}
    for name in dtype.names:
        values = found[name]
        is_plain = values.ndim == 1 and values.dtype.kind in "iufSb"
        if is_plain and np.any(values != np.zeros(1, values.dtype)):
            columns[name] = list(values)
    return columns


def _fields(header: Any, layout: StridedLayout) -> dict[str, Any]:
    """Return the header for the table."""
    fields: dict[str, Any] = {"data_offset": layout.offset, "stored_dtype": str(layout.dtype)}
    for name in _FIELDS:
        fields[name] = header[name]
    fields |= {f"cell_{axis} (angstrom)": float(header["cella"][axis]) for axis in "xyz"}
    fields |= {f"origin_{axis} (angstrom)": float(header["origin"][axis]) for axis in "xyz"}
    labels = [bytes(label).split(b"\0")[0].decode("latin-1").strip() for label in header["label"]]
    fields["labels"] = "; ".join(filter(None, labels[: max(0, min(10, int(header["nlabl"])))]))
    return fields
