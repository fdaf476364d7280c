"""What the crop dock is made of: its fields, its rows of numbers, its lines of text. No behaviour but its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, ProgressBar, PushButton, SpinBox
from qtpy.QtCore import QEvent, QObject, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)

from napari_lazyload.widgets._section import Scrolling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Range = tuple[int, int]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(nbytes: float) -> str:
    """Return a number of bytes for people: ``512 B``, ``3.1 MiB``, ``40 MiB``."""
    if nbytes < 1024:
        return f"{nbytes:.0f} B"
    for unit in _UNITS:
        nbytes /= 1024
        if nbytes < 1023.5 or unit == _UNITS[-1]:
            break
    return f"{nbytes:.1f} {unit}" if nbytes < 9.95 else f"{nbytes:,.0f} {unit}"


class AxisRows(QWidget):
    """One row for each axis: its name, and the first and the end pixel of the region as numbers to edit.

    Attributes
    ----------
    edited : Signal(int)
        The user changed a number of this axis. `set_ranges` does not emit it.
    """

    edited = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        self._grid.setColumnStretch(2, 1)
        self._boxes: list[tuple[Any, Any]] = []
        self._axes: list[tuple[str, int]] = []

    def set_axes(self, axes: Sequence[tuple[str, int]]) -> None:
        """Show a row for each name and number of pixels; the region is then all of them."""
        if list(axes) == self._axes:
            return
        self._axes = list(axes)
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.setParent(None)
                widget.deleteLater()
        self._boxes = [self._add_row(row + 1, name, size) for row, (name, size) in enumerate(axes)]
        for column, title in enumerate(("Pixels", "from", "to", "of")):
            self._grid.addWidget(QLabel(title), 0, column)

    def _add_row(self, row: int, name: str, size: int) -> tuple[Any, Any]:
        start = SpinBox(value=0, min=0, max=max(0, size - 1))
        stop = SpinBox(value=size, min=1, max=max(1, size))
        for box, what in ((start, "first pixel"), (stop, "end, the first pixel that is left out")):
            box.native.setAccessibleName(f"{name}, {what}")
            box.native.setToolTip(f"{name}: {what}")
            box.native.setMinimumWidth(64)
            box.changed.connect(lambda _value, axis=row - 1: self.edited.emit(axis))
        label = Elided(name)
        label.setMaximumWidth(80)
        for column, widget in enumerate((label, start.native, stop.native, QLabel(f"{size:,}"))):
            self._grid.addWidget(widget, row, column)
        return start, stop

    def ranges(self) -> list[Range]:
        """Return the half-open range of each axis, as it stands in the boxes."""
        return [(int(start.value), int(stop.value)) for start, stop in self._boxes]

    def set_ranges(self, ranges: Sequence[Range]) -> None:
        """Put ranges into the boxes, as far as these go."""
        for pair, boxes in zip(ranges, self._boxes, strict=True):
            for value, box in zip(pair, boxes, strict=True):
                with box.changed.blocked():
                    box.value = min(max(value, box.min), box.max)


class Elided(QLabel):
    """A label that shortens what does not fit, and tells the whole as a tooltip."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._whole = text
        self.setToolTip(text)
        self.setAccessibleName(text)
        self.setText(text)

    def minimumSizeHint(self) -> QSize:
        """Let the layout make it as narrow as two letters."""
        return QSize(self.fontMetrics().averageCharWidth() * 2, super().minimumSizeHint().height())

    def resizeEvent(self, event: Any) -> None:
        """Shorten the text to the new width."""
        super().resizeEvent(event)
        self.setText(self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, self.width()))


