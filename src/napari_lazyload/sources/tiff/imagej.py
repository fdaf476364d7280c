"""ImageJ's description of a stack: distances of its planes, and how it was shown when it was saved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.channel_colors import MOST_CHANNELS, default_color
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.core.units import time_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLORED = ("composite", "color")


def imagej_metadata(
    said: Mapping[str, Any], axes: Sequence[str], shape: Sequence[int]
) -> dict[str, Any]:
    """Return what ImageJ says of an image.

    Parameters
    ----------
    said : Mapping
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
    steps = {"z": _step(said.get("spacing")), "t": _step(said.get("finterval"))}
    known = {name: step for name, step in steps.items() if step and name in axes}
    if known:
        found["axis_scale"] = known
    if "t" in known:
        found["axis_units"] = {"t": time_unit(str(said.get("tunit", "s"))) or "second"}
    count = shape[axes.index("c")] if "c" in axes else 1
    if count == 1:
        return {**found, **imagej_limits(said)}
    channels = _channels(said, count)
    return {**found, "channels": channels} if channels else found


def imagej_limits(said: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the grey values shown black and white, where they are those of the file and not calibrated ones."""
    try:
        low, high = float(said["min"]), float(said["max"])
    except (KeyError, TypeError, ValueError):
        return {}
    usable = (
        math.isfinite(low)
        and math.isfinite(high)
        and low < high
        and "cf" not in said
        and "c0" not in said
    )
    return {"contrast_limits": (low, high)} if usable else {}


def _step(value: Any) -> float:
    return (
        float(value)
        if isinstance(value, (int, float)) and math.isfinite(value) and value > 0
        else 0.0
    )


def _channels(said: Mapping[str, Any], count: int) -> tuple[ChannelMeta, ...]:
    """Return how channels are shown, where ImageJ showed them in colours."""
    if said.get("mode") not in _COLORED or count > MOST_CHANNELS:
        return ()
    tables, ranges = said.get("LUTs") or (), said.get("Ranges") or ()
    channels = []
    for number in range(count):
        table = np.asarray(tables[number]) if len(tables) == count else np.empty(0)
        color = _color(table) if table.shape == (3, 256) else default_color(number, count)
        limits = (
            tuple(map(float, ranges[2 * number : 2 * number + 2]))
            if len(ranges) == 2 * count
            else ()
        )
        usable = len(limits) == 2 and all(map(math.isfinite, limits)) and limits[0] < limits[1]
        channels.append(
            ChannelMeta(f"channel {number}", color, (limits[0], limits[1]) if usable else None)
        )
    return tuple(channels)


def _color(table: np.ndarray[Any, Any]) -> Any:
    """Return the colour at the end of a table that is a ramp from black to it, or the colours of any other."""
    ramp = np.round(np.outer(table[:, -1], np.arange(256) / 255))
    if np.abs(ramp - table).max() <= 1:
        return "#" + bytes(table[:, -1].astype(np.uint8)).hex()
    return table.T / 255
