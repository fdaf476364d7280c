"""The dataset dock: the meta table of the selected layer, both ways with the sliders, and what is wrong with a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_lazyload.dataset import ERROR, STATUS
from napari_lazyload.layers.display import link_of
from napari_lazyload.layers.navigation import row_in_view, show_row
from napari_lazyload.layers.viewer import displays_of, thinned_out
from napari_lazyload.loading import scheduler
from napari_lazyload.widgets.attach import attach_open_viewers
from napari_lazyload.widgets.meta_table import MetaTableView
from napari_lazyload.widgets.open_dialogs import become_folder_reader, is_folder_reader, open_files, open_folder
from napari_lazyload.widgets.post import post_to_main

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from qtpy.QtGui import QCloseEvent

    from napari_lazyload.dataset import Dataset

REFRESH_MS = 100
"""Changes of rows are shown at most this often."""


class DatasetDock(QWidget):
    """The meta table of the selected layer's dataset.

    A click or an arrow key on a row moves the sliders there; moving a slider selects its row.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer that the dock belongs to, or npe2's proxy of it.
    parent : QWidget, optional
        The Qt parent.
    """

    def __init__(self, napari_viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        attach_open_viewers()
        # Each look through npe2's proxy inspects the caller, too slow for every step of a slider; public names alone
        # are used all the same.
        self._viewer = viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.dataset: Dataset | None = None
        self._layer: Any = None
        self._disconnect: Any = None
        self._unfollow: Any = None
        self._changed: set[int] = set()
        self._problems: dict[int, str] = {}
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._refresh_rows)
        self.table.rowActivated.connect(self._go_to_row)
        viewer.layers.selection.events.active.connect(self._on_active)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.current_step.connect(self._on_step)
        self._on_active()

    # --- parts ---------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.title = QElidingLabel("", self)
        self.title.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.summary = QLabel(self)
        self.summary.setWordWrap(True)
        self.summary.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.notice = QLabel(self)
        self.notice.setWordWrap(True)
        self.notice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.table = MetaTableView(parent=self)
        self.retry_button = self._button("Retry", "Read the selected file again", self._retry)
        self.finer_button = self._button("Show finer", "Read eight times as much for this view", self._show_finer)
        self.regroup_button = self._button(
            "Reopen in groups", "Read all headers and make one layer for each shape and type", self._regroup
        )
        self.reader_button = self._button(
            "Always open folders with Lazy Load…",
            "Make this plugin the reader for folders in napari's preferences",
            self._become_reader,
        )
        layout = QVBoxLayout(self)
        layout.addLayout(
            _row(
                self._button("Open folder…", "Open a folder of images", lambda: open_folder(self._viewer, self)),
                self._button("Open files…", "Open images as one stack", lambda: open_files(self._viewer, self)),
            )
        )
        layout.addWidget(self.title)
        layout.addWidget(self.summary)
        layout.addWidget(self.table, stretch=1)
        layout.addWidget(self.notice)
        layout.addLayout(_row(self.retry_button, self.finer_button, self.regroup_button))
        layout.addWidget(self.reader_button)
        self.reader_button.setVisible(not is_folder_reader())

    def _button(self, text: str, tip: str, clicked: Callable[[], Any]) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        button.clicked.connect(lambda _checked: clicked())
        return button

    # --- the dataset -----------------------------------------------------------------------------------------------

    def _on_active(self, _event: Any = None) -> None:
        layer = self._viewer.layers.selection.active
        link = link_of(layer) if layer is not None else None
        if link is None or link.dataset is None:
            if self._layer is None:
                self._show_dataset(None)
            return  # another plugin's layer was selected: the table stays
        self._follow(layer)
        if link.dataset is not self.dataset:
            self._show_dataset(link.dataset)
        self._on_step()

    def _follow(self, layer: Any) -> None:
        """Hear what becomes of the view of a layer."""
        self._layer = layer
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None
        displays = displays_of(layer)
        if displays is not None:
            self._unfollow = displays.connect(lambda changed: self._show_state() if changed is self._layer else None)

    def _on_removed(self, event: Any) -> None:
        if event.value is not self._layer:
            return
        others = (layer for layer in self._viewer.layers if (link := link_of(layer)) and link.dataset is self.dataset)
        self._follow(next(others, None))
        if self._layer is None:
            self._show_dataset(None)

    def _show_dataset(self, dataset: Dataset | None) -> None:
        if self._disconnect is not None:
            self._disconnect()
            self._disconnect = None
        self.dataset = dataset
        self._changed.clear()
        if dataset is None:
            self.title.setText("No lazy layer is selected")
            self._take_frame(None, None, {})
        else:
            self.title.setText(dataset.path)
            self.title.setToolTip(dataset.path)
            self._disconnect = dataset.connect(lambda row: post_to_main(lambda: self._on_row_changed(dataset, row)))
            self._load_frame(dataset)

    def _load_frame(self, dataset: Dataset, *, again: bool = False) -> None:
        """Make the table in a worker thread, for a million rows take a while; `again` keeps sort and filter."""

        def load(_job: Any) -> None:
            frame, problems = dataset.meta, dataset.problems()
            post_to_main(lambda: self._take_frame(dataset, frame, problems, again=again))

        scheduler.shared.submit(load, owner=("dataset dock", id(self)))

    def _take_frame(
        self, dataset: Dataset | None, frame: pd.DataFrame | None, problems: dict[int, str], *, again: bool = False
    ) -> None:
        if self._viewer is None or dataset is not self.dataset:
            return  # closed, or another one was selected meanwhile
        import pandas as pd

        self._problems = problems
        if frame is None:
            frame = pd.DataFrame()
        else:  # what fails is seen without scrolling
            frame.insert(1, STATUS, frame.pop(STATUS))
        self.table.set_frame(frame, keep_order=again)
        self._show_summary()
        self._on_step()
        self._show_state()

    def _on_row_changed(self, dataset: Dataset, row: int | None) -> None:
        if dataset is not self.dataset:
            return
        if row is None:
            self._load_frame(dataset, again=True)
            return
        self._changed.add(row)
        if not self._timer.isActive():
            self._timer.start()

    def _refresh_rows(self) -> None:
        if self.dataset is None or not self._changed:
            return
        rows = sorted(row for row in self._changed if row < self.table.model.total_rows)
        self._changed.clear()
        problems = self._problems = self.dataset.problems()
        self.table.update_rows(
            rows,
            {
                STATUS: ["failed" if row in problems else "" for row in rows],
                ERROR: [problems.get(row, "") for row in rows],
            },
        )
        self._show_summary()
        self._show_state()

    def _show_summary(self) -> None:
        """Say how many files there are and what was left out; offer groups where files do not fit."""
        self.summary.setText("" if self.dataset is None else self.dataset.summary)
        self.regroup_button.setVisible(any("reopen in groups" in reason for reason in self._problems.values()))

    def _show_state(self) -> None:
        """Say what is wrong with the row and the view, and offer what can be done."""
        if self._viewer is None:
            return
        problems = self._problems
        row = self.table.selected_source_row
        displays = displays_of(self._layer)
        display = displays.display(self._layer) if displays is not None else None
        said = ["" if display is None else thinned_out(display), "" if row is None else problems.get(row, "")]
        lines = [line for line in said if line]
        self.notice.setText("\n".join(lines))
        self.notice.setVisible(bool(lines))
        self.retry_button.setVisible(row in problems)
        self.finer_button.setVisible(display is not None and display.steps is not None)

    # --- sliders and rows --------------------------------------------------------------------------------------------

    def _on_step(self, _event: Any = None) -> None:
        row = None if self._layer is None else row_in_view(self._viewer, self._layer)
        if row is not None and row != self.table.selected_source_row:
            self.table.select_source_row(row)
        if self.dataset is not None:
            self._show_state()

    def _go_to_row(self, row: int) -> None:
        if self.dataset is None:
            return
        layer = show_row(self._viewer, self.dataset, row)
        if layer is not None and layer is not self._layer:
            self._follow(layer)

    # --- what the buttons do -----------------------------------------------------------------------------------------

    def _retry(self) -> None:
        row = self.table.selected_source_row
        if self.dataset is None or row is None:
            return
        self.dataset.retry(row)
        if self._layer is not None:
            self._layer.refresh()
        self._on_row_changed(self.dataset, row)

    def _show_finer(self) -> None:
        displays = displays_of(self._layer)
        if displays is not None:
            displays.show_finer(self._layer)

    def _regroup(self) -> None:
        from napari_lazyload.widgets.regroup import regroup

        if self.dataset is not None:
            regroup(self._viewer, self.dataset)

    def _become_reader(self) -> None:
        if become_folder_reader(self):
            self.reader_button.hide()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Let go of the viewer."""
        self.close_down()
        super().closeEvent(event)

    def close_down(self) -> None:
        """Disconnect from everything; safe to call twice."""
        viewer, self._viewer = self._viewer, None
        if viewer is None:
            return
        self._timer.stop()
        viewer.layers.selection.events.active.disconnect(self._on_active)
        viewer.layers.events.removed.disconnect(self._on_removed)
        viewer.dims.events.current_step.disconnect(self._on_step)
        if self._disconnect is not None:
            self._disconnect()
            self._disconnect = None
        self._follow(None)
        self.dataset = None
        scheduler.shared.cancel(("dataset dock", id(self)))


def _row(*buttons: QPushButton) -> QHBoxLayout:
    layout = QHBoxLayout()
    for button in buttons:
        layout.addWidget(button)
    return layout
