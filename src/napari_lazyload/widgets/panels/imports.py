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
from napari_lazyload.core.text import plain_text
from napari_lazyload.widgets.qt.present import present
from napari_lazyload.widgets.table.painting import is_theme_change, state_styles

_VISIBLE_ROWS = 6
_MARKS = {
    "loaded": "loaded",
    "loading": "loading",
    "failed": "failed",
    "pending": "queued",
    "not installed": "evicted",
}
"""For each state of a package, the state of a table row whose mark it has."""


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

    def refresh(self) -> str:
        """Show the present status if the panel is visible, and return it in one line."""
        status = lazy_imports.import_status()
        if self.isVisible() and status["packages"] != self._shown:
            self._show(status["packages"])
        progress = status["progress"]
        parts = [f"{progress['loaded_packages']} of {progress['total_packages']} loaded"]
        if progress["failed_packages"]:
            parts.append(f"{progress['failed_packages']} failed")
        if progress["is_loading"]:
            parts.append("loading")
        return f"Packages: {', '.join(parts)}"

    def changeEvent(self, event: QEvent | None) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if is_theme_change(event):
            self._shown = {}

    def _show(self, packages: dict[str, Any]) -> None:
        self._shown = packages
        table = self.table
        height = table.fontMetrics().height()
        styles = state_styles(table.palette(), height, table.devicePixelRatioF())
        present(table.verticalHeader()).setDefaultSectionSize(height + 6)
        table.setRowCount(len(packages))
        order = sorted(packages.items(), key=_sort_key)
        for row, (name, package) in enumerate(order):
            seconds = "" if package["load_time"] is None else f"{package['load_time']:.2f}"
            icon, brush = styles[_MARKS[package["status"]]]
            for column, text in enumerate((name, package["status"], seconds)):
                item = QTableWidgetItem(text)
                item.setToolTip(plain_text(package["error"] or text))
                table.setItem(row, column, item)
            state = present(table.item(row, 1))
            state.setIcon(icon)
            state.setForeground(brush)
        header_height = present(table.horizontalHeader()).sizeHint().height()
        rows = min(len(packages), _VISIBLE_ROWS)
        table.setFixedHeight(header_height + rows * (height + 6) + 4)


def _sort_key(item: tuple[str, dict[str, Any]]) -> tuple[bool, str]:
    """Return the key that puts packages that are not installed last, the others by name."""
    name, package = item
    return package["status"] == "not installed", name.lower()
