"""NumPy's NPY files, versions 1 to 3; the header is read by `numpy.lib.format`.

An NPZ archive opens where its members are stored without compression: each is then an NPY file at
an offset.
"""

from __future__ import annotations

import ast
import os
import warnings
import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import (
    check_image,
    default_axes,
    named_axes,
    reading_header,
)
from napari_lazyload.sources.binary.read_strided import check_extent
from napari_lazyload.sources.binary.records import pick_field
from napari_lazyload.sources.binary.strided import StridedFileSource, StridedLayout, dense
from napari_lazyload.sources.files import (
    BadOptionError,
    FileStamp,
    check_options,
    file_name,
    open_error,
    refuse_if,
)

if TYPE_CHECKING:
    from napari_lazyload.sources.opened import OpenResult

NPY, NPZ = "NPY", "NPZ"
_OPTIONS = ("key", "axes", "trailing")
_MOST_TEXT = 10_000
"""NumPy's own limit: longer texts could make Python's parser run out of stack."""

_MAGIC = b"\x93NUMPY"


def open_npy(path: str, **options: Any) -> OpenResult:
    """Open an NPY file, or the members of an NPZ archive.

    Parameters
    ----------
    path : str
        The file.
    **options
        ``key`` (a field of a structured array; of an archive the member), ``axes`` (a name for each
        axis), ``trailing`` (whether to allow trailing bytes).

    Raises
    ------
    SourceOpenError
        If it is no NPY file, holds no numbers, or is shorter or longer than its header says.
    """
    check_options(options, _OPTIONS, "NPY files")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, "a NumPy array")
    with reading_header(path, "a NumPy array (.npy)"), open(path, "rb") as file:
        start = file.read(6)
        if start[:4] == b"PK\x03\x04":
            return open_npz(path, stamp, options)
        refuse_if(
            start != _MAGIC,
            path,
            "a NumPy array (.npy)",
            f"a file that begins with {start!r}" if start else "an empty file",
            "save it again with numpy.save",
        )
        file.seek(0)
        layout, fortran = read_layout(path, file)
    source = npy_source((path, stamp), layout, file_name(path), stamp.size, options)
    header = {
        "fortran_order": fortran,
        "data_offset": layout.offset,
        "stored_dtype": str(layout.dtype),
    }
    return binary_result(path, NPY, [source], [header])


def read_layout(path: str, file: IO[bytes]) -> tuple[StridedLayout, bool]:
    """Read the header at the position of a file: where the array lies, whether in Fortran order."""
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
    """Read a header of version 3: as version 2, in UTF-8. NumPy has no public function for it."""
    length = int.from_bytes(file.read(4), "little")
    text = file.read(min(length, _MOST_TEXT))
    refuse_if(
        len(text) < length,
        path,
        f"a header of {length:,} bytes",
        f"{len(text):,}",
        "it is truncated or damaged",
    )
    known = ast.literal_eval(text.decode("utf-8"))
    shape, fortran = known["shape"], known["fortran_order"]
    is_shape = isinstance(shape, tuple) and all(isinstance(size, int) for size in shape)
    if not (is_shape and isinstance(fortran, bool)):
        raise open_error(
            path, "a shape and an order", f"{shape!r:.200}, {fortran!r:.200}", "it is damaged"
        )
    return shape, fortran, np.lib.format.descr_to_dtype(known["descr"])


def npy_source(
    file: tuple[str, FileStamp], layout: StridedLayout, name: str, end: int, options: dict[str, Any]
) -> StridedFileSource:
    """Return the source of an array that ends at `end`."""
    path = file[0]
    check_extent(path, end, layout.end, exact=not options.get("trailing", False))
    layout = pick_field(path, layout, options.get("key"))
    check_image(path, layout.shape, layout.dtype)
    names = named_axes(path, options.get("axes"), layout.shape)
    axes = names or default_axes(layout.shape, layout.dtype)
    return StridedFileSource(layout, [file], name, axes)


_LOCAL_HEADER = 30

_HINT = "save the arrays with numpy.savez (without compression), or one by one with numpy.save"


def open_npz(path: str, stamp: FileStamp, options: dict[str, Any]) -> OpenResult:
    """Open the images of an archive for `open_npy`, which handles the errors of parsers."""
    key = options.get("key")
    sources, headers = [], []
    skipped: dict[str, list[str]] = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        members = {
            member.filename.removesuffix(".npy"): member
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        chosen = members
        if key is not None:
            name = str(key).removesuffix(".npy")
            if name not in members:
                names = ", ".join(map(repr, members)) or "none"
                msg = f"{path}: key={key!r} names no member; there are {names}"
                raise BadOptionError(msg)
            chosen = {name: members[name]}
        for name, member in chosen.items():
            try:
                layout, fortran = _member_layout(path, file, member)
                end = _start(path, file, member) + member.file_size
                if options.get("trailing"):
                    end = layout.end
                rest = {**options, "key": None}
                sources.append(npy_source((path, stamp), layout, name, end, rest))
            except SourceOpenError as err:
                skipped.setdefault(str(err), []).append(name)
            else:
                headers.append({"fortran_order": fortran, "data_offset": layout.offset})
    if not sources:
        why = next(iter(skipped), "it is empty")
        raise open_error(
            path, "an archive with arrays that can be read in place", f"none ({why})", _HINT
        )
    return binary_result(path, NPZ, sources, headers, skipped=skipped)


def _member_layout(
    path: str, file: IO[bytes], member: zipfile.ZipInfo
) -> tuple[StridedLayout, bool]:
    refuse_if(
        member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1,
        path,
        "a member without compression",
        f"{member.filename!r} compressed",
        _HINT,
    )
    file.seek(_start(path, file, member))
    return read_layout(path, file)


def _start(path: str, file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Return where the bytes of a member begin: behind a header that the directory lacks."""
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    refuse_if(
        len(header) < _LOCAL_HEADER or not header.startswith(b"PK\x03\x04"),
        path,
        "a member's header in the archive",
        "something else",
        "the archive is damaged",
    )
    start = member.header_offset + _LOCAL_HEADER + int.from_bytes(header[26:28], "little")
    start += int.from_bytes(header[28:30], "little")
    refuse_if(
        start + member.compress_size > os.fstat(file.fileno()).st_size,
        path,
        "the whole of each member",
        "an archive that ends before",
        "it is truncated",
    )
    return start
