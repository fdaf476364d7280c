"""A dataset: what one path opens as."""

from __future__ import annotations

import itertools
import operator
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from napari_lazyload.arrays.image import Image, OnError
from napari_lazyload.dataset.layer_data import layer_data, shown_image
from napari_lazyload.dataset.row_states import RowStates
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.loading.background import BackgroundThrottle
from napari_lazyload.loading.jobs import Job, Tier

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Sequence
    from types import TracebackType

    import pandas as pd

    from napari_lazyload.sources.opened import OpenResult

    PathLike = str | os.PathLike[str]

STATUS, ERROR = "status", "error"
"""Columns of the meta table that say how a row fares."""

MOST_NEWS = 1000
"""A background scan tells listeners of so many rows one by one; the end of the scan tells of the
rest."""

_open: weakref.WeakSet[Dataset] = weakref.WeakSet()


def open_datasets() -> list[Dataset]:
    """Return the datasets of this process that are open; from any thread."""
    while True:
        try:
            return list(_open)
        except RuntimeError:  # one was opened or closed meanwhile; the collector may close one in a thread with a lock
            continue


class Dataset:
    """One or more images, their meta table, and where they came from. Made by :func:`open_dataset`.

    A dataset stays in its process: it does not pickle. Its images do.

    Parameters
    ----------
    source : OpenResult
        What the format's reader found.
    on_error : {"raise", "blank"}
        What exact reads of a chunk that cannot be read give.
    level : int, optional
        Keep this level of each image alone.
    chunks : Any, optional
        Chunks of the dask arrays instead of the file's.
    again : callable, optional
        ``again(**options)`` opens the same with some options changed.
    """

    def __init__(
        self,
        source: OpenResult,
        *,
        on_error: OnError = "raise",
        level: int | None = None,
        chunks: Any = None,
        again: Callable[..., Dataset] | None = None,
    ) -> None:
        self._opened = source
        self._again = again
        self._options: dict[str, Any] = {}
        self.images: tuple[Image, ...] = tuple(
            Image(one, on_error=on_error, level=level, chunks=chunks) for one in source.sources
        )
        # A layer may show an image converted, or with computed levels.
        self._shown = [shown_image(image).source.meta.levels for image in self.images]
        self._numbers = {one.token: number for number, one in enumerate(source.sources)}
        self._states = RowStates(source, self._shown)
        self.closed = False
        self._listeners: list[tuple[Callable[[int | None], Any], Callable[[], None]]] = []
        _open.add(self)

    def __repr__(self) -> str:
        state = " (closed)" if self.closed else ""
        return f"<{self.kind} {self.path!r}: {len(self.images)} image{'s'[: len(self.images) != 1]}{state}>"

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        msg = "a Dataset stays in its process: send one of its images, which pickle, or open the path again there"
        raise TypeError(msg)

    @property
    def path(self) -> str:
        """Where it came from."""
        return self._opened.path

    @property
    def opened_with(self) -> tuple[str | list[str], dict[str, Any]]:
        """What opens it again: the path or paths, and the options of :func:`open_dataset` that are not the default."""
        return self._opened.where(), dict(self._options)

    @property
    def kind(self) -> str:
        """What it is, for people."""
        return self._opened.kind

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how it was opened."""
        return tuple(self._opened.notes)

    @property
    def skipped(self) -> dict[str, int]:
        """How many files were left out, by reason."""
        return dict(self._opened.skipped)

    @property
    def left_out(self) -> pd.DataFrame:
        """The files that were left out and why; of more than a thousand with one reason, the first thousand."""
        import pandas as pd

        pairs = [
            (name, reason) for reason, names in self._opened.left_out.items() for name in names
        ]
        return pd.DataFrame(pairs, columns=["original_filename", "reason"], dtype=object)

    @property
    def summary(self) -> str:
        """One line: how many rows and images, what was left out, how many rows have a problem."""
        rows, noun = self._opened.row_count, self._opened.row_name
        parts = [f"{rows:,} {noun}{'s'[: rows != 1]}"]
        if len(self.images) > 1 and noun != "image":
            parts.append(f"{len(self.images)} images")
        parts += [
            f"{count:,} x {reason} left out" for reason, count in self._opened.skipped.items()
        ]
        failed = len(self.problems())
        if failed:
            parts.append(f"{failed:,} with a problem")
        return ", ".join(parts)

    @property
    def meta(self) -> pd.DataFrame:
        """The meta table, a copy each time: one row for each file, in slider order, image after image.

        ``original_filename`` names the file, ``image`` the number of its image where there are
        several, a column for each axis that counts files where it lies on it; ``shape``, ``dtype``,
        ``format``, ``size_bytes`` and ``modified`` are what its header says, as far as it was read;
        ``status`` and ``error`` say what cannot be shown and why.
        """
        columns: dict[str, Any] = dict(self._opened.columns())
        rows = self._opened.row_count
        state, reason = np.full(rows, "", object), np.full(rows, "", object)
        for row, why in self.problems().items():
            state[row], reason[row] = "failed", why
        columns[STATUS], columns[ERROR] = state, reason
        import pandas as pd  # half a second that opening need not pay

        return pd.DataFrame({name: _column(values) for name, values in columns.items()}, copy=False)

    def problems(self) -> dict[int, str]:
        """Return why rows of the table cannot be shown: what headers told, and reads that failed."""
        found = dict(self._opened.problems())
        for token, number in self._numbers.items():
            for (level, index), reason in status.shared.failures(token).items():
                found[self.row_of(number, index, level)] = reason
        return found

    def row_state(self, row: int) -> str:
        """Return how a row fares: "queued", "loading", "loaded", "failed", "evicted", or "" if nobody asked for it."""
        return self._states.of([row])[0]

    def row_states(self, rows: Collection[int] | None = None) -> dict[int, str]:
        """Return the states of some rows; by default of all that have one, which takes as long as they are many."""
        return (
            self._states.known()
            if rows is None
            else dict(zip(rows, self._states.of(rows), strict=True))
        )

    def row_of(self, image: int, index: Sequence[int], level: int | None = None) -> int:
        """Return the row of the table that an index of an image belongs to: of a chunk of a level, or of a pixel."""
        rows = self._opened.sources[image].row_map
        if level is None:
            place = rows.row_of(index)
        else:
            place = rows.row_of_chunk(self._shown[image][level], tuple(index))
        return self._opened.rows[image].start + int(place)

    def rows_of(self, image: int) -> int:
        """Return how many rows of the table an image shows."""
        return len(self._opened.rows[image])

    def leading_shape(self, image: int) -> tuple[int, ...]:
        """Return the length of the axes of an image that count rows of the table, which come first."""
        return self._opened.sources[image].row_map.shape

    def locate(self, row: int) -> tuple[int, tuple[int, ...]]:
        """Return the number of the image that a row of the table belongs to, and its index on the leading axes."""
        number = self._images_of(row)[0]
        return number, self._index_in(number, row)

    def _images_of(self, row: int) -> list[int]:
        """Return the numbers of the images that show a row: a padded one and its coverage show the same."""
        row = operator.index(
            row
        )  # to look for a NumPy integer, a range would walk over all of its own
        found = [image for image, rows in enumerate(self._opened.rows) if row in rows]
        if not found:
            msg = f"row {row} is not in the table of {self._opened.row_count} rows"
            raise IndexError(msg)
        return found

    def _index_in(self, image: int, row: int) -> tuple[int, ...]:
        rows = self._opened.sources[image].row_map
        return rows.index_of(row - self._opened.rows[image].start)

    def retry(self, row: int) -> None:
        """Read a row's header again and forget that it failed, so that the next view or read tries it again."""
        images = self._images_of(row)
        self._opened.recheck(row)
        for image in images:
            token = self._opened.sources[image].token
            for level, chunk in status.shared.failures(token):
                if self.row_of(image, chunk, level) == row:
                    status.shared.clear(token, level, chunk)
        self._emit(row)

    def connect(self, listener: Callable[[int | None], Any]) -> Callable[[], None]:
        """Call ``listener(row)`` when a row of the table changed, from any thread; None stands for all rows.

        Returns
        -------
        callable
            Disconnects the listener. Closing the dataset does so too.
        """

        def on_status(token: str, level: int, index: Sequence[int], _reason: str | None) -> None:
            number = self._numbers.get(token)
            if number is not None:
                listener(self.row_of(number, index, level))

        entry = (listener, status.shared.connect(on_status))
        self._listeners.append(entry)

        def disconnect() -> None:
            if entry in self._listeners:
                self._listeners.remove(entry)
                entry[1]()

        return disconnect

    def _emit(self, row: int | None) -> None:
        for listener, _ in list(self._listeners):
            listener(row)

    def scan(self) -> None:
        """Find out in the background what opening left open: headers of files that were not looked at. Once."""
        background = self._opened.background
        if background is None or self.closed:
            return
        self._opened.background = None
        news = itertools.count()

        def found(row: int) -> None:
            if next(news) < MOST_NEWS:
                self._emit(row)

        def work(job: Job) -> None:
            background(BackgroundThrottle(lambda: job.cancelled), found)
            if not job.cancelled:
                self._emit(None)

        scheduler.shared.submit(work, tier=Tier.BACKGROUND, owner=self._owner)

    @property
    def _owner(self) -> tuple[str, int]:
        return ("dataset", id(self))

    def to_layer_data(self) -> list[tuple[Any, dict[str, Any], str]]:
        """Return napari LayerData tuples of all images: exact lazy data, keyword arguments, layer type."""
        return [layer for image in self.images for layer in layer_data(image, self)]

    def reopen(self, **options: Any) -> Dataset:
        """Open the same again with some arguments of :func:`open_dataset` changed; this one stays open.

        Examples
        --------
        >>> dataset.reopen(headers="all")  # doctest: +SKIP
        """
        if self._again is None:
            msg = "this dataset was not made by open_dataset, so that it cannot be opened again"
            raise TypeError(msg)
        return self._again(**options)

    def close(self) -> None:
        """Stop background work and free the cached chunks of these files; safe to call twice.

        The lazy arrays go on to work. Chunks that another open dataset shows too are kept.
        """
        if self.closed:
            return
        self.closed = True
        _open.discard(self)
        scheduler.shared.cancel(self._owner)
        for _, stop in self._listeners:
            stop()
        self._listeners.clear()
        for token in self._numbers:
            status.shared.forget(token)
        mine, others = self._opened.owns, [one._opened.owns for one in open_datasets()]  # noqa: SLF001 - same class
        cache.shared.drop(lambda key: mine(key) and not any(owns(key) for owns in others))


def _column(values: Any) -> Any:
    if isinstance(values, np.ndarray) and values.dtype == object:
        import pandas as pd

        return pd.Series(
            values, dtype=object, copy=False
        )  # to infer a string type costs a pass over a million values
    return values
