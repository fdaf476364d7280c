"""The form of the crop dock: its fields, its rows of numbers, its lines of text."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from magicgui.widgets import LineEdit, ProgressBar, PushButton, SpinBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_lazyload.core.text import plain_text
from napari_lazyload.widgets.crop.axis_rows import AxisRows
from napari_lazyload.widgets.crop.fields import check, combo, described, set_choices, text_line
from napari_lazyload.widgets.crop.output import ZARR, OutputForm
from napari_lazyload.widgets.panels.section import Scrolling, Section
from napari_lazyload.widgets.qt.plain_text import plain_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_UNREADABLE = [("Stop", ""), ("Leave blank", "blank"), ("Leave out", "skip")]


class CropForm(QWidget):
    """The fields and lines of the crop dock.

    What is chosen scrolls where the dock is low; what is done (the costs, the buttons, the message)
    stays in sight.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layer = combo("Layer", "What to crop")
        self.several = check(
            "All selected layers", "Crop each layer that is selected in the list, at the same place"
        )
        self.region = combo(
            "Region", "Where the region comes from; editing the numbers makes it yours"
        )
        self.draw = described(
            PushButton(text="Draw"), "Draw a rectangle", "Drag a rectangle over the image"
        )
        self.masked = check(
            "Only what is inside the shape", "Pixels whose center lies outside of it become 0"
        )
        self.box_size = described(
            LineEdit(value="64"),
            "Size",
            "Pixels: 64 for the displayed axes, 16 x 64 x 64 for the last ones, or z=16, y=64",
        )
        self.seed = described(
            SpinBox(value=0, min=0, max=2**31 - 1),
            "Seed",
            "The same number gives the same box again",
        )
        self.frames = combo(
            "Other axes", "What is taken along the axes that the region says nothing about"
        )
        self.rows = AxisRows()
        self.level = combo("Level", "Resolution; 0 is the finest")
        self.dtype = combo("Type", "Type of the result's pixels")
        self.output = OutputForm()
        self.in_world = check(
            "Numbers in world units", "Positions of the region's edges instead of pixel numbers"
        )
        self.outline = check(
            "Outline on the canvas", "Show the region as a layer of its own", checked=True
        )
        self.on_error = combo("Unreadable", "What becomes of frames and chunks that cannot be read")
        set_choices(self.on_error, _UNREADABLE)
        self.name = LineEdit(value="")
        self.name.native.setAccessibleName("Name of the region")
        self.name.native.setPlaceholderText("name of the region")
        self.keep = _button(
            "Keep", "Keep this region with its layer, to pick it again from the list of regions"
        )
        self.forget = _button("Forget", "Take the region of this name off the list of regions")
        self._add_results()

    def _add_results(self) -> None:
        """Make what stays in sight: the costs, the buttons, the message."""
        self.more = Section(self._lay_out_more(), opened=False)
        self.more.set_text("More")
        self.cost = text_line("Size and cost of the crop")
        self.warning = text_line("What the type loses")
        self.crop = PushButton(text="Crop")
        self.lazy = _button(
            "Lazy layer", "Add the region as a layer that reads what is looked at, and nothing now"
        )
        self.to_file = _button("To a file", "Write the region into a file, piece by piece")
        self.copy = _button("Copy as Python", "Put a script that does the same on the clipboard")
        self.cancel = PushButton(text="Cancel")
        self.progress = ProgressBar(value=0, min=0, max=1)
        self.message = text_line("Message")
        self._labels: dict[Any, QLabel] = {}
        self._levels: list[str] = []
        self._lay_out()

    def show_layer(
        self,
        axes: Sequence[tuple[str, int]],
        levels: Iterable[tuple[Sequence[int], str]] = (),
        own: Any = "",
        types: Sequence[str] = (),
        scales: Sequence[tuple[float, float, str]] = (),
    ) -> None:
        """Show what can be chosen of a layer.

        Parameters
        ----------
        axes : sequence of (str, int)
            Names and level-0 pixels.
        levels : iterable of (sequence of int, str)
            Shape of each level, and which pixels it has where no file holds it, else "".
        own : dtype
            Of the layer.
        types : sequence of str
            Names of the dtypes that its pixels may be cast to; "" stands for its own.
        scales : sequence of (float, float, str)
            What turns pixels into world units, as `AxisRows.set_axes` takes it.
        """
        self.rows.set_axes(axes, scales, in_world=bool(self.in_world.value))
        self._levels = []
        for number, (shape, computed) in enumerate(levels):
            note = computed and f" ({computed})"
            self._levels.append(f"{number}: {' x '.join(map(str, shape))}{note}")
        set_choices(self.level, [(name, number) for number, name in enumerate(self._levels)])
        self.set_row_visible(self.level, len(self._levels) > 1)
        set_choices(self.dtype, [(f"Unchanged ({own})", ""), *zip(types, types, strict=True)])
        self._set_tab_order()

    def _set_tab_order(self) -> None:
        """Go through all fields from top to bottom with the tab key."""
        output = self.output
        fields: list[Any] = [self.layer, self.several, self.region, self.draw, self.masked]
        fields += [self.box_size, self.seed, self.frames, *self.rows.fields]
        fields += [self.level, self.dtype, output.kind, output.path, output.browse]
        fields += [output.reopen, output.pyramid, output.sharded, self.more.header]
        fields += [self.in_world, self.outline, self.on_error, self.name, self.keep, self.forget]
        fields += [self.crop, self.lazy, self.to_file, self.copy, self.cancel]
        for field, after in pairwise(fields):
            QWidget.setTabOrder(getattr(field, "native", field), getattr(after, "native", after))

    def show_level_costs(self, costs: Sequence[tuple[str, str]]) -> None:
        """Show beside each level what the crop would cost there; all of it is in the tooltip."""
        for number, (short, long) in enumerate(costs):
            text = f"{self._levels[number]}, {short}"
            if self.level.native.itemText(number) != text:
                self.level.native.setItemText(number, text)
            self.level.native.setItemData(number, plain_text(long), Qt.ItemDataRole.ToolTipRole)

    def set_row_visible(self, field: Any, visible: bool) -> None:
        """Show or hide a field together with its label."""
        self._labels[field].setVisible(visible)
        field.native.setVisible(visible)

    def set_running(self, running: bool) -> None:
        """Show the progress and *Cancel* while a crop runs; the focus moves with the button."""
        leaving, entering = self.cancel, self.crop
        if running:
            leaving, entering = entering, leaving
        self.progress.native.setVisible(running)
        had_focus = leaving.native.hasFocus()
        entering.native.setVisible(True)
        entering.enabled = True
        if had_focus:
            entering.native.setFocus()
        self.cancel.native.setVisible(running)
        self.copy.native.setVisible(not running)

    def show_progress(self, done: int, total: int, *, in_chunks: bool) -> None:
        """Show how much of a crop is done: its chunks, or a percentage of what Qt may not count."""
        text = "%v of %m chunks"
        if not in_chunks:
            text, done, total = "%p %", int(1000 * done / max(1, total)), 1000
        self.progress.native.setFormat(text)
        self.progress.max = max(1, total)
        self.progress.value = min(done, total)

    def take_file(self) -> None:
        """Choose a file as the result, and let its name be typed."""
        self.output.kind.value = ZARR
        self.output.path.native.setFocus()

    def _lay_out_more(self) -> QWidget:
        content = QWidget()
        row = QHBoxLayout()
        label = plain_label(QLabel("If unreadable"))
        label.setBuddy(self.on_error.native)
        row.addWidget(label)
        row.addWidget(self.on_error.native, 1)
        kept = QHBoxLayout()
        for field in (self.name, self.keep, self.forget):
            kept.addWidget(field.native)
        layout = QVBoxLayout(content)
        layout.setContentsMargins(12, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.in_world.native)
        layout.addWidget(self.outline.native)
        layout.addLayout(row)
        layout.addLayout(kept)
        return content

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        grid.setVerticalSpacing(4)
        grid.setContentsMargins(0, 0, 4, 0)
        labelled: tuple[Any, ...] = (
            self.layer,
            self.region,
            self.box_size,
            self.seed,
            self.frames,
            self.level,
            self.dtype,
        )
        wide = {1: self.several.native, 3: self.masked.native}
        places = dict(zip(labelled, (0, 2, 5, 6, 7, 9, 10), strict=True))
        for field, row in places.items():
            self._labels[field] = plain_label(QLabel(field.native.accessibleName()))
            self._labels[field].setBuddy(field.native)
            grid.addWidget(self._labels[field], row, 0)
            grid.addWidget(field.native, row, 1, 1, 1 if field is self.region else 2)
        grid.addWidget(self.draw.native, 2, 2)
        for row, widget in wide.items():
            grid.addWidget(widget, row, 1, 1, 2)
        grid.addWidget(self.rows, 8, 0, 1, 3)
        self.output.add_to(grid, 11)
        grid.addWidget(self.more, 15, 0, 1, 3)
        inner = QWidget()
        choices = QVBoxLayout(inner)
        choices.setContentsMargins(0, 0, 0, 0)
        choices.addLayout(grid)
        choices.addStretch(1)
        buttons = QHBoxLayout()
        for button in (self.crop, self.lazy, self.to_file, self.copy, self.cancel):
            buttons.addWidget(button.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(Scrolling(inner, least=150))
        layout.addWidget(self.cost)
        layout.addWidget(self.warning)
        layout.addLayout(buttons)
        layout.addWidget(self.progress.native)
        layout.addWidget(self.message)
        for button in (self.lazy, self.to_file):
            button.native.setVisible(False)
        self.set_running(False)


def _button(text: str, tip: str) -> Any:
    return described(PushButton(text=text), "", tip)
