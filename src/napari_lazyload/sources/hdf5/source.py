"""Images in HDF5 files whose data sets are chunked or compressed, read through `h5py`.

Each read opens the file. Nothing stays open between two reads: an open HDF5 file keeps others
from writing it.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid, box_shape
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.core.row_map import ONE_ROW
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.sources.binary.chunk_sizes import SMALL, auto_chunks
from napari_lazyload.sources.binary.read_strided import Array, dense_strides, native
from napari_lazyload.sources.binary.strided_chunks import BlankChunk
from napari_lazyload.sources.files import FileStamp, read_error
from napari_lazyload.sources.hdf5.other_files import (
    ElsewhereError,
    check_sources,
    follow,
    open_file,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import BlockIndex, Box

UNREADABLE = (KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What h5py raises for an object that is damaged, or of a type that it does not know."""

_GROWN = 1 << 20
_MOST_ATTRIBUTE = 1 << 20


def attribute(thing: Any, name: str, default: Any = None) -> Any:
    """Return an attribute of a group or data set; the default where h5py cannot read it.

    One that a damaged header makes very large is not read either: h5py would take the memory first.
    """
    try:
        if name in thing.attrs and thing.attrs.get_id(name).get_storage_size() <= _MOST_ATTRIBUTE:
            return thing.attrs[name]
    except UNREADABLE:
        pass
    return default


def lacks_filter(dataset: Any) -> bool:
    """Whether a filter of a data set is missing; `hdf5plugin` brings more when it is imported."""
    from h5py import h5z

    form = dataset.id.get_create_plist()
    filters = [form.get_filter(number)[0] for number in range(form.get_nfilters())]
    if all(map(h5z.filter_avail, filters)):
        return False
    # Not installed, or broken: its libraries may fail in any way, and no other file needs it.
    with suppress(Exception):
        import_module("hdf5plugin")
    return not all(map(h5z.filter_avail, filters))


def _dataset(file: Any, name: str) -> Any:
    """Return a data set; raw files with its pixels are looked for beside the file first."""
    import h5py

    found = file[name]
    lacks_filter(found)
    folder = os.path.dirname(os.path.abspath(os.fsdecode(found.file.filename)))
    raw = [os.path.join(folder, os.fsdecode(one)) for one, _, _ in found.external or ()]
    if not any(map(os.path.exists, raw)):
        return found
    del found  # HDF5 keeps to the first way in which a data set was opened
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_efile_prefix(b"${ORIGIN}")
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))


@dataclass(frozen=True, slots=True)
class Hdf5Chunk:
    """A box of one data set.

    Parameters
    ----------
    path : str
        Absolute path of the file.
    dataset : str
        Name of the data set in it.
    box : tuple of (int, int)
        In pixels of the data set, in its own order of axes.
    order : tuple of int
        Which axis of the data set each axis of the image is.
    shape : tuple of int
        Of the chunk in the grid.
    dtype : numpy.dtype
        Of the image.
    opened : tuple of int
        The stamp of the file when it was opened.
    state : int
        Tells how other files that the pixels lie in were then, so that a file opened again never
        shows old pixels.
    outside : bool
        Whether these may lie in other folders.
    """

    path: str
    dataset: str
    box: Box
    order: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    opened: FileStamp
    state: int = 0
    outside: bool = False

    @property
    def key(self) -> ChunkKey:
        """Its file, the state of other files, data set and box."""
        stamp = FileStamp.verify(self.path, self.opened)
        part = (self.dataset, self.box, self.order, self.shape)
        return ChunkKey(self.path, (stamp, self.state), part)

    def load(self) -> Array:
        """Read the box; see `napari_lazyload.core.source.Chunk`."""
        FileStamp.verify(self.path, self.opened)
        try:
            pixels = self._read()
        except ElsewhereError as err:
            raise read_error(
                self.path,
                f"the data set {self.dataset!r} with pixels in its own folder",
                f"pixels {err}",
                "open it again to see what can be read",
            ) from err
        except Exception as err:
            raise read_error(
                self.path,
                f"the data set {self.dataset!r}",
                f"data that cannot be read ({type(err).__name__}: {err})",
                "it is damaged, or a filter is not installed (pip install hdf5plugin)",
            ) from err
        shown = pixels.transpose(self.order).reshape(self.shape)
        return native(np.ascontiguousarray(shown)).astype(self.dtype, copy=False)

    def _read(self) -> Array:
        slices = tuple(slice(*bounds) for bounds in self.box)
        with open_file(self.path) as file:
            path, name = follow(file, self.path, self.dataset, outside=self.outside)
            if path == self.path:
                return np.array(self._read_from(file, path, name)[slices])
        with open_file(path) as file:
            return np.array(self._read_from(file, path, name)[slices])

    def _read_from(self, file: Any, path: str, name: str) -> Any:
        """Return the data set, once it is known to read no file that it may not."""
        found = _dataset(file, name)
        check_sources(path, found, self.box, outside=self.outside)
        return found


