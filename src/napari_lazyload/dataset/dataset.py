"""A dataset: what one path opens as."""

from __future__ import annotations

import itertools
import operator
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from napari_lazyload.arrays.image import Image, OnError
from napari_lazyload.core.chunk_states import ChunkState
from napari_lazyload.core.text import problem_state
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
"""Columns of the meta table that give the state of a row."""

MOST_NEWS = 1000
"""A background scan reports so many rows to listeners one by one; the others at its end."""

_open: weakref.WeakSet[Dataset] = weakref.WeakSet()


def open_datasets() -> list[Dataset]:
    """Return the datasets of this process that are open; from any thread."""
    while True:
        try:
            return list(_open)
        except RuntimeError:  # one was opened or closed meanwhile
            continue  # no lock: the collector may close one in a thread that holds it


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
            Image(image, on_error=on_error, level=level, chunks=chunks) for image in source.sources
        )
        # A layer may show an image converted, or with computed levels.
        self._shown = [shown_image(image).source.meta.levels for image in self.images]
        self._numbers = {image.token: number for number, image in enumerate(source.sources)}
        self._states = RowStates(source, self._shown)
        self.closed = False
        self._listeners: list[tuple[Callable[[int | None], Any], Callable[[], None]]] = []
        _open.add(self)

    def __repr__(self) -> str:
        state = " (closed)" if self.closed else ""
        count = _counted(len(self.images), "image")
        return f"<{self.kind} {self.path!r}: {count}{state}>"

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
        raise TypeError(
            "a Dataset stays in its process: send one of its images, which pickle, "
            "or open the path again there"
        )

    @property
    def path(self) -> str:
        """Where it came from."""
        return self._opened.path

    @property
    def opened_with(self) -> tuple[str | list[str], dict[str, Any]]:
        """What opens it again: path or paths, and the options that differ from the defaults."""
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
        """The files that were left out and why; at most the first thousand for each reason."""
        import pandas as pd

        pairs: list[tuple[str, str]] = []
        for reason, names in self._opened.left_out.items():
            pairs += zip(names, itertools.repeat(reason))
        return pd.DataFrame(pairs, columns=["original_filename", "reason"], dtype=object)

    @property
    def summary(self) -> str:
        """One line: how many rows and images, what was left out, how many rows have a problem."""
        noun = self._opened.row_name
        parts = [_counted(self._opened.row_count, noun)]
        if len(self.images) > 1 and noun != "image":
            parts.append(f"{len(self.images)} images")
        for reason, count in self._opened.skipped.items():
            parts.append(f"{count:,} x {reason} left out")
        if failed := len(self.problems()):
            parts.append(f"{failed:,} with a problem")
        return ", ".join(parts)

    @property
    def meta(self) -> pd.DataFrame:
        """The meta table, a copy each time: a row for each file in slider order, image by image.

        ``original_filename`` names the file, ``image`` the number of its image where there are
        several, a column for each axis that counts files where it lies on it; ``shape``, ``dtype``,
        ``format``, ``size_bytes`` and ``modified`` are what its header says, as far as it was read;
        ``status`` and ``error`` say what cannot be shown and why.
        """
        columns: dict[str, Any] = dict(self._opened.columns())
        rows = self._opened.row_count
        state, reason = np.full(rows, "", object), np.full(rows, "", object)
        for row, why in self.problems().items():
            state[row], reason[row] = problem_state(why), why
        columns[STATUS], columns[ERROR] = state, reason
        import pandas as pd  # half a second that opening need not pay

        for name, values in columns.items():
            if isinstance(values, np.ndarray) and values.dtype == object:
                # To infer a string type costs a pass over a million values.
                columns[name] = pd.Series(values, dtype=object, copy=False)
        return pd.DataFrame(columns, copy=False)

    def problems(self) -> dict[int, str]:
        """Return why rows of the table cannot be shown: bad headers, and reads that failed."""
        found = dict(self._opened.problems())
        for token, number in self._numbers.items():
            for (level, index), reason in status.shared.failures(token).items():
                found[self.row_of(number, index, level)] = reason
        return found

    def row_states(self, rows: Collection[int] | None = None) -> dict[int, str]:
        """Return the states of some rows of the table.

        A state is "queued", "loading", "loaded", "failed", "different" (it can be read, but is
        unlike its image), "evicted", or "" of a row that nobody requested. By default all rows with
        a state are gone through, which takes longer the more there are.
        """
        if rows is None:
            states = self._states.known()
        else:
            states = dict(zip(rows, self._states.of(rows), strict=True))
        if ChunkState.FAILED in states.values():
            problems = self.problems()
            for row in states.keys() & problems.keys():
                if states[row] == ChunkState.FAILED:
                    states[row] = problem_state(problems[row])
        return states

    def row_of(self, image: int, index: Sequence[int], level: int | None = None) -> int:
        """Return the row that shows an index of an image: a chunk of `level`, or a pixel."""
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
        """Return the lengths of the leading axes of an image, which count rows of the table."""
        return self._opened.sources[image].row_map.shape

    def locate(self, row: int) -> tuple[int, tuple[int, ...]]:
        """Return the number of the image that shows a row, and its index on the leading axes."""
        number = self._images_of(row)[0]
        return number, self._index_in(number, row)

    def _images_of(self, row: int) -> list[int]:
        """Return the numbers of the images that show a row: a padded one has its coverage too."""
        row = operator.index(row)  # for a NumPy integer, `in` would walk over the whole range
        found = [image for image, rows in enumerate(self._opened.rows) if row in rows]
        if not found:
            raise IndexError(f"row {row} is not in the table of {self._opened.row_count} rows")
        return found

    def _index_in(self, image: int, row: int) -> tuple[int, ...]:
        rows = self._opened.sources[image].row_map
        return rows.index_of(row - self._opened.rows[image].start)

    def retry(self, row: int) -> None:
        """Read a row's header again and forget that it failed: the next read tries it again."""
        images = self._images_of(row)
        self._opened.recheck(row)
        for image in images:
            token = self._opened.sources[image].token
            for level, chunk in status.shared.failures(token):
                if self.row_of(image, chunk, level) == row:
                    status.shared.clear(token, level, chunk)
        self._emit(row)

    def connect(self, listener: Callable[[int | None], Any]) -> Callable[[], None]:
        """Call ``listener(row)`` from any thread when a row of the table changed; None is all rows.

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

    def scan(self, *, wait: bool = False) -> None:
        """Read the headers that opening did not read, once; in the background if not to `wait`."""
        background = self._opened.background
        if background is None or self.closed:
            return
        self._opened.background = None
        if wait:
            background(lambda: False, lambda _row: None)
            return
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
        """Return napari LayerData tuples of all images: lazy data, keywords, layer type."""
        layers: list[tuple[Any, dict[str, Any], str]] = []
        for image in self.images:
            layers += layer_data(image, self)
        return layers

    def reopen(self, **options: Any) -> Dataset:
        """Open the same again with some arguments of `open_dataset` changed; this one stays open.

        Examples
        --------
        >>> dataset.reopen(headers="all")  # doctest: +SKIP
        """
        if self._again is None:
            raise TypeError("this dataset was not made by open_dataset: it cannot be opened again")
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
        others = [dataset._opened for dataset in open_datasets()]  # noqa: SLF001 - same class
        cache.shared.drop(
            lambda key: self._opened.owns(key) and not any(other.owns(key) for other in others)
        )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
