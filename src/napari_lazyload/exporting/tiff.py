"""OME-TIFF: tiles, coarser levels as SubIFDs, written by tifffile.

Source of the format: https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core import settings
from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.core.errors import ExportError
from napari_lazyload.core.units import unit_symbol
from napari_lazyload.exporting.axes import drop_singletons, roles, too_many, unit_name
from napari_lazyload.exporting.npy import write_pixels
from napari_lazyload.exporting.ome_metadata import world_position
from napari_lazyload.exporting.pyramid import level_shapes, reduced
from napari_lazyload.exporting.streaming import PixelStream, read_slabs, reads_once

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from napari_lazyload.exporting.axes import Role
    from napari_lazyload.exporting.selection import ExportSelection
    from napari_lazyload.exporting.streaming import ExportProgress

    Array = np.ndarray[Any, Any]

DTYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
"""What the OME model has and every reader knows."""

SMALLEST = 512
"""The coarsest level is no longer than this along y and x."""

_TILE, _LARGE_TILE = 256, 512
_BIG = 2 << 30
"""A file of more bytes is a BigTIFF: offsets of the other kind end at 4 GiB, and noise can grow
when it is compressed."""

_COMPRESSED_AT_ONCE = 32 << 20
"""Bytes of the tiles that are compressed at once, in parallel."""

_LETTERS: dict[Role, str] = {"time": "T", "channel": "C", "color": "S"}


@dataclass(frozen=True, slots=True)
class TiffPages:
    """The pages to write.

    Parameters
    ----------
    stream : PixelStream
        The pixels of the finest level: pages, rows, columns, and samples where there are colors.
    axes : str
        OME's letter of each axis.
    levels : int
        How many coarser ones.
    tile : (int, int)
        Rows and columns of a tile.
    """

    stream: PixelStream
    axes: str
    levels: int
    tile: tuple[int, int]

    @property
    def samples(self) -> int:
        """Samples of a pixel, 0 where it has no axis for them."""
        return self.stream.shape[-1] if self.axes[-1] == "S" else 0

    @property
    def factors(self) -> tuple[int, ...]:
        """Pixels of a level that make one of the next, for each axis."""
        return tuple(2 if axis in "YX" else 1 for axis in self.axes)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the levels, finest first."""
        return level_shapes(self.stream.shape, [self.factors] * self.levels)


def plan_tiff(path: str, selection: ExportSelection, *, pyramid: bool, chunks: Any) -> TiffPages:
    """Return the pages to write for a selection; reads nothing.

    Raises
    ------
    ExportError
        If OME-TIFF has no such axes, or no such type.
    ValueError
        If the tiles are not what the format takes.
    """
    if selection.dtype.name not in DTYPES:
        known = {"b": "uint8", "i": "int32", "u": "uint32"}
        fitting = known.get(selection.dtype.kind, "float32")
        msg = (
            f"{path}: OME-TIFF has no pixels of type {selection.dtype}; "
            f"convert them (dtype={fitting!r}), or write OME-Zarr (.ome.zarr)"
        )
        raise ExportError(msg, path)
    order, letters = _letters(path, selection)
    stream = PixelStream(selection, order)
    at = letters.index("Y")
    size = stream.shape[at : at + 2]
    levels = 0
    while pyramid and max(size) >> levels > SMALLEST:
        levels += 1
    return TiffPages(stream, letters, levels, _tile(chunks, size))


def _letters(path: str, selection: ExportSelection) -> tuple[list[int], str]:
    """Return the axes in the order in which they are written, and their letters."""
    kinds = roles(selection)
    kept = drop_singletons(selection, kinds, ("other", "time"), 1)
    letters = {axis: _LETTERS.get(kinds[axis], "") for axis in kept}
    space = [axis for axis in kept if kinds[axis] == "space"]
    letters.update(zip(reversed(space), "XYZ", strict=False))
    names = {axis: selection.axes[axis].upper() for axis in space}
    if sorted(names.values()) in (["X", "Y"], ["X", "Y", "Z"]):
        letters.update(names)
    unknown = [axis for axis in kept if not letters[axis]]
    if len(unknown) == 1 and "T" not in letters.values():  # frames of a folder, one after the other
        letters[unknown.pop()] = "T"
    if unknown or sorted(set(letters.values())) != sorted(letters.values()):
        rule = "OME-TIFF has the axes T, C, Z, Y, X and colors"
        raise too_many(path, rule, selection, unknown or kept, "OME-Zarr (.ome.zarr)")
    if not {"Y", "X"} <= set(letters.values()):
        msg = (
            f"{path}: OME-TIFF takes images with two axes of space or more, "
            f"found {', '.join(selection.axes)}; write NPY (.npy)"
        )
        raise ExportError(msg, path)
    order = sorted(kept, key=lambda axis: "YXS".find(letters[axis]))
    return order, "".join(letters[axis] for axis in order)


