"""The fields of many wells as one image: a mosaic whose chunks are the chunks of the fields."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices, intersect
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.core.row_map import RowMap, first_pixel
from napari_lazyload.core.source import ChunkKey, joined_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.sources.ome_zarr.well_registry import Acquisition, Field, WellRegistry
    from napari_lazyload.sources.zarr.array import ZarrArray

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Tile:
    """One field of view in a mosaic.

    Parameters
    ----------
    well : int
        Which one of the book.
    field : int
        Which one among the well's fields of the acquisition.
    row : int
        Of the meta table.
    """

    well: int
    field: int
    row: int


@dataclass(frozen=True, slots=True)
class Look:
    """What of a field is shown.

    Parameters
    ----------
    acquisition : int, str or None
        Which fields are counted; None counts all.
    label : str
        A label image of the field; "" for the field itself.
    shapes : tuple of tuple of int
        Of each level of a field.
    dtype : numpy.dtype
        Of the image.
    """

    acquisition: Acquisition
    label: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class TileChunk:
    """A chunk of a field; where and what it is, is looked up when it is read.

    Parameters
    ----------
    book : WellRegistry
        Knows the wells.
    look : Look
        What of a field is shown.
    tile : Tile
        Which field.
    level : int
        Which level of it.
    box : tuple of (int, int)
        Its pixels within the field.
    """

    book: WellRegistry
    look: Look
    tile: Tile
    level: int
    box: Box

    @property
    def path(self) -> str:
        """Where the well is."""
        return self.book.store.address(self.book.wells[self.tile.well].path)

    @property
    def ready(self) -> bool:
        """Whether the metadata that the key is made from were read."""
        wanted = self._wanted(self.book.known_fields(self.tile.well))
        if self.tile.field >= len(wanted):
            return self.book.knows_well(self.tile.well)
        return self.book.knows_arrays(wanted[self.tile.field], self.look.label)

    @property
    def key(self) -> ChunkKey:
        """That of the field's own chunk where it is one; of a blank one its place."""
        array = self._array()
        if array is None:
            well = self.book.store.address(self.book.wells[self.tile.well].path)
            return ChunkKey(well, None, ("blank", box_shape(self.box), self.look.dtype.str))
        chunks = [array.chunk(index) for index in array.grid.touched(self.box)]
        if len(chunks) == 1 and array.grid.bounds(chunks[0].index) == self.box:
            return chunks[0].key
        return joined_key([chunk.key for chunk in chunks], "part", self.box)

    def load(self) -> Array:
        """Read it; zeros where there is no such field."""
        array = self._array()
        if array is None:
            return np.zeros(box_shape(self.box), self.look.dtype)
        grid = array.grid
        indices = list(grid.touched(self.box))
        if len(indices) == 1 and grid.bounds(indices[0]) == self.box:
            return array.chunk(indices[0]).load()
        pixels = np.empty(box_shape(self.box), self.look.dtype)
        for index in indices:
            bounds = grid.bounds(index)
            part = intersect(bounds, self.box)
            pixels[box_slices(part, self.box)] = array.chunk(index).load()[box_slices(part, bounds)]
        return pixels

    def _wanted(self, fields: Sequence[Field] | None) -> list[Field]:
        """Return those of a well's fields that are shown."""
        wanted = self.look.acquisition
        return [one for one in fields or () if wanted is None or one.acquisition == wanted]

    def _array(self) -> ZarrArray | None:
        """Return the level of the field, None where there is no such field.

        Raises
        ------
        ChunkReadError
            If it cannot be read, or is not like the others.
        """
        wanted = self._wanted(self.book.fields(self.tile.well))
        if self.tile.field >= len(wanted):
            return None
        field = wanted[self.tile.field]
        arrays = self.book.arrays(field, self.look.label)
        if arrays is None:
            return None
        shapes = tuple(array.shape for array in arrays)
        if (
            shapes[: len(self.look.shapes)] != self.look.shapes
            or arrays[0].dtype != self.look.dtype
        ):
            where = self.book.store.address(field.path)
            msg = (
                f"{where}: expected {_said(self.look.shapes, self.look.dtype)} like the other fields of the plate, "
                f"found {_said(shapes, arrays[0].dtype)}. Open it alone to see it"
            )
            raise ChunkReadError(msg, where)
        return arrays[self.level]


def _said(shapes: tuple[tuple[int, ...], ...], dtype: np.dtype[Any]) -> str:
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
    book : WellRegistry
        Knows the wells.
    tiles : mapping of (int, int) to Tile
        What is at each place of the mosaic, by row and column; other places are blank.
    look : Look
        What of a field is shown.
    field : ImageMeta
        Of one field.
    name : str
        Of the mosaic.
    """

    def __init__(
        self,
        book: WellRegistry,
        tiles: Mapping[tuple[int, int], Tile],
        look: Look,
        field: ImageMeta,
        name: str,
    ) -> None:
        self.token = f"mosaic-{uuid.uuid4().hex}"
        self.book = book
        self._root = book.store.address(book.wells[0].path)
        self._tiles = dict(tiles)
        self._look = look
        self._along = mosaic_axes(field)
        counts = tuple(1 + max(place[side] for place in tiles) for side in (0, 1))
        self._fields = [level.grid for level in field.levels]
        grids = [self._grid(grid, counts) for grid in self._fields]
        sides = tuple(self._fields[0].shape[axis] for axis in self._along)
        rows = {place: tile.row for place, tile in tiles.items()}
        self.row_map = MosaicRows(rows, self._along, sides)
        self.meta = replace(
            field,
            name=name,
            levels=tuple(
                LevelMeta(
                    grid,
                    tuple(
                        big / small for big, small in zip(grids[0].shape, grid.shape, strict=True)
                    ),
                )
                for grid in grids
            ),
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
        """Return which place of the mosaic a chunk is in, and its index within the field."""
        within, where = list(index), []
        for axis in self._along:
            place, within[axis] = divmod(index[axis], self._fields[level].numblocks[axis])
            where.append(place)
        return (where[0], where[1]), tuple(within)

    @property
    def remote(self) -> bool:
        """Whether reads wait for a server."""
        return not self.book.store.is_local

    def chunk(self, level: int, index: BlockIndex) -> TileChunk | BlankChunk:
        """Return the reference to one chunk of one field."""
        where, within = self._split(level, index)
        box = self._fields[level].bounds(within)
        tile = self._tiles.get(where)
        if tile is None:
            return BlankChunk(self._root, box_shape(box), self.meta.dtype)
        return TileChunk(self.book, self._look, tile, level, box)


@dataclass(frozen=True, slots=True)
class BlankChunk:
    """A chunk of a place where there is no well.

    Parameters
    ----------
    root : str
        Address of a well.
    shape : tuple of int
        Of the chunk.
    dtype : numpy.dtype
        Of the image.
    """

    root: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def key(self) -> ChunkKey:
        """Its form: all blank chunks of one form are the same."""
        return ChunkKey(self.root, None, ("blank", self.shape, self.dtype.str))

    def load(self) -> Array:
        """Return zeros."""
        return np.zeros(self.shape, self.dtype)


def mosaic_axes(field: ImageMeta) -> tuple[int, int]:
    """Return the axes along which fields lie side by side: ``"y"`` and ``"x"``, or the last two of an image."""
    names = field.axes
    if "y" in names and "x" in names:
        return names.index("y"), names.index("x")
    last = len(names) - (names[-1] == RGB_AXIS)
    return last - 2, last - 1
