"""Shows the states of the rows of a table as they change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from napari_lazyload.dataset.dataset import STATUS
from napari_lazyload.loading import status
from napari_lazyload.widgets.qt.latest_worker import LatestWorker, Task
from napari_lazyload.widgets.qt.main_thread import post_to_main
from napari_lazyload.widgets.table.model import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_lazyload.dataset.dataset import Dataset
    from napari_lazyload.widgets.table.view import MetaTableView

REST, MOST_REST = 100, 2.0
"""So many times the work that it took to find the states of the rows in sight, none are looked for;
seconds at most."""


class LiveStates:
    """Writes states into the status column of a table: of the rows in sight, and of all where it is sorted by them.

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
        """Take another data set, whose table shows that rows have problems and nothing else."""
        self._worker.cancel()
        self._worker_of_all.cancel()
        self._task = None  # one that had not begun never will
        self._dataset = dataset
        self.problems = problems
        self._written = dict.fromkeys(problems, FAILED)
        self._verified = None

    def look(self) -> None:
        """Find the states of the rows in sight, if any chunk has another one or other rows are in sight.

        That is done beside the window: where a row has thousands of chunks it takes a while.
        """
        dataset = self._dataset
        if (
            dataset is None
            or time.monotonic() < self._rest_until
            or not (self._task is None or self._task.done)
        ):
            return
        rows = self._table.visible_source_rows()
        seen = (status.shared.version, rows)
        if seen == self._verified:
            return
        self._verified = seen

        def find(checkpoint: Callable[[], None]) -> None:
            began = time.thread_time()  # a busy machine makes it longer, not more
            states = dataset.row_states(rows)
            self._rest_until = time.monotonic() + min(
                REST * (time.thread_time() - began), MOST_REST
            )
            checkpoint()
            post_to_main(lambda: self._take(dataset, states))

        self._task = self._worker.submit(find)

    def _take(self, dataset: Dataset, states: dict[int, str]) -> None:
        if dataset is self._dataset:
            self._write(
                {row: state for row, state in states.items() if row < self._table.model.total_rows}
            )

    def show(self, rows: list[int]) -> None:
        """Show the states of some rows, and filter by them."""
        if self._dataset is not None:
            failed = {row: FAILED for row in rows if row in self.problems}
            others = self._dataset.row_states([row for row in rows if row not in failed])
            self._write(failed | others, refilter=True)

    def _write(self, states: Mapping[int, str], *, refilter: bool = False) -> bool:
        """Write states into the table where they are others than before; return whether any is."""
        shown = {row: FAILED if row in self.problems else state for row, state in states.items()}
        news = {row: state for row, state in shown.items() if self._written.get(row, "") != state}
        if news:
            self._written |= news
            self._table.update_rows(list(news), {STATUS: list(news.values())}, refilter=refilter)
        return bool(news)

    def _find_all(self) -> None:
        """Find the states of all rows beside the window, where the table is to be sorted or filtered by them."""
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
        rows = [row for row in {**self._written, **states} if row < self._table.model.total_rows]
        if self._write({row: states.get(row, "") for row in rows}):
            self._table.model.reorder()
