"""What an Imaris file says of its image beside the pixels: channels, times, the box, the header.

Source: Bitplane, Imaris 5.5 file format description. Every value is an attribute of single
characters.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.channel_colors import MOST_CHANNELS, default_color
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.core.units import length_unit
from napari_lazyload.sources.hdf5.other_files import find_inside
from napari_lazyload.sources.hdf5.source import UNREADABLE, attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_TIMES = 1 << 16
_EVEN = 0.1
"""Time points that are farther from even steps than this share have no step."""
_MOST_TEXT = 1000


@dataclass(frozen=True, slots=True)
class ImarisInfo:
    """What ``DataSetInfo`` says.

    Parameters
    ----------
    extent : tuple of list of float
        The lowest and the highest corner of the box that the image fills: z, y, x.
    unit : str
        Of the box.
    seconds : float
        Between time points, 0 where they are unknown or uneven.
    channels : tuple of ChannelMeta
        As far as they are described.
    header : mapping
        Texts for the table.
    """

    extent: tuple[list[float], list[float]]
    unit: str = "micrometer"
    seconds: float = 0.0
    channels: tuple[ChannelMeta, ...] = ()
    header: Mapping[str, str] = field(default_factory=dict)

    def channels_of(self, count: int) -> tuple[ChannelMeta, ...]:
        """Return the channels of an image of so many, none where others are described."""
        return self.channels if len(self.channels) == count else ()


def imaris_number(group: Any, name: str) -> float:
    """Return a number, NaN where it is not there."""
    try:
        return float(imaris_text(group, name))
    except ValueError:
        return float("nan")


def imaris_text(group: Any, name: str) -> str:
    """Return a text, "" where it is not there."""
    try:
        value = attribute(group, name)
        data = b"".join(value) if isinstance(value, np.ndarray) else value
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data or "")
    except (ValueError, TypeError):
        return ""
    return text[:_MOST_TEXT].strip("\0 ")


def imaris_info(file: Any) -> ImarisInfo | None:
    """Return what a file says of its image, None where it is none of Imaris."""
    info, image = (find_inside(file, name) for name in ("DataSetInfo", "DataSetInfo/Image"))
    if info is None or image is None:
        return None
    low, high = (
        [imaris_number(image, f"Ext{end}{axis}") for axis in "210"] for end in ("Min", "Max")
    )
    header = {f"imaris_{name}": imaris_text(image, name) for name in image.attrs}
    return ImarisInfo(
        (low, high),
        length_unit(imaris_text(image, "Unit")) or "micrometer",
        _seconds(info),
        _channels(info),
        {name: text for name, text in header.items() if text},
    )


def _channels(info: Any) -> tuple[ChannelMeta, ...]:
    groups: list[Any] = []
    while len(groups) <= MOST_CHANNELS:
        group = find_inside(info, f"Channel {len(groups)}")
        if group is None:
            break
        groups.append(group)
    if len(groups) > MOST_CHANNELS:
        return ()
    return tuple(_channel(group, number, len(groups)) for number, group in enumerate(groups))


def _channel(group: Any, number: int, count: int) -> ChannelMeta:
    """Return name, color and range of a channel."""
    color = default_color(number, count)
    parts = _numbers(imaris_text(group, "Color"))
    if len(parts) == 3:
        levels = np.clip(np.round(np.array(parts) * 255), 0, 255).astype(np.uint8)
        color = "#" + bytes(levels).hex()
    limits = _numbers(imaris_text(group, "ColorRange"))
    usable = len(limits) == 2 and limits[0] < limits[1]
    name = imaris_text(group, "Name") or f"channel {number}"
    return ChannelMeta(name, color, (limits[0], limits[1]) if usable else None)


def _numbers(text: str) -> list[float]:
    """Return the numbers of a text, none where one is not finite."""
    with suppress(ValueError):
        found = list(map(float, text.split()))
        if np.isfinite(found).all():
            return found
    return []


def _seconds(info: Any) -> float:
    """Return the seconds between time points."""
    times: list[datetime] = []
    group = find_inside(info, "TimeInfo")
    if group is None:
        return 0.0
    with suppress(*UNREADABLE, ValueError):
        while f"TimePoint{len(times) + 1}" in group.attrs and len(times) < _MOST_TIMES:
            times.append(datetime.fromisoformat(imaris_text(group, f"TimePoint{len(times) + 1}")))
    if len(times) < 2:
        return 0.0
    steps = np.diff([time.timestamp() for time in times])
    mean = float(steps.mean())
    return mean if mean > 0 and np.allclose(steps, mean, rtol=_EVEN, atol=0) else 0.0
