"""Strided pixels in one or several files, read in place: what every uncompressed binary comes down to.

A format's module reads a header and says where the pixels lie (`Layout`, `Place`); this module makes chunks of that.
A chunk is complete in itself: path, position, form, and the stamp of the file when its header was read.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.sources.raw_coarse import coarse_chunks, coarse_shape, coarse_spans
from napari_lazyload.sources.raw_grid import chunk_sizes
from napari_lazyload.sources.raw_read import Array, Stamp, dense_strides, read_strided, span_nbytes, stamp_now

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from napari_lazyload.core.chunks import BlockIndex, Box


class Convert(Protocol):
    """What is done to stored values; hashable and picklable, for it is part of a chunk's key."""

    def __call__(self, stored: Array) -> Array:
        """Return the values, in the same shape."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Linear:
    """Stored values times a slope, plus an intercept; one stored value may stand for "no value".

    Parameters
    ----------
    slope, intercept : float
        The line; a slope of 1 and an intercept of 0 are left out, so that no rounding comes from them.
    dtype : str
        Of the result, a float.
    blank : int, optional
        The stored value that becomes NaN.
    """

    slope: float
    intercept: float
    dtype: str
    blank: int | None = None

    def __call__(self, stored: Array) -> Array:
        """Return the values."""
        values = stored.astype(self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.slope != 1:
                values *= values.dtype.type(self.slope)
            if self.intercept != 0:
                values += values.dtype.type(self.intercept)
        if self.blank is not None:
            values[stored == self.blank] = np.nan
        return values


@dataclass(frozen=True, slots=True)
class Shifted:
    """Integers stored with the other sign: the highest bit is turned over, as if half the range were added."""

    def __call__(self, stored: Array) -> Array:
        """Return the values: signed as unsigned, and the other way round."""
        unsigned = np.dtype(f"u{stored.dtype.itemsize}")
        turned = stored.view(unsigned) ^ unsigned.type(1 << (8 * unsigned.itemsize - 1))
        shifted: Array = turned if stored.dtype.kind == "i" else turned.view(f"i{unsigned.itemsize}")
        return shifted


@dataclass(frozen=True, slots=True)
class RawChunk:
    """A strided block of one file.

    Parameters
    ----------
    path : str
        Absolute path.
    offset : int
        Where its first pixel is, in bytes.
    shape : tuple of int
        Of the chunk in the grid.
    strides : tuple of int
        Bytes between neighbours along each axis.
    dtype : numpy.dtype
        As stored, byte order included.
    convert : callable, optional
        What is done to the values.
    opened : tuple of int, optional
        The stamp of the file when its header was read; None where no header was: any file that is long enough will do.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    convert: Convert | None = None
    opened: Stamp | None = None

    @property
    def key(self) -> Hashable:
        """Path, time of change, size, and which bytes are read as what."""
        stamp = stamp_now(self.path, self.opened)
        return ("raw", self.path, *stamp, self.offset, self.shape, self.strides, self.dtype.str, self.convert)

    def cut(self, box: Box) -> RawChunk:
        """Return a part of the block, which reads its own bytes alone; `box` is in pixels of the chunk."""
        offset = self.offset + sum(start * step for (start, _), step in zip(box, self.strides, strict=True))
        return replace(self, offset=offset, shape=box_shape(box))

    def load(self) -> Array:
        """Read the block; see `napari_lazyload.core.source.Chunk`."""
        stamp_now(self.path, self.opened)
        stored = read_strided(self.path, self.offset, self.shape, self.strides, self.dtype)
        return stored if self.convert is None else np.ascontiguousarray(self.convert(stored))


