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
    from napari_lazyload.exporting.axes import Role
    from napari_lazyload.exporting.selection import DisplaySettings, ExportSelection

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
class World:
    """Where the finest level lies, for each axis that is written.

    Parameters
    ----------
    scale, translate : tuple of float
        Size of a pixel, and position of the centre of the first one.
    affine : numpy.ndarray or None
        The whole matrix where those two do not say it.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    affine: Array | None = None


def pixel_to_world(selection: ExportSelection, order: Sequence[int]) -> World:
    """Return where a cut lies; `order` names its axes in the order in which they are written."""
    count = len(selection.matrix) - 1
    exact = is_diagonal(selection.matrix, selection.shape[:count])
    if exact:
        sizes = np.diag(selection.matrix)[:-1]
    else:
        sizes = np.linalg.norm(selection.matrix[:-1, :-1], axis=0)
        sizes = np.where(np.isfinite(sizes) & (sizes > 0), sizes, 1.0)
    starts = np.where(np.isfinite(selection.matrix[:-1, -1]), selection.matrix[:-1, -1], 0.0)
    scale = tuple(float(sizes[axis]) if axis < count else 1.0 for axis in order)
    translate = tuple(float(starts[axis]) if axis < count else 0.0 for axis in order)
    if exact:
        return World(scale, translate)
    whole = np.eye(len(order) + 1)
    placed = [(row, axis) for row, axis in enumerate(order) if axis < count]
    for row, axis in placed:
        whole[row, -1] = selection.matrix[axis, -1]
        for column, other in placed:
            whole[row, column] = selection.matrix[axis, other]
    return World(scale, translate, whole)


class ValueRange:
    """The least and the greatest value of each channel, seen while pixels are written. Any thread.

    Parameters
    ----------
    shape : tuple of int
        Of what is written.
    channel : int or None
        Which axis channels lie along.
    """

    def __init__(self, shape: tuple[int, ...], channel: int | None) -> None:
        self._axis = channel
        count = 1 if channel is None else shape[channel]
        self._low: list[float | None] = [None] * count
        self._high: list[float | None] = [None] * count
        self._lock = threading.Lock()

    def update(self, pixels: Array, box: Box) -> None:
        """Take note of the pixels of a box."""
        if pixels.dtype.kind == "c":
            return
        first, parts = 0, [pixels]
        if self._axis is not None:
            first, axis = box[self._axis][0], self._axis
            parts = list(np.moveaxis(pixels, axis, 0))
        for number, part in enumerate(parts, first):
            found = finite_range(part)
            if found is not None:
                low, high = found
                with self._lock:
                    known = self._low[number], self._high[number]
                    self._low[number] = low if known[0] is None else min(low, known[0])
                    self._high[number] = high if known[1] is None else max(high, known[1])

    def of(self, number: int) -> tuple[float, float]:
        """Return what was seen of a channel; 0 and 1 where there was no number."""
        low, high = self._low[number], self._high[number]
        return (0.0, 1.0) if low is None or high is None else (low, high)


def attributes(
    selection: ExportSelection,
    order: Sequence[int],
    kinds: Sequence[Role],
    factors: Sequence[Sequence[int]],
    extremes: ValueRange,
) -> dict[str, Any]:
    """Return the attributes of the group."""
    world = pixel_to_world(selection, order)
    multiscale: dict[str, Any] = {
        "name": selection.display.name or "image",
        "axes": axes_of(selection, order, kinds),
        "datasets": _datasets(world, factors),
    }
    if factors:
        method = (
            "nearest"
            if selection.display.kind == "labels" or selection.dtype.kind == "b"
            else "mean"
        )
        about = "first pixel" if method == "nearest" else "mean"
        multiscale["type"] = method
        multiscale["metadata"] = {
            "description": f"each pixel is the {about} of the block of 2 pixels along each halved axis that it covers "
            "in the level before",
            "factors": [list(one) for one in factors],
        }
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [multiscale]}
    if selection.display.kind == "labels":
        ome["image-label"] = _image_label(selection.display)
    elif selection.dtype.kind != "c":
        ome["omero"] = {"channels": _channels(selection, order, kinds, extremes)}
    made: dict[str, Any] = {"ome": ome}
    if world.affine is not None:
        made["napari_lazyload"] = {"affine": _finite(world.affine)}
    return made


def _finite(matrix: Array) -> list[list[float | None]]:
    return [[value if isfinite(value) else None for value in row] for row in matrix.tolist()]


def axes_of(
    selection: ExportSelection, order: Sequence[int], kinds: Sequence[Role]
) -> list[dict[str, Any]]:
    """Return name, type and unit of each axis that is written."""
    return [_axis(selection, axis, kind) for axis, kind in zip(order, kinds, strict=True)]


def _axis(selection: ExportSelection, axis: int, kind: Role) -> dict[str, Any]:
    if kind == "color":
        return {"name": "c", "type": "channel"}
    said: dict[str, Any] = {"name": selection.axes[axis]}
    if kind != "other":
        said["type"] = kind
    unit = unit_name(selection.units[axis])
    return said | ({"unit": unit} if unit and kind != "channel" else {})


def _datasets(world: World, factors: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return each level with its place: a pixel lies in the middle of those of the finest level that it covers."""
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
        _channel(one, number, extremes.of(number), selection.dtype)
        for number, one in enumerate(known[:count])
    ]


def _channel(
    channel: ChannelMeta, number: int, seen: tuple[float, float], dtype: np.dtype[Any]
) -> dict[str, Any]:
    limits = channel.contrast_limits
    start, end = (
        limits
        if limits is not None and all(map(isfinite, limits)) and limits[0] < limits[1]
        else seen
    )
    low, high = min(seen[0], start), max(seen[1], end)
    if start == end:
        high = end = start + 1
    whole = dtype.kind in "biu" and all(value == int(value) for value in (low, high, start, end))
    numbers = [int(value) if whole else value for value in (low, high, start, end)]
    return {
        "label": channel.name or f"channel {number}",
        "color": _color(channel.colormap),
        "window": dict(zip(("min", "max", "start", "end"), numbers, strict=True)),
        "active": channel.visible,
    }


def _color(colormap: Any) -> str:
    """Return the colour of the brightest pixels, as hexadecimal digits; white where there is no single one."""
    name = colormap if isinstance(colormap, str) else getattr(colormap, "name", "")
    found = _HEX.fullmatch(str(name))
    if found:
        return found[1].upper()
    if str(name).lower() in _COLORS:
        return _COLORS[str(name).lower()]
    colors = np.asarray(getattr(colormap, "colors", ()), float)
    # From black to one colour is what the format can say; other maps, such as viridis, it cannot.
    if colors.ndim == 2 and len(colors) == 2 and not colors[0, :3].any():
        return "".join(f"{round(255 * part):02X}" for part in np.clip(colors[1, :3], 0, 1))
    return "FFFFFF"


def _image_label(display: DisplaySettings) -> dict[str, Any]:
    """Return the colours and properties of labels."""
    said: dict[str, Any] = {"version": "0.5"}
    colors = display.colormap if hasattr(display.colormap, "items") else {}
    listed = [
        {
            "label-value": int(label),
            "rgba": [round(255 * float(part)) for part in [*color, 1.0][:4]],
        }
        for label, color in colors.items()
        if label is not None and int(label) != 0
    ]
    if listed:
        said["colors"] = listed
    rows = _rows(display.features)
    if rows:
        said["properties"] = rows
    return said


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
