"""AFNI volumes: a header of text (``.HEAD``), read by `nibabel`, beside the data (``.BRIK``).

Format: https://afni.nimh.nih.gov/pub/dist/doc/program_help/README.attributes.html
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.sources.binary.boxes import BoxSource, ScaledFrames, scaled_dtype
from napari_lazyload.sources.binary.chunk_sizes import auto_chunks
from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.nifti import millimeters, placed_volume
from napari_lazyload.sources.binary.read_strided import Array, check_extent
from napari_lazyload.sources.binary.strided import StridedLayout, dense
from napari_lazyload.sources.files import (
    FileStamp,
    check_options,
    file_name,
    open_error,
    refuse_if,
)

if TYPE_CHECKING:
    from napari_lazyload.sources.opened import OpenResult, RowSource

AFNI = "AFNI"
_MOST_HEADER = 1 << 26
_SUFFIX = re.compile(r"\.(head|brik)(\.gz|\.bz2)?$", re.IGNORECASE)
_PACKED = {".gz": "gzip", ".bz2": "bzip2"}
_TIMES = {77001: ("second", 1e-3), 77002: ("second", 1.0)}
"""Codes of units of time: milliseconds, seconds."""
_AXES = ("t", "z", "y", "x")
_FIELDS = ("TYPESTRING", "SCENE_DATA", "ORIGIN", "DELTA", "TEMPLATE_SPACE", "BRICK_LABS", "HISTORY")


@dataclass(frozen=True, slots=True)
class _ByVolume:
    """Stored values times the slope of their volume.

    Parameters
    ----------
    slopes : tuple of float
        One for each index of the first axis.
    """

    slopes: tuple[float, ...]

    def __call__(self, stored: Array) -> Array:
        """Return the values of all volumes."""
        values: Array = stored * np.array(self.slopes)[:, None, None, None]
        return values


def open_afni(path: str, **options: Any) -> OpenResult:
    """Open an AFNI volume. Its axes are ``t z y x``; the world is RAS+, as nibabel has it.

    Parameters
    ----------
    path : str
        Header or data; compressed by gzip or bzip2 it is unpacked as one chunk.
    **options
        ``scaled`` (True: the values of each volume are scaled as the header says).

    Raises
    ------
    SourceOpenError
        If it is no such file, its data is missing, or shorter or longer than its header says.
    """
    check_options(options, ("scaled",), "AFNI files")
    path = os.path.abspath(path)
    head, data = _pair(path)
    stamp = FileStamp.at_open(head, "an AFNI header", header=path)
    refuse_if(stamp.size > _MOST_HEADER, head, "an AFNI header", "a larger file", "open its .HEAD")
    with reading_header(head, "an AFNI header"):
        header = _read_header(head)
        shape = tuple(map(int, header.get_data_shape()))[::-1]
        layout = dense(shape, header.get_data_dtype())
        check_image(head, layout.shape, layout.dtype)
        axes = _AXES[-len(shape) :]
        slopes = _slopes(header, shape[0]) if options.get("scaled", True) else None
        placed = _placement(header, axes)
    file = (data, FileStamp.at_open(data, header=path))
    source = _source(layout, file, slopes, axes, placed)
    known = {name: header.info[name] for name in _FIELDS if name in header.info}
    fields = known | {"data_file": file_name(data), "stored_dtype": str(layout.dtype)}
    return binary_result(path, AFNI, [source], [fields])


def _pair(path: str) -> tuple[str, str]:
    """Return the header and the data that a path belongs to."""
    match = _SUFFIX.search(path)
    if match is None:
        raise open_error(path, "a .HEAD or .BRIK file", "another suffix", "rename it")
    base = path[: match.start()]
    if match[1].lower() == "brik":
        return _existing(f"{base}.HEAD", f"{base}.head"), path
    names = [f"{base}{brik}{packed}" for brik in (".BRIK", ".brik") for packed in ("", *_PACKED)]
    return path, _existing(*names)


def _existing(*names: str) -> str:
    return next(filter(os.path.isfile, names), names[0])


def _read_header(path: str) -> Any:
    nibabel: Any = import_module("nibabel.brikhead")
    with open(path, encoding="latin-1") as file:
        return nibabel.AFNIHeader(nibabel.parse_AFNI_header(file))


def _slopes(header: Any, count: int) -> tuple[float, ...] | None:
    """Return the slope of each volume, None where no value is scaled."""
    slopes = header.get_data_scaling()
    if slopes is None:
        return None
    return tuple(np.broadcast_to(slopes, count).tolist())


def _placement(header: Any, axes: tuple[str, ...]) -> dict[str, Any]:
    """Return scale, translation or affine, and units."""
    zooms = list(map(float, header.get_zooms()))
    codes = np.atleast_1d(header.info.get("TAXIS_NUMS", 0)).tolist()
    unit, size = _TIMES.get(codes[2] if len(codes) > 2 else 0, (None, 1.0))
    zooms[3:] = [step * size for step in zooms[3:]]
    placed = placed_volume(header.get_affine(), zooms, axes)
    return placed | {"units": millimeters(axes, unit)}


def _source(
    layout: StridedLayout,
    file: tuple[str, FileStamp],
    slopes: tuple[float, ...] | None,
    axes: tuple[str, ...],
    placed: dict[str, Any],
) -> RowSource:
    """Return the source of the data, scaled volume by volume."""
    path, stamp = file
    name, codec = file_name(path), _PACKED.get(os.path.splitext(path)[1].lower(), "")
    if slopes is None:
        return file_source(layout, file, codec, name, axes, **placed)
    dtype = scaled_dtype(layout.dtype)
    if codec:
        placed |= {"convert": _ByVolume(slopes), "dtype": dtype}
        return file_source(layout, file, codec, name, axes, **placed)
    check_extent(path, stamp.size, layout.end)
    depth = layout.shape[1]
    table = np.zeros((len(slopes), depth, 3))
    table[..., 0] = np.arange(len(slopes) * depth).reshape(len(slopes), depth)
    table[..., 1] = np.array(slopes)[:, np.newaxis]
    frame = dense(layout.shape[2:], layout.dtype)
    return BoxSource(
        AFNI,
        file,
        ScaledFrames(path, frame, layout.shape[:2], table.tobytes()),
        grid=ChunkGrid(layout.shape, auto_chunks(layout.shape, layout.strides, dtype.itemsize)),
        dtype=dtype,
        name=name,
        axes=axes,
        **placed,
    )