@dataclass(frozen=True, slots=True)
class BlankChunk:
    """A block that no file holds: zeros."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def key(self) -> Hashable:
        """Its form; all blanks of one form are the same."""
        return ("raw-blank", self.shape, self.dtype.str)

    def load(self) -> Array:
        """Return zeros."""
        return np.zeros(self.shape, self.dtype)


@dataclass(frozen=True, slots=True)
class GroupChunk:
    """Frames that lie apart, read as one block.

    Parameters
    ----------
    parts : tuple of RawChunk or BlankChunk
        One frame each, in C order of the axes that count frames.
    shape : tuple of int
        Of the whole.
    dtype : numpy.dtype
        Of the result.
    """

    parts: tuple[RawChunk | BlankChunk, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def key(self) -> Hashable:
        """The keys of all frames."""
        return ("raw-group", self.shape, *(part.key for part in self.parts))

    @property
    def path(self) -> str:
        """The file of the first frame that has one."""
        return next((part.path for part in self.parts if isinstance(part, RawChunk)), "")

    def load(self) -> Array:
        """Read the frames one after the other."""
        pixels = np.empty((len(self.parts), prod(self.shape) // len(self.parts)), self.dtype)
        for row, part in zip(pixels, self.parts, strict=True):
            row[...] = part.load().reshape(-1)
        return pixels.reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the pixels of an image lie.

    Parameters
    ----------
    shape : tuple of int
        Pixels along each axis, in the order in which they are shown.
    dtype : numpy.dtype
        As stored, byte order included.
    offset : int
        Where the first pixel is, in bytes.
    strides : tuple of int
        Bytes between neighbours along each axis; positive.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    strides: tuple[int, ...]

    @property
    def end(self) -> int:
        """Where the last pixel ends, in bytes."""
        return self.offset + span_nbytes(self.shape, self.strides, self.dtype.itemsize)


def dense(shape: Sequence[int], dtype: Any, offset: int = 0, order: str = "C") -> Layout:
    """Return the layout of pixels without gaps, in C or Fortran order."""
    sizes, stored = tuple(int(size) for size in shape), np.dtype(dtype)
    return Layout(sizes, stored, offset, dense_strides(sizes, stored.itemsize, order))


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames that are not one block: spread over files, or scattered over a grid.

    Parameters
    ----------
    axes : int
        How many leading axes of the layout count frames.
    stride : int
        Bytes between two frames of a file.
    per_file : int
        Frames in each file; the last file may hold fewer.
    numbers : numpy.ndarray of int64, optional
        For each place on the leading axes, in C order, the number of its frame, -1 where there is none. In order by
        default.
    """

    axes: int
    stride: int
    per_file: int
    numbers: Array | None = None


