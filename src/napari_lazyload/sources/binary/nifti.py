"""NIfTI-1, NIfTI-2, Analyze 7.5 and MGH volumes; the header is read by `nibabel`."""

from __future__ import annotations

import gzip
import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.affine import placement
from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.records import pick_field
from napari_lazyload.sources.binary.strided import StridedLayout, dense
from napari_lazyload.sources.binary.strided_chunks import Linear
from napari_lazyload.sources.files import FileStamp, check_options, file_name, open_error

if TYPE_CHECKING:
    from napari_lazyload.sources.opened import OpenResult

NIFTI = "NIfTI"
_BLOCK = 1024
_GZIP = b"\x1f\x8b"
_AXES = ("x", "y", "z", "t", "c", "axis6", "axis7")
_SPACE = {1: "meter", 2: "millimeter", 3: "micrometer"}
_TIME = {8: "second", 16: "millisecond", 24: "microsecond"}
_FIELDS = (
    "descrip",
    "intent_name",
    "aux_file",
    "db_name",
    "pixdim",
    "xyzt_units",
    "qform_code",
    "sform_code",
    "cal_min",
    "cal_max",
    "tr",
    "te",
    "ti",
)
"""Fields of the header that the table shows as they are."""

_MOST_MATRIX = 1 << 20
"""No file of SPM with one matrix is longer than so many bytes."""

# nibabel mends a header with a line in the log.
_quiet = logging.Logger("napari_lazyload.nifti", logging.CRITICAL)


def open_nifti(path: str, **options: Any) -> OpenResult:
    """Open a NIfTI or Analyze image (``.nii``, ``.hdr`` with ``.img``), or an MGH volume.

    Axes are reversed to ``t z y x``, so that the fastest one comes last; sform or qform give scale
    and, where the volume is rotated, an affine matrix with the world in the order z, y, x (RAS+, as
    nibabel has it). Stored values are scaled chunk by chunk where the header has a slope.

    Parameters
    ----------
    path : str
        Header or data; compressed by gzip it is unpacked as one chunk.
    **options
        ``scaled`` (True: stored values are scaled as the header says), ``trailing`` (whether to
        allow trailing bytes).

    Raises
    ------
    SourceOpenError
        If it is no such file, its data is missing, or shorter or longer than its header says.
    """
    check_options(options, ("scaled", "trailing"), "NIfTI files")
    path = os.path.abspath(path)
    head = _header_path(path)
    FileStamp.at_open(head, "a NIfTI or Analyze header", header=path)
    with reading_header(head, "a NIfTI, Analyze or MGH header"):
        header, block = _read_header(head)
        shape, dtype = tuple(map(int, header.get_data_shape())), np.dtype(header.get_data_dtype())
        data = path
        if _is_single(header):
            data = head
        elif path == head:
            data = _beside(head, ".img")
        offset = _offset(header, single=data == head)
        stored = _fields(header, block)
        slope, intercept = _slope(header)
    stamp = FileStamp.at_open(data, header=path)
    layout, axes = _layout(data, shape, dtype, offset)
    scaled = options.get("scaled", True) and (slope, intercept) != (1.0, 0.0) and axes[-1] != "s"
    more: dict[str, Any] = {}
    if scaled:
        real = "<c16" if layout.dtype.kind == "c" else "<f8"
        more = {"convert": Linear(slope, intercept, real), "dtype": real}
    with reading_header(head, "a NIfTI, Analyze or MGH header"):
        affine, notes = _affine(header, head)
        more |= _placement(header, axes, affine)
    codec = "gzip" if _starts_with(data, _GZIP) else ""
    # MGH has its scan parameters behind the pixels.
    more["exact"] = not (_is_mgh(header) or options.get("trailing", False))
    source = file_source(layout, (data, stamp), codec, file_name(path), axes, **more)
    stored |= {"data_offset": offset, "slope": slope, "intercept": intercept}
    return binary_result(path, NIFTI, [source], [stored], notes=notes)


def _header_path(path: str) -> str:
    """Return the header that belongs to a path: for ``.img`` the ``.hdr`` beside it."""
    is_data = path.lower().endswith((".img", ".img.gz"))
    return _beside(path, ".hdr") if is_data else path


