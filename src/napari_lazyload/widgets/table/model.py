"""The Qt model of a data set's table: a million rows, shown, sorted and filtered without a pause of the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, QTimer, Signal

from napari_lazyload.widgets.qt.latest_worker import Cancelled, LatestWorker, Task
from napari_lazyload.widgets.table.data import TableData, format_value, full_text, is_missing
from napari_lazyload.widgets.table.ordering import (
    Order,
    SortKey,
    TextFilter,
    arrange,
    is_name_column,
    parse_filter,
    runs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_lazyload.widgets.table.text_search import Rows

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

FAILED = "failed"


class MetaTableModel(QAbstractTableModel):
    """A pandas table as a Qt model that sorts and filters itself in a thread of its own.

    A *source row* is a row's number in slider order; a *view row* is where it stands now. The model
    keeps the permutation between them as two arrays and swaps them when the thread has worked out
    new ones.

    Parameters
    ----------
    frame : pandas.DataFrame, optional
        The table; row order is slider order, the index is not used.
    status_column, error_column : str
        The columns with a row's state ("loaded", "failed", ...) and the reason of a failure. Either
        may be absent.
    parent : QObject, optional
        The Qt parent.

    Attributes
    ----------
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
        status_column: str = "status",
        error_column: str = "error",
        parent: Any = None,
    ) -> None:
        super().__init__(parent)
        self._sort: SortKey | None = None
        self._filter: TextFilter | None = None
        self._filter_text = ""
        self._order: Order | None = None
        self._sorted_rows: Rows | None = None
        self._names = (status_column, error_column)
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
    # ---------------------------------------------------------------------------------------------

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
        sort, text = (self._sort, self._filter_text) if keep else (None, "")
        order = (
            self._order if keep and len(frame) == len(self._data) else None
        )  # until the new one is worked out
        self.cancel()
        self.beginResetModel()
        self._adopt(frame)
        self._sort, self._order = sort, order
        self._filter_text, self._filter = text, parse_filter(text, self._data.columns)
        self.endResetModel()
        self.frameChanged.emit(keep)
        self.orderChanged.emit()
        if sort is not None or self._filter is not None:
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
        if self._sort is not None or self._filter is not None:
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
    # -------------------------------------------------------------------------------------------------

    @property
    def sort_key(self) -> SortKey | None:
        """The sort asked for last; None is slider order."""
        return self._sort

    @property
    def filter_text(self) -> str:
        """The filter asked for last."""
        return self._filter_text

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

    @property
    def status_place(self) -> int | None:
        """Where the column of states stands, None if there is none."""
        return self._status

    def sort_by(self, column: int | None, *, ascending: bool = True) -> None:
        """Sort the view by a column, or put it back to slider order with None; returns at once."""
        natural = column is not None and is_name_column(self._data.columns[column])
        self._sort = None if column is None else SortKey(column, ascending, natural)
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
        sorts = self._sort is not None and self._sort.column == self._status
        return sorts or (self._filter is not None and self._filter.column in {None, self._status})

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort as Qt's views ask for it; a negative column is slider order."""
        self.sort_by(
            column if column >= 0 else None, ascending=order == Qt.SortOrder.AscendingOrder
        )

    def filter_by(self, text: str) -> None:
        """Show only the rows in which a column contains the text (or ``column:text``); returns at once."""
        self._filter_text = text
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
        places = None if self._order is None else self._order.places
        if not 0 <= source_row < (len(self._data) if places is None else len(places)):
            return -1
        return source_row if places is None else int(places[source_row])

    def source_rows(self) -> Rows:
        """Return the source rows in the order they are shown."""
        return np.arange(len(self._data)) if self._order is None else self._order.rows.copy()

    def cancel(self) -> None:
        """Call off a sort or a filter that is under way; its result is dropped."""
        self._refresh.stop()
        self._poll.stop()
        self._worker.cancel()
        if self._task is not None:
            self._task = None
            self.busyChanged.emit(False)

    # --- Qt's questions
    # ----------------------------------------------------------------------------------------

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
            return _RIGHT if self._right[column] else None
        if role in _MARKS and column != self._status:
            return None
        row = self.source_row(index.row())
        if role == _DISPLAY:
            return format_value(self._data.value(row, column))
        if role == _TOOLTIP:
            return self._tooltip(row, column)
        style = self._styles.get(str(self._data.value(row, column)))
        return None if style is None else style[role == _FOREGROUND]

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY) -> Any:
        """Return a column's title, or a row's number in slider order."""
        if orientation == Qt.Orientation.Vertical:
            return (
                str(self.source_row(section))
                if role == _DISPLAY and section < self.rowCount()
                else None
            )
        if not 0 <= section < len(self._data.columns):
            return None
        if role == _DISPLAY:
            return self._data.columns[section]
        if role == _ALIGNMENT:
            return _RIGHT if self._right[section] else None
        if role == _TOOLTIP:
            kind = self._data.dtype_name(section)
            return f"{self._data.columns[section]} ({kind})\nClick to sort, a third time for slider order"
        return None

    def failure(self, source_row: int) -> str | None:
        """Return why a row failed ("" if nothing is known), or None if it did not."""
        if self._status is None or self._data.value(source_row, self._status) != FAILED:
            return None
        return "" if self._error is None else full_text(self._data.value(source_row, self._error))

    def row_texts(self, source_row: int) -> list[str]:
        """Return the whole texts of a row, column by column."""
        return [
            full_text(self._data.value(source_row, column))
            for column in range(len(self._data.columns))
        ]

    def set_state_styles(self, styles: Mapping[str, tuple[Any, Any]]) -> None:
        """Set for each state the icon (or None) and the brush (or None) of its cell in the status column."""
        self._styles = styles
        if self._status is not None and self.rowCount():
            bottom = self.index(self.rowCount() - 1, self._status)
            self.dataChanged.emit(self.index(0, self._status), bottom, [_DECORATION, _FOREGROUND])

    # --- within
    # ------------------------------------------------------------------------------------------------

    def _adopt(self, frame: pd.DataFrame) -> None:
        self._data = TableData(frame)
        columns = self._data.columns
        self._status, self._error = (
            columns.index(name) if name in columns else None for name in self._names
        )
        self._right = [self._data.is_numeric(column) for column in range(len(columns))]
        self._sort = self._filter = self._order = self._sorted_rows = None
        self._filter_text = ""

    def _tooltip(self, row: int, column: int) -> str | None:
        value = self._data.value(row, column)
        text = "" if is_missing(value) else full_text(value)
        reason = self.failure(row)
        if reason and reason != text:
            text = f"{text}\n{reason}" if text else reason
        return text or None

    def _schedule(self) -> None:
        """Ask for a new order soon, and so seldom that a steady stream of changes keeps no core busy."""
        if not self._refresh.isActive():
            self._refresh.start(max(_REFRESH, int(4000 * self._seconds)))

    def _refresh_order(self) -> None:
        if self.busy:
            self._schedule()
        else:
            self._start()

    def _start(self) -> None:
        self._refresh.stop()
        if self._sort is None and self._filter is None:
            self.cancel()
            self._swap(None)
            return
        data, sort, wanted, ordered = (
            self._data.snapshot(),
            self._sort,
            self._filter,
            self._sorted_rows,
        )
        was_busy = self.busy
        self._task = self._worker.submit(
            lambda checkpoint: arrange(data, sort, wanted, ordered, checkpoint)
        )
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
        order = task.result()
        if order is not None:
            self._sorted_rows = order.sorted_rows
            self._swap(order)
        self.busyChanged.emit(False)
        if task.error is not None and not isinstance(task.error, Cancelled):
            self.orderFailed.emit(str(task.error))

    def _swap(self, order: Order | None) -> None:
        """Put another order in place; what views hold on to follows its source row."""
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
            sources = [self.source_row(index.row()) for index in held]
            self._order = order
            moved = [
                self.index(self.view_row(source), k.column())
                for source, k in zip(sources, held, strict=True)
            ]
            self.changePersistentIndexList(held, moved)
            self.layoutChanged.emit()
        self.orderChanged.emit()
