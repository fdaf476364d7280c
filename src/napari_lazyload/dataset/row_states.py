"""How the rows of the meta table fare: the states of their chunks, summed up."""

from __future__ import annotations

import operator
from collections import defaultdict
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from napari_lazyload.arrays.derived.overview import stored_chunk
from napari_lazyload.core.chunk_states import ChunkState
from napari_lazyload.loading import status
from napari_lazyload.sources.opened import position_of_chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Source
    from napari_lazyload.sources.opened import OpenResult

    ChunkAddress = tuple[int, BlockIndex]

MOST_LOOKED_UP = 256
"""Where a row has more chunks none is looked up: all of its image that have a state are gone
through."""

_TELLING = (
    ChunkState.FAILED,
    ChunkState.LOADING,
    ChunkState.QUEUED,
    ChunkState.EVICTED,
    ChunkState.LOADED,
)
"""The first of these that a chunk of a row has is the state of the row."""


class RowStates:
    """Tells how rows fare.

    Of the chunks that somebody asked for so far the one that tells most counts: a row has failed
    where one of them has; it is loading, or queued, where one is; it is loaded while all of them
    are in memory, and evicted after that. A row of which nothing was asked has no state, which is
    "".

    Parameters
    ----------
    opened : OpenResult
        Whose table.
    tokens : sequence of tuple of str
        For each image the tokens that its chunks are read under.
    shown : sequence of Source
        For each image what layers show: itself, or that with more levels.
    """

    def __init__(
        self, opened: OpenResult, tokens: Sequence[tuple[str, ...]], shown: Sequence[Source]
    ) -> None:
        self._opened = opened
        self._tokens = tokens
        self._shown = shown

    def of(self, rows: Iterable[int]) -> list[str]:
        """Return the state of each of some rows: a look-up or a few for each."""
        gathered: dict[int, dict[int, set[ChunkState]]] = {}
        return [_sum(self._states(operator.index(row), gathered)) for row in rows]

    def known(self) -> dict[int, str]:
        """Return the states of all rows that have one, in time that grows with the chunks that were asked for."""
        found: dict[int, set[ChunkState]] = defaultdict(set)
        for number in range(len(self._tokens)):
            for row, states in self._gathered(number).items():
                found[row] |= states
        return {row: _sum(states) for row, states in found.items()}

    def _states(self, row: int, gathered: dict[int, dict[int, set[ChunkState]]]) -> set[ChunkState]:
        found: set[ChunkState] = set()
        for number, rows in enumerate(self._opened.rows):
            if row not in rows:
                continue
            source = self._opened.sources[number]
            if len(rows) == 1:
                found |= self._of_image(number)
            elif (
                source.row_axes
                and _frame_chunks(self._shown[number], len(source.row_axes)) <= MOST_LOOKED_UP
            ):
                found |= self._looked_up(number, row - rows.start)
            else:
                if number not in gathered:
                    gathered[number] = self._gathered(number)
                found |= gathered[number].get(row, set())
        return found

    def _of_image(self, number: int) -> set[ChunkState]:
        summary = status.shared.summary(self._tokens[number])
        return {state for state in ChunkState if getattr(summary, state.value)}

    def _looked_up(self, number: int, place: int) -> set[ChunkState]:
        source = self._opened.sources[number]
        found = {
            status.shared.state(token, level, index)
            for level, index in _chunks(self._shown[number], source.frame_index(place))
            for token in self._tokens[number]
        }
        return {state for state in found if state is not None}

    def _gathered(self, number: int) -> dict[int, set[ChunkState]]:
        """Return the states of the chunks of an image by row."""
        source, start = self._opened.sources[number], self._opened.rows[number].start
        found: dict[int, set[ChunkState]] = defaultdict(set)
        for token in self._tokens[number]:
            for (level, index), state in status.shared.states(token).items():
                stored = stored_chunk(self._shown[number], level, index)
                found[start + int(position_of_chunk(source, *stored))].add(state)
        return found


def _sum(states: set[ChunkState]) -> str:
    return next((state.value for state in _TELLING if state in states), "")


def _frame_chunks(source: Source, lead: int) -> int:
    """Return how many chunks one place on the axes that count rows, which come first, has, of all levels."""
    return sum(prod(level.grid.numblocks[lead:]) for level in source.meta.levels)


def _chunks(source: Source, frame: BlockIndex) -> Iterator[ChunkAddress]:
    """Yield level and index of all chunks that hold a frame."""
    for number, level in enumerate(source.meta.levels):
        lead = []
        for axis, place in enumerate(frame):
            pixel = min(int(place / level.factors[axis]), level.shape[axis] - 1)
            lead.append(level.grid.block_range(axis, pixel, pixel + 1)[0])
        for rest in product(*map(range, level.grid.numblocks[len(frame) :])):
            yield number, (*lead, *rest)
