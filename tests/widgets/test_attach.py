"""Layers from napari's reader: hidden until their display is bound, then as the file wants them."""

from __future__ import annotations

import numpy as np
import tifffile

import napari_lazyload as nl
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.widgets.attach import hide_until_bound


def write(path):
    with tifffile.TiffWriter(path) as tif:
        tif.write(np.zeros((40, 50), "u1"))
        tif.write(np.zeros((20, 30), "u2"))
    return path


def test_what_is_to_be_hidden_at_first_is_not_shown_by_binding(tmp_path):
    with nl.open_dataset(write(tmp_path / "a.tif")) as dataset:
        layers = dataset.to_layer_data()
        hide_until_bound(layers)
        assert [keywords["visible"] for _, keywords, _ in layers] == [False, False]
        assert [keywords["metadata"][METADATA_KEY].hidden for _, keywords, _ in layers] == [
            True,
            False,
        ]


def test_the_image_that_is_seen_is_selected_not_the_hidden_one_behind_it(
    tmp_path, make_napari_viewer, qtbot
):
    viewer = make_napari_viewer(show=True)
    first, second = viewer.open(write(tmp_path / "a.tif"), plugin="napari-lazyload")
    qtbot.wait_until(lambda: viewer.layers.selection.active is first, timeout=20_000)
    assert (first.visible, second.visible) == (True, False)
    viewer.layers.selection.active = second  # the user's own choice stays
    first.refresh()
    qtbot.wait(50)
    assert viewer.layers.selection.active is second
