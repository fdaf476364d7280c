"""The marks of states read on any ground."""

from __future__ import annotations

import pytest
from qtpy.QtGui import QColor

from helpers.tables import luminance
from napari_lazyload.widgets.table.painting import readable


@pytest.mark.parametrize("ground", ["#000000", "#262930", "#777777", "#dddad8", "#ffffff"])
@pytest.mark.parametrize("hue", [2, 140, 210])
def test_marks_read_on_any_ground(ground, hue):
    dark, light = sorted((luminance(readable(hue, 0.8, QColor(ground))), luminance(QColor(ground))))
    assert (light + 0.05) / (dark + 0.05) >= 4.4
