"""Philips' PAR/REC volumes: a header of text (``.PAR``), read by `nibabel`, beside the data.

Format: https://nipy.org/nibabel/reference/nibabel.parrec.html
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.sources.binary.boxes import BoxSource, ScaledFrames, scaled_dtype
from napari_lazyload.sources.binary.chunk_sizes import auto_chunks
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.nifti import millimeters, placed_volume
from napari_lazyload.sources.binary.read_strided import check_extent
from napari_lazyload.sources.binary.strided import Frames, StridedFileSource, dense
from napari_lazyload.sources.files import FileStamp, check_options, file_name, refuse_if

if TYPE_CHECKING:
    from napari_lazyload.sources.binary.strided import StridedLayout
    from napari_lazyload.sources.opened import OpenResult, RowSource

PARREC = "PAR/REC"
_MOST_HEADER = 1 << 26
_SIGN = b"# === DATA DESCRIPTION FILE"
_AXES = ("t", "z", "y", "x")
_FIELDS = ("exam_name", "protocol_name", "exam_date", "tech", "max_echoes", "max_dynamics")


def takes_parrec(path: str) -> bool:
    """Whether a path is a PAR header, or a REC file that has one beside it."""
    try:
        with open(_header_of(path), "rb") as file:
            return file.read(len(_SIGN)) == _SIGN
    except OSError:
        return False


def _header_of(path: str) -> str:
    return path if path.lower().endswith(".par") else _beside(path, ".PAR")


def _beside(path: str, suffix: str) -> str:
    """Return the file of another suffix beside a file; capitals first."""
    base = os.path.splitext(path)[0]
    names = (f"{base}{suffix}", f"{base}{suffix.lower()}")
    return next(filter(os.path.isfile, names), names[0])


def open_parrec(path: str, **options: Any) -> OpenResult:
    """Open PAR/REC volumes. Their axes are ``t z y x``; the world is RAS+, as nibabel has it.

    Each slice is scaled to the values that the scanner shows (its rescale slope and intercept). Of
    a scan that was cut short the whole volumes are there.

    Parameters
    ----------
    path : str
        Header or data.
    **options
        ``scaled`` (True: values are scaled as the header says), ``trailing`` (whether bytes behind
        the pixels are expected: no word is said of them then).

    Raises
    ------
    SourceOpenError
        If it is no such file, its data is missing, or shorter than its header says.
    """
    check_options(options, ("scaled", "trailing"), "PAR/REC files")
    path = os.path.abspath(path)
    head = _header_of(path)
    stamp = FileStamp.at_open(head, "a PAR header", header=path)
    refuse_if(stamp.size > _MOST_HEADER, head, "a PAR header", "a larger file", "open its .PAR")
    data = _beside(path, ".REC") if path == head else path
    with reading_header(head, "a PAR header"):
        header, notes = _read_header(head)
        shape = tuple(map(int, header.get_data_shape()))[::-1]
        layout = dense(shape, header.get_data_dtype())
        check_image(head, layout.shape, layout.dtype)
        axes = _AXES[-len(shape) :]
        table = _table(header, shape)
        placed = _placement(header, axes)
    file = (data, FileStamp.at_open(data, header=path))
    frames = len(header.image_defs)
    end = frames * dense(shape[-2:], layout.dtype).end
    check_extent(data, file[1].size, end, exact=not options.get("trailing", False))
    if not options.get("scaled", True):
        table[..., 1:] = 1, 0
    source = _source(layout, file, table, axes, placed)
    known = {name: value for name, value in header.general_info.items() if name in _FIELDS}
    fields = known | {"data_file": file_name(data), "stored_dtype": str(layout.dtype)}
    return binary_result(path, PARREC, [source], [fields], notes=notes)


def _read_header(path: str) -> tuple[Any, list[str]]:
    """Return nibabel's header, and what it warns of."""
    nibabel: Any = import_module("nibabel.parrec")
    with open(path, encoding="latin-1") as file, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        header = nibabel.PARRECHeader.from_fileobj(file, permit_truncated=True)
    return header, [f"{path}: {one.message}" for one in caught]


def _table(header: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return the place of each frame in the file, and the slope and intercept of its values."""
    table = np.empty((*shape[:-2], 3))
    slopes, intercepts = header.get_data_scaling()
    places = header.get_sorted_slice_indices().reshape(shape[-3::-1], order="F")
    for column, values in enumerate((places, slopes[0, 0], intercepts[0, 0])):
        table[..., column] = values.T
    return table


def _placement(header: Any, axes: tuple[str, ...]) -> dict[str, Any]:
    """Return scale, translation or affine, and units."""
    zooms = list(map(float, header.get_zooms()))
    placed = placed_volume(header.get_affine(), zooms, axes)
    unit = "second" if header.general_info.get("dyn_scan") else None
    return placed | {"units": millimeters(axes, unit)}


def _source(
    layout: StridedLayout,
    file: tuple[str, FileStamp],
    table: np.ndarray[Any, Any],
    axes: tuple[str, ...],
    placed: dict[str, Any],
) -> RowSource:
    """Return the source of the frames: in place where no value is scaled."""
    ahead, frame = layout.shape[:-2], dense(layout.shape[-2:], layout.dtype)
    name = file_name(file[0])
    if np.all(table[..., 1:] == np.array((1, 0))):
        places = table[..., 0].astype(np.int64).ravel()
        frames = Frames(len(ahead), frame.end, max(places.tolist()) + 1, places)
        return StridedFileSource(layout, [file], name, axes, frames=frames, **placed)
    dtype = scaled_dtype(layout.dtype)
    return BoxSource(
        PARREC,
        file,
        ScaledFrames(file[0], frame, ahead, table.tobytes()),
        grid=ChunkGrid(layout.shape, auto_chunks(layout.shape, layout.strides, dtype.itemsize)),
        dtype=dtype,
        name=name,
        axes=axes,
        **placed,
    )
