"""The meta table of a folder: a row for each file, with its header and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.text import describe_pixels, different_text
from napari_lazyload.sources.folder.file_set import UNREADABLE, FileSet
from napari_lazyload.sources.opened import IMAGE, Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_lazyload.sources.folder.image_stack import PictureSource
    from napari_lazyload.sources.image_files.decode import PictureInfo

    Array = np.ndarray[Any, Any]


class FolderTable:
    """The files of some images, image after image, in slider order.

    A row is a place in this table; the files keep their own order, which is another where there are
    several images.

    Parameters
    ----------
    files : FileSet
        The files; each is in one image.
    pictures : sequence of PictureSource
        The images.
    numbers : sequence of int
        What each image is called in the column ``image``.
    """

    def __init__(
        self, files: FileSet, pictures: Sequence[PictureSource], numbers: Sequence[int]
    ) -> None:
        self._files = files
        self._pictures = pictures
        self._numbers = numbers
        self._rows = np.concatenate([source.rows for source in pictures])
        lengths = [len(source.rows) for source in pictures]
        self._owner = np.repeat(np.arange(len(pictures), dtype=np.int32), lengths)
        self._places = np.empty(len(files), np.int64)
        self._places[self._rows] = np.arange(len(self._rows))
        self._takes: dict[tuple[int, int], bool] = {}
        self._problems: dict[int, str] = {}
        for place in np.flatnonzero(self._wrong()).tolist():
            self._note(int(self._rows[place]))
        files.on_header = self._note

    def _wrong(self) -> Array:
        """Return which rows are known to be unreadable or unlike their image, as a mask."""
        wrong = np.zeros(len(self._rows), bool)
        start = 0
        for number, source in enumerate(self._pictures):
            kinds = self._files.kind[source.rows]
            bad = [kind for kind in np.unique(kinds).tolist() if not self._fits(number, kind)]
            wrong[start : start + len(kinds)] = np.isin(kinds, bad)
            start += len(kinds)
        return wrong

    def _fits(self, number: int, kind: int) -> bool:
        """Return whether an image shows files of a kind; not known is no fault."""
        if kind < 0:
            return kind != UNREADABLE
        if (number, kind) not in self._takes:
            self._takes[number, kind] = self._pictures[number].takes(kind)
        return self._takes[number, kind]

    def _note(self, file: int) -> None:
        """Keep what is wrong with a file whose header was read."""
        place, kind = int(self._places[file]), int(self._files.kind[file])
        number = int(self._owner[place])
        if kind == UNREADABLE:
            self._problems[place] = self._files.problems.get(file, "cannot be read")
        elif not self._fits(number, kind):
            source, info = self._pictures[number], self._files.header_classes[kind]
            expected, found = (describe_pixels(one.shape, one.dtype) for one in (source.info, info))
            if expected == found:
                expected, found = (
                    f"{found} ({', '.join(axes)})" for axes in (source.info.axes, info.axes)
                )
            most = "at most " if source.padded else ""
            self._problems[place] = different_text(most + expected, found)
        else:
            self._problems.pop(place, None)

    def problems(self) -> dict[int, str]:
        """Return why rows do not load or do not fit their image, as far as headers were read."""
        return dict(self._problems)

    def recheck(self, row: int) -> None:
        """Read a file's header again."""
        file = int(self._rows[row])
        self._files.forget(file)
        self._files.read_header(file)

    def scan(self, cancelled: Callable[[], bool], found: Callable[[int], Any]) -> None:
        """Read all headers that were not read yet; `found` hears of each row with a problem."""
        for file in self._files.unknown():
            if cancelled():
                return
            self._files.read_header(file)
            place = int(self._places[file])
            if place in self._problems:
                found(place)

    def columns(self) -> Columns:
        """Return names, where each file is on the axes, what its header says."""
        files = self._files
        kinds, sizes, changed = (
            self._by_row(known) for known in (files.kind, files.sizes, files.changed_ns)
        )
        columns: dict[str, Any] = {"original_filename": self._by_row(files.listing.names)}
        if len(self._pictures) > 1:
            columns[IMAGE] = np.array(self._numbers)[self._owner]
        columns.update(self._axis_columns())
        # The last two are for files that are not known (-1) and those that cannot be read (-2).
        texts = np.array(
            [*map(_texts, files.header_classes), ("", "", ""), ("", "", "")], dtype=object
        )
        for name, of_kind in zip(("shape", "dtype", "format"), texts.T, strict=True):
            columns[name] = of_kind[kinds]
        columns["size_bytes"] = np.where(sizes < 0, np.nan, sizes)
        columns["modified"] = np.where(
            changed < 0, np.datetime64("NaT", "ns"), changed.view("M8[ns]")
        )
        return columns

    def _by_row(self, of_files: Array) -> Array:
        """Return what is known of each file in the order of the rows, a copy."""
        return of_files.copy() if len(self._pictures) == 1 else of_files[self._rows]

    def _axis_columns(self) -> dict[str, Array]:
        names = dict.fromkeys(axis for source in self._pictures for axis in source.row_map.axes)
        columns = {name: np.zeros(len(self._rows), np.int64) for name in names}
        start = 0
        for source in self._pictures:
            count = len(source.rows)
            if source.row_map.axes:
                places = np.unravel_index(np.arange(count), source.row_map.shape)
                for name, along in zip(source.row_map.axes, places, strict=True):
                    columns[name][start : start + count] = along
            start += count
        return columns


def _texts(info: PictureInfo) -> tuple[str, str, str]:
    return " x ".join(map(str, info.shape)), str(info.dtype), info.format
