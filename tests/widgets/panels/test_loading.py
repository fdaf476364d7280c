"""What the dock shows of loading, live, and what happens when something closes meanwhile."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication

import napari_lazyload as nl
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.core.row_map import RowMap
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.loading.status import LoadSummary
from napari_lazyload.sources.opened import OpenResult
from napari_lazyload.testing.sources import RecordingSource
from napari_lazyload.widgets import dataset_dock
from napari_lazyload.widgets.attach import attach_open_viewers
from napari_lazyload.widgets.dataset_dock import DatasetDock
from napari_lazyload.widgets.panels import load_rates

PLUGIN = "napari-lazyload"
FRAMES = 24
DEFERRED_DELETE = 52  # QEvent.Type.DeferredDelete


class Frames(RecordingSource):
    """A stack of which each frame is a row and a chunk."""

    def __init__(self, **keywords):
        pixels = np.arange(FRAMES, dtype="u1")[:, None, None] * np.ones((1, 16, 16), "u1")
        super().__init__(pixels, (1, 16, 16), contrast_limits=(0, FRAMES), **keywords)
        self.row_map = RowMap({"z": FRAMES})


@pytest.fixture
def gate():
    """What the chunks wait for; opened at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    scheduler.pause(paused=False)
    event.set()


@pytest.fixture
def opened(gate):
    """A data set of slow frames."""
    dataset = nl.Dataset(
        OpenResult(
            "/somewhere", "test", (Frames(gate=gate, name="slow"),), (range(FRAMES),), _columns
        )
    )
    yield dataset
    dataset.close()


def _columns():
    return {
        "original_filename": [f"img_{number}.png" for number in range(FRAMES)],
        "frame": list(range(FRAMES)),
    }


def add(viewer, dataset):
    """Add the layers of a data set as the reader does: hidden until their display is there."""
    attach_open_viewers()
    added = []
    for data, keywords, kind in dataset.to_layer_data():
        keywords["visible"] = False
        keywords["metadata"][METADATA_KEY].hidden = True
        added += viewer._add_layer_from_data(data, keywords, kind)
    return added


def dock_of(viewer, qtbot, rows=FRAMES):
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Dataset table")
    qtbot.waitUntil(lambda: dock.table.model.total_rows == rows, timeout=20000)
    return dock


def text(dock, row):
    model = dock.table.model
    return model.data(model.index(row, model.status_place), Qt.ItemDataRole.DisplayRole)


def row_text(dock, number=0):
    rows = list(dock.loading._rows.values())
    return f"{rows[number].name.text()}: {rows[number].counts.text()}" if rows else ""


def run(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)


@pytest.fixture
def slow(make_napari_viewer, opened, qtbot):
    """A viewer with a slow layer whose first view is being read, and its dock."""
    viewer = make_napari_viewer(show=True)
    (layer,) = add(viewer, opened)
    source = opened.images[0].source
    assert source.started.wait(10)
    return viewer, layer, dock_of(viewer, qtbot), source


# --- numbers


def test_layers_tell_what_is_loading_and_loaded(slow, gate, qtbot):
    viewer, layer, dock, source = slow
    qtbot.waitUntil(lambda: row_text(dock) == "slow: 1 loading", timeout=20000)
    assert dock.loading_section.text == "Loading: 1 loading"
    qtbot.waitUntil(dock.loading._rows[id(layer)].bar.isVisible, timeout=20000)
    layer.name = "renamed"
    qtbot.waitUntil(lambda: row_text(dock) == "renamed: 1 loading", timeout=20000)
    gate.set()
    nl.wait(viewer, 10)
    count = len(source.loads)
    qtbot.waitUntil(lambda: row_text(dock) == f"renamed: {count} loaded", timeout=20000)
    qtbot.waitUntil(lambda: not dock.loading._rows[id(layer)].bar.isVisible(), timeout=20000)
    assert dock.loading_section.text == "Loading: idle"
    assert dock.loading.totals.text().startswith(f"Read {256 * count} B in {count} chunk")
    assert dock.loading.memory.text().startswith("Memory ")


def test_failed_chunks_are_counted(slow, gate, qtbot):
    viewer, _, dock, source = slow
    source.failing.add((viewer.dims.current_step[0], 0, 0))
    gate.set()
    qtbot.waitUntil(lambda: row_text(dock) == "slow: 1 failed", timeout=20000)
    qtbot.waitUntil(lambda: dock.loading_section.text == "Loading: idle, 1 failed", timeout=20000)
    nl.wait(viewer, 10)


