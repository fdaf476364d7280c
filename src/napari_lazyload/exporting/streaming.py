"""The pixels of an export, slab by slab: each is read once and written once, both in parallel.

A *unit* is what the target writes at once: a chunk, a shard, a row of tiles. A *slab* is a box of
whole units that fits the memory that an export may take. Source chunks that reach over the end of a
slab are read whole, and what the next slab needs of them is carried over. So each chunk is read
once wherever a slab can span all axes but one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from math import lcm, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices, intersect
from napari_lazyload.core.errors import CancelledError, ChunkReadError, LazyLoadError
from napari_lazyload.cropping.crop import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.cropping.failures import Failed
    from napari_lazyload.exporting.selection import ExportSelection

    Array = np.ndarray[Any, Any]

BUDGET = 192 << 20
"""Bytes of a slab, unless a single unit has more."""


class ExportProgress:
    """How far an export is, and whether it goes on. Any thread.

    Parameters
    ----------
    total : int
        Pixels that are read, and that are written, of all levels.
    progress : callable, optional
        ``progress(done, total)``, one call at a time.
    cancel : callable, optional
        Returns true to stop.
    failed : callable, optional
        Called with each part that cannot be read; see :func:`napari_lazyload.cropping.crop.fill`.

    Attributes
    ----------
    error : OSError or None
        What `progress` raised, which is no fault of the disk.
    """

    def __init__(
        self,
        total: int,
        progress: Callable[[int, int], Any] | None,
        cancel: Callable[[], bool] | None,
        failed: Failed | None = None,
    ) -> None:
        self.total = total
        self.failed = failed
        self.cancel = cancel
        self._progress = progress
        self._done = 0
        self.error: OSError | None = None
        self._lock = threading.Lock()

    def add(self, pixels: int) -> None:
        """Count pixels that were read, or written."""
        with self._lock:
            self._done += pixels
            if self._progress is None or not pixels:
                return
            try:
                self._progress(min(self._done, self.total), self.total)
            except OSError as err:  # a closed pipe, not the disk
                self.error = err
                raise

    def check(self) -> None:
        """Raise `CancelledError` if the user has cancelled."""
        if self.cancel is not None and self.cancel():
            raise CancelledError("cancelled; nothing was written")


class PixelStream:
    """The pixels of a selection, with the axes in the order of a target.

    Parameters
    ----------
    selection : ExportSelection
        What is read.
    order : sequence of int
        For each axis of the target, which one of the selection it is. Axes that are left out have
        one pixel.

    Attributes
    ----------
    shape : tuple of int
        Pixels along the axes of the target.
    grid : ChunkGrid
        The chunks of the source, cut to the box, in those axes.
    """

    def __init__(self, selection: ExportSelection, order: Sequence[int]) -> None:
        self.selection = selection
        self.order = tuple(order)
        self.shape = tuple(selection.shape[axis] for axis in order)
        sizes = [selection.grid.block_sizes(axis, *selection.box[axis]) for axis in order]
        self.grid = ChunkGrid(self.shape, tuple(sizes))

    @property
    def dtype(self) -> np.dtype[Any]:
        """What is written."""
        return self.selection.dtype

    @property
    def chunked(self) -> bool:
        """Whether the source has chunks that are read as a whole; others give any box."""
        return isinstance(getattr(self.selection.array, "chunks", None), tuple)

    def read(self, box: Box, out: Array, progress: ExportProgress) -> None:
        """Read a box, in pixels of the target, into an array of its shape."""
        selection = self.selection
        whole = [(start, start + 1) for start, _ in selection.box]
        for axis, (start, stop) in zip(self.order, box, strict=True):
            first = selection.box[axis][0]
            whole[axis] = first + start, first + stop
        # `fill` wants the axes in the order of the source, also those that the target leaves out.
        in_order = out.transpose(np.argsort(self.order))
        left_out = set(range(len(whole))) - set(self.order)
        result = np.expand_dims(in_order, tuple(left_out))
        count, pixels, before = selection.grid.count(tuple(whole)), out.size, 0

        def report(done: int) -> None:
            nonlocal before
            now = pixels * min(done, count) // count
            progress.add(now - before)
            before = now

        with np.errstate(invalid="ignore", over="ignore"):  # a cast is what the user asked for
            try:
                fill(
                    selection.array,
                    selection.grid,
                    tuple(whole),
                    result,
                    cancel=progress.cancel,
                    progress=report,
                    failed=progress.failed,
                )
            except OSError as err:
                if isinstance(err, LazyLoadError) or err is progress.error:
                    raise
                raise ChunkReadError(
                    f"the pixels of {whole} cannot be read ({type(err).__name__}: {err})",
                    str(err.filename or ""),
                ) from err
        report(count)


@dataclass(frozen=True, slots=True)
class Slab:
    """One step of an export. Boxes are in pixels of the target.

    Parameters
    ----------
    box : tuple of (int, int)
        Whole units, to be written.
    held : tuple of (int, int)
        What is in memory for that: the box, and what was read beyond its end.
    read : tuple of (int, int) or None
        The part of `held` that is to be read; the rest was before.
    """

    box: Box
    held: Box
    read: Box | None


def plan_slabs(
    units: ChunkGrid,
    source: ChunkGrid,
    itemsize: int,
    budget: int | None = None,
    *,
    ordered: bool = False,
) -> Iterator[Slab]:
    """Yield the slabs of a target, last axis fastest.

    Parameters
    ----------
    units : ChunkGrid
        What the target writes at once.
    source : ChunkGrid
        The chunks of what is read, over the same pixels.
    itemsize : int
        Bytes of a pixel.
    budget : int, optional
        Bytes of a slab.
    ordered : bool
        Whether the units of all slabs, one after the other, must be in the order of their indices.
    """
    way = _traversal(units, source, itemsize, budget, ordered=ordered)
    # A slab is a box of leading axes, a range along the axis of the traversal, and all of the rest.
    # Only the range changes from one slab to the next, so that what is carried over is a range too.
    rest = units.full_box[way.axis + 1 :]
    followed = source if way.carry else units
    for before in map(way.leading.bounds, np.ndindex(*way.leading.numblocks)):
        cross_section = max(1, prod(box_shape((*before, *rest))))
        most = max(1, way.room // cross_section)
        for box, held, read in _steps(units, followed, way.axis, most):
            to_read = read and (*before, read, *rest)
            yield Slab((*before, box, *rest), (*before, held, *rest), to_read)


def reads_once(
    units: ChunkGrid,
    source: ChunkGrid,
    itemsize: int,
    budget: int | None = None,
    *,
    ordered: bool = False,
) -> bool:
    """Whether the slabs of :func:`plan_slabs` read no chunk of the source twice."""
    way = _traversal(units, source, itemsize, budget, ordered=ordered)
    leading = ChunkGrid(way.leading.shape, source.chunks[: way.axis])
    crossed = (_straddles(way.leading, leading, axis) for axis in range(way.axis))
    return way.carry and not any(crossed)


@dataclass(frozen=True, slots=True)
class Traversal:
    """How slabs follow each other: along one axis, for each block of the axes before it.

    The axes behind it are whole.

    Parameters
    ----------
    axis : int
        Along which axis.
    leading : ChunkGrid
        The blocks of the axes before: one or more units.
    carry : bool
        Whether source chunks that reach over the end of a slab are carried over.
    room : int
        Pixels that may be held.
    """

    axis: int
    leading: ChunkGrid
    carry: bool
    room: int


def _traversal(
    units: ChunkGrid, source: ChunkGrid, itemsize: int, budget: int | None, *, ordered: bool
) -> Traversal:
    """Return the traversal that reads least, of those whose thinnest slab fits the budget."""
    room = max(1, (BUDGET if budget is None else budget) // itemsize)
    shape, axes = units.shape, range(len(units.shape))
    # Pixels along each axis of: one unit; the fewest units whose end no source chunk crosses; one
    # unit with the source chunks that reach over its end.
    single = [_largest(units, axis) for axis in axes]
    closed, with_chunks = list(single), list(single)
    for axis in axes:
        if _straddles(units, source, axis):
            closed[axis] = _closed(units, source, axis)
            with_chunks[axis] += _largest(source, axis)
    if ordered:  # blocks of several units would not be in the order of the units
        closed = single
    # From best to worst: nothing is read twice; chunks that cross leading blocks are; chunks that
    # cross the end of a slab are, too. The slowest axis comes first: it has the thickest slabs.
    for leading, along, carry in (
        (closed, with_chunks, True),
        (single, with_chunks, True),
        (single, single, False),
    ):
        for axis in axes:
            thinnest = min(along[axis], shape[axis]) * prod(shape[axis + 1 :])
            if prod(leading[:axis]) * thinnest <= room:
                blocks = ChunkGrid(shape[:axis], tuple(leading[:axis]))
                return Traversal(axis, blocks, carry, room)
    last = len(shape) - 1  # a single unit is larger than the budget
    blocks = ChunkGrid(shape[:last], tuple(single[:last]))
    return Traversal(last, blocks, carry=False, room=room)


def _closed(units: ChunkGrid, source: ChunkGrid, axis: int) -> int:
    """Return the pixels of the fewest units along an axis whose end no source chunk crosses."""
    sizes, whole = _chunk_sizes(source, axis), units.shape[axis]
    if len(sizes) > 1:  # irregular chunks: only the end of the axis is certain
        return whole
    return min(whole, lcm(_largest(units, axis), *sizes))


def _chunk_sizes(grid: ChunkGrid, axis: int) -> set[int]:
    """Return the sizes of the chunks along an axis; the last one may be cut short."""
    chunk = grid.chunks[axis]
    return {chunk} if isinstance(chunk, int) else {*chunk[:-1], max(chunk)}


def _largest(grid: ChunkGrid, axis: int) -> int:
    return min(max(_chunk_sizes(grid, axis)), grid.shape[axis])


def _straddles(units: ChunkGrid, source: ChunkGrid, axis: int) -> bool:
    """Whether chunks of the source may reach over borders of units."""
    if units.numblocks[axis] == 1 or _largest(source, axis) == 1:
        return False
    sizes = _chunk_sizes(source, axis)
    return len(sizes) > 1 or any(_largest(units, axis) % size for size in sizes)


def _steps(
    units: ChunkGrid, source: ChunkGrid, axis: int, most: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int] | None]]:
    """Yield the ranges of box, held and read of a `Slab` along one axis.

    `most` pixels are held where units allow it.
    """
    size, start, known = units.shape[axis], 0, 0  # all before `known` was read
    while start < size:
        stop = _end(units, axis, start)
        # Add units as long as they fit together with the chunks that their end cuts through.
        while stop < size and _reach(source, axis, _end(units, axis, stop)) - start <= most:
            stop = _end(units, axis, stop)
        # A long chunk may have been read beyond the end of this slab already.
        reach = max(known, _reach(source, axis, stop))
        yield (start, stop), (start, reach), (known, reach) if reach > known else None
        start, known = stop, reach


def _end(grid: ChunkGrid, axis: int, pixel: int) -> int:
    """Return the end of the block that begins with, or holds, a pixel."""
    return grid.span(axis, grid.block_range(axis, pixel, pixel + 1)[0])[1]


def _reach(grid: ChunkGrid, axis: int, stop: int) -> int:
    """Return the end of the block that holds the pixel before `stop`."""
    return _end(grid, axis, stop - 1)


def read_slabs(
    stream: PixelStream, units: ChunkGrid, progress: ExportProgress, *, ordered: bool = False
) -> Iterator[tuple[Box, Array]]:
    """Yield box and pixels of each slab; the pixels are overwritten by the next one."""
    source = stream.grid if stream.chunked else units
    buffer = np.empty(0, stream.dtype)
    before: tuple[Box, Array] | None = None
    for slab in plan_slabs(units, source, stream.dtype.itemsize, ordered=ordered):
        progress.check()
        carried: tuple[Box, Array] | None = None
        if before is not None and slab.read != slab.held:
            shared = intersect(before[0], slab.held)
            # A copy: both slabs are in the same buffer.
            carried = shared, before[1][box_slices(shared, before[0])].copy()
        shape = box_shape(slab.held)
        if prod(shape) > buffer.size:
            buffer = np.empty(prod(shape), stream.dtype)
        pixels = buffer[: prod(shape)].reshape(shape)
        if carried is not None:
            pixels[box_slices(carried[0], slab.held)] = carried[1]
            del carried
        if slab.read is not None:
            stream.read(slab.read, pixels[box_slices(slab.read, slab.held)], progress)
        before = slab.held, pixels
        yield slab.box, pixels[box_slices(slab.box, slab.held)]
