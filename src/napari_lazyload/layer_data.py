"""From an image to what napari adds as a layer; what napari would refuse is mended, and said."""

from __future__ import annotations

import warnings
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import LazyLoadWarning
from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.image import Image
from napari_lazyload.sources.converted import displayable

if TYPE_CHECKING:
    from collections.abc import Sequence

METADATA_KEY = "napari_lazyload"
"""Where a layer's metadata keeps its `LayerLink`."""


class LayerLink:
    """Ties a layer to the image it shows; a copy of the layer has the same link.

    Parameters
    ----------
    dataset : Any
        The dataset, or None for an image alone.
    image : Image
        What the layer shows.
    needs_limits : bool
        Whether the contrast limits are a guess, to be replaced once pixels are seen.

    Attributes
    ----------
    hidden : bool
        Whether the layer was made invisible until its display is bound, so that adding it reads nothing in vain.
    """

    __slots__ = ("dataset", "hidden", "image", "needs_limits")

    def __init__(self, dataset: Any, image: Image, *, needs_limits: bool = False) -> None:
        self.dataset = dataset
        self.image = image
        self.needs_limits = needs_limits
        self.hidden = False

    def __copy__(self) -> LayerLink:
        return self

    def __deepcopy__(self, _memo: Any) -> LayerLink:
        return self

    def __repr__(self) -> str:
        return f"<{self.image!r} of {getattr(self.dataset, 'path', None)!r}>"


def layer_data(image: Image, dataset: Any = None) -> tuple[Any, dict[str, Any], str]:
    """Return one image as a napari LayerData tuple.

    Parameters
    ----------
    image : Image
        The image.
    dataset : Dataset, optional
        Where it belongs.

    Returns
    -------
    tuple of (data, dict, str)
        Exact lazy data (a list of levels for a pyramid), keyword arguments and the layer's type.

    Warns
    -----
    LazyLoadWarning
        If something had to be mended for napari.
    """
    source, note = displayable(image.source)
    if note is not None:
        _warn(f"{image.name}: {note}; the data set itself keeps {image.dtype}")
        image = Image(source, on_error=image.on_error)
    levels = list(image.boxes)
    guessed = image.kind == "image" and not image.rgb and not _usable(image.meta.contrast_limits)
    keywords: dict[str, Any] = {
        "name": image.name,
        "metadata": {METADATA_KEY: LayerLink(dataset, image, needs_limits=guessed), **image.metadata},
        "axis_labels": tuple(axis for axis in image.axes if axis != RGB_AXIS),
        "scale": _mended_scale(image),
        "translate": tuple(value if isfinite(value) else 0.0 for value in image.translate),
        "cache": False,
        "multiscale": len(levels) > 1,
    }
    units = _mended_units(image)
    if units is not None:
        keywords["units"] = units
    if image.kind == "image":
        keywords["rgb"] = image.rgb
        if not image.rgb:
            keywords["contrast_limits"] = _limits(image)
        if image.meta.colormap is not None and not image.rgb:
            keywords["colormap"] = _colormap(image)
    return (levels if len(levels) > 1 else levels[0]), keywords, image.kind


def _warn(message: str) -> None:
    warnings.warn(message, LazyLoadWarning, stacklevel=3)


def _usable(limits: Sequence[float] | None) -> bool:
    return limits is not None and all(map(isfinite, limits)) and limits[0] < limits[1]


def _limits(image: Image) -> tuple[float, float]:
    """Return the file's limits, or the range of the dtype: never a read."""
    limits = image.meta.contrast_limits
    if limits is not None and _usable(limits):
        return limits
    if limits is not None:
        _warn(f"{image.name}: contrast limits {limits} cannot be used; they are found from the first frame")
    if image.dtype.kind == "b":
        return (0.0, 1.0)
    if image.dtype.kind in "iu":
        info = np.iinfo(image.dtype)
        return float(info.min), float(info.max)
    return (0.0, 1.0)


def _mended_scale(image: Image) -> tuple[float, ...]:
    if all(isfinite(size) and size != 0 for size in image.scale):
        return image.scale
    mended = tuple(size if isfinite(size) and size != 0 else 1.0 for size in image.scale)
    _warn(f"{image.name}: scale {image.scale} cannot be shown; using {mended}")
    return mended


def _mended_units(image: Image) -> tuple[str, ...] | None:
    """Return units that napari takes: known ones, pixels where the file says nothing."""
    if not any(image.units):
        return None
    import pint  # noqa: PLC0415 - napari's own; only needed where a file has units

    registry = pint.get_application_registry()
    units = []
    for unit in image.units:
        try:
            units.append(str(registry.Unit(unit)) if unit else "pixel")
        except (pint.PintError, AttributeError, ValueError, TypeError, AssertionError):
            _warn(f"{image.name}: unit {unit!r} is not known; using pixels for all axes")
            return None
    return tuple(units)


def _colormap(image: Image) -> Any:
    """Return a name as it is, a palette of stored colours as napari takes it."""
    stored = image.meta.colormap
    if isinstance(stored, str):
        return stored
    colors = np.asarray(stored, float)
    return {"colors": colors, "interpolation": "zero", "name": f"{image.name} palette"}