def test_pausing_holds_the_queue_up_until_it_goes_on(slow, gate, qtbot):
    viewer, _, dock, source = slow
    dock.loading.pause.native.click()
    assert scheduler.shared.paused
    assert dock.loading.pause.text == "Go on"
    gate.set()
    qtbot.waitUntil(lambda: row_text(dock) == "slow: 1 loaded", timeout=20000)
    before = len(source.loads)
    step = viewer.dims.current_step[0] + 5
    viewer.dims.set_current_step(0, step)
    qtbot.waitUntil(lambda: text(dock, step) == "queued", timeout=20000)
    qtbot.waitUntil(
        lambda: dock.loading_section.text.startswith("Loading: paused, "), timeout=20000
    )
    assert len(source.loads) == before
    dock.loading.pause.native.click()
    nl.wait(viewer, 10)
    qtbot.waitUntil(lambda: text(dock, step) == "loaded", timeout=20000)


def test_a_dock_that_is_closed_leaves_nothing_paused(slow):
    _, _, dock, _ = slow
    dock.loading.pause.native.click()
    dock.close_down()
    assert not scheduler.shared.paused


def test_cancelling_empties_the_queue_of_the_selected_layer(slow, gate, qtbot):
    viewer, _, dock, source = slow
    scheduler.pause()
    step = viewer.dims.current_step[0] + 5
    viewer.dims.set_current_step(0, step)
    qtbot.waitUntil(lambda: text(dock, step) == "queued", timeout=20000)
    qtbot.waitUntil(lambda: dock.loading.cancel.enabled, timeout=20000)
    dock.loading.cancel.native.click()
    qtbot.waitUntil(lambda: text(dock, step) == "", timeout=20000)
    scheduler.pause(paused=False)
    gate.set()
    run(0.3)
    assert (0, (step, 0, 0)) not in source.loads


def test_clearing_the_cache_reads_nothing_and_changes_nothing_that_is_seen(slow, gate, qtbot):
    viewer, layer, dock, source = slow
    gate.set()
    nl.wait(viewer, 10)
    step = viewer.dims.current_step[0]
    qtbot.waitUntil(lambda: text(dock, step) == "loaded", timeout=20000)
    before = len(source.loads)
    dock.loading.clear.native.click()
    qtbot.waitUntil(lambda: text(dock, step) == "evicted", timeout=20000)
    assert cache.shared.nbytes == 0
    assert len(source.loads) == before
    assert np.all(np.asarray(layer._data_view) == step)


# --- live rows


def test_rows_in_sight_change_with_their_chunks_and_seldom(slow, gate, qtbot, monkeypatch):
    viewer, _, dock, source = slow
    step = viewer.dims.current_step[0]
    qtbot.waitUntil(lambda: text(dock, step) == "loading", timeout=20000)
    gate.set()
    qtbot.waitUntil(lambda: text(dock, step) == "loaded", timeout=20000)
    nl.wait(viewer, 10)
    run(0.2)
    written = []
    update = dock.table.model.update_rows
    monkeypatch.setattr(
        dock.table.model,
        "update_rows",
        lambda *args, **more: written.append(args[0]) or update(*args, **more),
    )
    began = time.monotonic()
    rows = dock.table.visible_source_rows()[:5]
    for number in range(200):
        note = status.shared.reporter(source.token, 0, (rows[number % len(rows)], 0, 0))
        note.begin()
        run(0.002)
        note.loaded(("test", number), kept=True)
    seconds = time.monotonic() - began
    assert 0 < len(written) <= 10 * seconds + 2
    assert all(set(some) <= set(rows) for some in written)


def test_a_row_that_comes_into_sight_shows_its_state(slow, gate, qtbot):
    viewer, _, dock, source = slow
    gate.set()
    nl.wait(viewer, 10)
    dock.table.table.setFixedHeight(100)
    run(0.2)
    assert FRAMES - 1 not in dock.table.visible_source_rows()
    status.shared.queue(source.token, 0, [(FRAMES - 1, 0, 0)])
    run(0.3)
    assert text(dock, FRAMES - 1) == ""
    dock.table.table.scrollToBottom()
    qtbot.waitUntil(lambda: text(dock, FRAMES - 1) == "queued", timeout=20000)


