"""Labels that show names and texts of files as they are, never as HTML."""

from __future__ import annotations

from typing import TypeVar

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

Label = TypeVar("Label", bound=QLabel)


def plain_label(label: Label) -> Label:
    """Let a label show every text as it is, and return it; tooltips: `core.text.plain_text`."""
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label
