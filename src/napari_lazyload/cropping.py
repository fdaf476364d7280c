"""Compute one region: exactly its pixels, reading only the chunks that it touches, each once."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_lazyload import cluster
from napari_lazyload.arrays import LazyArray
from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices
from napari_lazyload.core.errors import CancelledError, RegionError
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.core.region import Estimate, estimate_box, level_box, region_box
from napari_lazyload.image import Image
from napari_lazyload.layer_data import METADATA_KEY
from napari_lazyload.loading import plan, scheduler
from napari_lazyload.loading.box import read_box

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import Box

    Array = np.ndarray[Any, Any]


class Target:
    """Anything that can be cropped, as levels of arrays with named axes.

    Parameters
    ----------
    image : Image, napari layer, or array
        A layer may be single- or multiscale; an array NumPy, dask, zarr or any that slices and has shape and dtype.

    Attributes
    ----------
    arrays : list
        The levels, finest first.
    meta : ImageMeta
        Axes, shapes and chunk grids of those arrays.
    """

    def __init__(self, image: Any) -> None:
        if isinstance(image, Image):
            self.arrays: list[Any] = list(image.boxes)
            axes = image.axes
        elif _is_layer(image):
            self.arrays = list(image.data) if image.multiscale else [image.data]
            axes = _layer_axes(image, self.arrays[0].ndim)
        else:
            array = _as_array(image)
            self.arrays, axes = [array], tuple(f"axis {number}" for number in range(len(array.shape)))
        levels = tuple(_level_meta(array, self.arrays[0]) for array in self.arrays)
        self.meta = ImageMeta("", axes, np.dtype(self.arrays[0].dtype), levels)

    def box(self, region: Any, level: int) -> Box:
        """Return the pixels of a level that a region in level-0 pixels covers."""
        if not -len(self.arrays) <= level < len(self.arrays):
            msg = f"level must be 0 to {len(self.arrays) - 1}, got {level}"
            raise RegionError(msg)
        return level_box(region_box(region, self.meta.axes, self.meta.shape), self.meta.levels[level])


def _as_array(image: Any) -> Any:
    if hasattr(image, "shape") and hasattr(image, "dtype"):
        return image
    found = None if hasattr(image, "as_layer_data_tuple") else np.asarray(image)
    if found is None or found.dtype.kind not in "biufc":
        msg = f"expected an image of a dataset, an Image or Labels layer, or an array of numbers, got {image!r:.80}"
        raise TypeError(msg)
    return found


def _is_layer(image: Any) -> bool:
    if hasattr(image, "as_layer_data_tuple") and not hasattr(image, "level_shapes"):
        return False  # points, shapes and the like
    return hasattr(image, "multiscale") and hasattr(image, "axis_labels") and hasattr(image, "data")


def _layer_axes(layer: Any, ndim: int) -> tuple[str, ...]:
    link = layer.metadata.get(METADATA_KEY)
    if link is not None and len(link.axes) + link.image.rgb == ndim:
        return (*link.axes, RGB_AXIS)[:ndim]
    labels = tuple(layer.axis_labels)
    return (*labels, RGB_AXIS)[:ndim] if len(labels) < ndim else labels


def _level_meta(array: Any, finest: Any) -> LevelMeta:
    own, base = _own_level(array), _own_level(finest)
    if own is not None and base is not None:
        return replace(own, factors=tuple(a / b for a, b in zip(own.factors, base.factors, strict=True)))
    shape = tuple(array.shape)
    chunks = getattr(array, "chunks", None)
    if not isinstance(chunks, tuple) or len(chunks) != len(shape):
        chunks = shape
    chunks = tuple(size or 1 if isinstance(size, int) else tuple(size) for size in chunks)
    grid = ChunkGrid(shape, chunks)
    return LevelMeta(grid, tuple(full / size if size else 1.0 for full, size in zip(finest.shape, shape, strict=True)))


def _own_level(array: Any) -> LevelMeta | None:
    """Return what the source says of a whole level: its factors, and a grid that does not list a million chunks."""
    if not isinstance(array, LazyArray) or array.source is None:
        return None
    level, kept = array.source.meta.levels[array.level], array.kept_axes
    if array.shape != tuple(level.shape[axis] for axis in kept):
        return None
    grid = ChunkGrid(array.shape, tuple(level.grid.chunks[axis] for axis in kept))
    return LevelMeta(grid, tuple(level.factors[axis] for axis in kept))


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
        ``result_nbytes``, ``touched_nbytes`` and ``touched_chunks`` (decoded chunks that must be read) and
        ``full_nbytes`` (the whole level).

    Raises
    ------
    RegionError
        If the region is malformed or empty.
    """
    target = Target(image)
    itemsize = None if dtype is None else np.dtype(dtype).itemsize
    box, array = target.box(region, level), target.arrays[level]
    found = estimate_box(target.meta, level, box, itemsize)
    if not isinstance(array, LazyArray) or array.source is None:
        return found
    meta = array.source.meta
    if meta.levels[array.level].made_from is None:
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
) -> Array:
    """Compute one region: exactly ``full[region]``, reading each touched chunk once, in worker threads.

    Chunks that are cached are used; none is added, so that those being browsed stay. Where a ``dask.distributed``
    client is connected, lazy images and dask arrays are computed on its cluster instead, in pieces of whole chunks, and
    the result is the same.

    Parameters
    ----------
    image : Image, napari layer, or array
        What to crop; a layer of any plugin, an array of NumPy, dask or zarr.
    region : tuple of slice, or mapping
        Slices with NumPy's meaning and step 1, one for each axis but the colour axis ``"s"`` (missing ones are
        whole); or a mapping from axis name to a slice or a half-open ``(start, stop)`` pair. In pixels of level 0,
        clipped to the image. Level ``l`` with factor ``f`` reads ``floor(start / f)`` to ``ceil(stop / f)``.
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

    Returns
    -------
    numpy.ndarray
        The pixels, axes as in the image.

    Raises
    ------
    RegionError
        If the region is malformed or empty, or `out` is of another shape.
    ChunkReadError
        If a chunk cannot be read.
    CancelledError
        If `cancel` said so; `out` may then be partly filled.
    MemoryError
        If the result does not fit memory.
    """
    target = Target(image)
    box = target.box(region, level)
    array = target.arrays[level]
    result = _result(out, box_shape(box), np.dtype(dtype or array.dtype))
    stop = getattr(cancel, "is_set", cancel)
    if stop is not None and stop():
        msg = "cancelled; nothing was read"
        raise CancelledError(msg)
    grid = target.meta.levels[level].grid
    total = grid.count(box)
    report = None if progress is None else lambda done: progress(done, total)
    fill(array, grid, box, result, cancel=stop, progress=report)
    return result


