"""A dataset: what one path opens as."""

from __future__ import annotations

import os
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_lazyload.core.errors import LazyLoadWarning
from napari_lazyload.image import Image, OnError
from napari_lazyload.layer_data import layer_data
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.sources.channels import select_channels
from napari_lazyload.sources.opened import Opened
from napari_lazyload.sources.registry import open_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from napari_lazyload.core.source import Source

    PathLike = str | os.PathLike[str]

STATUS, ERROR = "status", "error"
"""Columns of the meta table that say how a row fares."""

opened: weakref.WeakSet[Dataset] = weakref.WeakSet()
"""The datasets of this process that are open."""


class Dataset:
    """One or more images, their meta table, and where they came from. Made by :func:`open_dataset`.

    Parameters
    ----------
    source : Opened
        What the format's reader found.
    on_error : {"raise", "blank"}
        What exact reads of a chunk that cannot be read give.
    level : int, optional
        Keep this level of each image alone.
    chunks : Any, optional
        Chunks of the dask arrays instead of the file's.
    """

    def __init__(
        self, source: Opened, *, on_error: OnError = "raise", level: int | None = None, chunks: Any = None
    ) -> None:
        self._opened = source
        self.images: tuple[Image, ...] = tuple(
            Image(one, on_error=on_error, level=level, chunks=chunks) for one in source.sources
        )
        self.closed = False
        self._listeners: list[Callable[[int | None], Any]] = []
        opened.add(self)

    def __repr__(self) -> str:
        state = " (closed)" if self.closed else ""
        return f"<{self.kind} {self.path!r}: {len(self.images)} image{'s'[: len(self.images) != 1]}{state}>"

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> str:
        """Where it came from."""
        return self._opened.path

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
    def summary(self) -> str:
        """One line: how many rows and images, and what was left out."""
        rows = self._opened.row_count
        parts = [f"{rows:,} file{'s'[: rows != 1]}"]
        if len(self.images) > 1:
            parts.append(f"{len(self.images)} images")
        parts += [f"{count:,} {reason} left out" for reason, count in self._opened.skipped.items()]
        failed = len(self.problems())
        if failed:
            parts.append(f"{failed:,} with a problem")
        return ", ".join(parts)

    @property
    def meta(self) -> pd.DataFrame:
        """The meta table, a copy each time: one row for each file, in slider order, image after image.

        ``original_filename`` names the file, ``image`` the number of its image where there are several, a column for
        each axis that counts files where it lies on it; ``status`` and ``error`` say what cannot be shown and why.
        """
        columns = dict(self._opened.columns())
        # Strings stay objects: to infer a string type costs a pass over a million values.
        frame = pd.DataFrame({name: _column(values) for name, values in columns.items()})
        state = np.full(len(frame), "", object)
        reason = np.full(len(frame), "", object)
        for row, why in self.problems().items():
            state[row], reason[row] = "failed", why
        frame[STATUS], frame[ERROR] = state, reason
        return frame

    def problems(self) -> dict[int, str]:
        """Return why rows of the table cannot be shown: what headers told, and reads that failed."""
        found = dict(self._opened.problems())
        for number, image in enumerate(self.images):
            for (_, index), reason in status.shared.failures(image.source.token).items():
                found[self.row_of(number, index)] = reason
        return found

    def row_of(self, image: int, index: Sequence[int]) -> int:
        """Return the row of the table that a pixel or chunk index of an image belongs to."""
        return self._opened.rows[image].start + int(self.images[image].source.position(index))

    def leading_shape(self, image: int) -> tuple[int, ...]:
        """Return the length of the axes of an image that count rows of the table, which come first."""
        return tuple(self.images[image].source.lead_axes.values())

    def locate(self, row: int) -> tuple[int, tuple[int, ...]]:
        """Return the number of the image that a row of the table belongs to, and its index on the leading axes."""
        for image, rows in enumerate(self._opened.rows):
            if row in rows:
                return image, self.images[image].source.frame_index(row - rows.start)
        msg = f"row {row} is not in the table of {self._opened.row_count} rows"
        raise IndexError(msg)

    def retry(self, row: int) -> None:
        """Forget that a row failed, so that the next view or read tries it again."""
        self._opened.recheck(row)
        image, index = self.locate(row)
        token = self.images[image].source.token
        for level, chunk in status.shared.failures(token):
            if chunk[: len(index)] == index:
                status.shared.clear(token, level, chunk)

    def connect(self, listener: Callable[[int | None], Any]) -> Callable[[], None]:
        """Call ``listener(row)`` when a row of the table changed, from any thread; None stands for all rows.

        Returns
        -------
        callable
            Disconnects the listener.
        """
        self._listeners.append(listener)
        numbers = {image.source.token: number for number, image in enumerate(self.images)}

        def on_status(token: str, _level: int, index: Sequence[int], _reason: str | None) -> None:
            if token in numbers:
                listener(self.row_of(numbers[token], index))

        stop = status.shared.connect(on_status)

        def disconnect() -> None:
            stop()
            if listener in self._listeners:
                self._listeners.remove(listener)

        return disconnect

    def _emit(self, row: int | None) -> None:
        for listener in list(self._listeners):
            listener(row)

    def scan(self) -> None:
        """Find out in the background what opening left open: headers of files that were not looked at. Once."""
        background = self._opened.background
        if background is None or self.closed:
            return
        self._opened.background = None

        def work(job: scheduler.Job) -> None:
            background(lambda: job.cancelled, self._emit)
            if not job.cancelled:
                self._emit(None)

        scheduler.shared.submit(work, tier=scheduler.Tier.BACKGROUND, owner=self._owner)

    @property
    def _owner(self) -> tuple[str, int]:
        return ("dataset", id(self))

    def to_layer_data(self) -> list[tuple[Any, dict[str, Any], str]]:
        """Return one napari LayerData tuple for each image: exact lazy data, keyword arguments, layer type."""
        return [layer_data(image, self) for image in self.images]

    def close(self) -> None:
        """Stop background work and free the cached chunks; the lazy arrays go on to work. Safe to call twice."""
        if self.closed:
            return
        self.closed = True
        scheduler.shared.cancel(self._owner)
        for image in self.images:
            status.shared.forget(image.source.token)
        cache.shared.drop(self._opened.owns)
        opened.discard(self)


