"""Which heavy packages are loaded, loading or failed, and how long each took."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_lazyload.core import lazy_imports
from napari_lazyload.widgets.table.painting import state_styles
from napari_lazyload.widgets.table.row_view import present

_ROWS_SEEN = 6
_MARKS = {
    "loaded": "loaded",
    "loading": "loading",
    "failed": "failed",
    "pending": "queued",
    "not installed": "evicted",
}
"""The mark of a row of the data set's table that a package of each state has."""


class ImportPanel(QWidget):
    """A small table of the heavy packages."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: dict[str, Any] = {}
        self.table = QTableWidget(0, 3, self)
        self.table.setHorizontalHeaderLabels(["Package", "State", "Seconds"])
        self.table.setAccessibleName("Heavy packages")
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setTabKeyNavigation(False)
        present(self.table.verticalHeader()).hide()
        header = present(self.table.horizontalHeader())
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionsClickable(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 0, 0)
        layout.addWidget(self.table)

    def look(self) -> str:
        """Take what the status is now, show it if the panel is seen, and return it in one line."""
        told = lazy_imports.import_status()
        if self.isVisible() and told["packages"] != self._shown:
            self._show(told["packages"])
        progress = told["progress"]
        failed = f", {progress['failed_packages']} failed" if progress["failed_packages"] else ""
        running = ", loading" if progress["is_loading"] else ""
        return f"Packages: {progress['loaded_packages']} of {progress['total_packages']} loaded{failed}{running}"

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event is not None and event.type() in {
            QEvent.Type.StyleChange,
            QEvent.Type.PaletteChange,
        }:
            self._shown = {}

    def _show(self, packages: dict[str, Any]) -> None:
        self._shown = packages
        table = self.table
        height = table.fontMetrics().height()
        styles = state_styles(table.palette(), height, table.devicePixelRatioF())
        present(table.verticalHeader()).setDefaultSectionSize(height + 6)
        table.setRowCount(len(packages))
        names = sorted(
            packages, key=lambda name: (packages[name]["status"] == "not installed", name.lower())
        )
        for row, name in enumerate(names):
            package = packages[name]
            seconds = "" if package["load_time"] is None else f"{package['load_time']:.2f}"
            icon, brush = styles[_MARKS[package["status"]]]
            for column, text in enumerate((name, package["status"], seconds)):
                item = QTableWidgetItem(text)
                item.setToolTip(package["error"] or text)
                table.setItem(row, column, item)
            state = present(table.item(row, 1))
            state.setIcon(icon)
            state.setForeground(brush)
        rows = min(len(packages), _ROWS_SEEN)
        table.setFixedHeight(
            present(table.horizontalHeader()).sizeHint().height() + rows * (height + 6) + 4
        )
