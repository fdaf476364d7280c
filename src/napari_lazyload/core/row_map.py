"""Between the pixels of an image and the rows of the meta table."""

from __future__ import annotations

from math import floor, prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.metadata import LevelMeta


class RowMap:
    """Which row of its table an image shows where.

    Parameters
    ----------
    axes : mapping of str to int, optional
        Name and length of each leading axis that counts rows, slowest first; none where the image
        is one row.
    """

    def __init__(self, axes: Mapping[str, int] | None = None) -> None:
        self.axes = dict(axes or {})

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis that counts rows."""
        return tuple(self.axes.values())

    @property
    def count(self) -> int:
        """Number of rows."""
        return prod(self.shape)

    def row_of(self, pixel: Sequence[int]) -> int:
        """Return the row, counted within this image, that a pixel of level 0 belongs to."""
        row = 0
        for place, size in zip(pixel, self.shape, strict=False):
            row = row * size + place
        return row

    def row_of_chunk(self, level: LevelMeta, index: BlockIndex) -> int:
        """Return the row that the first pixel of a chunk belongs to.

        Parameters
        ----------
        level : LevelMeta
            The chunk's level, also a computed one.
        index : tuple of int
            Of the chunk.
        """
        return self.row_of(
            [first_pixel(level, axis, index[axis]) for axis in range(len(self.axes))]
        )

    def index_of(self, row: int) -> BlockIndex:
        """Return the index along the axes that count rows; the inverse of `row_of`."""
        if not self.axes:
            return ()
        return tuple(map(int, np.unravel_index(row, self.shape)))


def first_pixel(level: LevelMeta, axis: int, block: int) -> int:
    """Return the pixel of level 0, along one axis, that the first pixel of a block shows."""
    start = level.grid.span(axis, block)[0]
    return floor(level.first_center[axis] + level.factors[axis] * start + 0.5)


ONE_ROW = RowMap()
"""Of an image that is one row of its table."""
