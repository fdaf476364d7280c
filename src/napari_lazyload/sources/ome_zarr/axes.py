"""Axes of OME-Zarr images, as any version and any writer puts them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS
from napari_lazyload.sources.ome_zarr.tolerant import as_dict, as_list, as_text

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
        As the metadata say it, or what its type suggests.
    type : str or None
        "space", "time", "channel" or whatever the writer thought of.
    unit : str or None
        In a word: "micrometer".
    """

    name: str
    type: str | None = None
    unit: str | None = None


def read_axes(found: Any) -> tuple[Axis, ...]:
    """Return the axes of a list of names (version 0.3) or of mappings (since 0.4); axes without a name get one."""
    axes = [_axis(one) for one in as_list(found)]
    space = [number for number, axis in enumerate(axes) if not axis.name and axis.type == "space"]
    for number, name in zip(reversed(space), "xyz", strict=False):
        axes[number] = replace(axes[number], name=name)
    for number, axis in enumerate(axes):
        if not axis.name:
            axes[number] = replace(axis, name=_BY_TYPE.get(axis.type or "", f"dim_{number}"))
    return tuple(axes)


def axis_of(name: str, unit: str | None = None) -> Axis:
    """Return an axis of which the name alone is known, in any case, and maybe the unit."""
    return Axis(name, _TYPES.get(name.lower()), unit)


def _axis(found: Any) -> Axis:
    about = found if isinstance(found, dict) else {"name": found}
    unit = as_text(about.get("unit")) or as_text(about.get("units"))
    plain = axis_of(as_text(about.get("name")) or "", unit and _plain_unit(unit))
    return replace(plain, type=(as_text(about.get("type")) or "").lower() or plain.type)


def _plain_unit(unit: str) -> str:
    """Return a unit as it is; one that is spelled out in small letters, for "Micrometer" is not known to viewers."""
    return unit.lower() if _WORD.fullmatch(unit.lower()) else unit


def unnamed_axes(count: int) -> tuple[Axis, ...]:
    """Return the axes of an image of version 0.1 or 0.2: the last of ``tczyx``."""
    extra = [Axis(f"dim_{number}") for number in range(count - len(FIRST_AXES))]
    named = FIRST_AXES[max(0, len(FIRST_AXES) - count) :]
    return (*extra, *map(axis_of, named))


def checked_axes(axes: tuple[Axis, ...], shape: Sequence[int], where: str) -> tuple[Axis, ...]:
    """Return axes of which there is one for each dimension.

    Raises
    ------
    SourceOpenError
        If there are more or fewer.
    """
    if len(axes) == len(shape):
        return axes
    names = ", ".join(axis.name for axis in axes)
    msg = (
        f"{where}: expected one axis for each dimension of an array of shape {' x '.join(map(str, shape))}, found "
        f"{len(axes)} ({names}). Mend the list of axes in the metadata, or open the array alone"
    )
    raise SourceOpenError(msg, where)


def axis_names(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[str, ...]:
    """Return a name of its own for each axis, as `ImageMeta` takes them.

    The channel axis is called ``"c"`` whatever its writer called it. A last axis of three or four
    colour samples is ``"s"``; no other axis is.
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
