"""The one way to exact pixels: views, crops, batches and dask tasks all end here."""

from __future__ import annotations

import threading
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import box_shape, box_slices, intersect
from napari_lazyload.core.errors import ChunkReadError, RegionError
from napari_lazyload.core.source import path_of, status_token
from napari_lazyload.loading import cache as _cache
from napari_lazyload.loading import scheduler as _scheduler
from napari_lazyload.loading import status as _status
from napari_lazyload.loading.direct_read import DirectReader, blocks_box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_lazyload.core.chunks import BlockIndex, Box, ChunkGrid
    from napari_lazyload.core.source import Chunk, Source
    from napari_lazyload.loading.direct_read import Blocks

    Array = np.ndarray[Any, Any]


def read_block(source: Source, level: int, index: BlockIndex, *, keep: bool = True) -> Array:
    """Return one decoded chunk of a source, shared and read-only, through the cache.

    Raises
    ------
    ChunkReadError
        If it cannot be read, or is not what the source said.
    """
    reporter = _status.shared.reporter(status_token(source), level, index)
    shape = box_shape(source.meta.levels[level].grid.bounds(index))
    try:
        chunk = source.chunk(level, index)
    except BaseException as err:
        reporter.fail(err)
        raise
    return read_chunk(chunk, shape, source.meta.dtype, keep=keep, reporter=reporter)


def peek_block(source: Source, level: int, index: BlockIndex) -> Array | None:
    """Return one decoded chunk of a source if it is in memory and whole; reads nothing."""
    shape, dtype = box_shape(source.meta.levels[level].grid.bounds(index)), source.meta.dtype
    reporter = _status.shared.reporter(status_token(source), level, index)
    try:
        return _cache.shared.peek(
            source.chunk(level, index),
            reporter,
            lambda pixels: pixels.shape == shape and pixels.dtype == dtype,
        )
    except ChunkReadError:  # the file is gone: whoever reads it will say so
        return None


