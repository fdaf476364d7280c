"""The pixels of an export, band by band: each band is read once, in parallel, and written in parallel.

A *unit* is what the target writes at once: a chunk, a shard, a row of tiles. A *band* is a box of
whole units that fits the memory that an export may take. Source chunks that reach over the end of a
band are read whole, and what the next band needs of them is carried over, so that each chunk is
read once wherever a band can span all axes but one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import product
from math import lcm, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices
from napari_lazyload.core.errors import CancelledError, ChunkReadError, LazyLoadError
from napari_lazyload.cropping.crop import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.exporting.selection import ExportSelection

    Array = np.ndarray[Any, Any]

BUDGET = 192 << 20
"""Bytes of a band, unless a single unit has more."""


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
    ) -> None:
        self.total = total
        self.cancel = cancel
        self._progress = progress
        self._done = 0
        self.error: OSError | None = None
        self._lock = threading.Lock()

    def add(self, pixels: int) -> None:
        """Note that so many more pixels are read, or written."""
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
            msg = "cancelled; nothing was written"
            raise CancelledError(msg)


class PixelStream:
    """The pixels of a cut, with the axes in the order of a target.

    Parameters
    ----------
    cut : ExportSelection
        What is read.
    order : sequence of int
        For each axis of the target, which one of the cut it is. Axes that are left out have one
        pixel.

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
        """Whether the source has chunks that are read as a whole; other arrays are read in any pieces."""
        return isinstance(getattr(self.selection.array, "chunks", None), tuple)

    def read(self, box: Box, out: Array, progress: ExportProgress) -> None:
        """Read a box, in pixels of the target, into an array of its shape."""
        selection = self.selection
        place = dict(zip(self.order, box, strict=True))
        whole = tuple(
            (start + place[axis][0], start + place[axis][1])
            if axis in place
            else (start, start + 1)
            for axis, (start, _) in enumerate(selection.box)
        )
        kept = sorted(self.order)
        turned = out.transpose([self.order.index(axis) for axis in kept])
        result = np.expand_dims(
            turned, tuple(axis for axis in range(len(selection.box)) if axis not in place)
        )
        count, pixels, before = selection.grid.count(whole), out.size, 0

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
                    whole,
                    result,
                    cancel=progress.cancel,
                    progress=report,
                )
            except OSError as err:
                if isinstance(err, LazyLoadError) or err is progress.error:
                    raise
                msg = f"the pixels of {whole} cannot be read ({type(err).__name__}: {err})"
                raise ChunkReadError(msg, str(err.filename or "")) from err
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


