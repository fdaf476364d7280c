"""Axes of OME-Zarr images, of any version and any writer."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS
from napari_lazyload.sources.ome_zarr.tolerant import as_dict, as_list, as_text
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_AXES = "tczyx"
"""The axes of versions 0.1 and 0.2, which do not name them."""

COLOR_NAMES = frozenset({RGB_AXIS, "rgb", "rgba", "samples"})
_BY_TYPE = {"time": "t", "channel": CHANNEL_AXIS}
SPACE = "zyx"
_TYPES = {
    **dict.fromkeys(("t", "time"), "time"),
    **dict.fromkeys(("c", "channel", "channels"), "channel"),
    **dict.fromkeys(SPACE, "space"),
}
_WORD = re.compile(r"[a-z]*(meters?|metres?|microns?|angstroms?|seconds?|minutes?|hours?)")


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Parameters
    ----------
    name : str
        As in the metadata, or as its type suggests; "" for none.
    type : str or None
        "space", "time", "channel" or another word of the writer.
    unit : str or None
        In a word: "micrometer".
    scale, translate : float
        Size of a pixel, and where the first one is, where the axis says so by itself.
    """

    name: str = ""
    type: str | None = None
    unit: str | None = None
    scale: float = 1.0
    translate: float = 0.0


def read_axes(found: Any) -> tuple[Axis, ...]:
    """Return the axes of a list of names (version 0.3) or mappings (since 0.4); all get a name."""
    axes = list(map(_axis, as_list(found)))
    space = iter("xyz")
    for number, axis in reversed(list(enumerate(axes))):
        if axis.name:
            continue
        name = _BY_TYPE.get(axis.type or "", f"dim_{number}")
        if axis.type == "space":
            name = next(space, name)
        axes[number] = replace(axis, name=name)
    return tuple(axes)


def axis_of(name: str, unit: str | None = None) -> Axis:
    """Return the axis of a name, in any case, and maybe a unit."""
    return Axis(name, _TYPES.get(name.lower()), unit)


def _axis(found: Any) -> Axis:
    fields = found if isinstance(found, dict) else {"name": found}
    unit = as_text(fields.get("unit")) or as_text(fields.get("units"))
    plain = axis_of(as_text(fields.get("name")) or "", unit and _plain_unit(unit))
    return replace(plain, type=(as_text(fields.get("type")) or "").lower() or plain.type)


def _plain_unit(unit: str) -> str:
    """Return a unit; words in small letters, for viewers do not know "Micrometer"."""
    return unit.lower() if _WORD.fullmatch(unit.lower()) else unit


def unnamed_axes(count: int) -> tuple[Axis, ...]:
    """Return the axes of an image of version 0.1 or 0.2: the last of ``tczyx``."""
    extra = max(0, count - len(FIRST_AXES))
    named = FIRST_AXES[len(FIRST_AXES) + extra - count :]
    return (*map(Axis, map("dim_{}".format, range(extra))), *map(axis_of, named))


def checked_axes(axes: tuple[Axis, ...], shape: Sequence[int], where: str) -> tuple[Axis, ...]:
    """Return axes unchanged, one for each dimension.

    Raises
    ------
    SourceOpenError
        If there are more or fewer.
    """
    if len(axes) == len(shape):
        return axes
    raise open_error(
        where,
        "expected one axis for each dimension of an array of shape "
        f"{' x '.join(map(str, shape))}, found {len(axes)} "
        f"({', '.join(map(attrgetter('name'), axes))}). "
        "Correct the list of axes in the metadata, or open the array by its path",
    )


def axis_names(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[str, ...]:
    """Return a unique name for each axis, as `ImageMeta` needs them.

    The channel axis is called ``"c"``, whatever its name in the metadata. A last axis of three or
    four color samples is ``"s"``; no other axis is.
    """
    names: list[str] = []
    channels = [axis for axis in axes if axis.type == "channel" and axis.name not in COLOR_NAMES]
    for number, axis in enumerate(axes):
        name = axis.name
        last = number == len(axes) - 1
        if name.lower() in COLOR_NAMES:
            name = RGB_AXIS if last and shape[number] in (3, 4) and number >= 2 else f"dim_{name}"
        elif channels == [axis]:
            name = CHANNEL_AXIS
        if name in names:
            name = next(other for copy in range(2, 99) if (other := f"{name}_{copy}") not in names)
        names.append(name)
    return tuple(names)


def system_axes(system: Any) -> tuple[Axis, ...]:
    """Return the axes of a coordinate system of version 0.6."""
    return read_axes(as_dict(system).get("axes"))
