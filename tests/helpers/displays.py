"""What tests of displays turn and ask: the event loop, what napari draws, gates for chunks."""

from __future__ import annotations

import threading
import time

import numpy as np

from napari_lazyload.layers.viewer import displays_of

WAIT = 20.0


def run_events():
    # Imported late: without a screen there may be no Qt, and no test calls this.
    from qtpy.QtWidgets import QApplication

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
