"""OME-Zarr 0.5: Zarr arrays of version 3, written by zarr, each level from the one before.

Source of the format: https://ngff.openmicroscopy.org/0.5.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import prod
from numbers import Integral
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.delayed import delayed

from napari_lazyload.arrays import cluster
from napari_lazyload.core import settings
from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices, intersect
from napari_lazyload.core.errors import ExportError
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.exporting.axes import drop_singletons, roles, too_many
from napari_lazyload.exporting.ome_metadata import ValueRange, attributes, axes_of, world_position
from napari_lazyload.exporting.pyramid import level_factors, level_shapes, reduced
from napari_lazyload.exporting.streaming import BUDGET, ExportProgress, PixelStream, read_slabs
from napari_lazyload.loading import scheduler, status
from napari_lazyload.loading.jobs import Tier
from napari_lazyload.loading.read_box import read_box

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.exporting.axes import Role
    from napari_lazyload.exporting.selection import ExportSelection
    from napari_lazyload.sources.zarr.array import ZarrArray, ZarrChunk

    Array = np.ndarray[Any, Any]

SMALLEST = 256
"""The coarsest level is no longer than this along any axis of space."""

DTYPES = frozenset(
    [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ]
)
"""What every reader of Zarr 3 knows."""

_PLANE, _CHUNK, _SHARD = 256, 2 << 20, 32 << 20
"""Pixels of a chunk along y and x, bytes of a chunk, and of a shard."""

AT_ONCE = 16 << 20
"""Chunks that are written by one call, in bytes."""

_BESIDE: tuple[Role, ...] = ("channel", "color", "other")
"""Of these the format has one axis."""

_ORDER: dict[Role, int] = {"time": 0, "channel": 1, "color": 1, "other": 1, "space": 2}


@dataclass(frozen=True, slots=True)
class ZarrPyramid:
    """The arrays to write. Tuples are in the order of the axes that are written.

    Parameters
    ----------
    stream : PixelStream
        The pixels of the finest level.
    kinds : tuple of str
        What each axis is.
    factors : tuple of tuple of int
        For each coarser level, the pixels of the one before that make one.
    chunks : tuple of int
        Of all levels, cut to what these have.
    shards : tuple of int or None
        Likewise.
    """

    stream: PixelStream
    kinds: tuple[Role, ...]
    factors: tuple[tuple[int, ...], ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the levels, finest first."""
        return level_shapes(self.stream.shape, self.factors)

    def sizes(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """Return the chunks and the shards of a level."""
        chunks = tuple(map(min, self.chunks, shape))
        if self.shards is None:
            return chunks, None
        # Whole chunks, and no more than it takes to hold the level.
        counts = np.minimum(
            np.floor_divide(self.shards, chunks), -np.floor_divide(np.negative(shape), chunks)
        )
        return chunks, tuple((np.maximum(1, counts) * chunks).tolist())


def plan_zarr(
    path: str, selection: ExportSelection, *, pyramid: bool, shards: Any, chunks: Any
) -> ZarrPyramid:
    """Return the arrays to write for a selection; reads nothing.

    Raises
    ------
    ExportError
        If OME-Zarr has no such axes.
    ValueError
        If chunks or shards do not suit the axes.
    """
    if selection.dtype.name not in DTYPES:
        raise ExportError(
            f"{path}: Zarr has no pixels of type {selection.dtype}; "
            "convert them, such as with dtype='float64'",
            path,
        )
    order, kinds = _written_axes(path, selection)
    stream = PixelStream(selection, order)
    space = [axis for axis, kind in enumerate(kinds) if kind == "space"]
    factors = []
    if pyramid:
        lengths = world_position(selection, order).scale
        factors = level_factors(stream.shape, lengths, space, SMALLEST)
    requested = _sizes("chunks", chunks, stream, _default_chunks(stream, space))
    sizes = tuple(map(min, requested, stream.shape))
    whole = None
    if shards is not None and shards is not False:
        given = None if shards is True else shards
        whole = _sizes("shards", given, stream, _default_shards(stream, sizes, space))
        if np.mod(whole, sizes).any():
            raise ValueError(
                f"shards {whole} must be multiples of the chunks {sizes}, along each axis"
            )
    return ZarrPyramid(stream, kinds, tuple(factors), sizes, whole)


def _written_axes(path: str, selection: ExportSelection) -> tuple[list[int], tuple[Role, ...]]:
    """Return the axes in the order in which they are written, and the role of each."""
    kinds = roles(selection)
    kept = drop_singletons(selection, kinds, ("other",), 1)
    others = [axis for axis in kept if kinds[axis] == "other"]
    if len(others) == 1 and "time" not in kinds and {"channel", "color"} & set(kinds):
        kinds[others[0]] = "time"  # frames of a folder, which would leave no place for the channels
    several = drop_singletons(selection, kinds, _BESIDE, 1)
    order = sorted({*kept} & {*several}, key=lambda axis: (_ORDER[kinds[axis]], axis))
    extra = [axis for axis in order if kinds[axis] in _BESIDE]
    found = tuple(kinds[axis] for axis in order)
    if len(extra) > 1 or found.count("time") > 1:
        rule = "OME-Zarr 0.5 has one axis beside time and space"
        raise too_many(path, rule, selection, extra or sorted(order), "NPY (.npy)")
    if found.count("space") < 2:
        raise ExportError(
            f"{path}: OME-Zarr 0.5 takes images with two axes of space or more, "
            f"found {', '.join(selection.axes)}; write NPY (.npy)",
            path,
        )
    return order, found


def _default_chunks(stream: PixelStream, space: Sequence[int]) -> tuple[int, ...]:
    """Return chunks of a few planes, to browse and to zoom in, of one frame and one channel."""
    sizes = [1] * len(stream.shape)
    plane = _PLANE if len(space) > 2 else 2 * _PLANE
    for axis in space[-2:]:
        sizes[axis] = min(plane, stream.shape[axis])
    for axis in space[:-2]:
        room = max(1, _CHUNK // (prod(sizes) * stream.dtype.itemsize))
        sizes[axis] = min(1 << (room.bit_length() - 1), 64, stream.shape[axis])
    return tuple(sizes)


def _default_shards(
    stream: PixelStream, chunks: Sequence[int], space: Sequence[int]
) -> tuple[int, ...]:
    """Return shards of many chunks, doubled along the axes of space in turn, then the others."""
    sizes = list(chunks)
    axes = sorted(range(len(sizes)), key=lambda axis: (axis not in space, -axis))
    grown = True
    while grown:
        grown = False
        for axis in axes:
            fits = 2 * prod(sizes) * stream.dtype.itemsize <= _SHARD
            if fits and sizes[axis] < stream.shape[axis]:
                sizes[axis], grown = 2 * sizes[axis], True
    return tuple(sizes)


def _sizes(name: str, given: Any, stream: PixelStream, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return sizes in the order of the target, of what a user gave in the order of the image."""
    if given is None:
        return default
    selection, axes = stream.selection, stream.selection.axes
    if isinstance(given, Mapping):
        known = set(given) <= set(axes)
        pairs = zip(stream.order, default, strict=True)
        sizes = [given.get(axes[axis], size) for axis, size in pairs]
    else:
        listed = list(given) if isinstance(given, Sequence) else [given] * len(axes)
        if len(listed) == len(axes) - selection.rgb:
            listed += [1] * selection.rgb
        known = len(listed) == len(axes)
        sizes = list(map(listed.__getitem__, stream.order)) if known else []
    if not known or not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
        raise ValueError(
            f"{name} must be a size, one for each of the axes {', '.join(axes)}, "
            f"or a mapping of them, got {given!r}"
        )
    return tuple(map(int, sizes))


def _local(path: str) -> Any:
    """Return a folder as a store: of a path alone, zarr cuts off what follows ``#`` or ``?``."""
    from zarr.storage import LocalStore

    return LocalStore(path)


def write_zarr(path: str, plan: ZarrPyramid, progress: ExportProgress) -> None:
    """Write an image to a path where nothing is."""
    import zarr

    group = zarr.create_group(_local(path), zarr_format=3)
    channels = [axis for axis, kind in enumerate(plan.kinds) if kind in ("channel", "color")]
    extremes = ValueRange(channels[0] if channels else None)
    for number in range(len(plan.shapes)):
        level = _Level(path, number, plan)
        if number == 0:
            level.write_finest(extremes, progress)
        else:
            level.write_coarser(progress)
    selection, order = plan.stream.selection, plan.stream.order
    group.update_attributes(attributes(selection, order, plan.kinds, plan.factors, extremes))


class _Level:
    """One array of the pyramid, empty at first.

    Parameters
    ----------
    path : str
        Of the store.
    number : int
        0 is the finest.
    plan : ZarrPyramid
        All of them.
    """

    def __init__(self, path: str, number: int, plan: ZarrPyramid) -> None:
        import zarr
        from zarr.codecs import ZstdCodec

        self.path, self.number, self.plan = path, number, plan
        shape = plan.shapes[number]
        axes = axes_of(plan.stream.selection, plan.stream.order, plan.kinds)
        self.chunks, shards = plan.sizes(shape)
        self.units = ChunkGrid(shape, shards or self.chunks)
        self.array = zarr.create_array(
            _local(path),
            name=str(number),
            shape=shape,
            chunks=self.chunks,
            shards=shards,
            dtype=plan.stream.dtype,
            # At level 3 noise, as of cameras, takes five times as long for 5 % less.
            compressors=ZstdCodec(level=1),
            fill_value=np.zeros((), plan.stream.dtype)[()],
            zarr_format=3,
            dimension_names=[axis["name"] for axis in axes],
        )

    def write_finest(self, extremes: ValueRange, progress: ExportProgress) -> None:
        """Write what is read, and keep its extremes."""
        for box, pixels in read_slabs(self.plan.stream, self.units, progress):

            def write(part: Box, box: Box = box, pixels: Array = pixels) -> None:
                values = pixels[box_slices(part, box)]
                extremes.update(values, part)
                self._put(part, values, progress)

            self._each(write, box, 1, progress)

    def write_coarser(self, progress: ExportProgress) -> None:
        """Write what the level before gives: on a cluster that sees the store, else here."""
        number, selection = self.number, self.plan.stream.selection
        nearest = selection.display.kind == "labels"
        made = (self.path, number, self.plan.factors[number - 1], nearest)
        client = cluster.cluster_client() if isinstance(selection.array, da.Array) else None
        whole = self.units.full_box
        if client is not None and cluster.sees(client, self.path):
            tasks = ((box, delayed(_write_coarser)(*made, box)) for box in self._parts(whole))

            def count(_: Box, pixels: int) -> None:
                progress.add(pixels)

            cluster.compute_each(client, tasks, count, cancel=progress.cancel, writes=True)
            return
        with closing(_Coarser(*made)) as coarser:

            def write(box: Box) -> None:
                progress.add(coarser.write(box, progress.check))

            self._each(write, whole, 2, progress)

    def _put(self, box: Box, pixels: Array, progress: ExportProgress) -> None:
        self.array[box_slices(box)] = pixels
        progress.add(pixels.size)

    def _each(
        self, work: Callable[[Box], None], box: Box, share: int, progress: ExportProgress
    ) -> None:
        """Do each group of units in a box; what is browsed meanwhile goes first.

        A group under way is in memory `share` times, once more as the copy that zarr makes, and
        once compressed. As many threads work as fit the budget.
        """
        grid = self._groups()
        largest = box_shape(grid.bounds((0,) * len(grid.shape)))
        nbytes = (share + 2) * prod(largest) * self.plan.stream.dtype.itemsize
        workers = max(1, min(settings.current().workers, BUDGET // max(1, nbytes)))
        parts, tier = self._parts(box), Tier.BACKGROUND
        scheduler.shared.each(work, parts, tier=tier, workers=workers, cancel=progress.cancel)

    def _parts(self, box: Box) -> list[Box]:
        """Return the groups of units in a box."""
        grid = self._groups()
        return [intersect(grid.bounds(index), box) for index in grid.touched(box)]

    def _groups(self) -> ChunkGrid:
        """Return the grid of units that are written at once, for each call of zarr is costly."""
        units = self.units
        first = box_shape(units.bounds((0,) * len(units.shape)))
        fitting = max(1, AT_ONCE // (prod(first) * self.plan.stream.dtype.itemsize))
        some_for_each_thread = -(-prod(units.numblocks) // (2 * settings.current().workers))
        room = min(fitting, some_for_each_thread)
        sizes = list(units.shape)
        for axis in reversed(range(len(sizes))):
            taken = min(room, units.numblocks[axis])
            room //= taken
            sizes[axis] = min(sizes[axis], taken * first[axis])
        return ChunkGrid(units.shape, tuple(sizes))


class _Coarser:
    """Makes a level of the one before, box by box, in any process that sees the store.

    Parameters
    ----------
    path : str
        Of the store.
    number : int
        Which level, there and empty.
    factors : tuple of int
        Pixels of the level before that make one.
    nearest : bool
        See :func:`napari_lazyload.exporting.pyramid.reduced`.
    """

    def __init__(self, path: str, number: int, factors: tuple[int, ...], nearest: bool) -> None:
        import zarr

        self._finer = _written(path, str(number - 1))
        self._array = zarr.open_array(_local(path), path=str(number), mode="r+")
        self._factors, self._nearest = factors, nearest

    def write(self, box: Box, check: Callable[[], None] = lambda: None) -> int:
        """Write a box of whole chunks, or shards, and return how many pixels it has."""
        pixels = np.empty(box_shape(box), self._array.dtype)
        inner = ChunkGrid(self._array.shape, self._array.chunks)
        for part in map(inner.bounds, inner.touched(box)):
            check()
            values = self._finer.reduced(part, self._factors, nearest=self._nearest)
            pixels[box_slices(part, box)] = values
        self._array[box_slices(box)] = pixels
        return pixels.size

    def close(self) -> None:
        """Forget the states of the level before."""
        status.shared.forget(self._finer.token)


def _write_coarser(
    path: str, number: int, factors: tuple[int, ...], nearest: bool, box: Box
) -> int:
    """Do one box in a worker of a cluster."""
    with closing(_Coarser(path, number, factors, nearest)) as coarser:
        return coarser.write(box)


class _Written:
    """A level that was just written, as a source."""

    def __init__(self, array: ZarrArray) -> None:
        self.array = array
        self.token = f"export-{uuid.uuid4().hex}"
        axes = tuple(f"axis{number}" for number in range(len(array.shape)))
        self.meta = ImageMeta(
            "level", axes, array.dtype, (LevelMeta(array.grid, (1.0,) * len(axes)),)
        )

    def chunk(self, _level: int, index: BlockIndex) -> ZarrChunk:
        return self.array.chunk(index)

    def reduced(self, box: Box, factors: Sequence[int], *, nearest: bool) -> Array:
        """Return a box of the next level."""
        scaled = np.array(box) * np.array(factors)[:, None]
        below = intersect(tuple(map(tuple, scaled.tolist())), self.array.grid.full_box)
        return reduced(read_box(self, 0, below, keep=False), factors, nearest=nearest)


def _written(path: str, name: str) -> _Written:
    from napari_lazyload.sources.zarr.array import open_array
    from napari_lazyload.sources.zarr.node import read_node
    from napari_lazyload.sources.zarr.open_store import open_store

    store = open_store(path)
    node = read_node(store, name)
    if node is None:
        raise ExportError(
            f"{path}: level {name} is gone while the next one is made of it; "
            "check whether another program changes the folder",
            path,
        )
    return _Written(open_array(store, node))