def _beside(path: str, suffix: str) -> str:
    """Return the file of another suffix beside a file, compressed or not."""
    stem, packed = path, ""
    if path.lower().endswith(".gz"):
        stem, packed = path[:-3], path[-3:]
    base = os.path.splitext(stem)[0]
    names = [
        f"{base}{case}{end}" for case in (suffix, suffix.upper()) for end in (packed, "", ".gz")
    ]
    return next(filter(os.path.exists, names), names[0])


def _starts_with(path: str, sign: bytes) -> bool:
    with reading_header(path, "a data file"), open(path, "rb") as file:
        return file.read(len(sign)) == sign


def _read_header(path: str) -> tuple[Any, bytes]:
    """Return nibabel's header object, and the bytes it was read from."""
    nibabel: Any = import_module("nibabel")  # half of its functions have no annotations
    opener: Any = gzip.open if _starts_with(path, _GZIP) else open
    with opener(path, "rb") as file:
        block = file.read(_BLOCK)
    for image in (
        nibabel.Nifti1Pair,
        nibabel.Nifti2Pair,
        nibabel.Spm2AnalyzeImage,
        nibabel.Spm99AnalyzeImage,
        nibabel.AnalyzeImage,
    ):
        kind = image.header_class
        size = kind.sizeof_hdr
        if len(block) >= size and kind.may_contain_header(block):
            header = kind(block[:size], check=False)
            header.check_fix(logger=_quiet, error_level=40)
            return header, block
    if block[:4] == b"\0\0\0\1" and len(block) >= 284:
        return _mgh_header(path, block, nibabel.MGHImage.header_class), block
    found = f"a file that begins with {block[:4]!r}"
    if len(block) < 348:
        found = f"{len(block)} bytes"
    raise open_error(
        path,
        "a NIfTI, Analyze or MGH header of 284, 348 or 540 bytes",
        found,
        "it is truncated, or of another format",
    )


def _mgh_header(path: str, block: bytes, kind: Any) -> Any:
    """Return the header of an MGH volume, with the scan parameters that lie behind its pixels."""
    first = block[: kind.template_dtype.fields["tr"][1]]
    header = kind(first, check=False)
    if _starts_with(path, _GZIP):  # all pixels would have to be unpacked first
        return header
    with open(path, "rb") as file:
        file.seek(header.get_footer_offset())
        return kind(first + file.read(kind.template_dtype.itemsize - len(first)), check=False)


def _is_mgh(header: Any) -> bool:
    return type(header).__name__ == "MGHHeader"


def _is_single(header: Any) -> bool:
    """Whether the data lies in the file of the header."""
    if _is_mgh(header):
        return True
    names = header.template_dtype.names
    return "magic" in names and bytes(header["magic"]).startswith(b"n+")


def _offset(header: Any, *, single: bool) -> int:
    """Return where the data begins."""
    if _is_mgh(header):
        return int(header.get_data_offset())
    offset = float(header["vox_offset"])
    least = header.sizeof_hdr if single else 0
    if not (np.isfinite(offset) and least <= offset < 1 << 62):
        if offset == 0 and single:  # where the standard has it begin at the earliest
            return int(header.single_vox_offset)
        raise ValueError(f"data offset of {offset}")
    return int(offset)


def _slope(header: Any) -> tuple[float, float]:
    if _is_mgh(header):
        return 1.0, 0.0
    slope, intercept = header.get_slope_inter()  # nibabel has no slope of 0
    return float(slope or 1), float(intercept or 0)


def _layout(
    path: str, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int
) -> tuple[StridedLayout, tuple[str, ...]]:
    """Return where the pixels are, fastest axis last, and the names of the axes."""
    check_image(path, shape, np.dtype(np.uint8))
    layout, names = dense(shape[::-1], dtype, offset), _AXES[: len(shape)][::-1]
    if dtype.names is not None:  # colors: R, G, B and perhaps A, a byte each
        first = pick_field(path, layout, dtype.names[0])
        sizes, strides = (*first.shape, len(dtype.names)), (*first.strides, first.dtype.itemsize)
        layout, names = StridedLayout(sizes, first.dtype, offset, strides), (*names, "s")
    check_image(path, layout.shape, layout.dtype)
    return layout, names