@dataclass(frozen=True, slots=True)
class Hdf5Level:
    """One level: data sets of one shape, one for each index of the leading axes.

    Parameters
    ----------
    datasets : tuple of str
        Names in C order of the leading axes; "" where there is none, which is shown as zeros.
    lead : tuple of int
        Lengths of the leading axes.
    shape : tuple of int
        Pixels of each data set that are shown, as the image has its axes.
    order : tuple of int
        Which axis of a data set each axis of `shape` is.
    stored : tuple of int or None
        Chunks of the data sets, in the order of `shape`.
    factors : tuple of float
        Level-0 pixels that a pixel spans, for each axis of `shape`.
    """

    datasets: tuple[str, ...]
    lead: tuple[int, ...]
    shape: tuple[int, ...]
    order: tuple[int, ...]
    stored: tuple[int, ...] | None
    factors: tuple[float, ...]


def grown_chunks(
    shape: Sequence[int], stored: Sequence[int] | None, itemsize: int
) -> tuple[int, ...]:
    """Return whole chunks of a file, joined where they are small: planes first, then the rest."""
    if stored is None:
        return auto_chunks(shape, dense_strides(shape, itemsize), itemsize)
    chunks = list(map(min, stored, shape))
    for axis in reversed(range(len(shape))):
        limit = _GROWN if axis >= len(shape) - 2 else SMALL
        room = limit // max(1, prod(chunks) * itemsize)
        if room > 1:
            chunks[axis] = min(shape[axis], chunks[axis] * room)
        if chunks[axis] < shape[axis] and prod(chunks) * itemsize > limit // 2:
            break
    return tuple(chunks)


class Hdf5Source:
    """An image in one or several data sets of a file.

    Parameters
    ----------
    file : (str, FileStamp)
        Absolute path, and its stamp when it was opened.
    levels : sequence of Hdf5Level
        Finest first.
    name : str
        Of the image.
    axes : tuple of str
        Leading axes, then those of the data sets.
    dtype : numpy.dtype
        Of the image.
    state : int
        Of other files that the pixels lie in.
    outside : bool
        Whether these may lie in other folders.
    **meta
        More fields of `ImageMeta`.
    """

    def __init__(
        self,
        file: tuple[str, FileStamp],
        levels: Sequence[Hdf5Level],
        name: str,
        axes: tuple[str, ...],
        dtype: np.dtype[Any],
        *,
        state: int = 0,
        outside: bool = False,
        **meta: Any,
    ) -> None:
        self.file = file
        self.paths = (file[0],)
        self.row_map = ONE_ROW
        self.token = f"hdf5-{uuid.uuid4().hex}"
        self._levels = tuple(levels)
        self._others = (state, outside)
        shown = dtype.newbyteorder("=")
        levels_meta = tuple(_level_meta(level, shown.itemsize) for level in levels)
        self.meta = ImageMeta(name, axes, shown, levels_meta, **meta)

    def chunk(self, level: int, index: BlockIndex) -> Hdf5Chunk | BlankChunk:
        """Return the reference to one chunk."""
        found = self._levels[level]
        box = self.meta.levels[level].grid.bounds(index)
        shape, lead = box_shape(box), len(found.lead)
        number = 0
        for (start, _), size in zip(box, found.lead, strict=False):
            number = number * size + start
        dataset = found.datasets[number]
        if not dataset:
            return BlankChunk(self.paths[0], shape, self.meta.dtype)
        inner = box[lead:]
        stored = [(0, 0)] * len(inner)
        for axis, place in enumerate(found.order):
            stored[place] = inner[axis]
        path, opened = self.file
        return Hdf5Chunk(
            path, dataset, tuple(stored), found.order, shape, self.meta.dtype, opened, *self._others
        )


def _level_meta(level: Hdf5Level, itemsize: int) -> LevelMeta:
    shape = (*level.lead, *level.shape)
    chunks = (*(1,) * len(level.lead), *grown_chunks(level.shape, level.stored, itemsize))
    return LevelMeta(ChunkGrid(shape, chunks), (*(1.0,) * len(level.lead), *level.factors))
