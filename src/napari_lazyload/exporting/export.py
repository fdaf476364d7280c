"""Write a region to a file of any size: streamed, under a temporary name until it is complete."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.errors import ExportError, LazyLoadError, LazyLoadWarning
from napari_lazyload.core.source import original_of, path_of, paths_of
from napari_lazyload.cropping.failures import Failures
from napari_lazyload.exporting.atomic_write import atomic_target, check_space, check_target
from napari_lazyload.exporting.npy import npy_nbytes, write_npy
from napari_lazyload.exporting.ome_metadata import world_position
from napari_lazyload.exporting.ome_zarr import plan_zarr, write_zarr
from napari_lazyload.exporting.pyramid import count_pixels
from napari_lazyload.exporting.selection import ExportSelection, select, without
from napari_lazyload.exporting.streaming import ExportProgress, PixelStream
from napari_lazyload.exporting.tiff import plan_tiff, write_tiff
from napari_lazyload.sources.folder.image_stack import PictureSource
from napari_lazyload.sources.zarr.location import find_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_lazyload.cropping.failures import OnFailure

SUFFIXES = {
    ".ome.zarr": "ome-zarr",
    ".zarr": "ome-zarr",
    ".ome.tiff": "ome-tiff",
    ".ome.tif": "ome-tiff",
    ".tiff": "ome-tiff",
    ".tif": "ome-tiff",
    ".npy": "npy",
}
"""What is written, by the end of a file's name."""

FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
"""What ``format`` may be."""


def export(  # noqa: PLR0913 - keywords, each with a default
    image: Any,
    path: str | os.PathLike[str],
    region: Any = None,
    *,
    level: int = 0,
    dtype: Any = None,
    format: str | None = None,
    pyramid: bool = True,
    shards: Any = None,
    chunks: Any = None,
    overwrite: bool = False,
    progress: Callable[[int, int], Any] | None = None,
    cancel: Callable[[], bool] | Any = None,
    on_error: OnFailure | None = None,
    failures: Callable[[Failures], Any] | None = None,
) -> Path:
    """Write a region, or all of an image, to OME-Zarr 0.5, OME-TIFF or NPY, however large it is.

    The pixels are exactly those of :func:`crop`. They are read in pieces that fit a few hundred
    megabytes, each touched chunk once where a piece can hold what several parts of the file need of
    it, and written as they come. Until it is complete the file has a hidden name beside its own
    (``.name.partial-...``); where the export is cancelled or fails, that is removed, and what was
    there before is as it was.

    Parameters
    ----------
    image : Image, napari layer, or array
        What to write; a layer of any plugin, an array of NumPy, dask or zarr. Axes of arrays
        without names are the last of t, z, y, x (of t, c, z, y, x where there are five).
    path : str or path
        The file to write, in a folder that exists.
    region : tuple of slice, or mapping, optional
        See :func:`crop`; all of it by default.
    level : int
        Which resolution; 0 is the finest.
    dtype : dtype, optional
        Of the pixels written; the image's own by default.
    format : {"ome-zarr", "ome-tiff", "npy"}, optional
        By default what the suffix says: ``.ome.zarr`` and ``.zarr``, ``.ome.tif(f)`` and
        ``.tif(f)``, ``.npy``.
    pyramid : bool
        Whether coarser levels are written, too: of OME-Zarr until 256 pixels are left along each
        axis of space, of OME-TIFF until 512 are left along y and x. Each pixel is the mean of two
        along each halved axis in the level before (of whole numbers rounded, halves up), of labels
        and truth values the first one. Axes with pixels longer than 1.5 times the shortest are
        halved once the others have caught up. NPY has no levels.
    shards : bool, int, tuple or mapping, optional
        OME-Zarr: put many chunks into one file. True chooses up to 32 MiB; sizes are in pixels, as
        for `chunks`, and multiples of these.
    chunks : int, tuple or mapping, optional
        OME-Zarr: pixels of a chunk, one number for each axis of the image, or by axis name.
        OME-TIFF: rows and columns of a tile.
    overwrite : bool
        Whether a file or a Zarr store that is there may be replaced; it stays until the new one is
        complete.
    progress : callable, optional
        ``progress(done, total)`` pixels, read and written, of all levels; called from any thread,
        one call at a time.
    cancel : callable or threading.Event, optional
        Asked between pieces; once true the export ends with `CancelledError`.
    on_error, failures : optional
        What becomes of chunks that cannot be read; see :func:`crop`. With ``"skip"`` all is read
        and written a second time where there are any.

    Returns
    -------
    pathlib.Path
        What was written, absolute.

    Raises
    ------
    ExportError
        If the target cannot be written: it exists, its folder does not, the format is unknown or
        does not have these axes or this type, the disk is full, it is a part of what is read.
    RegionError
        If the region is malformed or empty.
    ChunkReadError
        If a chunk cannot be read, or nothing is left.
    CancelledError
        If `cancel` is true.
    ValueError
        If `chunks` or `shards` do not suit the image, or nothing can be left out.

    Warns
    -----
    LazyLoadWarning
        If the image is rotated, sheared or mirrored, which neither OME-Zarr 0.5 nor OME-TIFF can
        say; if something is blank or left out as `on_error` says.

    Notes
    -----
    OME-Zarr follows https://ngff.openmicroscopy.org/0.5: at most one axis of time, one of channels
    or anything else, and two or three of space, in this order. Other axes are left out where they
    have one position. Color samples are written as channels called Red, Green, Blue and Alpha.

    Where a ``dask.distributed`` client is connected, lazy images and dask arrays are computed on
    its cluster. What is read there is written here; coarser levels of OME-Zarr are written there,
    where the workers share the disk.

    Examples
    --------
    >>> import napari_lazyload as nl
    >>> image = nl.open_dataset("measurements").images[0]  # doctest: +SKIP
    >>> nl.export(image, "part.ome.zarr", {"y": (0, 512), "x": (0, 512)})  # doctest: +SKIP
    """
    where = os.path.abspath(os.path.expanduser(os.fspath(path)))
    kind = _format(where, format)
    selection = select(image, region, level, dtype)
    if selection.dtype.kind not in "biufc" or selection.dtype.hasobject:
        raise ExportError(
            f"{where}: pixels of type {selection.dtype} cannot be written; "
            "expected numbers or truth values",
            where,
        )
    if kind != "ome-zarr" and shards not in (None, False):
        raise ValueError(f"only OME-Zarr has shards, {kind} has none; leave out shards=")
    check_target(
        where, overwrite=overwrite, store=kind == "ome-zarr", sources=_sources(where, selection)
    )
    found = Failures(selection.axes, selection.box, on_error)
    failed, leaving_out = found.failed, False
    while True:
        planned = _writer(kind, where, selection, pyramid=pyramid, shards=shards, chunks=chunks)
        tracked = ExportProgress(planned[0], progress, getattr(cancel, "is_set", cancel), failed)
        try:
            _write_whole(where, planned[1], tracked, found, overwrite=overwrite, keep=leaving_out)
            break
        except _LeftOutError:
            selection = without(selection, found)
            failed, leaving_out = None, True
    if found and failures is not None:
        failures(found)
    elif found:
        warnings.warn(found.text(), LazyLoadWarning, stacklevel=2)
    return Path(where)


