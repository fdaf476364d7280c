"""A listing of pictures with what is known of their headers; shared by the images, the table and the sequences of one
folder."""

from __future__ import annotations

import os
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.sources.file_listing import EMPTY, Listing
from napari_lazyload.sources.pictures import PictureInfo, read_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

UNKNOWN, UNREADABLE = -1, -2
_SPREAD = 256
Stamp = tuple[int, int]


def file_stamp(path: str) -> Stamp:
    """Return ``(time of change in ns, size in bytes)``, which tells a replaced file from the old one.

    Raises
    ------
    ChunkReadError
        If the file is not there or may not be looked at.
    """
    try:
        stat = os.stat(path)  # noqa: PTH116 - called for each frame that is shown
    except OSError as err:
        msg = (
            f"{path}: the file cannot be found any more ({err.strerror}); it was there when the folder was opened. "
            "Put it back and retry"
        )
        raise ChunkReadError(msg, path) from err
    return stat.st_mtime_ns, stat.st_size


class FileSet:
    """The pictures of one listing and their headers, as far as they were read.

    Attributes
    ----------
    listing : Listing
        Root, names in slider order, what was left out.
    infos : list of PictureInfo
        One for each distinct (shape, dtype, axes) that was found.
    kind : numpy.ndarray of int32
        For each file the index into `infos`, or `UNKNOWN`, or `UNREADABLE`.
    sizes : numpy.ndarray of int64
        Bytes of each file, -1 while unknown.
    changed_ns : numpy.ndarray of int64
        Time of change of each file, -1 while unknown.
    problems : dict of int to str
        Why a file cannot be shown, by row.
    token : str
        Names this set among all others.
    """

    def __init__(self, listing: Listing) -> None:
        count = len(listing.names)
        self.listing = listing
        self.infos: list[PictureInfo] = []
        self.kind = np.full(count, UNKNOWN, np.int32)
        self.sizes = np.full(count, -1, np.int64)
        self.changed_ns = np.full(count, -1, np.int64)
        self.problems: dict[int, str] = {}
        self.token = f"pictures-{uuid.uuid4().hex}"
        self._kinds: dict[Any, int] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.listing.names)

    def path(self, row: int) -> str:
        """Return the absolute path of one file."""
        return self.listing.path(row)

    def probe(self, row: int) -> int:
        """Read one header, once; return the file's kind. A file that cannot be read is noted, not raised."""
        known = int(self.kind[row])
        if known != UNKNOWN:
            return known
        path = self.path(row)
        try:
            changed, size = file_stamp(path)
            if size == 0:
                msg = f"{path}: the file is empty (0 bytes); expected a picture. Copy it again and retry"
                raise ChunkReadError(msg, path)
            info = read_info(path)
        except ChunkReadError as err:
            self._note(row, UNREADABLE, problem=str(err))
            return UNREADABLE
        self.changed_ns[row], self.sizes[row] = changed, size
        kind = self._kind_of(info)
        self._note(row, kind)
        return kind

    def _kind_of(self, info: PictureInfo) -> int:
        key = (info.shape, info.dtype.str, info.axes)
        with self._lock:
            if key not in self._kinds:
                self.infos.append(info)
                self._kinds[key] = len(self.infos) - 1
            return self._kinds[key]

    def _note(self, row: int, kind: int, problem: str | None = None) -> None:
        with self._lock:
            self.kind[row] = kind
            if problem is not None:
                self.problems[row] = problem

    def forget(self, row: int) -> None:
        """Forget what is known of one file, so that the next probe reads it again."""
        with self._lock:
            self.kind[row] = UNKNOWN
            self.problems.pop(row, None)

    def probe_for(self, seconds: float) -> bool:
        """Read headers, spread over the set first, until all are known or the time is up; at least one readable.

        Returns
        -------
        bool
            Whether all are known.
        """
        end = time.perf_counter() + seconds
        for row in self._spread():
            if self.probe(row) >= 0 and time.perf_counter() > end:
                break
        return self.all_known()

    def _spread(self) -> Iterable[int]:
        """Yield every row: the first one, some from all over the set, then the rest."""
        count = len(self)
        step = max(1, count // _SPREAD)
        yield from range(0, count, step)
        if step > 1:
            yield from (row for row in range(count) if row % step)

    def all_known(self) -> bool:
        """Return whether every header was read."""
        return not bool((self.kind == UNKNOWN).any())

    def probe_rest(self, cancelled: Callable[[], bool], found: Callable[[int], Any]) -> None:
        """Read all headers that are not known yet; `found` hears of each row that does not fit the first kind."""
        for row in np.flatnonzero(self.kind == UNKNOWN).tolist():
            if cancelled():
                return
            if self.probe(row) != self.main_kind():
                found(row)

    def main_kind(self) -> int:
        """Return the kind of most files, the earlier of equals; `UNREADABLE` where none can be read."""
        readable = self.kind[self.kind >= 0]
        return int(np.bincount(readable).argmax()) if readable.size else UNREADABLE

    def drop_empty(self) -> None:
        """Leave out the files that are known to be empty."""
        empty = [row for row in self.problems if self.kind[row] == UNREADABLE and self._is_empty(row)]
        if not empty:
            return
        for row in sorted(empty):
            self.listing.skip(EMPTY, self.listing.names[row])
        keep = np.ones(len(self), bool)
        keep[empty] = False
        self._take(np.flatnonzero(keep))

    def _is_empty(self, row: int) -> bool:
        try:
            return file_stamp(self.path(row))[1] == 0
        except ChunkReadError:
            return False

    def _take(self, rows: np.ndarray[Any, Any]) -> None:
        place = {int(row): new for new, row in enumerate(rows)} if self.problems else {}
        self.listing = Listing(self.listing.root, self.listing.names[rows], self.listing.skipped)
        self.kind, self.sizes, self.changed_ns = self.kind[rows], self.sizes[rows], self.changed_ns[rows]
        self.problems = {place[row]: reason for row, reason in self.problems.items() if row in place}
