"""Zarr arrays without the metadata of OME-Zarr, alone and in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.sources.ome_zarr.array_attributes import axis_attributes, axis_names_of
from napari_lazyload.sources.ome_zarr.axes import axis_names, axis_of
from napari_lazyload.sources.ome_zarr.omero import channel_count, read_channels
from napari_lazyload.sources.ome_zarr.options import where_is
from napari_lazyload.sources.ome_zarr.source import ZarrImage, ZarrSource
from napari_lazyload.sources.zarr.array import ZarrArray, open_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.sources.zarr.node import Node

SMALLEST_RGB = 30
"""An array is taken for a colour picture by its shape alone where its sides are at least so long,
as in napari."""


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
        msg = (
            f"{where_is(node)}: expected an array of pixels with two dimensions or more, but {why}"
        )
        raise SourceOpenError(msg, where_is(node))
    axes = axis_attributes(node.attributes, len(array.shape))
    names = _names(array, axis_names_of(axes))
    kept = len(names) - (names[-1] == RGB_AXIS)
    axes = axes[:kept]
    meta = ImageMeta(
        name=name,
        axes=names,
        dtype=array.dtype,
        levels=(LevelMeta(array.grid, (1.0,) * len(names)),),
        scale=tuple(axis.scale for axis in axes),
        translate=tuple(axis.translate for axis in axes),
        units=tuple(axis.unit for axis in axes),
        channels=read_channels(None, channel_count(names, array.shape)),
    )
    return ZarrImage(ZarrSource([array], meta), node.path)


def _names(array: ZarrArray, told: tuple[str | None, ...] | None) -> tuple[str, ...]:
    """Return the names of the axes: the array's own, else those of its attributes, or those that its shape suggests."""
    own = array.dimension_names if any(array.dimension_names or ()) else told
    if own is not None and len(own) == len(array.shape) and any(own):
        axes = [axis_of(name or f"dim_{number}") for number, name in enumerate(own)]
        return axis_names(axes, array.shape)
    return guessed_names(array.shape, array.dtype.str)


def guessed_names(shape: Sequence[int], dtype: str) -> tuple[str, ...]:
    """Return names for axes that nobody named: of space the last three, of colours a last one of 3 or 4 bytes."""
    colors = (
        len(shape) > 2
        and shape[-1] in (3, 4)
        and dtype[1:] == "u1"
        and min(shape[-3:-1]) >= SMALLEST_RGB
    )
    space = len(shape) - colors
    names = [f"dim_{number}" for number in range(space - 3)] + list("zyx"[-space:])
    return (*names, RGB_AXIS) if colors else tuple(names)
