"""Zarr arrays without the metadata of OME-Zarr, alone and in groups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.sources.ome_axes import axis_names, axis_of
from napari_lazyload.sources.ome_display import channel_count, read_channels
from napari_lazyload.sources.ome_nodes import where_is
from napari_lazyload.sources.ome_source import Found, ZarrSource
from napari_lazyload.sources.ome_values import as_list, as_number, as_text
from napari_lazyload.sources.zarr_array import ZarrArray, open_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.sources.zarr_node import Node

_SIZE = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)?\s*([^\W\d].*)?")
SMALLEST_RGB = 30
"""An array is taken for a colour picture by its shape alone where its sides are at least so long, as in napari."""


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


def array_image(node: Node, name: str) -> Found:
    """Return an array as an image of one level.

    Raises
    ------
    SourceOpenError
        If it cannot be opened, or is no image.
    """
    array = open_array(node.store, node)
    why = no_image(array)
    if why is not None:
        msg = f"{where_is(node)}: expected an array of pixels with two dimensions or more, but {why}"
        raise SourceOpenError(msg, where_is(node))
    names = _names(array)
    kept = len(names) - (names[-1] == RGB_AXIS)
    sizes = _sizes(node, len(names))[:kept]
    meta = ImageMeta(
        name=name,
        axes=names,
        dtype=array.dtype,
        levels=(LevelMeta(array.grid, (1.0,) * len(names)),),
        scale=tuple(size for size, _ in sizes),
        units=tuple(unit for _, unit in sizes),
        channels=read_channels(None, channel_count(names, array.shape)),
    )
    return Found(ZarrSource([array], meta), node.path)


def _names(array: ZarrArray) -> tuple[str, ...]:
    """Return the names of the axes: the array's own, else those that its shape suggests."""
    own = array.dimension_names
    if own is not None and len(own) == len(array.shape) and any(own):
        axes = [axis_of(name or f"dim_{number}") for number, name in enumerate(own)]
        return axis_names(axes, array.shape)
    return guessed_names(array.shape, array.dtype.str)


def guessed_names(shape: Sequence[int], dtype: str) -> tuple[str, ...]:
    """Return names for axes that nobody named: of space the last three, of colours a last one of 3 or 4 bytes."""
    colours = len(shape) > 2 and shape[-1] in (3, 4) and dtype[1:] == "u1" and min(shape[-3:-1]) >= SMALLEST_RGB
    space = len(shape) - colours
    names = [f"dim_{number}" for number in range(space - 3)] + list("zyx"[-space:])
    return (*names, RGB_AXIS) if colours else tuple(names)


def _sizes(node: Node, count: int) -> list[tuple[float, str | None]]:
    """Return size and unit of a pixel along each axis, where a writer put them beside the dimensions.

    TensorStore and Neuroglancer do, as ``dimension_units``: ``["4 nm", "4 nm", None]``.
    """
    found = as_list(node.attributes.get("dimension_units"))
    if len(found) != count:
        return [(1.0, None)] * count
    sizes: list[tuple[float, str | None]] = []
    for one in found:
        text = as_text(one) or ""
        match = _SIZE.fullmatch(text)
        number, unit = match.groups() if match else (None, text)
        sizes.append((as_number(number) or 1.0, unit or None))
    return sizes


def packing_note(node: Node) -> str | None:
    """Return what to say of an array whose numbers stand for others, by the conventions of netCDF; None for others."""
    factor, offset = (node.attributes.get(name) for name in ("scale_factor", "add_offset"))
    if (as_number(factor) or 1.0) == 1.0 and not as_number(offset):
        return None
    said = f"multiply by {1 if factor is None else factor} and add {offset or 0}"
    return f"its numbers are shown as they are stored; for the values that they stand for, {said}"