def _column(values: Any) -> Any:
    if isinstance(values, np.ndarray) and values.dtype == object:
        return pd.Series(values, dtype=object)
    return values


def _scene_number(sources: Sequence[Source], scene: int | str) -> int:
    names = [source.meta.name for source in sources]
    if isinstance(scene, str) and scene in names:
        return names.index(scene)
    if not isinstance(scene, str) and -len(names) <= scene < len(names):
        return scene % len(names)
    msg = f"scene must be a number below {len(names)} or one of {', '.join(map(repr, names[:10]))}, got {scene!r}"
    raise ValueError(msg)


def open_dataset(
    path: PathLike | Sequence[PathLike],
    *,
    format: str | None = None,  # noqa: A002 - the user's word
    level: int | None = None,
    scene: int | str | None = None,
    channels: Sequence[int | str] | int | str | None = None,
    chunks: Any = None,
    on_error: OnError = "raise",
    **options: Any,
) -> Dataset:
    """Open a folder, a glob pattern, a list of files or a single file, lazily.

    Opening reads names and, for a short time, headers; no pixel is decoded.

    Parameters
    ----------
    path : str, path, or sequence of them
        What to open.
    format : str, optional
        Use this reader instead of the one that the path suggests.
    level : int, optional
        Open one level alone; 0 is the finest.
    scene : int or str, optional
        Open one image alone, by number or name.
    channels : int, str or sequence of them, optional
        Open some channels alone; for images that have a channel axis.
    chunks : int, tuple, dict or str, optional
        Chunks of the dask arrays, as dask takes them, instead of the file's own.
    on_error : {"raise", "blank"}
        Whether exact reads of a file that cannot be read raise `ChunkReadError` or give zeros.
    **options
        Of the format. Image folders take ``subfolders`` ("axis", "stack", "separate", "ignore"), ``mixed`` ("groups",
        "pad"), ``headers`` ("budget", "all"), ``pattern`` and ``max_images``.

    Returns
    -------
    Dataset

    Raises
    ------
    SourceOpenError
        If the path does not exist, cannot be read, or holds nothing that can be opened.
    UnknownFormatError
        If no reader knows the format.
    ValueError
        If an argument is not one of its choices, or asks for what is not there.

    Examples
    --------
    >>> import napari_lazyload as nl
    >>> with nl.open_dataset("measurements") as dataset:  # doctest: +SKIP
    ...     first = dataset.images[0].data[0].compute()
    """
    try:
        found = open_path(path, format=format, **options)
    except TypeError as err:
        if "unexpected keyword" not in str(err):
            raise
        msg = f"an option is not known to this format: {err}"
        raise TypeError(msg) from err
    if scene is not None:
        found = found.only(_scene_number(found.sources, scene))
    if channels is not None:
        found.sources = tuple(select_channels(source, channels) for source in found.sources)
    for note in found.notes:
        warnings.warn(note, LazyLoadWarning, stacklevel=2)
    return Dataset(found, on_error=on_error, level=level, chunks=chunks)
