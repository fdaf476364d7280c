"""The order of a table's rows: which rows show, and where, by a sort and a filter.

What a window feels of a thread beside it is how long the interpreter lock is held in one piece. So
values become Python objects only ``PAGE`` rows at a time, with a checkpoint in between. Everything
over a whole column is NumPy on numbers or on fixed-width bytes, which releases the lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_lazyload.widgets.table.filtering import TextFilter, match_rows
from napari_lazyload.widgets.table.sorting import SortKey, sort_rows

if TYPE_CHECKING:
    from napari_lazyload.widgets.qt.latest_worker import Checkpoint
    from napari_lazyload.widgets.table.data import Rows, TableData


@dataclass(frozen=True, slots=True)
class Order:
    """What a table shows.

    Parameters
    ----------
    rows : ndarray of intp, shape (shown,)
        The source row of each shown row.
    places : ndarray of intp, shape (all,)
        The shown row of each source row, -1 where it is filtered out.
    sorted_rows : ndarray of intp, shape (all,), optional
        All source rows as sorted, for the next filter under the same sort.
    """

    rows: Rows
    places: Rows
    sorted_rows: Rows | None = None

    def shown(self, rows: Rows) -> Rows:
        """Return where source rows are shown, without those that are not."""
        places = self.places[rows[rows < len(self.places)]]
        return places[places >= 0]


def arrange(
    data: TableData,
    sort: SortKey | None,
    wanted: TextFilter | None,
    sorted_rows: Rows | None = None,
    checkpoint: Checkpoint = lambda: None,
) -> Order:
    """Work out which rows a table shows, in which order.

    Parameters
    ----------
    data : TableData
        The table; a snapshot where another thread may append to it.
    sort : SortKey, optional
        None is slider order.
    wanted : TextFilter, optional
        None shows every row.
    sorted_rows : ndarray of intp, optional
        The rows as this sort gave them before, to be filtered again without sorting unless rows
        have come since.
    checkpoint : callable
        Called between pieces of about a millisecond; may raise to end the work.
    """
    if sort is None:
        ordered = np.arange(len(data), dtype=np.intp)
    elif sorted_rows is not None and len(sorted_rows) == len(data):
        ordered = sorted_rows
    else:
        ordered = sort_rows(data, sort, checkpoint)
    checkpoint()
    rows = ordered if wanted is None else ordered[match_rows(data, wanted, checkpoint)[ordered]]
    places = np.full(len(data), -1, dtype=np.intp)
    places[rows] = np.arange(len(rows), dtype=np.intp)
    return Order(rows, places, None if sort is None else ordered)


def runs(rows: Rows, most: int = 8) -> list[tuple[int, int]]:
    """Return rows as ranges (first, last) of consecutive rows, as one range if there are many."""
    ordered = np.unique(rows)
    if not ordered.size:
        return []
    breaks = np.flatnonzero(np.diff(ordered) > 1)
    if breaks.size >= most:
        breaks = breaks[:0]
    firsts = ordered[np.concatenate([[0], breaks + 1])]
    lasts = ordered[np.concatenate([breaks, [-1]])]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
