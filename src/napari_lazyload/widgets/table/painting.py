"""How a row's state looks: a shape and a colour that reads on any theme."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QPalette, QPen, QPixmap

_CONTRAST = 4.5
"""The least contrast of text to its ground by the Web Content Accessibility Guidelines (WCAG 2.2,
1.4.3)."""

# state: (hue in degrees, saturation, shape); the shape tells for whoever cannot tell the colours
_STATES: dict[str, tuple[int, float, str]] = {
    "loaded": (140, 0.55, "disc"),
    "loading": (210, 0.75, "half"),
    "queued": (210, 0.25, "ring"),
    "failed": (2, 0.85, "cross"),
    "evicted": (0, 0.0, "ring"),
}
STATES = tuple(_STATES)


def state_styles(palette: QPalette, size: int, ratio: float) -> dict[str, tuple[QIcon, QBrush]]:
    """Return for each state its icon and the brush of its text.

    Parameters
    ----------
    palette : QPalette
        The table's; colours are chosen to read on its base.
    size : int
        The icons' edge in device-independent pixels.
    ratio : float
        Device pixels for each of those.
    """
    base = palette.color(QPalette.ColorRole.Base)
    styles = {}
    for state, (hue, saturation, shape) in _STATES.items():
        color = readable(hue, saturation, base)
        pixmap = _pixmap(shape, color, size, ratio)
        icon = QIcon(pixmap)
        icon.addPixmap(
            pixmap, QIcon.Mode.Selected
        )  # else Qt blends it with the colour of the selection
        styles[state] = (icon, QBrush(color))
    return styles


def readable(hue: int, saturation: float, ground: QColor) -> QColor:
    """Return the colour of this hue nearest to middle lightness that reads as text on the ground."""
    step = 2 if _luminance(ground) < 0.18 else -2
    lightness = 50
    color = QColor.fromHslF(hue / 360, saturation, lightness / 100)
    while _contrast(color, ground) < _CONTRAST and 0 < lightness < 100:
        lightness += step
        color = QColor.fromHslF(hue / 360, saturation, lightness / 100)
    return color


def _luminance(color: QColor) -> float:
    """Return WCAG's relative luminance, 0 to 1."""
    channels = (color.redF(), color.greenF(), color.blueF())
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: QColor, other: QColor) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _pixmap(shape: str, color: QColor, size: int, ratio: float) -> QPixmap:
    pixmap = QPixmap(QSize(size, size) * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(color, max(1.5, size / 8)))
    inset = size * 0.2
    box = QRectF(inset, inset, size - 2 * inset, size - 2 * inset)
    if shape == "cross":
        painter.drawLine(box.topLeft(), box.bottomRight())
        painter.drawLine(QPointF(box.topRight()), QPointF(box.bottomLeft()))
    else:
        painter.setBrush(QBrush(color) if shape == "disc" else QBrush(Qt.BrushStyle.NoBrush))
        painter.drawEllipse(box)
        if shape == "half":
            painter.setBrush(QBrush(color))
            painter.drawPie(box, 90 * 16, -180 * 16)  # Qt counts sixteenths of a degree
    painter.end()
    return pixmap
