"""The marks of states read on any ground."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtGui import QColor

from napari_lazyload.widgets._table_paint import readable


def luminance(colour: QColor) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour.getRgbF()[:3]]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("ground", ["#000000", "#262930", "#777777", "#dddad8", "#ffffff"])
@pytest.mark.parametrize("hue", [2, 140, 210])
def test_marks_read_on_any_ground(ground, hue):
    dark, light = sorted((luminance(readable(hue, 0.8, QColor(ground))), luminance(QColor(ground))))
    assert (light + 0.05) / (dark + 0.05) >= 4.4