def _tile(chunks: Any, size: tuple[int, ...]) -> tuple[int, int]:
    if chunks is None:
        side = _LARGE_TILE if max(size) > 4096 else _TILE
        return min(side, -(-size[0] // 16) * 16), min(side, -(-size[1] // 16) * 16)
    given = [chunks] * 2 if isinstance(chunks, int) else list(chunks)[-2:]
    fitting = [side for side in given if isinstance(side, int) and side > 0 and side % 16 == 0]
    if len(given) != 2 or fitting != given:
        msg = f"chunks of OME-TIFF are its tiles: rows and columns, multiples of 16, got {chunks!r}"
        raise ValueError(msg)
    return given[0], given[1]


def write_tiff(path: str, plan: TiffPages, progress: ExportProgress) -> None:
    """Write an image to a path where nothing is; coarser levels wait in files beside it."""
    import tifffile

    stream, shapes = plan.stream, plan.shapes
    nbytes = sum(map(prod, shapes)) * stream.dtype.itemsize
    keywords: dict[str, Any] = {
        "dtype": stream.dtype,
        "tile": plan.tile,
        "compression": "zlib",
        "compressionargs": {"level": 1},
        "predictor": stream.dtype.kind in "iu",
        "photometric": "rgb" if plan.samples else "minisblack",
        "extrasamples": ("unassalpha",) if plan.samples == 4 else None,
        "maxworkers": settings.current().workers,
        "buffersize": _COMPRESSED_AT_ONCE,
    }
    big = nbytes > _BIG
    with open(path, "wb+") as handle, tifffile.TiffWriter(handle, bigtiff=big, ome=True) as file:
        rows = _finest(path, plan, progress)
        for number, shape in enumerate(shapes):
            spill = f"{path}.{number + 1}" if number < plan.levels else None
            more: dict[str, Any] = {"subfiletype": 1}
            if number == 0:
                more = {"subifds": plan.levels, "metadata": metadata(plan)}
            # Closed at once, also where this fails: files that are open cannot be removed
            # everywhere.
            with closing(rows), closing(_tiles(plan, rows, spill, progress)) as tiles:
                file.write(tiles, shape=shape, **keywords, **more)
            if spill is not None:
                rows = _spilled(plan, spill, shapes[number + 1])


def _finest(path: str, plan: TiffPages, progress: ExportProgress) -> Generator[Array]:
    """Yield rows of tiles of the finest level, page by page."""
    stream = plan.stream
    at = plan.axes.index("Y")
    sizes = (*(1,) * at, min(plan.tile[0], stream.shape[at]), *stream.shape[at + 1 :])
    units = ChunkGrid(stream.shape, sizes)
    if stream.chunked and not reads_once(units, stream.grid, stream.dtype.itemsize, ordered=True):
        # Chunks of many planes, each larger than a slab, go to a file in their own order, and from
        # there page by page.
        with open(f"{path}.0", "wb") as file:
            for _ in write_pixels(file, stream, progress):
                pass
        yield from _spilled(plan, f"{path}.0", stream.shape)
        return
    for box, pixels in read_slabs(stream, units, progress, ordered=True):
        for page in np.ndindex(*box_shape(box)[:at]):
            for top in range(0, pixels.shape[at], plan.tile[0]):
                yield pixels[page][top : top + plan.tile[0]]


def _spilled(plan: TiffPages, path: str, shape: tuple[int, ...]) -> Generator[Array]:
    """Yield rows of tiles of a level from a file that holds them in turn, and remove the file."""
    at = plan.axes.index("Y")
    try:
        # Not a memory map, whose pages count as memory of this process.
        with open(path, "rb") as file:
            for _ in range(prod(shape[:at])):
                for top in range(0, shape[at], plan.tile[0]):
                    rows = min(plan.tile[0], shape[at] - top)
                    pixels = np.fromfile(file, plan.stream.dtype, rows * prod(shape[at + 1 :]))
                    yield pixels.reshape(rows, *shape[at + 1 :])
    finally:
        os.remove(path)


def _tiles(
    plan: TiffPages, rows: Iterable[Array], spill: str | None, progress: ExportProgress
) -> Generator[Array]:
    """Yield tiles, each a new array; the pixels of the next level go to a file meanwhile."""
    factors = (2, 2, 1)[: 2 + bool(plan.samples)]
    nearest = plan.stream.selection.display.kind == "labels"
    tall, wide = plan.tile
    with open(spill or os.devnull, "wb") as file:
        for row in rows:
            progress.check()
            progress.add(row.size)  # not behind the last tile, after which nobody asks for another
            if spill is not None:
                # Tiles have an even number of rows, so that no block of two reaches into the next
                # row of tiles.
                smaller = np.ascontiguousarray(reduced(row, factors, nearest=nearest))
                file.write(smaller.data.cast("B"))
            for left in range(0, row.shape[1], wide):
                part = row[:, left : left + wide]
                tile = np.zeros((tall, wide, *part.shape[2:]), part.dtype)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile


def metadata(plan: TiffPages) -> Mapping[str, Any]:
    """Return what tifffile writes as OME-XML: axes, pixel sizes with units, names of channels."""
    selection = plan.stream.selection
    world = world_position(selection, plan.stream.order)
    fields: dict[str, Any] = {"axes": plan.axes, "Name": selection.display.name or "image"}
    for letter, axis, size in zip(plan.axes, plan.stream.order, world.scale, strict=True):
        if letter in "SC":
            continue
        unit = unit_name(selection.units[axis])
        if unit is None and size == 1:
            continue
        name = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        known = unit_symbol(unit)
        if known is not None or letter != "T":
            fields[name], fields[f"{name}Unit"] = size, known or "pixel"
    if "C" in plan.axes:
        names = [channel.name for channel in selection.display.channels]
        if len(names) == plan.stream.shape[plan.axes.index("C")] and all(names):
            fields["Channel"] = {"Name": names}
    return fields
