"""The numbers of a region: what the fields and the sliders show."""

from __future__ import annotations

import pytest

from napari_lazyload.widgets.crop.axis_rows import AxisRows


@pytest.mark.parametrize("in_world", [False, True])
def test_the_fields_show_all_of_an_axis_before_anything_is_changed(qtbot, in_world):
    rows = AxisRows()
    qtbot.addWidget(rows)
    rows.set_axes([("z", 32), ("y", 256)], [(0.0, 2.0, "um"), (0.5, 1.0, "um")], in_world=in_world)
    shown = [[box.value for box in pair] for pair in rows._boxes]
    assert shown == ([[-1, 63], [0, 256]] if in_world else [[0, 32], [0, 256]])
    assert [slider.value() for slider in rows._sliders] == [(0, 32), (0, 256)]
    assert rows.ranges() == [(0, 32), (0, 256)]


def test_the_fields_keep_a_region_when_they_change_to_world_units(qtbot):
    rows = AxisRows()
    qtbot.addWidget(rows)
    scales = [(0.0, 2.0, "um")]
    rows.set_axes([("z", 32)], scales)
    rows.set_ranges([(4, 8)])
    rows.set_axes([("z", 32)], scales, in_world=True)
    assert [box.value for box in rows._boxes[0]] == [7, 15]
    assert rows.ranges() == [(4, 8)]
