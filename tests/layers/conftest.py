"""A viewer with lazy layers on sources that count their reads and wait at gates."""

from __future__ import annotations

import string
import threading
import time

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.image import Image
from napari_lazyload.layer_data import METADATA_KEY, layer_data
from napari_lazyload.layers.canvas_text import CanvasText
from napari_lazyload.layers.viewer import displays_of
from napari_lazyload.loading import cache

WAIT = 20.0


def run_events():
    from qtpy.QtWidgets import QApplication  # not there without a screen, where no test here comes to it

    QApplication.processEvents()


def until(condition, what="it did not come true"):
    """Run the event loop until something is so."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, what
        run_events()
        time.sleep(0.001)


def turn(times=5):
    """Run the event loop for some turns."""
    for _ in range(times):
        run_events()
        time.sleep(0.002)


def shown(layer):
    """Return what napari draws of a layer, as a plain array."""
    return np.array(layer._data_view)


def display_of(layer):
    return displays_of(layer).display(layer)


class Gates:
    """A gate for each chunk: shut until it is opened; counts who waits."""

    def __init__(self):
        self._open = threading.Event()

    def wait(self, seconds):
        return self._open.wait(seconds)

    def open(self):
        self._open.set()

    def shut(self):
        self._open.clear()


@pytest.fixture
def gates():
    made = Gates()
    yield made
    made.open()


@pytest.fixture(autouse=True)
def _characters_drawn(monkeypatch):
    """The canvas says everything at once: napari has drawn all characters before."""
    made = CanvasText.__init__

    def drawn(self, *args):
        made(self, *args)
        self._drawn.update(string.printable)

    monkeypatch.setattr(CanvasText, "__init__", drawn)


@pytest.fixture(autouse=True)
def _clean_cache():
    cache.shared.drop()
    yield
    cache.shared.drop()


@pytest.fixture
def viewer(make_napari_viewer):
    from napari_lazyload.widgets.attach import attach_open_viewers

    made = make_napari_viewer()
    attach_open_viewers()
    return made


@pytest.fixture
def add(viewer):
    """Return a function that adds the layers of a source the way the reader does; the first one is returned."""
    from napari.layers import Layer

    def added(source, **keywords):
        made = []
        for data, options, kind in layer_data(Image(source)):
            options["metadata"][METADATA_KEY].hidden = True
            made.append(viewer.add_layer(Layer.create(data, {**options, "visible": False, **keywords}, kind)))
        return made[0]

    return added


@pytest.fixture
def no_look_ahead():
    nl.configure(look_ahead=0)
