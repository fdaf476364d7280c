"""Large TIFF images, and such with a pyramid: chunks are tiles or strips, or some of them.

Name, axes and scale of an image come from its description. Here it is read in smaller pieces than
whole pages, with its levels. Pixels without compression that lie together are read in place.
"""

from __future__ import annotations

import functools
import itertools
import threading
import uuid
from array import array
from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.metadata import LevelMeta
from napari_lazyload.core.row_map import ONE_ROW
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.sources.binary.read_strided import Array, native
from napari_lazyload.sources.binary.strided import StridedFileSource, dense, transposed
from napari_lazyload.sources.files import FileStamp, read_error
from napari_lazyload.sources.image_header import PictureError
from napari_lazyload.sources.tiff.ifd import plain_tile
from napari_lazyload.sources.tiff.layout import TileGrid
from napari_lazyload.sources.tiff.pages import check_count, check_extent, open_tifffile, page_at

if TYPE_CHECKING:
    import tifffile

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.metadata import ImageMeta
    from napari_lazyload.sources.image_header import FileHead, PictureInfo
    from napari_lazyload.sources.opened import RowSource
    from napari_lazyload.sources.tiff.ifd import Plain
    from napari_lazyload.sources.tiff.layout import TiffLayout


LARGE = 16 << 20
"""Pages of fewer bytes are chunks of their own, as in a folder of images."""

_GROUPED = 1 << 20
_OWN = ("name", "axes", "dtype", "levels")
_WITH_TABLES = frozenset((6, 7, 34892, 33007))
_parsing = threading.Lock()


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
    size : (int, int, int)
        Planes, rows and columns.
    stored : tuple of int
        Shape of the chunk in the order of axes in which it is stored.
    order : tuple of int
        Which stored axis each shown one is.
    dtype : numpy.dtype
        Of the image.
    opened : tuple of int
        The stamp of the file when it was opened.
    """

    path: str
    directory: int
    page: int
    corner: tuple[int, int, int]
    size: tuple[int, int, int]
    stored: tuple[int, ...]
    order: tuple[int, ...]
    dtype: np.dtype[Any]
    opened: FileStamp

    @property
    def key(self) -> ChunkKey:
        """Its file, and which pixels."""
        stamp = FileStamp.verify(self.path, self.opened)
        return ChunkKey(self.path, stamp, (self.directory, self.corner, self.stored))

    def load(self) -> Array:
        """Read and decode the tiles; see `napari_lazyload.core.source.Chunk`."""
        FileStamp.verify(self.path, self.opened)
        try:
            pixels = self._decode()
        except PictureError as err:
            raise read_error(self.path, err.expected, err.found, err.hint) from err
        except Exception as err:
            reason = f"{type(err).__name__}: {err}"
            found = f"tiles of page {self.page} that cannot be decoded ({reason})"
            hint = "copy or export the file again"
            raise read_error(self.path, "an undamaged TIFF file", found, hint) from err
        pixels = native(pixels).astype(self.dtype, copy=False).reshape(self.stored)
        return np.ascontiguousarray(pixels.transpose(self.order))

    def _decode(self) -> Array:
        page = _page(self.path, self.opened, self.directory)
        first, top, left = self.corner
        planes, rows, columns = self.size
        _, _, height, width, samples = page.shaped
        tall, wide = _tile_of(page)
        across, down = -(-width // wide), -(-height // tall)
        pixels = np.full((*self.size, samples), page.nodata, page.dtype)
        wanted = itertools.product(
            range(planes),
            range(top // tall, -(-(top + rows) // tall)),
            range(left // wide, -(-(left + columns) // wide)),
        )
        with open(self.path, "rb", buffering=0) as file:
            for plane, row, column in wanted:
                tile = _decoded(file, page, ((first + plane) * down + row) * across + column)
                if tile is not None:
                    rest = pixels[plane, row * tall - top :, column * wide - left :]
                    part = rest[: tile.shape[0], : tile.shape[1]]
                    part[...] = tile[: part.shape[0], : part.shape[1]]
        return pixels


def _decoded(file: IO[bytes], page: Any, number: int) -> Array | None:
    """Return one tile or strip as rows, columns, samples; None where the file leaves it out."""
    offset, count = page.dataoffsets[number], page.databytecounts[number]
    if not offset or not count:
        return None
    file.seek(offset)
    data = file.read(count)
    check_extent(offset + len(data), offset, count)
    tables = {}
    if page.compression in _WITH_TABLES:
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    tile, _, _ = page.decode(data, number, **tables)
    return tile if tile is None else tile[0]


def _tile_of(page: Any) -> tuple[int, int]:
    """Return rows and columns of a tile or strip."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


@functools.lru_cache(maxsize=64)
def _page(path: str, _stamp: FileStamp, directory: int) -> Any:
    """Return a page by its directory, with all that decoding needs; kept by the file's stamp."""
    with _parsing, open_tifffile(path) as tif:
        page = page_at(tif, directory, 0)
        check_count(page, page)
        # What tifffile reads when it is first asked for, and cannot once the file is closed.
        _ = page.decode, page.jpegtables, page.jpegheader, page.nodata
        return page


