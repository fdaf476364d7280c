"""What an export writes: a box of one level of an image, where it lies in the world, how it is shown. Reads nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.image import Image
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.core.affine import linear
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS, ChannelMeta, Kind
from napari_lazyload.cropping.target import (
    Target,
    first_center,
    is_layer,
    units_of,
    world_transform,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.core.chunks import Box, ChunkGrid

    Array = np.ndarray[Any, Any]

_UNNAMED = re.compile(r"axis -?\d+")
"""What napari and :func:`napari_lazyload.crop` call the axes of arrays without names."""


@dataclass(frozen=True, slots=True)
class DisplaySettings:
    """How an image is shown.

    Parameters
    ----------
    name : str
        What a layer of it is called.
    kind : {"image", "labels"}
        Which layer shows it.
    channels : tuple of ChannelMeta
        One for each index of axis ``"c"``; empty where nothing is known of them.
    contrast_limits : tuple of float or None
        Of an image without channels.
    colormap : Any
        Of an image without channels, or of labels: a mapping from label to colour.
    features : mapping
        Of labels: columns, of which ``index`` holds the label.
    """

    name: str = ""
    kind: Kind = "image"
    channels: tuple[ChannelMeta, ...] = ()
    contrast_limits: tuple[float, float] | None = None
    colormap: Any = None
    features: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportSelection:
    """A box of one level. Tuples are in the order of `axes`.

    Parameters
    ----------
    array : Any
        The level: an array of ours, of dask, NumPy, zarr, or anything that slices.
    grid : ChunkGrid
        Its chunks.
    box : tuple of (int, int)
        Which pixels of it.
    axes : tuple of str
        Names, with ``"s"`` last for colours.
    dtype : numpy.dtype
        What is written.
    matrix : numpy.ndarray
        From pixels of the box to the world: homogeneous, over the axes without ``"s"``.
    units : tuple of (str or None)
        For each axis without ``"s"``.
    look : DisplaySettings
        How it is shown.
    """

    array: Any
    grid: ChunkGrid
    box: Box
    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    matrix: Array
    units: tuple[str | None, ...]
    display: DisplaySettings

    @property
    def rgb(self) -> bool:
        """Whether the last axis holds colour samples."""
        return self.axes[-1] == RGB_AXIS

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return tuple(stop - start for start, stop in self.box)


def select(image: Any, region: Any, level: int, dtype: Any) -> ExportSelection:
    """Return what an export of these arguments writes.

    Parameters
    ----------
    image, region, level, dtype
        See :func:`napari_lazyload.crop`; a region of None is all of it.

    Raises
    ------
    RegionError
        If the region is malformed or empty, or there is no such level.
    """
    target = Target(image)
    box = target.box(() if region is None else region, level)
    level %= len(target.arrays)
    meta = target.meta.levels[level]
    count = len(target.meta.axes) - (target.meta.axes[-1] == RGB_AXIS)
    first = np.asarray([start for start, _ in box]) * meta.factors + first_center(target, level)
    within = linear(np.diag(meta.factors[:count]), first[:count])
    axes = _named(target.meta.axes)
    at = axes.index(CHANNEL_AXIS) if CHANNEL_AXIS in axes else None
    return ExportSelection(
        target.arrays[level],
        meta.grid,
        box,
        axes,
        np.dtype(dtype or target.meta.dtype).newbyteorder("="),
        world_transform(image, count) @ within,
        units_of(image, count),
        _display_settings(image, None if at is None else box[at]),
    )


def _named(axes: tuple[str, ...]) -> tuple[str, ...]:
    """Return names for axes of which none has one: the last of ``tzyx``, of ``tczyx`` where there are five."""
    plain = tuple(axis for axis in axes if axis != RGB_AXIS)
    if len(plain) > 5 or not all(map(_UNNAMED.fullmatch, plain)):
        return axes
    names = "tczyx" if len(plain) == 5 else "tzyx"
    return (*names[len(names) - len(plain) :], *axes[len(plain) :])


def _display_settings(image: Any, channels: tuple[int, int] | None) -> DisplaySettings:
    """Return how an image is shown, with those of its channels that are kept."""
    if isinstance(image, Image):
        meta = image.meta
        kept = meta.channels[slice(*channels)] if channels else ()
        labels = meta.kind == "labels"
        colormap = meta.display.get("colormap") if labels else meta.colormap
        features = meta.display.get("features", {})
        return DisplaySettings(meta.name, meta.kind, kept, meta.contrast_limits, colormap, features)
    if is_layer(image):
        return _look_of_layer(image)
    return DisplaySettings(str(getattr(image, "name", None) or "").strip("/").rpartition("/")[2])


def _look_of_layer(layer: Any) -> DisplaySettings:
    if any(one.__name__ == "Labels" for one in type(layer).__mro__):
        colors = getattr(layer.colormap, "color_dict", None)
        features = (
            {name: list(column) for name, column in layer.features.items()}
            if len(layer.features)
            else {}
        )
        return DisplaySettings(layer.name, "labels", colormap=colors, features=features)
    if layer.rgb:
        return DisplaySettings(layer.name)
    low, high = map(float, layer.contrast_limits)
    link = layer.metadata.get(METADATA_KEY)
    guessed = link is not None and getattr(link, "needs_limits", False)
    return DisplaySettings(
        layer.name, contrast_limits=None if guessed else (low, high), colormap=layer.colormap
    )
