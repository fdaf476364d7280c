"""One image: exact lazy levels with axes, scale and units."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Literal

from napari_lazyload.arrays import level_array

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from napari_lazyload.arrays import LazyArray
    from napari_lazyload.core.metadata import ImageMeta, Kind
    from napari_lazyload.core.source import Source

OnError = Literal["raise", "blank"]


class Image:
    """One n-dimensional image of a dataset. Nothing is read before its pixels are asked for.

    Tuples are in the order of `axes`, slowest first. The colour axis of an RGB(A) image is called ``"s"``, is the last
    one, and has no scale, translation or unit.

    Parameters
    ----------
    source : Source
        Where the chunks come from.
    on_error : {"raise", "blank"}
        Whether exact reads of a chunk that cannot be read raise `ChunkReadError` or give zeros.
    level : int, optional
        Keep this level alone.
    chunks : int, tuple, dict or str, optional
        Chunks of the dask arrays, as dask takes them, instead of the file's own; what is read and cached stays the
        file's chunk.
    """

    __slots__ = ("_chunks", "_level", "_levels", "on_error", "source")

    def __init__(
        self, source: Source, *, on_error: OnError = "raise", level: int | None = None, chunks: Any = None
    ) -> None:
        if on_error not in ("raise", "blank"):
            msg = f"on_error must be 'raise' or 'blank', got {on_error!r}"
            raise ValueError(msg)
        count = len(source.meta.levels)
        if level is not None and not -count <= level < count:
            msg = f"level must be 0 to {count - 1} for {source.meta.name!r}, got {level}"
            raise ValueError(msg)
        self.source = source
        self.on_error = on_error
        self._level = level
        self._chunks = chunks
        numbers = range(count) if level is None else [level % count]
        self._levels = tuple(level_array(source, number, on_error=on_error) for number in numbers)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_image, (self.source, self.on_error, self._level, self._chunks))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        axes = "".join(self.axes) if all(len(axis) == 1 for axis in self.axes) else ", ".join(self.axes)
        levels = f", {len(self.levels)} levels" if len(self.levels) > 1 else ""
        return f"<lazy {self.kind} {self.name!r}: {shape} {self.dtype} ({axes}){levels}>"

    @property
    def meta(self) -> ImageMeta:
        """What the source knows of the image."""
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
        """The levels on the file's own chunks, finest first; they stay boxes while they are sliced."""
        return self._levels

    @property
    def levels(self) -> tuple[da.Array, ...]:
        """Exact dask arrays, finest first, on the file's chunks or on those asked for."""
        if self._chunks is None:
            return self._levels
        return tuple(level.rechunk(self._chunks) for level in self._levels)

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
        size = self.meta.scale or (1.0,) * self.spatial_ndim
        factors = self.meta.levels[self._levels[0].level].factors
        return tuple(
            start + pixel * (factor - 1) / 2 for start, pixel, factor in zip(base, size, factors, strict=False)
        )

    @property
    def units(self) -> tuple[str | None, ...]:
        """Unit of each axis but ``"s"``; None where the file says nothing."""
        return self.meta.units or (None,) * self.spatial_ndim

    @property
    def metadata(self) -> dict[str, Any]:
        """Small extras that the file says, a copy."""
        return dict(self.meta.metadata)


def _image(source: Source, on_error: OnError, level: int | None, chunks: Any) -> Image:
    return Image(source, on_error=on_error, level=level, chunks=chunks)
