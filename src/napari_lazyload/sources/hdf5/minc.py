"""MINC volumes, of version 1 (NetCDF) and 2 (HDF5), as `nibabel` reads and scales them.

Format: https://en.wikibooks.org/wiki/MINC/Reference
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_lazyload.core.affine import placement
from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.sources.binary.boxes import BoxSource
from napari_lazyload.sources.binary.chunk_sizes import auto_chunks
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import check_image, reading_header
from napari_lazyload.sources.binary.nifti import millimeters
from napari_lazyload.sources.binary.read_strided import Array, dense_strides
from napari_lazyload.sources.files import FileStamp, check_options, file_name, refuse_if
from napari_lazyload.sources.hdf5.other_files import find_inside, open_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.sources.opened import OpenResult

MINC = "MINC"
_NETCDF, _HDF5 = b"CDF", b"\x89HDF"
_SPACE, _WORLD = ("z", "y", "x"), ("zspace", "yspace", "xspace")
_MODULES = ("nibabel.externals.netcdf", "nibabel.minc1", "nibabel.minc2")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Volume:
    """Reads boxes of a volume.

    Parameters
    ----------
    path : str
        Absolute path.
    """

    path: str

    def __call__(self, box: Box) -> Array:
        """Return the pixels of a box, scaled."""
        part = tuple(slice(*bounds) for bounds in box)
        return _read(self.path, lambda minc, _names: np.array(minc.get_scaled_data(part)))


def open_minc(path: str, **options: Any) -> OpenResult:
    """Open a MINC volume. The world is RAS+; the axes keep the order in which they are stored.

    Values are scaled slice by slice as the header says (image-min and image-max).

    Parameters
    ----------
    path : str
        The file.
    **options
        None.

    Raises
    ------
    SourceOpenError
        If it is no MINC file, or nibabel cannot read it.
    """
    check_options(options, (), "MINC files")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, "a MINC volume")
    with reading_header(path, "a MINC volume"):
        shape, stored, axes, placed = _read(path, _describe)
        check_image(path, shape, stored)
    dtype = stored if stored.kind == "f" else np.dtype(np.float64)
    strides = dense_strides(shape, dtype.itemsize)
    source = BoxSource(
        "nibabel",
        (path, stamp),
        _Volume(path),
        grid=ChunkGrid(shape, auto_chunks(shape, strides, dtype.itemsize)),
        dtype=dtype,
        name=file_name(path),
        axes=axes,
        **placed,
    )
    return binary_result(path, MINC, [source], [{"stored_dtype": str(stored)}])


def _read(path: str, use: Callable[[Any, list[str]], T]) -> T:
    """Return what a function takes from nibabel's view of a file, and the names of its axes.

    The view ends with the call: nothing of it, which is mapped from the file, may be kept.
    """
    with open(path, "rb") as file:
        start = file.read(len(_HDF5))
        if start.startswith(_NETCDF):
            file.seek(0)
            with closing(import_module(_MODULES[0]).netcdf_file(file, mmap=True)) as netcdf:
                names = list(netcdf.variables["image"].dimensions)
                return use(import_module(_MODULES[1]).Minc1File(netcdf), names)
    found = f"a file that begins with {start!r}"
    refuse_if(start != _HDF5, path, "a MINC volume", found, "export it again")
    with open_file(path) as hdf5:
        names = _own(hdf5, "image/0/image").attrs["dimorder"].decode().split(",")
        for part in ("image/0/image-min", "image/0/image-max", *(f"dimensions/{n}" for n in names)):
            _own(hdf5, part)
        return use(import_module(_MODULES[2]).Minc2File(hdf5), names)


def _own(hdf5: Any, name: str) -> Any:
    """Return a data set of a file; nibabel would follow it into any other.

    Raises
    ------
    ValueError
        If it is not in this file.
    """
    found = find_inside(hdf5, f"minc-2.0/{name}")
    if found is None or found.is_virtual or found.external:
        raise ValueError(f"{name!r} is not in the file itself")
    return found


def _describe(
    minc: Any, names: list[str]
) -> tuple[tuple[int, ...], np.dtype[Any], tuple[str, ...], dict[str, Any]]:
    """Return shape, stored type and axes of a volume, and its fields of `ImageMeta`."""
    shape = tuple(map(int, minc.get_data_shape()))
    spatial = iter(_SPACE)
    axes = tuple(next(spatial, name) if name in _WORLD else name for name in names[: len(shape)])
    axes = tuple("t" if name == "time" else name for name in axes)
    matrix = minc.get_affine()
    if next(spatial, None) is not None or matrix.shape != (4, 4):
        raise ValueError(f"axes {', '.join(names)} instead of three in space")
    placed = placement(matrix[2::-1, :3], matrix[2::-1, 3], axes, _SPACE)
    scale = dict(zip(axes, placed["scale"], strict=True))
    if "t" in scale:
        scale["t"] = float(minc.get_zooms()[axes.index("t")]) or 1.0
    placed |= {"scale": tuple(scale.values()), "units": millimeters(axes, None)}
    return shape, np.dtype(minc.get_data_dtype()).newbyteorder("="), axes, placed
