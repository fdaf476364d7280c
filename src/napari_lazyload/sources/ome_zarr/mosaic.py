"""The fields of many wells as one image: a mosaic whose chunks are the chunks of the fields."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from operator import attrgetter, gt
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices, intersect
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.core.row_map import RowMap, first_pixel
from napari_lazyload.core.source import joined_key
from napari_lazyload.sources.binary.strided_chunks import BlankChunk
from napari_lazyload.sources.ome_zarr.multiscales import by_shape
from napari_lazyload.sources.ome_zarr.well_registry import of_acquisition
from napari_lazyload.sources.zarr.store import read_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.core.source import ChunkKey
    from napari_lazyload.sources.ome_zarr.well_registry import Acquisition, WellRegistry
    from napari_lazyload.sources.zarr.array import ZarrArray

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Tile:
    """One field of view in a mosaic.

    Parameters
    ----------
    well : int
        Its number in the registry.
    field : int
        Its number among the well's fields of the acquisition.
    row : int
        Of the meta table.
    """

    well: int
    field: int
    row: int


@dataclass(frozen=True, slots=True)
class FieldImage:
    """The image of each field that a mosaic shows.

    Parameters
    ----------
    acquisition : int, str or None
        Fields of other acquisitions are not counted; None counts all.
    label : str
        A label image of the field; "" for the field itself.
    shapes : tuple of tuple of int
        Of each level of a field.
    dtype : numpy.dtype
        Of the image.
    free : tuple of int
        The axes along which a field may be shorter, and is blank then, or longer, and is cut.
    """

    acquisition: Acquisition
    label: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]
    free: tuple[int, ...] = ()

    def fits(self, shapes: tuple[tuple[int, ...], ...], dtype: np.dtype[Any]) -> bool:
        """Return whether levels of these shapes have a place in the mosaic."""
        if dtype != self.dtype or len(shapes) < len(self.shapes):
            return False
        if {*map(len, shapes)} != {*map(len, self.shapes)}:
            return False
        fixed = np.delete(shapes[: len(self.shapes)], self.free, axis=1)
        return np.array_equal(fixed, np.delete(self.shapes, self.free, axis=1))


@dataclass(frozen=True, slots=True)
class TileChunk:
    """A chunk of a field; its array is looked up when it is read.

    Parameters
    ----------
    registry : WellRegistry
        The wells.
    image : FieldImage
        The image of a field.
    tile : Tile
        The field.
    level : int
        Of the image.
    box : tuple of (int, int)
        Its pixels within the field.
    """

    registry: WellRegistry
    image: FieldImage
    tile: Tile
    level: int
    box: Box

    @property
    def path(self) -> str:
        """Path or URL of the well."""
        return self.registry.store.address(self.registry.wells[self.tile.well].path)

    @property
    def ready(self) -> bool:
        """Whether the metadata for the key were read."""
        fields = of_acquisition(self.registry.known_fields(self.tile.well), self.image.acquisition)
        if self.tile.field >= len(fields):
            return self.registry.knows_well(self.tile.well)
        return self.registry.knows_arrays(fields[self.tile.field], self.image.label)

    @property
    def key(self) -> ChunkKey:
        """That of the field's own chunk where it is one; of a blank one its place."""
        array = self._array()
        chunks = [] if array is None else list(map(array.chunk, self._touched(array)))
        if array is None or not chunks:
            return BlankChunk(self.path, box_shape(self.box), self.image.dtype).key
        if array.grid.bounds(chunks[0].index) == self.box:
            return chunks[0].key
        return joined_key([chunk.key for chunk in chunks], "part", self.box)

    def load(self) -> Array:
        """Read it; zeros where there is no such field, or none of its planes."""
        array = self._array()
        pixels = np.zeros(box_shape(self.box), self.image.dtype)
        if array is None:
            return pixels
        for index in self._touched(array):
            bounds = array.grid.bounds(index)
            if bounds == self.box:
                return array.chunk(index).load()
            part = intersect(bounds, self.box)
            pixels[box_slices(part, self.box)] = array.chunk(index).load()[box_slices(part, bounds)]
        return pixels

    def _touched(self, array: ZarrArray) -> Iterator[BlockIndex]:
        """Yield the chunks of a field, which may be shorter than others, that are in the box."""
        return array.grid.touched(intersect(self.box, array.grid.full_box))

    def _array(self) -> ZarrArray | None:
        """Return the level of the field, None where there is no such field.

        Raises
        ------
        ChunkReadError
            If it cannot be read, or is not like the others.
        """
        fields = of_acquisition(self.registry.fields(self.tile.well), self.image.acquisition)
        if self.tile.field >= len(fields):
            return None
        field = fields[self.tile.field]
        arrays = self.registry.arrays(field, self.image.label)
        if arrays is None:
            return None
        shapes, dtype = tuple(map(attrgetter("shape"), arrays)), arrays[0].dtype
        if not self.image.fits(shapes, dtype):
            raise read_error(
                self.registry.store.address(field.path),
                f"expected {_describe(self.image.shapes, self.image.dtype)} like the other fields "
                f"of the plate, found {_describe(shapes, dtype)}. Open it by its path to see it",
            )
        if any(map(gt, shapes[0], self.image.shapes[0])):
            self.registry.problems[self.tile.well] = (
                f"{self.path}: its shape is {_describe(shapes[:1], dtype)}, of which "
                f"{_describe(self.image.shapes[:1], dtype)} are shown; open it alone to see all"
            )
        return arrays[self.level]