def fill(
    array: Any,
    grid: ChunkGrid,
    box: Box,
    result: Array,
    *,
    cancel: Callable[[], bool] | None = None,
    progress: Callable[[int], Any] | None = None,
) -> None:
    """Read a box of an array into `result`, on the cluster that this process is connected with or in worker threads.

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
    """
    client = cluster.cluster_client() if isinstance(array, da.Array) else None
    if client is not None:
        _compute_on(client, array, grid, box, result, cancel=cancel, progress=progress)
    elif isinstance(array, LazyArray) and array.source is not None:
        part = array[box_slices(box)]
        shape = box_shape(part.box)
        failed = None if array.on_error == "raise" else lambda _index, _error: None
        out = result.reshape(shape)
        read_box(array.source, part.level, part.box, out, keep=False, failed=failed, cancel=cancel, progress=progress)
    else:
        _read_foreign(array, grid, box, result, cancel=cancel, progress=progress)


def _result(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if out is None:
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError) as err:
            need = prod(shape) * dtype.itemsize / 2**30
            msg = f"the region needs {need:.1f} GiB of memory; choose a smaller one or a coarser level"
            raise MemoryError(msg) from err
    if out.shape != shape:
        msg = f"out must have the region's shape {shape}, got {out.shape}"
        raise RegionError(msg)
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
    *,
    cancel: Callable[[], bool] | None,
    progress: Callable[[int], Any] | None,
) -> None:
    """Fill `result` from an array that is not ours, chunk by chunk."""
    touched = ChunkGrid(box_shape(box), tuple(grid.block_sizes(axis, *pair) for axis, pair in enumerate(box)))

    def fill(index: tuple[int, ...]) -> None:
        part = touched.bounds(index)
        piece = array[tuple(slice(a + base, b + base) for (a, b), (base, _) in zip(part, box, strict=True))]
        # In this thread: dask's own pool inside a worker could wait for itself.
        pixels = piece.compute(scheduler="sync") if isinstance(piece, da.Array) else np.asarray(piece)
        np.copyto(result[box_slices(part)], pixels, casting="unsafe")

    scheduler.shared.each(fill, list(touched.touched(touched.full_box)), cancel=cancel, progress=progress)


