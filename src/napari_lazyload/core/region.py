"""Regions: boxes in level-0 pixels, how they are written, clipped and carried to other levels."""

from __future__ import annotations

import operator
import random
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor, isfinite, prod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.metadata import RGB_AXIS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.core.metadata import ImageMeta, LevelMeta

EDGE_TOLERANCE = 1e-6
"""Pixels by which an edge may miss the border between two pixels and still be taken to lie on
it."""


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
        Slices mean what they mean to NumPy, with step 1; a missing axis is taken whole. In a
        mapping from axis name, a ``(start, stop)`` pair is half-open in level-0 pixels, where a
        negative number lies outside the image.
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
    box = []
    for part, axis, size in zip(parts, spatial, shape, strict=False):
        start, stop = _clip(part, axis, size)
        if stop <= start:
            msg = (
                f"the region is empty along axis {axis!r}: {_part_text(part)} of {size} pixels; "
                f"choose a start below its stop that meets 0:{size}"
            )
            raise RegionError(msg)
        box.append((start, stop))
    return (*box, *((0, size) for size in shape[len(spatial) :]))


def _part_text(part: Any) -> str:
    if not isinstance(part, slice):
        return str(part)
    return f"{part.start}:{part.stop}".replace("None", "")


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
            "a region is a tuple of slices or a mapping from axis name to (start, stop), "
            f"got {wrong!r}; "
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
        names = ", ".join(axes)
        msg = f"the region has {len(parts)} slices; the image has {len(axes)} axes ({names})"
        raise RegionError(msg)
    return parts + [slice(None)] * (len(axes) - len(parts))


def _clip(part: Any, axis: str, size: int) -> tuple[int, int]:
    """Return one axis of a region within ``0:size``."""
    try:
        if isinstance(part, slice):
            start, stop, step = part.indices(size)
        else:
            low, high = part
            start = 0 if low is None else max(0, _whole(low))
            stop = size if high is None else min(size, _whole(high))
            step = 1
    except (TypeError, ValueError) as err:
        msg = (
            f"axis {axis!r}: expected a slice or a (start, stop) pair of whole pixels, got {part!r}"
        )
        raise RegionError(msg) from err
    if step != 1:
        hint = "slice the image's lazy data for strides"
        msg = f"axis {axis!r}: a region has step 1, got {step}; {hint}"
        raise RegionError(msg)
    return start, stop


def _whole(value: Any) -> int:
    """Return `value` as an int; a float is taken only where it is whole."""
    if isinstance(value, Real) and not isinstance(value, Integral) and float(value).is_integer():
        return int(float(value))
    return operator.index(value)


