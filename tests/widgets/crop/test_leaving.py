"""Leaving while a crop is under way: nothing new begins, comes late, or is left."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from napari.layers import Layer

from helpers.crops import pixels, take_box
from helpers.waiting import threads
from napari_lazyload.arrays.image import Image
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.widgets.crop.dock import CropDock


@pytest.fixture
def gated(dock, source):
    """A dock with a crop that waits in its first reads."""
    source.gate = threading.Event()
    take_box(dock, (0, 6), (0, 40), (0, 50))
    dock.crop()
    assert source.started.wait(10)
    yield dock
    source.gate.set()


def watched(layer):
    return sum(
        isinstance(callback, tuple) and isinstance(callback[0](), CropDock)
        for emitter in layer.events.emitters.values()
        for callback in emitter.callbacks
    )


def test_removing_the_layer_ends_its_crop(gated, viewer, layer, source, qtbot):
    assert watched(layer)
    viewer.layers.remove(layer)
    assert not gated.running
    assert "'cells' was removed" in gated._outcome
    assert not watched(layer)
    begun = len(source.loads)
    source.gate.set()
    qtbot.waitUntil(lambda: not threads("lazyload-crop"), timeout=20_000)
    qtbot.wait(100)
    assert len(source.loads) == begun
    assert len(viewer.layers) == 0


def test_removing_the_layer_leaves_a_smaller_one(gated, viewer, layer, source, qtbot):
    gated.form.region.value = "view"
    flat = viewer.add_image(pixels((9, 8)), name="flat")
    viewer.layers.remove(layer)
    assert not gated.running
    assert gated.layer is flat
    assert gated.form.message.text() == "Stopped: 'cells' was removed."


def test_removing_another_layer_does_not(gated, viewer, source, qtbot):
    viewer.layers.remove(viewer.add_image(pixels((4, 4))))
    assert gated.running
    source.gate.set()
    qtbot.waitUntil(lambda: not gated.running, timeout=20_000)
    assert viewer.layers[-1].name == "cells crop"


def test_taking_the_dock_out_ends_its_crop(gated, viewer, layer, source, qtbot):
    viewer.window.remove_dock_widget(gated)
    assert not gated.running
    assert not watched(layer)
    begun = len(source.loads)
    source.gate.set()
    qtbot.waitUntil(lambda: not threads("lazyload-crop"), timeout=20_000)
    assert len(source.loads) == begun
    viewer.dims.set_point(0, 1)
    assert len(viewer.layers) == 1
    viewer.window.add_dock_widget(gated, name="again")  # and it works when put back
    assert watched(layer)
    take_box(gated, (0, 1), (0, 40), (0, 50))
    gated.crop()
    qtbot.waitUntil(lambda: not gated.running, timeout=20_000)
    assert len(viewer.layers) == 2


def test_a_deleted_dock_hears_nothing_more(gated, viewer, layer, source, qtbot):
    gone = []
    gated.destroyed.connect(lambda: gone.append(1))
    current = gated._runner.current
    viewer.window.remove_dock_widget(gated)
    gated.deleteLater()
    qtbot.waitUntil(lambda: bool(gone), timeout=20000)
    assert current.run is None
    source.gate.set()
    viewer.add_image(pixels((4, 4)))
    viewer.dims.set_point(0, 3)
    viewer.scene.camera.zoom = 3
    layer.scale = (1, 2, 2)
    qtbot.wait(100)
    assert len(viewer.layers) == 2


def test_a_forgotten_dock_goes_away_with_its_crop(viewer, layer, source, qtbot):
    source.gate = threading.Event()
    dock = CropDock(viewer)
    take_box(dock, (0, 6), (0, 40), (0, 50))
    dock.crop()
    assert source.started.wait(10)
    current, alive = dock._runner.current, weakref.ref(dock)
    del dock
    gc.collect()
    qtbot.waitUntil(lambda: alive() is None, timeout=20000)
    assert current.run is None
    source.gate.set()
    viewer.dims.set_point(0, 3)
    viewer.add_image(pixels((4, 4)))


def test_closing_the_viewer_ends_the_crop(make_napari_viewer, source, qtbot):
    viewer = make_napari_viewer()
    viewer.add_layer(Layer.create(*layer_data(Image(source))[0]))
    dock = CropDock(viewer)
    viewer.window.add_dock_widget(dock, name="Crop a region")
    source.gate = threading.Event()
    source.started.clear()
    take_box(dock, (0, 6), (0, 40), (0, 50))
    dock.crop()
    assert source.started.wait(10)
    current = dock._runner.current
    viewer.close()
    qtbot.waitUntil(lambda: current.run is None, timeout=20000)
    assert threads("lazyload-crop")  # it waits at the gate: nobody waited for it
    begun = len(source.loads)
    source.gate.set()
    qtbot.waitUntil(lambda: not threads("lazyload-crop"), timeout=20_000)
    assert len(source.loads) == begun


def test_a_layer_that_was_followed_is_let_go_of(viewer, qtbot):
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    layer = viewer.add_image(pixels((4, 4)), name="short")
    assert dock.layer is layer
    assert dock._active is layer
    viewer.layers.remove(layer)
    assert dock._active is None
