"""Names, sizes and positions along the axes of an HDF5 data set, by the rules of several fields.

Dimension labels and scales are read from the attributes that hold them: behind h5py's `dims`, HDF5
takes the type of these for granted, and ends Python where it is another.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.sources.binary.header_checks import default_axes
from napari_lazyload.sources.hdf5.other_files import find_inside
from napari_lazyload.sources.hdf5.source import UNREADABLE, attribute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PLACES = {"t": 0, "c": 1, "z": 2, "y": 3, "x": 4, "s": 5}
"""Axes of these names are shown in this order, after any others."""

_INTERLACED = {
    "INTERLACE_PIXEL": ("y", "x", "s"),
    "INTERLACE_LINE": ("y", "s", "x"),
    "INTERLACE_PLANE": ("s", "y", "x"),
}
_VELOX = re.compile(r"Data/Image/[0-9a-f]+/Data")
_MOST_VALUES = 1 << 20
_EVEN = 1e-3


@dataclass(frozen=True, slots=True)
class AxisScale:
    """One axis: its name, the step between pixels (None: unknown), the first position, the unit."""

    name: str
    step: float | None = None
    first: float = 0.0
    unit: str | None = None


UNDESCRIBED = AxisScale("")
"""An axis that nothing describes."""


def place_of(axis: str) -> int:
    """Return the place of an axis in the order in which axes are shown."""
    return _PLACES.get(axis, -1)


def axis_labels(dataset: Any) -> tuple[str, ...]:
    """Return the dimension labels of a data set, "" for one that has none."""
    return tuple(map(_text, np.atleast_1d(attribute(dataset, "DIMENSION_LABELS", ()))))


def axis_scales(dataset: Any) -> tuple[AxisScale, ...]:
    """Return what a data set and its neighbors say of its axes.

    Read are dimension scales (netCDF, xarray), the vectors of Berkeley's EMD, the axes of NeXus,
    and the metadata of Thermo Fisher's Velox.
    """
    name, ndim = dataset.name.strip("/"), len(dataset.shape)
    if _VELOX.fullmatch(name) and ndim == 3:
        return _velox(dataset.parent)
    found = []
    for number, size in enumerate(dataset.shape):
        scale = None
        with suppress(*UNREADABLE):  # the image is fine without
            for vector, label in _vectors(dataset, name, number):
                scale = scale or _scale(vector, label, size)
        found.append(scale or UNDESCRIBED)
    return tuple(found)


def _vectors(dataset: Any, name: str, number: int) -> Iterator[tuple[Any, str]]:
    """Yield the vectors that may describe an axis, and what the axis is called then."""
    for vector in _attached(dataset, number):
        yield vector, (vector.name or "").rsplit("/", 1)[-1]
    parent = dataset.parent
    if "emd_group_type" in parent.attrs:
        vector = find_inside(parent, f"dim{number + 1}")
        if vector is not None:
            yield vector, _text(attribute(vector, "name"))
    axes = np.atleast_1d(attribute(parent, "axes", ()))
    if _text(attribute(parent, "signal")) == name.rsplit("/", 1)[-1] and number < len(axes):
        label = _text(axes[number])
        if label not in ("", ".") and (vector := find_inside(parent, label)) is not None:
            yield vector, label


def _attached(dataset: Any, number: int) -> Iterator[Any]:
    """Yield the dimension scales that are attached to an axis."""
    from h5py import Reference

    lists = np.asarray(attribute(dataset, "DIMENSION_LIST"))
    if lists.shape != (len(dataset.shape),):
        return
    for reference in np.atleast_1d(lists[number]):
        if isinstance(reference, Reference):
            yield dataset.file[reference]


def _scale(vector: Any, name: str, size: int) -> AxisScale | None:
    """Return the scale that a vector of positions gives; no step where they are uneven."""
    shape = getattr(vector, "shape", None)
    # Two positions stand for even steps.
    if shape not in ((size,), (2,)) or vector.dtype.kind not in "iuf":
        return None
    if vector.is_virtual or vector.external:  # it could show any file of the user
        return AxisScale(name)
    unit: str | None = _text(attribute(vector, "units")).strip("[]").replace("_", "")
    if not unit or " " in unit:  # times since a date are no unit
        unit = None
    if not 2 <= shape[0] <= _MOST_VALUES:
        return AxisScale(name)
    values = vector[()].astype(float)
    if not np.isfinite(values).all():
        return AxisScale(name)
    step = float(values[-1] - values[0]) / (len(values) - 1)
    if step > 0 and np.allclose(np.diff(values), step, rtol=_EVEN, atol=0):
        return AxisScale(name, step, float(values[0]), unit)
    return AxisScale(name)


def _velox(group: Any) -> tuple[AxisScale, ...]:
    """Return the axes of a series of images, whose frames come last; sizes are in nanometers.

    What the microscope tells of the series stands in JSON of the first frame.
    """
    y, x, t = AxisScale("y"), AxisScale("x"), AxisScale("t")
    wrong = (KeyError, TypeError, ValueError, AttributeError, OSError)
    known: Any = {}
    with suppress(*wrong):
        metadata = find_inside(group, "Metadata")
        text = metadata[:_MOST_VALUES, 0].tobytes().split(b"\0")[0]
        known = json.loads(text)
    with suppress(*wrong):
        result = known["BinaryResult"]
        high, wide = (float(result["PixelSize"][side]) * 1e9 for side in ("height", "width"))
        if result["PixelUnitX"] == result["PixelUnitY"] == "m" and min(high, wide) > 0:
            y = AxisScale("y", high, unit="nanometer")
            x = AxisScale("x", wide, unit="nanometer")
    with suppress(*wrong):
        seconds = float(known["Scan"]["FrameTime"])
        if 0 < seconds < np.inf:
            t = AxisScale("t", seconds, unit="second")
    return y, x, t


def _text(value: Any) -> str:
    """Return a text without the surrogates that stand for bytes which are not UTF-8."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def stored_axes(
    shape: Sequence[int],
    attributes: Mapping[str, Any],
    labels: Sequence[str],
    scales: Sequence[AxisScale],
    dtype: np.dtype[Any],
) -> tuple[str, ...]:
    """Return the names of the axes of a data set, as they are stored."""
    colors = _color_axes(shape, attributes)
    if colors:
        return colors
    for names in map(_plain_letters, (_axis_tags(attributes.get("axistags")), tuple(labels))):
        if _are_usable(names, len(shape)):
            return names
    names = tuple(scale.name for scale in scales if scale.name)
    if names == ("y", "x", "t"):
        return names
    names = tuple(map(str.lower, names))
    # The names of positions are kept where the image stays as it is stored: some call the slowest
    # axis x.
    if _are_usable(names, len(shape)) and list(names) == sorted(names, key=place_of):
        return names
    return default_axes(shape, dtype)


