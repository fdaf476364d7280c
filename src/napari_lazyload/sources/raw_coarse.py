"""Coarse levels of big binaries: every k-th pixel, so that an overview and a 3-D view read little."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COARSE_FROM = 1 << 30
"""Images of fewer bytes have one level: the whole of them is read in a moment."""

MOST_SIDE = 8192
"""Planes with a longer side get levels of every second, fourth, ... row and column, which graphics cards can show."""

OVERVIEW = {"z": 64, "y": 256, "x": 256}
"""Pixels of the coarsest level along the axes of space: few planes, and few rows of each."""

_PARTS = 8
"""The coarsest level is read in about so many chunks, at the same time."""


def coarse_spans(axes: Sequence[str], shape: Sequence[int], itemsize: int) -> list[tuple[int, ...]]:
    """Return, for each coarse level, which pixels of level 0 it has: every k-th one along each axis.

    Only the coarsest level leaves out planes, so that a view of one plane never shows another.

    Parameters
    ----------
    axes : sequence of str
        Of the image.
    shape : sequence of int
        Its pixels.
    itemsize : int
        Bytes of a pixel.
    """
    if prod(shape) * itemsize < COARSE_FROM or not {"y", "x"} <= set(axes):
        return []
    sizes = dict(zip(axes, shape, strict=True))
    spans: list[tuple[int, ...]] = []
    step = 1
    while max(sizes["y"], sizes["x"]) > MOST_SIDE * step:
        step *= 2
        spans.append(tuple(step if axis in ("y", "x") else 1 for axis in axes))
    last = tuple(ceil(size / OVERVIEW[axis]) if axis in OVERVIEW else 1 for axis, size in sizes.items())
    if all(a >= b for a, b in zip(last, spans[-1] if spans else (1,) * len(last), strict=True)) and max(last) > 1:
        spans.append(last)
    return spans


def coarse_shape(shape: Sequence[int], spans: Sequence[int]) -> tuple[int, ...]:
    """Return the pixels that every k-th of `shape` makes, the first one included."""
    return tuple(-(-size // span) for size, span in zip(shape, spans, strict=True))


def coarse_chunks(axes: Sequence[str], shape: Sequence[int], spans: Sequence[int], row_axes: int) -> tuple[int, ...]:
    """Return the chunks of a coarse level: whole planes, or bands where planes are left whole; frames one by one."""
    chunks = [1] * len(axes)
    for axis, name in enumerate(axes):
        if name in ("x", "s"):
            chunks[axis] = shape[axis]
        elif name == "y":
            chunks[axis] = shape[axis] if shape[axis] <= OVERVIEW["y"] else ceil(shape[axis] / _PARTS)
        elif name == "z" and axis >= row_axes and spans[axis] > 1:
            chunks[axis] = ceil(shape[axis] / _PARTS)
    return tuple(chunks)
