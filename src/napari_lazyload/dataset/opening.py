"""What a path opens as: the one function that windows, scripts and the command line open with."""

from __future__ import annotations

import operator
import warnings
from typing import TYPE_CHECKING, Any

from napari_lazyload.arrays.derived.channels import select_channels
from napari_lazyload.core.errors import LazyLoadWarning
from napari_lazyload.core.metadata import CHANNEL_AXIS
from napari_lazyload.core.source import as_strided
from napari_lazyload.dataset.dataset import Dataset
from napari_lazyload.sources.registry import open_path

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from napari_lazyload.arrays.image import OnError
    from napari_lazyload.sources.opened import RowSource

    PathLike = str | os.PathLike[str]


def _scene_number(sources: Sequence[RowSource], scene: int | str) -> int:
    names = [source.meta.name for source in sources]
    if scene in names:
        return names.index(str(scene))
    try:
        number = operator.index(scene)  # type: ignore[arg-type] # a string is an error too
    except TypeError:
        number = len(names)
    if -len(names) <= number < len(names):
        return number % len(names)
    msg = f"scene must be a number below {len(names)} or one of {', '.join(map(repr, names[:10]))}, got {scene!r}"
    raise ValueError(msg)


def _of_all_channels(source: RowSource) -> bool:
    """Return whether an image is labels that go with every channel of another one."""
    meta = source.meta
    counted = CHANNEL_AXIS in meta.axes and meta.shape[meta.axes.index(CHANNEL_AXIS)] > 1
    return meta.kind == "labels" and not counted


def open_dataset(
    path: PathLike | Sequence[PathLike],
    *,
    format: str | None = None,
    level: int | None = None,
    scene: int | str | None = None,
    channels: Sequence[int | str] | int | str | None = None,
    chunks: Any = None,
    on_error: OnError = "raise",
    **options: Any,
) -> Dataset:
    """Open a folder, a glob pattern, a list of files, a single file, or a Zarr store (also at an address), lazily.

    Opening reads names and, for a short time, headers; no pixel is decoded.

    Parameters
    ----------
    path : str, path, or sequence of them
        What to open. A folder or a pattern comes in natural order, a list of files in its own.
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
        Of the format. Image folders take ``subfolders`` ("axis", "stack", "separate", "ignore"),
        ``mixed`` ("groups", "pad"), ``headers`` ("budget", "all"), ``pattern`` (a glob pattern that
        names must match) and ``max_images`` (64: more images than this are not made from one path).
        Zarr stores take ``labels`` (False leaves them out), ``system`` (coordinate system of
        version 0.6), ``acquisition`` (of a plate, by number or name) and ``max_images``; those at
        an address also what their storage takes, such as ``region`` or ``anon``.

    Returns
    -------
    Dataset
        Close it, or use it in a ``with`` statement, to free the chunks that it has cached.

    Raises
    ------
    SourceOpenError
        If the path does not exist, cannot be read, or holds nothing that can be opened.
    UnknownFormatError
        If no reader knows the format.
    TypeError
        If an option is not one of the format's.
    ValueError
        If an argument is not one of its choices, or asks for what is not there.

    Warns
    -----
    LazyLoadWarning
        If the images are not what one would expect of the path: several groups, frames filled up, a
        series left out.

    Examples
    --------
    >>> import napari_lazyload as nl
    >>> with nl.open_dataset("measurements") as dataset:  # doctest: +SKIP
    ...     first = dataset.images[0].data[0].compute()
    """
    found = open_path(path, format=format, **options)
    if scene is not None:
        found = found.only(_scene_number(found.sources, scene))
    if channels is not None:
        found.sources = tuple(
            source if _of_all_channels(source) else select_channels(source, channels)
            for source in found.sources
        )
    strided = [as_strided(source) for source in found.sources]
    in_place = chunks is not None and None not in strided
    if in_place:  # these can be read in any pieces
        found.sources = tuple(source.rechunked(chunks) for source in strided if source is not None)
    for note in found.notes:
        warnings.warn(note, LazyLoadWarning, stacklevel=2)
    kept: dict[str, Any] = {"level": level, "chunks": chunks, "on_error": on_error}
    more = {**kept, **options, "format": format, "scene": scene, "channels": channels}

    def again(**changes: Any) -> Dataset:
        return open_dataset(found.where(), **{**more, **changes})

    dataset = Dataset(found, **{**kept, "chunks": None if in_place else chunks}, again=again)
    dataset._options = {  # noqa: SLF001 - same module
        name: value
        for name, value in more.items()
        if value is not None and (name, value) != ("on_error", "raise")
    }
    return dataset
