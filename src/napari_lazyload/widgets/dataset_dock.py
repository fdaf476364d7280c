"""The dataset dock: the table of the selected layer, tied to the sliders, and the loading state."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_lazyload.core.text import plain_text, problem_state, size_text
from napari_lazyload.dataset.dataset import ERROR, STATUS
from napari_lazyload.layers.navigation import row_in_view, show_row
from napari_lazyload.layers.viewer import displays_of
from napari_lazyload.widgets.attach import attach_open_viewers, dataset_of
from napari_lazyload.widgets.editable_copy import EditableCopy, can_be_copied
from napari_lazyload.widgets.open_dialogs import (
    become_folder_reader,
    is_folder_reader,
    open_address,
    open_files,
    open_folder,
)
from napari_lazyload.widgets.panels.imports import ImportPanel
from napari_lazyload.widgets.panels.loading import LoadingPanel, display_of
from napari_lazyload.widgets.panels.section import Scrolling, Section
from napari_lazyload.widgets.qt.latest_worker import LatestWorker
from napari_lazyload.widgets.qt.main_thread import post_to_main
from napari_lazyload.widgets.qt.plain_text import plain_label
from napari_lazyload.widgets.table.live_states import LiveStates
from napari_lazyload.widgets.table.view import MetaTableView

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from qtpy.QtGui import QCloseEvent, QHideEvent, QShowEvent

    from napari_lazyload.dataset.dataset import Dataset

REFRESH_MS = 100
"""Changes are shown at most this often, and only while the dock is visible."""

LOADING_EVERY, IMPORTS_EVERY = 2, 10
"""The loading panel refreshes at every second tick, the import panel at every tenth."""


class DatasetDock(QWidget):
    """The meta table of the selected layer's dataset.

    A click or an arrow key on a row moves the sliders there; moving a slider selects its row. The
    states of the rows in sight are shown as they change.

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
        # Each look through npe2's proxy inspects the caller, too slow for every step of a slider;
        # public names alone are used all the same.
        self._viewer = viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.dataset: Dataset | None = None
        self._layer: Any = None
        self._disconnect: Any = None
        self._unfollow: Any = None
        self._changed: set[int] = set()
        self._problems: dict[int, str] = {}
        self._ticks = 0
        self._worker = LatestWorker("napari-lazyload-dock")
        self._copy = EditableCopy(viewer, self._show_copy_text, self)
        self._copy_text = ""
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._refresh_rows)
        self._clock = QTimer(self)
        self._clock.setInterval(REFRESH_MS)
        self._clock.timeout.connect(self._tick)
        self._states = LiveStates(self.table)
        self.table.rowActivated.connect(self._go_to_row)
        viewer.layers.selection.events.active.connect(self._on_active)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.current_step.connect(self._on_step)
        self._destroyed = False
        self.destroyed.connect(partial(_on_destroyed, weakref.ref(self)))
        self._on_active()

    # --- parts

    def _lay_out(self) -> None:
        self.title = plain_label(QElidingLabel("", self))
        self.title.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.summary, self.notice = plain_label(QLabel(self)), plain_label(QLabel(self))
        for label in (self.summary, self.notice):
            label.setWordWrap(True)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.table = MetaTableView(parent=self)
        self._make_offers()
        opening = _row(
            self._opening_button("Open folder…", "Open a folder of images", open_folder),
            self._opening_button("Open files…", "Open images as one stack", open_files),
            self._opening_button("Open URL…", "Open a Zarr store at an address", open_address),
        )
        layout = QVBoxLayout(self)
        layout.addLayout(opening)
        layout.addWidget(self.title)
        layout.addWidget(self.summary)
        layout.addWidget(self.table, stretch=1)
        layout.addWidget(Scrolling(self._lay_out_below()))

    def _make_offers(self) -> None:
        """Make the buttons that are offered where they are of use."""
        self.retry_button = self._button("Retry", "Read the selected file again", self._retry)
        self.finer_button = self._button(
            "Show finer", "Read more for this view than is set aside for it", self._show_finer
        )
        self.copy_button = self._button(
            "Editable copy of the view",
            "Add what is in view as a layer in memory: in a lazy layer labels cannot be painted",
            lambda: self._copy.start(self._layer),
        )
        self.regroup_button = self._button(
            "Reopen in groups",
            "Read all headers and make one layer for each shape and type",
            self._regroup,
        )
        self.reader_button = self._button(
            "Always open folders with Lazy Load…",
            "Make this plugin the reader for folders in napari's preferences",
            self._become_reader,
        )

    def _lay_out_below(self) -> QWidget:
        """Return what stands below the table."""
        below = QWidget(self)
        layout = QVBoxLayout(below)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.notice)
        offers = (self.retry_button, self.finer_button, self.regroup_button, self.copy_button)
        layout.addLayout(_row(*offers))
        for button in offers:
            button.hide()
        self.loading = LoadingPanel(self._viewer.layers, lambda: self._layer)
        self.loading_section = Section(self.loading, opened=True, parent=self)
        self.imports = ImportPanel()
        self.imports_section = Section(self.imports, opened=False, parent=self)
        for section, refresh in (
            (self.loading_section, self._refresh_loading),
            (self.imports_section, self._refresh_imports),
        ):
            layout.addWidget(section)
            section.header.toggled.connect(refresh)
            refresh()
        layout.addWidget(self.reader_button)
        self.reader_button.setVisible(not is_folder_reader())
        return below

    def _button(self, text: str, tip: str, clicked: Callable[[], Any]) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        button.clicked.connect(lambda _checked: clicked())
        return button

    def _opening_button(self, text: str, tip: str, ask: Callable[[Any, QWidget], Any]) -> QWidget:
        return self._button(text, tip, lambda: ask(self._viewer, self))

    # --- the dataset

    def _on_active(self, _event: Any = None) -> None:
        layer = self._viewer.layers.selection.active
        dataset = dataset_of(layer)
        if dataset is None:
            if self._layer is None:
                self._show_dataset(None)
            return  # another plugin's layer was selected: the table stays
        self._follow(layer)
        if dataset is not self.dataset:
            self._show_dataset(dataset)
        self._on_step()

    def _follow(self, layer: Any) -> None:
        """Listen to changes of the view of a layer."""
        self._layer = layer
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None
        displays = displays_of(layer)
        if displays is not None:
            self._unfollow = displays.connect(self._on_display)

    def _on_display(self, changed: Any) -> None:
        if changed is self._layer:
            self._show_state()

    def _on_removed(self, event: Any) -> None:
        if event.value is not self._layer:
            return
        layers = self._viewer.layers
        others = (layer for layer in layers if dataset_of(layer) is self.dataset)
        self._follow(next(others, None))
        if self._layer is None:
            self._show_dataset(None)

    def _show_dataset(self, dataset: Dataset | None) -> None:
        if self._disconnect is not None:
            self._disconnect()
            self._disconnect = None
        self.dataset = dataset
        self._worker.cancel()
        self._changed.clear()
        if dataset is None:
            self.title.setText("No lazy layer is selected")
            self._take_frame(None, None, {})
        else:
            self.title.setText(dataset.path)
            self.title.setToolTip(plain_text(dataset.path))
            self._disconnect = dataset.connect(
                lambda row: post_to_main(lambda: self._on_row_changed(dataset, row))
            )
            self._load_frame(dataset)

    def _load_frame(self, dataset: Dataset, *, again: bool = False) -> None:
        """Make the table in a thread: many rows take a while. `again` keeps sort and filter."""

        def load(checkpoint: Callable[[], None]) -> None:
            frame, problems = dataset.meta, dataset.problems()
            checkpoint()
            post_to_main(lambda: self._take_frame(dataset, frame, problems, again=again))

        self._worker.submit(load)  # not in the pool, which the user may have paused

    def _take_frame(
        self,
        dataset: Dataset | None,
        frame: pd.DataFrame | None,
        problems: dict[int, str],
        *,
        again: bool = False,
    ) -> None:
        if self._viewer is None or dataset is not self.dataset:
            return  # closed, or another one was selected meanwhile
        import pandas as pd

        self._problems = problems
        self._states.follow(dataset, problems)
        if frame is None:
            frame = pd.DataFrame()
        else:  # what fails is seen without scrolling
            frame.insert(1, STATUS, frame.pop(STATUS))
        self.table.model.set_frame(frame, keep_order=again)
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
        problems = self._problems = self._states.problems = self.dataset.problems()
        self.table.model.update_rows(rows, {ERROR: [problems.get(row, "") for row in rows]})
        self._states.show(rows)
        self._show_summary()
        self._show_state()

    # --- what changes

    def _tick(self) -> None:
        """Show the changes since the last tick."""
        self._ticks += 1
        self._states.refresh()
        if self._ticks % LOADING_EVERY == 0:
            self._refresh_loading()
        if self._ticks % IMPORTS_EVERY == 0:
            self._refresh_imports()

    def _refresh_loading(self, _opened: bool = True) -> None:
        self.loading_section.set_text(self.loading.refresh())

    def _refresh_imports(self, _opened: bool = True) -> None:
        self.imports_section.set_text(self.imports.refresh())

    def _show_summary(self) -> None:
        """Show the number of files and what was left out; offer groups for files that differ."""
        self.summary.setText("" if self.dataset is None else self.dataset.summary)
        self.regroup_button.setVisible("different" in map(problem_state, self._problems.values()))

    def _show_state(self) -> None:
        """Show what is wrong with the row and the view, and offer what can be done."""
        if self._viewer is None:
            return
        row = self.table.selected_source_row
        display = display_of(self._layer)
        lines = [] if display is None else [display.notice, display.level_text]
        if row is not None:
            lines.append(self._problems.get(row, ""))
        self.notice.setText("\n".join(filter(None, [*lines, self._copy_text])))
        self.retry_button.setVisible(row in self._problems)
        finer = None if display is None else display.finer_nbytes
        self.finer_button.setVisible(finer is not None)
        if finer is not None:
            self.finer_button.setText(f"Show finer ({size_text(finer)})")
        self.copy_button.setVisible(can_be_copied(self._layer))

    def _show_copy_text(self, text: str) -> None:
        """Show how the copy of labels goes on."""
        self._copy_text = text
        self._show_state()

    # --- sliders and rows

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

    # --- what the buttons do

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

    def showEvent(self, event: QShowEvent | None) -> None:
        """Follow the states of chunks."""
        super().showEvent(event)
        if self._viewer is not None:
            self._clock.start()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Stop refreshing what nobody sees."""
        super().hideEvent(event)
        self._clock.stop()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Let go of the viewer."""
        self.close_down()
        super().closeEvent(event)

    def close_down(self) -> None:
        """Disconnect from everything; safe to call twice."""
        viewer, self._viewer = self._viewer, None
        if viewer is None:
            return
        if not self._destroyed:  # Qt's own parts are gone by then
            self._timer.stop()
            self._clock.stop()
            self._copy.stop()
        self.loading.close_down()
        self._worker.cancel()
        self._states.follow(None, {})
        viewer.layers.selection.events.active.disconnect(self._on_active)
        viewer.layers.events.removed.disconnect(self._on_removed)
        viewer.dims.events.current_step.disconnect(self._on_step)
        if self._disconnect is not None:
            self._disconnect()
            self._disconnect = None
        self._follow(None)
        self.dataset = None

    def _on_destroyed(self) -> None:
        """Let go of the viewer, which closes without a call to its docks."""
        self._destroyed = True
        self.close_down()


def _on_destroyed(dock: weakref.ref[DatasetDock]) -> None:
    found = dock()
    if found is not None:
        found._on_destroyed()  # noqa: SLF001 - same module


def _row(*buttons: QWidget) -> QHBoxLayout:
    layout = QHBoxLayout()
    for button in buttons:
        layout.addWidget(button)
    return layout
