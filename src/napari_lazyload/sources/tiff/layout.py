"""TIFF: where the pixels of one image are, in pages or in tiles of its levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.chunks import ChunkGrid

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from napari_lazyload.sources.image_header import PictureInfo
    from napari_lazyload.sources.tiff.ifd import ByteOrder


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

    def shown(self, order: Sequence[int]) -> ChunkGrid:
        """Return the chunks of the level, with the axes of a page in another order.

        Planes that are shown as colors are in one chunk, others apart.
        """
        planes, samples = (tuple(filter(None, (n,))) for n in (self.planes, self.samples))
        apart = not planes or order[0] == 0
        shape = (*planes, *self.size, *samples)
        chunks = (*((1,) if apart and planes else planes), *self.group, *samples)
        lead = self.lead
        return ChunkGrid(
            (*lead, *(shape[axis] for axis in order)),
            (*(1,) * len(lead), *(chunks[axis] for axis in order)),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the level, its axes as they are stored."""
        planes, samples = (filter(None, (n,)) for n in (self.planes, self.samples))
        return (*self.lead, *planes, *self.size, *samples)


@dataclass(frozen=True, slots=True)
class TiffLayout:
    """Where the pixels of one image of a file are.

    Parameters
    ----------
    info : PictureInfo
        The public part.
    order : {"<", ">"}
        Byte order of the file.
    data_offset : int, sequence of int or None
        Where the planes begin that are stored as they are: the first of them, the others follow; or
        each (0: the plane is missing), where their directories are not known. None where they are
        not stored like that.
    directories : sequence of int or None
        Where the directory of each page is (0: the page is missing), or None where the series
        cannot be decoded page by page.
    files : tuple of str
        The file that holds each page, for a set of files; empty where this one holds all.
    around : tuple
        Of a set of files, and where pages are missing that another file may hold: stamps of the
        folder and the files.
    number : int
        Of the series in the file.
    tiles : tuple of TileGrid
        How its levels are cut, finest first; empty where it is read page by page.
    in_place : int or None
        Where the pixels of a large image begin that lie together, without compression.
    axes_order : tuple of int
        Which axis of a stored page each shown axis is; empty where both are the same. Rows and
        columns are shown last, but for colors.
    """

    info: PictureInfo
    order: ByteOrder
    data_offset: int | Sequence[int] | None
    directories: Sequence[int] | None
    files: tuple[str, ...] = ()
    around: tuple[Any, ...] = ()
    number: int = 0
    tiles: tuple[TileGrid, ...] = ()
    in_place: int | None = None
    axes_order: tuple[int, ...] = ()

    @property
    def stored_page_shape(self) -> tuple[int, ...]:
        """Shape of a page in the order of axes in which it is stored."""
        shown = self.info.page_shape
        places = sorted(range(len(self.axes_order)), key=self.axes_order.__getitem__)
        return tuple(shown[place] for place in places) if places else shown
