"""Zarr stores in zip files, read in place: the directory at the end, then entries by position."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, ClassVar

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.zarr.store import (
    MOST_METADATA,
    MOST_WHOLE,
    Store,
    check_size,
    open_error,
    outcome_of,
    read_error,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

# APPNOTE.TXT 4.3.7: 30 bytes with the lengths of the name and of the extra field, which follow,
# at 26 and 28.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_SIGN = b"PK\x03\x04"
_SLACK = 64
_ENCRYPTED, _LINK = 0x1, 0o120000
_MARKERS = frozenset(("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"))
_OF_MACOS = frozenset(("__MACOSX/", ".DS_Store"))
_TAIL = 1 << 16


@dataclass(frozen=True, slots=True)
class _Directory:
    """The directory of a zip file.

    Parameters
    ----------
    entries : mapping
        The files, by key.
    names : mapping
        The names in each folder.
    starts : dict
        Where the bytes of an entry begin; filled as entries are read.
    """

    entries: Mapping[str, zipfile.ZipInfo]
    names: Mapping[str, Sequence[str]]
    starts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ZipStore:
    """A zip file in another store. Entries may be stored or deflated, each by itself.

    Parameters
    ----------
    outer : Store
        Where the file is.
    file : str
        Its key there.
    """

    outer: Store
    file: str
    anonymous: ClassVar[bool] = False

    @property
    def root(self) -> str:
        """Path or URL of the file."""
        return self.outer.address(self.file)

    @property
    def is_local(self) -> bool:
        """See `Store`."""
        return self.outer.is_local

    def address(self, key: str) -> str:
        """See `Store`."""
        return f"{self.root}/{key}" if key else self.root

    def _directory(self) -> _Directory:
        try:
            return _read_directory(self.outer, self.file, self.outer.stamp(self.file))
        except SourceOpenError as err:  # it was a zip file when the store was opened
            raise ChunkReadError(str(err), self.root) from err

    def _entry(self, key: str) -> zipfile.ZipInfo | None:
        entry = self._directory().entries.get(key)
        if entry is None:
            return None
        if entry.external_attr >> 16 & 0o170000 == _LINK:
            raise read_error(
                self.address(key),
                "a symbolic link; expected a file in the zip. Zip what it leads to instead",
            )
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (0, zipfile.ZIP_DEFLATED):
            raise read_error(
                self.address(key),
                f"encrypted, or compressed by method {entry.compress_type}; expected a zip file "
                "that is stored or deflated. Zip it again",
            )
        return entry

    def get(self, key: str, most: int = MOST_METADATA) -> bytes | None:
        """See `Store`; the entry's checksum is verified."""
        entry = self._entry(key)
        if entry is None:
            return None
        check_size(self.address(key), max(entry.file_size, entry.compress_size // 2), most)
        data = self._stored_bytes(entry, key)
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            try:
                data = zlib.decompressobj(-15).decompress(data, entry.file_size + 1)
            except zlib.error as err:
                raise self._damaged(key) from err
        if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
            raise self._damaged(key)
        return data

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `Store`; a deflated entry is read from its start."""
        entry = self._entry(key)
        if entry is None:
            return None
        begin = max(0, entry.file_size + start) if start < 0 else min(start, entry.file_size)
        size = min(length, entry.file_size - begin)
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            return (self.get(key, MOST_WHOLE) or b"")[begin : begin + size]
        starts = self._directory().starts
        if key not in starts:
            header = self._read(entry.header_offset, _LOCAL_HEADER.size, key)
            starts[key] = self._data_start(entry, header, key)
        return self._read(starts[key] + begin, size, key)

    def _stored_bytes(self, entry: zipfile.ZipInfo, key: str) -> bytes:
        """Return the bytes of an entry as they are in the file, mostly by one read."""
        size = _LOCAL_HEADER.size + len(entry.orig_filename.encode()) + _SLACK + entry.compress_size
        data = self.outer.get_range(self.file, entry.header_offset, size) or b""
        begin = self._data_start(entry, data, key)
        skip = begin - entry.header_offset
        stored = data[skip : skip + entry.compress_size]
        if len(stored) == entry.compress_size:
            return stored
        return self._read(begin, entry.compress_size, key)

    def _data_start(self, entry: zipfile.ZipInfo, header: bytes, key: str) -> int:
        if len(header) < _LOCAL_HEADER.size or header[:4] != _LOCAL_SIGN:
            raise self._damaged(key)
        _, name, extra = _LOCAL_HEADER.unpack_from(header)
        return int(entry.header_offset + _LOCAL_HEADER.size + name + extra)

    def _read(self, start: int, length: int, key: str) -> bytes:
        data = self.outer.get_range(self.file, start, length)
        if data is None or len(data) != length:
            raise self._damaged(key)
        return data

    def _damaged(self, key: str) -> ChunkReadError:
        return read_error(
            self.address(key), "the zip file is cut short or damaged here. Copy it again"
        )

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """See `Store`."""
        return {key: outcome_of(self.get, key) for key in keys}

    def list_dir(self, prefix: str) -> list[str] | None:
        """See `Store`."""
        return list(self._directory().names.get(prefix, ()))

    def size(self, key: str) -> int | None:
        """See `Store`."""
        entry = self._directory().entries.get(key)
        return None if entry is None else entry.file_size

    def stamp(self, key: str) -> Hashable:
        """See `Store`: the file's, and whether the entry is there."""
        return self.outer.stamp(self.file) if key in self._directory().entries else None


def open_zip(outer: Store, file: str) -> ZipStore:
    """Return the store in a zip file; its directory is read.

    Raises
    ------
    SourceOpenError
        If it is no zip file, is cut short, or has entries that lead out of it.
    """
    store = ZipStore(outer, file)
    try:
        _read_directory(outer, file, outer.stamp(file))
    except SourceOpenError:
        raise
    except ChunkReadError as err:
        raise SourceOpenError(str(err), store.root) from err
    return store


@lru_cache(maxsize=16)
def _read_directory(outer: Store, file: str, stamp: Hashable) -> _Directory:
    """Read the directory of a zip file, once for each state (`stamp`) of it."""
    del stamp
    address = outer.address(file)
    size = outer.size(file)
    if size is None:
        raise read_error(address, "the zip file is not there any more")
    try:
        with zipfile.ZipFile(_RangeFile(outer, file, size)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as err:
        raise open_error(
            address,
            f"expected a zip file, found one that is cut short or none at all ({err}). "
            "Copy it again",
        ) from err
    entries = _entries(infos, address)
    return _Directory(entries, _folder_names(entries))


def _entries(infos: list[zipfile.ZipInfo], address: str) -> dict[str, zipfile.ZipInfo]:
    """Return the files by key; folders around all of them are left out of the keys."""
    absolute = all(info.filename.startswith("/") for info in infos)  # as netCDF-C wrote them once
    entries = {}
    for info in infos:
        name = info.filename.replace("\\", "/")[absolute:]
        if name.startswith("/") or name[1:3] == ":/" or ".." in name.split("/"):
            raise open_error(
                address,
                f"the entry {info.filename!r} leads out of the zip file: refused. "
                "Zip the folder again",
            )
        if not name.endswith("/"):
            entries[name] = info
    while not _MARKERS & entries.keys() and (top := _only_folder(entries)):
        inside = [name for name in entries if name.startswith(top)]
        entries = {name.removeprefix(top): entries[name] for name in inside}
    return entries


def _folder_names(keys: Iterable[str]) -> dict[str, list[str]]:
    """Return the sorted names in each folder."""
    names: dict[str, set[str]] = {}
    for name in keys:
        while name:
            folder, _, last = name.rpartition("/")
            known = names.setdefault(folder, set())
            if last in known:
                break
            known.add(last)
            name = folder  # noqa: PLW2901 - up to the root
    return {folder: sorted(known) for folder, known in names.items()}


def _only_folder(entries: Mapping[str, zipfile.ZipInfo]) -> str | None:
    """Return the folder around all files, with a slash; additions of macOS do not count."""
    tops = {"".join(name.partition("/")[:2]) for name in entries} - _OF_MACOS
    return tops.pop() if len(tops) == 1 and min(tops).endswith("/") else None


class _RangeFile:
    """The part of a file that `zipfile` reads to find the directory; the end is read at once."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        self._get = partial(store.get_range, key)
        self._size = size
        self._place = 0
        self._tail_start = max(0, size - _TAIL)
        self._tail = self._get(self._tail_start, size - self._tail_start) or b""

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = (0, self._place, self._size)[whence]
        if base + offset < 0:
            raise OSError("a place before the start of the file")
        self._place = base + offset
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        start = self._place
        left = max(0, self._size - start)
        length = left if size < 0 else min(size, left)
        begin = start - self._tail_start
        data = self._tail[begin : begin + length] if begin >= 0 else self._get(start, length)
        self._place += len(data or b"")
        return data or b""