class TiledSource:
    """An image of a TIFF file, in chunks of tiles or strips.

    Parameters
    ----------
    file : (str, FileStamp)
        Absolute path, and its stamp when it was opened.
    layout : TiffLayout
        How its levels are cut, and how its axes are shown.
    meta : ImageMeta
        Of the image; its levels do not count.
    """

    def __init__(self, file: tuple[str, FileStamp], layout: TiffLayout, meta: ImageMeta) -> None:
        self.file = file
        self.paths = (file[0],)
        self.row_map = ONE_ROW
        self.token = f"tiff-{uuid.uuid4().hex}"
        self._plans = layout.tiles
        self._order = layout.axes_order or tuple(range(len(layout.info.page_shape)))
        grids = [plan.shown(self._order) for plan in layout.tiles]
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
        stored = sorted(zip(self._order, box[count:], strict=True))
        inside = tuple(bounds for _, bounds in stored)
        planes = inside[0] if plan.planes else (0, 1)
        (top, bottom), (left, right) = inside[bool(plan.planes) :][:2]
        path, opened = self.file
        size = (planes[1] - planes[0], bottom - top, right - left)
        corner = (planes[0], top, left)
        return TileChunk(
            path,
            plan.directories[number],
            number,
            corner,
            size,
            stored=(*(1,) * count, *box_shape(inside)),
            order=(*range(count), *(count + axis for axis in self._order)),
            dtype=self.meta.dtype,
            opened=opened,
        )


def tiled_source(
    file: tuple[str, FileStamp], layout: TiffLayout, meta: ImageMeta
) -> RowSource | None:
    """Return the source of a large image in place or in tiles; None where it is read by pages.

    Parameters
    ----------
    file : (str, FileStamp)
        Absolute path, and its stamp when it was opened.
    layout : TiffLayout
        Where its pixels are.
    meta : ImageMeta
        Of the image; its levels do not count.
    """
    if layout.in_place is not None:
        lead = meta.shape[: layout.info.page_ndim]
        stored = (*lead, *layout.stored_page_shape)
        strides = dense(stored, meta.dtype.newbyteorder(layout.order), layout.in_place)
        if layout.axes_order:
            inner = (len(lead) + axis for axis in layout.axes_order)
            strides = transposed(strides, (*range(len(lead)), *inner))
        kept = {name: getattr(meta, name) for name in type(meta).__slots__ if name not in _OWN}
        source = StridedFileSource(strides, [file], meta.name, meta.axes, **kept)
        return source.with_strided_levels()
    return TiledSource(file, layout, meta) if layout.tiles else None


def is_large(info: PictureInfo) -> bool:
    """Whether an image is cut into smaller pieces than pages: it has large ones, or levels."""
    return info.page_nbytes > LARGE or info.levels > 1


def plain_grid(head: FileHead, plain: Plain) -> tuple[TileGrid, ...]:
    """Return how the page of a plain file is cut; nothing where it is read whole."""
    tile = plain_tile(head, plain)
    if tile is None:
        return ()
    size, samples = (plain.height, plain.width), plain.samples
    group = _grouped(tile, size, samples * plain.dtype.itemsize)
    directories = array("Q", (plain.directory,))
    after = 0 if samples == 1 else samples
    return (TileGrid(directories, (), 0, size, after, tile, group),)


def series_grids(series: tifffile.TiffPageSeries) -> tuple[TileGrid, ...]:
    """Return how the levels of a series are cut, finest first; nothing where pages are read."""
    shape = tuple(map(int, series.shape))
    grids: list[TileGrid] = []
    for level in series.levels:
        grid = _level_grid(level)
        if grid is not None and len(grid.shape) == len(shape):
            grids.append(grid)
        elif not grids:
            return ()
    if grids[0].shape != shape:
        return ()
    return tuple(grid for grid in grids if grid.lead == grids[0].lead)


def _level_grid(level: Any) -> TileGrid | None:
    """Return how a level is cut, or None where its pages are of a kind that is read whole."""
    page = level.keyframe
    planes, depth, height, width, samples = map(int, page.shaped)
    plain = tuple(map(int, page.shape))
    kinds = {
        (height, width): (0, 0),
        (height, width, samples): (0, samples),
        (planes, height, width): (planes, 0),
    }
    # tifffile and libtiff disagree on what a predictor is without compression.
    if page.compression == 1 and page.predictor != 1:
        return None
    if depth != 1 or plain not in kinds or page.dtype != level.dtype or not page.chunked:
        return None
    shape = tuple(map(int, level.shape))
    lead = shape[: len(shape) - len(plain)]
    offsets = [page.offset if page is not None else 0 for page in level]
    if shape[len(lead) :] != plain or len(offsets) != prod(lead) or min(offsets) <= 0:
        return None
    tile = _tile_of(page)
    before, after = kinds[plain]
    group = _grouped(tile, (height, width), max(1, after) * page.dtype.itemsize)
    return TileGrid(array("Q", offsets), lead, before, (height, width), after, tile, group)


def _grouped(tile: tuple[int, int], size: tuple[int, int], itemsize: int) -> tuple[int, int]:
    """Return rows and columns of a chunk: several tiles or strips where they are small."""
    room = max(1, _GROUPED // (prod(tile) * itemsize))
    across = -(-size[1] // tile[1])
    columns = min(across, isqrt(room))
    rows = max(1, room // columns)
    return min(size[0], tile[0] * rows), min(size[1], tile[1] * columns)
