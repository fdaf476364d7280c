"""The metadata of OME-Zarr 0.5: axes, where each level lies, channels and labels.

Source of the format: https://ngff.openmicroscopy.org/0.5.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.finite_range import finite_range
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.exporting.axes import is_diagonal, unit_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.cropping.target import DisplaySettings
    from napari_lazyload.exporting.axes import Role
    from napari_lazyload.exporting.selection import ExportSelection

    Array = np.ndarray[Any, Any]

_COLORS = {
    "red": "FF0000",
    "green": "00FF00",
    "blue": "0000FF",
    "cyan": "00FFFF",
    "magenta": "FF00FF",
}
_COLORS |= {"yellow": "FFFF00", "gray": "FFFFFF", "grey": "FFFFFF", "white": "FFFFFF"}
_SAMPLES = (("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF"), ("Alpha", "FFFFFF"))
_HEX = re.compile(r"#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?")


@dataclass(frozen=True, slots=True)
class WorldPosition:
    """Where the finest level lies, for each axis that is written.

    Parameters
    ----------
    scale, translate : tuple of float
        Size of a pixel, and position of the center of the first one.
    affine : numpy.ndarray or None
        The whole matrix where those two do not say it.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    affine: Array | None = None


def world_position(selection: ExportSelection, order: Sequence[int]) -> WorldPosition:
    """Return where a selection lies; `order` are its axes as they are written."""
    matrix, count = selection.matrix, len(selection.matrix) - 1
    exact = is_diagonal(matrix, selection.shape[:count])
    sizes = np.diag(matrix)[:-1]
    if not exact:
        sizes = np.linalg.norm(matrix[:-1, :-1], axis=0)
        sizes = np.where(np.isfinite(sizes) & (sizes > 0), sizes, 1.0)
    starts = np.where(np.isfinite(matrix[:-1, -1]), matrix[:-1, -1], 0.0)
    # The color axis, the last one of a selection, has no place in the world.
    axes = list(order)
    scale = tuple(np.append(sizes, 1.0)[axes].tolist())
    translate = tuple(np.append(starts, 0.0)[axes].tolist())
    if exact:
        return WorldPosition(scale, translate)
    whole = np.eye(len(order) + 1)
    rows = np.flatnonzero(np.less(axes, count))
    here, there = np.append(rows, -1), np.append(np.take(axes, rows), -1)
    whole[np.ix_(here, here)] = matrix[np.ix_(there, there)]
    return WorldPosition(scale, translate, whole)


class ValueRange:
    """The least and the greatest value of each channel, seen while pixels are written. Any thread.

    Parameters
    ----------
    channel : int or None
        Which axis channels lie along.
    """

    def __init__(self, channel: int | None) -> None:
        self._axis = channel
        self._ranges: dict[int, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def update(self, pixels: Array, box: Box) -> None:
        """Take the pixels of a box in."""
        if pixels.dtype.kind == "c":
            return
        first, parts = 0, [pixels]
        if self._axis is not None:
            first = box[self._axis][0]
            parts = list(np.moveaxis(pixels, self._axis, 0))
        for number, part in enumerate(parts, first):
            found = finite_range(part)
            if found is not None:
                with self._lock:
                    low, high = self._ranges.get(number, found)
                    self._ranges[number] = min(low, found[0]), max(high, found[1])

    def of(self, number: int) -> tuple[float, float]:
        """Return the range of a channel; 0 and 1 where there was no number."""
        return self._ranges.get(number, (0.0, 1.0))


def attributes(
    selection: ExportSelection,
    order: Sequence[int],
    kinds: Sequence[Role],
    factors: Sequence[Sequence[int]],
    extremes: ValueRange,
) -> dict[str, Any]:
    """Return the attributes of the group."""
    world = world_position(selection, order)
    multiscale: dict[str, Any] = {
        "name": selection.display.name or "image",
        "axes": axes_of(selection, order, kinds),
        "datasets": _datasets(world, factors),
    }
    if factors:
        method = value = "mean"
        if selection.display.kind == "labels" or selection.dtype.kind == "b":
            method, value = "nearest", "first pixel"
        multiscale["type"] = method
        multiscale["metadata"] = {
            "description": f"each pixel is the {value} of the block of 2 pixels along each halved "
            "axis that it covers in the level before",
            "factors": list(map(list, factors)),
        }
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [multiscale]}
    if selection.display.kind == "labels":
        ome["image-label"] = _image_label(selection.display)
    elif selection.dtype.kind != "c":
        ome["omero"] = {"channels": _channels(selection, order, kinds, extremes)}
    made: dict[str, Any] = {"ome": ome}
    if world.affine is not None:
        finite = world.affine.astype(object)  # JSON has no infinity
        finite[~np.isfinite(world.affine)] = None
        made["napari_lazyload"] = {"affine": finite.tolist()}
    return made


