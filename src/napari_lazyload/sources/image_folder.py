"""Pictures as images: a folder, a glob, a list or one file; one file (of a multi-page TIFF: one page) is one chunk."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.sources.file_set import FileSet, file_stamp
from napari_lazyload.sources.pictures import PictureInfo, decode, read_info

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from napari_lazyload.core.chunks import BlockIndex

    Array = np.ndarray[Any, Any]

# Other types hold values of unknown range: their contrast is found once a frame is shown.
_FULL_RANGE = {"b1": (0.0, 1.0), "u1": (0.0, 255.0)}


@dataclass(frozen=True, slots=True)
class PictureChunk:
    """One page of one picture file.

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
    padded : bool
        Whether a smaller frame is filled up to the shape, and another dtype cast.
    """

    path: str
    page: int
    shape: tuple[int, ...]
    frame_ndim: int
    dtype: np.dtype[Any]
    padded: bool = False

    @property
    def key(self) -> Hashable:
        """Path, time of change, size, page, and the form of the result."""
        return ("picture", self.path, *file_stamp(self.path), self.page, self.shape, self.dtype.str)

    def load(self) -> Array:
        """Decode the page; see `napari_lazyload.core.source.Chunk`."""
        pixels = decode(self.path, self.page)
        frame = self.shape[len(self.shape) - self.frame_ndim :]
        if self.padded:
            pixels = fit_frame(pixels, frame, self.dtype)
        elif pixels.shape != frame or pixels.dtype != self.dtype:
            msg = (
                f"{self.path}: expected a frame of {_said(frame, self.dtype)} like its neighbours, found "
                f"{_said(pixels.shape, pixels.dtype)}. Reopen the folder in groups (headers='all')"
            )
            raise ChunkReadError(msg, self.path)
        return pixels.reshape(self.shape)


@dataclass(frozen=True, slots=True)
class CoverageChunk:
    """Where a padded frame has data: ones over the picture's own pixels, known from its header."""

    path: str
    shape: tuple[int, ...]
    frame: tuple[int, int]

    @property
    def key(self) -> Hashable:
        """Path, time of change and size."""
        return ("picture-coverage", self.path, *file_stamp(self.path), self.shape)

    def load(self) -> Array:
        """Read the header."""
        info = read_info(self.path)
        at = info.axes.index("y")
        coverage = np.zeros(self.frame, np.uint8)
        coverage[: info.shape[at], : info.shape[at + 1]] = 1
        return coverage.reshape(self.shape)


def _said(shape: Sequence[int], dtype: np.dtype[Any]) -> str:
    return f"{' x '.join(map(str, shape))} {dtype}"


