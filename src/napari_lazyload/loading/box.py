"""The one way to exact pixels: views, crops, batches and dask tasks all end here."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import box_shape, box_slices, intersect
from napari_lazyload.core.errors import ChunkReadError, RegionError
from napari_lazyload.loading import cache as _cache
from napari_lazyload.loading import scheduler as _scheduler
from napari_lazyload.loading import status as _status

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import BlockIndex, Box, ChunkGrid
    from napari_lazyload.core.source import Chunk, Source

    Array = np.ndarray[Any, Any]


def read_block(source: Source, level: int, index: BlockIndex, *, keep: bool = True) -> Array:
    """Return one decoded chunk of a source, shared and read-only, through the cache; the status hears of it.

    Raises
    ------
    ChunkReadError
        If it cannot be read, or is not what the source said.
    """
    note = _status.shared.note(source.token, level, index)
    shape = box_shape(source.meta.levels[level].grid.bounds(index))
    try:
        chunk = source.chunk(level, index)
    except BaseException as err:
        note.fail(err)
        raise
    return read_chunk(chunk, shape, source.meta.dtype, keep=keep, note=note)


def peek_block(source: Source, level: int, index: BlockIndex) -> Array | None:
    """Return one decoded chunk of a source if it is in memory and whole; reads nothing."""
    shape, dtype = box_shape(source.meta.levels[level].grid.bounds(index)), source.meta.dtype
    note = _status.shared.note(source.token, level, index)
    try:
        return _cache.shared.peek(
            source.chunk(level, index), note, lambda pixels: pixels.shape == shape and pixels.dtype == dtype
        )
    except ChunkReadError:  # the file is gone: whoever reads it will say so
        return None


def read_chunk(
    chunk: Chunk, shape: tuple[int, ...], dtype: np.dtype[Any], *, keep: bool = True, note: _status.Note | None = None
) -> Array:
    """Return a decoded chunk, shared and read-only, through the cache.

    Parameters
    ----------
    chunk : Chunk
        What to read.
    shape, dtype
        What it must be: anything else would be stretched over its place or cast, unseen.
    keep : bool
        Whether the chunk enters the cache.
    note : Note, optional
        Told what becomes of it.

    Raises
    ------
    ChunkReadError
        If it cannot be read, or is not of that shape and dtype.
    """

    def check(pixels: Array) -> None:
        if pixels.shape != shape or pixels.dtype != dtype:
            path = str(getattr(chunk, "path", ""))
            msg = (
                f"{path or chunk}: expected pixels of shape {shape} and type {dtype}, found {pixels.shape} and "
                f"{pixels.dtype}. It was changed since it was opened: open it again"
            )
            raise ChunkReadError(msg, path)

    return _cache.shared.read(chunk, keep=keep, note=note, check=check)


def _checked(box: Box, source: Source, level: int) -> Box:
    """Return `box`, which lies within the level: outside there is nothing to fill it with."""
    shape = source.meta.levels[level].shape
    if len(box) != len(shape) or any(not 0 <= a <= b <= size for (a, b), size in zip(box, shape, strict=True)):
        msg = f"expected a box within level {level} of shape {shape}, got {box}"
        raise RegionError(msg)
    return box


def read_box(
    source: Source,
    level: int,
    box: Box,
    out: Array | None = None,
    *,
    keep: bool = True,
    failed: Callable[[BlockIndex, ChunkReadError], Any] | None = None,
    cancel: Callable[[], bool] | None = None,
    progress: Callable[[int], Any] | None = None,
) -> Array:
    """Read a box of one level, each touched chunk once, in parallel.

    Parameters
    ----------
    source : Source
        Where the chunks come from.
    level : int
        Which level.
    box : tuple of (int, int)
        Half-open pixel ranges within that level, along all its axes.
    out : numpy.ndarray, optional
        Filled and returned; of the box's shape, and of any dtype that the image's can be cast to.
    keep : bool
        Whether chunks enter the cache. Cached ones are used either way.
    failed : callable, optional
        Called with the index and the error of a chunk that cannot be read, whose pixels are then zero. Without it the
        error is raised. Called in the thread that read.
    cancel, progress : callable, optional
        See :meth:`napari_lazyload.loading.scheduler.Scheduler.each`; progress counts chunks.

    Returns
    -------
    numpy.ndarray
        The pixels, a new array unless `out` was given.

    Raises
    ------
    ChunkReadError
        If a chunk cannot be read and `failed` is not given.
    CancelledError
        If `cancel` said so; `out` is then partly filled.
    RegionError
        If the box is not within the level, or `out` is of another shape.
    """
    box = _checked(box, source, level)
    grid = source.meta.levels[level].grid
    result = np.empty(box_shape(box), source.meta.dtype) if out is None else out
    if result.shape != box_shape(box):
        msg = f"out must have the box's shape {box_shape(box)}, got {result.shape}"
        raise RegionError(msg)

    def fill(index: BlockIndex) -> None:
        bounds = grid.bounds(index)
        part = intersect(bounds, box)
        place: tuple[Any, ...] = (*box_slices(part, box), ...)
        target = result[place]  # an array, not a number, even where there are no axes
        try:
            pixels = None if keep or part == bounds else _read_part(source, level, index, part)
            if pixels is None:
                pixels = read_block(source, level, index, keep=keep)[box_slices(part, bounds)]
        except ChunkReadError as err:
            if failed is None:
                raise
            target[...] = 0
            failed(index, err.with_traceback(None))  # whoever keeps the error would keep this frame, and the result
        else:
            np.copyto(target, pixels, casting="unsafe")

    ranges = grid.block_ranges(box)
    if all(len(blocks) == 1 for blocks in ranges) and cancel is None and progress is None:
        fill(tuple(blocks[0] for blocks in ranges))
    else:
        _scheduler.shared.each(fill, _Sized(grid.touched(box), grid.count(box)), cancel=cancel, progress=progress)
    return result


def _read_part(source: Source, level: int, index: BlockIndex, part: Box) -> Array | None:
    """Read the part of a chunk that lies in a box, where the chunk can be cut and is not in memory; else None.

    Of a chunk that has a method ``cut(box)``, in its own pixels, less needs to be read than the whole.
    """
    chunk = source.chunk(level, index)
    cut: Callable[[Box], Chunk] | None = getattr(chunk, "cut", None)
    if cut is None or chunk.key in _cache.shared:
        return None
    bounds = source.meta.levels[level].grid.bounds(index)
    within = tuple((start - base, stop - base) for (start, stop), (base, _) in zip(part, bounds, strict=True))
    return read_chunk(cut(within), box_shape(part), source.meta.dtype, keep=False)


class _Sized:
    """An iterator that knows its length, so that a million indices need not be listed."""

    def __init__(self, items: Any, size: int) -> None:
        self._items = items
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Any:
        return self._items


def sampled_shape(box: Box, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of `box` when every ``steps``-th pixel of each axis is kept, the first one included."""
    return tuple(-(-size // step) for size, step in zip(box_shape(box), steps, strict=True))


def read_sampled(
    source: Source,
    level: int,
    box: Box,
    steps: tuple[int, ...],
    failed: Callable[[BlockIndex, ChunkReadError], Any] | None = None,
) -> Array:
    """Read every ``steps``-th pixel of a box; chunks without such a pixel are not read.

    Parameters
    ----------
    source, level, box
        As in :func:`read_box`.
    steps : tuple of int
        Distance of the pixels kept, for each axis.
    failed : callable, optional
        As in :func:`read_box`.

    Returns
    -------
    numpy.ndarray
        Of :func:`sampled_shape`.
    """
    box = _checked(box, source, level)
    grid = source.meta.levels[level].grid
    result = np.zeros(sampled_shape(box, steps), source.meta.dtype)

    def fill(index: BlockIndex) -> None:
        bounds = grid.bounds(index)
        placed = [samples(*one) for one in zip(box, bounds, steps, strict=True)]
        try:
            pixels = read_block(source, level, index)
        except ChunkReadError as err:
            if failed is None:
                raise
            failed(index, err.with_traceback(None))
        else:
            result[tuple(target for target, _ in placed)] = pixels[tuple(taken for _, taken in placed)]

    _scheduler.shared.each(fill, sampled_chunks(source, level, box, steps))
    return result


def sampled_chunks(source: Source, level: int, box: Box, steps: tuple[int, ...]) -> list[BlockIndex]:
    """Return the chunks that :func:`read_sampled` reads."""
    grid = source.meta.levels[level].grid
    return list(product(*(_sampled_blocks(grid, axis, *pair, steps[axis]) for axis, pair in enumerate(box))))


def _sampled_blocks(grid: ChunkGrid, axis: int, start: int, stop: int, step: int) -> list[int]:
    """Return the numbers of the blocks that hold one of ``start:stop:step``."""
    blocks = []
    pixel = start
    while pixel < stop:
        block = grid.block_range(axis, pixel, pixel + 1)[0]
        blocks.append(block)
        end = grid.span(axis, block)[1]
        pixel += -(-(end - pixel) // step) * step
    return blocks


def samples(pair: tuple[int, int], span: tuple[int, int], step: int) -> tuple[slice, slice]:
    """Return where the samples of one chunk go in the result, and which pixels of the chunk they are."""
    start, stop = max(pair[0], span[0]), min(pair[1], span[1])
    first = -(-(start - pair[0]) // step)
    last = -(-(stop - pair[0]) // step)
    offset = pair[0] + first * step - span[0]
    return slice(first, last), slice(offset, stop - span[0], step)
