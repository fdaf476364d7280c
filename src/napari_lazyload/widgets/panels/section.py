"""Parts of a dock that make room: one that opens and closes, one that scrolls."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QFrame, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_lazyload.core.text import plain_text
from napari_lazyload.widgets.qt.present import present

_OPEN, _CLOSED = "\N{BLACK DOWN-POINTING SMALL TRIANGLE}", "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"

_FLAT = """
QPushButton { text-align: left; border: none; padding: 2px; background: transparent; }
QPushButton:focus { text-decoration: underline; }
"""


class Section(QWidget):
    """A line with the most important facts, and below it details that a click hides.

    Parameters
    ----------
    content : QWidget
        The details.
    opened : bool
        Whether it is open at first.
    parent : QWidget, optional
        The Qt parent.

    Attributes
    ----------
    text : str
        What the line says.
    header : QPushButton
        The line; mouse, space and enter open and close the section.
    """

    def __init__(self, content: QWidget, *, opened: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content = content
        self.text = ""
        self.header = QPushButton(self)
        self.header.setCheckable(True)
        self.header.setChecked(opened)
        self.header.setAutoDefault(True)  # so that enter works, too
        self.header.setStyleSheet(_FLAT)
        self.header.setCursor(Qt.CursorShape.PointingHandCursor)
        self.header.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.header.toggled.connect(self._toggle)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.header)
        layout.addWidget(content)
        self._toggle(opened)

    def set_text(self, text: str) -> None:
        """Set what the line says."""
        if text != self.text:
            self.text = text
            self._show_text()

    def _toggle(self, opened: bool) -> None:
        self.content.setVisible(opened)
        self._show_text()

    def _show_text(self) -> None:
        self.header.setText(f"{_OPEN if self.header.isChecked() else _CLOSED}  {self.text}")
        self.header.setToolTip(plain_text(self.text))
        self.header.setAccessibleName(self.text)


class Scrolling(QScrollArea):
    """Scrolls only up and down: as wide as its content, and as high as that if there is room.

    Parameters
    ----------
    inner : QWidget
        The content.
    least, most : int
        Its height where there is little room and where there is much; less for a lower content.
    """

    def __init__(self, inner: QWidget, *, least: int = 120, most: int = 1 << 20) -> None:
        super().__init__()
        self._inner = inner
        self._least, self._most = least, most
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inner)  # which also filters its events through here

    def eventFilter(self, watched: Any, event: QEvent | None) -> bool:
        """Follow the size hint of the content."""
        requested = event is not None and event.type() == QEvent.Type.LayoutRequest
        if requested and watched is self._inner:
            self.updateGeometry()
        return super().eventFilter(watched, event)

    def minimumSizeHint(self) -> QSize:
        """Return the width of the content, and the height of a part of it."""
        size = self._inner.minimumSizeHint()
        bar_width = present(self.verticalScrollBar()).sizeHint().width()
        return QSize(size.width() + bar_width, min(self._least, size.height() + self._border))

    def sizeHint(self) -> QSize:
        """Return the size of all of the content, up to a limit."""
        height = min(self._most, self._inner.sizeHint().height() + self._border)
        return QSize(self.minimumSizeHint().width(), height)

    @property
    def _border(self) -> int:
        """Height of the frame that a theme may draw around."""
        return self.height() - present(self.viewport()).height()
