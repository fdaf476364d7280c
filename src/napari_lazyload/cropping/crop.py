"""Compute one region: exactly its pixels, reading only the chunks that it touches, each once."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_lazyload.arrays import cluster
from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.chunks import box_shape, box_slices, intersect
from napari_lazyload.core.errors import CancelledError, ChunkReadError, LazyLoadWarning, RegionError
from napari_lazyload.core.region import Estimate, estimate_box
from napari_lazyload.cropping.failures import Failures
from napari_lazyload.cropping.target import target_of
from napari_lazyload.loading import plan, scheduler
from napari_lazyload.loading.read_box import read_box

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import Box, ChunkGrid
    from napari_lazyload.core.source import Source
    from napari_lazyload.cropping.failures import Failed, OnFailure
    from napari_lazyload.cropping.target import Target

    Array = np.ndarray[Any, Any]


def estimate(image: Any, region: Any, level: int = 0, dtype: Any = None) -> Estimate:
    """Return what :func:`crop` of the same arguments costs; reads nothing.

    Parameters
    ----------
    image : Image, napari layer, or array
        What would be cropped.
    region : tuple of slice, or mapping
        See :func:`crop`.
    level : int
        Which resolution; 0 is the finest.
    dtype : dtype, optional
        Of the result.

    Returns
    -------
    Estimate
        ``result_nbytes``, ``touched_nbytes`` and ``touched_chunks`` (decoded chunks that must be
        read) and ``full_nbytes`` (the whole level).

    Raises
    ------
    RegionError
        If the region is malformed or empty.
    """
    target = target_of(image)
    return estimate_level(target, target.box(region, level), level, dtype)


def estimate_level(target: Target, box: Box, level: int, dtype: Any = None) -> Estimate:
    """Return what reading a box of a level costs; reads nothing.

    Parameters
    ----------
    target : Target
        What would be cropped.
    box : tuple of (int, int)
        In pixels of the level.
    level : int
        Which level.
    dtype : dtype, optional
        Of the result.
    """
    array = target.arrays[level]
    itemsize = np.dtype(dtype or target.meta.dtype).itemsize
    found = estimate_box(target.meta, level, box, itemsize)
    if not isinstance(array, LazyArray) or array.source is None:
        return found
    meta = array.source.meta
    if meta.levels[array.level].computed_from is None:
        return found
    chunks, pixels = plan.decoded(meta, array.level, array[box_slices(box)].box)  # of the file
    return replace(found, touched_nbytes=pixels * meta.dtype.itemsize, touched_chunks=chunks)


def crop(
    image: Any,
    region: Any,
    *,
    level: int = 0,
    dtype: Any = None,
    progress: Callable[[int, int], Any] | None = None,
    cancel: Callable[[], bool] | Any = None,
    out: Array | None = None,
    on_error: OnFailure | None = None,
    failures: Callable[[Failures], Any] | None = None,
) -> Array:
    """Compute one region: exactly ``full[region]``. Each touched chunk is read once, in threads.

    Chunks that are cached are used; none is added, so that those being browsed stay. Where a
    ``dask.distributed`` client is connected, lazy images and dask arrays are computed on its
    cluster instead, in pieces of whole chunks, and the result is the same.

    Parameters
    ----------
    image : Image, napari layer, or array
        What to crop; a layer of any plugin, an array of NumPy, dask or zarr.
    region : tuple of slice, or mapping
        Slices with NumPy's meaning and step 1, one for each axis but the color axis ``"s"``
        (missing ones are whole); or a mapping from axis name to a slice or a half-open ``(start,
        stop)`` pair. In pixels of level 0, clipped to the image. Level ``l`` with factor ``f``
        reads ``floor(start / f)`` to ``ceil(stop / f)``.
    level : int
        Which resolution; 0 is the finest.
    dtype : dtype, optional
        Of the result; the image's own by default. Values are cast as NumPy's ``astype`` does.
    progress : callable, optional
        ``progress(done, total)`` chunks, called from the threads that read, one call at a time.
    cancel : callable or threading.Event, optional
        Asked before each chunk; once true the crop ends with `CancelledError`.
    out : numpy.ndarray, optional
        Filled and returned instead of a new array; of the result's shape.
    on_error : {"raise", "blank", "skip"}, optional
        What a chunk that cannot be read gives: `ChunkReadError`; zeros; or nothing: all its
        positions along the first axis with several (of time, depth, frames, ...; never of channels,
        never the last two) are left out. By default as the image was opened. Where it is given,
        nothing is read on a cluster.
    failures : callable, optional
        Called with an object that is true, whose ``positions`` and ``text()`` say what is blank or
        left out, instead of a warning.

    Returns
    -------
    numpy.ndarray
        The pixels, axes as in the image.

    Raises
    ------
    RegionError
        If the region is malformed or empty, or `out` is of another shape.
    ChunkReadError
        If a chunk cannot be read, or nothing is left.
    CancelledError
        If `cancel` is true; `out` may then be partly filled.
    MemoryError
        If the result does not fit memory.
    ValueError
        If nothing can be left out: there is one frame, or `out`.

    Warns
    -----
    LazyLoadWarning
        If something is blank or left out as `on_error` says: how many positions, and which.
    """
    target = target_of(image)
    box = target.box(region, level)
    array = target.arrays[level]
    found = Failures(target.meta.axes, box, on_error)
    if on_error == "skip" and out is not None:
        raise ValueError("on_error='skip' gives an array of another shape than out; leave out out=")
    result = _result(out, box_shape(box), np.dtype(dtype or array.dtype))
    stop = getattr(cancel, "is_set", cancel)
    if stop is not None and stop():
        raise CancelledError("cancelled; nothing was read")
    grid = target.meta.levels[level].grid
    total = grid.count(box)
    report = None if progress is None else lambda done: progress(done, total)
    fill(array, grid, box, result, cancel=stop, progress=report, failed=found.failed)
    if found and failures is not None:
        failures(found)
    elif found:
        warnings.warn(found.text(), LazyLoadWarning, stacklevel=2)
    return np.delete(result, found.left_out, found.axis) if found.left_out else result


def fill(
    array: Any,
    grid: ChunkGrid,
    box: Box,
    result: Array,
    *,
    cancel: Callable[[], bool] | None = None,
    progress: Callable[[int], Any] | None = None,
    failed: Failed | None = None,
) -> None:
    """Read a box of an array into `result`, on the connected cluster or in worker threads.

    Parameters
    ----------
    array : LazyArray, or anything that slices
        One level of a `Target`.
    grid : ChunkGrid
        Its chunks.
    box : tuple of (int, int)
        Which pixels.
    result : numpy.ndarray
        Of the box's shape; of any dtype, to which values are cast as ``astype`` does.
    cancel, progress : callable, optional
        See :meth:`napari_lazyload.loading.scheduler.Scheduler.each`; progress counts chunks.
    failed : callable, optional
        Called with the box and the error of a part that cannot be read, whose pixels are then zero.
        Without it the array decides. With it nothing is read on a cluster.
    """
    client = None
    if isinstance(array, da.Array) and failed is None:
        client = cluster.cluster_client()
    if client is not None:
        _compute_on(client, array, grid, box, result, cancel=cancel, progress=progress)
    elif isinstance(array, LazyArray) and array.source is not None:
        part = array[box_slices(box)]
        read_box(
            array.source,
            part.level,
            part.box,
            result.reshape(box_shape(part.box)),
            keep=False,
            failed=_failed_blocks(array, array.source, failed),
            cancel=cancel,
            progress=progress,
        )
    else:
        _read_foreign(array, grid, box, result, failed, cancel=cancel, progress=progress)


def _failed_blocks(array: LazyArray, source: Source, failed: Failed | None) -> Any:
    """Return what :func:`read_box` calls with a chunk that it cannot read."""
    if failed is None:
        return None if array.on_error == "raise" else lambda _index, _error: None
    grid = source.meta.levels[array.level].grid

    def report(index: tuple[int, ...], error: ChunkReadError) -> None:
        bounds = grid.bounds(index)
        start = [first for first, _ in array.box]
        failed(
            tuple(
                (bounds[axis][0] - start[axis], bounds[axis][1] - start[axis])
                for axis in array.kept_axes
            ),
            error,
        )

    return report


def _result(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if out is None:
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError) as err:
            need = prod(shape) * dtype.itemsize / 2**30
            raise MemoryError(
                f"the region needs {need:.1f} GiB of memory; "
                "choose a smaller one or a coarser level"
            ) from err
    if out.shape != shape:
        raise RegionError(f"out must have the region's shape {shape}, got {out.shape}")
    return out


def _compute_on(
    client: Any,
    array: da.Array,
    grid: ChunkGrid,
    box: Box,
    result: Array,
    *,
    cancel: Callable[[], bool] | None,
    progress: Callable[[int], Any] | None,
) -> None:
    """Fill `result` from a cluster."""
    done = 0
    # Small enough that each of its threads has some.
    share = grid.touched_pixels(box) // (2 * cluster.threads_of(client))
    most = min(share, cluster.MOST_PIECE // max(1, array.dtype.itemsize))

    def take(part: Box, pixels: Array) -> None:
        nonlocal done
        np.copyto(result[box_slices(part, box)], pixels, casting="unsafe")
        done += grid.count(part)
        if progress is not None:
            progress(done)

    parts = ((part, array[box_slices(part)]) for part in cluster.pieces(grid, box, most))
    cluster.compute_each(client, parts, take, cancel=cancel)


def _read_foreign(
    array: Any,
    grid: ChunkGrid,
    box: Box,
    result: Array,
    failed: Failed | None,
    *,
    cancel: Callable[[], bool] | None,
    progress: Callable[[int], Any] | None,
) -> None:
    """Fill `result` from an array that is not ours, chunk by chunk."""

    def fill(index: tuple[int, ...]) -> None:
        part = intersect(grid.bounds(index), box)
        pixels = array[box_slices(part)]
        try:
            if isinstance(pixels, da.Array):
                # In this thread: dask's own pool inside a worker could wait for itself.
                pixels = pixels.compute(scheduler="sync")
        except ChunkReadError as err:
            if failed is None:
                raise
            failed(part, err)
            pixels = np.zeros((), result.dtype)
        np.copyto(result[box_slices(part, box)], np.asarray(pixels), casting="unsafe")

    scheduler.shared.each(fill, list(grid.touched(box)), cancel=cancel, progress=progress)
