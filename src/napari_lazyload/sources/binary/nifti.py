"""NIfTI-1, NIfTI-2, Analyze 7.5 and MGH volumes; the header is read by `nibabel`."""

from __future__ import annotations

import gzip
import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.affine import placement
from napari_lazyload.sources.binary.compressed import PackedSource, packed_notes
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.read_strided import check_extent
from napari_lazyload.sources.binary.records import pick_field
from napari_lazyload.sources.binary.strided import StridedFileSource, StridedLayout, dense
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
_MOST_MATRIX = 1 << 20
"""No file of SPM with one matrix is longer than so many bytes."""

_quiet = logging.Logger(
    "napari_lazyload.nifti", logging.CRITICAL
)  # nibabel mends a header with a line in the log


def open_nifti(path: str, **options: Any) -> OpenResult:
    """Open a NIfTI or Analyze image (``.nii``, ``.hdr`` with ``.img``), or an MGH volume.

    Axes are turned round to ``t z y x``, so that the fastest one comes last; sform or qform give
    scale and, where the volume is turned, an affine matrix with the world in the order z, y, x
    (RAS+, as nibabel has it). Stored values are scaled chunk by chunk where the header has a slope.

    Parameters
    ----------
    path : str
        Header or data; compressed by gzip it is unpacked as one chunk.
    **options
        ``scaled`` (True: stored values are scaled as the header says), ``trailing`` (whether bytes
        behind the pixels are put up with).

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
        data = head if _is_single(header) else _data_path(head) if path == head else path
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
        more |= _placed(header, axes, affine)
    source: StridedFileSource | PackedSource
    if _starts_with(data, _GZIP):
        source = PackedSource(layout, (data, stamp), "gzip", file_name(path), axes, **more)
    else:
        check_extent(
            data,
            stamp.size,
            layout.end,
            exact=_is_exact(header) and not options.get("trailing", False),
        )
        source = StridedFileSource(layout, [(data, stamp)], file_name(path), axes, **more)
    stored |= {"data_offset": offset, "slope": slope, "intercept": intercept}
    return binary_result(path, NIFTI, [source], [stored], notes=[*notes, *packed_notes(source)])


def _header_path(path: str) -> str:
    """Return the header that belongs to a path: for ``.img`` the ``.hdr`` beside it."""
    stem, packed = (path[:-3], path[-3:]) if path.lower().endswith(".gz") else (path, "")
    if not stem.lower().endswith(".img"):
        return path
    base = stem[:-4]
    beside = [
        f"{base}{suffix}{more}"
        for suffix in (".hdr", ".HDR")
        for more in dict.fromkeys((packed, "", ".gz"))
    ]
    return next((one for one in beside if os.path.exists(one)), beside[0])


def _data_path(head: str) -> str:
    """Return the data file of a header that has none within."""
    stem, packed = (head[:-3], head[-3:]) if head.lower().endswith(".gz") else (head, "")
    base = os.path.splitext(stem)[0]
    beside = [
        f"{base}{suffix}{more}"
        for suffix in (".img", ".IMG")
        for more in dict.fromkeys((packed, "", ".gz"))
    ]
    return next((one for one in beside if os.path.exists(one)), beside[0])


def _starts_with(path: str, sign: bytes) -> bool:
    with reading_header(path, "a data file"), open(path, "rb") as file:
        return file.read(len(sign)) == sign


def _read_header(path: str) -> tuple[Any, bytes]:
    """Return nibabel's header object, and the bytes it was read from."""
    nibabel: Any = import_module("nibabel")  # half of its functions have no annotations
    opener: Any = gzip.open if _starts_with(path, _GZIP) else open
    with opener(path, "rb") as file:
        block = file.read(_BLOCK)
    pairs = (
        nibabel.Nifti1Pair,
        nibabel.Nifti2Pair,
        nibabel.Spm2AnalyzeImage,
        nibabel.Spm99AnalyzeImage,
    )
    for kind in (*(image.header_class for image in pairs), nibabel.AnalyzeImage.header_class):
        size = kind.sizeof_hdr
        if len(block) >= size and kind.may_contain_header(block):
            header = kind(block[:size], check=False)
            header.check_fix(logger=_quiet, error_level=40)
            return header, block
    mgh = nibabel.MGHImage.header_class
    if block[:4] == b"\0\0\0\1" and len(block) >= 284:
        return mgh(block[:284].ljust(mgh.template_dtype.itemsize, b"\0"), check=False), block
    found = f"{len(block)} bytes" if len(block) < 348 else f"a file that begins with {block[:4]!r}"
    hint = "it is truncated, or of another format"
    raise open_error(path, "a NIfTI, Analyze or MGH header of 284, 348 or 540 bytes", found, hint)


