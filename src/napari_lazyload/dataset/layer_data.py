"""From an image to what napari adds as a layer; what napari would refuse is mended, and said."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.derived.converted import displayable
from napari_lazyload.arrays.layer_link import METADATA_KEY, LayerLink
from napari_lazyload.core.errors import LazyLoadWarning
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS
from napari_lazyload.core.units import pint_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.arrays.image import Image


COVERAGE_OF = "coverage_of"
"""In the metadata of labels that say where the pictures of a padded image are: its name."""

LARGEST_COLORED = 1 << 16
"""Larger labels have colours of their own in napari by one of these packages alone; where some are
negative, half."""

_QUICK_LABELS = ("numba", "PartSegCore_compiled_backend")

MOST_COLORS = 256
"""A palette of more cannot be shown: the graphics card looks colours up in a table of 1024
entries."""


def layer_data(image: Image, dataset: Any = None) -> list[tuple[Any, dict[str, Any], str]]:
    """Return one image as napari LayerData tuples: one, or one for each channel that has a look of its own.

    Parameters
    ----------
    image : Image
        The image.
    dataset : Dataset, optional
        Where it belongs.

    Returns
    -------
    list of (data, dict, str)
        Exact lazy data (a list of levels for a pyramid), keyword arguments and the layer's type.

    Warns
    -----
    LazyLoadWarning
        If something had to be mended for napari.
    """
    note = displayable(image.source)[1]
    if note is not None:
        _warn(f"{image.name}: {note}; the data set itself keeps {image.dtype}")
    image = shown_image(image)
    placed = _placement(image)
    if not image.meta.channels:
        return [_one_layer(image, placed, LayerLink(dataset, image))]
    return [
        _one_layer(image, placed, LayerLink(dataset, image, channel=number))
        for number in range(_channels(image))
    ]


def shown_image(image: Image) -> Image:
    """Return an image as layers show it: of a type that napari takes, with computed levels where it needs them."""
    source, note = displayable(image.source)
    return (image if note is None else image.of(source)).with_overview()


def _channels(image: Image) -> int:
    return image.shape[image.axes.index(CHANNEL_AXIS)]


def _placement(image: Image) -> dict[str, tuple[Any, ...] | None]:
    """Return what places an image, for each axis without the colour axis."""
    return {
        "axis_labels": tuple(axis for axis in image.axes if axis != RGB_AXIS),
        "scale": _mended_scale(image),
        "translate": _mended_translate(image),
        "units": _mended_units(image),
    }


def _one_layer(
    image: Image, placed: dict[str, tuple[Any, ...] | None], link: LayerLink
) -> tuple[Any, dict[str, Any], str]:
    """Return the layer of an image, or of the channel of it that the link names."""
    shown = None if link.channel is None else image.meta.channels[link.channel]
    levels: list[Any] = (
        [level[link.in_image((slice(None),) * (level.ndim - 1))] for level in image.boxes]
        if shown
        else [
            level.copy() for level in image.boxes
        ]  # what is assigned into one layer's data shows in no other
    )
    look = shown or image.meta
    link.needs_limits = (
        image.kind == "image" and not image.rgb and not _usable(look.contrast_limits)
    )
    keywords: dict[str, Any] = {
        "name": image.name if shown is None else " ".join(filter(None, (image.name, shown.name))),
        "metadata": {METADATA_KEY: link, **image.metadata},
        **{name: link.in_layer(values) for name, values in placed.items() if values is not None},
        "cache": False,
        "multiscale": len(levels) > 1,
        **_mended_display(image),
    }
    if image.meta.affine is not None:
        keywords["affine"] = _without_channel(image, link)
    if COVERAGE_OF in image.metadata:
        keywords["opacity"] = 0.2  # it lies over all pictures, which are what the user wants to see
    if shown is not None:
        keywords["visible"] = shown.visible
        if image.kind == "image":
            keywords.setdefault("blending", "additive")
    if image.kind == "image":
        keywords["rgb"] = image.rgb
        if (
            not image.rgb
        ):  # of colours, napari takes the range of the dtype, or of the first frame shown
            keywords["contrast_limits"] = _limits(image, look.contrast_limits)
            if (colormap := _colormap(image, look.colormap)) is not None:
                keywords["colormap"] = colormap
    return (levels if len(levels) > 1 else levels[0]), keywords, image.kind


def _without_channel(image: Image, link: LayerLink) -> np.ndarray[Any, Any]:
    """Return the affine matrix over the axes of a layer."""
    kept = [*link.in_layer(range(image.spatial_ndim)), image.spatial_ndim]
    return image.affine[np.ix_(kept, kept)]


def _warn(message: str) -> None:
    warnings.warn(message, LazyLoadWarning, stacklevel=3)


def _usable(limits: Sequence[float] | None) -> bool:
    return limits is not None and all(map(isfinite, limits)) and limits[0] < limits[1]


def _limits(image: Image, limits: tuple[float, float] | None) -> tuple[float, float]:
    """Return the file's limits, or the range of the dtype: never a read."""
    if limits is not None and _usable(limits):
        return limits
    if limits is not None:
        _warn(
            f"{image.name}: contrast limits {limits} cannot be used; they are found from the first frame"
        )
    if image.dtype.kind == "b":
        return (0.0, 1.0)
    if image.dtype.kind in "iu":
        info = np.iinfo(image.dtype)
        return float(info.min), float(info.max)
    return (0.0, 1.0)