def read_chunk(
    chunk: Chunk,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    keep: bool = True,
    reporter: _status.ChunkReporter | None = None,
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
    note : ChunkReporter, optional
        Told what becomes of it.

    Raises
    ------
    ChunkReadError
        If it cannot be read, or is not of that shape and dtype.
    """

    def check(pixels: Array) -> None:
        if pixels.shape != shape or pixels.dtype != dtype:
            path = path_of(chunk)
            msg = (
                f"{path or chunk}: expected pixels of shape {shape} and type {dtype}, "
                f"found {pixels.shape} and {pixels.dtype}. It was changed since it was opened: "
                "open it again"
            )
            raise ChunkReadError(msg, path)

    return _cache.shared.read(chunk, keep=keep, reporter=reporter, check=check)


def _checked(box: Box, source: Source, level: int) -> Box:
    """Return `box`, which lies within the level: outside there is nothing to fill it with."""
    shape = source.meta.levels[level].shape
    if len(box) != len(shape) or any(
        not 0 <= a <= b <= size for (a, b), size in zip(box, shape, strict=True)
    ):
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

    Where the bytes of a file are the pixels they are read straight into the result, and no chunk is
    kept; see `napari_lazyload.loading.direct_read`.

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
        Called with the index and the error of a chunk that cannot be read, whose pixels are then
        zero. Without it the error is raised. Called in the thread that read.
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
    shape = box_shape(box)
    result = np.empty(shape, source.meta.dtype) if out is None else out
    if result.shape != shape:
        msg = f"out must have the box's shape {shape}, got {result.shape}"
        raise RegionError(msg)

    filling = _BoxRead(source, level, box, result, keep=keep, failed=failed, progress=progress)
    runs = filling.runs()
    if len(runs) == 1 and cancel is None:
        filling.run(next(iter(runs)))
    else:
        _scheduler.pool_of(source).each(filling.run, runs, cancel=cancel)
    return result


class _BoxRead:
    """A box that is being read; the arguments are those of :func:`read_box`."""

    def __init__(
        self,
        source: Source,
        level: int,
        box: Box,
        result: Array,
        *,
        keep: bool,
        failed: Callable[[BlockIndex, ChunkReadError], Any] | None,
        progress: Callable[[int], Any] | None,
    ) -> None:
        self._source = source
        self._level = level
        self._box = box
        self._result = result
        self._keep = keep
        self._failed = failed
        self._progress = _Progress(progress)
        self._grid = source.meta.levels[level].grid
        self._direct = DirectReader(source, level, keep=keep)
        self._whole: Blocks | None = None

    def runs(self) -> list[Blocks] | _Sized:
        """Return the groups of chunks that are read one after the other."""
        grid, box = self._grid, self._box
        runs = self._direct.runs(box)
        if runs is not None and len(runs) == 1:
            self._whole = runs[0]
        return runs or _Sized(map(_one_block, grid.touched(box)), grid.count(box))

    def run(self, blocks: Blocks) -> None:
        """Read some neighbouring chunks."""
        if self._at_once(blocks):
            self._progress.add(prod(map(len, blocks)))
            return
        alone = prod(map(len, blocks)) == 1
        for index in product(*blocks):
            if alone or not self._at_once(_one_block(index)):
                self._chunk(index)
            self._progress.add(1)

    def _target(self, part: Box) -> Array:
        """Return the part of the result for a part of the box; an array also without axes."""
        place: tuple[Any, ...] = (*box_slices(part, self._box), ...)
        target: Array = self._result[place]
        return target

    def _at_once(self, blocks: Blocks) -> bool:
        if blocks is self._whole:  # most views: nothing needs to be worked out
            return self._direct.read(blocks, self._box, self._result)
        part = blocks_box(self._grid, blocks, self._box)
        return self._direct.read(blocks, part, self._target(part))

    def _chunk(self, index: BlockIndex) -> None:
        bounds = self._grid.bounds(index)
        part = intersect(bounds, self._box)
        target = self._target(part)
        try:
            pixels = read_block(self._source, self._level, index, keep=self._keep)[
                box_slices(part, bounds)
            ]
        except ChunkReadError as err:
            if self._failed is None:
                raise
            target[...] = 0
            # Whoever keeps the error would keep this frame, and the result.
            self._failed(index, err.with_traceback(None))
        else:
            np.copyto(target, pixels, casting="unsafe")


def _one_block(index: BlockIndex) -> Blocks:
    return tuple(range(block, block + 1) for block in index)


class _Progress:
    """Counts chunks, and tells of each group of them, one call at a time."""

    def __init__(self, progress: Callable[[int], Any] | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._count = 0

    def add(self, count: int) -> None:
        """Note that so many more chunks are done."""
        with self._lock:
            self._count += count
            progress, self._progress = self._progress, None  # one that raised is not called again
            if progress is not None:
                progress(self._count)
                self._progress = progress


class _Sized:
    """An iterator that knows its length, so that a million indices need not be listed."""

    def __init__(self, items: Iterator[Blocks], size: int) -> None:
        self._items = items
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Blocks]:
        return self._items


def sampled_shape(box: Box, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of every k-th pixel of `box`, the first one included."""
    return tuple(-(-size // step) for size, step in zip(box_shape(box), steps, strict=True))


def sampled_chunks(
    source: Source, level: int, box: Box, steps: tuple[int, ...]
) -> list[BlockIndex]:
    """Return the chunks that hold one of every ``steps``-th pixels of a box."""
    grid = source.meta.levels[level].grid
    return list(
        product(*(sampled_blocks(grid, axis, *pair, steps[axis]) for axis, pair in enumerate(box)))
    )


def sampled_blocks(grid: ChunkGrid, axis: int, start: int, stop: int, step: int) -> list[int]:
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
    """Return where the samples of one chunk go, and which pixels of the chunk they are."""
    start, stop = max(pair[0], span[0]), min(pair[1], span[1])
    first = -(-(start - pair[0]) // step)
    last = -(-(stop - pair[0]) // step)
    offset = pair[0] + first * step - span[0]
    return slice(first, last), slice(offset, stop - span[0], step)
