"""The image files of a listing, and their headers as far as they were read."""

from __future__ import annotations

import os
import threading
import time
import uuid
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import ChunkReadError, MissingDependencyError
from napari_lazyload.sources.files import FileStamp
from napari_lazyload.sources.folder.listing import EMPTY, MEMBER, Listing
from napari_lazyload.sources.image_files import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_lazyload.sources.image_files.decode import PictureInfo
    from napari_lazyload.sources.image_header import PageLocation, PageLocations, ParsedHeader

    Array = np.ndarray[Any, Any]

UNREAD, UNREADABLE = -1, -2
SAMPLE, MOST_FAMILIES = 128, 64
"""What a folder opens as is decided by so many headers from all over it, and by one of each of so
many families of names. Numbers, not seconds: a busy machine decides the same."""
MOST_READ = 1000
"""So many headers more are read where files of one family differ, where nothing could be read, and
where files are parts of OME-TIFF sets."""
_BLOCK = 4096
_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))


def parse_header(path: str) -> ParsedHeader:
    """Read one header; what is missing to do so is an error of the file too.

    Parameters
    ----------
    path : str
        The file.

    Raises
    ------
    ChunkReadError
        If it is no image file, or cannot be read.
    """
    try:
        return decode.parse_header(path)
    except MissingDependencyError as err:
        raise ChunkReadError(str(err), path) from err


def read_info(path: str, series: int = 0) -> PictureInfo:
    """Return what a header says of one image.

    Parameters
    ----------
    path : str
        The file.
    series : int
        Of which of its images.

    Raises
    ------
    ChunkReadError
        If it is no image file, or cannot be read, or has no such image.
    """
    header = parse_header(path)
    if not series:
        return header.info
    images = decode.images_of(header)
    if series >= len(images):
        found = "found fewer; open the file again: it was replaced"
        raise ChunkReadError(f"{path}: expected an image number {series}, {found}", path)
    return images[series]


