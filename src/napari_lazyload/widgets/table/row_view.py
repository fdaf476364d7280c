"""A Qt table view of whole rows that reports the rows the user chooses, and no other changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QItemSelectionModel, QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import (
    QHelpEvent,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPaintEvent,
    QResizeEvent,
    QShowEvent,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QToolTip,
    QWidget,
)

from napari_lazyload.widgets.qt.present import present
from napari_lazyload.widgets.table.model import MetaTableModel
from napari_lazyload.widgets.table.painting import STATES, is_theme_change, state_styles

if TYPE_CHECKING:
    from collections.abc import Callable

_SAMPLE_ROWS = 50
_MOST_CHARACTERS = 40
_WIDTH_HINT = 400
_ROW_PADDING = 8
_CELL_PADDING = 12

# Flat headers, so that a row's number stands level with its text, and room for the arrow; colors
# are the theme's.
_FLAT = """
QHeaderView::section { border: none; padding: 0px 4px; }
QHeaderView::section:horizontal { padding-right: 14px; }
QHeaderView::section:vertical { padding-bottom: 2px; }
"""

_SELECT = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows


class RowTable(QTableView):
    """Shows a `MetaTableModel`, one whole row selected at most.

    Attributes
    ----------
    rowPicked : Signal(int)
        The user chose a view row, by mouse or by key.
    copyRequested : Signal()
        The user pressed the keys for copying.
    """

    rowPicked = Signal(int)
    copyRequested = Signal()

    def __init__(self, model: MetaTableModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.setModel(model)
        self.setItemDelegate(_Delegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        # The names of one folder differ at their ends.
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)  # Tab leaves the table
        self.setCornerButtonEnabled(False)
        self.setStyleSheet(_FLAT)
        header = present(self.horizontalHeader())
        header.setSectionsClickable(True)
        header.setHighlightSections(False)
        header.setSortIndicatorShown(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        rows = present(self.verticalHeader())
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setHighlightSections(False)
        rows.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        rows.sectionPressed.connect(self.rowPicked)

    def select_row(self, row: int) -> None:
        """Select a view row and scroll to it, or select none with -1; emits no `rowPicked`."""
        selection = present(self.selectionModel())
        if row < 0:
            selection.clear()
            return
        bar = present(self.horizontalScrollBar())
        across = bar.value()
        index = self._model.index(row, max(self.currentIndex().column(), 0))
        if index != self.currentIndex() or not selection.isRowSelected(row, QModelIndex()):
            auto = self.hasAutoScroll()
            self.setAutoScroll(False)
            selection.setCurrentIndex(index, _SELECT)
            self.setAutoScroll(auto)
        self.scrollTo(index)
        bar.setValue(across)

    def visible_rows(self) -> range:
        """Return the view rows that are in sight."""
        height = present(self.viewport()).height()
        top, bottom = self.rowAt(0), self.rowAt(height - 1)
        if top < 0:
            return range(0)
        return range(top, bottom + 1 if bottom >= 0 else self._model.rowCount())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Keep the selected row in sight where it was in sight."""
        index = self.currentIndex()
        height = (event.oldSize() if event else self.size()).height()
        seen = index.isValid() and self.rowViewportPosition(index.row()) < height
        super().resizeEvent(event)
        if seen and present(self.selectionModel()).isRowSelected(index.row(), QModelIndex()):
            self.select_row(index.row())

    def sizeHint(self) -> QSize:
        """Return a width for a few columns."""
        return QSize(_WIDTH_HINT, super().sizeHint().height())

    def fit_columns(self) -> None:
        """Set the widths of columns by titles and first rows, the height of rows by the font."""
        self.ensurePolished()
        metrics = self.fontMetrics()
        present(self.verticalHeader()).setDefaultSectionSize(metrics.height() + _ROW_PADDING)
        header = present(self.horizontalHeader())
        frame = QStyle.PixelMetric.PM_FocusFrameHMargin
        padding = _CELL_PADDING + 2 * present(self.style()).pixelMetric(frame, None, self)
        most = _MOST_CHARACTERS * metrics.averageCharWidth()
        for column in range(self._model.columnCount()):
            rows = range(min(self._model.rowCount(), _SAMPLE_ROWS))
            texts = [str(self._model.data(self._model.index(row, column))) for row in rows]
            extra = padding
            if column == self._model.status_place:
                texts += STATES  # a row's state will change
                extra += metrics.height() + _CELL_PADDING // 2
            widest = max((metrics.horizontalAdvance(text) for text in texts), default=0)
            width = min(widest, most) + extra
            header.resizeSection(column, max(header.sectionSizeHint(column), width))

    def style_states(self) -> None:
        """Give the model marks for its states that are readable on this table's background."""
        size = self.fontMetrics().height()
        self._model.set_state_styles(state_styles(self.palette(), size, self.devicePixelRatioF()))

    def showEvent(self, event: QShowEvent | None) -> None:
        """Mark states in colors of the theme, which is known from now on."""
        super().showEvent(event)
        self.style_states()

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if is_theme_change(event):
            self.style_states()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint in one call: inside it no cell has to request the interpreter lock again."""
        super().paintEvent(event)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Report the row under the mouse, even if it was the current one already."""
        if event is None:
            return
        hit = self.indexAt(event.pos())
        super().mousePressEvent(event)
        if event.button() == Qt.MouseButton.LeftButton and hit.isValid():
            self.rowPicked.emit(hit.row())

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Report the rows that a drag passes."""
        self._watch(super().mouseMoveEvent, event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Report the row that a key moves to; copy on the system's keys for that."""
        if event is not None and event.matches(QKeySequence.StandardKey.Copy):
            self.copyRequested.emit()
            event.accept()
            return
        self._watch(super().keyPressEvent, event)

    def event(self, event: QEvent | None) -> bool:
        """Claim the keys for copying before the window's shortcuts take them."""
        if isinstance(event, QKeyEvent) and _is_copy_override(event):
            event.accept()
            return True
        return super().event(event)

    def keyboardSearch(self, search: str | None) -> None:
        """Do nothing: Qt's search for typed letters reads all rows, in the window's thread."""

    def moveCursor(
        self, action: QAbstractItemView.CursorAction, modifiers: Qt.KeyboardModifier
    ) -> QModelIndex:
        """Move with Home and End to the first and last row, not to the first and last column."""
        ends = {
            QAbstractItemView.CursorAction.MoveHome: 0,
            QAbstractItemView.CursorAction.MoveEnd: self._model.rowCount() - 1,
        }
        if action in ends and self._model.rowCount():
            return self._model.index(ends[action], max(self.currentIndex().column(), 0))
        return super().moveCursor(action, modifiers)

    def selectionCommand(
        self, index: QModelIndex, event: QEvent | None = None
    ) -> QItemSelectionModel.SelectionFlag:
        """Select the row, whatever keys are held; a click beside the rows changes nothing."""
        return _SELECT if index.isValid() else QItemSelectionModel.SelectionFlag.NoUpdate

    def _watch(self, handle: Callable[[Any], None], event: QEvent | None) -> None:
        before = self.currentIndex().row()
        handle(event)
        after = self.currentIndex()
        if after.isValid() and after.row() != before:
            self.rowPicked.emit(after.row())


def _is_copy_override(event: QKeyEvent) -> bool:
    copies = event.matches(QKeySequence.StandardKey.Copy)
    return copies and event.type() == QEvent.Type.ShortcutOverride


class _Delegate(QStyledItemDelegate):
    """Shows a cell's tooltip only where the cell does not show all."""

    def helpEvent(
        self,
        event: QHelpEvent | None,
        view: QAbstractItemView | None,
        option: QStyleOptionViewItem,
        index: QModelIndex,
    ) -> bool:
        """Hide the tooltip of a cell whose text is not cut off, unless its row has failed."""
        model = index.model()
        tooltip = event is not None and event.type() == QEvent.Type.ToolTip
        if tooltip and isinstance(model, MetaTableModel):
            whole = self.sizeHint(option, index).width() <= option.rect.width()
            if whole and not model.failure(model.source_row(index.row())):
                QToolTip.hideText()
                return True
        return super().helpEvent(event, view, option, index)