def plan_bands(
    units: ChunkGrid,
    source: ChunkGrid,
    itemsize: int,
    budget: int | None = None,
    *,
    ordered: bool = False,
) -> Iterator[Slab]:
    """Yield the bands of a target, last axis fastest.

    Parameters
    ----------
    units : ChunkGrid
        What the target writes at once.
    source : ChunkGrid
        The chunks of what is read, over the same pixels.
    itemsize : int
        Bytes of a pixel.
    budget : int, optional
        Bytes of a band.
    ordered : bool
        Whether the units of all bands, one after the other, must be in the order of their indices.
    """
    way = _way(
        units, source, max(1, (BUDGET if budget is None else budget) // itemsize), ordered=ordered
    )
    rest = tuple((0, size) for size in units.shape[way.axis + 1 :])
    for index in product(*(range(count) for count in way.leading.numblocks)):
        before = way.leading.bounds(index)
        slab = max(1, prod(box_shape(before)) * prod(box_shape(rest)))
        most = max(1, way.room // slab)
        for box, held, read in _steps(units, source if way.carry else units, way.axis, most):
            yield Slab(
                (*before, box, *rest),
                (*before, held, *rest),
                None if read is None else (*before, read, *rest),
            )


def reads_once(
    units: ChunkGrid,
    source: ChunkGrid,
    itemsize: int,
    budget: int | None = None,
    *,
    ordered: bool = False,
) -> bool:
    """Return whether the bands of :func:`plan_bands` read no chunk of the source twice."""
    way = _way(
        units, source, max(1, (BUDGET if budget is None else budget) // itemsize), ordered=ordered
    )
    return way.carry and not any(
        _straddles(way.leading, ChunkGrid(way.leading.shape, source.chunks[: way.axis]), axis)
        for axis in range(way.axis)
    )


@dataclass(frozen=True, slots=True)
class Traversal:
    """How bands follow each other: along one axis, for each block of the axes before; those behind are whole.

    Parameters
    ----------
    axis : int
        Along which axis.
    leading : ChunkGrid
        The blocks of the axes before: one or more units.
    carry : bool
        Whether source chunks that reach over the end of a band are carried over.
    room : int
        Pixels that may be held.
    """

    axis: int
    leading: ChunkGrid
    carry: bool
    room: int


def _way(units: ChunkGrid, source: ChunkGrid, room: int, *, ordered: bool) -> Traversal:
    """Return the way that reads least: thick bands, else blocks that no chunk reaches over, else what fits."""
    axes = range(len(units.shape))
    single = [_largest(units, axis) for axis in axes]
    whole = single if ordered else [_closed(units, source, axis) for axis in axes]
    reach = [
        one + (_largest(source, axis) if _straddles(units, source, axis) else 0)
        for axis, one in enumerate(single)
    ]
    for before, along, carry in (
        (whole, reach, True),
        (single, reach, True),
        (single, single, False),
    ):
        for axis in axes:
            thick = min(along[axis], units.shape[axis])
            if prod(before[:axis]) * thick * prod(units.shape[axis + 1 :]) <= room:
                return Traversal(
                    axis, ChunkGrid(units.shape[:axis], tuple(before[:axis])), carry, room
                )
    last = len(single) - 1
    return Traversal(
        last, ChunkGrid(units.shape[:last], tuple(single[:last])), carry=False, room=room
    )


def _closed(units: ChunkGrid, source: ChunkGrid, axis: int) -> int:
    """Return the pixels of the fewest units along an axis over whose end no source chunk reaches."""
    unit, chunk = _largest(units, axis), source.chunks[axis]
    if not _straddles(units, source, axis):
        return unit
    sizes = {chunk} if isinstance(chunk, int) else {*chunk[:-1], max(chunk)}
    return min(units.shape[axis], lcm(unit, *sizes)) if len(sizes) == 1 else units.shape[axis]


def _largest(grid: ChunkGrid, axis: int) -> int:
    chunk = grid.chunks[axis]
    return min(chunk, grid.shape[axis]) if isinstance(chunk, int) else max(chunk)


def _straddles(units: ChunkGrid, source: ChunkGrid, axis: int) -> bool:
    """Return whether chunks of the source may reach over borders of units."""
    if units.numblocks[axis] == 1 or _largest(source, axis) == 1:
        return False
    chunk = source.chunks[axis]
    sizes = (
        {chunk} if isinstance(chunk, int) else {*chunk[:-1], max(chunk)}
    )  # the last one may be cut short
    return len(sizes) > 1 or any(_largest(units, axis) % size for size in sizes)


def _steps(
    units: ChunkGrid, source: ChunkGrid, axis: int, most: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int] | None]]:
    """Yield the ranges of box, held and read along one axis; `most` pixels are held where units allow it."""
    size, start, known = units.shape[axis], 0, 0
    while start < size:
        stop = _end(units, axis, start)
        while stop < size and _reach(source, axis, _end(units, axis, stop)) - start <= most:
            stop = _end(units, axis, stop)
        reach = max(known, _reach(source, axis, stop))
        yield (start, stop), (start, reach), (known, reach) if reach > known else None
        start, known = stop, reach


def _end(grid: ChunkGrid, axis: int, pixel: int) -> int:
    """Return the end of the block that begins with, or holds, a pixel."""
    return grid.span(axis, grid.block_range(axis, pixel, pixel + 1)[0])[1]


def _reach(grid: ChunkGrid, axis: int, stop: int) -> int:
    """Return the end of the block that holds the pixel before `stop`."""
    return _end(grid, axis, stop - 1)


def read_bands(
    stream: PixelStream, units: ChunkGrid, progress: ExportProgress, *, ordered: bool = False
) -> Iterator[tuple[Box, Array]]:
    """Yield each band's box and pixels; these are overwritten by the next one."""
    source = stream.grid if stream.chunked else units
    buffer = np.empty(0, stream.dtype)
    before: tuple[Box, Array] | None = None
    for band in plan_bands(units, source, stream.dtype.itemsize, ordered=ordered):
        progress.check()
        carried = (
            None if before is None or band.read == band.held else _part(before, band.held).copy()
        )
        size = prod(box_shape(band.held))
        if size > buffer.size:
            buffer = np.empty(size, stream.dtype)
        pixels = buffer[:size].reshape(box_shape(band.held))
        if carried is not None:
            pixels[tuple(slice(length) for length in carried.shape)] = carried
            del carried
        if band.read is not None:
            stream.read(band.read, pixels[box_slices(band.read, band.held)], progress)
        before = band.held, pixels
        yield band.box, pixels[box_slices(band.box, band.held)]


def _part(known: tuple[Box, Array], wanted: Box) -> Array:
    """Return the pixels of a box that are there already: along each axis from its start on."""
    box, pixels = known
    return pixels[
        tuple(
            slice(max(0, a - c), max(0, b - c)) for (a, b), (c, _) in zip(wanted, box, strict=True)
        )
    ]