def cast_loss(source_dtype: Any, dtype: Any, limits: tuple[float, float] | None = None) -> str:
    """Return what a cast of pixels would lose, for people; "" where it keeps every value.

    Parameters
    ----------
    source_dtype, dtype : dtype-like
        What the pixels are, and what they are to become as ``astype`` does it.
    limits : (number, number), optional
        The least and the greatest value, where they are known; by default all that the type can hold.

    Returns
    -------
    str
        One sentence.

    Examples
    --------
    >>> cast_loss("uint16", "uint8")
    'As uint8, values above 255 wrap around.'
    >>> cast_loss("uint16", "uint8", limits=(0, 200))
    ''
    >>> cast_loss("uint16", "float16")
    'As float16, whole numbers beyond 2048 are rounded and values above 65504 become infinite.'
    """
    source, target = np.dtype(source_dtype), np.dtype(dtype)
    lost: list[str] = []
    if source.kind == "c":
        if target.kind != "c":
            lost.append("the imaginary part is dropped")
        source = np.empty(0, source).real.dtype
    low, high = _value_range(source, limits)
    if target.kind == "b":
        if not (source.kind in "biu" and low >= 0 and high <= 1):
            lost.append("all values but 0 become True")
    elif target.kind in "iu":
        lost += _lost_to_whole(source, target, low, high)
    elif target.kind in "fc" and source.kind in "biuf":
        lost += _lost_to_float(source, np.empty(0, target).real.dtype, low, high)
    else:
        lost.append(f"values of type {source} cannot be kept")
    return f"As {target}, {', '.join(lost[:-1])}{' and ' if lost[1:] else ''}{lost[-1]}." if lost else ""


def _value_range(source: np.dtype[Any], limits: tuple[float, float] | None) -> tuple[Any, Any]:
    """Return the least and the greatest value that pixels have."""
    if limits is not None and all(map(isfinite, limits)):
        # Python's integers compare exactly with what floats hold.
        return (int(limits[0]), int(limits[1])) if source.kind in "iu" else limits
    if source.kind in "iu":
        return int(np.iinfo(source).min), int(np.iinfo(source).max)
    if source.kind == "f":
        return float(np.finfo(source).min), float(np.finfo(source).max)
    return (0, 1)


def _lost_to_whole(source: np.dtype[Any], target: np.dtype[Any], low: float, high: float) -> list[str]:
    info = np.iinfo(target)
    if low < info.min and high > info.max:
        beyond = f"values outside {info.min} to {info.max}"
    elif low < info.min:
        beyond = "negative values" if info.min == 0 else f"values below {info.min}"
    else:
        beyond = f"values above {info.max}" if high > info.max else ""
    if source.kind in "biu":
        return [f"{beyond} wrap around"] if beyond else []
    others = f"NaN, infinity and {beyond}" if beyond else "NaN and infinity"
    return ["fractions are cut off", f"{others} become arbitrary numbers"]


def _lost_to_float(source: np.dtype[Any], target: np.dtype[Any], low: float, high: float) -> list[str]:
    info, lost, furthest = np.finfo(target), [], max(-low, high)
    whole, largest = 2 ** (info.nmant + 1), float(info.max)
    if source.kind == "f":
        if np.finfo(source).nmant > info.nmant:
            lost.append(f"values are rounded to {info.precision} digits")
    elif furthest > whole:
        lost.append(f"whole numbers beyond {whole} are rounded")
    # What is closer to the largest number than half a step is rounded to it.
    if isfinite(largest) and furthest >= largest + 2.0 ** (info.maxexp - info.nmant - 2):
        lost.append(f"values {'beyond' if -low > largest else 'above'} {largest:g} become infinite")
    return lost
