"""Shows the states of the rows of a table as they change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.text import problem_state
from napari_lazyload.dataset.dataset import STATUS
from napari_lazyload.loading import status
from napari_lazyload.widgets.qt.latest_worker import LatestWorker, Task
from napari_lazyload.widgets.qt.main_thread import post_to_main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from napari_lazyload.dataset.dataset import Dataset
    from napari_lazyload.widgets.table.view import MetaTableView

REST, MOST_REST = 100, 2.0
"""The pause after finding the states of the visible rows, in multiples of the time it took; and its
limit in seconds."""


def _problem_states(problems: Mapping[int, str], rows: Iterable[int]) -> dict[int, str]:
    """Return the states of those of some rows that have a problem."""
    return {row: problem_state(problems[row]) for row in rows if row in problems}


class LiveStates:
    """Writes states into the status column: of the visible rows, and of all if sorted by them.

    Parameters
    ----------
    table : MetaTableView
        The table.

    Attributes
    ----------
    problems : dict of int to str
        The reason of each row that has failed, whatever its chunks say.
    """

    def __init__(self, table: MetaTableView) -> None:
        self.problems: Mapping[int, str] = {}
        self._table = table
        self._dataset: Dataset | None = None
        self._written: dict[int, str] = {}
        self._verified: Any = None
        self._rest_until = 0.0
        self._task: Task[None] | None = None
        self._worker = LatestWorker("napari-lazyload-states")
        self._worker_of_all = LatestWorker("napari-lazyload-all-states")
        table.model.orderAsked.connect(self._find_all)

    def follow(self, dataset: Dataset | None, problems: Mapping[int, str]) -> None:
        """Follow another data set, whose table shows the rows with problems and no other states."""
        self._worker.cancel()
        self._worker_of_all.cancel()
        self._task = None  # a task that has not begun never will
        self._dataset = dataset
        self.problems = problems
        self._written = _problem_states(problems, problems)
        self._verified = None

    def refresh(self) -> None:
        """Find the states of the visible rows, if any chunk changed or other rows are visible.

        A thread does that: a row with thousands of chunks takes a while.
        """
        dataset = self._dataset
        running = self._task is not None and not self._task.done
        if dataset is None or running or time.monotonic() < self._rest_until:
            return
        rows = self._table.visible_source_rows()
        seen = (status.shared.version, rows)
        if seen == self._verified:
            return
        self._verified = seen

        def find(checkpoint: Callable[[], None]) -> None:
            began = time.thread_time()  # a busy machine makes it longer, not more
            states = dataset.row_states(rows)
            rest = min(REST * (time.thread_time() - began), MOST_REST)
            self._rest_until = time.monotonic() + rest
            checkpoint()
            post_to_main(lambda: self._take(dataset, states))

        self._task = self._worker.submit(find)

    def _take(self, dataset: Dataset, states: dict[int, str]) -> None:
        if dataset is self._dataset:
            count = self._table.model.total_rows
            self._write({row: state for row, state in states.items() if row < count})

    def show(self, rows: list[int]) -> None:
        """Show the states of some rows, and filter by them."""
        if self._dataset is not None:
            others = [row for row in rows if row not in self.problems]
            failed = _problem_states(self.problems, rows)
            self._write(failed | self._dataset.row_states(others), refilter=True)

    def _write(self, states: Mapping[int, str], *, refilter: bool = False) -> bool:
        """Write the states that changed into the table; return whether any did."""
        shown = {**states, **_problem_states(self.problems, states)}
        changed = {row: text for row, text in shown.items() if self._written.get(row, "") != text}
        if changed:
            self._written |= changed
            values = {STATUS: list(changed.values())}
            self._table.model.update_rows(list(changed), values, refilter=refilter)
        return bool(changed)

    def _find_all(self) -> None:
        """Find the states of all rows in a thread, if the table is sorted or filtered by them."""
        dataset = self._dataset
        if dataset is None or not self._table.model.ordered_by_status:
            return

        def find(checkpoint: Callable[[], None]) -> None:
            states = dataset.row_states()
            checkpoint()
            post_to_main(lambda: self._take_all(dataset, states))

        self._worker_of_all.submit(find)

    def _take_all(self, dataset: Dataset, states: dict[int, str]) -> None:
        if dataset is not self._dataset:
            return
        count = self._table.model.total_rows
        everything = dict.fromkeys(self._written, "") | states
        if self._write({row: state for row, state in everything.items() if row < count}):
            self._table.model.reorder()