def _affine(header: Any, head: str) -> tuple[Any, list[str]]:
    """Return the matrix from voxels to the world, and what to say of it."""
    if _is_mgh(header):
        return header.get_affine(), []
    matrix = f"{os.path.splitext(head)[0]}.mat"
    if not type(header).__name__.startswith("Spm") or not os.path.isfile(matrix):
        return header.get_best_affine(), []
    found = _spm_affine(head, matrix)
    if found is not None:
        return found, []
    problem = f"the position in {file_name(matrix)} cannot be read (it needs scipy); left out"
    return header.get_best_affine(), [f"{head}: {problem}"]


def _spm_affine(head: str, matrix: str) -> Any:
    """Return the matrix that SPM keeps beside an image, None where it cannot be read."""
    spm: Any = import_module("nibabel.spm2analyze")
    try:
        if os.path.getsize(matrix) <= _MOST_MATRIX:
            return spm.Spm2AnalyzeImage.from_filename(head).affine
    except Exception:  # noqa: BLE001  # whatever the parser of MATLAB's files trips over
        return None
    return None


def _placement(header: Any, axes: tuple[str, ...], affine: Any) -> dict[str, Any]:
    """Return scale, translation or affine, and units."""
    names = tuple(axis for axis in axes if axis != "s")
    zooms = list(map(float, header.get_zooms()[: len(names)]))
    if not _is_mgh(header):
        return placed_volume(affine, zooms, names) | {"units": _units(header, names)}
    seconds = float(header["tr"]) / 1000
    placed = placed_volume(affine, [*zooms[:3], seconds], names, mended=False)
    return placed | {"units": millimeters(names, "second" if seconds > 0 else None)}


def placed_volume(
    affine: Any, zooms: list[float], names: tuple[str, ...], *, mended: bool = True
) -> dict[str, Any]:
    """Return scale, and translation or affine, of a volume as nibabel describes it.

    Parameters
    ----------
    affine : array-like, (4, 4)
        From voxels to the world, x first.
    zooms : list of float
        Size of a voxel along x, y, z, and the step of time where there is one.
    names : tuple of str
        Of the axes without colors: the end of t, z, y, x.
    mended : bool
        Whether the sizes are those of the matrix where it has others.
    """
    spatial = tuple(axis for axis in names if axis in ("z", "y", "x"))
    count = len(spatial)
    reversed_matrix = np.asarray(affine, float)[2::-1, 2::-1][-count:, -count:]
    first = np.asarray(affine, float)[2::-1, 3][-count:]
    # After a registration the matrix has other sizes than the voxels; else the same, but rounded.
    lengths = zooms[:count][::-1]
    sizes = np.linalg.norm(reversed_matrix, axis=0).tolist()
    if mended and not np.allclose(lengths, sizes, rtol=1e-4):
        lengths = sizes
    placed: dict[str, Any] = placement(reversed_matrix, first, names, spatial, lengths=lengths)
    scale = dict(zip(names, placed["scale"], strict=True))
    if "t" in scale and len(zooms) > 3 and np.isfinite(zooms[3]) and zooms[3] > 0:
        scale["t"] = zooms[3]
    placed["scale"] = tuple(scale.values())
    return placed


def millimeters(names: tuple[str, ...], time: str | None) -> tuple[str | None, ...]:
    """Return the units of a volume in millimeters, and of its time."""
    units = {"t": time, **dict.fromkeys("zyx", "millimeter")}
    return tuple(map(units.get, names))


def _units(header: Any, names: tuple[str, ...]) -> tuple[str | None, ...] | None:
    if "xyzt_units" not in header.template_dtype.names:
        return None
    code = int(header["xyzt_units"])  # nibabel refuses numbers that stand for nothing
    space, time = _SPACE.get(code & 0x07), _TIME.get(code & 0x38)
    if space is None and time is None:
        return None
    units = {"t": time, "z": space, "y": space, "x": space}
    return tuple(map(units.get, names))


def _fields(header: Any, block: bytes) -> dict[str, Any]:
    """Return the header for the table."""
    kind = type(header).__name__.removesuffix("Header")
    fields: dict[str, Any] = {
        "header": kind,
        "stored_dtype": str(np.dtype(header.get_data_dtype())),
    }
    fields["byte_order"] = "big" if header.endianness == ">" else "little"
    present = header.template_dtype.names
    return fields | {name: header[name] for name in _FIELDS if name in present}
