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
from napari_lazyload.exporting.ome_metadata import ValueRange, attributes, axes_of, pixel_to_world
from napari_lazyload.exporting.pyramid import coarser, level_factors, reduced
from napari_lazyload.exporting.streaming import BUDGET, ExportProgress, PixelStream, read_bands
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
    (
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
    )
) | {"complex64", "complex128"}
"""What every reader of Zarr 3 knows."""

_PLANE, _CHUNK, _SHARD = 256, 2 << 20, 32 << 20
"""Pixels of a chunk along y and x, bytes of a chunk, and of a shard."""

AT_ONCE = 16 << 20
"""Chunks that are written by one call, in bytes."""

_BESIDE: tuple[Role, ...] = ("channel", "color", "other")
"""Of these the format has one axis."""

_ORDER: dict[Role, int] = {"time": 0, "channel": 1, "color": 1, "other": 1, "space": 2}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is written. Tuples are in the order of the axes that are written.

    Parameters
    ----------
    feed : PixelStream
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
        shapes = [self.stream.shape]
        for factors in self.factors:
            shapes.append(tuple(coarser(shapes[-1], factors)))
        return shapes

    def sizes(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """Return the chunks and the shards of a level."""
        chunks = tuple(map(min, self.chunks, shape))
        if self.shards is None:
            return chunks, None
        # Whole chunks, and no more than it takes to hold the level.
        wanted = zip(self.shards, chunks, shape, strict=True)
        return chunks, tuple(
            max(1, min(shard // one, -(-size // one))) * one for shard, one, size in wanted
        )


def plan_zarr(
    path: str, selection: ExportSelection, *, pyramid: bool, shards: Any, chunks: Any
) -> Plan:
    """Return what is written for a cut; reads nothing.

    Raises
    ------
    ExportError
        If OME-Zarr has no such axes.
    ValueError
        If chunks or shards do not suit the axes.
    """
    if selection.dtype.name not in DTYPES:
        msg = f"{path}: Zarr has no pixels of type {selection.dtype}; convert them, such as with dtype='float64'"
        raise ExportError(msg, path)
    kinds = roles(selection)
    kept = drop_singletons(selection, kinds, ("other",), 1)
    others = [axis for axis in kept if kinds[axis] == "other"]
    if len(others) == 1 and "time" not in kinds and {"channel", "color"} & set(kinds):
        kinds[others[0]] = "time"  # frames of a folder, which would leave no place for the channels
    kept = [axis for axis in kept if axis in drop_singletons(selection, kinds, _BESIDE, 1)]
    extra = [axis for axis in kept if kinds[axis] in _BESIDE]
    found = [kinds[axis] for axis in kept]
    if len(extra) > 1 or found.count("time") > 1:
        raise too_many(
            path,
            "OME-Zarr 0.5 has one axis beside time and space",
            selection,
            extra or kept,
            "NPY (.npy)",
        )
    if found.count("space") < 2:
        names = ", ".join(selection.axes)
        msg = f"{path}: OME-Zarr 0.5 takes images with two axes of space or more, found {names}; write NPY (.npy)"
        raise ExportError(msg, path)
    order = sorted(kept, key=lambda axis: _ORDER[kinds[axis]])
    stream, ordered = PixelStream(selection, order), tuple(kinds[axis] for axis in order)
    space = [axis for axis, kind in enumerate(ordered) if kind == "space"]
    lengths = pixel_to_world(selection, order).scale
    factors = level_factors(stream.shape, lengths, space, SMALLEST) if pyramid else []
    asked = _wanted("chunks", chunks, selection, order, _default_chunks(stream, space))
    sizes = tuple(map(min, asked, stream.shape))
    whole = None
    if shards is not None and shards is not False:
        whole = _wanted(
            "shards",
            None if shards is True else shards,
            selection,
            order,
            _default_shards(stream, sizes, space),
        )
        if any(shard % one for shard, one in zip(whole, sizes, strict=True)):
            msg = f"shards {whole} must be multiples of the chunks {sizes}, along each axis"
            raise ValueError(msg)
    return Plan(stream, ordered, tuple(factors), sizes, whole)


def _default_chunks(stream: PixelStream, space: Sequence[int]) -> tuple[int, ...]:
    """Return chunks of a few planes: good to browse, and to zoom in; one frame and one channel each."""
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
    """Return shards of many chunks: doubled along the axes of space in turn, then along the others."""
    sizes = list(chunks)
    axes = [*reversed(space), *(axis for axis in reversed(range(len(sizes))) if axis not in space)]
    grown = True
    while grown:
        grown = False
        for axis in axes:
            if (
                sizes[axis] < stream.shape[axis]
                and 2 * prod(sizes) * stream.dtype.itemsize <= _SHARD
            ):
                sizes[axis], grown = 2 * sizes[axis], True
    return tuple(sizes)


def _wanted(
    what: str,
    given: Any,
    selection: ExportSelection,
    order: Sequence[int],
    default: tuple[int, ...],
) -> tuple[int, ...]:
    """Return sizes in the order of the target, of what a user gave in that of the image."""
    if given is None:
        return default
    if isinstance(given, Mapping):
        known = all(name in selection.axes for name in given)
        sizes = [
            given.get(selection.axes[axis], one) for axis, one in zip(order, default, strict=True)
        ]
    else:
        listed = list(given) if isinstance(given, Sequence) else [given] * len(selection.axes)
        if len(listed) == len(selection.axes) - selection.rgb:
            listed += [1] * selection.rgb
        known = len(listed) == len(selection.axes)
        sizes = [listed[axis] for axis in order] if known else []
    if not known or not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
        axes = ", ".join(selection.axes)
        msg = f"{what} must be a size, one for each of the axes {axes}, or a mapping of them, got {given!r}"
        raise ValueError(msg)
    return tuple(map(int, sizes))


def zarr_steps(plan: Plan) -> int:
    """Return how many pixels are read and written."""
    sizes = [prod(shape) for shape in plan.shapes]
    return sizes[0] + sum(sizes)


def write_zarr(path: str, plan: Plan, progress: ExportProgress) -> None:
    """Write an image to a path where nothing is."""
    import zarr

    group = zarr.create_group(path, zarr_format=3)
    channel = next(
        (axis for axis, kind in enumerate(plan.kinds) if kind in ("channel", "color")), None
    )
    extremes = ValueRange(plan.stream.shape, channel)
    for number in range(len(plan.shapes)):
        level = _Level(path, number, plan)
        if number == 0:
            level.write_finest(extremes, progress)
        else:
            level.write_coarser(progress)
    group.update_attributes(
        attributes(plan.stream.selection, plan.stream.order, plan.kinds, plan.factors, extremes)
    )


class _Level:
    """One array of the pyramid, empty at first.

    Parameters
    ----------
    path : str
        Of the store.
    number : int
        0 is the finest.
    plan : Plan
        What is written.
    """

    def __init__(self, path: str, number: int, plan: Plan) -> None:
        import zarr
        from zarr.codecs import ZstdCodec

        self.path, self.number, self.plan = path, number, plan
        shape = plan.shapes[number]
        self.chunks, shards = plan.sizes(shape)
        self.units = ChunkGrid(shape, shards or self.chunks)
        self.array = zarr.create_array(
            path,
            name=str(number),
            shape=shape,
            chunks=self.chunks,
            shards=shards,
            dtype=plan.stream.dtype,
            compressors=ZstdCodec(
                level=1
            ),  # at level 3 noise, as of cameras, takes five times as long for 5 % less
            fill_value=np.zeros((), plan.stream.dtype)[()],
            zarr_format=3,
            dimension_names=[
                axis["name"]
                for axis in axes_of(plan.stream.selection, plan.stream.order, plan.kinds)
            ],
        )

    def write_finest(self, extremes: ValueRange, progress: ExportProgress) -> None:
        """Write what is read, and take note of its extremes."""
        for box, pixels in read_bands(self.plan.stream, self.units, progress):

            def write(part: Box, box: Box = box, pixels: Array = pixels) -> None:
                piece = pixels[box_slices(part, box)]
                extremes.update(piece, part)
                self._put(part, piece, progress)

            self._each(write, box, 1, progress)

    def write_coarser(self, progress: ExportProgress) -> None:
        """Write what the level before gives: on the cluster, where its workers see what is written, else here."""
        number, selection = self.number, self.plan.stream.selection
        made = (
            self.path,
            number,
            self.plan.factors[number - 1],
            selection.display.kind == "labels",
        )
        client = cluster.cluster_client() if isinstance(selection.array, da.Array) else None
        if client is not None and cluster.sees(client, self.path):
            tasks = (
                (box, delayed(_write_coarser)(*made, box))
                for box in self._parts(self.units.full_box)
            )
            cluster.compute_each(
                client,
                tasks,
                lambda _, pixels: progress.add(pixels),
                cancel=progress.cancel,
                writes=True,
            )
            return
        coarser = _Coarser(*made)
        with closing(coarser):
            self._each(
                lambda box: progress.add(coarser.write(box, progress.check)),
                self.units.full_box,
                2,
                progress,
            )

    def _put(self, box: Box, pixels: Array, progress: ExportProgress) -> None:
        self.array[box_slices(box)] = pixels
        progress.add(pixels.size)

    def _each(
        self, work: Callable[[Box], None], box: Box, share: int, progress: ExportProgress
    ) -> None:
        """Do each group of units in a box; what is browsed meanwhile goes first.

        A group under way is there `share` times, as the copy that zarr makes, and packed: so many
        fit the budget.
        """
        grid = self._groups()
        most = (
            prod(box_shape(grid.bounds((0,) * len(grid.shape)))) * self.plan.stream.dtype.itemsize
        )
        workers = max(1, min(settings.current().workers, BUDGET // max(1, (share + 2) * most)))
        tier = Tier.BACKGROUND
        scheduler.shared.each(
            work, self._parts(box), tier=tier, workers=workers, cancel=progress.cancel
        )

    def _parts(self, box: Box) -> list[Box]:
        """Return the groups of units in a box."""
        grid = self._groups()
        return [intersect(grid.bounds(index), box) for index in grid.touched(box)]

    def _groups(self) -> ChunkGrid:
        """Return the grid of neighbouring units that are written at once: each call of zarr takes its time."""
        units = self.units
        first = box_shape(units.bounds((0,) * len(units.shape)))
        room = max(1, AT_ONCE // (prod(first) * self.plan.stream.dtype.itemsize))
        room = min(
            room, -(-prod(units.numblocks) // (2 * settings.current().workers))
        )  # some for each thread
        sizes: list[int] = []
        for size, unit, count in reversed(
            list(zip(units.shape, first, units.numblocks, strict=True))
        ):
            taken = min(room, count)
            room //= taken
            sizes.insert(0, min(size, taken * unit))
        return ChunkGrid(units.shape, tuple(sizes))


class _Coarser:
    """Makes one level of the one before, box by box, in any process that sees the store.

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
        self._array = zarr.open_array(path, path=str(number), mode="r+")
        self._factors, self._nearest = factors, nearest

    def write(self, box: Box, check: Callable[[], None] = lambda: None) -> int:
        """Write a box of whole chunks, or shards, and return how many pixels it has."""
        pixels = np.empty(box_shape(box), self._array.dtype)
        inner = ChunkGrid(self._array.shape, self._array.chunks)
        for index in inner.touched(box):
            check()
            part = inner.bounds(index)
            pixels[box_slices(part, box)] = self._finer.reduced(
                part, self._factors, nearest=self._nearest
            )
        self._array[box_slices(box)] = pixels
        return pixels.size

    def close(self) -> None:
        """Let go of what was noted of the level before."""
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
        below = tuple(
            (start * factor, min(stop * factor, size))
            for (start, stop), factor, size in zip(box, factors, self.array.shape, strict=True)
        )
        return reduced(read_box(self, 0, below, keep=False), factors, nearest=nearest)


def _written(path: str, name: str) -> _Written:
    from napari_lazyload.sources.zarr.array import open_array
    from napari_lazyload.sources.zarr.node import read_node
    from napari_lazyload.sources.zarr.open_store import open_store

    store = open_store(path)
    node = read_node(store, name)
    if node is None:
        msg = f"{path}: level {name} is gone while the next one is made of it; was the folder changed?"
        raise ExportError(msg, path)
    return _Written(open_array(store, node))
