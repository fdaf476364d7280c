"""Image files as images: one file (of a multi-page TIFF: one page) is one chunk."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.core.row_map import RowMap
from napari_lazyload.sources.folder.padding import CoverageChunk, PaddedChunk, fits_frame
from napari_lazyload.sources.folder.page_chunk import PictureChunk, ravel, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.sources.folder.file_set import FileSet
    from napari_lazyload.sources.image_files.decode import PictureInfo
    from napari_lazyload.sources.image_header import PageLocation

    Array = np.ndarray[Any, Any]

# Other types hold values of unknown range: their contrast is found once a frame is shown.
_FULL_RANGE = {"b1": (0.0, 1.0), "u1": (0.0, 255.0)}


class PictureSource:
    """Some pictures of one `FileSet`, all of one shape and dtype, as an image.

    Parameters
    ----------
    files : FileSet
        The pictures and what is known of their headers.
    rows : numpy.ndarray of int
        Which of them, in slider order; as many as the product of `row_axes`.
    row_axes : dict of str to int
        Name and length of each axis that counts files, slowest first; empty for one file.
    info : PictureInfo
        What each file is expected to be, or the frame that each is fitted into.
    name : str
        Of the image.
    padded : bool
        Whether frames of other shapes are filled up.
    series : int
        Of one file: which of its images.
    """

    def __init__(
        self,
        files: FileSet,
        rows: Array,
        row_axes: dict[str, int],
        info: PictureInfo,
        name: str,
        *,
        padded: bool = False,
        series: int = 0,
    ) -> None:
        self.files = files
        self.rows = rows
        self.padded = padded
        self.series = series
        self.row_map = RowMap(row_axes)
        self.info = info
        digest = hashlib.blake2b(np.ascontiguousarray(rows).data, digest_size=8).hexdigest()
        self.token = (
            f"{files.token}-{digest}-{'x'.join(map(str, row_axes.values()))}-{int(padded)}-{series}"
        )
        self.meta = _image_meta(info, row_axes, name)

    def chunk(self, level: int, index: BlockIndex) -> PictureChunk | PaddedChunk:
        """Return the reference to one page of one file."""
        shape = box_shape(self.meta.levels[level].grid.bounds(index))
        row = self.row(index)
        path, dtype, at = self.files.path(row), self.meta.dtype, self.page(index)
        if self.padded:
            return PaddedChunk(path, at, shape, self.info.axes, dtype, self._padded_place(row, at))
        page = ravel(at, self.info.shape[: self.info.page_ndim])
        ndim = len(self.info.page_shape)
        if self.series:
            place = None if self.info.places is None else self.info.places.of(page)
        else:
            place = self.files.place(row, page)
        probed = self.files.probed(row)
        return PictureChunk(
            path, page, shape, ndim, dtype, self.info.pages, probed, self.series, place
        )

    def _padded_place(self, row: int, at: tuple[int, ...]) -> PageLocation | None:
        """Return where a page is, by its position on its axes; None for one that no file has."""
        if row not in self.files.places or self.files.kind[row] < 0:
            return None
        info = self.files.header_classes[self.files.kind[row]]
        pages = info.shape[: info.page_ndim]
        inside = len(at) == len(pages) and within(at, pages)
        return self.files.place(row, ravel(at, pages)) if inside else None

    def row(self, index: BlockIndex) -> int:
        """Return the file's number in its `FileSet`."""
        return int(self.rows[self.row_map.row_of(index)])

    def page(self, index: BlockIndex) -> tuple[int, ...]:
        """Return where a chunk is on the axes that count pages."""
        lead = len(self.row_map.axes)
        return index[lead : lead + self.info.page_ndim]

    def takes(self, kind: int) -> bool:
        """Return whether files of a kind (see `FileSet`) are shown as they are, or fitted in."""
        found, wanted = self.files.header_classes[kind], self.info
        if self.padded:
            return fits_frame(found, wanted.page_shape, wanted.axes, wanted.dtype)
        return found == replace(wanted, format=found.format)


