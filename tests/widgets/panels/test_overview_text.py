"""Levels that no file holds are called what they are, wherever levels are listed."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.arrays.image import Image
from napari_lazyload.core import coarse_levels
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.testing.sources import RecordingSource
from napari_lazyload.widgets.attach import attach_open_viewers
from napari_lazyload.widgets.crop.dock import CropDock
from napari_lazyload.widgets.panels.loading import LoadingPanel

PLANE = np.random.default_rng(0).integers(1, 250, (2048, 2048)).astype("u1")


@pytest.fixture
def large(make_napari_viewer, monkeypatch):
    """A viewer with one layer that has computed levels."""
    monkeypatch.setattr(coarse_levels, "PLANE_NBYTES", 1 << 20)
    monkeypatch.setattr(coarse_levels, "PLANE_SIDE", 512)
    viewer = make_napari_viewer()
    attach_open_viewers()
    ((data, keywords, _),) = layer_data(Image(RecordingSource(PLANE, (128, 128), axes="yx")))
    viewer.add_image(data, **keywords)
    nl.wait(viewer, 20)
    return viewer


def test_the_crop_dock_lists_them_with_what_they_decode(large, qtbot):
    dock = CropDock(large)
    qtbot.addWidget(dock)
    texts = [dock.form.level.native.itemText(number) for number in range(3)]
    assert texts[0].startswith("0: 2048 x 2048")
    assert "computed" not in texts[0]
    assert texts[1].startswith("1: 1024 x 1024 (computed, every 2nd pixel)")
    assert texts[2].startswith("2: 512 x 512 (computed, every 4th pixel)")


def test_the_loading_panel_says_which_level_is_shown(large, qtbot):
    panel = LoadingPanel(large.layers, lambda: None)
    qtbot.addWidget(panel)
    panel.show()
    panel.refresh()
    large.layers[0].locked_data_level = 2
    nl.wait(large, 20)
    panel.refresh()
    (row,) = panel._rows.values()
    assert row.name.toolTip().splitlines() == [
        "recorded",
        "shows level 2 (computed, every 4th pixel)",
    ]
