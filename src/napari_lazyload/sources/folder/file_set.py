"""The image files of a listing, and their headers as far as they were read."""

from __future__ import annotations

import os
import threading
import time
import uuid
from dataclasses import replace
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

UNREAD, UNREADABLE = -1, -2
RETRY_SECONDS = 5.0
"""So long opening searches on for an image file that can be read, where all those before cannot."""
_SPREAD = 256
_BLOCK = 4096


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
            self.changed_ns[row], self.sizes[row] = FileStamp.of(path)
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

    def probe_for(self, seconds: float) -> bool:
        """Read headers, spread over the set first, until all are known or the time is up.

        Where nothing could be read by then, the search for a file that can goes on for
        `RETRY_SECONDS`.

        Returns
        -------
        bool
            Whether all are known.
        """
        end = time.perf_counter() + seconds
        for row in self._spread():
            self.read_header(row)
            now = time.perf_counter()
            if now > end and (self.header_classes or now > end + RETRY_SECONDS):
                break
        return self.all_known()

    def _spread(self) -> Iterator[int]:
        """Yield every row: the first one, some from all over the set, then the rest."""
        count = len(self)
        step = max(1, count // _SPREAD)
        yield from range(0, count, step)
        if step > 1:
            yield from (row for row in range(count) if row % step)

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

    def drop_members(self, seconds: float) -> None:
        """Leave out what other files bring along as parts of an OME-TIFF set.

        Headers are read for some seconds.
        """
        if not self.sets:
            return
        rows = {os.path.abspath(self.path(row)): row for row in range(len(self))}
        member = np.zeros(len(self), bool)
        end = time.perf_counter() + seconds
        for row in range(len(self)):
            if not member[row] and time.perf_counter() < end:
                self.read_header(row)
            if not member[row]:
                others = (rows.get(path, row) for path in self.sets.get(row, ()))
                member[[other for other in others if other > row]] = True
        self._drop(member, MEMBER)

    def _drop(self, dropped: np.ndarray[Any, Any], reason: str) -> None:
        if not dropped.any():
            return
        kept = ~dropped
        place = np.cumsum(kept) - 1
        self.listing.keep(kept, reason)
        for name in ("kind", "sizes", "changed_ns"):
            setattr(self, name, getattr(self, name)[kept])
        for name in ("problems", "sets", "places"):
            items = getattr(self, name).items()
            setattr(self, name, {int(place[row]): value for row, value in items if kept[row]})