def fit_frame(pixels: Array, frame: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return `pixels` at the origin of a `frame` of `dtype`, with NaN (or zero for whole numbers) around.

    A grey picture in an RGB(A) frame is repeated in each colour; a missing alpha is opaque.
    """
    if len(frame) > pixels.ndim:
        pixels = np.repeat(pixels[..., np.newaxis], min(3, frame[-1]), axis=-1)
    fitted = np.full(frame, np.nan if dtype.kind in "fc" else 0, dtype)
    region = tuple(slice(0, size) for size in pixels.shape)
    fitted[region] = pixels
    if len(frame) == 3 and frame[-1] == 4 and pixels.shape[-1] == 3:
        fitted[(*region[:2], 3)] = 1 if dtype.kind == "f" else np.iinfo(dtype).max
    return fitted


class PictureSource:
    """Some pictures of one `FileSet`, all of one shape and dtype, as an image.

    Parameters
    ----------
    files : FileSet
        The pictures and what is known of their headers.
    rows : numpy.ndarray of int
        Which of them, in slider order; as many as the product of `lead_axes`.
    lead_axes : dict of str to int
        Name and length of each axis that counts files, slowest first; empty for one file.
    info : PictureInfo
        What each file is expected to be.
    name : str
        Of the image.
    padded : bool
        Whether frames of other shapes are filled up.
    """

    def __init__(
        self,
        files: FileSet,
        rows: Array,
        lead_axes: dict[str, int],
        info: PictureInfo,
        name: str,
        *,
        padded: bool = False,
    ) -> None:
        self.files = files
        self.rows = rows
        self.padded = padded
        self.lead_axes = lead_axes
        self._pages = info.shape[: info.page_ndim]
        self._frame = info.shape[info.page_ndim :]
        self._info = info
        digest = hashlib.blake2b(np.ascontiguousarray(rows), digest_size=8).hexdigest()
        self.token = f"{files.token}-{digest}-{'x'.join(map(str, lead_axes.values()))}-{int(padded)}"
        self.meta = _image_meta(info, lead_axes, name)

    def chunk(self, level: int, index: BlockIndex) -> PictureChunk:
        """Return the reference to one page of one file."""
        grid = self.meta.levels[level].grid
        shape = tuple(stop - start for start, stop in grid.bounds(index))
        lead = len(self.lead_axes)
        page = _ravel(index[lead : lead + len(self._pages)], self._pages)
        path = self.files.path(self.row(index))
        return PictureChunk(path, page, shape, len(self._frame), self.meta.dtype, self.padded)

    def row(self, index: BlockIndex) -> int:
        """Return the file's number in its `FileSet`."""
        return int(self.rows[self.position(index)])

    def position(self, index: BlockIndex) -> int:
        """Return the file's place among those of this image."""
        return _ravel(index[: len(self.lead_axes)], tuple(self.lead_axes.values()))

    def frame_index(self, position: int) -> BlockIndex:
        """Return the index along the axes that count files of the file at `position`."""
        lead = tuple(self.lead_axes.values())
        return tuple(int(place) for place in np.unravel_index(position, lead)) if lead else ()

    def select(self, positions: Array, name: str | None = None) -> PictureSource:
        """Return the source of some of these files, in the order given, along one axis."""
        lead = {"frame": len(positions)}
        return PictureSource(
            self.files, self.rows[positions], lead, self._info, name or self.meta.name, padded=self.padded
        )


class CoverageSource:
    """Where the frames of a padded image have data, as labels: 1 over a picture, 0 around it."""

    def __init__(self, padded: PictureSource) -> None:
        self._padded = padded
        self.lead_axes = padded.lead_axes
        self.position = padded.position
        self.frame_index = padded.frame_index
        self.token = f"{padded.token}-coverage"
        meta = padded.meta
        kept = len(meta.axes) - meta.rgb
        grid = meta.levels[0].grid
        level = LevelMeta(ChunkGrid(grid.shape[:kept], grid.chunks[:kept]), (1.0,) * kept)
        self.meta = ImageMeta(f"{meta.name} coverage", meta.axes[:kept], np.dtype(np.uint8), (level,), kind="labels")

    def chunk(self, level: int, index: BlockIndex) -> CoverageChunk:
        """Return the reference to one file's coverage."""
        shape = tuple(stop - start for start, stop in self.meta.levels[level].grid.bounds(index))
        path = self._padded.files.path(self._padded.row(index))
        return CoverageChunk(path, shape, (shape[-2], shape[-1]))


def _ravel(index: Sequence[int], shape: Sequence[int]) -> int:
    flat = 0
    for place, size in zip(index, shape, strict=True):
        flat = flat * size + place
    return flat


def _image_meta(info: PictureInfo, lead_axes: dict[str, int], name: str) -> ImageMeta:
    axes = (*lead_axes, *info.axes)
    grid_shape = (*lead_axes.values(), *info.shape)
    counted = len(lead_axes) + info.page_ndim
    grid = ChunkGrid(grid_shape, (*(1,) * counted, *grid_shape[counted:]))
    before = len(axes) - (axes[-1] == RGB_AXIS) - 2
    scale, unit = info.metadata.get("scale"), info.metadata.get("unit")
    return ImageMeta(
        name=name,
        axes=axes,
        dtype=info.dtype,
        levels=(LevelMeta(grid, (1.0,) * len(axes)),),
        scale=None if scale is None else (*(1.0,) * before, *scale),
        units=None if unit is None else (*(None,) * before, unit, unit),
        contrast_limits=_FULL_RANGE.get(info.dtype.str[1:]),
        colormap=info.metadata.get("colormap"),
        metadata=dict(info.metadata),
    )


def file_name(path: str) -> str:
    """Return what an image of `path` is called."""
    return os.path.basename(os.path.normpath(path)) or path  # noqa: PTH119
