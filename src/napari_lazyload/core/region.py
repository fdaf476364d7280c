"""Regions: boxes in level-0 pixels, how they are written, clipped and carried to other levels."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, isfinite, prod
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.metadata import RGB_AXIS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.core.metadata import ImageMeta, LevelMeta


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a crop costs, known before anything is read.

    Parameters
    ----------
    result_nbytes : int
        Size of the result in memory.
    touched_nbytes : int
        Decoded size of the chunks that have to be read.
    touched_chunks : int
        How many chunks those are.
    full_nbytes : int
        Size of the whole level in memory.
    """

    result_nbytes: int
    touched_nbytes: int
    touched_chunks: int
    full_nbytes: int


def region_box(region: Any, axes: Sequence[str], shape: Sequence[int]) -> Box:
    """Return `region` as a box, clipped to the image.

    Parameters
    ----------
    region : tuple of slice, slice, Ellipsis, or mapping
        Slices mean what they mean to NumPy, with step 1; a missing axis is taken whole. In a mapping from axis name, a
        ``(start, stop)`` pair is half-open in level-0 pixels, where a negative number lies outside the image.
    axes : sequence of str
        Axis names of the image, with ``"s"`` last for RGB.
    shape : sequence of int
        Level-0 pixels along `axes`.

    Returns
    -------
    tuple of (int, int)
        One pair for each axis of `axes`; the colour axis is always whole.

    Raises
    ------
    RegionError
        If the region is malformed, names an unknown axis, or is empty after clipping.
    """
    spatial = [axis for axis in axes if axis != RGB_AXIS]
    if isinstance(region, Mapping):
        parts = _parts_from_mapping(region, spatial)
    else:
        parts = _parts_from_tuple(region, spatial)
    box = [_clip(part, axis, size) for part, axis, size in zip(parts, spatial, shape, strict=False)]
    box += [(0, size) for size in shape[len(spatial) :]]
    for axis, size, (start, stop) in zip(axes, shape, box, strict=True):
        if stop <= start:
            msg = (
                f"the region is empty along axis {axis!r}: {start}:{stop} of {size} pixels; "
                f"choose a start below its stop that meets 0:{size}"
            )
            raise RegionError(msg)
    return tuple(box)


def _parts_from_mapping(region: Mapping[Any, Any], axes: Sequence[str]) -> list[Any]:
    for name in region:
        if name not in axes:
            msg = f"the region names axis {name!r}; the image has {', '.join(map(repr, axes))}"
            raise RegionError(msg)
    return [region.get(axis, slice(None)) for axis in axes]


def _parts_from_tuple(region: Any, axes: Sequence[str]) -> list[Any]:
    parts = list(region) if isinstance(region, tuple) else [region]
    if any(not isinstance(part, slice) and part is not Ellipsis for part in parts):
        wrong = next(part for part in parts if not isinstance(part, slice) and part is not Ellipsis)
        msg = (
            f"a region is a tuple of slices or a mapping from axis name to (start, stop), got {wrong!r}; "
            "write slice(i, i + 1) for a single position"
        )
        raise RegionError(msg)
    if parts.count(Ellipsis) > 1:
        msg = "a region has at most one Ellipsis"
        raise RegionError(msg)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(axes) - len(parts) + 1)
    if len(parts) > len(axes):
        msg = f"the region has {len(parts)} slices; the image has {len(axes)} axes ({', '.join(axes)})"
        raise RegionError(msg)
    return parts + [slice(None)] * (len(axes) - len(parts))


def _clip(part: Any, axis: str, size: int) -> tuple[int, int]:
    """Return one axis of a region within ``0:size``."""
    try:
        if isinstance(part, slice):
            if part.step not in (None, 1):
                msg = f"axis {axis!r}: a region has step 1, got {part.step!r}; slice the image's lazy data for strides"
                raise RegionError(msg)
            return part.indices(size)[:2]
        start, stop = (bound if bound is None else _whole(bound) for bound in part)
    except (TypeError, ValueError) as err:
        if isinstance(err, RegionError):
            raise
        msg = f"axis {axis!r}: expected a slice or a (start, stop) pair of whole pixels, got {part!r}"
        raise RegionError(msg) from err
    start, stop = 0 if start is None else start, size if stop is None else stop
    return max(0, start), min(size, stop)


def _whole(value: Any) -> int:
    """Return `value` as an int; a float is taken only where it is whole."""
    if isinstance(value, float) and isfinite(value) and value.is_integer():
        return int(value)
    return operator.index(value)


def level_box(box: Box, level: LevelMeta) -> Box:
    """Return the pixels of `level` that cover a level-0 `box`: ``floor(start / f)`` to ``ceil(stop / f)``, clipped."""
    covered = []
    for (start, stop), factor, size in zip(box, level.factors, level.shape, strict=True):
        first = min(floor(start / factor), size - 1)
        covered.append((first, max(first + 1, min(ceil(stop / factor), size))))
    return tuple(covered)


def estimate_box(meta: ImageMeta, level: int, box: Box, itemsize: int | None = None) -> Estimate:
    """Return what reading `box` of `level` costs; `box` is in pixels of that level.

    Parameters
    ----------
    meta : ImageMeta
        The image.
    level : int
        Which level.
    box : tuple of (int, int)
        In pixels of the level.
    itemsize : int, optional
        Bytes of one value of the result; by default that of the image.
    """
    grid = meta.levels[level].grid
    size = meta.dtype.itemsize
    return Estimate(
        result_nbytes=prod(box_shape(box)) * (itemsize or size),
        touched_nbytes=grid.touched_pixels(box) * size,
        touched_chunks=grid.count(box),
        full_nbytes=prod(grid.shape) * size,
    )
