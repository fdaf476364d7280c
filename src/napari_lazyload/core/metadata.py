"""What a source knows of an image before it reads a pixel; tuples are in the order of `axes`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.core.chunks import ChunkGrid

Kind = Literal["image", "labels"]

RGB_AXIS = "s"
"""Name of the axis that holds colour samples; always the last one, never sliced by a region."""

CHANNEL_AXIS = "c"
"""Name of the axis along which channels lie."""


@dataclass(frozen=True, slots=True)
class LevelMeta:
    """One resolution of an image.

    Parameters
    ----------
    grid : ChunkGrid
        Shape in pixels and the chunks of the file.
    factors : tuple of float
        Pixels of level 0 that one pixel of this level spans, for each axis; ones for level 0.
    offsets : tuple of float, optional
        Where the centre of the first pixel lies, in pixels of level 0, for each axis. By default
        the corners of the levels coincide, so that it is ``(factor - 1) / 2``.
    strides : tuple of int, optional
        Of a level that no file holds: every how many pixels of a stored one it has, for each axis.
    computed_from : int, optional
        The stored level whose whole chunks are decoded for it; None where pixels are read one by
        one, or are stored.
    """

    grid: ChunkGrid
    factors: tuple[float, ...]
    offsets: tuple[float, ...] | None = None
    strides: tuple[int, ...] | None = None
    computed_from: int | None = None

    @property
    def first_center(self) -> tuple[float, ...]:
        """Where the centre of the first pixel lies, in pixels of level 0, for each axis."""
        return self.offsets or tuple((factor - 1) / 2 for factor in self.factors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return self.grid.shape


@dataclass(frozen=True, slots=True)
class ChannelMeta:
    """How one channel is shown.

    Parameters
    ----------
    name : str
        What its layer is called.
    colormap : Any
        A name of napari's, a ``"#rrggbb"`` colour, or (n, 3) colours in 0..1; None leaves the
        choice to the viewer.
    contrast_limits : tuple of float or None
        Grey values shown black and full.
    visible : bool
        Whether it is shown at first.
    """

    name: str
    colormap: Any = None
    contrast_limits: tuple[float, float] | None = None
    visible: bool = True


@dataclass(frozen=True, slots=True)
class ImageMeta:
    """One n-dimensional image.

    Parameters
    ----------
    name : str
        What a layer of it is called.
    axes : tuple of str
        One name for each axis, slowest first; ``"s"`` is the colour axis of an RGB(A) image, always
        last.
    dtype : numpy.dtype
        Native byte order.
    levels : tuple of LevelMeta
        Finest first, at least one.
    kind : {"image", "labels"}
        Which layer shows it.
    scale, translate : tuple of float
        Size of a level-0 pixel and position of the centre of the first one, for each axis without
        ``"s"``, in `units`.
    units : tuple of (str or None)
        For each axis without ``"s"``.
    affine : tuple of tuples of float or None
        Homogeneous matrix over the axes without ``"s"``, for what scale and translation cannot say
        (rotation, shear): world = affine @ (scale * pixel + translate).
    contrast_limits : tuple of float or None
        Grey values shown black and white where the file says so.
    colormap : Any
        Name or (n, 3) list of colours in 0..1 where the file says so.
    channels : tuple of ChannelMeta
        One for each index of axis ``"c"`` where each channel shall be a layer; empty where one
        layer shows them all.
    display : mapping
        More keyword arguments of the layer, such as ``blending`` or ``features``.
    metadata : mapping
        Small extras that the source found.
    """

    name: str
    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    levels: tuple[LevelMeta, ...]
    kind: Kind = "image"
    scale: tuple[float, ...] | None = None
    translate: tuple[float, ...] | None = None
    units: tuple[str | None, ...] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None
    contrast_limits: tuple[float, float] | None = None
    colormap: Any = None
    channels: tuple[ChannelMeta, ...] = ()
    display: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take C's "long long" for the "long" of the same size: libraries that write know one."""
        if self.dtype.kind in "iu":
            object.__setattr__(self, "dtype", np.dtype(self.dtype.str))

    @property
    def rgb(self) -> bool:
        """Whether the last axis holds colour samples."""
        return self.axes[-1] == RGB_AXIS

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of level 0 along each axis."""
        return self.levels[0].shape
