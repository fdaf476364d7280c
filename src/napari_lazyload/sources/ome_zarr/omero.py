"""Display settings: ``omero`` for images, ``image-label`` for labels; either may be incomplete."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.channel_colors import MOST_CHANNELS, default_color
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS, ChannelMeta
from napari_lazyload.sources.ome_zarr.tolerant import (
    as_dict,
    as_dicts,
    as_list,
    as_number,
    as_numbers,
    as_text,
    as_whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Color = tuple[float, float, float, float]


UNLISTED = (0.5, 0.5, 0.5, 1.0)
"""Color of a label that has none where others have one: visible, and unlike them."""

_CELLS = frozenset((str, int, float, bool, type(None)))
_HEX = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?)")


def channel_count(names: Sequence[str], shape: Sequence[int]) -> int:
    """Return the number of channels of an image that are a layer each.

    0 where no axis counts them, there are too many, or each layer would be a line.
    """
    if CHANNEL_AXIS not in names or len(names) - (names[-1] == RGB_AXIS) < 3:
        return 0
    count = shape[names.index(CHANNEL_AXIS)]
    return count if count <= MOST_CHANNELS else 0


def read_channels(omero: Any, count: int) -> tuple[ChannelMeta, ...]:
    """Return the display settings of each of `count` channels; gaps in ``omero`` are filled.

    Parameters
    ----------
    omero : Any
        As in the attributes, or nothing.
    count : int
        Channels of the image.
    """
    listed = as_list(as_dict(omero).get("channels"))[:count]
    listed += [{}] * (count - len(listed))
    channels = [_channel(as_dict(one), number, count) for number, one in enumerate(listed)]
    if not any(map(attrgetter("visible"), channels)):
        channels = [replace(channel, visible=True) for channel in channels]
    return tuple(channels)


def _channel(fields: Mapping[str, Any], number: int, count: int) -> ChannelMeta:
    name = (
        as_text(fields.get("label"))
        or as_text(fields.get("name"))
        or ("" if count == 1 else f"channel {number}")
    )
    return ChannelMeta(
        name,
        read_color(fields.get("color")) or default_color(number, count),
        read_window(fields.get("window")),
        fields.get("active") not in (False, "false"),
    )


def read_color(value: Any) -> str | None:
    """Return ``"#rrggbb"`` for hexadecimal digits, which may have a ``#`` and an alpha value."""
    match = _HEX.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    digits = match[1].lower()
    if len(digits) == 3:
        digits = re.sub("(.)", r"\1\1", digits)
    return f"#{digits[:6]}"


def read_window(value: Any) -> tuple[float, float] | None:
    """Return the gray values shown black and full; None where ``window`` lacks one of them."""
    window = as_dict(value)
    start, end = as_number(window.get("start")), as_number(window.get("end"))
    if start is None and end is not None:
        start = as_number(window.get("min"))
    if end is None and start is not None:
        end = as_number(window.get("max"))
    return None if start is None or end is None or start >= end else (start, end)


def labels_display(image_label: Any) -> dict[str, Any]:
    """Return the arguments of a labels layer for ``image-label``: colors and a table."""
    fields = as_dict(image_label)
    display: dict[str, Any] = {}
    colors = _label_colors(fields.get("colors"))
    if colors:
        display["colormap"] = {None: UNLISTED, 0: (0.0, 0.0, 0.0, 0.0), **colors}
    features = _features(fields.get("properties"))
    if features:
        display["features"] = features
    return display


def _label_colors(listed: Any) -> dict[int, Color]:
    colors: dict[int, Color] = {}
    for entry in as_dicts(listed):
        label, rgba = as_whole(entry.get("label-value")), as_numbers(entry.get("rgba")) or ()
        if label is not None and len(rgba) in (3, 4) and 0 <= min(rgba) <= max(rgba) <= 255:
            red, green, blue, alpha = [*rgba, 255][:4]
            colors[label] = (red / 255, green / 255, blue / 255, alpha / 255)
    return colors


def _features(listed: Any) -> dict[str, list[Any]]:
    """Return properties as columns; a labels layer finds the row of a label by ``index``."""
    rows = as_dicts(listed)
    labels = [row.get("label-value") for row in rows]
    if set(map(type, labels)) != {int}:
        labels = list(map(as_whole, labels))
        rows = [row for row, label in zip(rows, labels, strict=True) if label is not None]
    names = dict.fromkeys(chain.from_iterable(rows))  # in their order, on every machine
    features = {"index": [label for label in labels if label is not None]}
    for name in names:
        if name in ("label-value", "index"):
            continue
        values = [row.get(name) for row in rows]
        if not _CELLS.issuperset(map(type, values)):
            values = [value if type(value) in _CELLS else str(value) for value in values]
        features[name] = values
    return features if len(features) > 1 else {}