def test_nothing_is_looked_at_while_nothing_changes_or_nobody_looks(slow, gate, qtbot, monkeypatch):
    viewer, _, dock, source = slow
    gate.set()
    nl.wait(viewer, 10)
    run(0.3)
    asked = []
    row_states = dock.dataset.row_states
    monkeypatch.setattr(
        dock.dataset, "row_states", lambda rows=None: asked.append(rows) or row_states(rows)
    )
    run(0.3)
    assert asked == []
    dock.hide()
    status.shared.queue(source.token, 0, [(0, 0, 0)])
    run(0.3)
    assert asked == []
    assert not dock._clock.isActive()
    dock.show()
    qtbot.waitUntil(lambda: len(asked) == 1, timeout=20000)


def test_a_busy_machine_does_not_leave_old_states_in_sight(slow, gate, qtbot, monkeypatch):
    viewer, _, dock, source = slow
    gate.set()
    nl.wait(viewer, 10)
    row_states = dock.dataset.row_states
    monkeypatch.setattr(
        dock.dataset, "row_states", lambda rows=None: time.sleep(0.3) or row_states(rows)
    )
    row = (
        viewer.dims.current_step[0] + 1
    )  # beside the frame that is shown: the table keeps that one in sight
    assert (0, (row, 0, 0)) not in status.shared.states(source.token)
    status.shared.queue(source.token, 0, [(row, 0, 0)])
    qtbot.waitUntil(lambda: text(dock, row) == "queued", timeout=20000)
    status.shared.reporter(source.token, 0, (row, 0, 0)).loaded(("test", row), kept=True)
    qtbot.waitUntil(lambda: text(dock, row) == "loaded", timeout=20000)


@pytest.mark.parametrize("how", ["sort", "filter"])
def test_a_sort_or_a_filter_by_status_knows_rows_that_were_never_in_sight(slow, gate, qtbot, how):
    viewer, _, dock, source = slow
    gate.set()
    nl.wait(viewer, 10)
    dock.table.table.setFixedHeight(100)
    run(0.2)
    status.shared.queue(source.token, 0, [(FRAMES - 1, 0, 0), (FRAMES - 2, 0, 0)])
    model = dock.table.model
    if how == "sort":
        dock.table.sort_by(model.status_place, ascending=False)
    else:
        dock.table.filter_edit.setText("status:queued")
    rows = FRAMES if how == "sort" else 2

    def shows_the_queued() -> bool:
        """Whether they stand first; a filter finds none until the table has heard of them."""
        if model.busy or model.rowCount() != rows:
            return False
        return [model.source_row(row) for row in range(2)] == [FRAMES - 2, FRAMES - 1]

    qtbot.waitUntil(shows_the_queued, timeout=20000)


# --- things that close while it loads


def test_the_dock_closed_and_opened_again_while_loading(slow, gate, qtbot):
    viewer, _, dock, _ = slow
    step = viewer.dims.current_step[0]
    viewer.window.remove_dock_widget(dock)
    dock.close_down()
    assert not any(timer.isActive() for timer in dock.findChildren(QTimer))
    again = dock_of(viewer, qtbot)
    assert again is not dock
    qtbot.waitUntil(lambda: text(again, step) == "loading", timeout=20000)
    gate.set()
    qtbot.waitUntil(lambda: text(again, step) == "loaded", timeout=20000)
    qtbot.waitUntil(lambda: row_text(again).endswith("loaded"), timeout=20000)


def test_a_layer_removed_while_loading_leaves_the_panel(slow, gate, qtbot):
    viewer, layer, dock, source = slow
    qtbot.waitUntil(lambda: len(dock.loading._rows) == 1, timeout=20000)
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: not dock.loading._rows, timeout=20000)
    assert dock.table.model.total_rows == 0
    assert dock.loading_section.text == "Loading: idle"
    gone = weakref.ref(layer)
    del layer
    gate.set()
    run(0.3)
    gc.collect()
    assert len(source.loads) <= 1 + nl.configure()["workers"]
    assert all(row is not gone() for row in dock.loading._rows.values())


