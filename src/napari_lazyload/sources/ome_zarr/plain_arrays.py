"""Zarr arrays without the metadata of OME-Zarr as images.

Their axes may be described in attributes of some writers that no standard knows. Groups called
``scale0``, ``scale1`` ... make a pyramid, as multiscale-spatial-image writes them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.sources.ome_zarr.axes import Axis, axis_names, axis_of
from napari_lazyload.sources.ome_zarr.multiscales import Resolution, level_metas, ordered
from napari_lazyload.sources.ome_zarr.omero import channel_count, read_channels
from napari_lazyload.sources.ome_zarr.source import ZarrImage, ZarrSource, where_is
from napari_lazyload.sources.ome_zarr.tolerant import as_list, as_number, as_numbers, as_text
from napari_lazyload.sources.zarr.array import ZarrArray, open_array
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.zarr.node import Node

SMALLEST_RGB = 30
"""Shortest sides of an array that is taken for a color image by its shape, as in napari."""
_SIZE = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)?\s*([^\W\d].*)?")
_NO_SPACE = "^"
"""Sign of funlib at the name of an axis that is not measured, such as that of channels."""
_SCALE = re.compile(r"(?:^|(?<=[ /]))scale(\d+)/")


def no_image(array: ZarrArray) -> str | None:
    """Return why an array is no image, None where it could be one."""
    if array.dtype.kind not in "buifc":
        return f"it holds {array.stored_dtype}, no numbers"
    if array.stored_dtype.lstrip("<>|=").startswith(("m", "M", "datetime", "timedelta", "numpy.")):
        return f"it holds {array.stored_dtype}: times, no pixels"
    if len(array.shape) < 2:
        return f"it has {len(array.shape)} dimension{'s'[: len(array.shape) != 1]}"
    if 0 in array.shape:
        return f"it is empty: {' x '.join(map(str, array.shape))}"
    return None


def array_image(node: Node, name: str) -> ZarrImage:
    """Return an array as an image of one level.

    Raises
    ------
    SourceOpenError
        If it cannot be opened, or is no image.
    """
    array = open_array(node.store, node)
    why = no_image(array)
    if why is not None:
        raise open_error(
            where_is(node), f"expected an array of pixels with two dimensions or more, but {why}"
        )
    axes = axis_attributes(node.attributes, len(array.shape))
    names = _names(array, [axis.name for axis in axes])
    axes = axes[: len(names) - (names[-1] == RGB_AXIS)]
    meta = ImageMeta(
        name=name,
        axes=names,
        dtype=array.dtype,
        levels=(LevelMeta(array.grid, (1.0,) * len(names)),),
        scale=tuple(map(attrgetter("scale"), axes)),
        translate=tuple(map(attrgetter("translate"), axes)),
        units=tuple(map(attrgetter("unit"), axes)),
        channels=read_channels(None, channel_count(names, array.shape)),
    )
    return ZarrImage(ZarrSource([array], meta), node.path)


def _names(array: ZarrArray, attribute_names: Sequence[str | None]) -> tuple[str, ...]:
    """Return the names of the axes: the array's own, else from its attributes, else guessed."""
    own = array.dimension_names if any(array.dimension_names or ()) else attribute_names
    if own and len(own) == len(array.shape) and any(own):
        axes = [axis_of(name or f"dim_{number}") for number, name in enumerate(own)]
        return axis_names(axes, array.shape)
    return guessed_names(array.shape, array.dtype.str)


def guessed_names(shape: Sequence[int], dtype: str) -> tuple[str, ...]:
    """Return names for axes without any: the last three are space, a last of 3 or 4 bytes color."""
    is_color = len(shape) > 2 and shape[-1] in (3, 4) and dtype[1:] == "u1"
    has_colors = is_color and min(shape[-3:-1]) >= SMALLEST_RGB
    space = len(shape) - has_colors
    return (*map("dim_{}".format, range(space - 3)), *"zyx"[-space:], *([RGB_AXIS] * has_colors))


# --- Attributes of other writers
# --------------------------------------------------------------------------------------------------


