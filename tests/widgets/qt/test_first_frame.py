"""Preferences and background headers wait until a window shows a new layer's first frame."""

from __future__ import annotations

import time

import pytest
from qtpy.QtWidgets import QApplication

from napari_lazyload.layers.display.layer_display import link_of
from napari_lazyload.loading import background, scheduler
from napari_lazyload.widgets import attach
from napari_lazyload.widgets.qt import first_frame

PLUGIN = "napari-lazyload"


@pytest.fixture
def heard(monkeypatch):
    """The events in order: frames drawn with or without a layer, preferences, headers."""
    done = []
    monkeypatch.setattr(attach, "follow_preferences", lambda: done.append("preferences"))
    monkeypatch.setattr(background, "drawing", background.RedrawGuard())
    monkeypatch.setattr(background, "QUIET_SECONDS", 0.001)
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 30.0)
    return done


@pytest.fixture
def window(make_napari_viewer, heard):
    """A viewer on the screen that says of each frame whether it shows a layer."""
    viewer = make_napari_viewer(show=True)
    canvas = first_frame.canvas_of(viewer)
    canvas.frameSwapped.connect(
        lambda: heard.append("frame" if any(map(is_shown, viewer.layers)) else "empty")
    )
    return viewer


def is_shown(layer):
    return layer.visible and link_of(layer) is not None


def run_until(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        QApplication.processEvents()
    assert condition()


def test_preferences_and_headers_wait_for_the_first_frame(
    window, heard, tmp_path, write_folder, monkeypatch, hurried
):
    from napari_lazyload.sources.folder.table import FolderTable

    scan = FolderTable.scan
    monkeypatch.setattr(
        FolderTable,
        "scan",
        lambda self, stop, found: (stop(), heard.append("headers"), scan(self, stop, found)),
    )
    write_folder(tmp_path / "a", 6)
    window.open(str(tmp_path / "a"), plugin=PLUGIN)
    run_until(
        lambda: (
            {"preferences", "headers"} <= set(heard) and not scheduler.shared.snapshot()["running"]
        )
    )
    first = heard.index("frame")
    assert first < heard.index("preferences")
    assert first < heard.index("headers")


def test_a_window_that_is_not_on_the_screen_waits_for_no_frame(
    make_napari_viewer, heard, tmp_path, write_folder
):
    write_folder(tmp_path / "a", 3)
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    assert not background.drawing.active()
    run_until(lambda: "preferences" in heard)


def test_where_no_frame_comes_the_preferences_are_followed_all_the_same(window, heard, monkeypatch):
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 0.05)
    first_frame.after_first_frame(window, lambda: heard.append("called"))
    run_until(lambda: "called" in heard)
    assert not background.drawing.active()


def test_a_window_closed_before_its_first_frame_calls_nothing(window, heard, monkeypatch):
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 0.05)
    first_frame.after_first_frame(window, lambda: heard.append("called"))
    window.close()
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        QApplication.processEvents()
    assert "called" not in heard
