"""What an export writes: a box of a level, its place in the world, its display. Reads nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_lazyload.core.affine import linear
from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS
from napari_lazyload.cropping.target import target_of

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import Box
    from napari_lazyload.cropping.failures import Failures
    from napari_lazyload.cropping.target import DisplaySettings

    Array = np.ndarray[Any, Any]

_UNNAMED = re.compile(r"axis -?\d+")
"""What napari and :func:`napari_lazyload.crop` call the axes of arrays without names."""


@dataclass(frozen=True, slots=True)
class ExportSelection:
    """A box of one level. Tuples are in the order of `axes`.

    Parameters
    ----------
    array : Any
        The level: an array of ours, of dask, NumPy, zarr, or anything that slices.
    grid : ChunkGrid
        Its chunks.
    box : tuple of (int, int)
        Which pixels of it.
    axes : tuple of str
        Names, with ``"s"`` last for colors.
    dtype : numpy.dtype
        What is written.
    matrix : numpy.ndarray
        From pixels of the box to the world: homogeneous, over the axes without ``"s"``.
    units : tuple of (str or None)
        For each axis without ``"s"``.
    display : DisplaySettings
        How it is shown.
    """

    array: Any
    grid: ChunkGrid
    box: Box
    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    matrix: Array
    units: tuple[str | None, ...]
    display: DisplaySettings

    @property
    def rgb(self) -> bool:
        """Whether the last axis holds color samples."""
        return self.axes[-1] == RGB_AXIS

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return box_shape(self.box)


def select(image: Any, region: Any, level: int, dtype: Any) -> ExportSelection:
    """Return what an export of these arguments writes.

    Parameters
    ----------
    image, region, level, dtype
        See :func:`napari_lazyload.crop`; a region of None is all of it.

    Raises
    ------
    RegionError
        If the region is malformed or empty, or there is no such level.
    """
    target = target_of(image)
    box = target.box(() if region is None else region, level)
    level %= len(target.arrays)
    to_data = linear(np.diag(target.level_factors(level)), target.first_center(level, box))
    axes = _named(target.meta.axes)
    channels = box[axes.index(CHANNEL_AXIS)] if CHANNEL_AXIS in axes else None
    return ExportSelection(
        target.arrays[level],
        target.meta.levels[level].grid,
        box,
        axes,
        np.dtype(np.dtype(dtype or target.meta.dtype).newbyteorder("=").str),
        target.world_transform() @ to_data,
        target.units,
        target.display_settings(channels),
    )


def without(selection: ExportSelection, failures: Failures) -> ExportSelection:
    """Return a selection without the positions that cannot be read; those behind move up.

    It begins where the first one that is left lies.
    """
    axis = failures.axis
    assert axis is not None  # something is left out along it
    size = selection.shape[axis]
    left = np.delete(np.arange(size), failures.left_out)
    runs = np.split(left, np.flatnonzero(np.diff(left) > 1) + 1)
    array = selection.array[box_slices(selection.box)]
    before = (slice(None),) * axis
    pieces = [array[(*before, slice(int(run[0]), int(run[-1]) + 1))] for run in runs]
    joined = da.concatenate(pieces, axis)
    shift = np.zeros(len(selection.matrix) - 1)
    shift[axis] = left[0]
    moved = selection.matrix @ linear(np.eye(len(shift)), shift)
    grid = ChunkGrid(joined.shape, joined.chunks)
    return replace(selection, array=joined, grid=grid, box=grid.full_box, matrix=moved)


def _named(axes: tuple[str, ...]) -> tuple[str, ...]:
    """Return names for axes without: the last of ``tzyx``, or ``tczyx`` for five axes."""
    plain = tuple(axis for axis in axes if axis != RGB_AXIS)
    if len(plain) > 5 or not all(map(_UNNAMED.fullmatch, plain)):
        return axes
    names = "tczyx" if len(plain) == 5 else "tzyx"
    return (*names[len(names) - len(plain) :], *axes[len(plain) :])