class RawSource:
    """An image whose pixels are read in place.

    Parameters
    ----------
    layout : Layout
        Where the pixels are; of a `Frames` image the leading strides do not count.
    files : sequence of (str, Stamp or None)
        Absolute paths, each with its stamp when the header was read, or None where that shall not be checked.
    name : str
        Of the image.
    axes : tuple of str
        Names, slowest first.
    frames : Frames, optional
        Where frames lie apart.
    convert : callable, optional
        What is done to stored values.
    dtype : numpy.dtype, optional
        Of the converted values.
    chunks : Any
        As users write them; see `napari_lazyload.sources.raw_grid.chunk_sizes`.
    row_axes : int
        How many leading axes count rows of the meta table; chunks along them have one index, unless `chunks` says
        otherwise or the file has them interleaved.
    coarse : bool
        Whether a big image gets coarse levels of every k-th pixel; `raw_coarse` says which.
    **meta
        More fields of `ImageMeta`.

    Raises
    ------
    ValueError
        If the chunks do not suit the shape.
    """

    def __init__(
        self,
        layout: Layout,
        files: Sequence[tuple[str, Stamp | None]],
        name: str,
        axes: tuple[str, ...],
        *,
        frames: Frames | None = None,
        convert: Convert | None = None,
        dtype: Any = None,
        chunks: Any = "auto",
        row_axes: int = 0,
        coarse: bool = False,
        **meta: Any,
    ) -> None:
        self.layout = layout
        self.files = tuple(files)
        self.frames = frames
        self.convert = convert
        self.token = f"raw-{uuid.uuid4().hex}"
        self._row_axes = row_axes
        self._coarse = coarse
        finest = LevelMeta(ChunkGrid(layout.shape, self._sizes(chunks, axes)), (1.0,) * len(axes))
        spans = coarse_spans(axes, layout.shape, layout.dtype.itemsize) if coarse else []
        self._spans = ((1,) * len(axes), *spans)
        levels = (finest, *(self._coarse_level(axes, one) for one in spans))
        shown = np.dtype(layout.dtype if dtype is None else dtype).newbyteorder("=")
        self.meta = ImageMeta(name, axes, shown, levels, **meta)
        self.lead_axes = dict(zip(axes[:row_axes], layout.shape[:row_axes], strict=True))

    def _coarse_level(self, axes: tuple[str, ...], spans: tuple[int, ...]) -> LevelMeta:
        shape = coarse_shape(self.layout.shape, spans)
        grid = ChunkGrid(shape, coarse_chunks(axes, shape, spans, self._row_axes))
        return LevelMeta(grid, tuple(map(float, spans)), offsets=(0.0,) * len(axes))

    def _sizes(self, chunks: Any, axes: tuple[str, ...]) -> tuple[int | tuple[int, ...], ...]:
        layout, rows = self.layout, self._row_axes
        fixed = (len(axes) - 1,) if axes[-1] == RGB_AXIS else ()
        # Rows that are interleaved are read together: each alone would read the others too.
        apart = min(layout.strides[:rows], default=0) >= max(layout.strides[rows:], default=0)
        itemsize, single = layout.dtype.itemsize, rows if apart else 0
        return chunk_sizes(chunks, axes, layout.shape, layout.strides, itemsize, fixed=fixed, single=single)

    def rechunked(self, chunks: Any) -> RawSource:
        """Return the same image, read in other chunks."""
        return self._again(chunks=chunks)

    def with_overview(self) -> RawSource:
        """Return the same image; a big one with coarse levels of every k-th pixel."""
        grid = self.meta.levels[0].grid
        return self if self._coarse else self._again(chunks=grid.chunks, coarse=True)

    def _again(self, **changes: Any) -> RawSource:
        """Return the same image with some arguments changed.

        Raises
        ------
        ValueError
            If the chunks do not suit the shape.
        """
        meta = self.meta
        kept = {
            name: getattr(meta, name) for name in ImageMeta.__slots__ if name not in ("name", "axes", "dtype", "levels")
        }
        kept |= {"frames": self.frames, "convert": self.convert, "dtype": meta.dtype, "coarse": self._coarse}
        kept |= {"row_axes": self._row_axes, **changes}
        return RawSource(self.layout, self.files, meta.name, meta.axes, **kept)

    def position(self, index: BlockIndex) -> int:
        """Return the row, among those of this image, that a pixel belongs to."""
        place = 0
        for one, size in zip(index, self.lead_axes.values(), strict=False):
            place = place * size + one
        return place

    def chunk_position(self, level: int, index: BlockIndex) -> int:
        """Return the row that the first pixel of a chunk belongs to."""
        bounds = self.meta.levels[level].grid.bounds(index)
        return self.position(tuple(start * span for (start, _), span in zip(bounds, self._spans[level], strict=True)))

    def frame_index(self, position: int) -> BlockIndex:
        """Return the index along the axes that count rows."""
        lead = tuple(self.lead_axes.values())
        return tuple(int(one) for one in np.unravel_index(position, lead)) if lead else ()

    def chunk(self, level: int, index: BlockIndex) -> RawChunk | BlankChunk | GroupChunk:
        """Return the reference to one chunk."""
        box, spans = self.meta.levels[level].grid.bounds(index), self._spans[level]
        if self.frames is not None:
            return self._frames_chunk(self.frames, box, spans)
        layout = self.layout
        strides = tuple(step * span for step, span in zip(layout.strides, spans, strict=True))
        offset = layout.offset + sum(start * step for (start, _), step in zip(box, strides, strict=True))
        return self._block(0, offset, box_shape(box), strides)

    def _block(self, file: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> RawChunk:
        path, opened = self.files[file]
        return RawChunk(path, offset, shape, strides, self.layout.dtype, self.convert, opened)

    def _frames_chunk(self, frames: Frames, box: Box, spans: tuple[int, ...]) -> RawChunk | BlankChunk | GroupChunk:
        shape, ahead = box_shape(box), frames.axes
        strides = tuple(step * span for step, span in zip(self.layout.strides, spans, strict=True))
        within = sum(start * step for (start, _), step in zip(box[ahead:], strides[ahead:], strict=True))
        parts = []
        for offsets in np.ndindex(*shape[:ahead]):
            flat = 0
            for (start, _), offset, span, size in zip(box, offsets, spans, self.layout.shape, strict=False):
                flat = flat * size + (start + offset) * span
            parts.append(self._frame(frames, flat, (1,) * ahead + shape[ahead:], strides[ahead:], within))
        return parts[0] if len(parts) == 1 else GroupChunk(tuple(parts), shape, self.meta.dtype)

    def _frame(
        self, frames: Frames, flat: int, shape: tuple[int, ...], strides: tuple[int, ...], within: int
    ) -> RawChunk | BlankChunk:
        number = flat if frames.numbers is None else int(frames.numbers[flat])
        if number < 0:
            return BlankChunk(shape, self.meta.dtype)
        file, place = divmod(number, frames.per_file)
        offset = self.layout.offset + place * frames.stride + within
        return self._block(file, offset, shape, (frames.stride,) * frames.axes + strides)
