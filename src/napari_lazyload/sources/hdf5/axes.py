"""Names, sizes and positions along the axes of a data set in HDF5, as the conventions of several fields have them.

Dimension labels and scales are read from the attributes that hold them: behind h5py's `dims`, HDF5
takes the type of these for granted, and ends Python where it is another.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.sources.binary.header_checks import default_axes
from napari_lazyload.sources.hdf5.source import UNREADABLE, attribute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PLACES = {"t": 0, "c": 1, "z": 2, "y": 3, "x": 4}
"""Axes of these names are shown in this order, after any others."""

_VELOX = re.compile(r"Data/Image/[0-9a-f]+/Data")
_MOST_VALUES = 1 << 20
_EVEN = 1e-3


@dataclass(frozen=True, slots=True)
class AxisScale:
    """What is known of one axis: its name, the step from pixel to pixel, the position of the first one, and a unit."""

    name: str
    step: float | None = None
    first: float = 0.0
    unit: str | None = None


def axis_labels(dataset: Any) -> tuple[str, ...]:
    """Return the dimension labels of a data set, "" for one that has none."""
    return tuple(map(_text, np.atleast_1d(attribute(dataset, "DIMENSION_LABELS", ()))))


def axis_scales(dataset: Any) -> tuple[AxisScale | None, ...]:
    """Return what a data set and its neighbours say of its axes.

    Read are dimension scales (netCDF, xarray), the vectors of Berkeley's EMD, the axes of NeXus,
    and the metadata of Thermo Fisher's Velox.
    """
    name, ndim = dataset.name.strip("/"), len(dataset.shape)
    if _VELOX.fullmatch(name) and ndim == 3:
        return _velox(dataset.parent)
    found: list[AxisScale | None] = []
    for number, size in enumerate(dataset.shape):
        scales = (_scale(thing, label, size) for thing, label in _vectors(dataset, name, number))
        try:
            found.append(next((one for one in scales if one is not None), None))
        except UNREADABLE:  # the image is fine without
            found.append(None)
    return tuple(found)


def _vectors(dataset: Any, name: str, number: int) -> Iterator[tuple[Any, str]]:
    """Yield the vectors that may describe an axis, and what the axis is called then."""
    for vector in _attached(dataset, number):
        yield vector, (vector.name or "").rsplit("/", 1)[-1]
    parent = dataset.parent
    if "emd_group_type" in parent.attrs:
        vector = parent.get(f"dim{number + 1}")
        if vector is not None:
            yield vector, _text(attribute(vector, "name"))
    axes = np.atleast_1d(attribute(parent, "axes", ()))
    if _text(attribute(parent, "signal")) == name.rsplit("/", 1)[-1] and number < len(axes):
        label = _text(axes[number])
        vector = parent.get(label) if label not in ("", ".") else None
        if vector is not None:
            yield vector, label


def _attached(dataset: Any, number: int) -> Iterator[Any]:
    """Yield the dimension scales that are attached to an axis."""
    from h5py import Reference

    lists = np.asarray(attribute(dataset, "DIMENSION_LIST"))
    for reference in np.atleast_1d(lists[number]) if lists.shape == (len(dataset.shape),) else ():
        if isinstance(reference, Reference):
            yield dataset.file[reference]


def _scale(vector: Any, name: str, size: int) -> AxisScale | None:
    """Return what a vector of positions says; no step where these are not evenly spaced."""
    shape = getattr(vector, "shape", None)
    if (
        shape not in ((size,), (2,)) or vector.dtype.kind not in "iuf"
    ):  # two positions stand for even steps
        return None
    unit = _text(attribute(vector, "units")).strip("[]").replace("_", "")
    unit_or_none = None if " " in unit else unit or None  # times since a date are no unit
    if not 2 <= shape[0] <= _MOST_VALUES:
        return AxisScale(name, unit=unit_or_none)
    values = vector[()].astype(float)
    if not np.isfinite(values).all():
        return AxisScale(name)
    step = float(values[-1] - values[0]) / (len(values) - 1)
    even = step > 0 and np.allclose(np.diff(values), step, rtol=_EVEN, atol=0)
    return AxisScale(name, step, float(values[0]), unit_or_none) if even else AxisScale(name)


def _velox(group: Any) -> tuple[AxisScale, ...]:
    """Return the axes of a series of pictures, whose frames come last, in nanometers where the file says so."""
    try:
        known = json.loads(group["Metadata"][:_MOST_VALUES, 0].tobytes().split(b"\0")[0])[
            "BinaryResult"
        ]
        high, wide = (float(known["PixelSize"][side]) * 1e9 for side in ("height", "width"))
        if known["PixelUnitX"] == known["PixelUnitY"] == "m" and min(high, wide) > 0:
            return (
                AxisScale("y", high, unit="nanometer"),
                AxisScale("x", wide, unit="nanometer"),
                AxisScale("t"),
            )
    except (KeyError, TypeError, ValueError, AttributeError, OSError):
        pass
    return AxisScale("y"), AxisScale("x"), AxisScale("t")


def _text(value: Any) -> str:
    """Return a text as it can be shown: h5py keeps bytes that are not UTF-8 in one as surrogates."""
    stored = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return stored.decode("utf-8", "replace") if isinstance(stored, bytes) else ""


def stored_axes(
    shape: Sequence[int],
    attributes: Mapping[str, Any],
    labels: Sequence[str],
    scales: Sequence[AxisScale | None],
) -> tuple[str, ...]:
    """Return the names of the axes of a data set, as they are stored."""
    ndim = len(shape)
    for names in (_axis_tags(attributes.get("axistags")), tuple(labels)):
        if len(names) == ndim and all(names) and len(set(names)) == ndim and RGB_AXIS not in names:
            return names
    usual = tuple("c" if axis == RGB_AXIS else axis for axis in default_axes(shape, np.dtype(bool)))
    if [one.name for one in scales if one is not None] == ["y", "x", "t"]:
        return "y", "x", "t"
    names = tuple("" if one is None else one.name.lower() for one in scales)
    # The names of positions are kept where the image stays as it is stored: some call the slowest
    # axis x.
    places = [PLACES.get(name, -1) for name in names]
    usable = len(names) == ndim and all(names) and len(set(names)) == ndim and RGB_AXIS not in names
    return names if usable and places == sorted(places) else usual


def _axis_tags(tags: Any) -> tuple[str, ...]:
    """Return the axes that ilastik's tags name."""
    try:
        return tuple(str(axis["key"]) for axis in json.loads(tags)["axes"])
    except (TypeError, ValueError, KeyError):
        return ()


def placed(
    axes: tuple[str, ...],
    order: Sequence[int],
    attributes: Mapping[str, Any],
    scales: Sequence[AxisScale | None],
) -> dict[str, Any]:
    """Return the placement of an image whose axes, in the order in which they are shown, are those of a data set."""
    sizes = np.atleast_1d(np.asarray(attributes.get("element_size_um", ())))
    spatial = [axis for axis in axes if axis in ("z", "y", "x")]
    if sizes.dtype.kind in "fiu" and 0 < len(spatial) <= sizes.size and (sizes > 0).all():
        known = dict(zip("xyz", map(float, sizes.ravel()[::-1]), strict=False))
        return {
            "scale": tuple(known.get(axis, 1.0) if axis in spatial else 1.0 for axis in axes),
            "units": tuple("micrometer" if axis in spatial else None for axis in axes),
        }
    shown = [scales[place] for place in order]
    if not any(one is not None and one.step is not None for one in shown):
        return {}
    return {
        "scale": tuple(1.0 if one is None or one.step is None else one.step for one in shown),
        "translate": tuple(0.0 if one is None else one.first for one in shown),
        "units": tuple(None if one is None or one.step is None else one.unit for one in shown),
    }