def axis_attributes(attributes: Mapping[str, Any], count: int) -> list[Axis]:
    """Return each of `count` axes, as the attributes describe it.

    TensorStore and Neuroglancer write ``dimension_units``: ``["4 nm", "4 nm", None]``; funlib
    (gunpowder, daisy) ``voxel_size``, ``offset`` and ``units`` of the axes that are measured, and
    ``axis_names`` of all.
    """
    axes = [Axis()] * count
    dimension_units = as_list(attributes.get("dimension_units"))
    if len(dimension_units) == count:
        axes = list(map(_of_dimension_unit, dimension_units))
    names = as_list(attributes.get("axis_names"))
    measured = []
    if len(names) == count:
        for place, value in enumerate(names):
            name = as_text(value) or ""
            axes[place] = replace(axes[place], name=name.removesuffix(_NO_SPACE))
            if not name.endswith(_NO_SPACE):
                measured.append(place)
    sizes = as_numbers(attributes.get("voxel_size"))
    if sizes is None or not 0 < len(sizes) <= count or min(sizes) <= 0:
        return axes
    if len(measured) != len(sizes):
        measured = list(range(count - len(sizes), count))
    starts = as_numbers(attributes.get("offset")) or ()
    starts = starts if len(starts) == len(sizes) else (0.0,) * len(sizes)
    units = as_list(attributes.get("units"))
    units = units if len(units) == len(sizes) else [None] * len(sizes)
    for place, size, start, unit in zip(measured, sizes, starts, units, strict=True):
        axes[place] = replace(axes[place], scale=size, translate=start, unit=as_text(unit))
    return axes


def _of_dimension_unit(value: Any) -> Axis:
    text = as_text(value) or ""
    match = _SIZE.fullmatch(text)
    number, unit = match.groups() if match else (None, text)
    return Axis(scale=as_number(number) or 1.0, unit=unit or None)


def packing_note(attributes: Mapping[str, Any], title: str) -> list[str]:
    """Return the note, as a list, on numbers that stand for others by the rules of netCDF."""
    factor, offset = attributes.get("scale_factor"), attributes.get("add_offset")
    if (as_number(factor) or 1.0) == 1.0 and not as_number(offset):
        return []
    return [
        f"{title}: its numbers are shown as they are stored; for the values that they stand for, "
        f"multiply by {1 if factor is None else factor} and add {offset or 0}"
    ]


# --- Pyramids of several arrays
# --------------------------------------------------------------------------------------------------


def merged(found: Sequence[ZarrImage], notes: list[str]) -> list[ZarrImage]:
    """Return images of one level as pyramids, where only the number of the scale differs.

    Parameters
    ----------
    found : sequence of ZarrImage
        Made by `array_image`.
    notes : list of str
        Remarks for the user are added.
    """
    groups: dict[str, dict[int, ZarrImage]] = {}
    for image in found:
        number = _SCALE.search(image.path)
        group = groups.setdefault(_SCALE.sub("scale/", image.path, count=1), {})
        group[int(number[1]) if number else 0] = image
    images: list[ZarrImage] = []
    for numbered in groups.values():
        levels = [numbered[number] for number in sorted(numbered)]
        whole = _pyramid(levels)
        if whole is None:
            images += levels
        else:
            images.append(whole)
            notes.append(
                f"{whole.source.meta.name}: its {len(levels)} scales are taken for the levels of "
                "one image"
            )
    return images


def _pyramid(found: Sequence[ZarrImage]) -> ZarrImage | None:
    """Return one image of several, the finest first; None where they are no pyramid."""
    first = found[0].source.meta
    kinds = {(image.source.meta.axes, image.source.meta.channels) for image in found}
    if len(found) < 2 or len(kinds) > 1 or first.rgb:
        return None
    arrays: list[ZarrArray] = []
    for image in found:
        if isinstance(image.source, ZarrSource):
            arrays += image.source.arrays
    odd: list[str] = []
    levels = ordered([Resolution(array.path, array, None) for array in arrays], odd)
    if odd:
        return None
    meta = replace(first, name=_SCALE.sub("", first.name, count=1), levels=level_metas(levels, odd))
    return ZarrImage(ZarrSource(arrays, meta), found[0].path)