def _is_mgh(header: Any) -> bool:
    return type(header).__name__ == "MGHHeader"


def _is_exact(header: Any) -> bool:
    """Return whether nothing may follow the pixels: MGH has its scan parameters there."""
    return not _is_mgh(header)


def _is_single(header: Any) -> bool:
    """Return whether the data lies in the file of the header."""
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
        msg = f"data offset of {offset}"
        raise ValueError(msg)
    return int(offset)


def _slope(header: Any) -> tuple[float, float]:
    found = (None, None) if _is_mgh(header) else header.get_slope_inter()
    slope, intercept = (
        (1.0 if found[0] is None else float(found[0])),
        (0.0 if found[1] is None else float(found[1])),
    )
    return slope, intercept


def _layout(
    path: str, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int
) -> tuple[StridedLayout, tuple[str, ...]]:
    """Return where the pixels are, fastest axis last, and the names of the axes."""
    check_image(path, shape, np.dtype(np.uint8))
    turned = dense(shape[::-1], dtype, offset)
    names = _AXES[: len(shape)][::-1]
    if dtype.names is None:
        check_image(path, turned.shape, dtype)
        return turned, names
    first = pick_field(path, turned, dtype.names[0])  # colours: R, G, B and perhaps A, a byte each
    samples = StridedLayout(
        (*first.shape, len(dtype.names)),
        first.dtype,
        offset,
        (*first.strides, first.dtype.itemsize),
    )
    check_image(path, samples.shape, samples.dtype)
    return samples, (*names, "s")


def _affine(header: Any, head: str) -> tuple[Any, list[str]]:
    """Return the matrix from voxels to the world, and what to say of it."""
    if _is_mgh(header):
        return header.get_affine(), []
    if type(header).__name__.startswith("Spm"):
        matrix = f"{os.path.splitext(head)[0]}.mat"
        if os.path.isfile(matrix):
            found = _spm_affine(head, matrix)
            said = f"{head}: the position that {file_name(matrix)} tells cannot be read (it needs scipy); left out"
            return (header.get_best_affine(), [said]) if found is None else (found, [])
    return header.get_best_affine(), []


def _spm_affine(head: str, matrix: str) -> Any:
    """Return the matrix that SPM keeps beside an image, None where it cannot be read."""
    spm: Any = import_module("nibabel.spm2analyze")
    try:
        if os.path.getsize(matrix) <= _MOST_MATRIX:
            return spm.Spm2AnalyzeImage.from_filename(head).affine
    except Exception:  # noqa: BLE001  # whatever the parser of MATLAB's files trips over
        return None
    return None


def _placed(header: Any, axes: tuple[str, ...], affine: Any) -> dict[str, Any]:
    """Return scale, translation or affine, and units."""
    names = tuple(axis for axis in axes if axis != "s")
    spatial = tuple(axis for axis in names if axis in ("z", "y", "x"))
    count = len(spatial)
    turned = np.asarray(affine, float)[:3, :3][::-1, ::-1][-count:, -count:]
    zooms = [float(zoom) for zoom in header.get_zooms()[: len(names)]]
    first = np.asarray(affine, float)[:3, 3][::-1][-count:]
    placed: dict[str, Any] = placement(turned, first, names, spatial, lengths=zooms[:count][::-1])
    scale = dict(zip(names, placed["scale"], strict=True))
    if "t" in scale and len(zooms) > 3 and np.isfinite(zooms[3]) and zooms[3] > 0:
        scale["t"] = zooms[3]
    placed["scale"] = tuple(scale.values())
    return placed | {"units": _units(header, names)}


def _units(header: Any, names: tuple[str, ...]) -> tuple[str | None, ...] | None:
    if "xyzt_units" not in header.template_dtype.names:
        return None
    code = int(header["xyzt_units"])  # nibabel refuses numbers that stand for nothing
    space, time = _SPACE.get(code & 0x07), _TIME.get(code & 0x38)
    if space is None and time is None:
        return None
    return tuple(
        time if axis == "t" else space if axis in ("z", "y", "x") else None for axis in names
    )


def _fields(header: Any, block: bytes) -> dict[str, Any]:
    """Return the header for the table."""
    kind = type(header).__name__.removesuffix("Header")
    fields: dict[str, Any] = {
        "header": kind,
        "stored_dtype": str(np.dtype(header.get_data_dtype())),
    }
    fields["byte_order"] = "big" if header.endianness == ">" else "little"
    wanted = (
        "descrip",
        "intent_name",
        "aux_file",
        "db_name",
        "pixdim",
        "xyzt_units",
        "qform_code",
        "sform_code",
    )
    names = header.template_dtype.names
    fields |= {
        name: header[name]
        for name in (*wanted, "cal_min", "cal_max", "tr", "te", "ti")
        if name in names
    }
    return fields
