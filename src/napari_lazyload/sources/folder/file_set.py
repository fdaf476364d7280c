"""A listing of pictures with what is known of their headers: one for all images and the table of a folder."""

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
    from napari_lazyload.sources.image_header import PageLocation, PageLocations

UNREAD, UNREADABLE = -1, -2
RETRY_SECONDS = 5.0
"""So many seconds opening goes on looking for a picture that can be read, where all those before
cannot."""
_SPREAD = 256
_BLOCK = 4096


def read_info(path: str, series: int = 0) -> PictureInfo:
    """Read one header; what is missing to do so is an error of the file too.

    Parameters
    ----------
    path : str
        The file.
    series : int
        Of which of its images.

    Raises
    ------
    ChunkReadError
        If it is no picture, or cannot be read, or has no such image.
    """
    try:
        return decode.read_series(path)[series] if series else decode.read_info(path)
    except IndexError as err:
        msg = f"{path}: expected an image number {series}, found fewer; open the file again: it was replaced"
        raise ChunkReadError(msg, path) from err
    except MissingDependencyError as err:
        raise ChunkReadError(str(err), path) from err


def common_items(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two headers say alike."""
    return {
        key: value for key, value in first.items() if key in second and _same(value, second[key])
    }


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(value, other)
    return bool(value == other)


class FileSet:
    """The pictures of one listing and their headers, as far as they were read.

    Any thread may probe. Pickles with all that is known.

    Attributes
    ----------
    listing : Listing
        Root, names in slider order, what was left out.
    infos : list of PictureInfo
        One for each distinct (shape, dtype, axes) that was found, with the extras that all files of
        it share.
    kind : numpy.ndarray of int32
        For each file the index into `infos`, or `UNKNOWN`, or `UNREADABLE`.
    sizes : numpy.ndarray of int64
        Bytes of each file, -1 while unknown.
    changed_ns : numpy.ndarray of int64
        Time of change of each file, -1 while unknown.
    differing : set of str
        The extras in which files of one kind differ.
    problems : dict of int to str
        Why a file cannot be shown, by row.
    sets : dict of int to frozenset of str
        By row, the files that make up one image with it.
    places : dict of int to Places
        By row, where its pages are, of those that other files hold pages of.
    token : str
        Names this set among all others.
    watch : callable or None
        Hears of each row whose kind became known, in the thread that found out.
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
        return {
            name: value for name, value in self.__dict__.items() if name not in ("_lock", "watch")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.on_header = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.listing.names)

    def path(self, row: int) -> str:
        """Return the absolute path of one file."""
        return self.listing.path(row)

    def probed(self, row: int) -> FileStamp | None:
        """Return the stamp that a file had when its header was read, None where it was not or could not be."""
        if self.kind[row] < 0:
            return None
        return FileStamp(int(self.changed_ns[row]), int(self.sizes[row]))

    def place(self, row: int, page: int) -> PageLocation | None:
        """Return where a page of a file is, if another file may hold it; a header is read only next to such files."""
        if self.places and self.kind[row] == UNREAD:
            self.read_header(row)
        places = self.places.get(row)
        return None if places is None else places.of(page)

    def read_header(self, row: int) -> int:
        """Read one header, once; return the file's kind. A file that cannot be read is noted, not raised."""
        known = int(self.kind[row])
        if known != UNREAD:
            return known
        path = self.path(row)
        problem = None
        try:
            self.changed_ns[row], self.sizes[row] = FileStamp.of(path)
            if self.sizes[row] == 0:
                msg = f"{path}: the file is empty (0 bytes); expected a picture. Copy it again and retry"
                raise ChunkReadError(msg, path)  # noqa: TRY301 - one way for all that is wrong with a file
            info = read_info(path)
            if info.files:
                self.sets[row] = info.files
            self.places.pop(row, None)
            if info.places is not None:
                self.places[row] = info.places
            kind = self._kind_of(info)
        except ChunkReadError as err:
            kind, problem = UNREADABLE, str(err)
        with self._lock:
            self.kind[row] = kind
            if problem is not None:
                self.problems[row] = problem
        if self.on_header is not None:
            self.on_header(row)
        return kind

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
        """Forget what is known of one file, so that the next probe reads it again."""
        with self._lock:
            self.kind[row] = UNREAD
            self.problems.pop(row, None)

    def probe_for(self, seconds: float) -> bool:
        """Read headers, spread over the set first, until all are known or the time is up.

        Where nothing could be read by then, the search for a file that can goes on for `PATIENCE`
        seconds.

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
        """Yield the rows whose headers were not read yet, in order; others may be read meanwhile."""
        for start in range(0, len(self), _BLOCK):
            for row in np.flatnonzero(self.kind[start : start + _BLOCK] == UNREAD).tolist():
                yield start + row

    def main_kind(self) -> int:
        """Return the kind of most files, the earlier found of equals; `UNREADABLE` where none can be read."""
        readable = self.kind[self.kind >= 0]
        return int(np.argmax(np.bincount(readable))) if readable.size else UNREADABLE

    def drop_empty(self) -> None:
        """Leave out the files that are known to be empty."""
        self._drop(self.sizes == 0, EMPTY)

    def drop_members(self, seconds: float) -> None:
        """Leave out what other files bring along as parts of an OME-TIFF set; headers are read for some seconds."""
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
        self.kind, self.sizes, self.changed_ns = (
            self.kind[kept],
            self.sizes[kept],
            self.changed_ns[kept],
        )
        self.problems = {int(place[row]): why for row, why in self.problems.items() if kept[row]}
        self.sets = {int(place[row]): paths for row, paths in self.sets.items() if kept[row]}
        self.places = {int(place[row]): places for row, places in self.places.items() if kept[row]}