class _LeftOutError(Exception):
    """What was written holds positions that are to be left out: it is dropped."""


def _write_whole(
    path: str,
    write: Callable[[str, ExportProgress], None],
    progress: ExportProgress,
    found: Failures,
    *,
    overwrite: bool,
    keep: bool,
) -> None:
    """Write under a temporary name, and name it, unless something of it is to be left out."""
    progress.check()
    try:
        with atomic_target(path, overwrite=overwrite) as made:
            write(made, progress)
            progress.check()
            if not keep and found.left_out:
                raise _LeftOutError
    except ExportError:
        if progress.error is not None:
            raise progress.error from None
        raise


def _format(path: str, given: str | None) -> str:
    if given is not None:
        if given not in FORMATS:
            raise ValueError(
                f"format must be one of {', '.join(map(repr, FORMATS))}, got {given!r}"
            )
        return given
    name = os.path.basename(path).lower()
    for suffix, kind in SUFFIXES.items():
        if name.endswith(suffix) and len(name) > len(suffix):
            return kind
    raise ExportError(
        f"{path}: its name does not say what to write; "
        f"expected one that ends with {', '.join(SUFFIXES)}, or format=",
        path,
    )


def _writer(
    kind: str, path: str, selection: ExportSelection, *, pyramid: bool, shards: Any, chunks: Any
) -> tuple[int, Callable[[str, ExportProgress], None]]:
    """Return how many pixels are read and written, and the function that does it."""
    if kind == "npy":
        stream = PixelStream(selection, range(len(selection.axes)))
        check_space(path, npy_nbytes(stream))
        return count_pixels([stream.shape]), lambda made, progress: write_npy(
            made, stream, progress
        )
    if world_position(selection, range(len(selection.axes))).affine is not None:
        name, kept = "OME-TIFF", ""
        if kind == "ome-zarr":
            name, kept = "OME-Zarr 0.5", "; its matrix is kept in the attribute 'napari_lazyload'"
        msg = (
            f"{path}: {name} says scale and position alone: it is written without its rotation, "
            f"shear or mirroring{kept}"
        )
        warnings.warn(msg, LazyLoadWarning, stacklevel=3)
    if kind == "ome-tiff":
        tiff = plan_tiff(path, selection, pyramid=pyramid, chunks=chunks)
        return count_pixels(tiff.shapes), lambda made, progress: write_tiff(made, tiff, progress)
    zarr = plan_zarr(path, selection, pyramid=pyramid, shards=shards, chunks=chunks)
    return count_pixels(zarr.shapes), lambda made, progress: write_zarr(made, zarr, progress)


def _sources(path: str, selection: ExportSelection) -> Iterator[str]:
    """Yield the local files and folders that the pixels come from, as far as they are known."""
    array = selection.array
    if isinstance(array, LazyArray) and array.source is not None:
        yield from _files_of(array.source, path)
    elif isinstance(getattr(array, "filename", None), (str, os.PathLike)):  # NumPy's memory maps
        yield os.fspath(array.filename)
    else:
        root = getattr(getattr(array, "store", None), "root", None)  # of zarr
        if isinstance(root, (str, os.PathLike)):
            yield os.fspath(root)


def _files_of(source: Any, target: str) -> Iterator[str]:
    """Yield the files of a source of ours, or the folder of its store.

    Of the many files of a folder, those with the name of the target are enough.
    """
    source = original_of(source)
    if paths := paths_of(source):
        yield from paths
    elif isinstance(source, PictureSource):
        name = os.path.basename(target)
        rows = source.rows if os.path.lexists(target) else ()
        for path in map(source.files.path, map(int, rows)):
            if os.path.basename(path) == name:
                yield path
    else:
        with suppress(LazyLoadError):  # whoever reads the pixels reports it
            path = path_of(source.chunk(0, (0,) * len(source.meta.axes)))
            if path and "://" not in path:
                yield find_store(path).root
