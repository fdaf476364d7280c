"""What writers of plain Zarr arrays say of their axes, in attributes that no standard knows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_lazyload.sources.ome_zarr.tolerant import as_list, as_number, as_numbers, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SIZE = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)?\s*([^\W\d].*)?")
_NO_SPACE = "^"
"""Sign of funlib at the name of an axis that is not measured, such as that of channels."""


class Described(NamedTuple):
    """One axis of an array.

    Parameters
    ----------
    name : str or None
        Where the attributes have one.
    scale, translate : float
        Size of a pixel, and where the first one is.
    unit : str or None
        Of both.
    """

    name: str | None = None
    scale: float = 1.0
    translate: float = 0.0
    unit: str | None = None


def axis_attributes(attributes: Mapping[str, Any], count: int) -> list[Described]:
    """Return what attributes say of each of `count` axes.

    TensorStore and Neuroglancer write ``dimension_units``: ``["4 nm", "4 nm", None]``; funlib
    (gunpowder, daisy) ``voxel_size``, ``offset`` and ``units`` of the axes that are measured, and
    ``axis_names`` of all.
    """
    axes = [Described()] * count
    dimension_units = as_list(attributes.get("dimension_units"))
    if len(dimension_units) == count:
        axes = [_of_dimension_unit(as_text(one) or "") for one in dimension_units]
    names = [as_text(one) or "" for one in as_list(attributes.get("axis_names"))]
    if len(names) == count:
        axes = [
            axis._replace(name=name.removesuffix(_NO_SPACE))
            for axis, name in zip(axes, names, strict=True)
        ]
    sizes = as_numbers(attributes.get("voxel_size"))
    if sizes is None or not 0 < len(sizes) <= count or min(sizes) <= 0:
        return axes
    measured = (
        [place for place, name in enumerate(names) if not name.endswith(_NO_SPACE)]
        if len(names) == count
        else []
    )
    if len(measured) != len(sizes):
        measured = list(range(count - len(sizes), count))
    starts = as_numbers(attributes.get("offset")) or ()
    units = [as_text(one) for one in as_list(attributes.get("units"))]
    for number, place in enumerate(measured):
        start = starts[number] if len(starts) == len(sizes) else 0.0
        unit = units[number] if len(units) == len(sizes) else None
        axes[place] = axes[place]._replace(scale=sizes[number], translate=start, unit=unit)
    return axes


def _of_dimension_unit(text: str) -> Described:
    match = _SIZE.fullmatch(text)
    number, unit = match.groups() if match else (None, text)
    return Described(scale=as_number(number) or 1.0, unit=unit or None)


def packing_note(attributes: Mapping[str, Any]) -> str | None:
    """Return what to say of an array whose numbers stand for others, by the conventions of netCDF; None for others."""
    factor, offset = (attributes.get(name) for name in ("scale_factor", "add_offset"))
    if (as_number(factor) or 1.0) == 1.0 and not as_number(offset):
        return None
    said = f"multiply by {1 if factor is None else factor} and add {offset or 0}"
    return f"its numbers are shown as they are stored; for the values that they stand for, {said}"


def axis_names_of(axes: Sequence[Described]) -> tuple[str | None, ...] | None:
    """Return the names of axes, where there is one."""
    return tuple(axis.name or None for axis in axes) if any(axis.name for axis in axes) else None
