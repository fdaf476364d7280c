"""Opening an address: the window lives on, says what it waits for, and lets the user cancel."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QApplication, QProgressDialog, QPushButton

import napari_lazyload as nl
from helpers.ome_stores import pyramid, write_image
from helpers.server import FolderServer
from napari_lazyload.core.cancelling import wait_for
from napari_lazyload.core.errors import CancelledError
from napari_lazyload.sources.zarr import open_store
from napari_lazyload.widgets import opening
from napari_lazyload.widgets.attach import window_of

ADDRESS = "https://server/store.zarr?token=secret"


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


def dialogs(viewer):
    return [
        dialog for dialog in window_of(viewer).findChildren(QProgressDialog) if dialog.isVisible()
    ]


def soon(function):
    """Call a function from the event loop, again and again until it returns something true."""

    def look():
        if function():
            timer.stop()

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(10)
    return timer


def test_the_window_handles_events_and_says_what_it_waits_for(viewer):
    gate, seen = threading.Event(), []

    def look():
        seen.extend(dialog.labelText() for dialog in dialogs(viewer))
        if len(seen) > 3:
            gate.set()
        return gate.is_set()

    timer = soon(look)
    assert opening.open_in_window(lambda: gate.wait(60), ADDRESS, window_of(viewer)) is True
    assert set(seen) == {"Opening https://server/store.zarr"}
    assert not dialogs(viewer)
    timer.stop()


def test_what_comes_at_once_needs_no_dialog(viewer, monkeypatch):
    monkeypatch.setattr(opening, "AT_ONCE", 60)
    monkeypatch.setattr(opening, "QProgressDialog", None)
    assert opening.open_in_window(lambda: 7, ADDRESS, window_of(viewer)) == 7


@pytest.mark.parametrize("at_once", [0.0, 60.0])
@pytest.mark.parametrize("error", [ValueError, TimeoutError])
def test_an_error_is_raised_as_it_is(viewer, monkeypatch, error, at_once):
    monkeypatch.setattr(opening, "AT_ONCE", at_once)

    def fail():
        raise error("no answer")

    with pytest.raises(error, match="no answer"):
        opening.open_in_window(fail, ADDRESS, window_of(viewer))


def test_cancelling_ends_the_wait_at_once(viewer):
    """The request is left to itself: its thread ends without it."""
    gate, ended = threading.Event(), threading.Event()

    def opened():
        try:
            return wait_for(lambda: gate.wait(60))
        except CancelledError:
            ended.set()
            raise

    def cancel():
        buttons = [dialog.findChild(QPushButton) for dialog in dialogs(viewer)]
        for button in buttons:
            button.click()
        return buttons

    timer = soon(cancel)
    assert opening.open_in_window(opened, ADDRESS, window_of(viewer)) is None
    assert ended.wait(20)
    gate.set()
    timer.stop()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not window_of(viewer).findChildren(QProgressDialog)


def test_a_slow_server_gives_its_layers_to_the_call(viewer, tmp_path, monkeypatch):
    levels = pyramid((3, 16, 16), 1)
    write_image(tmp_path / "a.zarr", levels, "zyx")
    gate, seen = threading.Event(), []
    original = open_store.open_store

    def slow(*where, **more):
        gate.wait(60)
        return original(*where, **more)

    monkeypatch.setattr("napari_lazyload.sources.ome_zarr.open.open_store", slow)

    def look():
        seen.extend(dialog.labelText() for dialog in dialogs(viewer))
        if seen:
            gate.set()
        return seen

    timer = soon(look)
    with FolderServer(tmp_path) as server:
        (layer,) = viewer.open(f"{server.url}/a.zarr", plugin="napari-lazyload")
        nl.wait(viewer, 30)
        np.testing.assert_array_equal(np.asarray(layer.data), levels[0])
    timer.stop()
    assert seen
