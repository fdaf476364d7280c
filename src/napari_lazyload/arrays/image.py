"""One image: exact lazy levels with axes, scale and units."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Literal

import dask.array as da
import numpy as np

from napari_lazyload.arrays.derived.overview import with_overview
from napari_lazyload.arrays.lazy_array import level_array

if TYPE_CHECKING:
    from napari_lazyload.arrays.lazy_array import LazyArray
    from napari_lazyload.core.metadata import ImageMeta, Kind
    from napari_lazyload.core.source import Source

    Sizes = tuple[tuple[int, ...], ...]

OnError = Literal["raise", "blank"]


class Image:
    """One n-dimensional image of a dataset. Nothing is read before its pixels are asked for.

    What is assigned into an array that an image gave (``image.data[0] = 0``) changes that array,
    never the image: the next one that it gives is exact again.

    Tuples are in the order of `axes`, slowest first. The colour axis of an RGB(A) image is called
    ``"s"``, is the last one, and has no scale, translation or unit.

    Parameters
    ----------
    source : Source
        Where the chunks come from.
    on_error : {"raise", "blank"}
        Whether exact reads of a chunk that cannot be read raise `ChunkReadError` or give zeros.
    level : int, optional
        Keep this level alone.
    chunks : int, tuple, dict or str, optional
        Chunks of the dask arrays, as dask takes them (a dict may name axes too), instead of the
        file's own; what is read and cached stays the file's chunk.

    Raises
    ------
    ValueError
        If an argument is not one of its choices, or the chunks do not suit the shape.
    """

    __slots__ = (
        "_chunks",
        "_level",
        "_levels",
        "_names",
        "_numbers",
        "_rechunked",
        "_sizes",
        "on_error",
        "source",
    )

    def __init__(
        self,
        source: Source,
        *,
        on_error: OnError = "raise",
        level: int | None = None,
        chunks: Any = None,
    ) -> None:
        if on_error not in ("raise", "blank"):
            raise ValueError(f"on_error must be 'raise' or 'blank', got {on_error!r}")
        count = len(source.meta.levels)
        if level is not None and (
            not isinstance(level, (int, np.integer)) or not -count <= level < count
        ):
            raise ValueError(
                f"level must be a number from 0 to {count - 1} for {source.meta.name!r}, "
                f"got {level!r}"
            )
        self.source = source
        self.on_error = on_error
        self._level = level
        self._chunks = chunks
        self._numbers = range(count) if level is None else [level % count]
        self._levels = self._level_arrays()
        self._rechunked: tuple[da.Array, ...] = ()
        self._names: list[str] = []
        self._sizes: list[Sizes] = []
        if chunks is not None:
            self._sizes = [_chunk_sizes(array, chunks, source.meta.axes) for array in self._levels]

    def _level_arrays(self) -> tuple[LazyArray, ...]:
        return tuple(
            level_array(self.source, number, on_error=self.on_error) for number in self._numbers
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (_image, (self.source, self.on_error, self._level, self._chunks))

    def of(self, source: Source) -> Image:
        """Return the image of a source that differs in its values alone, with the same choices."""
        return Image(source, on_error=self.on_error, level=self._level, chunks=self._chunks)

    def with_overview(self) -> Image:
        """Return the image with computed levels, where its coarsest one is too large to view whole.

        These have every second, fourth, ... pixel of the coarsest level in the file: as exact as
        that, but not means of pixels. To read one decodes all chunks of the file that it lies over.
        Layers have them; an image that was opened has what the file has.

        Returns
        -------
        Image
            This one where it has no need of them, or was opened at one level alone.
        """
        source = self.source if self._level is not None else with_overview(self.source)
        return self if source is self.source else Image(source, on_error=self.on_error)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        axes = ("" if max(map(len, self.axes)) == 1 else ", ").join(self.axes)
        levels = f", {len(self.levels)} levels" if len(self.levels) > 1 else ""
        return f"<lazy {self.kind} {self.name!r}: {shape} {self.dtype} ({axes}){levels}>"

    @property
    def meta(self) -> ImageMeta:
        """Axes, levels and what else the source knows of the image."""
        return self.source.meta

    @property
    def name(self) -> str:
        """What a layer of it is called."""
        return self.meta.name

    @property
    def kind(self) -> Kind:
        """``"image"`` or ``"labels"``."""
        return self.meta.kind

    @property
    def rgb(self) -> bool:
        """Whether the last axis holds colour samples."""
        return self.meta.rgb

    @property
    def axes(self) -> tuple[str, ...]:
        """Name of each axis, slowest first."""
        return self.meta.axes

    @property
    def boxes(self) -> tuple[LazyArray, ...]:
        """The levels on the file's own chunks, finest first; a slice of one is a box again."""
        if any(array.source is None for array in self._levels):  # something was assigned into one
            self._levels = self._level_arrays()
        return self._levels

    @property
    def levels(self) -> tuple[da.Array, ...]:
        """Exact dask arrays, finest first, on the file's chunks or on those asked for."""
        if self._chunks is None:
            return self.boxes
        names = [array.name for array in self._rechunked]
        if not names or names != self._names:  # an assignment gives a new name
            self._rechunked = tuple(map(da.rechunk, self.boxes, self._sizes))
            self._names = [array.name for array in self._rechunked]
        return self._rechunked

    @property
    def data(self) -> da.Array:
        """The finest level."""
        return self.levels[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of the finest level along each axis."""
        return tuple(self._levels[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel, in native byte order."""
        return self.meta.dtype

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Chunk sizes of the finest level along each axis."""
        return tuple(self.data.chunks)

    @property
    def nbytes(self) -> int:
        """Size of the finest level in memory."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def spatial_ndim(self) -> int:
        """Number of axes without the colour axis."""
        return len(self.axes) - self.rgb

    @property
    def scale(self) -> tuple[float, ...]:
        """Size of a pixel of the finest level along each axis but ``"s"``, in `units`."""
        base = self.meta.scale or (1.0,) * self.spatial_ndim
        factors = self.meta.levels[self._levels[0].level].factors
        return tuple(size * factor for size, factor in zip(base, factors, strict=False))

    @property
    def translate(self) -> tuple[float, ...]:
        """Position of the centre of the first pixel along each axis but ``"s"``, in `units`."""
        base = self.meta.translate or (0.0,) * self.spatial_ndim
        if self._levels[0].level == 0:
            return base
        size = self.meta.scale or (1.0,) * self.spatial_ndim
        first = self.meta.levels[self._levels[0].level].first_center
        return tuple(
            start + pixel * center for start, pixel, center in zip(base, size, first, strict=False)
        )

    @property
    def affine(self) -> np.ndarray[Any, Any]:
        """Homogeneous matrix that is applied after `scale` and `translate`; mostly the identity."""
        return (
            np.eye(self.spatial_ndim + 1)
            if self.meta.affine is None
            else np.array(self.meta.affine, float)
        )

    @property
    def units(self) -> tuple[str | None, ...]:
        """Unit of each axis but ``"s"``; None where the file says nothing."""
        return self.meta.units or (None,) * self.spatial_ndim

    @property
    def metadata(self) -> dict[str, Any]:
        """Small extras that the file says, a copy."""
        return dict(self.meta.metadata)


def _chunk_sizes(array: da.Array, chunks: Any, axes: tuple[str, ...]) -> Sizes:
    """Return chunks as dask writes them, for what users write."""
    given = chunks
    try:
        if isinstance(chunks, dict):
            wanted = list(array.chunks)
            for axis, size in chunks.items():
                wanted[axes.index(axis) if isinstance(axis, str) else axis] = size
            chunks = tuple(wanted)
        elif isinstance(chunks, (tuple, list)):  # None leaves an axis as it is
            chunks = tuple(
                now if size is None else size
                for size, now in zip(chunks, array.chunks, strict=True)
            )
        sizes: Sizes = da.core.normalize_chunks(
            chunks, array.shape, dtype=array.dtype, previous_chunks=array.chunks
        )
    except (ValueError, TypeError, IndexError, ZeroDivisionError, NotImplementedError) as err:
        raise ValueError(
            f"chunks {given!r} do not suit an image of shape {array.shape} "
            f"with axes {', '.join(axes)}: {err}"
        ) from err
    return sizes


def _image(source: Source, on_error: OnError, level: int | None, chunks: Any) -> Image:
    return Image(source, on_error=on_error, level=level, chunks=chunks)
