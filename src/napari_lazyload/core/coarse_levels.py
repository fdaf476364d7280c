"""Which coarse levels an image gets that no file holds: planned from shapes alone, nothing is read.

Planes are halved first, all other axes left alone: a 2-D view shows the plane that the sliders say.
Then one level leaves out planes of a volume, too.
"""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.metadata import LevelMeta

if TYPE_CHECKING:
    from collections.abc import Sequence

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

DEPTH_AXES = ("z", "page")
"""Axes that planes of a volume lie along; pages are what a TIFF file says nothing more of."""

_PARTS = 8
"""A level that is read by strides has about so many chunks in a volume, read at the same time."""


def overview_steps(meta: ImageMeta, *, strided: bool = False) -> list[tuple[int, ...]]:
    """Return, for each level to be made, every how many pixels of the level before it has, by axis.

    Parameters
    ----------
    meta : ImageMeta
        Of what is stored.
    strided : bool
        Whether every k-th pixel is read without the others, so that nothing is decoded in vain.
    """
    axes, last = meta.axes[: len(meta.axes) - meta.rgb], meta.levels[-1]
    if len(axes) < 2 or 0 in last.shape:
        return []
    plane = plane_axes(meta)
    shape, found = list(last.shape), []
    itemsize = meta.dtype.itemsize * (last.shape[-1] if meta.rgb else 1)
    if prod(shape[axis] for axis in plane) * itemsize > PLANE_NBYTES:
        while max(shape[axis] for axis in plane) > PLANE_SIDE:
            steps = [1] * len(shape)
            for axis in plane:
                if shape[axis] > LEAST_SIDE:
                    steps[axis] = 2
            shape = list(strided_shape(shape, steps))
            found.append(tuple(steps))
    depth = _depth_axis(axes, plane)
    if depth is not None and shape[depth] > 1:
        sides = [shape[axis] for axis in (depth, *plane)]
        if prod(sides) * itemsize > VOLUME_NBYTES:
            found.append(_volume_steps(meta, shape, depth, plane, strided=strided))
    return [steps for steps in found if max(steps) > 1]


def plane_axes(meta: ImageMeta) -> list[int]:
    """Return the two axes of a plane: ``"y"`` and ``"x"``, or the last two but for colors."""
    if {"y", "x"} <= set(meta.axes):
        return [meta.axes.index("y"), meta.axes.index("x")]
    last = len(meta.axes) - meta.rgb
    return list(range(max(0, last - 2), last))


def _depth_axis(axes: Sequence[str], plane: Sequence[int]) -> int | None:
    """Return the axis that planes of a volume lie along, None where there is none."""
    found = [axes.index(name) for name in DEPTH_AXES if name in axes]
    return next((axis for axis in found if axis not in plane), None)


def _volume_steps(
    meta: ImageMeta, shape: list[int], depth: int, plane: list[int], *, strided: bool
) -> tuple[int, ...]:
    """Return the steps of the level that is small along three axes."""
    steps, grid = [1] * len(shape), meta.levels[-1].grid
    for axis in plane:
        while shape[axis] > VOLUME_SIDE * steps[axis]:
            steps[axis] *= 2
    while shape[depth] > VOLUME_PLANES * steps[depth]:
        steps[depth] *= 2
    if strided:
        return tuple(steps)
    layer = prod(grid.shape[axis] for axis in plane) * chunk_side(grid, depth) * meta.dtype.itemsize

    def decoded() -> int:
        return min(grid.numblocks[depth], ceil(shape[depth] / steps[depth])) * layer

    while decoded() > DECODED_NBYTES and shape[depth] >= 2 * LEAST_PLANES * steps[depth]:
        steps[depth] *= 2
    return tuple(steps)


def chunk_side(grid: ChunkGrid, axis: int) -> int:
    """Return the longest side of a chunk along an axis."""
    chunk = grid.chunks[axis]
    return min(chunk, grid.shape[axis]) if isinstance(chunk, int) else max(chunk, default=0)


def strided_shape(shape: Sequence[int], steps: Sequence[int]) -> tuple[int, ...]:
    """Return the pixels that every k-th of `shape` makes, the first one included."""
    return tuple(-(-size // step) for size, step in zip(shape, steps, strict=True))


def strided_levels(meta: ImageMeta, row_axes: int) -> list[LevelMeta]:
    """Return the coarse levels of an image that reads every k-th pixel without the others.

    Parameters
    ----------
    meta : ImageMeta
        Of what is stored, one level.
    row_axes : int
        How many leading axes count rows of the meta table, which have chunks of one.
    """
    levels: list[LevelMeta] = []
    whole = [1] * len(meta.axes)
    for steps in overview_steps(meta, strided=True):
        whole = [before * step for before, step in zip(whole, steps, strict=True)]
        shape = strided_shape(meta.shape, whole)
        grid = ChunkGrid(shape, _strided_chunks(meta.axes, shape, whole, row_axes))
        origin = (0.0,) * len(whole)
        levels.append(LevelMeta(grid, tuple(map(float, whole)), origin, steps=tuple(whole)))
    return levels


def _strided_chunks(
    axes: Sequence[str], shape: Sequence[int], steps: Sequence[int], row_axes: int
) -> tuple[int, ...]:
    """Return the chunks of a strided level: planes, or bands of large ones; frames one by one."""
    chunks = [1] * len(axes)
    for axis, name in enumerate(axes):
        size = shape[axis]
        if name in ("x", "s"):
            chunks[axis] = size
        elif name == "y":
            chunks[axis] = size if size <= VOLUME_SIDE else ceil(size / _PARTS)
        elif name in DEPTH_AXES and axis >= row_axes and steps[axis] > 1:
            chunks[axis] = ceil(size / _PARTS)
    return tuple(chunks)
