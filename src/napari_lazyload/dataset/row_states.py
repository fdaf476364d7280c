"""How the rows of the meta table fare: the states of their chunks, summed up."""

from __future__ import annotations

import operator
from collections import defaultdict
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from napari_lazyload.core.chunk_states import ChunkState
from napari_lazyload.loading import status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.metadata import LevelMeta
    from napari_lazyload.core.row_map import RowMap
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
    levels : sequence of tuple of LevelMeta
        For each image the levels that layers show: its own, and computed ones.
    """

    def __init__(self, opened: OpenResult, levels: Sequence[Sequence[LevelMeta]]) -> None:
        self._opened = opened
        self._levels = levels

    def of(self, rows: Iterable[int]) -> list[str]:
        """Return the state of each of some rows: a look-up or a few for each."""
        gathered: dict[int, dict[int, set[ChunkState]]] = {}
        return [_sum(self._states(operator.index(row), gathered)) for row in rows]

    def known(self) -> dict[int, str]:
        """Return the states of all rows that have one, in time that grows with the chunks that were asked for."""
        found: dict[int, set[ChunkState]] = defaultdict(set)
        for number in range(len(self._levels)):
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
            elif 0 < _row_chunks(self._levels[number], source.row_map) <= MOST_LOOKED_UP:
                found |= self._looked_up(number, row - rows.start)
            else:
                if number not in gathered:
                    gathered[number] = self._gathered(number)
                found |= gathered[number].get(row, set())
        return found

    def _of_image(self, number: int) -> set[ChunkState]:
        summary = status.shared.summary([self._opened.sources[number].token])
        return {state for state in ChunkState if getattr(summary, state.value)}

    def _looked_up(self, number: int, row: int) -> set[ChunkState]:
        source = self._opened.sources[number]
        chunks = _chunks(self._levels[number], source.row_map.index_of(row))
        found = {status.shared.state(source.token, level, index) for level, index in chunks}
        return {state for state in found if state is not None}

    def _gathered(self, number: int) -> dict[int, set[ChunkState]]:
        """Return the states of the chunks of an image by row."""
        source, start = self._opened.sources[number], self._opened.rows[number].start
        rows, levels = source.row_map, self._levels[number]
        found: dict[int, set[ChunkState]] = defaultdict(set)
        for (level, index), state in status.shared.states(source.token).items():
            found[start + rows.row_of_chunk(levels[level], index)].add(state)
        return found


def _sum(states: set[ChunkState]) -> str:
    return next((state.value for state in _TELLING if state in states), "")


def _row_chunks(levels: Sequence[LevelMeta], rows: RowMap) -> int:
    """Return how many chunks one row has, of all levels; 0 where no axis counts rows."""
    lead = len(rows.axes)
    return sum(prod(level.grid.numblocks[lead:]) for level in levels) if lead else 0


def _chunks(levels: Sequence[LevelMeta], row: BlockIndex) -> Iterator[ChunkAddress]:
    """Yield level and index of all chunks that hold a row, given by its index on the leading axes."""
    for number, level in enumerate(levels):
        lead = []
        for axis, place in enumerate(row):
            pixel = min(int(place / level.factors[axis]), level.shape[axis] - 1)
            lead.append(level.grid.block_range(axis, pixel, pixel + 1)[0])
        for rest in product(*map(range, level.grid.numblocks[len(row) :])):
            yield number, (*lead, *rest)
