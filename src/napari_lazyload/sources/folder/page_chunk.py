"""One page of an image file as a chunk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import ChunkReadError, MissingDependencyError
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.core.text import describe_pixels, different_text
from napari_lazyload.sources.files import FileStamp
from napari_lazyload.sources.folder.file_set import read_info
from napari_lazyload.sources.image_files import decode as image_file

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy as np

    from napari_lazyload.sources.image_header import PageLocation

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class PictureChunk:
    """One page of one image file.

    Parameters
    ----------
    path : str
        Absolute path.
    page : int
        Which page; 0 for a plain picture.
    shape : tuple of int
        Of the chunk in the grid: a 1 for each axis that counts files and pages, then the frame.
    frame_ndim : int
        How many of the last axes the frame has.
    dtype : numpy.dtype
        Of the image.
    pages : int, optional
        How many pages the file is expected to have; None leaves it open.
    probed : tuple of int, optional
        The stamp of the file when its header was read and found to be as expected.
    series : int, optional
        Of which image of the file.
    place : PageLocation, optional
        Where the page is, if another file may hold it.
    """

    path: str
    page: int
    shape: tuple[int, ...]
    frame_ndim: int
    dtype: np.dtype[Any]
    pages: int | None = None
    probed: FileStamp | None = None
    series: int = 0
    place: PageLocation | None = None

    @property
    def key(self) -> ChunkKey:
        """Its file, which image or where it is, page, and the form of the result."""
        image = self.series if self.place is None else stamped(self.place, self.path)
        part = (image, self.page, self.shape, self.dtype.str)
        return ChunkKey(self.path, FileStamp.of(self.path), part)

    def load(self) -> Array:
        """Decode the page; see `napari_lazyload.core.source.Chunk`."""
        probed = self.probed
        if self.pages is not None and (
            probed is None or not FileStamp.of(self.path).same_content(probed)
        ):
            self._check_pages()
        pixels = decode(self.path, self.page, self.series, self.place)
        frame = self.shape[len(self.shape) - self.frame_ndim :]
        if pixels.shape != frame or pixels.dtype != self.dtype:
            raise unlike(
                self.path,
                describe_pixels(frame, self.dtype),
                describe_pixels(pixels.shape, pixels.dtype),
            )
        return pixels.reshape(self.shape)

    def _check_pages(self) -> None:
        """Raise where a file has other pages than expected: not all of them would be shown."""
        pages = read_info(self.path, self.series).pages
        if pages != self.pages:
            raise unlike(self.path, f"{self.pages} page{'s'[: self.pages != 1]}", str(pages))


def stamped(place: PageLocation, opened: str) -> tuple[Hashable, ...]:
    """Return a place with the stamp of the file that holds it, if not the one that was opened.

    One that is missing may come with another file: that changes the folder.
    """
    holder = place.path if place.offset else os.path.dirname(opened)
    return (*place, *FileStamp.of(holder)) if holder else (*place,)


def decode(path: str, page: int, series: int = 0, place: PageLocation | None = None) -> Array:
    """Decode one page; a decoder that is missing is an error of the chunk too."""
    try:
        if not series and place is None:
            return image_file.decode(path, page)
        return image_file.decode(path, page, series=series, place=place)
    except MissingDependencyError as err:
        raise ChunkReadError(str(err), path) from err


def unlike(path: str, expected: str, found: str) -> ChunkReadError:
    """Return the error for a page that is not like the others of its image."""
    return ChunkReadError(f"{path}: {different_text(expected, found)}", path)


def ravel(index: Sequence[int], shape: Sequence[int]) -> int:
    """Return the position of an index, counted in C order."""
    flat = 0
    for place, size in zip(index, shape, strict=True):
        flat = flat * size + place
    return flat


def within(index: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an index lies within a shape."""
    return all(place < size for place, size in zip(index, shape, strict=False))