def common_items(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the items that two headers share."""
    shared = first.keys() & second.keys()
    return {key: first[key] for key in first if key in shared and _same(first[key], second[key])}


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(value, other)
    return bool(value == other)


def _families(names: Array) -> Array:
    """Return the number of each name's family, counted from the first name on."""
    numbers: dict[str, int] = {}
    plain = (name.translate(_NO_DIGITS) for name in names)
    return np.fromiter((numbers.setdefault(name, len(numbers)) for name in plain), np.int32)


class FileSet:
    """The image files of one listing and their headers, as far as they were read.

    Any thread may read headers. Pickles with all that is known.

    Attributes
    ----------
    listing : Listing
        Root, names in slider order, what was left out.
    header_classes : list of PictureInfo
        One for each distinct (shape, dtype, axes) that was found, with the extras that all files of
        it share.
    kind : numpy.ndarray of int32
        For each file the index into `header_classes`, or `UNREAD`, or `UNREADABLE`.
    family : numpy.ndarray of int32
        For each file the number of its family: names that are alike but for their digits.
    sizes : numpy.ndarray of int64
        Bytes of each file, -1 while unknown.
    changed_ns : numpy.ndarray of int64
        Time of change of each file, -1 while unknown.
    differing : set of str
        The extras in which files of one class differ.
    problems : dict of int to str
        Why a file cannot be shown, by row.
    sets : dict of int to frozenset of str
        By row, the files that make up one image with it.
    places : dict of int to PageLocations
        By row, where its pages are, of those that other files hold pages of.
    token : str
        Names this set among all others.
    on_header : callable or None
        Is called with each row whose header was read, in the thread that read it.
    """

    def __init__(self, listing: Listing) -> None:
        count = len(listing.names)
        self.listing = listing
        self.header_classes: list[PictureInfo] = []
        self.kind = np.full(count, UNREAD, np.int32)
        self.family = _families(listing.names)
        self.sizes = np.full(count, -1, np.int64)
        self.changed_ns = np.full(count, -1, np.int64)
        self.differing: set[str] = set()
        self.problems: dict[int, str] = {}
        self.sets: dict[int, frozenset[str]] = {}
        self.places: dict[int, PageLocations] = {}
        self.token = f"pictures-{uuid.uuid4().hex}"
        self.on_header: Callable[[int], Any] | None = None
        self._kinds: dict[Any, int] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "on_header": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.listing.names)

    def path(self, row: int) -> str:
        """Return the absolute path of one file."""
        return self.listing.path(row)

    def probed(self, row: int) -> FileStamp | None:
        """Return the stamp of a file when its header was read; None where it was not."""
        if self.kind[row] < 0:
            return None
        return FileStamp(int(self.changed_ns[row]), int(self.sizes[row]))

    def place(self, row: int, page: int) -> PageLocation | None:
        """Return where a page of a file is, if another file may hold it.

        A header is read only next to such files.
        """
        if self.places and self.kind[row] == UNREAD:
            self.read_header(row)
        places = self.places.get(row)
        return None if places is None else places.of(page)

    def read_header(self, row: int) -> int:
        """Read one header, once; return the file's class. A file that cannot be read is noted."""
        if self.kind[row] == UNREAD:
            self.read_parsed(row)
        return int(self.kind[row])

    def read_parsed(self, row: int) -> ParsedHeader | None:
        """Read one header and return all of it: None where it cannot be read, which is noted."""
        path = self.path(row)
        header = problem = None
        try:
            self.changed_ns[row], self.sizes[row], *_ = FileStamp.of(path)
            if self.sizes[row] == 0:
                msg = f"{path}: the file is empty (0 bytes); expected a picture. "
                msg += "Copy it again and retry"
                raise ChunkReadError(msg, path)  # noqa: TRY301 - one way for all that is wrong
            header = parse_header(path)
            if header.info.files:
                self.sets[row] = header.info.files
            self.places.pop(row, None)
            if header.info.places is not None:
                self.places[row] = header.info.places
            kind = self._kind_of(header.info)
        except ChunkReadError as err:
            kind, problem = UNREADABLE, str(err)
        with self._lock:
            self.kind[row] = kind
            if problem is not None:
                self.problems[row] = problem
        if self.on_header is not None:
            self.on_header(row)
        return header

    def _kind_of(self, info: PictureInfo) -> int:
        key = (info.shape, info.dtype.str, info.axes, info.page_ndim)
        with self._lock:
            kind = self._kinds.setdefault(key, len(self.header_classes))
            if kind == len(self.header_classes):
                self.header_classes.append(info)
            elif (known := self.header_classes[kind].metadata) is not info.metadata:
                shared = common_items(known, info.metadata)
                self.differing |= (known.keys() | info.metadata.keys()) - shared.keys()
                if len(shared) < len(known):
                    self.header_classes[kind] = replace(self.header_classes[kind], metadata=shared)
            return kind

    def forget(self, row: int) -> None:
        """Forget the header of one file, so that it is read again when it is asked for."""
        with self._lock:
            self.kind[row] = UNREAD
            self.problems.pop(row, None)

    def read_deciding(self) -> None:
        """Read the headers that decide what the files open as, the same ones on any machine.

        These are one of each family of names (alike but for their digits) and some from all over.
        All of a family are read where some of them differ.
        """
        count = len(self)
        sizes = np.bincount(self.family)
        first = np.unique(self.family, return_index=True)[1]
        largest = np.argsort(-sizes, kind="stable")[:MOST_FAMILIES]
        spread = np.arange(0, count, max(1, -(-count // SAMPLE)))
        self._read(np.union1d(first[largest], spread))
        if not self.header_classes:
            self._read_until_readable()
        left = MOST_READ
        for family in self._mixed_families():
            if sizes[family] <= left:
                left -= int(sizes[family])
                unread = (self.family == family) & (self.kind == UNREAD)
                self._read(np.flatnonzero(unread))

    def _read(self, rows: Array) -> None:
        for row in rows.tolist():
            self.read_header(row)

    def _read_until_readable(self) -> None:
        for row in islice(self.unknown(), MOST_READ):
            if self.read_header(row) >= 0:
                return

    def _mixed_families(self) -> list[int]:
        """Return the families of which files of several classes are known."""
        known = self.kind >= 0
        pairs = np.unique(np.stack([self.family[known], self.kind[known]]), axis=1)
        return np.flatnonzero(np.bincount(pairs[0]) > 1).tolist()

    def expected_kinds(self) -> Array:
        """Return the class of each file; of one that is not known, that of most of its family.

        Where none of a family is known, that of most files counts.
        """
        known = self.kind >= 0
        classes = len(self.header_classes)
        pairs = self.family[known].astype(np.int64) * classes + self.kind[known]
        found, counts = np.unique(pairs, return_counts=True)
        rising = np.lexsort((-found, counts))  # what is written last stays: the earlier of equals
        of_family = np.full(int(self.family.max()) + 1, self.main_kind())
        of_family[found[rising] // classes] = found[rising] % classes
        return np.where(known, self.kind, of_family[self.family])

    def read_for(self, seconds: float) -> None:
        """Read more headers, in order, until all are known or the time is up."""
        end = time.perf_counter() + seconds
        for row in self.unknown():
            self.read_header(row)
            if time.perf_counter() > end:
                return

    def all_known(self) -> bool:
        """Return whether every header was read."""
        return not bool((self.kind == UNREAD).any())

    def unknown(self) -> Iterator[int]:
        """Yield the rows whose headers were not read yet, in order; any may be read meanwhile."""
        for start in range(0, len(self), _BLOCK):
            for row in np.flatnonzero(self.kind[start : start + _BLOCK] == UNREAD).tolist():
                yield start + row

    def main_kind(self) -> int:
        """Return the class of most files, the earlier of equals; `UNREADABLE` if there is none."""
        readable = self.kind[self.kind >= 0]
        return int(np.argmax(np.bincount(readable))) if readable.size else UNREADABLE

    def drop_empty(self) -> None:
        """Leave out the files that are known to be empty."""
        self._drop(self.sizes == 0, EMPTY)

    def drop_members(self) -> None:
        """Leave out what other files bring along as parts of an OME-TIFF set.

        At most `MOST_READ` headers are read to know them.
        """
        if not self.sets:
            return
        rows = {os.path.abspath(self.path(row)): row for row in range(len(self))}
        member = np.zeros(len(self), bool)
        left = MOST_READ
        for row in range(len(self)):
            if left and not member[row] and self.kind[row] == UNREAD:
                left -= 1
                self.read_header(row)
            if not member[row]:
                others = (rows.get(path, row) for path in self.sets.get(row, ()))
                member[[other for other in others if other > row]] = True
        self._drop(member, MEMBER)

    def _drop(self, dropped: Array, reason: str) -> None:
        if not dropped.any():
            return
        kept = ~dropped
        place = np.cumsum(kept) - 1
        self.listing.keep(kept, reason)
        for name in ("kind", "family", "sizes", "changed_ns"):
            setattr(self, name, getattr(self, name)[kept])
        for name in ("problems", "sets", "places"):
            items = getattr(self, name).items()
            setattr(self, name, {int(place[row]): value for row, value in items if kept[row]})
