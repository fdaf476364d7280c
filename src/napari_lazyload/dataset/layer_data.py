"""From an image to a napari layer; what napari would refuse is mended, with a warning."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from itertools import combinations
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.derived.converted import displayable
from napari_lazyload.arrays.layer_link import METADATA_KEY, LayerLink
from napari_lazyload.core.affine import world_order
from napari_lazyload.core.errors import LazyLoadWarning
from napari_lazyload.core.metadata import CHANNEL_AXIS
from napari_lazyload.core.units import pint_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.arrays.image import Image


COVERAGE_OF = "coverage_of"
"""In the metadata of labels that say where the frames of a padded image are: its name."""

LARGEST_COLORED = 1 << 16
"""The largest label with a color of its own without numba; half of it where some are negative."""

_QUICK_LABELS = ("numba", "PartSegCore_compiled_backend")

LEAST_PLANE = 0.4
"""The least area of a pixel, as a share of its sides, where a tilted plane is shown."""

MOST_COLORS = 256
"""A longer palette cannot be shown: the graphics card has a table of 1024 colors."""


def layer_data(image: Image, dataset: Any = None) -> list[tuple[Any, dict[str, Any], str]]:
    """Return an image as napari LayerData tuples: one, or one for each channel that is described.

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
    placement = _placement(image)
    count = image.shape[image.axes.index(CHANNEL_AXIS)] if image.meta.channels else 0
    channels = range(count) or [None]
    return [_layer(image, placement, LayerLink(dataset, image, channel=n)) for n in channels]


def shown_image(image: Image) -> Image:
    """Return an image as layers show it: of a type that napari takes, with computed levels."""
    source, note = displayable(image.source)
    return (image if note is None else image.of(source)).with_overview()


def _placement(image: Image) -> dict[str, tuple[Any, ...] | None]:
    """Return what places an image, for each axis without the color axis."""
    return {
        "axis_labels": image.axes[: image.spatial_ndim],
        "scale": _mended_scale(image),
        "translate": _mended_translate(image),
        "units": _mended_units(image),
    }


def _layer(
    image: Image, placement: dict[str, tuple[Any, ...] | None], link: LayerLink
) -> tuple[Any, dict[str, Any], str]:
    """Return the layer of an image, or of the channel of it that the link names."""
    channel = None if link.channel is None else image.meta.channels[link.channel]
    name, shown = image.name, channel or image.meta
    if channel is None:
        # Copies: what is assigned into one layer's data shows in no other.
        levels: list[Any] = [level.copy() for level in image.boxes]
    else:
        index = link.in_image((slice(None),) * (len(image.axes) - 1))
        levels = [level[index] for level in image.boxes]
        name = " ".join(filter(None, (image.name, channel.name)))
    plain = image.kind == "image" and not image.rgb
    link.needs_limits = plain and not _usable(shown.contrast_limits)
    keywords: dict[str, Any] = {
        "name": name,
        "metadata": {METADATA_KEY: link, **image.metadata},
        **{key: link.in_layer(values) for key, values in placement.items() if values is not None},
        "cache": False,
        "multiscale": len(levels) > 1,
        **_mended_display(image),
    }
    if image.meta.affine is not None:
        keywords |= _along_world(_without_channel(image, link), keywords)
    if COVERAGE_OF in image.metadata:
        keywords["opacity"] = 0.2  # it lies over all pictures, which are what the user wants to see
    if channel is not None:
        keywords["visible"] = channel.visible
        if image.kind == "image":
            keywords.setdefault("blending", "additive")
    if image.kind == "image":
        keywords["rgb"] = image.rgb
    if plain:  # of RGB, napari takes the range of the dtype, or of the first frame shown
        keywords["contrast_limits"] = _limits(image, shown.contrast_limits)
        if (colormap := _colormap(image, shown.colormap)) is not None:
            keywords["colormap"] = colormap
    return (levels if len(levels) > 1 else levels[0]), keywords, image.kind


def _without_channel(image: Image, link: LayerLink) -> np.ndarray[Any, Any]:
    """Return the affine matrix over the axes of a layer."""
    kept = [*link.in_layer(range(image.spatial_ndim)), image.spatial_ndim]
    return image.affine[np.ix_(kept, kept)]


def _along_world(affine: np.ndarray[Any, Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the matrix of a layer with the world's axes in the order in which the array has them.

    napari pairs them by number, and shows two of each: of a sagittal scan, which is stored from
    left to right, these would be others in the world than in the array. What is turned within its
    plane stays so.
    """
    if _shows_planes(affine[:-1, :-1], keywords["axis_labels"]):
        return {"affine": affine}
    order = list(world_order(affine[:-1, :-1]))
    found: dict[str, Any] = {"affine": affine[[*order, len(order)]]}
    for name in ("axis_labels", "units"):
        if keywords.get(name) is not None:
            found[name] = tuple(keywords[name][world] for world in order)
    return found


def _shows_planes(inner: np.ndarray[Any, Any], names: Sequence[str]) -> bool:
    """Whether any two axes in space are a plane in the same two axes of the world."""
    steps = inner / np.where((sizes := np.linalg.norm(inner, axis=0)) == 0, 1, sizes)
    space = [axis for axis, name in enumerate(names) if name in ("z", "y", "x")]
    pairs = combinations(space if len(space) > 1 else range(len(names))[-2:], 2)
    return all(abs(np.linalg.det(steps[np.ix_(pair, pair)])) > LEAST_PLANE for pair in pairs)


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
            f"{image.name}: contrast limits {limits} cannot be used; "
            "they are found from the first frame"
        )
    if image.dtype.kind in "iu":
        info = np.iinfo(image.dtype)
        return float(info.min), float(info.max)
    return (0.0, 1.0)


def _mended_display(image: Image) -> Mapping[str, Any]:
    """Return how labels are shown, without the colors that napari refuses without numba."""
    colors = image.meta.display.get("colormap")
    if image.kind != "labels" or not isinstance(colors, dict) or any(map(find_spec, _QUICK_LABELS)):
        return image.meta.display
    info = np.iinfo(image.dtype)
    values = [value for value in colors if value is None or info.min <= value <= info.max]
    limit = LARGEST_COLORED
    if min(filter(None, values), default=0) < 0:
        limit //= 2
    kept = {value: colors[value] for value in values if abs(value or 0) <= limit}
    if len(kept) < len(values):
        _warn(
            f"{image.name}: the colors of {len(values) - len(kept)} labels beyond {limit} are not "
            "shown, for napari needs numba for them: pip install numba"
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
    """Return a name as it is, a palette as napari takes it; None stands for napari's default."""
    if stored is None or isinstance(stored, str):
        return stored
    colors = np.asarray(stored, float)
    if len(colors) > MOST_COLORS:
        _warn(
            f"{image.name}: a palette of {len(colors)} colors cannot be shown; "
            "its indices are shown in gray"
        )
        return None
    return {"colors": colors, "interpolation": "zero", "name": f"{image.name} palette"}
