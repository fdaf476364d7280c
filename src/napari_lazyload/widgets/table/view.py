"""The table of a data set for a dock: a filter line, the rows, and the number of rows shown."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import QPoint, Qt, QTimer, Signal
from qtpy.QtGui import QCloseEvent, QGuiApplication, QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QMenu, QVBoxLayout, QWidget

from napari_lazyload.core.text import plain_text
from napari_lazyload.widgets.qt.plain_text import plain_label
from napari_lazyload.widgets.qt.present import present
from napari_lazyload.widgets.table.model import MetaTableModel
from napari_lazyload.widgets.table.row_view import RowTable
from napari_lazyload.widgets.table.sorting import SortKey

_TYPING = 200
_BUSY_AFTER = 150


class MetaTableView(QWidget):
    """A data set's table with a filter line and a count of rows.

    Rows are named by their source row throughout: the row's number in slider order, wherever it is
    shown.

    Parameters
    ----------
    parent : QWidget, optional
        The Qt parent.

    Attributes
    ----------
    rowActivated : Signal(int)
        The user chose this source row, by mouse or by key. `select_source_row` does not emit it.
    model : MetaTableModel
        The rows.
    table : RowTable
        The Qt view.
    filter_edit : QLineEdit
        The filter line.
    count_label : QLabel
        "12 of 2,624 rows", or what is being done.
    """

    rowActivated = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = MetaTableModel(parent=self)
        self.table = RowTable(self.model, self)
        self.filter_edit = QLineEdit(self)
        self.count_label = plain_label(QLabel(self))
        self._selected = -1
        self._shown_sort = self.model.sort_key
        self._fitted = False
        self._typing = self._single_shot(_TYPING, self._apply_filter)
        self._busy_hint = self._single_shot(_BUSY_AFTER, self._show_count)
        self._lay_out()
        self._connect()
        self._show_count()

    # --- the table

    def visible_source_rows(self) -> list[int]:
        """Return the source rows that are in sight, from top to bottom."""
        return [self.model.source_row(row) for row in self.table.visible_rows()]

    def select_source_row(self, row: int) -> None:
        """Select a source row and scroll to it, without `rowActivated`; none if it is filtered out.

        The row stays chosen: it is selected again when a later filter shows it.
        """
        self._selected = row
        self.table.select_row(self.model.view_row(row))

    @property
    def selected_source_row(self) -> int | None:
        """The source row that is selected, None where none is."""
        index = self.table.currentIndex()
        selected = index.isValid() and present(self.table.selectionModel()).isSelected(index)
        return self.model.source_row(index.row()) if selected else None

    def copy_row(self) -> None:
        """Put the selected row on the clipboard, its values separated by tabs."""
        row = self.selected_source_row
        clipboard = QGuiApplication.clipboard()
        if row is not None and clipboard is not None:
            texts = [text.replace("\t", " ") for text in self.model.row_texts(row)]
            clipboard.setText("\t".join(" ".join(text.splitlines()) for text in texts))

    def cycle_sort(self, column: int) -> None:
        """Sort by a column; a second call sorts it in reverse, a third restores slider order."""
        key = self.model.sort_key
        if key is None or key.column != column:
            self.sort_by(column)
        else:
            self.sort_by(column if key.ascending else None, ascending=False)

    def sort_by(self, column: int | None, *, ascending: bool = True) -> None:
        """Sort by a column, or restore slider order with None."""
        self.model.sort_by(column, ascending=ascending)
        self._show_sort()

    # --- Qt's events

    def showEvent(self, event: QShowEvent | None) -> None:
        """Fit the columns, now that the window's font is known."""
        super().showEvent(event)
        self._fit()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Cancel a sort or a filter that is under way."""
        self._typing.stop()
        self.model.cancel()
        super().closeEvent(event)

    # --- within

    def _lay_out(self) -> None:
        self.filter_edit.setPlaceholderText("Filter: text, or column:text")
        self.filter_edit.setClearButtonEnabled(True)
        self.filter_edit.setAccessibleName("Filter rows")
        self.filter_edit.setToolTip(
            "Show only rows that contain this text; column:text looks in one column"
        )
        self.table.setAccessibleName("Rows of the data set")
        self.count_label.setAccessibleName("Number of rows shown")
        self.count_label.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        line = QHBoxLayout()
        line.addWidget(self.filter_edit, 1)
        line.addWidget(self.count_label)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(line)
        layout.addWidget(self.table, 1)

    def _connect(self) -> None:
        self.model.frameChanged.connect(self._take_frame)
        self.model.orderChanged.connect(self._take_order)
        self.model.busyChanged.connect(self._take_busy)
        self.model.orderFailed.connect(self._take_failure)
        self.table.rowPicked.connect(self._pick)
        self.table.copyRequested.connect(self.copy_row)
        present(self.table.horizontalHeader()).sectionClicked.connect(self.cycle_sort)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._show_menu)
        self.filter_edit.textChanged.connect(self._typing.start)
        self.filter_edit.returnPressed.connect(self._apply_filter)

    def _single_shot(self, milliseconds: int, slot: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(slot)
        return timer

    def _pick(self, view_row: int) -> None:
        self._selected = self.model.source_row(view_row)
        self.rowActivated.emit(self._selected)

    def _apply_filter(self) -> None:
        self._typing.stop()
        self.model.filter_by(self.filter_edit.text())

    def _take_frame(self, kept: bool) -> None:
        if kept:
            return
        self._selected = -1
        self._fitted = False
        self._typing.stop()
        blocked = self.filter_edit.blockSignals(True)
        self.filter_edit.clear()
        self.filter_edit.blockSignals(blocked)
        self._show_sort()

    def _take_order(self) -> None:
        """Show a new order: a new sort from its beginning, else the selected row at its place."""
        sort = self.model.sort_key
        changed, self._shown_sort = sort != self._shown_sort, sort
        row = self.model.view_row(self._selected)
        if changed or row != self.table.currentIndex().row():
            self.table.select_row(row)
        if changed and (sort is not None or row < 0):
            self.table.scrollToTop()
        if self.isVisible():
            self._fit()
        self._show_count()

    def _take_busy(self, busy: bool) -> None:
        if busy:
            self._busy_hint.start()  # no flicker where it takes no time
        else:
            self._busy_hint.stop()
            self._show_count()

    def _take_failure(self, reason: str) -> None:
        self.count_label.setText("Not sorted")
        self.count_label.setToolTip(plain_text(reason))

    def _show_count(self) -> None:
        shown, everything = self.model.rowCount(), self.model.total_rows
        text = f"{everything:,} rows"
        if shown != everything:
            text = f"{shown:,} of {text}"
        if self.model.busy and not self._busy_hint.isActive():
            text = "Working…"
        self.count_label.setText(text)
        self.count_label.setToolTip("")

    def _show_sort(self) -> None:
        key = self.model.sort_key or SortKey(-1)
        order = Qt.SortOrder.AscendingOrder if key.ascending else Qt.SortOrder.DescendingOrder
        present(self.table.horizontalHeader()).setSortIndicator(key.column, order)

    def _show_menu(self, position: QPoint) -> None:
        index = self.table.indexAt(position)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        copy = present(menu.addAction("Copy row", self.copy_row))
        copy.setEnabled(self.selected_source_row is not None)
        if index.isValid():
            column = index.column()
            title = self.model.columns[column]
            menu.addAction(f"Sort by {title}", lambda: self.sort_by(column))
            descending = partial(self.sort_by, column, ascending=False)
            menu.addAction(f"Sort by {title}, descending", descending)
        back = present(menu.addAction("Slider order", lambda: self.sort_by(None)))
        back.setEnabled(self.model.sort_key is not None)
        menu.popup(present(self.table.viewport()).mapToGlobal(position))

    def _fit(self) -> None:
        if not self._fitted:
            self._fitted = self.model.rowCount() > 0
            self.table.fit_columns()
