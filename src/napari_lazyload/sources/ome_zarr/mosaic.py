"""The fields of many wells as one image: a mosaic whose chunks are the chunks of the fields."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices, intersect
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

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
    def key(self) -> Hashable:
        """That of the field's own chunk where it is one; of a blank one its place."""
        array = self._array()
        if array is None:
            root, well = self.book.store.root, self.book.wells[self.tile.well].path
            return (root, well, "blank", box_shape(self.box), self.look.dtype.str)
        chunks = [array.chunk(index) for index in array.grid.touched(self.box)]
        if len(chunks) == 1 and array.grid.bounds(chunks[0].index) == self.box:
            return chunks[0].key
        return (
            array.store.root,
            array.path,
            "part",
            self.box,
            tuple(chunk.key for chunk in chunks),
        )

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
        self.row_axes: dict[str, int] = {}
        self.book = book
        self._tiles = dict(tiles)
        self._look = look
        self._along = mosaic_axes(field)
        counts = tuple(1 + max(place[side] for place in tiles) for side in (0, 1))
        self._fields = [level.grid for level in field.levels]
        grids = [self._grid(grid, counts) for grid in self._fields]
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
            return BlankChunk(self.book.store.root, box_shape(box), self.meta.dtype)
        return TileChunk(self.book, self._look, tile, level, box)

    def position(self, _index: BlockIndex) -> int:
        """Return 0: no axis counts rows."""
        return 0

    def chunk_position(self, level: int, index: BlockIndex) -> int:
        """Return the row of the well (or field) that a chunk shows; the first one for a place without."""
        tile = self._tiles.get(self._split(level, index)[0])
        return 0 if tile is None else tile.row

    def frame_index(self, _position: int) -> BlockIndex:
        """Return (): no axis counts rows."""
        return ()


@dataclass(frozen=True, slots=True)
class BlankChunk:
    """A chunk of a place where there is no well.

    Parameters
    ----------
    root : str
        Of the store.
    shape : tuple of int
        Of the chunk.
    dtype : numpy.dtype
        Of the image.
    """

    root: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def key(self) -> Hashable:
        """Its form: all blank chunks of one form are the same."""
        return (self.root, "", "blank", self.shape, self.dtype.str)

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