def _describe(shapes: tuple[tuple[int, ...], ...], dtype: np.dtype[Any]) -> str:
    """Return the shape and type of a field for a message."""
    levels = f" and {len(shapes) - 1} smaller levels" if len(shapes) > 1 else ""
    return f"{' x '.join(map(str, shapes[0]))} {dtype}{levels}"


class MosaicRows(RowMap):
    """Which well, or field, a mosaic shows where.

    Parameters
    ----------
    rows : mapping of (int, int) to int
        The row of the table for each place of the mosaic; elsewhere it is the first.
    along : (int, int)
        The axes along which places lie side by side.
    sides : (int, int)
        Pixels of a place along these.
    """

    def __init__(
        self, rows: Mapping[tuple[int, int], int], along: Sequence[int], sides: Sequence[int]
    ) -> None:
        super().__init__()
        self._rows = dict(rows)
        self._along = tuple(along)
        self._sides = tuple(sides)

    def row_of_chunk(self, level: LevelMeta, index: BlockIndex) -> int:
        """Return the row of the place that the first pixel of a chunk is in."""
        down, across = (
            first_pixel(level, axis, index[axis]) // side
            for axis, side in zip(self._along, self._sides, strict=True)
        )
        return self._rows.get((down, across), 0)


class MosaicSource:
    """Fields of wells side by side along ``"y"`` and ``"x"``.

    Parameters
    ----------
    registry : WellRegistry
        The wells.
    tiles : mapping of (int, int) to Tile
        The field at each place of the mosaic, by row and column; other places are blank.
    image : FieldImage
        The image of a field.
    field : ImageMeta
        Of one field.
    name : str
        Of the mosaic.
    """

    def __init__(
        self,
        registry: WellRegistry,
        tiles: Mapping[tuple[int, int], Tile],
        image: FieldImage,
        field: ImageMeta,
        name: str,
    ) -> None:
        self.token = f"mosaic-{uuid.uuid4().hex}"
        self.registry = registry
        self._root = registry.store.address(registry.wells[0].path)
        self._tiles = dict(tiles)
        self._image = image
        self._along = mosaic_axes(field)
        rows, columns = zip(*tiles, strict=True)
        self._fields = [level.grid for level in field.levels]
        grids = [self._grid(grid, (1 + max(rows), 1 + max(columns))) for grid in self._fields]
        table_rows = {place: tile.row for place, tile in tiles.items()}
        self.row_map = MosaicRows(
            table_rows, self._along, np.take(self._fields[0].shape, self._along).tolist()
        )
        self.meta = replace(
            field,
            name=name,
            levels=tuple(LevelMeta(grid, by_shape(grid, grids[0])) for grid in grids),
            translate=None,
            affine=None,
        )

    def _grid(self, field: ChunkGrid, counts: tuple[int, ...]) -> ChunkGrid:
        """Return the grid of a level: the field's chunks over and over along two axes."""
        shape, chunks = list(field.shape), list(field.chunks)
        for axis, count in zip(self._along, counts, strict=True):
            chunks[axis] = field.block_sizes(axis, 0, field.shape[axis]) * count
            shape[axis] *= count
        return ChunkGrid(tuple(shape), tuple(chunks))

    def _split(self, level: int, index: BlockIndex) -> tuple[tuple[int, int], BlockIndex]:
        """Return the place in the mosaic of a chunk, and its index within the field."""
        within, counts = list(index), self._fields[level].numblocks
        y, x = self._along
        row, within[y] = divmod(index[y], counts[y])
        column, within[x] = divmod(index[x], counts[x])
        return (row, column), tuple(within)

    @property
    def remote(self) -> bool:
        """Whether reads wait for a server."""
        return not self.registry.store.is_local

    def chunk(self, level: int, index: BlockIndex) -> TileChunk | BlankChunk:
        """Return the reference to one chunk of one field."""
        place, within = self._split(level, index)
        box = self._fields[level].bounds(within)
        tile = self._tiles.get(place)
        if tile is None:
            return BlankChunk(self._root, box_shape(box), self.meta.dtype)
        return TileChunk(self.registry, self._image, tile, level, box)


def free_axes(field: ImageMeta) -> tuple[int, ...]:
    """Return the axes along which fields of one mosaic may differ, such as planes and times."""
    fixed = (*mosaic_axes(field), *map(field.axes.index, {CHANNEL_AXIS, RGB_AXIS} & {*field.axes}))
    return tuple(axis for axis in range(len(field.axes)) if axis not in fixed)


def mosaic_axes(field: ImageMeta) -> tuple[int, int]:
    """Return the axes along which fields lie side by side: ``"y"`` and ``"x"``, or the last two."""
    names = field.axes
    if "y" in names and "x" in names:
        return names.index("y"), names.index("x")
    last = len(names) - (names[-1] == RGB_AXIS)
    return last - 2, last - 1
