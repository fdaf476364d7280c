"""The Qt model of a data set's table: shows, sorts and filters a million rows without a pause."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, QTimer, Signal

from napari_lazyload.core.text import plain_text
from napari_lazyload.dataset.dataset import ERROR, STATUS
from napari_lazyload.widgets.qt.latest_worker import Cancelled, LatestWorker, Task
from napari_lazyload.widgets.table.data import TableData, format_value, full_text
from napari_lazyload.widgets.table.filtering import TextFilter, parse_filter
from napari_lazyload.widgets.table.ordering import Order, arrange, runs
from napari_lazyload.widgets.table.sorting import SortKey, is_name_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_lazyload.widgets.table.data import Rows

_POLL = 10
_REFRESH = 500

# Qt hands roles over as plain integers; comparing those is most of what `data` does.
_DISPLAY = int(Qt.ItemDataRole.DisplayRole)
_TOOLTIP = int(Qt.ItemDataRole.ToolTipRole)
_ALIGNMENT = int(Qt.ItemDataRole.TextAlignmentRole)
_DECORATION = int(Qt.ItemDataRole.DecorationRole)
_FOREGROUND = int(Qt.ItemDataRole.ForegroundRole)
_MARKS = frozenset({_DECORATION, _FOREGROUND})
_ANSWERED = frozenset({_DISPLAY, _TOOLTIP, _ALIGNMENT, *_MARKS})
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_NOWHERE = QModelIndex()

PROBLEMS = ("failed", "different")
"""The states of rows that have a reason in the column `ERROR`."""


class MetaTableModel(QAbstractTableModel):
    """A pandas table as a Qt model that sorts and filters itself in a thread of its own.

    A *source row* is a row's number in slider order; a *view row* is where it stands now. The model
    keeps the permutation between them as two arrays and swaps them when the thread has worked out
    new ones.

    Parameters
    ----------
    frame : pandas.DataFrame, optional
        The table; row order is slider order, the index is not used. It may have a column `STATUS`
        with each row's state ("loaded", "failed", ...) and `ERROR` with the reason of a failure.
    parent : QObject, optional
        The Qt parent.

    Attributes
    ----------
    sort_key : SortKey or None
        The sort requested last; None is slider order.
    status_place : int or None
        The place of the column of states, None if there is none.
    frameChanged : Signal(bool)
        Another table was set; true if sort and filter were kept.
    orderChanged : Signal()
        The rows shown, or their order, are others now.
    busyChanged : Signal(bool)
        A sort or a filter has started or ended.
    orderAsked : Signal()
        The user wants another sort or filter; `reorder` does not emit it.
    orderFailed : Signal(str)
        A sort or a filter raised; the table stays as it was.
    """

    frameChanged = Signal(bool)
    orderChanged = Signal()
    busyChanged = Signal(bool)
    orderAsked = Signal()
    orderFailed = Signal(str)

    def __init__(
        self,
        frame: pd.DataFrame | None = None,
        *,
        parent: Any = None,
    ) -> None:
        super().__init__(parent)
        self.sort_key: SortKey | None = None
        self._filter: TextFilter | None = None
        self._order: Order | None = None
        self._sorted_rows: Rows | None = None
        self._styles: Mapping[str, tuple[Any, Any]] = {}
        self._worker = LatestWorker("napari-lazyload-table")
        self._task: Task[Order] | None = None
        self._seconds = 0.0
        self._poll = QTimer(self)
        self._poll.timeout.connect(self._take_result)
        self._refresh = QTimer(self)
        self._refresh.setSingleShot(True)
        self._refresh.timeout.connect(self._refresh_order)
        self.destroyed.connect(self._worker.cancel)
        self._adopt(pd.DataFrame() if frame is None else frame)

    # --- the table

    def set_frame(self, frame: pd.DataFrame, *, keep_order: bool = False) -> None:
        """Show another table.

        Parameters
        ----------
        frame : pandas.DataFrame
            The table; row order is slider order.
        keep_order : bool
            Whether this is the same data set read again: a sort and a filter stay in force then, if
            its columns are the same. Otherwise the table starts in slider order and unfiltered.
        """
        keep = keep_order and tuple(map(str, frame.columns)) == self._data.columns
        sort, wanted, order = self.sort_key, self._filter, self._order
        same_length = len(frame) == len(self._data)
        self.cancel()
        self.beginResetModel()
        self._adopt(frame)
        if keep:
            self.sort_key, self._filter = sort, wanted
            self._order = order if same_length else None  # until the new one is worked out
        self.endResetModel()
        self.frameChanged.emit(keep)
        self.orderChanged.emit()
        if self.sort_key is not None or self._filter is not None:
            self._start()

    def append_rows(self, frame: pd.DataFrame) -> None:
        """Add rows at the end of slider order, in time that does not grow with the table.

        While the table is sorted or filtered, they show once a new order has been worked out.

        Raises
        ------
        ValueError
            If the frame has a column that the table lacks.
        """
        if not len(frame):
            return
        frame = self._data.aligned(frame)
        if not len(self._data):
            self.set_frame(frame, keep_order=True)  # its dtypes are the first that tell
            return
        if self._order is None:
            first = len(self._data)
            self.beginInsertRows(_NOWHERE, first, first + len(frame) - 1)
            self._data.append(frame)
            self.endInsertRows()
        else:
            self._data.append(frame)
        if self.sort_key is not None or self._filter is not None:
            self._schedule()
        self.orderChanged.emit()

    def update_rows(
        self,
        rows: Sequence[int] | NDArray[np.integer[Any]],
        columns: Mapping[str, Sequence[Any]],
        *,
        refilter: bool = True,
    ) -> None:
        """Set values of some source rows, in time that grows with their number alone.

        A filter that looks at these columns is applied again a little later; a sort is not, so that
        rows do not jump about while their states change.

        Parameters
        ----------
        rows : sequence of int
            Source rows.
        columns : mapping of str to sequence
            For each column to change, a value for each of the rows.
        refilter : bool
            Whether the filter is applied again.

        Raises
        ------
        IndexError
            If a row is not in the table.
        ValueError
            If a column is not in the table or has not one value for each row.
        """
        wanted = np.asarray(rows, dtype=np.intp)
        places = self._data.update(wanted, columns)
        if not places or not wanted.size:
            return
        for top, bottom in runs(wanted if self._order is None else self._order.shown(wanted)):
            self.dataChanged.emit(self.index(top, min(places)), self.index(bottom, max(places)))
        if refilter and self._filter is not None and self._filter.column in {None, *places}:
            self._schedule()

    # --- order

    @property
    def busy(self) -> bool:
        """Whether a sort or a filter is being worked out."""
        return self._task is not None

    @property
    def total_rows(self) -> int:
        """All rows, also those that the filter hides."""
        return len(self._data)

    @property
    def columns(self) -> tuple[str, ...]:
        """The titles of the columns."""
        return self._data.columns

    def sort_by(self, column: int | None, *, ascending: bool = True) -> None:
        """Sort by a column, or restore slider order with None; returns at once."""
        natural = column is not None and is_name_column(self._data.columns[column])
        self.sort_key = None if column is None else SortKey(column, ascending, natural)
        self._sorted_rows = None
        self._start()
        self.orderAsked.emit()

    def reorder(self) -> None:
        """Sort and filter again, by the values as they are now."""
        self._sorted_rows = None
        self._start()

    @property
    def ordered_by_status(self) -> bool:
        """Whether the sort or the filter looks at the column of states."""
        sorts = self.sort_key is not None and self.sort_key.column == self.status_place
        return sorts or (
            self._filter is not None and self._filter.column in {None, self.status_place}
        )

    def filter_by(self, text: str) -> None:
        """Show only rows that contain the text (or ``column:text``); returns at once."""
        wanted = parse_filter(text, self._data.columns)
        if wanted != self._filter:
            self._filter = wanted
            self._start()
            self.orderAsked.emit()

    def source_row(self, view_row: int) -> int:
        """Return the row in slider order that a view row shows."""
        return view_row if self._order is None else int(self._order.rows[view_row])

    def view_row(self, source_row: int) -> int:
        """Return where a row of slider order stands, -1 if the filter hides it or there is none."""
        if self._order is None:
            return source_row if 0 <= source_row < len(self._data) else -1
        places = self._order.places
        return int(places[source_row]) if 0 <= source_row < len(places) else -1

    def cancel(self) -> None:
        """Cancel a sort or a filter that is under way; its result is dropped."""
        self._refresh.stop()
        self._poll.stop()
        self._worker.cancel()
        if self._task is not None:
            self._task = None
            self.busyChanged.emit(False)

    # --- Qt's questions

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex = _NOWHERE) -> int:
        """Return the number of rows shown."""
        if parent.isValid():
            return 0
        return len(self._data) if self._order is None else len(self._order.rows)

    def columnCount(self, parent: QModelIndex | QPersistentModelIndex = _NOWHERE) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(self._data.columns)

    def data(self, index: QModelIndex | QPersistentModelIndex, role: int = _DISPLAY) -> Any:
        """Return what a cell shows, its tooltip, its alignment, or the mark of its state."""
        if role not in _ANSWERED or not index.isValid():
            return None  # half of a painting view's questions end here
        column = index.column()
        if role == _ALIGNMENT:
            return self._alignments.get(column)
        if role in _MARKS and column != self.status_place:
            return None
        row = self.source_row(index.row())
        if role == _DISPLAY:
            return format_value(self._data.value(row, column))
        if role == _TOOLTIP:
            return self._tooltip(row, column)
        icon, brush = self._styles.get(str(self._data.value(row, column)), (None, None))
        return brush if role == _FOREGROUND else icon

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY) -> Any:
        """Return a column's title, or a row's number in slider order."""
        if orientation == Qt.Orientation.Vertical:
            shown = role == _DISPLAY and section < self.rowCount()
            return str(self.source_row(section)) if shown else None
        if not 0 <= section < len(self._data.columns):
            return None
        title = self._data.columns[section]
        if role == _DISPLAY:
            return title
        if role == _ALIGNMENT:
            return self._alignments.get(section)
        if role == _TOOLTIP:
            kind = self._data.dtype_name(section)
            return plain_text(f"{title} ({kind})\nClick to sort, a third time for slider order")
        return None

    def failure(self, source_row: int) -> str | None:
        """Return why a row failed ("" if the reason is unknown), or None if it did not fail."""
        place = self.status_place
        if place is None or self._data.value(source_row, place) not in PROBLEMS:
            return None
        return "" if self._error is None else full_text(self._data.value(source_row, self._error))

    def row_texts(self, source_row: int) -> list[str]:
        """Return the whole texts of a row, column by column."""
        columns = range(len(self._data.columns))
        return [full_text(self._data.value(source_row, column)) for column in columns]

    def set_state_styles(self, styles: Mapping[str, tuple[Any, Any]]) -> None:
        """Set the icon and the brush (either may be None) of each state's cells."""
        self._styles = styles
        if self.status_place is not None and self.rowCount():
            bottom = self.index(self.rowCount() - 1, self.status_place)
            self.dataChanged.emit(
                self.index(0, self.status_place), bottom, [_DECORATION, _FOREGROUND]
            )

    # --- within

    def _adopt(self, frame: pd.DataFrame) -> None:
        self._data = TableData(frame)
        columns = self._data.columns
        places = {name: columns.index(name) for name in columns}
        self.status_place, self._error = places.get(STATUS), places.get(ERROR)
        numeric = filter(self._data.is_numeric, range(len(columns)))
        self._alignments = dict.fromkeys(numeric, _RIGHT)
        self.sort_key = self._filter = self._order = self._sorted_rows = None

    def _tooltip(self, row: int, column: int) -> str | None:
        value = self._data.value(row, column)
        texts = dict.fromkeys([full_text(value), self.failure(row)])  # each text once
        return plain_text("\n".join(filter(None, texts))) or None

    def _schedule(self) -> None:
        """Request a new order soon, but so rarely that steady changes keep no core busy."""
        if not self._refresh.isActive():
            self._refresh.start(max(_REFRESH, int(4000 * self._seconds)))

    def _refresh_order(self) -> None:
        if self.busy:
            self._schedule()
        else:
            self._start()

    def _start(self) -> None:
        self._refresh.stop()
        if self.sort_key is None and self._filter is None:
            self.cancel()
            self._swap(None)
            return
        data = self._data.snapshot()
        work = partial(arrange, data, self.sort_key, self._filter, self._sorted_rows)
        was_busy = self.busy
        self._task = self._worker.submit(work)
        self._poll.start(_POLL)
        if not was_busy:
            self.busyChanged.emit(True)

    def _take_result(self) -> None:
        task = self._task
        if task is None or not task.done:
            return
        self._poll.stop()
        self._task = None
        self._seconds = task.seconds
        order = task.result
        if order is not None:
            self._sorted_rows = order.sorted_rows
            self._swap(order)
        self.busyChanged.emit(False)
        if task.error is not None and not isinstance(task.error, Cancelled):
            self.orderFailed.emit(str(task.error))

    def _swap(self, order: Order | None) -> None:
        """Set another order; persistent indexes follow their source rows."""
        if order is None and self._order is None:
            return
        shown = len(self._data) if order is None else len(order.rows)
        if shown != self.rowCount():
            self.beginResetModel()
            self._order = order
            self.endResetModel()
        else:
            self.layoutAboutToBeChanged.emit()
            held = self.persistentIndexList()
            sources = [(self.source_row(index.row()), index.column()) for index in held]
            self._order = order
            moved = [self.index(self.view_row(row), column) for row, column in sources]
            self.changePersistentIndexList(held, moved)
            self.layoutChanged.emit()
        self.orderChanged.emit()
