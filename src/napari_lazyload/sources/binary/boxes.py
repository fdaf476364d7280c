"""Images of which a function reads any box: a library's, or one that scales frame by frame."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.core.row_map import ONE_ROW
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.sources.binary.read_strided import Array, native, read_strided
from napari_lazyload.sources.files import FileStamp, read_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import BlockIndex, Box, ChunkGrid
    from napari_lazyload.sources.binary.strided import StridedLayout

    ReadBox: TypeAlias = Callable[[Box], Array]
    """Returns the pixels of a box. It pickles, and equals others that read the same."""


@dataclass(frozen=True, slots=True)
class BoxChunk:
    """A box of an image that a library reads.

    Parameters
    ----------
    library : str
        Which, for messages.
    path : str
        Absolute path.
    read : callable
        Returns the pixels of a box.
    box : tuple of (int, int)
        In pixels.
    dtype : numpy.dtype
        Of the image.
    opened : FileStamp
        The stamp of the file when it was opened.
    """

    library: str
    path: str
    read: ReadBox
    box: Box
    dtype: np.dtype[Any]
    opened: FileStamp

    @property
    def key(self) -> ChunkKey:
        """Its file, image and box."""
        return ChunkKey(self.path, FileStamp.verify(self.path, self.opened), (self.read, self.box))

    def load(self) -> Array:
        """Read the box; see `napari_lazyload.core.source.Chunk`."""
        FileStamp.verify(self.path, self.opened)
        try:
            pixels = self.read(self.box)
        except Exception as err:
            raise read_error(
                self.path,
                f"pixels by {self.library}",
                f"data that cannot be read ({type(err).__name__}: {err})",
                "it is damaged: copy it again",
            ) from err
        pixels = native(pixels).astype(self.dtype, order="C", copy=False)
        shape = box_shape(self.box)
        if pixels.shape != shape:
            raise read_error(
                self.path, f"pixels of shape {shape}", f"{pixels.shape}", "open it again"
            )
        return pixels


class BoxSource:
    """An image of one file, of which a library reads any box.

    Parameters
    ----------
    library : str
        Which, for messages.
    file : (str, FileStamp)
        Absolute path, and its stamp when it was opened.
    read : callable
        Returns the pixels of a box.
    grid : ChunkGrid
        Shape and chunks.
    dtype : numpy.dtype
        Of what is read.
    name : str
        Of the image.
    axes : tuple of str
        Names, slowest first.
    **meta
        More fields of `ImageMeta`.
    """

    def __init__(
        self,
        library: str,
        file: tuple[str, FileStamp],
        read: ReadBox,
        *,
        grid: ChunkGrid,
        dtype: np.dtype[Any],
        name: str,
        axes: tuple[str, ...],
        **meta: Any,
    ) -> None:
        self.file = file
        self.paths = (file[0],)
        self.row_map = ONE_ROW
        self.token = f"boxes-{uuid.uuid4().hex}"
        level = LevelMeta(grid, (1.0,) * len(axes))
        self.meta = ImageMeta(name, axes, dtype.newbyteorder("="), (level,), **meta)
        self._library = library
        self._read = read

    def chunk(self, level: int, index: BlockIndex) -> BoxChunk:
        """Return the reference to one chunk."""
        box = self.meta.levels[level].grid.bounds(index)
        path, opened = self.file
        return BoxChunk(self._library, path, self._read, box, self.meta.dtype, opened)


@dataclass(frozen=True, slots=True)
class ScaledFrames:
    """Reads boxes of an image whose frames lie in any order, each with a slope of its own.

    Parameters
    ----------
    path : str
        Absolute path.
    frame : StridedLayout
        Of the first frame of the file, which has two axes.
    counts : tuple of int
        Sizes of the axes before them.
    table : bytes
        For each frame, in C order, three numbers of type float64: its place in the file, and the
        slope and the intercept of its values. As bytes, they are fast to compare.
    """

    path: str
    frame: StridedLayout
    counts: tuple[int, ...]
    table: bytes

    def __call__(self, box: Box) -> Array:
        """Return the pixels of a box, scaled."""
        ahead, inner = box[: len(self.counts)], box[len(self.counts) :]
        whole = np.frombuffer(self.table).reshape(*self.counts, 3)
        table = whole[tuple(slice(*bounds) for bounds in ahead)]
        layout = self.frame
        first = layout.offset + sum(
            start * step for (start, _), step in zip(inner, layout.strides, strict=True)
        )
        pixels = np.empty(box_shape(box), scaled_dtype(layout.dtype))
        stored = np.empty(box_shape(inner), layout.dtype.newbyteorder("="))
        for index in np.ndindex(*box_shape(ahead)):
            place, slope, intercept = table[index].tolist()
            offset = first + int(place) * (layout.end - layout.offset)
            read_strided(self.path, offset, stored.view(layout.dtype), layout.strides)
            pixels[index] = stored * slope + intercept
        return pixels


def scaled_dtype(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of values that are scaled by numbers of type float64."""
    return np.result_type(stored.newbyteorder("="), np.float64)