def axes_of(
    selection: ExportSelection, order: Sequence[int], kinds: Sequence[Role]
) -> list[dict[str, Any]]:
    """Return name, type and unit of each axis that is written."""
    return [_axis(selection, axis, kind) for axis, kind in zip(order, kinds, strict=True)]


def _axis(selection: ExportSelection, axis: int, kind: Role) -> dict[str, Any]:
    if kind == "color":
        return {"name": "c", "type": "channel"}
    fields: dict[str, Any] = {"name": selection.axes[axis]}
    if kind != "other":
        fields["type"] = kind
    unit = unit_name(selection.units[axis])
    if unit and kind != "channel":
        fields["unit"] = unit
    return fields


def _datasets(world: WorldPosition, factors: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return each level with its place: each pixel lies amid those that it covers."""
    spans = np.ones(len(world.scale))
    found = []
    for number, step in enumerate([spans, *map(np.asarray, factors)]):
        spans = spans * step
        scale = np.asarray(world.scale) * spans
        translation = np.asarray(world.translate) + (spans - 1) / 2 * np.asarray(world.scale)
        found.append(
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": scale.tolist()},
                    {"type": "translation", "translation": translation.tolist()},
                ],
            }
        )
    return found


def _channels(
    selection: ExportSelection, order: Sequence[int], kinds: Sequence[Role], extremes: ValueRange
) -> list[dict[str, Any]]:
    if "color" in kinds:
        count = selection.shape[order[kinds.index("color")]]
        high = float(np.iinfo(selection.dtype).max) if selection.dtype.kind in "iu" else 1.0
        window = {"min": 0.0, "max": high, "start": 0.0, "end": high}
        return [
            {"label": name, "color": color, "window": window, "active": name != "Alpha"}
            for name, color in _SAMPLES[:count]
        ]
    count = selection.shape[order[kinds.index("channel")]] if "channel" in kinds else 1
    known = selection.display.channels
    if len(known) != count:
        plain = ChannelMeta("", selection.display.colormap, selection.display.contrast_limits)
        known = known if len(known) == 1 else (plain,) * count
    return [
        _channel(channel, number, extremes.of(number), selection.dtype)
        for number, channel in enumerate(known[:count])
    ]


def _channel(
    channel: ChannelMeta, number: int, seen: tuple[float, float], dtype: np.dtype[Any]
) -> dict[str, Any]:
    start, end = channel.contrast_limits or seen
    if not (isfinite(start) and isfinite(end) and start < end):
        start, end = seen
    low, high = min(seen[0], start), max(seen[1], end)
    if start == end:
        high = end = start + 1
    numbers = [low, high, start, end]
    if dtype.kind in "biu" and all(map(float.is_integer, map(float, numbers))):
        numbers = list(map(int, numbers))
    return {
        "label": channel.name or f"channel {number}",
        "color": _color(channel.colormap),
        "window": dict(zip(("min", "max", "start", "end"), numbers, strict=True)),
        "active": channel.visible,
    }


def _color(colormap: Any) -> str:
    """Return the color of the brightest pixels as hexadecimal digits, white where it is not one."""
    name = str(colormap if isinstance(colormap, str) else getattr(colormap, "name", ""))
    found = _HEX.fullmatch(name)
    if found:
        return found[1].upper()
    if name.lower() in _COLORS:
        return _COLORS[name.lower()]
    colors = np.asarray(getattr(colormap, "colors", ()), float)
    # The format can say "from black to one color", and no other map, such as viridis.
    if colors.ndim == 2 and len(colors) == 2 and not colors[0, :3].any():
        return "".join(f"{round(255 * part):02X}" for part in np.clip(colors[1, :3], 0, 1))
    return "FFFFFF"


def _image_label(display: DisplaySettings) -> dict[str, Any]:
    """Return the colors and properties of labels."""
    fields: dict[str, Any] = {"version": "0.5"}
    colors = []
    for label, color in getattr(display.colormap, "items", tuple)():
        if label is not None and int(label) != 0:
            rgba = [round(255 * float(part)) for part in [*color, 1.0][:4]]
            colors.append({"label-value": int(label), "rgba": rgba})
    if colors:
        fields["colors"] = colors
    rows = _rows(display.features)
    if rows:
        fields["properties"] = rows
    return fields


def _rows(features: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    if "index" not in features:
        return []
    names = [name for name in features if name != "index"]
    rows = []
    for row, label in enumerate(features["index"]):
        cells = {name: _plain(features[name][row]) for name in names}
        rows.append({"label-value": int(label), **cells})
    return rows


def _plain(value: Any) -> Any:
    """Return a value that JSON has."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
