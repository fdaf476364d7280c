"""Parts of a dock that make room: one that opens and closes, one that scrolls."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QFrame, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

_OPEN, _CLOSED = "\N{BLACK DOWN-POINTING SMALL TRIANGLE}", "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"

_FLAT = """
QPushButton { text-align: left; border: none; padding: 2px; background: transparent; }
QPushButton:focus { text-decoration: underline; }
"""


class Section(QWidget):
    """A line that tells the most important, and below it the rest, which is hidden while the section is closed.

    Parameters
    ----------
    content : QWidget
        The rest.
    opened : bool
        Whether it is open at first.
    parent : QWidget, optional
        The Qt parent.

    Attributes
    ----------
    header : QPushButton
        The line; mouse, space and enter open and close the section.
    """

    def __init__(self, content: QWidget, *, opened: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content = content
        self._text = ""
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
        if text != self._text:
            self._text = text
            self._show_text()

    @property
    def text(self) -> str:
        """What the line says."""
        return self._text

    def _toggle(self, opened: bool) -> None:
        self.content.setVisible(opened)
        self._show_text()

    def _show_text(self) -> None:
        self.header.setText(f"{_OPEN if self.header.isChecked() else _CLOSED}  {self._text}")
        self.header.setToolTip(self._text)
        self.header.setAccessibleName(self._text)


class Scrolling(QScrollArea):
    """Scrolls up and down alone: as wide as what is in it, as high as that if there is room.

    Parameters
    ----------
    inner : QWidget
        What is in it.
    least, most : int
        How high it is, where there is little room and where there is much; less where there is less
        in it.
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
        """Follow the size that is asked for inside."""
        if (
            watched is self._inner
            and event is not None
            and event.type() == QEvent.Type.LayoutRequest
        ):
            self.updateGeometry()
        return super().eventFilter(watched, event)

    def minimumSizeHint(self) -> QSize:
        """Ask for the width of what is inside, and for room for a part of it."""
        bar = self.verticalScrollBar()
        width = self._inner.minimumSizeHint().width() + (
            0 if bar is None else bar.sizeHint().width()
        )
        return QSize(width, min(self._least, self._inner.minimumSizeHint().height() + self._border))

    def sizeHint(self) -> QSize:
        """Ask for room for all of it, up to a limit."""
        return QSize(
            self.minimumSizeHint().width(),
            min(self._most, self._inner.sizeHint().height() + self._border),
        )

    @property
    def _border(self) -> int:
        """Height of the frame that a theme may draw around."""
        viewport = self.viewport()
        return 0 if viewport is None else self.height() - viewport.height()
