"""With napari's asynchronous slicing: its thread asks twice a step, nothing waits or is lost."""

from __future__ import annotations

import numpy as np
import pytest
from napari.settings import get_settings

import napari_lazyload as nl
from helpers.displays import display_of, shown, turn, until
from napari_lazyload.layers.display import napari_requests
from napari_lazyload.testing.sources import RecordingSource

RNG = np.random.default_rng(0)
STACK = RNG.integers(1, 4000, (20, 32, 48)).astype("u2")

pytestmark = pytest.mark.usefixtures("no_look_ahead", "_asynchronous")


@pytest.fixture
def _asynchronous(viewer):
    get_settings().experimental.async_ = True
    yield
    get_settings().experimental.async_ = False


@pytest.fixture(params=["hook", "fallback"])
def way(request, monkeypatch):
    """Both ways: with napari's slice request class, and for a napari without it."""
    if request.param == "fallback":
        monkeypatch.setattr(napari_requests, "request_class", lambda _layer: None)
    return request.param


def idle(viewer, layer):
    until(lambda: layer.loaded and not viewer._layer_slicer._layers_to_task)
    nl.wait(viewer, 10)
    turn()


def source_of(gates=None):
    return RecordingSource(STACK, (1, 32, 48), axes="zyx", gate=gates)


def test_every_step_shows_its_frame_and_reads_it_once(viewer, add, way):
    source = source_of()
    layer = add(source)
    idle(viewer, layer)
    source.loads.clear()
    for step in (3, 4, 15):
        viewer.dims.set_current_step(0, step)
        idle(viewer, layer)
        until(lambda step=step: np.array_equal(shown(layer), STACK[step]))
    assert len(source.loads) == 3


def test_a_step_never_waits(viewer, add, gates, way):
    gates.open()
    layer = add(source_of(gates))
    idle(viewer, layer)
    before = shown(layer)
    gates.shut()
    viewer.dims.set_current_step(0, 3)  # would hang here
    turn(20)
    np.testing.assert_array_equal(shown(layer), before)
    viewer.dims.set_current_step(0, 4)
    turn()
    gates.open()
    idle(viewer, layer)
    until(lambda: np.array_equal(shown(layer), STACK[4]))


def test_the_frame_before_is_marked_until_the_new_one_is_there(viewer, add, gates):
    gates.open()
    layer = add(source_of(gates))
    idle(viewer, layer)
    gates.shut()
    viewer.dims.set_current_step(0, 3)
    until(lambda: "the previous frame" in viewer.canvas.overlays.text.text)
    gates.open()
    idle(viewer, layer)
    assert not viewer.canvas.overlays.text.visible
    np.testing.assert_array_equal(shown(layer), STACK[3])


def test_a_burst_ends_with_the_last_frame_and_drops_the_others(viewer, add, gates):
    nl.configure(workers=4)
    gates.open()
    source = source_of(gates)
    layer = add(source)
    idle(viewer, layer)
    gates.shut()
    source.loads.clear()
    for step in range(12):
        viewer.dims.set_current_step(0, step)
    until(lambda: (0, (11, 0, 0)) in source.loads)
    gates.open()
    idle(viewer, layer)
    np.testing.assert_array_equal(shown(layer), STACK[11])
    assert len(source.loads) <= 4


def test_a_volume_comes_as_it_does_otherwise(viewer, add, gates):
    gates.open()
    layer = add(source_of(gates))
    idle(viewer, layer)
    gates.shut()
    viewer.dims.ndisplay = 3
    turn(20)
    gates.open()
    idle(viewer, layer)
    until(lambda: np.array_equal(shown(layer), STACK))
    assert display_of(layer).settled


def test_closing_while_it_loads_leaves_nothing_behind(viewer, add, gates):
    layer = add(source_of(gates))
    viewer.dims.set_current_step(0, 3)
    turn()
    display = display_of(layer)
    viewer.layers.remove(layer)
    assert display.closed
    gates.open()
    turn(20)
    assert display.progress == (0, 0)
