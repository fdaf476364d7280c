"""Image files in a larger frame, and where the pixels in it are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.core.text import said
from napari_lazyload.sources.files import FileStamp
from napari_lazyload.sources.folder.file_set import read_info
from napari_lazyload.sources.folder.page_chunk import decode, ravel, stamped, unlike, within

if TYPE_CHECKING:
    from napari_lazyload.sources.image_files.decode import PictureInfo
    from napari_lazyload.sources.image_header import PageLocation

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class PaddedChunk:
    """One page of one image file, at the origin of a frame that may be larger.

    Parameters
    ----------
    path : str
        Absolute path.
    page : tuple of int
        Which page, along each axis that counts pages; blank where the file has no such page.
    shape : tuple of int
        Of the chunk in the grid.
    axes : tuple of str
        Of the image, without those that count files.
    dtype : numpy.dtype
        Of the image.
    place : PageLocation, optional
        Where the page is, if another file may hold it.
    """

    path: str
    page: tuple[int, ...]
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    place: PageLocation | None = None

    @property
    def key(self) -> ChunkKey:
        """Its file, where the page is, which it is, and the form of the result."""
        where = None if self.place is None else stamped(self.place, self.path)
        part = ("padded", where, self.page, self.shape, self.dtype.str)
        return ChunkKey(self.path, FileStamp.of(self.path), part)

    def load(self) -> Array:
        """Decode the page and fill it up."""
        frame = self.shape[len(self.shape) - len(self.axes) + len(self.page) :]
        info = read_info(self.path)
        if not fits_frame(info, frame, self.axes, self.dtype):
            raise unlike(
                self.path, f"at most {said(frame, self.dtype)}", said(info.page_shape, info.dtype)
            )
        pages = info.shape[: info.page_ndim]
        if not within(self.page, pages):
            return blank(self.shape, self.dtype)
        pixels = decode(self.path, ravel(self.page, pages), place=self.place)
        return fit_frame(pixels, frame, self.dtype, rgb=self.axes[-1] == RGB_AXIS).reshape(
            self.shape
        )


@dataclass(frozen=True, slots=True)
class CoverageChunk:
    """Where a padded frame has data: ones over the picture's own pixels, known from its header.

    Parameters
    ----------
    path : str
        Absolute path.
    page : tuple of int
        Which page, along each axis that counts pages.
    shape : tuple of int
        Of the chunk in the grid.
    frame_ndim : int
        How many of the last axes the frame has.
    """

    path: str
    page: tuple[int, ...]
    shape: tuple[int, ...]
    frame_ndim: int

    @property
    def key(self) -> ChunkKey:
        """Its file, and which page."""
        return ChunkKey(self.path, FileStamp.of(self.path), ("coverage", self.page, self.shape))

    def load(self) -> Array:
        """Read the header."""
        coverage = np.zeros(self.shape[len(self.shape) - self.frame_ndim :], np.uint8)
        info = read_info(self.path)
        if within(self.page, info.shape[: info.page_ndim]):
            coverage[tuple(slice(0, size) for size in info.page_shape[: self.frame_ndim])] = 1
        return coverage.reshape(self.shape)


def blank(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return pixels of an image that is not there."""
    return np.full(shape, np.nan if dtype.kind in "fc" else 0, dtype)


def fits_frame(
    info: PictureInfo, frame: tuple[int, ...], axes: tuple[str, ...], dtype: np.dtype[Any]
) -> bool:
    """Whether each page of an image file can be filled up to a frame without loss.

    Parameters
    ----------
    info : PictureInfo
        The picture.
    frame : tuple of int
        Shape of the frame.
    axes : tuple of str
        Of the image without those that count files: pages, then the frame.
    dtype : numpy.dtype
        Of the image.
    """
    rgb = axes[-1] == RGB_AXIS
    same_axes = info.axes == axes or (rgb and info.axes == axes[:-1])
    if not same_axes or info.page_ndim != len(axes) - len(frame):
        return False
    fits = all(size <= room for size, room in zip(info.page_shape, frame, strict=False))
    return fits and np.can_cast(info.dtype, dtype)


def fit_frame(pixels: Array, frame: tuple[int, ...], dtype: np.dtype[Any], *, rgb: bool) -> Array:
    """Return `pixels` at the origin of a `frame` of `dtype`, with NaN or zero around.

    In a frame of colors (`rgb`) a gray image is repeated in each of them; a missing alpha is
    opaque.
    """
    if len(frame) > pixels.ndim:
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=-1)
    fitted = blank(frame, dtype)
    place = [slice(0, size) for size in pixels.shape]
    fitted[tuple(place)] = pixels
    if rgb and frame[-1] > pixels.shape[-1]:
        place[-1] = slice(3, 4)
        fitted[tuple(place)] = np.iinfo(dtype).max if dtype.kind in "iu" else 1
    return fitted