def center_region(
    axes: Sequence[str], shape: Sequence[int], size: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Return the box of some size in the middle of an image.

    Parameters
    ----------
    axes : sequence of str
        Axis names of the image, with ``"s"`` last for RGB.
    shape : sequence of int
        Level-0 pixels along `axes`.
    size : mapping of str to int
        Pixels along some axes, cut to the image; the others are whole. Where the middle falls
        between two places, the first of them is taken.

    Returns
    -------
    dict of str to (int, int)
        A half-open range in level-0 pixels for each axis but the colour axis.

    Raises
    ------
    RegionError
        If `size` names an unknown axis, or is no whole number of at least 1.
    """
    return {
        axis: ((full - part) // 2, (full - part) // 2 + part)
        for axis, full, part in _sizes(axes, shape, size)
    }


def random_region(
    axes: Sequence[str], shape: Sequence[int], size: Mapping[str, int], seed: int
) -> dict[str, tuple[int, int]]:
    """Return a box of some size at a random place within the image.

    Parameters
    ----------
    axes, shape, size
        See :func:`center_region`.
    seed : int
        The same seed gives the same box everywhere: on each system, with each version of Python and
        NumPy.

    Returns
    -------
    dict of str to (int, int)
        A half-open range in level-0 pixels for each axis but the colour axis.

    Raises
    ------
    RegionError
        If `size` names an unknown axis, or is no whole number of at least 1.
    """
    # Python promises the sequence of `random()` for all versions, which neither `randrange` nor
    # NumPy's generators do.
    chance = random.Random(operator.index(seed))
    region = {}
    for axis, full, part in _sizes(axes, shape, size):
        start = int(chance.random() * (full - part + 1))
        region[axis] = (start, start + part)
    return region


def _sizes(
    axes: Sequence[str], shape: Sequence[int], size: Mapping[str, int]
) -> list[tuple[str, int, int]]:
    """Return name, full length and wanted length of each axis but the colour axis."""
    full = {axis: length for axis, length in zip(axes, shape, strict=True) if axis != RGB_AXIS}
    for axis, pixels in size.items():
        if axis not in full:
            msg = f"the size names axis {axis!r}; the image has {', '.join(map(repr, full))}"
            raise RegionError(msg)
        if not isinstance(pixels, Integral) or pixels < 1:
            expected = "a size of at least 1 pixel, in whole pixels"
            msg = f"axis {axis!r}: expected {expected}, got {pixels!r}"
            raise RegionError(msg)
    return [
        (axis, length, min(length, int(size.get(axis, length)))) for axis, length in full.items()
    ]


def pixels_of_world(
    world: Mapping[str, tuple[float | None, float | None]],
    axes: Sequence[str],
    scale: Sequence[float],
    translate: Sequence[float],
) -> dict[str, tuple[int | None, int | None]]:
    """Return the pixels whose area some ranges of world coordinates meet, as a region.

    An edge that runs along the border of two pixels takes only the one inside. Pixel ``i`` has its
    centre at ``translate + i * scale``, as napari has it.

    Parameters
    ----------
    world : mapping of str to (float, float)
        Start and stop along some axes, in the units of `scale`; None leaves an end open.
    axes : sequence of str
        Axis names of the image; what follows the last entry of `scale` (the colour axis) has no
        world coordinates.
    scale, translate : sequence of float
        Size of a level-0 pixel, and position of the centre of the first one, along each axis.

    Returns
    -------
    dict of str to (int or None, int or None)
        Half-open, in level-0 pixels, not clipped; at least one pixel.

    Raises
    ------
    RegionError
        If a range is empty, inverted or not finite, or along an axis that the image does not have.
    """
    placed = {
        axis: (size, start) for axis, size, start in zip(axes, scale, translate, strict=False)
    }
    region = {}
    for axis, pair in world.items():
        if axis not in placed:
            msg = f"the region names axis {axis!r}; the image has {', '.join(map(repr, placed))}"
            raise RegionError(msg)
        size, first = placed[axis]
        numbers = [number for number in (*pair, size, first) if number is not None]
        if size == 0 or not all(map(isfinite, numbers)):
            found = f"{pair} where pixels are {size:g} wide from {first:g} on"
            msg = f"axis {axis!r}: expected finite positions, got {found}"
            raise RegionError(msg)
        if pair[0] is not None and pair[1] is not None and pair[1] <= pair[0]:
            empty = f"the region is empty along axis {axis!r}: {pair[0]} to {pair[1]}"
            msg = f"{empty}; choose a start below its stop"
            raise RegionError(msg)
        low, high = (None if end is None else (end - first) / size for end in pair)
        region[axis] = _met(low, high) if size > 0 else _met(high, low)
    return region


def _met(low: float | None, high: float | None) -> tuple[int | None, int | None]:
    """Return the pixels whose area an interval meets; an open end stays open."""
    if low is not None and high is not None:
        return pixel_range(low, high)
    return None if low is None else start_pixel(low), None if high is None else stop_pixel(high)


def pixel_range(low: float, high: float) -> tuple[int, int]:
    """Return the pixels whose area an interval meets, at least one, as a half-open range."""
    start = start_pixel(low)
    return start, max(start + 1, stop_pixel(high))


def start_pixel(position: float) -> int:
    """Return the first pixel beyond an edge; pixel ``i`` has its center at ``i``."""
    return floor(position + 0.5 + EDGE_TOLERANCE)


def stop_pixel(position: float) -> int:
    """Return the end of the pixels before an edge; pixel ``i`` has its center at ``i``."""
    return ceil(position + 0.5 - EDGE_TOLERANCE)


def level_box(box: Box, level: LevelMeta) -> Box:
    """Return the pixels of `level` that cover a level-0 `box`, clipped to the level.

    Where the level ends before the box begins, its last pixel stands for it.
    """
    covered = []
    for (start, stop), factor, size in zip(box, level.factors, level.shape, strict=True):
        first = max(0, min(floor(_level_pixel(start, factor)), size - 1))
        covered.append((first, min(size, max(first + 1, ceil(_level_pixel(stop, factor))))))
    return tuple(covered)


def _level_pixel(position: int, factor: float) -> float:
    """Return ``position / factor``, without its rounding error: 33 / 1.1 is 30."""
    pixel = position / factor
    return round(pixel) if abs(pixel - round(pixel)) <= 1e-14 * abs(pixel) else pixel


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
