"""Windows that close, viewers that slice in a thread, several viewers, waiting."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.layers.viewer import displays_of
from napari_lazyload.loading import cache, scheduler, status

PLUGIN = "napari-lazyload"


@pytest.fixture
def slicing_in_a_thread(make_napari_viewer):
    """napari's asynchronous slicing for one test; the viewer's fixture makes new settings first."""
    from napari.settings import get_settings

    get_settings().experimental.async_ = True
    yield
    get_settings().experimental.async_ = False


def shown(layer):
    return np.asarray(layer._data_view)


def test_closing_the_window_stops_all_work(make_napari_viewer, tmp_path, write_folder, qtbot):
    write_folder(tmp_path / "a", 6)
    viewer = make_napari_viewer()
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    dataset = layer.metadata["napari_lazyload"].dataset
    listeners = len(status.shared._listeners)
    viewer.window._qt_window.destroyed.emit()
    assert dataset.closed
    assert displays_of(layer) is None
    assert len(status.shared._listeners) == listeners - 1
    assert len(cache.shared) == 0


def test_closing_the_viewer_cancels_the_scan_of_headers(
    make_napari_viewer, tmp_path, write_folder, monkeypatch, hurried
):
    from napari_lazyload.sources.folder import file_set

    write_folder(tmp_path / "a", 50)
    gate, seen = threading.Event(), []
    original = file_set.parse_header

    def slow(path):
        seen.append(path)
        if len(seen) > 3:
            gate.wait(10)
        return original(path)

    monkeypatch.setattr(file_set, "parse_header", slow)
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    deadline = time.monotonic() + 5
    while len(seen) <= 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    viewer.layers.clear()
    gate.set()
    while scheduler.shared.snapshot()["running"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(seen) <= 5


def test_asynchronous_slicing_shows_the_same(
    slicing_in_a_thread, make_napari_viewer, tmp_path, write_folder
):
    stack = write_folder(tmp_path / "a", 9, dtype="uint16")
    (tmp_path / "a" / "img_2.png").write_bytes(b"gone wrong")
    viewer = make_napari_viewer()
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    assert nl.wait(viewer, 10)
    for step in (0, 8, 3):
        viewer.dims.set_current_step(0, step)
        assert nl.wait(layer, 10)
        np.testing.assert_array_equal(shown(layer), stack[step])
    viewer.dims.set_current_step(0, 2)
    assert nl.wait(viewer, 10)
    assert not shown(layer).any()
    assert "img_2.png" in viewer.canvas.overlays.text.text
    assert layer.contrast_limits[1] < 65535


def test_wait_gives_up_in_time(
    slicing_in_a_thread, make_napari_viewer, tmp_path, write_folder, monkeypatch
):
    from napari_lazyload.sources.folder import page_chunk

    write_folder(tmp_path / "a", 3)
    gate = threading.Event()
    original = page_chunk.decode
    monkeypatch.setattr(page_chunk, "decode", lambda *args: (gate.wait(20), original(*args))[1])
    viewer = make_napari_viewer()
    (layer,) = viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    assert nl.wait(viewer, 0.2) is False
    gate.set()
    assert nl.wait(viewer, 10) is True
    assert shown(layer).any()


def test_two_viewers_on_one_folder_share_the_chunks(make_napari_viewer, tmp_path, write_folder):
    stack = write_folder(tmp_path / "a", 6)
    cache.shared.drop()
    first, second = make_napari_viewer(), make_napari_viewer()
    (one,) = first.open(str(tmp_path / "a"), plugin=PLUGIN)
    before = cache.shared.counters.reads
    (other,) = second.open(str(tmp_path / "a"), plugin=PLUGIN)
    assert one.visible
    assert other.visible
    assert cache.shared.counters.reads == before
    first.layers.clear()
    second.dims.set_current_step(0, 5)
    assert nl.wait(second, 10)
    np.testing.assert_array_equal(shown(other), stack[5])


def test_the_preferences_of_napari_reach_the_settings(make_napari_viewer, tmp_path, write_folder):
    from napari.settings import get_plugin_settings

    from napari_lazyload.core import settings

    settings.update(cache_budget=None, workers=None)
    write_folder(tmp_path / "a", 3)
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    nl.wait(viewer, 10)
    preferences = get_plugin_settings(PLUGIN).loading
    automatic = settings.current()
    preferences.cache_mib = 77
    preferences.workers = 3
    assert settings.current().cache_budget == 77 * 2**20
    assert settings.current().workers == 3
    preferences.cache_mib = 0
    preferences.workers = 0
    assert settings.current() == automatic


def test_preferences_that_nobody_changed_leave_what_a_script_set(
    make_napari_viewer, tmp_path, write_folder
):
    from napari.settings import get_plugin_settings

    from napari_lazyload.core import settings
    from napari_lazyload.layers import preferences

    chosen = get_plugin_settings(PLUGIN).loading
    try:
        chosen.look_ahead = 3
        preferences._followed.clear()
        settings.update(look_ahead=20, coarse_first=False, workers=2)
        preferences.follow_preferences()
        now = settings.current()
        assert (now.look_ahead, now.coarse_first, now.workers) == (3, False, 2)
        chosen.coarse_first = False
        settings.update(look_ahead=20)
        chosen.coarse_first = True
        now = settings.current()
        assert (now.look_ahead, now.coarse_first, now.workers) == (20, True, 2)
    finally:
        chosen.look_ahead = 8
        settings.update(look_ahead=None, coarse_first=None, workers=None)


def test_the_menu_commands_ask_and_open(make_napari_viewer, tmp_path, write_folder, monkeypatch):
    from napari._app_model import get_app_model
    from qtpy.QtWidgets import QFileDialog

    write_folder(tmp_path / "a", 4)
    viewer = make_napari_viewer()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "a"))
    get_app_model().commands.execute_command("napari-lazyload.open_folder").result()
    assert viewer.layers[0].data.shape == (4, 24, 32)


def test_the_sample_opens_from_the_menu(make_napari_viewer, tmp_path, monkeypatch):
    from napari_lazyload import sample_data

    monkeypatch.setattr(sample_data.tempfile, "gettempdir", lambda: str(tmp_path))
    viewer = make_napari_viewer()
    viewer.open_sample(PLUGIN, "folder")
    assert viewer.layers[0].data.shape == (sample_data.COUNT, sample_data.SIZE, sample_data.SIZE)
    assert shown(viewer.layers[0]).any()
