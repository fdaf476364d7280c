"""ImageJ's description of a stack: distances of its planes, and how it was shown when saved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.channel_colors import MOST_CHANNELS, default_color
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.core.units import in_unit, length_unit, time_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RESOLUTION_UNITS = {2: "inch", 3: "centimeter"}
_SCREEN = 72.0
"""Dots per inch that ImageJ takes for no calibration."""
_COLORED = ("composite", "color")


def imagej_metadata(
    fields: Mapping[str, Any], axes: Sequence[str], shape: Sequence[int]
) -> dict[str, Any]:
    """Return what ImageJ says of an image.

    Parameters
    ----------
    fields : Mapping
        Its description and tags, as tifffile gives them.
    axes : sequence of str
        Of the image.
    shape : sequence of int
        Of the image.

    Returns
    -------
    dict
        ``axis_scale``, ``axis_units``, ``contrast_limits`` and ``channels``, as far as known.
    """
    found: dict[str, Any] = {}
    steps = {"z": _step(fields.get("spacing")), "t": _step(fields.get("finterval"))}
    known = {name: step for name, step in steps.items() if step and name in axes}
    units: dict[str, str | None] = {}
    if "z" in known and "zunit" in fields:
        known["z"], units["z"] = _in_unit_of_x(known["z"], fields, "zunit")
    if "t" in known:
        units["t"] = time_unit(str(fields.get("tunit", "s"))) or "second"
    if known:
        found["axis_scale"] = known
    if units:
        found["axis_units"] = units
    count = shape[axes.index("c")] if "c" in axes else 1
    if count == 1:
        return {**found, **imagej_limits(fields)}
    channels = _channels(fields, count)
    return {**found, "channels": channels} if channels else found


def imagej_scale(
    per_unit: tuple[float, float], resolution_unit: int, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the size of a pixel as ImageJ shows it, and its unit where it is one of length.

    A unit that is none ("pixel", "a.u.") changes no size: depth and width stay in proportion.

    Parameters
    ----------
    per_unit : (float, float)
        Resolution along y and x, 0 where the file has none.
    resolution_unit : int
        TIFF's number of the unit, which counts where the description has none.
    fields : Mapping
        The description.

    Returns
    -------
    dict
        ``scale`` (y, x), ``unit`` and ``axis_units``, as far as known.
    """
    if min(per_unit) <= 0:
        return {}
    y, x = 1 / per_unit[0], 1 / per_unit[1]
    unit = length_unit(str(fields.get("unit") or ""))
    if "unit" not in fields and resolution_unit in _RESOLUTION_UNITS:
        unit = _RESOLUTION_UNITS[resolution_unit]
        if unit == "inch" and per_unit[1] == _SCREEN:
            return {}
    found: dict[str, Any] = {}
    if "yunit" in fields:
        y, y_unit = _in_unit_of_x(y, fields, "yunit")
        if y_unit != unit:
            found["axis_units"] = {"y": y_unit}
    if unit is not None:
        found["unit"] = unit
    return {"scale": (y, x), **found}


def _in_unit_of_x(size: float, fields: Mapping[str, Any], name: str) -> tuple[float, str | None]:
    """Return a size along another axis in the unit of x where both are lengths, and its unit."""
    unit, own = (length_unit(str(fields.get(key) or "")) for key in ("unit", name))
    if unit and own:
        return in_unit(size, own, unit), unit
    return size, own


def imagej_limits(fields: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the values shown black and white, where they are the file's and not calibrated."""
    try:
        low, high = float(fields["min"]), float(fields["max"])
    except (KeyError, TypeError, ValueError):
        return {}
    calibrated = "cf" in fields or "c0" in fields
    usable = math.isfinite(low) and math.isfinite(high) and low < high and not calibrated
    return {"contrast_limits": (low, high)} if usable else {}


def _step(value: Any) -> float:
    """Return a distance, 0 for what is none; ImageJ writes a negative one of reversed planes."""
    try:
        step = abs(float(str(value).replace(",", ".")))
    except ValueError:
        return 0.0
    return step if math.isfinite(step) else 0.0


def _channels(fields: Mapping[str, Any], count: int) -> tuple[ChannelMeta, ...]:
    """Return how channels are shown, where ImageJ showed them in colors."""
    if fields.get("mode") not in _COLORED or count > MOST_CHANNELS:
        return ()
    tables, ranges = fields.get("LUTs") or (), fields.get("Ranges") or ()
    channels = []
    for number in range(count):
        color, limits = default_color(number, count), None
        if len(tables) == count and np.shape(tables[number]) == (3, 256):
            color = _color(np.asarray(tables[number]))
        if len(ranges) == 2 * count:
            low, high = map(float, ranges[2 * number : 2 * number + 2])
            if math.isfinite(low) and math.isfinite(high) and low < high:
                limits = (low, high)
        channels.append(ChannelMeta(f"channel {number}", color, limits))
    return tuple(channels)


def _color(table: np.ndarray[Any, Any]) -> Any:
    """Return the color at the end of a table that is a ramp from black to it, else all of it."""
    ramp = np.round(np.outer(table[:, -1], np.arange(256) / 255))
    if np.abs(ramp - table).max() <= 1:
        return "#" + bytes(table[:, -1].astype(np.uint8)).hex()
    return table.T / 255
