"""How many chunks of each lazy layer are loaded, queued or failed, the rate, and how to stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ProgressBar, PushButton
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_lazyload.core.source import status_token
from napari_lazyload.core.text import plain_text
from napari_lazyload.layers.display.layer_display import link_of
from napari_lazyload.layers.viewer import displays_of
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.widgets.panels.load_rates import (
    Rates,
    cache_text,
    counts_text,
    head_text,
    rate_text,
    seconds_left,
)
from napari_lazyload.widgets.panels.section import Scrolling
from napari_lazyload.widgets.qt.plain_text import plain_label

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.layers.display.layer_display import LayerDisplay
    from napari_lazyload.loading.status import LoadSummary

_MOST_HEIGHT = 104
_BAR_HEIGHT = 4


class LoadingPanel(QWidget):
    """The loading of a viewer's lazy layers.

    Parameters
    ----------
    layers : napari LayerList
        The layers of the viewer.
    followed : callable
        Returns the lazy layer, or None, whose loading is cancelled where no other is selected.
    parent : QWidget, optional
        The Qt parent.
    """

    def __init__(
        self, layers: Any, followed: Callable[[], Any], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._layers = layers
        self._followed = followed
        self._rates = Rates()
        self._rows: dict[int, _LayerRow] = {}
        self._paused_here = False
        self.totals = plain_label(QLabel(self))
        self.memory = plain_label(QLabel(self))
        for label in (self.totals, self.memory):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.pause = _button(
            "Pause",
            "Let what is queued wait, in all viewers; what is being read is read",
            self._pause,
        )
        self.cancel = _button(
            "Cancel", "Read nothing more for this view of the selected layer", self._cancel
        )
        self.clear = _button(
            "Clear cache",
            "Free the memory of loaded chunks; what is shown stays",
            _clear_cache,
        )
        self._lay_out()

    def _lay_out(self) -> None:
        rows = QWidget(self)
        self._list = QVBoxLayout(rows)
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.setSpacing(3)
        area = Scrolling(rows, least=_MOST_HEIGHT, most=_MOST_HEIGHT)
        area.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        buttons = QHBoxLayout()
        for button in (self.pause, self.cancel, self.clear):
            buttons.addWidget(button.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(area)
        layout.addWidget(self.totals)
        layout.addWidget(self.memory)
        layout.addLayout(buttons)

    # --- the state of loading

    def refresh(self) -> str:
        """Show the present status if the panel is visible, and return it in one line."""
        layers = {id(layer): layer for layer in self._layers if link_of(layer) is not None}
        links = filter(None, map(link_of, layers.values()))
        sources = [link.image.source for link in links]
        summary = status.shared.summary({status_token(source) for source in sources})
        self._rates.add(time.monotonic(), summary.reads, summary.read_nbytes)
        if self.isVisible():
            self._show_layers(layers)
            self.totals.setText(rate_text(summary, self._rates))
            self.memory.setText(cache_text(cache.shared.snapshot()))
            self.pause.text = "Go on" if scheduler.shared.paused else "Pause"
            self.cancel.enabled = _is_waiting(self._selected())
        threads = max((scheduler.pool_of(source).workers for source in sources), default=1)
        left = seconds_left(summary, self._rates.chunks, threads)
        return head_text(summary, left, paused=scheduler.shared.paused)

    def _show_layers(self, layers: dict[int, Any]) -> None:
        if list(layers) != list(self._rows):
            self._make_rows(layers)
        for key, layer in layers.items():
            self._rows[key].show_layer(layer)

    def _make_rows(self, layers: dict[int, Any]) -> None:
        """Make a row for each layer, the top layer of the viewer first."""
        for row in self._rows.values():
            self._list.removeWidget(row)
        gone = [row for key, row in self._rows.items() if key not in layers]
        self._rows = {key: self._rows.get(key) or _LayerRow() for key in layers}
        for row in reversed(self._rows.values()):
            self._list.addWidget(row)
        for row in gone:
            row.setParent(None)
            row.deleteLater()

    def _selected(self) -> Any:
        active = self._layers.selection.active
        return self._followed() if link_of(active) is None else active

    # --- what the buttons do

    def _pause(self) -> None:
        self._paused_here = not scheduler.shared.paused
        scheduler.pause(paused=self._paused_here)
        self.refresh()

    def _cancel(self) -> None:
        display = display_of(self._selected())
        if display is not None:
            display.cancel()

    def close_down(self) -> None:
        """Resume loading that was paused here: nobody could, once the panel is gone."""
        if self._paused_here:
            scheduler.pause(paused=False)
            self._paused_here = False


class _LayerRow(QWidget):
    """Name, numbers and progress of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self._most = 0
        self.name = plain_label(QElidingLabel(self))
        self.name.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.counts = plain_label(QLabel(self))
        bar = ProgressBar()
        self.bar: Any = bar.native
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(_BAR_HEIGHT)
        self._bar = bar  # magicgui's part owns the native one
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # no jumps as it comes and goes
        self.bar.setSizePolicy(policy)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(1)
        grid.setColumnStretch(0, 1)
        grid.addWidget(self.name, 0, 0)
        grid.addWidget(self.counts, 0, 1)
        grid.addWidget(self.bar, 1, 0, 1, 2)

    def show_layer(self, layer: Any) -> None:
        """Show the present state of a layer."""
        summary = _summary(layer)
        if summary is None:
            return
        display = display_of(layer)
        lines = [layer.name, "" if display is None else display.level_text]
        self.name.setText(layer.name)
        self.name.setToolTip(plain_text("\n".join(filter(None, lines))))
        self.counts.setText(counts_text(summary))
        self.counts.setToolTip(f"{summary.evicted:,} more were loaded and are no longer in memory")
        done, total = self._progress(display, summary)
        self.bar.setVisible(total > 0)
        self.bar.setRange(0, max(1, total))
        self.bar.setValue(done)

    def _progress(self, display: LayerDisplay | None, summary: LoadSummary) -> tuple[int, int]:
        """Return how many chunks of the view are there, of how many; else of all queued ones."""
        waiting = summary.queued + summary.loading
        if not waiting:
            self._most = 0
            return 0, 0
        self._most = max(self._most, waiting)
        done, total = (0, 0) if display is None else display.progress
        return (done, total) if done < total else (self._most - waiting, self._most)


def _summary(layer: Any) -> LoadSummary | None:
    """Return the state of loading of a layer, None where it is not lazy."""
    link = link_of(layer)
    return None if link is None else status.shared.summary([status_token(link.image.source)])


def _is_waiting(layer: Any) -> bool:
    summary = _summary(layer)
    return summary is not None and bool(summary.queued or summary.loading)


def display_of(layer: Any) -> LayerDisplay | None:
    """Return the display of a layer, None where it has none."""
    displays = displays_of(layer)
    return None if displays is None else displays.display(layer)


def _clear_cache() -> None:
    cache.shared.drop()


def _button(text: str, tip: str, clicked: Callable[[], Any]) -> PushButton:
    button = PushButton(text=text, tooltip=tip)
    button.changed.connect(clicked)
    return button
