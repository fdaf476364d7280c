"""A pyramid of planes: napari itself would first read the coarsest level as a whole."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lazyload as nl
from helpers.displays import display_of, shown
from napari_lazyload.testing.sources import RecordingSource

PLANE = np.random.default_rng(0).integers(1, 4000, (64, 96)).astype("u2")
LEVELS = [PLANE, PLANE[::2, ::2].copy(), PLANE[::4, ::4].copy()]

pytestmark = pytest.mark.usefixtures("no_look_ahead")


def test_nothing_is_read_in_the_main_thread_and_the_contrast_is_found(viewer, add, gates):
    source = RecordingSource(LEVELS, (8, 8), axes="yx", gate=gates)
    layer = add(source)  # with the gate shut, a read here would hang
    assert not display_of(layer).settled
    gates.open()
    assert nl.wait(viewer, 10)
    np.testing.assert_array_equal(shown(layer), LEVELS[layer.data_level])
    low, high = layer.contrast_limits
    assert 0 < low < high < 4000  # of the pixels that came first, not of the type
    assert len(source.loads) == len(set(source.loads))


def test_a_layer_that_is_given_back_is_napari_s_own_again(viewer, add):
    layer = add(RecordingSource(LEVELS, (8, 8), axes="yx"))
    assert nl.wait(viewer, 10)
    assert layer._level_materializer is None
    display_of(layer).close()
    layer.refresh()
    np.testing.assert_array_equal(layer._level_materializer(2), LEVELS[2])
    np.testing.assert_array_equal(shown(layer), LEVELS[layer.data_level])
