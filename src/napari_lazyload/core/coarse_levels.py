"""Which coarse levels an image gets that no file holds: planned from shapes alone, nothing is read."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import ChunkGrid
    from napari_lazyload.core.metadata import ImageMeta


PLANE_NBYTES, PLANE_SIDE = 64 << 20, 2048
"""Planes of more bytes get coarser levels, until the longer side has at most so many pixels."""

VOLUME_NBYTES, VOLUME_SIDE, VOLUME_PLANES = 256 << 20, 256, 64
"""Volumes of more bytes get one more level, of at most so many pixels a side and so many planes. A
plane of it is smaller than any window, so that a 2-D view, which it would show the wrong plane in,
never takes it."""

DECODED_NBYTES, LEAST_PLANES = 1 << 30, 8
"""Where that level would decode more bytes than that, more planes are left out, down to so few."""

LEAST_SIDE = 256
"""Axes of fewer pixels are not thinned out."""


def chunk_side(grid: ChunkGrid, axis: int) -> int:
    """Return the longest side of a chunk along an axis."""
    chunk = grid.chunks[axis]
    return min(chunk, grid.shape[axis]) if isinstance(chunk, int) else max(chunk, default=0)


def overview_steps(meta: ImageMeta) -> list[tuple[int, ...]]:
    """Return, for each level to be computed, every how many pixels of the level before it has along each axis.

    Planes are halved first, all other axes left alone: a 2-D view shows the plane that the sliders
    say. Then one level leaves out planes of a volume, too.

    Parameters
    ----------
    meta : ImageMeta
        Of what is stored.
    """
    axes, last = meta.axes[: len(meta.axes) - meta.rgb], meta.levels[-1]
    if len(axes) < 2 or 0 in last.shape:
        return []
    plane = plane_axes(meta)
    colors = last.shape[-1] if meta.rgb else 1
    shape, found = list(last.shape), []
    if prod(shape[axis] for axis in plane) * colors * meta.dtype.itemsize > PLANE_NBYTES:
        while max(shape[axis] for axis in plane) > PLANE_SIDE:
            steps = [
                2 if axis in plane and size > LEAST_SIDE else 1 for axis, size in enumerate(shape)
            ]
            shape = [-(-size // step) for size, step in zip(shape, steps, strict=True)]
            found.append(tuple(steps))
    depth = axes.index("z") if "z" in axes else None
    if depth is not None and depth not in plane and shape[depth] > 1:
        sides = [shape[axis] for axis in (depth, *plane)]
        if prod(sides) * colors * meta.dtype.itemsize > VOLUME_NBYTES:
            found.append(volume_steps(meta, shape, depth, plane))
    return [steps for steps in found if max(steps) > 1]


def plane_axes(meta: ImageMeta) -> list[int]:
    """Return the two axes of a plane: ``"y"`` and ``"x"``, or the last two but for colours."""
    if {"y", "x"} <= set(meta.axes):
        return [meta.axes.index("y"), meta.axes.index("x")]
    last = len(meta.axes) - meta.rgb
    return list(range(max(0, last - 2), last))


def volume_steps(
    meta: ImageMeta, shape: list[int], depth: int, plane: list[int]
) -> tuple[int, ...]:
    """Return the steps of the level that is small along three axes."""
    steps, grid = [1] * len(shape), meta.levels[-1].grid
    for axis in plane:
        while shape[axis] > VOLUME_SIDE * steps[axis]:
            steps[axis] *= 2
    while shape[depth] > VOLUME_PLANES * steps[depth]:
        steps[depth] *= 2
    layer = prod(grid.shape[axis] for axis in plane) * chunk_side(grid, depth) * meta.dtype.itemsize

    def decoded() -> int:
        return min(grid.numblocks[depth], ceil(shape[depth] / steps[depth])) * layer

    while decoded() > DECODED_NBYTES and shape[depth] >= 2 * LEAST_PLANES * steps[depth]:
        steps[depth] *= 2
    return tuple(steps)


COARSE_FROM = 1 << 30
"""Images of fewer bytes have one level: the whole of them is read in a moment."""

MOST_SIDE = 8192
"""Planes with a longer side get levels of every second, fourth, ... row and column, which graphics
cards can show."""

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
    last = tuple(
        ceil(size / OVERVIEW[axis]) if axis in OVERVIEW else 1 for axis, size in sizes.items()
    )
    if (
        all(a >= b for a, b in zip(last, spans[-1] if spans else (1,) * len(last), strict=True))
        and max(last) > 1
    ):
        spans.append(last)
    return spans


def coarse_shape(shape: Sequence[int], spans: Sequence[int]) -> tuple[int, ...]:
    """Return the pixels that every k-th of `shape` makes, the first one included."""
    return tuple(-(-size // span) for size, span in zip(shape, spans, strict=True))


def coarse_chunks(
    axes: Sequence[str], shape: Sequence[int], spans: Sequence[int], row_axes: int
) -> tuple[int, ...]:
    """Return the chunks of a coarse level: whole planes, or bands where planes are left whole; frames one by one."""
    chunks = [1] * len(axes)
    for axis, name in enumerate(axes):
        if name in ("x", "s"):
            chunks[axis] = shape[axis]
        elif name == "y":
            chunks[axis] = (
                shape[axis] if shape[axis] <= OVERVIEW["y"] else ceil(shape[axis] / _PARTS)
            )
        elif name == "z" and axis >= row_axes and spans[axis] > 1:
            chunks[axis] = ceil(shape[axis] / _PARTS)
    return tuple(chunks)
