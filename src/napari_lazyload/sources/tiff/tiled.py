"""Large TIFF files, and such with a pyramid: chunks are tiles or strips, put together where they are small.

What the image is called, its axes and its scale come from the reader of pictures; this module only
reads it in smaller pieces than whole pages, and gives its levels. Pixels without compression that
lie together are read in place.
"""

from __future__ import annotations

import functools
import threading
import uuid
from array import array
from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.metadata import LevelMeta
from napari_lazyload.core.row_map import ONE_ROW
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.sources.binary.read_strided import Array, native
from napari_lazyload.sources.binary.strided import StridedFileSource, dense
from napari_lazyload.sources.files import FileStamp, read_error
from napari_lazyload.sources.tiff.metadata import quiet_tifffile
from napari_lazyload.sources.tiff.pages import contiguous_from, in_other_files, page_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tifffile

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.metadata import ImageMeta
    from napari_lazyload.sources.opened import RowSource


_GROUPED = 1 << 20
_WITH_TABLES = frozenset((6, 7, 34892, 33007))
_parsing = threading.Lock()


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How the pages of one level are cut.

    Parameters
    ----------
    directories : array of int
        Where the directory of each page is.
    lead : tuple of int
        Lengths of the axes that count pages.
    planes : int
        Planes of a page that are stored one behind the other: samples kept apart; 0 where the page
        has no such axis.
    size : (int, int)
        Rows and columns.
    samples : int
        Samples of a pixel that are stored together; 0 where the page has no such axis.
    tile : (int, int)
        Rows and columns of a tile or strip.
    group : (int, int)
        Rows and columns of a chunk: whole tiles.
    """

    directories: array[int]
    lead: tuple[int, ...]
    planes: int
    size: tuple[int, int]
    samples: int
    tile: tuple[int, int]
    group: tuple[int, int]

    @property
    def grid(self) -> ChunkGrid:
        """The chunks of the level."""
        before = (*self.lead, *((self.planes,) if self.planes else ()))
        after = (self.samples,) if self.samples else ()
        return ChunkGrid((*before, *self.size, *after), (*(1,) * len(before), *self.group, *after))


@dataclass(frozen=True, slots=True)
class TileChunk:
    """Some tiles or strips of one page.

    Parameters
    ----------
    path : str
        Absolute path.
    directory : int
        Where the page's directory is.
    page : int
        Its number, for messages.
    corner : (int, int, int)
        Plane, row and column of the first pixel.
    size : (int, int)
        Rows and columns.
    shape : tuple of int
        Of the chunk in the grid.
    dtype : numpy.dtype
        Of the image.
    opened : tuple of int
        The stamp of the file when it was opened.
    """

    path: str
    directory: int
    page: int
    corner: tuple[int, int, int]
    size: tuple[int, int]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    opened: FileStamp

    @property
    def key(self) -> ChunkKey:
        """Its file, and which pixels."""
        stamp = FileStamp.verify(self.path, self.opened)
        return ChunkKey(self.path, stamp, (self.directory, self.corner, self.shape))

    def load(self) -> Array:
        """Read and decode the tiles; see `napari_lazyload.core.source.Chunk`."""
        FileStamp.verify(self.path, self.opened)
        try:
            pixels = self._decode()
        except ChunkReadError:
            raise
        except Exception as err:
            found = (
                f"tiles of page {self.page} that cannot be decoded ({type(err).__name__}: {err})"
            )
            raise read_error(
                self.path, "an undamaged TIFF file", found, "copy or export the file again"
            ) from err
        return native(pixels).astype(self.dtype, copy=False).reshape(self.shape)

    def _decode(self) -> Array:
        page = _page(self.path, self.opened, self.directory)
        plane, top, left = self.corner
        _, _, height, width, samples = page.shaped
        tall, wide = _tile_of(page)
        across, down = -(-width // wide), -(-height // tall)
        pixels = np.full((*self.size, samples), page.nodata, page.dtype)
        with open(self.path, "rb", buffering=0) as file:
            for row in range(top // tall, -(-(top + self.size[0]) // tall)):
                for column in range(left // wide, -(-(left + self.size[1]) // wide)):
                    tile = _decoded(file, page, (plane * down + row) * across + column)
                    if tile is not None:
                        part = pixels[row * tall - top :, column * wide - left :][
                            : tile.shape[0], : tile.shape[1]
                        ]
                        part[...] = tile[: part.shape[0], : part.shape[1]]
        return pixels


def _decoded(file: IO[bytes], page: Any, number: int) -> Array | None:
    """Return one tile or strip as rows, columns, samples; None where the file leaves it out."""
    offset, count = page.dataoffsets[number], page.databytecounts[number]
    if not offset or not count:
        return None
    file.seek(offset)
    data = file.read(count)
    if len(data) < count:
        found = f"one that ends at byte {offset + len(data):,}"
        raise read_error(
            file.name, f"a file of at least {offset + count:,} bytes", found, "copy it again"
        )
    tables = (
        {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        if page.compression in _WITH_TABLES
        else {}
    )
    tile, _, _ = page.decode(data, number, **tables)
    found_tile: Array | None = None if tile is None else tile[0]
    return found_tile


def _tile_of(page: Any) -> tuple[int, int]:
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


@functools.lru_cache(maxsize=64)
def _page(path: str, stamp: FileStamp, directory: int) -> Any:
    """Return a page by its directory, with all that decoding needs; `stamp` is part of the key."""
    import tifffile

    with _parsing, quiet_tifffile(), tifffile.TiffFile(path) as tif:
        page = page_at(tif, directory, 0)
        # What tifffile reads when it is first asked for, and cannot once the file is closed.
        _ = (
            page.decode,
            page.dataoffsets,
            page.databytecounts,
            page.jpegtables,
            page.jpegheader,
            page.nodata,
        )
        if len(page.dataoffsets) < prod(page.chunked) or len(page.databytecounts) < len(
            page.dataoffsets
        ):
            found = f"a page with {len(page.dataoffsets)} of {prod(page.chunked)} tiles or strips"
            raise read_error(path, "all of them", found, "the file is damaged: export it again")
        return page


class TiledSource:
    """An image of a TIFF file, in chunks of tiles or strips.

    Parameters
    ----------
    file : (str, FileStamp)
        Absolute path, and its stamp when it was opened.
    plans : sequence of TileGrid
        The levels, finest first.
    meta : ImageMeta
        Of the image; its levels do not count.
    """

    def __init__(
        self, file: tuple[str, FileStamp], plans: Sequence[TileGrid], meta: ImageMeta
    ) -> None:
        self.file = file
        self.paths = (file[0],)
        self.row_map = ONE_ROW
        self.token = f"tiff-{uuid.uuid4().hex}"
        self._plans = tuple(plans)
        grids = [plan.grid for plan in plans]
        factors = [
            tuple(a / b for a, b in zip(grids[0].shape, grid.shape, strict=True)) for grid in grids
        ]
        self.meta = replace(meta, levels=tuple(map(LevelMeta, grids, factors)))

    def chunk(self, level: int, index: BlockIndex) -> TileChunk:
        """Return the reference to one chunk."""
        plan = self._plans[level]
        box = self.meta.levels[level].grid.bounds(index)
        number, count = 0, len(plan.lead)
        for (start, _), length in zip(box, plan.lead, strict=False):
            number = number * length + start
        plane = box[count][0] if plan.planes else 0
        (top, bottom), (left, right) = box[count + bool(plan.planes) :][:2]
        path, opened = self.file
        size = (bottom - top, right - left)
        corner = (plane, top, left)
        return TileChunk(
            path,
            plan.directories[number],
            number,
            corner,
            size,
            shape=box_shape(box),
            dtype=self.meta.dtype,
            opened=opened,
        )


def _tiled(
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    meta: ImageMeta,
    file: tuple[str, FileStamp],
) -> RowSource | None:
    """Return the source of an image in smaller pieces, or None where there are none."""
    if (
        in_other_files(tif, series)
        or getattr(series, "transform", None) is not None
        or series.dtype != meta.dtype
    ):
        return None
    start = contiguous_from(tif, series)
    if len(series.levels) == 1 and start is not None and tuple(series.shape) == meta.shape:
        return _in_place(*file, meta, (tif.byteorder, start))
    plans: list[TileGrid] = []
    for level in series.levels:
        plan = _plan(level)
        if plan is not None and len(plan.grid.shape) == len(meta.shape):
            plans.append(plan)
        elif not plans:
            return None
    if plans[0].grid.shape != meta.shape:
        return None
    lead = plans[0].lead
    return TiledSource(file, [plan for plan in plans if plan.lead == lead], meta)


def _in_place(
    path: str, stamp: FileStamp, meta: ImageMeta, where: tuple[str, int]
) -> StridedFileSource:
    """Return the source of pixels that lie together, without compression."""
    order: Any = where[0]
    layout = dense(meta.shape, meta.dtype.newbyteorder(order), where[1])
    kept = {
        name: getattr(meta, name)
        for name in type(meta).__slots__
        if name not in ("name", "axes", "dtype", "levels")
    }
    source = StridedFileSource(layout, [(path, stamp)], meta.name, meta.axes, **kept)
    return source.with_strided_levels()


def _plan(level: Any) -> TileGrid | None:
    """Return how a level is cut, or None where its pages are of a kind that is read whole."""
    page = level.keyframe
    planes, depth, height, width, samples = map(int, page.shaped)
    plain = tuple(int(size) for size in page.shape)
    kinds = {
        (height, width): (0, 0),
        (height, width, samples): (0, samples),
        (planes, height, width): (planes, 0),
    }
    if (
        page.compression == 1 and page.predictor != 1
    ):  # tifffile and libtiff disagree on what that is
        return None
    if depth != 1 or plain not in kinds or page.dtype != level.dtype or not page.chunked:
        return None
    shape = tuple(int(size) for size in level.shape)
    lead = shape[: len(shape) - len(plain)]
    directories = array("Q", (0 if one is None else max(0, one.offset) for one in level))
    if shape[len(lead) :] != plain or len(directories) != prod(lead) or 0 in directories:
        return None
    tile = _tile_of(page)
    before, after = kinds[plain]
    group = _grouped(tile, (height, width), max(1, after) * page.dtype.itemsize)
    return TileGrid(directories, lead, before, (height, width), after, tile, group)


def _grouped(tile: tuple[int, int], size: tuple[int, int], itemsize: int) -> tuple[int, int]:
    """Return rows and columns of a chunk: several tiles or strips where they are small."""
    room = max(1, _GROUPED // (prod(tile) * itemsize))
    across = -(-size[1] // tile[1])
    columns = min(across, isqrt(room)) if across > 1 else 1
    rows = max(1, room // columns)
    return min(size[0], tile[0] * rows), min(size[1], tile[1] * columns)
