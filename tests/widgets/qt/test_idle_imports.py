"""Imports in the background: only with a window, only while nobody uses it, and not after it."""

from __future__ import annotations

import gc
import sys
import time

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

import napari_lazyload as nl
from napari_lazyload.core import lazy_imports
from napari_lazyload.core.lazy_imports import Package
from napari_lazyload.loading import background, scheduler, status
from napari_lazyload.widgets import attach
from napari_lazyload.widgets.qt import idle_imports

PLUGIN = "napari-lazyload"


@pytest.fixture(autouse=True)
def packages(tmp_path, monkeypatch):
    """Three packages, one of them broken, with short waits; the requested names in order."""
    for name, text in {
        "idle_one": "",
        "idle_two": "raise RuntimeError('broken')",
        "idle_three": "",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    asked = []
    load = lazy_imports.load
    monkeypatch.setattr(lazy_imports, "load", lambda name: asked.append(name) or load(name))
    monkeypatch.setattr(lazy_imports, "_records", {})
    names = ("idle_one", "idle_two", "idle_three")
    monkeypatch.setattr(
        lazy_imports, "PACKAGES", {name: Package(name, number) for number, name in enumerate(names)}
    )
    monkeypatch.setattr(idle_imports, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(idle_imports, "POLL_MS", 5)
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 0.1)
    yield asked
    for name in names:
        sys.modules.pop(name, None)


def run(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.001)


def test_packages_load_once_the_window_is_idle(
    make_napari_viewer, packages, qtbot, tmp_path, write_folder
):
    write_folder(tmp_path / "a", 3)
    assert not nl.import_status()["progress"]["is_loading"]
    viewer = make_napari_viewer(show=True)
    viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    qtbot.waitUntil(
        lambda: nl.import_status()["progress"]["progress_percentage"] == 100, timeout=20000
    )
    assert packages == ["idle_one", "idle_two", "idle_three"]
    progress = nl.import_status()["progress"]
    assert (
        progress["loaded_packages"],
        progress["failed_packages"],
        progress["total_packages"],
    ) == (2, 1, 3)
    qtbot.waitUntil(lambda: not lazy_imports.loaders, timeout=20000)
    attach.attach_open_viewers()
    run(0.3)
    assert packages == ["idle_one", "idle_two", "idle_three"]


def test_nothing_loads_while_the_window_is_used(make_napari_viewer, packages, qtbot, monkeypatch):
    monkeypatch.setattr(idle_imports, "IDLE_SECONDS", 0.3)
    viewer = make_napari_viewer(show=True)
    window = attach.window_of(viewer)
    qtbot.waitExposed(window)
    idle_imports.import_when_idle(window)
    run(0.05)
    assert nl.import_status()["progress"]["is_loading"]
    for number in range(20):
        if number % 2:
            qtbot.mouseMove(window.windowHandle(), QPoint(20 + number, 20))
        else:
            qtbot.keyClick(window.windowHandle(), Qt.Key.Key_Shift)
        run(0.05)
    assert packages == []
    qtbot.waitUntil(lambda: len(packages) == 3, timeout=20000)


@pytest.mark.parametrize("busy", ["status", "drawing"])
def test_nothing_loads_while_chunks_are_asked_for_or_a_frame_is_drawn(
    make_napari_viewer, packages, qtbot, busy
):
    viewer = make_napari_viewer(show=True)
    run(0.3)
    idle_imports.import_when_idle(attach.window_of(viewer))
    for _ in range(30):
        if busy == "status":
            status.shared.version += 1
        else:
            background.drawing.begin()
        run(0.02)
    assert packages == []
    background.drawing.end()
    qtbot.waitUntil(lambda: len(packages) == 3, timeout=20000)


def test_nothing_loads_without_a_window_on_the_screen(
    make_napari_viewer, packages, tmp_path, write_folder
):
    write_folder(tmp_path / "a", 3)
    with nl.open_dataset(tmp_path / "a") as dataset:
        dataset.images[0].data[0].compute()
        run(0.3)
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    run(0.3)
    assert packages == []


def test_a_window_that_closes_ends_it(make_napari_viewer, packages, qtbot, monkeypatch):
    monkeypatch.setattr(idle_imports, "IDLE_SECONDS", 0.5)
    viewer = make_napari_viewer(show=True)
    window = attach.window_of(viewer)
    idle_imports.import_when_idle(window)
    idle_imports.import_when_idle(window)
    assert len(window.findChildren(idle_imports.IdleImports)) == 1
    run(0.1)
    viewer.close()
    del window, viewer
    QApplication.sendPostedEvents(None, 52)  # deferred deletions
    run(0.8)
    gc.collect()
    assert packages == []
    assert not lazy_imports.loaders
    assert not nl.import_status()["progress"]["is_loading"]


def test_one_package_at_a_time_and_none_while_loading_is_paused(
    make_napari_viewer, packages, qtbot
):
    viewer = make_napari_viewer(show=True)
    scheduler.shared.pause()
    try:
        idle_imports.import_when_idle(attach.window_of(viewer))
        run(0.5)
        assert packages == []
        assert scheduler.shared.snapshot()["queued_background"] == 1
    finally:
        scheduler.shared.pause(paused=False)
    qtbot.waitUntil(lambda: len(packages) == 3, timeout=20000)
