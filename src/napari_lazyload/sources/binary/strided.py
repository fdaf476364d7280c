"""Strided pixels in one or several files, read in place: the source of uncompressed binaries.

A format's module reads a header and says where the pixels lie (`StridedLayout`, `Frames`); this
module makes chunks of that.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.core.coarse_levels import strided_levels
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.core.row_map import RowMap
from napari_lazyload.sources.binary.chunk_sizes import chunk_sizes
from napari_lazyload.sources.binary.read_strided import Array, dense_strides, span_nbytes
from napari_lazyload.sources.binary.strided_chunks import BlankChunk, GroupChunk, StridedBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.sources.binary.strided_chunks import Convert
    from napari_lazyload.sources.files import FileStamp


@dataclass(frozen=True, slots=True)
class StridedLayout:
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
        Bytes between neighbors along each axis; positive.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    strides: tuple[int, ...]

    @property
    def end(self) -> int:
        """Where the last pixel ends, in bytes."""
        return self.offset + span_nbytes(self.shape, self.strides, self.dtype.itemsize)


def dense(shape: Sequence[int], dtype: Any, offset: int = 0, order: str = "C") -> StridedLayout:
    """Return the layout of pixels without gaps, in C or Fortran order."""
    sizes, stored = tuple(int(size) for size in shape), np.dtype(dtype)
    return StridedLayout(sizes, stored, offset, dense_strides(sizes, stored.itemsize, order))


def samples_first(layout: StridedLayout) -> StridedLayout:
    """Return the same pixels with the last axis, that of the samples, as the first one."""
    (*sizes, count), (*strides, step) = layout.shape, layout.strides
    return StridedLayout((count, *sizes), layout.dtype, layout.offset, (step, *strides))


def transposed(layout: StridedLayout, order: Sequence[int]) -> StridedLayout:
    """Return the same pixels with the axes in another order."""
    shape = tuple(layout.shape[axis] for axis in order)
    strides = tuple(layout.strides[axis] for axis in order)
    return StridedLayout(shape, layout.dtype, layout.offset, strides)


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
        For each place on the leading axes, in C order, the number of its frame, -1 where there is
        none. In order by default.
    """

    axes: int
    stride: int
    per_file: int
    numbers: Array | None = None


