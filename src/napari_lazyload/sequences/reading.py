"""From a path to a sequence: files are listed and a table joined, no picture is opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sequences.batch_plan import at_least
from napari_lazyload.sequences.file_store import Files
from napari_lazyload.sequences.meta_table import join_table, meta_table, with_common
from napari_lazyload.sequences.sequence import ImageSequence
from napari_lazyload.sources.folder.grouping import FolderOptions
from napari_lazyload.sources.folder.listing import EMPTY, Listing
from napari_lazyload.sources.folder.open_folder import FOLDER, GLOB, list_pictures, nothing_here
from napari_lazyload.sources.registry import PathLike, normalise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

MOST_SIZES_CHECKED = 10_000
"""Up to so many files of a folder are looked at for empty ones while listing: about 20 ms."""


def read_images(
    path: PathLike | Sequence[PathLike],
    *,
    pattern: str | None = None,
    lazy: bool = True,
    limit: int | None = None,
    meta: pd.DataFrame | Mapping[str, Any] | PathLike | None = None,
    common_meta: Mapping[str, Any] | None = None,
) -> ImageSequence:
    """Return the images of a folder, a glob pattern, a list of files, or one file, as a sequence.

    No file is opened: a file that cannot be read is found when its pixels or its shape are asked
    for. Empty files of folders and patterns are left out and counted in `ImageSequence.skipped`,
    unless there are over 10,000 files, of which none is looked at; an empty file that was left in,
    or is named in a list, cannot be read like any other.

    Parameters
    ----------
    path : path or list of paths
        A folder is taken with its sub-folders, in natural order of the relative paths; a list keeps
        its order.
    pattern : str, optional
        A glob pattern that the file name or the relative path must match, such as ``"*.png"``.
    lazy : bool
        With False, all pixels are read now: indexing gives read-only NumPy arrays (`LoadedImage`),
        all else is the same.
    limit : int, optional
        Take the first so many.
    meta : pandas.DataFrame, mapping of columns, or path of a CSV, TSV, JSON or XLSX file, optional
        Joined by the text column (or index) that holds most of the file names, as relative paths or
        without folders. Columns given as a DataFrame or mapping that hold no file name are taken
        row by row where there are as many rows as files. A column ``original_filename`` that is not
        the one joined by is renamed ``original_filename_meta``.
    common_meta : mapping, optional
        Values that every row gets, by column.

    Returns
    -------
    ImageSequence

    Raises
    ------
    SourceOpenError
        If there is no image, or `meta` is a file that holds no table.
    ChunkReadError
        With ``lazy=False``, if a file cannot be read.
    ValueError
        If the table names a file twice, or none of these files, or two columns of one name come
        together.

    Warns
    -----
    LazyLoadWarning
        If the table has no row for some files; their values are missing (NaN).
    """
    first = None if limit is None else at_least("limit", limit, 0)
    listing = _listed(path, pattern)
    columns = None if meta is None else join_table(listing.names, listing.root, meta, first)
    store = Files(listing.root, listing.names[:first])
    frame = meta_table(store.names, columns)
    if common_meta is not None:
        frame = with_common(frame, common_meta)
    return ImageSequence(
        store if lazy else store.in_memory(), frame, skipped=listing.skipped_counts()
    )


def _listed(path: PathLike | Sequence[PathLike], pattern: str | None) -> Listing:
    """Return the pictures of a path, at least one, without the files that are seen to be empty."""
    listing, label, kind = list_pictures(normalise(path), FolderOptions(pattern=pattern))
    count = len(listing.names)
    if kind in (FOLDER, GLOB) and count <= MOST_SIZES_CHECKED:
        listing.keep(
            np.fromiter((_has_bytes(listing.path(row)) for row in range(count)), bool, count), EMPTY
        )
    if not len(listing.names):
        raise SourceOpenError(nothing_here(label, listing), label)
    return listing


def _has_bytes(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return True  # the read reports what is wrong with it
