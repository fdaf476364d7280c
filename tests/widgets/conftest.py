"""A viewer with a lazy layer and the crop dock; settled tables; no thread of a dock is left."""

from __future__ import annotations

import pytest
from napari.layers import Layer

from helpers.crops import pixels
from helpers.tables import million_rows
from helpers.waiting import eventually, threads
from napari_lazyload.arrays.image import Image
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.testing.sources import RecordingSource
from napari_lazyload.widgets.crop.dock import CropDock


@pytest.fixture(autouse=True)
def _no_thread_left():
    yield
    eventually(lambda: not threads("lazyload-crop") and not threads("napari-lazyload-table"))


@pytest.fixture
def source():
    return RecordingSource(pixels(), (1, 20, 25), axes="tyx", name="cells")


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def layer(viewer, source):
    return viewer.add_layer(Layer.create(*layer_data(Image(source))[0]))


@pytest.fixture
def dock(viewer, layer):
    dock = CropDock(viewer)
    dock.form.outline.value = False  # no layer but those that the tests of the dock count
    viewer.window.add_dock_widget(dock, name="Crop a region")
    return dock


@pytest.fixture(scope="session")
def million():
    """A meta table of a million rows."""
    return million_rows()


@pytest.fixture
def settle(qtbot):
    """A function that waits for the order that a table's model was asked for."""

    def wait(model):
        qtbot.waitUntil(lambda: not model.busy and not model._refresh.isActive(), timeout=60_000)

    return wait