class CropForm(QWidget):
    """The fields and lines of the crop dock.

    What is chosen scrolls where the dock is low; what is done (the costs, the buttons, the message) stays in sight.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layer = _combo("Layer", "What to crop")
        self.region = _combo("Region", "Where the region comes from; editing the numbers makes it yours")
        self.draw = PushButton(text="Draw rectangle")
        self.draw.native.setToolTip("Drag a rectangle over the image")
        self.frames = _combo("Other axes", "What is taken along the axes that the region says nothing about")
        self.rows = AxisRows()
        self.level = _combo("Level", "Resolution; 0 is the finest")
        self.dtype = _combo("Type", "Type of the result's pixels")
        self.cost = _line("Size and cost of the crop")
        self.crop = PushButton(text="Crop")
        self.lazy = PushButton(text="Lazy layer")
        self.lazy.native.setToolTip("Add the region as a layer that reads what is looked at, and nothing now")
        self.cancel = PushButton(text="Cancel")
        self.progress = ProgressBar(value=0, min=0, max=1)
        self.progress.native.setFormat("%v of %m chunks")
        self.message = _line("Message")
        self._labels: dict[Any, QLabel] = {}
        self._lay_out()

    def show_layer(
        self,
        axes: Sequence[tuple[str, int]],
        levels: Iterable[Sequence[int]] = (),
        own: Any = "",
        types: Sequence[str] = (),
    ) -> None:
        """Show what can be chosen of a layer.

        Parameters
        ----------
        axes : sequence of (str, int)
            Names and level-0 pixels.
        levels : iterable of sequence of int
            Shape of each level.
        own : dtype
            Of the layer.
        types : sequence of str
            Names of the dtypes that its pixels may be cast to; "" stands for its own.
        """
        self.rows.set_axes(axes)
        shapes = [" x ".join(map(str, shape)) for shape in levels]
        offer(self.level, [(f"{number}: {shape}", number) for number, shape in enumerate(shapes)])
        self.set_row_visible(self.level, len(shapes) > 1)
        offer(self.dtype, [(f"Unchanged ({own})", ""), *((name, name) for name in types)])

    def set_row_visible(self, field: Any, visible: bool) -> None:
        """Show or hide a field together with its label."""
        self._labels[field].setVisible(visible)
        field.native.setVisible(visible)

    def set_running(self, running: bool) -> None:
        """Show the progress and *Cancel* while a crop runs; the keyboard goes from one button to the other."""
        leaving = self.crop if running else self.cancel
        entering = self.cancel if running else self.crop
        self.progress.native.setVisible(running)
        had_focus = leaving.native.hasFocus()
        entering.native.setVisible(True)
        entering.enabled = True
        if had_focus:
            entering.native.setFocus()
        self.cancel.native.setVisible(running)

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        grid.setContentsMargins(0, 0, 4, 0)
        for row, field in {0: self.layer, 1: self.region, 3: self.frames, 5: self.level, 6: self.dtype}.items():
            self._labels[field] = QLabel(field.native.accessibleName())
            self._labels[field].setBuddy(field.native)
            grid.addWidget(self._labels[field], row, 0)
            grid.addWidget(field.native, row, 1)
        grid.addWidget(self.draw.native, 2, 1)
        grid.addWidget(self.rows, 4, 0, 1, 2)
        inner = QWidget()
        choices = QVBoxLayout(inner)
        choices.setContentsMargins(0, 0, 0, 0)
        choices.addLayout(grid)
        choices.addStretch(1)
        buttons = QHBoxLayout()
        for button in (self.crop, self.lazy, self.cancel):
            buttons.addWidget(button.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(Scrolling(inner))
        layout.addWidget(self.cost)
        layout.addLayout(buttons)
        layout.addWidget(self.progress.native)
        layout.addWidget(self.message)
        self.lazy.native.setVisible(False)
        self.set_running(False)


def offer(combo: ComboBox, choices: Sequence[tuple[str, Any]], otherwise: Any = None) -> None:
    """Put choices into a drop-down list, in their order, quietly; what is chosen stays so where it still is one.

    Parameters
    ----------
    combo : ComboBox
        The list.
    choices : sequence of (str, Any)
        What they are called, and what they are.
    otherwise : Any
        What is chosen where the old choice is gone; the first one if this is none of them either.
    """
    before = combo.value
    values = [value for _, value in choices]
    with combo.changed.blocked():
        combo.native.clear()  # magicgui would leave the old ones before the new ones
        combo.choices = lambda _combo: choices  # a function, for magicgui asks again when the dock moves
        for wanted in (before, otherwise):
            if any(wanted is value or (isinstance(wanted, str) and wanted == value) for value in values):
                combo.value = wanted
                break


def _combo(name: str, tip: str) -> ComboBox:
    """Return a drop-down list that may be narrower than its longest choice."""
    combo = ComboBox(choices=())
    combo.native.setAccessibleName(name)
    combo.native.setToolTip(tip)
    combo.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.native.setMinimumContentsLength(12)
    combo.native.installEventFilter(_ElidedText(combo.native))
    return combo


class _ElidedText(QObject):
    """Paints the choice of a drop-down list shortened where it does not fit; the tooltip then tells the whole."""

    def __init__(self, combo: QComboBox) -> None:
        super().__init__(combo)
        self._tip = combo.toolTip()

    def eventFilter(self, combo: Any, event: QEvent | None) -> bool:
        """Paint in place of Qt, which cuts the text off."""
        if event is None or event.type() != QEvent.Type.Paint:
            return False
        option = QStyleOptionComboBox()
        combo.initStyleOption(option)
        whole = option.currentText
        part = QStyle.SubControl.SC_ComboBoxEditField
        field = combo.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, combo)
        option.currentText = combo.fontMetrics().elidedText(whole, Qt.TextElideMode.ElideMiddle, field.width())
        combo.setToolTip(self._tip if option.currentText == whole else f"{whole}\n{self._tip}")
        painter = QStylePainter(combo)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        return True


def _line(name: str) -> QLabel:
    """Return a line of text that wraps and can be copied."""
    label = QLabel()
    label.setAccessibleName(name)
    label.setWordWrap(True)
    label.setTextInteractionFlags(
        Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
    )
    return label
