"""The numbers of a region: a slider and two fields for each axis, in pixels or in world units."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING, Any

from magicgui.widgets import FloatSpinBox, SpinBox
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QAbstractSpinBox, QGridLayout, QLabel, QWidget
from superqt import QElidingLabel, QRangeSlider

from napari_lazyload.core.region import start_pixel, stop_pixel
from napari_lazyload.core.text import plain_text
from napari_lazyload.widgets.qt.plain_text import plain_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    Range = tuple[int, int]


class AxisRows(QWidget):
    """One row for each axis: its name, the region on a slider, its first and end pixel to edit.

    In world units the numbers are the positions of the region's two edges.

    Attributes
    ----------
    edited : Signal(int)
        The user changed the region along this axis. `set_ranges` does not emit it.
    """

    edited = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(4)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self._boxes: list[tuple[Any, Any]] = []
        self._sliders: list[Any] = []
        self._axes: list[tuple[str, int]] = []
        self._scales: list[tuple[float, float, str]] = []
        self._ranges: list[Range] = []
        self._in_world = False

    def set_axes(
        self,
        axes: Sequence[tuple[str, int]],
        scales: Sequence[tuple[float, float, str]] = (),
        *,
        in_world: bool = False,
    ) -> None:
        """Show a row for each axis; where the axes are new, the region is then all of them.

        Parameters
        ----------
        axes : sequence of (str, int)
            Name and number of pixels.
        scales : sequence of (float, float, str)
            Position of the center of the first pixel, size of a pixel, and unit.
        in_world : bool
            Whether the numbers are positions in those units instead of pixels.
        """
        in_world = in_world and len(scales) == len(axes)
        shown = (self._axes, self._in_world, self._scales if self._in_world else None)
        if shown == (list(axes), in_world, list(scales) if in_world else None):
            return
        before = [(0, size) for _, size in axes]
        if self._axes == list(axes):
            before = self._ranges
        self._axes, self._scales, self._in_world = list(axes), list(scales), in_world
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.setParent(None)
                widget.deleteLater()
        self._boxes, self._sliders = [], []
        self._ranges = list(before)
        for number, edges in enumerate(before):
            self._add_row(number)
            self._show(number, edges)
        for column, title in enumerate(("Axis", "", "from", "to")):
            self._grid.addWidget(plain_label(QLabel(title)), 0, column)

    def _add_row(self, axis: int) -> None:
        name, size = self._axes[axis]
        # magicgui's writes its two numbers into the row as well.
        slider = QRangeSlider(Qt.Orientation.Horizontal)  # type: ignore[no-untyped-call] # superqt has no types here
        slider.setRange(0, max(1, size))
        slider.setValue((0, size))
        slider.setMinimumWidth(40)
        slider.setAccessibleName(f"{name}, region")
        slider.setEnabled(size > 1)
        slider.valueChanged.connect(lambda value: self._on_slider(axis, value))
        texts, width, unit = ("first pixel", "end, the first pixel that is left out"), 60, ""
        if self._in_world:
            texts, width = ("position of the first edge", "position of the last edge"), 74
            unit = self._scales[axis][2]
        start, stop = self._make_box(axis, 0), self._make_box(axis, 1)
        for end, (box, text) in enumerate(zip((start, stop), texts, strict=True)):
            field = box.native
            field.setAccessibleName(f"{name}, {text}")
            field.setToolTip(plain_text(f"{name}: {text}"))
            field.setFixedWidth(width)
            # The arrow keys do it, and the slider.
            field.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
            field.setStyleSheet("padding: 1px 2px;")  # napari leaves room for the buttons
            field.setKeyboardTracking(False)  # what is half typed is no region
            box.changed.connect(lambda value, end=end: self._on_typed(axis, end, value))
        label = plain_label(QElidingLabel(f"{name} ({unit or f'{size:,}'})"))
        label.setAccessibleName(label.text())
        label.setToolTip(plain_text(f"{name}: {size:,} pixels"))
        label.setMaximumWidth(110)
        for column, widget in enumerate((label, slider, start.native, stop.native)):
            self._grid.addWidget(widget, axis + 1, column)
        self._boxes.append((start, stop))
        self._sliders.append(slider)

    def _make_box(self, axis: int, end: int) -> Any:
        size = self._axes[axis][1]
        if not self._in_world:
            return SpinBox(value=end, min=end, max=max(end, size - 1 + end))
        pixel = abs(self._scales[axis][1])
        low, high = sorted((self._position(axis, 0), self._position(axis, size)))
        box = FloatSpinBox(value=low, min=low, max=high, step=pixel)
        box.native.setDecimals(min(12, max(0, 3 - floor(log10(pixel)))))
        return box

    def _position(self, axis: int, edge: int) -> float:
        """Return where the edge before a pixel lies."""
        offset, size, _ = self._scales[axis]
        return offset + size * (edge - 0.5)

    def _on_slider(self, axis: int, value: tuple[int, int]) -> None:
        start, stop = map(int, value)
        size = self._axes[axis][1]
        start = min(start, size - 1)
        self._change(axis, (start, max(start + 1, stop)))

    def _on_typed(self, axis: int, end: int, value: float) -> None:
        edges = list(self._ranges[axis])
        if self._in_world:
            offset, size, _ = self._scales[axis]
            edges[end] = (start_pixel, stop_pixel)[end]((value - offset) / size)
        else:
            edges[end] = int(value)
        self._change(axis, (edges[0], edges[1]))

    def _change(self, axis: int, edges: Range) -> None:
        if edges != self._ranges[axis]:
            self._show(axis, edges)
            self.edited.emit(axis)

    @property
    def fields(self) -> list[QWidget]:
        """Sliders and fields as they are gone through with the tab key."""
        fields: list[QWidget] = []
        for slider, (start, stop) in zip(self._sliders, self._boxes, strict=True):
            fields += [slider, start.native, stop.native]
        return fields

    def ranges(self) -> list[Range]:
        """Return the half-open range of each axis, in pixels."""
        return list(self._ranges)

    def set_ranges(self, ranges: Sequence[Range]) -> None:
        """Show ranges of pixels, as far as the image goes."""
        for axis, edges in enumerate(ranges):
            if edges != self._ranges[axis]:
                self._show(axis, edges)

    def _show(self, axis: int, edges: Range) -> None:
        size = self._axes[axis][1]
        start, stop = min(max(edges[0], 0), max(0, size - 1)), min(max(edges[1], 1), max(1, size))
        self._ranges[axis] = (start, stop)
        slider = self._sliders[axis]
        with QSignalBlocker(slider):
            slider.setValue((min(start, stop), max(start, stop)))
        for box, edge in zip(self._boxes[axis], (start, stop), strict=True):
            value = self._position(axis, edge) if self._in_world else edge
            with box.changed.blocked():
                box.value = min(max(value, box.min), box.max)
