"""The look of a row's state: a shape, and a color that is readable on any theme."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QPalette, QPen, QPixmap

_CONTRAST = 4.5
"""The least contrast of text to its background, by the Web Content Accessibility Guidelines (WCAG
2.2, 1.4.3)."""

# state: (hue in degrees, saturation, shape); the shape helps those who do not see the colors
_STATES: dict[str, tuple[int, float, str]] = {
    "loaded": (140, 0.55, "disc"),
    "loading": (210, 0.75, "half"),
    "queued": (210, 0.25, "ring"),
    "failed": (2, 0.85, "cross"),
    "different": (35, 0.85, "cross"),
    "evicted": (0, 0.0, "ring"),
}
STATES = tuple(_STATES)


_THEME_CHANGES = frozenset({QEvent.Type.StyleChange, QEvent.Type.PaletteChange})


def is_theme_change(event: QEvent | None) -> bool:
    """Whether an event reports another theme."""
    return event is not None and event.type() in _THEME_CHANGES


def state_styles(palette: QPalette, size: int, ratio: float) -> dict[str, tuple[QIcon, QBrush]]:
    """Return for each state its icon and the brush of its text.

    Parameters
    ----------
    palette : QPalette
        The table's; colors are chosen to be readable on its base.
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
        # Without this, Qt blends the icon with the color of the selection.
        icon.addPixmap(pixmap, QIcon.Mode.Selected)
        styles[state] = (icon, QBrush(color))
    return styles


def readable(hue: int, saturation: float, background: QColor) -> QColor:
    """Return the color of a hue, nearest to middle lightness, that is readable on a background."""
    step = 2 if _luminance(background) < 0.18 else -2
    lightness = 50
    color = QColor.fromHslF(hue / 360, saturation, lightness / 100)
    while _contrast(color, background) < _CONTRAST and 0 < lightness < 100:
        lightness += step
        color = QColor.fromHslF(hue / 360, saturation, lightness / 100)
    return color


def _luminance(color: QColor) -> float:
    """Return WCAG's relative luminance, 0 to 1."""
    red, green, blue = map(_linear, (color.redF(), color.greenF(), color.blueF()))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    """Return the linear light of an sRGB channel."""
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


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
        if shape == "disc":
            painter.setBrush(QBrush(color))
        painter.drawEllipse(box)
        if shape == "half":
            painter.setBrush(QBrush(color))
            painter.drawPie(box, 90 * 16, -180 * 16)  # Qt counts sixteenths of a degree
    painter.end()
    return pixmap
