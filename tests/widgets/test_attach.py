"""Layers from napari's reader: hidden until their display is bound, then as the file wants them."""

from __future__ import annotations

import numpy as np
import tifffile

import napari_lazyload as nl
from napari_lazyload.layer_data import METADATA_KEY
from napari_lazyload.widgets.attach import hide_until_bound


def test_what_is_to_be_hidden_at_first_is_not_shown_by_binding(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(np.zeros((40, 50), "u1"))
        tif.write(np.zeros((20, 30), "u2"))
    with nl.open_dataset(tmp_path / "a.tif") as dataset:
        layers = dataset.to_layer_data()
        hide_until_bound(layers)
        assert [keywords["visible"] for _, keywords, _ in layers] == [False, False]
        assert [keywords["metadata"][METADATA_KEY].hidden for _, keywords, _ in layers] == [True, False]
