"""NPZ archives: the members that are stored without compression are NPY files at an offset."""

from __future__ import annotations

import os
import zipfile
from typing import IO, TYPE_CHECKING, Any

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.npy import NPZ, npy_source, read_layout
from napari_lazyload.sources.raw_opened import BadOptionError, opened_binary
from napari_lazyload.sources.raw_read import refusal

if TYPE_CHECKING:
    from napari_lazyload.sources.opened import Opened
    from napari_lazyload.sources.raw import Layout
    from napari_lazyload.sources.raw_read import Stamp

_LOCAL_HEADER = 30
_HINT = "save the arrays with numpy.savez (without compression), or one by one with numpy.save"


def open_npz(path: str, stamp: Stamp, options: dict[str, Any]) -> Opened:
    """Open the images of an archive; called by `napari_lazyload.sources.npy.open_npy`, which turns errors."""
    key = options.get("key")
    sources, headers, skipped = [], [], {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
        wanted = [one for one in members if key is None or one.filename in (key, f"{key}.npy")]
        if key is not None and not wanted:
            names = ", ".join(repr(one.filename.removesuffix(".npy")) for one in members)
            msg = f"{path}: key={key!r} names no member; there are {names or 'none'}"
            raise BadOptionError(msg)
        for member in wanted:
            name = member.filename.removesuffix(".npy")
            try:
                layout, fortran = _member_layout(path, file, member)
                end = layout.end if options.get("trailing") else _start(path, file, member) + member.file_size
                rest = {one: value for one, value in options.items() if one != "key"}
                sources.append(npy_source((path, stamp), layout, name, end, rest))
            except SourceOpenError as err:
                skipped[name] = str(err)
            else:
                headers.append({"fortran_order": fortran, "data_offset": layout.offset})
    if not sources:
        why = next(iter(skipped.values()), "it is empty")
        raise refusal(path, "an archive with arrays that can be read in place", f"none ({why})", _HINT)
    return opened_binary(path, NPZ, sources, headers, skipped={why: [name] for name, why in skipped.items()})


def _member_layout(path: str, file: IO[bytes], member: zipfile.ZipInfo) -> tuple[Layout, bool]:
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise refusal(path, "a member without compression", f"{member.filename!r} compressed", _HINT)
    file.seek(_start(path, file, member))
    return read_layout(path, file)


def _start(path: str, file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Return where the bytes of a member begin: behind a header of its own, which the directory does not describe."""
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
        raise refusal(path, "a member's header in the archive", "something else", "the archive is damaged")
    start = member.header_offset + _LOCAL_HEADER + int.from_bytes(header[26:28], "little")
    start += int.from_bytes(header[28:30], "little")
    if start + member.compress_size > os.fstat(file.fileno()).st_size:
        raise refusal(path, "the whole of each member", "an archive that ends before", "it is truncated")
    return start
