"""What of a crop or an export cannot be read: it stops there, or is blank, or is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from napari_lazyload.core.chunks import box_shape, intersect
from napari_lazyload.core.errors import ChunkReadError, RegionError
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_lazyload.core.chunks import Box

OnFailure: TypeAlias = Literal["raise", "blank", "skip"]
"""Whether an unreadable chunk is an error, becomes zeros, or its positions are left out."""

Failed: TypeAlias = "Callable[[Box, ChunkReadError], Any]"

_LISTED = 12
"""Positions that a message names."""


class Failures:
    """The parts of a box that cannot be read. Any thread may add to it.

    Parameters
    ----------
    axes : tuple of str
        Names of the axes of the box.
    box : tuple of (int, int)
        What is read, in pixels of its level.
    on_error : {"raise", "blank", "skip"} or None
        What becomes of them; None leaves it to the way in which the image was opened.

    Attributes
    ----------
    reason : str
        Why the first of them cannot be read.
    axis : int or None
        The first axis with several positions that is neither of channels nor one of the last two:
        along it parts are counted and left out. None where there is none.
    """

    def __init__(self, axes: Sequence[str], box: Box, on_error: OnFailure | None = None) -> None:
        if on_error not in (None, "raise", "blank", "skip"):
            raise ValueError(f"on_error must be 'raise', 'blank' or 'skip', got {on_error!r}")
        self.on_error = on_error
        self.reason = ""
        self._axes, self._box = tuple(axes), box
        self._parts: set[Box] = set()
        plain = len(axes) - (RGB_AXIS in axes)
        sizes = box_shape(box)
        several = [axis for axis in range(plain - 2) if sizes[axis] > 1]
        self.axis = next((axis for axis in several if axes[axis] != CHANNEL_AXIS), None)
        if on_error == "skip" and self.axis is None:
            raise RegionError(
                "on_error='skip' needs an axis with several frames that can be left out, found "
                f"{' x '.join(map(str, sizes))} pixels; take on_error='blank'"
            )

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def failed(self) -> Failed | None:
        """What to call with each part that cannot be read; None as the image was opened."""
        if self.on_error is None:
            return None
        return _raise if self.on_error == "raise" else self._add

    @property
    def positions(self) -> list[int]:
        """The positions along `axis` that hold a part, as numbers of the level's pixels."""
        if self.axis is None:
            return []
        ranges = {part[self.axis] for part in self._parts}
        return sorted({position for pair in ranges for position in range(*pair)})

    @property
    def left_out(self) -> list[int]:
        """The positions that are left out, counted from the start of the box.

        Raises
        ------
        ChunkReadError
            If these are all.
        """
        if self.on_error != "skip" or self.axis is None or not self._parts:
            return []
        start, stop = self._box[self.axis]
        positions = self.positions
        if len(positions) == stop - start:
            raise ChunkReadError(f"nothing is left: {self.reason}")
        return [position - start for position in positions]

    def text(self, first: int = 0) -> str:
        """Return how many and which are blank or left out, as one sentence.

        Parameters
        ----------
        first : int
            The number of the position where the image begins, for one that is a part itself.
        """
        done = "are left out" if self.on_error == "skip" else "hold blanks"
        if self.axis is None:
            what = f"{len(self._parts)} parts cannot be read and are blank"
            return f"{what}; the first: {self.reason}"
        start, stop = self._box[self.axis]
        found = self.positions
        which = [str(position + first) for position in found[:_LISTED]]
        which += ["..."] * (len(found) > _LISTED)
        return (
            f"{len(found):,} of {stop - start:,} positions along {self._axes[self.axis]} {done}, "
            f"since they cannot be read: {', '.join(which)}; the first: {self.reason}"
        )

    def facts(self) -> dict[str, Any]:
        """Return what is blank or left out as values for JSON."""
        axis = None if self.axis is None else self._axes[self.axis]
        positions, reason = self.positions, self.reason
        return {"on_error": self.on_error, "axis": axis, "positions": positions, "reason": reason}

    def _add(self, part: Box, error: ChunkReadError) -> None:
        self.reason = self.reason or str(error)
        self._parts.add(intersect(part, self._box))


def _raise(_part: Box, error: ChunkReadError) -> None:
    raise error