def test_two_viewers_on_one_data_set_both_tell(slow, gate, opened, make_napari_viewer, qtbot):
    viewer, _, dock, _ = slow
    other = make_napari_viewer(show=True)
    add(other, opened)
    second = dock_of(other, qtbot)
    step = viewer.dims.current_step[0]
    qtbot.waitUntil(lambda: text(dock, step) == text(second, step) == "loading", timeout=20000)
    second.loading.pause.native.click()
    second.deleteLater()  # as Qt does with the docks of a window
    QApplication.sendPostedEvents(second, DEFERRED_DELETE)
    assert second._viewer is None
    assert not scheduler.shared.paused
    source = opened.images[0].source
    status.shared.fail(source.token, 0, (step + 1, 0, 0), "told to the dock that is left")
    qtbot.waitUntil(lambda: text(dock, step + 1) == "failed", timeout=20000)
    gate.set()
    qtbot.waitUntil(lambda: text(dock, step) == "loaded", timeout=20000)


def test_a_viewer_closed_while_loading_leaves_no_timer_and_hears_nothing(slow, gate, opened):
    viewer, _, dock, source = slow
    listeners = len(status.shared._listeners)
    viewer.close()
    run(0.1)
    gate.set()
    run(0.3)
    assert len(status.shared._listeners) < listeners
    assert dock._viewer is None
    assert dock.dataset is None
    assert len(source.loads) <= 1 + nl.configure()["workers"]


# --- words and numbers


def test_rates_are_those_of_the_last_seconds():
    rates = load_rates.Rates()
    assert (rates.chunks, rates.nbytes) == (0, 0)
    for second in range(11):
        rates.add(second, 10 * second, 1000 * second)
    assert (rates.chunks, rates.nbytes) == (10, 1000)
    for second in range(11, 16):
        rates.add(second, 100, 10_000)
    assert rates.chunks == 0
    rates.add(16, 3, 3)  # other layers
    assert rates.chunks == 0


def test_the_time_left_is_told_of_long_work_alone():
    assert load_rates.seconds_left(LoadSummary(), 5, 4) == 0
    assert load_rates.seconds_left(LoadSummary(queued=50), 5, 4) == 10
    assert load_rates.seconds_left(LoadSummary(queued=50, read_seconds=0.4), 0, 4) == 5
    assert load_rates.seconds_left(LoadSummary(queued=50), 0, 4) is None
    summary = LoadSummary(queued=5000, loading=4, failed=1)
    assert (
        load_rates.head_text(summary, 8, paused=False)
        == "Loading: 4 loading, 5,000 queued, 8 s left, 1 failed"
    )
    assert (
        load_rates.head_text(summary, 1.9, paused=False)
        == "Loading: 4 loading, 5,000 queued, 1 failed"
    )
    assert (
        load_rates.head_text(LoadSummary(queued=2), 8, paused=True) == "Loading: paused, 2 queued"
    )
    assert [load_rates.time_text(seconds) for seconds in (8, 200, 7200)] == [
        "8 s",
        "3 min",
        "2.0 h",
    ]


def test_the_window_keeps_its_size_with_both_docks(slow, qtbot):
    viewer, _, dock, _ = slow
    window = viewer.window._qt_window
    window.resize(1280, 800)
    dock.imports_section.header.click()
    viewer.window.add_plugin_dock_widget(PLUGIN, "Crop a region")
    run(0.3)
    assert (window.width(), window.height()) == (1280, 800)
    assert dock.imports.isVisible()
    assert dock.table.table.viewport().height() > 20


def test_everything_is_reached_by_the_keyboard(slow, qtbot):
    _, _, dock, _ = slow
    dock.imports_section.header.setFocus()
    qtbot.keyClick(dock.imports_section.header, Qt.Key.Key_Space)
    assert dock.imports.isVisible()
    qtbot.keyClick(dock.imports_section.header, Qt.Key.Key_Return)
    assert not dock.imports.isVisible()
    parts = (
        dock.loading.pause.native,
        dock.loading.clear.native,
        dock.loading_section.header,
        dock.copy_button,
    )
    assert all(part.focusPolicy() & Qt.FocusPolicy.TabFocus for part in parts)


def test_a_dock_without_layers_is_idle(make_napari_viewer):
    viewer = make_napari_viewer()
    dock = DatasetDock(viewer)
    assert dock.loading_section.text == "Loading: idle"
    assert dataset_dock.REFRESH_MS >= 100
    dock.close()
