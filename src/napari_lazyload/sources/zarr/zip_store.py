"""Zarr stores in zip files, read in place: the directory at the end of the file, then single entries by position."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.zarr.store import Store, first_error, outcome_of

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
    """What a zip file holds, by key; the names in each folder; where the bytes of an entry begin, as that is learnt."""

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
        except SourceOpenError as err:  # it was one when the store was opened
            raise ChunkReadError(str(err), self.root) from err

    def _entry(self, key: str) -> zipfile.ZipInfo | None:
        entry = self._directory().entries.get(key)
        if entry is not None and entry.external_attr >> 16 & 0o170000 == _LINK:
            msg = f"{self.address(key)}: a symbolic link; expected a file in the zip. Zip what it leads to instead"
            raise ChunkReadError(msg, self.address(key))
        if entry is not None and (
            entry.flag_bits & _ENCRYPTED or entry.compress_type not in (0, zipfile.ZIP_DEFLATED)
        ):
            msg = (
                f"{self.address(key)}: encrypted, or compressed by method {entry.compress_type}; expected a zip file "
                "that is stored or deflated. Zip it again"
            )
            raise ChunkReadError(msg, self.address(key))
        return entry

    def get(self, key: str) -> bytes | None:
        """See `Store`; the entry's checksum is verified."""
        entry = self._entry(key)
        if entry is None:
            return None
        data = self._packed(entry, key)
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            try:
                data = zlib.decompress(data, -15, max(1, entry.file_size))
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
            return (self.get(key) or b"")[begin : begin + size]
        starts = self._directory().starts
        if key not in starts:
            starts[key] = self._data_start(
                entry, self._read(entry.header_offset, _LOCAL_HEADER.size, key), key
            )
        return self._read(starts[key] + begin, size, key)

    def _packed(self, entry: zipfile.ZipInfo, key: str) -> bytes:
        """Return the bytes of an entry as they are in the file, mostly by one read."""
        size = _LOCAL_HEADER.size + len(entry.orig_filename.encode()) + _SLACK + entry.compress_size
        data = self.outer.get_range(self.file, entry.header_offset, size) or b""
        begin = self._data_start(entry, data, key)
        skip = begin - entry.header_offset
        packed = data[skip : skip + entry.compress_size]
        if len(packed) == entry.compress_size:
            return packed
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
        msg = f"{self.address(key)}: the zip file is cut short or damaged here. Copy it again"
        return ChunkReadError(msg, self.address(key))

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """See `Store`."""
        return {key: outcome_of(self.get, key) for key in keys}

    def many(self, keys: Iterable[str]) -> dict[str, bytes | None]:
        """See `Store`."""
        return first_error(self.outcomes(keys))

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
    """Return the store in a zip file, whose directory is read.

    Raises
    ------
    SourceOpenError
        If it is no zip file, cut short, or has entries that lead out of it.
    """
    store = ZipStore(outer, file)
    try:
        _read_directory(outer, file, outer.stamp(file))
    except SourceOpenError:
        raise
    except ChunkReadError as err:
        raise SourceOpenError(str(err), store.root) from err
    return store


@functools.lru_cache(maxsize=16)
def _read_directory(outer: Store, file: str, stamp: Hashable) -> _Directory:
    """Read the directory of a zip file, once for each state (`stamp`) of it."""
    del stamp
    address = outer.address(file)
    size = outer.size(file)
    if size is None:
        msg = f"{address}: the zip file is not there any more"
        raise ChunkReadError(msg, address)
    try:
        with zipfile.ZipFile(_RangeFile(outer, file, size)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as err:
        msg = f"{address}: expected a zip file, found one that is cut short or none at all ({err}). Copy it again"
        raise SourceOpenError(msg, address) from err
    return _Directory(*_as_store(infos, address))


def _as_store(
    infos: list[zipfile.ZipInfo], address: str
) -> tuple[dict[str, zipfile.ZipInfo], dict[str, list[str]]]:
    """Return the files by key and the names in each folder; folders around all are left away."""
    absolute = all(info.filename.startswith("/") for info in infos)  # as netCDF-C wrote them once
    entries = {}
    for info in infos:
        name = info.filename.replace("\\", "/")[absolute:]
        if name.startswith("/") or name[1:3] == ":/" or ".." in name.split("/"):
            msg = f"{address}: the entry {info.filename!r} leads out of the zip file: refused. Zip the folder anew"
            raise SourceOpenError(msg, address)
        if not name.endswith("/"):
            entries[name] = info
    while not _MARKERS & entries.keys() and (top := _only_folder(entries)):
        entries = {
            name.removeprefix(top): info for name, info in entries.items() if name.startswith(top)
        }
    names: dict[str, set[str]] = {}
    for name in entries:
        while name:
            folder, _, last = name.rpartition("/")
            known = names.setdefault(folder, set())
            if last in known:
                break
            known.add(last)
            name = folder  # noqa: PLW2901 - up to the root
    return entries, {folder: sorted(known) for folder, known in names.items()}


def _only_folder(entries: Mapping[str, zipfile.ZipInfo]) -> str | None:
    """Return the folder around all files, with a slash; what macOS adds beside it does not count."""
    tops = {top + slash for top, slash, _ in (name.partition("/") for name in entries)} - _OF_MACOS
    return tops.pop() if len(tops) == 1 and next(iter(tops)).endswith("/") else None


class _RangeFile(io.RawIOBase):
    """As much of a file as `zipfile` wants to find the directory at its end, which comes with the first read."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        super().__init__()
        self._store, self._key, self._size = store, key, size
        self._place = 0
        self._tail_start = max(0, size - _TAIL)
        self._tail: bytes | None = None

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = (0, self._place, self._size)[whence]
        if base + offset < 0:
            msg = "a place before the start of the file"
            raise OSError(msg)
        self._place = base + offset
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        start = self._place
        stop = self._size if size is None or size < 0 else min(self._size, start + size)
        data = self._bytes(start, max(0, stop - start))
        self._place += len(data)
        return data

    def _bytes(self, start: int, length: int) -> bytes:
        if start < self._tail_start:
            return self._store.get_range(self._key, start, length) or b""
        if self._tail is None:
            self._tail = (
                self._store.get_range(self._key, self._tail_start, self._size - self._tail_start)
                or b""
            )
        begin = start - self._tail_start
        return self._tail[begin : begin + length]