class StridedFileSource:
    """An image whose pixels are read in place.

    Parameters
    ----------
    layout : StridedLayout
        Where the pixels are; of a `Frames` image the leading strides do not count.
    files : sequence of (str, FileStamp or None)
        Absolute paths, each with its stamp when the header was read, or None where that shall not
        be checked.
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
        As users write them; see `napari_lazyload.sources.binary.chunk_sizes.chunk_sizes`.
    row_axes : int
        How many leading axes count rows of the meta table; chunks along them have one index, unless
        `chunks` says otherwise or the file has them interleaved.
    coarse : bool
        Whether a large image gets the coarse levels of `napari_lazyload.core.coarse_levels`.
    **meta
        More fields of `ImageMeta`.

    Raises
    ------
    ValueError
        If the chunks do not suit the shape.
    """

    def __init__(
        self,
        layout: StridedLayout,
        files: Sequence[tuple[str, FileStamp | None]],
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
        shown = np.dtype(layout.dtype if dtype is None else dtype).newbyteorder("=")
        self.meta = ImageMeta(name, axes, shown, (finest,), **meta)
        if coarse:
            levels = (finest, *strided_levels(self.meta, row_axes))
            self.meta = replace(self.meta, levels=levels)
        self.row_map = RowMap(dict(zip(axes[:row_axes], layout.shape[:row_axes], strict=True)))

    def _steps(self, level: int) -> tuple[int, ...]:
        return self.meta.levels[level].steps or (1,) * len(self.meta.axes)

    def _sizes(self, chunks: Any, axes: tuple[str, ...]) -> tuple[int | tuple[int, ...], ...]:
        layout, rows = self.layout, self._row_axes
        fixed = (len(axes) - 1,) if axes[-1] == RGB_AXIS else ()
        # Rows that are interleaved are read together: each alone would read the others too.
        apart = min(layout.strides[:rows], default=0) >= max(layout.strides[rows:], default=0)
        itemsize, single = layout.dtype.itemsize, rows if apart else 0
        return chunk_sizes(
            chunks, axes, layout.shape, layout.strides, itemsize, fixed=fixed, single=single
        )

    def rechunked(self, chunks: Any) -> StridedFileSource:
        """See `napari_lazyload.core.source.StridedSource`."""
        return self._again(chunks=chunks)

    def with_strided_levels(self) -> StridedFileSource:
        """See `napari_lazyload.core.source.StridedSource`."""
        grid = self.meta.levels[0].grid
        return self if self._coarse else self._again(chunks=grid.chunks, coarse=True)

    def _again(self, **changes: Any) -> StridedFileSource:
        """Return the same image with some arguments changed.

        Raises
        ------
        ValueError
            If the chunks do not suit the shape.
        """
        meta = self.meta
        own = {"name", "axes", "dtype", "levels"}
        kept = {name: getattr(meta, name) for name in {*ImageMeta.__slots__} - own}
        kept |= {"frames": self.frames, "convert": self.convert, "dtype": meta.dtype}
        kept |= {"coarse": self._coarse, "row_axes": self._row_axes, **changes}
        return StridedFileSource(self.layout, self.files, meta.name, meta.axes, **kept)

    @property
    def paths(self) -> tuple[str, ...]:
        """Its files."""
        return tuple(path for path, _ in self.files)

    def chunk(self, level: int, index: BlockIndex) -> StridedBlock | BlankChunk | GroupChunk:
        """Return the reference to one chunk."""
        box, spans = self.meta.levels[level].grid.bounds(index), self._steps(level)
        if self.frames is not None:
            return self._frames_chunk(self.frames, box, spans)
        return self._box_chunk(box, spans)

    def box_reader(self, level: int, box: Box) -> StridedBlock | None:
        """Return the reader of a box; None where its frames lie apart, or there are none."""
        spans, frames = self._steps(level), self.frames
        if frames is None:
            return self._box_chunk(box, spans)
        if any(stop - start != 1 for start, stop in box[: frames.axes]):
            return None
        found = self._frames_chunk(frames, box, spans)
        return found if isinstance(found, StridedBlock) else None

    def _box_chunk(self, box: Box, spans: tuple[int, ...]) -> StridedBlock:
        strides = tuple(step * span for step, span in zip(self.layout.strides, spans, strict=True))
        offset = self.layout.offset + sum(
            start * step for (start, _), step in zip(box, strides, strict=True)
        )
        return self._block(0, offset, box_shape(box), strides)

    def _block(
        self, file: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> StridedBlock:
        path, opened = self.files[file]
        return StridedBlock(path, offset, shape, strides, self.layout.dtype, self.convert, opened)

    def _frames_chunk(
        self, frames: Frames, box: Box, spans: tuple[int, ...]
    ) -> StridedBlock | BlankChunk | GroupChunk:
        shape, ahead = box_shape(box), frames.axes
        strides = tuple(step * span for step, span in zip(self.layout.strides, spans, strict=True))
        within = sum(
            start * step for (start, _), step in zip(box[ahead:], strides[ahead:], strict=True)
        )
        parts = []
        for offsets in np.ndindex(*shape[:ahead]):
            flat = 0
            for (start, _), offset, span, size in zip(
                box, offsets, spans, self.layout.shape, strict=False
            ):
                flat = flat * size + (start + offset) * span
            parts.append(
                self._frame(frames, flat, (1,) * ahead + shape[ahead:], strides[ahead:], within)
            )
        return parts[0] if len(parts) == 1 else GroupChunk(tuple(parts), shape, self.meta.dtype)

    def _frame(
        self,
        frames: Frames,
        flat: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        within: int,
    ) -> StridedBlock | BlankChunk:
        number = flat if frames.numbers is None else int(frames.numbers[flat])
        if number < 0:
            return BlankChunk(self.files[0][0], shape, self.meta.dtype)
        file, place = divmod(number, frames.per_file)
        offset = self.layout.offset + place * frames.stride + within
        return self._block(file, offset, shape, (frames.stride,) * frames.axes + strides)
