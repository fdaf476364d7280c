"""Fields and lines that the parts of the crop dock are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QComboBox, QLabel, QStyle, QStyleOptionComboBox, QStylePainter

from napari_lazyload.core.text import plain_text
from napari_lazyload.widgets.qt.plain_text import plain_label

if TYPE_CHECKING:
    from collections.abc import Sequence


def set_choices(combo: ComboBox, choices: Sequence[tuple[str, Any]], otherwise: Any = None) -> None:
    """Put choices into a drop-down list, without a signal; the choice stays where it still is one.

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
        # A function, for magicgui asks again when the dock moves.
        combo.choices = lambda _combo: choices
        for wanted in (before, otherwise):
            same = any(wanted is value for value in values)  # `==` of layers may compare pixels
            if same or (isinstance(wanted, str) and wanted in values):
                combo.value = wanted
                break


def described(widget: Any, name: str, tip: str) -> Any:
    """Return a widget of magicgui with an accessible name, unless that is "", and a tooltip."""
    if name:
        widget.native.setAccessibleName(name)
    widget.native.setToolTip(plain_text(tip))
    return widget


def check(text: str, tip: str, *, checked: bool = False) -> Any:
    """Return a box to tick."""
    return described(CheckBox(value=checked, text=text), "", tip)


def combo(name: str, tip: str) -> ComboBox:
    """Return a drop-down list that may be narrower than its longest choice."""
    made: ComboBox = described(ComboBox(choices=()), name, tip)
    made.native.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    made.native.setMinimumContentsLength(8)
    made.native.installEventFilter(_ElidedText(made.native))
    return made


class _ElidedText(QObject):
    """Paints the choice of a drop-down list shortened where it does not fit.

    The tooltip then has the whole text. superqt shortens labels and line edits, but no such lists.
    """

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
        option.currentText = combo.fontMetrics().elidedText(
            whole, Qt.TextElideMode.ElideMiddle, field.width()
        )
        combo.setToolTip(
            self._tip if option.currentText == whole else plain_text(f"{whole}\n{self._tip}")
        )
        painter = QStylePainter(combo)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        return True


def text_line(name: str) -> QLabel:
    """Return a line of text that wraps and can be copied."""
    label = plain_label(QLabel())
    label.setAccessibleName(name)
    label.setWordWrap(True)
    label.setTextInteractionFlags(
        Qt.TextInteractionFlag.TextSelectableByMouse
        | Qt.TextInteractionFlag.TextSelectableByKeyboard
    )
    return label
