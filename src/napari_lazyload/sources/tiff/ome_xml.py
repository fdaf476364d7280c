"""OME-XML of a TIFF file: sizes of pixels, steps of time, names and colors of channels.

Source: the OME data model, schema of June 2016. The text is searched, not parsed: that of a long
recording has a hundred megabytes, nearly all of it about single planes.
"""

from __future__ import annotations

import html
import os
import re
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.channel_colors import MOST_CHANNELS, default_color
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.core.units import in_unit, length_unit, time_unit
from napari_lazyload.sources.files import open_error

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of linear cost, whatever the text: nothing is searched beyond the next tag, and twice.
PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^<>]*+>")
_IN_TAG = r"""((?:[^<>"']|"[^"<]*"|'[^'<]*')*+)>"""
_IMAGE = re.compile(rf"<(?:\w+:)?Image\b{_IN_TAG}")
_CHANNEL = re.compile(rf"<(?:\w+:)?Channel\b{_IN_TAG}")
_PLANES = re.compile(r"<(?:\w+:)?(?:TiffData|Plane)\b|</(?:\w+:)?Pixels>")
_ATTRIBUTE = re.compile(r"""(?<![\w:])([\w:]++)\s*+=\s*+("[^"]*"|'[^']*')""")
_FILE_NAME = re.compile(rb"""\bFileName=["']([^"'>]+)["']""")
COMPANION = ".companion.ome"
"""How files end that describe the TIFF files around them."""

_WHITE = 0xFFFFFFFF
_MOST_BYTES = 256 << 20


def described_file(companion: str) -> str:
    """Return a TIFF file beside a companion, of those that it describes.

    Raises
    ------
    SourceOpenError
        If none is there.
    """
    folder = os.path.dirname(os.path.abspath(companion))
    try:
        with open(companion, "rb") as file:
            names = dict.fromkeys(_FILE_NAME.findall(file.read(_MOST_BYTES)))
    except OSError as err:
        found, hint = (
            f"an error of the system: {err.strerror}",
            "check the file and its permissions",
        )
        raise open_error(companion, "a companion that can be read", found, hint) from err
    for name in names:
        text = html.unescape(name.decode("utf-8", "replace"))
        path = os.path.join(folder, os.path.basename(text))
        if os.path.isfile(path):
            return path
    found = f"none of the {len(names)} that it names"
    hint = "put its files and it into one folder"
    raise open_error(companion, "TIFF files beside it", found, hint)


def ome_metadata(
    xml: str, number: int, axes: Sequence[str], shape: Sequence[int], name: str = ""
) -> dict[str, Any]:
    """Return what OME-XML says of one image of a file.

    Parameters
    ----------
    xml : str
        The text.
    number : int
        Of the image in the file.
    axes : sequence of str
        Of the image.
    shape : sequence of int
        Of the image.
    name : str, optional
        Of the image, as far as known.

    Returns
    -------
    dict
        ``scale``, ``unit``, ``axis_scale``, ``axis_units``, ``channels`` and ``series`` (its name),
        as far as known.
    """
    image = _image(xml, number, dict(zip(axes, shape, strict=True)), name)
    if image is None:
        return {}
    title, pixels, rest = image
    found = _sizes(pixels)
    if title.get("Name"):
        found["series"] = title["Name"]
    count = shape[axes.index("c")] if "c" in axes else 1
    channels = _channels([_attributes(match[1]) for match in _CHANNEL.finditer(rest)], count)
    if channels:
        found["channels"] = channels
    return found


def _attributes(text: str) -> dict[str, str]:
    return {name: html.unescape(value[1:-1]) for name, value in _ATTRIBUTE.findall(text)}


def _image(
    xml: str, number: int, sizes: dict[str, int], name: str
) -> tuple[dict[str, str], dict[str, str], str] | None:
    """Return the attributes of an image and of its pixels, and the text between it and its planes.

    Images without data are none in the file, so that those before may be missing: a name that no
    other image has tells which one it is, else sizes do.
    """
    starts = [*_IMAGE.finditer(xml)]
    images = [_attributes(start[0]) for start in starts]
    named = [place for place, image in enumerate(images) if name and image.get("Name") == name]
    expected = {f"Size{axis.upper()}": str(size) for axis, size in sizes.items() if axis in "xyzt"}
    ends = [*(start.start() for start in starts[1:]), len(xml)]
    for place in (*(named if len(named) == 1 else ()), *range(number, len(starts))):
        pixels = PIXELS.search(xml, starts[place].end(), ends[place])
        if pixels is None:
            continue
        attributes = _attributes(pixels[0])
        if expected.items() <= attributes.items():
            planes = _PLANES.search(xml, pixels.end(), ends[place])
            end = planes.start() if planes else ends[place]
            return images[place], attributes, xml[pixels.end() : end]
    return None


def _sizes(pixels: dict[str, str]) -> dict[str, Any]:
    """Return the size of a pixel, of all axes in the unit of x, and the step of time."""
    sizes = {}
    for axis in "ZYX":
        size = _positive(pixels.get(f"PhysicalSize{axis}"))
        unit = length_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if size and unit:
            sizes[axis] = (size, unit)
    steps = {}
    result: dict[str, Any] = {}
    if "X" in sizes and "Y" in sizes:
        size, unit = sizes["X"]
        result = {"scale": (in_unit(*sizes["Y"], unit), size), "unit": unit}
        if "Z" in sizes:
            steps["z"] = in_unit(*sizes["Z"], unit)
    step = _positive(pixels.get("TimeIncrement"))
    unit_of_time = time_unit(pixels.get("TimeIncrementUnit", "s"))
    if step and unit_of_time:
        steps["t"] = step
        result["axis_units"] = {"t": unit_of_time}
    if steps:
        result["axis_scale"] = steps
    return result


def _positive(text: str | None) -> float:
    """Return a number above zero, 0 for anything else."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if 0 < value < float("inf") else 0.0


def _channels(entries: list[dict[str, str]], count: int) -> tuple[ChannelMeta, ...]:
    """Return how channels are shown, where each has its own entry and one has a name or a color."""
    colors = [_color(entry.get("Color")) for entry in entries]
    known = any(colors) or any(entry.get("Name") for entry in entries)
    if not known or not 1 < count == len(entries) <= MOST_CHANNELS:
        return ()
    channels = []
    for number, (entry, color) in enumerate(zip(entries, colors, strict=True)):
        own = "Color" in entry and any(colors)
        shown = (color or "#ffffff") if own else default_color(number, count)
        channels.append(ChannelMeta(entry.get("Name") or f"channel {number}", shown))
    return tuple(channels)


def _color(text: str | None) -> str | None:
    """Return ``"#rrggbb"`` of a color: None for white, the default.

    It is written as a signed number of red, green, blue, alpha.
    """
    try:
        value = int(text or -1) & _WHITE
    except ValueError:
        return None
    return None if value >> 8 == _WHITE >> 8 else f"#{value >> 8:06x}"