def _plain_letters(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of axes, small where all are the usual letters: some write capitals."""
    small = tuple(map(str.lower, names))
    return small if _PLACES.keys() >= set(small) else names


def _color_axes(shape: Sequence[int], attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the axes of a color image of the HDF5 Image and Palette Specification, else none."""
    if _text(attributes.get("IMAGE_SUBCLASS")).strip("\0") != "IMAGE_TRUECOLOR":
        return ()
    names = _INTERLACED.get(_text(attributes.get("INTERLACE_MODE")).strip("\0"), ())
    fits = len(names) == len(shape) and shape[names.index(RGB_AXIS)] in (3, 4)
    return names if fits else ()


def _are_usable(names: tuple[str, ...], ndim: int) -> bool:
    """Whether there is a different name for each axis, none of them that of colors."""
    return len(names) == ndim == len(set(names)) and all(names) and RGB_AXIS not in names


def _axis_tags(tags: Any) -> tuple[str, ...]:
    """Return the names of axes in the tags of ilastik."""
    try:
        return tuple(str(axis["key"]) for axis in json.loads(tags)["axes"])
    except (TypeError, ValueError, KeyError):
        return ()


def placement_of(
    axes: tuple[str, ...],
    order: Sequence[int],
    attributes: Mapping[str, Any],
    scales: Sequence[AxisScale],
) -> dict[str, Any]:
    """Return scale, translation and units of an image.

    Parameters
    ----------
    axes : tuple of str
        Names, in the order in which they are shown.
    order : sequence of int
        Which axis of the data set each of them is.
    attributes : mapping
        Of the data set.
    scales : sequence of AxisScale
        Of the axes of the data set.
    """
    sizes = np.atleast_1d(np.asarray(attributes.get("element_size_um", ())))
    count = sum(axis in ("z", "y", "x") for axis in axes)
    if sizes.dtype.kind in "fiu" and 0 < count <= sizes.size and (sizes > 0).all():
        known = dict(zip("xyz", map(float, sizes.ravel()[::-1]), strict=False))
        micrometers = dict.fromkeys("xyz", "micrometer")
        scale = tuple(known.get(axis, 1.0) for axis in axes)
        return {"scale": scale, "units": tuple(map(micrometers.get, axes))}
    shown = itemgetter(*order)(scales)
    steps = [axis.step for axis in shown]
    if not any(steps):
        return {}
    return {
        "scale": tuple(step or 1.0 for step in steps),
        "translate": tuple(axis.first for axis in shown),
        "units": tuple(axis.unit for axis in shown),
    }
