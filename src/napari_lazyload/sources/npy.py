"""NumPy's NPY files, versions 1 to 3; the header is read by `numpy.lib.format`.

An NPZ archive opens where its members are stored without compression: each is then an NPY file at an offset.
"""

from __future__ import annotations

import ast
import os
import warnings
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.raw import Layout, RawSource, dense
from napari_lazyload.sources.raw_opened import (
    check_image,
    check_options,
    default_axes,
    file_name,
    named_axes,
    opened_binary,
    reading_header,
)
from napari_lazyload.sources.raw_read import check_extent, refusal, stamp_at_opening
from napari_lazyload.sources.raw_structured import pick_field

if TYPE_CHECKING:
    from napari_lazyload.sources.opened import Opened
    from napari_lazyload.sources.raw_read import Stamp

NPY, NPZ = "NPY", "NPZ"
_OPTIONS = ("key", "axes", "trailing")
_MOST_TEXT = 10_000
"""NumPy's own limit: longer texts could make Python's parser run out of stack."""

_MAGIC = b"\x93NUMPY"


def open_npy(path: str, **options: Any) -> Opened:
    """Open an NPY file, or the members of an NPZ archive.

    Parameters
    ----------
    path : str
        The file.
    **options
        ``key`` (a field of a structured array; of an archive the member), ``axes`` (a name for each axis), ``trailing``
        (whether bytes behind the array are put up with).

    Raises
    ------
    SourceOpenError
        If it is no NPY file, holds no numbers, or is shorter or longer than its header says.
    """
    check_options(options, _OPTIONS, "NPY files")
    path = os.path.abspath(path)
    stamp = stamp_at_opening(path, "a NumPy array")
    with reading_header(path, "a NumPy array (.npy)"), open(path, "rb") as file:
        start = file.read(6)
        if start[:4] == b"PK\x03\x04":
            from napari_lazyload.sources.npz import open_npz

            return open_npz(path, stamp, options)
        if start != _MAGIC:
            found = "an empty file" if not start else f"a file that begins with {start!r}"
            raise refusal(path, "a NumPy array (.npy)", found, "save it again with numpy.save")
        file.seek(0)
        layout, fortran = read_layout(path, file)
    source = npy_source((path, stamp), layout, file_name(path), stamp[1], options)
    header = {"fortran_order": fortran, "data_offset": layout.offset, "stored_dtype": str(layout.dtype)}
    return opened_binary(path, NPY, [source], [header])


def read_layout(path: str, file: IO[bytes]) -> tuple[Layout, bool]:
    """Read the header at the position of a file; return where the array lies, and whether in Fortran order."""
    version = np.lib.format.read_magic(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python 2 wrote it
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            shape, fortran, dtype = _read_version_3(path, file)
    if dtype.names is None or dtype.hasobject:
        check_image(path, shape, dtype)
    return dense(shape, dtype, file.tell(), "F" if fortran else "C"), fortran


def _read_version_3(path: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read a header of version 3, for which NumPy has no public function: as version 2, in UTF-8."""
    length = int.from_bytes(file.read(4), "little")
    text = file.read(min(length, _MOST_TEXT))
    if len(text) < length:
        raise refusal(path, f"a header of {length:,} bytes", f"{len(text):,}", "it is truncated or damaged")
    known = ast.literal_eval(text.decode("utf-8"))
    shape, fortran = known["shape"], known["fortran_order"]
    if not (isinstance(shape, tuple) and all(isinstance(size, int) for size in shape) and isinstance(fortran, bool)):
        raise refusal(path, "a shape and an order", f"{shape!r:.200}, {fortran!r:.200}", "it is damaged")
    return shape, fortran, np.lib.format.descr_to_dtype(known["descr"])


def npy_source(file: tuple[str, Stamp], layout: Layout, name: str, end: int, options: dict[str, Any]) -> RawSource:
    """Return the source of an array that ends at `end`."""
    path = file[0]
    check_extent(path, end, layout.end, exact=not options.get("trailing", False))
    layout = pick_field(path, layout, options.get("key"))
    check_image(path, layout.shape, layout.dtype)
    axes = named_axes(path, options.get("axes"), layout.shape) or default_axes(layout.shape, layout.dtype)
    return RawSource(layout, [file], name, axes)
