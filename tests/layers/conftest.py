"""A viewer with lazy layers on sources that count their reads and wait at gates."""

from __future__ import annotations

import string

import pytest

import napari_lazyload as nl
from helpers.displays import Gates
from napari_lazyload.arrays.image import Image
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.layers.display.canvas_text import CanvasText
from napari_lazyload.loading import cache


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
    """Add the layers of a source the way the reader does; the first one is returned."""
    from napari.layers import Layer

    def added(source, **keywords):
        made = []
        for data, options, kind in layer_data(Image(source)):
            options["metadata"][METADATA_KEY].hidden = True
            made.append(
                viewer.add_layer(
                    Layer.create(data, {**options, "visible": False, **keywords}, kind)
                )
            )
        return made[0]

    return added


@pytest.fixture
def no_look_ahead():
    nl.configure(look_ahead=0)
