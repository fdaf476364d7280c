"""How an image is shown: ``omero`` for images, ``image-label`` for labels; entries may be partial, odd or missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.channel_colors import MOST_CHANNELS, default_color
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS, ChannelMeta
from napari_lazyload.sources.ome_zarr.tolerant import as_dict, as_dicts, as_list, as_number, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Color = tuple[float, float, float, float]


UNLISTED = (0.5, 0.5, 0.5, 1.0)
"""Colour of a label that has none where others have one: seen, and told from them."""

_HEX = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?)")


def channel_count(names: Sequence[str], shape: Sequence[int]) -> int:
    """Return how many channels of an image are a layer each.

    0 where no axis counts them, there are too many, or what is left of the image would be a line.
    """
    if CHANNEL_AXIS not in names or len(names) - (names[-1] == RGB_AXIS) < 3:
        return 0
    count = shape[names.index(CHANNEL_AXIS)]
    return count if count <= MOST_CHANNELS else 0


def read_channels(omero: Any, count: int) -> tuple[ChannelMeta, ...]:
    """Return how each of `count` channels is shown; what ``omero`` does not say is filled in.

    Parameters
    ----------
    omero : Any
        As in the attributes, or nothing.
    count : int
        Channels of the image.
    """
    said = [as_dict(one) for one in as_list(as_dict(omero).get("channels"))][:count]
    found = [_channel(one, number, count) for number, one in enumerate(said)]
    found += [_channel({}, number, count) for number in range(len(said), count)]
    if not any(channel.visible for channel in found):
        found = [ChannelMeta(one.name, one.colormap, one.contrast_limits) for one in found]
    return tuple(found)


def _channel(said: Mapping[str, Any], number: int, count: int) -> ChannelMeta:
    plain = (
        "" if count == 1 else f"channel {number}"
    )  # an image of one channel needs no second name
    name = as_text(said.get("label")) or as_text(said.get("name")) or plain
    color = read_color(said.get("color")) or default_color(number, count)
    return ChannelMeta(
        name, color, read_window(said.get("window")), said.get("active") not in (False, "false")
    )


def read_color(said: Any) -> str | None:
    """Return ``"#rrggbb"`` for a colour as hexadecimal digits, with or without a sign before and an alpha after."""
    match = _HEX.fullmatch(said.strip()) if isinstance(said, str) else None
    if match is None:
        return None
    digits = match[1].lower()
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    return f"#{digits[:6]}"


def read_window(said: Any) -> tuple[float, float] | None:
    """Return the grey values shown black and full; None where ``window`` does not tell both."""
    window = as_dict(said)
    start, end = as_number(window.get("start")), as_number(window.get("end"))
    if start is None and end is not None:
        start = as_number(window.get("min"))
    if end is None and start is not None:
        end = as_number(window.get("max"))
    return None if start is None or end is None or start >= end else (start, end)


def labels_display(said: Any) -> dict[str, Any]:
    """Return the keyword arguments of a labels layer for ``image-label``: colours and a table of properties."""
    about = as_dict(said)
    display: dict[str, Any] = {}
    colors = _label_colors(about.get("colors"))
    if colors:
        display["colormap"] = {None: UNLISTED, 0: (0.0, 0.0, 0.0, 0.0), **colors}
    features = _features(about.get("properties"))
    if features:
        display["features"] = features
    return display


def _label_colors(said: Any) -> dict[int, Color]:
    found: dict[int, Color] = {}
    for one in as_dicts(said):
        value, rgba = (
            as_number(one.get("label-value")),
            [as_number(part) for part in as_list(one.get("rgba"))],
        )
        parts = [part / 255 for part in rgba if part is not None and 0 <= part <= 255]
        if value is not None and value == int(value) and len(parts) == len(rgba) in (3, 4):
            red, green, blue, alpha = [*parts, 1.0][:4]
            found[int(value)] = (red, green, blue, alpha)
    return found


def _features(said: Any) -> dict[str, list[Any]]:
    """Return properties as columns, with the label in ``index``, by which a labels layer finds the row."""
    rows = [one for one in as_dicts(said) if as_number(one.get("label-value")) is not None]
    names = dict.fromkeys(
        name for row in rows for name in row if name not in ("label-value", "index")
    )
    if not rows or not names:
        return {}
    columns = {name: [_cell(row.get(name)) for row in rows] for name in names}
    return {"index": [int(float(row["label-value"])) for row in rows], **columns}


def _cell(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