def _mended_display(image: Image) -> Mapping[str, Any]:
    """Return how labels are shown, without the colours that napari refuses where it has no numba."""
    colors = image.meta.display.get("colormap")
    if image.kind != "labels" or not isinstance(colors, dict) or any(map(find_spec, _QUICK_LABELS)):
        return image.meta.display
    info = np.iinfo(image.dtype)
    possible = {
        value: color
        for value, color in colors.items()
        if value is None or info.min <= value <= info.max
    }
    signed = any(value is not None and value < 0 for value in possible)
    limit = LARGEST_COLORED // 2 if signed else LARGEST_COLORED
    kept = {
        value: color for value, color in possible.items() if value is None or abs(value) <= limit
    }
    if len(kept) < len(possible):
        _warn(
            f"{image.name}: the colours of {len(possible) - len(kept)} labels beyond {limit} are not shown, for napari "
            "needs numba for them: pip install numba"
        )
    return {**image.meta.display, "colormap": kept}


def _mended_scale(image: Image) -> tuple[float, ...]:
    mended = tuple(size if _has_inverse(size) else 1.0 for size in image.scale)
    if mended != image.scale:
        _warn(f"{image.name}: scale {image.scale} cannot be shown; using {mended}")
    return mended


def _mended_translate(image: Image) -> tuple[float, ...]:
    mended = tuple(start if isfinite(start) else 0.0 for start in image.translate)
    if mended != image.translate:
        _warn(f"{image.name}: translation {image.translate} cannot be shown; using {mended}")
    return mended


def _has_inverse(size: float) -> bool:
    return isfinite(size) and abs(size) >= float(np.finfo(float).tiny)


def _mended_units(image: Image) -> tuple[str, ...] | None:
    """Return units that napari takes: known ones, pixels where the file says nothing."""
    if not any(image.units):
        return None
    units = []
    for unit in image.units:
        known = pint_name(unit or "pixel")
        if known is None:
            _warn(f"{image.name}: unit {unit!r} is not known; using pixels for all axes")
            return None
        units.append(known)
    return tuple(units)


def _colormap(image: Image, stored: Any) -> Any:
    """Return a name as it is, a palette of stored colours as napari takes it, None for its default."""
    if stored is None or isinstance(stored, str):
        return stored
    colors = np.asarray(stored, float)
    if len(colors) > MOST_COLORS:
        _warn(
            f"{image.name}: a palette of {len(colors)} colours cannot be shown; its indices are shown in grey"
        )
        return None
    return {"colors": colors, "interpolation": "zero", "name": f"{image.name} palette"}