class CoverageSource:
    """Where the frames of a padded image have data, as labels: 1 over a picture, 0 around it."""

    def __init__(self, padded: PictureSource) -> None:
        self._padded = padded
        self.row_map = padded.row_map
        self.token = f"{padded.token}-coverage"
        meta = padded.meta
        kept = len(meta.axes) - meta.rgb
        self._frame_ndim = len(padded.info.page_shape) - meta.rgb
        grid = meta.levels[0].grid
        level = LevelMeta(ChunkGrid(grid.shape[:kept], grid.chunks[:kept]), (1.0,) * kept)
        self.meta = ImageMeta(
            f"{meta.name} coverage",
            meta.axes[:kept],
            np.dtype(np.uint8),
            (level,),
            kind="labels",
            scale=meta.scale,
            units=meta.units,
            metadata={"coverage_of": meta.name},
        )

    def chunk(self, level: int, index: BlockIndex) -> CoverageChunk:
        """Return the reference to one file's coverage."""
        shape = box_shape(self.meta.levels[level].grid.bounds(index))
        path = self._padded.files.path(self._padded.row(index))
        return CoverageChunk(path, self._padded.page(index), shape, self._frame_ndim)


def _image_meta(info: PictureInfo, row_axes: dict[str, int], name: str) -> ImageMeta:
    axes = (*row_axes, *info.axes)
    grid_shape = (*row_axes.values(), *info.shape)
    counted = len(row_axes) + info.page_ndim
    grid = ChunkGrid(grid_shape, (*(1,) * counted, *grid_shape[counted:]))
    extras = dict(info.metadata)
    spatial = axes[: len(axes) - info.rgb]
    sizes = _pixel_sizes(extras)
    palette = _palette(extras.pop("colormap", None))
    limits = extras.pop("contrast_limits", None)
    if row_axes or limits is None:  # those of one file are not those of its neighbours
        limits = _FULL_RANGE.get(info.dtype.str[1:])
    channels = extras.pop("channels", ())
    if "c" not in spatial or len(channels) != grid_shape[axes.index("c")]:
        channels = ()
    # The values stay as they are stored.
    plain = "gray_r" if extras.pop("white_is_zero", False) else None
    return ImageMeta(
        name=name,
        axes=axes,
        dtype=info.dtype,
        levels=(LevelMeta(grid, (1.0,) * len(axes)),),
        scale=tuple(sizes.get(axis, 1.0) for axis in spatial) if sizes else None,
        units=_units(extras, sizes, spatial),
        contrast_limits=limits if palette is None else (0.0, len(palette) - 1.0),
        colormap=plain if palette is None else palette,
        channels=channels,
        metadata=extras,
    )


def _pixel_sizes(extras: dict[str, Any]) -> dict[str, float]:
    """Return the size of a pixel along the axes that a header gives one for."""
    scale = extras.get("scale") or ()
    return {**extras.get("axis_scale", {}), **dict(zip("yx", scale, strict=False))}


def _units(
    extras: dict[str, Any], sizes: dict[str, float], axes: Sequence[str]
) -> tuple[str | None, ...] | None:
    """Return the unit of each axis that has a size: its own, else that of lengths."""
    own = extras.get("axis_units", {})
    units = tuple(own.get(axis, extras.get("unit")) if axis in sizes else None for axis in axes)
    return units if any(units) else None


def _palette(colors: Array | None) -> Array | None:
    """Return a TIFF palette in 0 to 1.

    One that ends below 256 was written with 8 bits: libtiff takes it so too.
    """
    if colors is None:
        return None
    colors = np.asarray(colors, np.float64)
    return colors / (255 if colors.max(initial=0) < 256 else 65535)


def file_name(path: str) -> str:
    """Return what an image of `path` is called."""
    return os.path.basename(os.path.normpath(path)) or path
