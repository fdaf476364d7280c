"""The dataset dock in a real window: rows and sliders, failed rows, buttons."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

import napari_lazyload as nl
from napari_lazyload.loading import cache

PLUGIN = "napari-lazyload"


@pytest.fixture
def open_dock(make_napari_viewer, qtbot):
    """A function that opens a path and returns the viewer, its layers, the dock and its table."""
    viewer = make_napari_viewer()

    def open_path(path):
        cache.shared.drop()
        layers = viewer.open(str(path), plugin=PLUGIN)
        _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Dataset table")
        rows = layers[0].metadata["napari_lazyload"].dataset._opened.row_count
        qtbot.waitUntil(lambda: dock.table.model.total_rows == rows, timeout=20000)
        return viewer, layers, dock

    return open_path


def cell_center(table, row, column=0):
    return table.visualRect(table.model().index(row, column)).center()


def text(dock, row, column):
    model = dock.table.model
    return model.data(model.index(row, model.columns.index(column)), Qt.ItemDataRole.DisplayRole)


def test_the_table_lists_the_files_in_slider_order(open_dock, tmp_path, write_folder):
    write_folder(tmp_path / "a", 12)
    _, _, dock = open_dock(tmp_path / "a")
    assert [text(dock, row, "original_filename") for row in (2, 10, 11)] == [
        "img_2.png",
        "img_10.png",
        "img_11.png",
    ]
    assert dock.title.toolTip() == str(tmp_path / "a")
    assert "12 files" in dock.summary.text()


def test_moving_the_slider_selects_the_row(open_dock, tmp_path, write_folder):
    write_folder(tmp_path / "a", 12)
    viewer, _, dock = open_dock(tmp_path / "a")
    assert dock.table.selected_source_row == viewer.dims.current_step[0]
    viewer.dims.set_current_step(0, 7)
    assert dock.table.selected_source_row == 7


def test_a_click_and_the_arrow_keys_move_the_slider(open_dock, tmp_path, write_folder, qtbot):
    stack = write_folder(tmp_path / "a", 12)
    viewer, (layer,), dock = open_dock(tmp_path / "a")
    view = dock.table.table
    view.scrollToTop()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=cell_center(view, 3))
    assert viewer.dims.current_step[0] == 3
    qtbot.keyClick(view, Qt.Key.Key_Down)
    assert viewer.dims.current_step[0] == 4
    qtbot.keyClick(view, Qt.Key.Key_End)
    assert viewer.dims.current_step[0] == 11
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(np.asarray(layer._data_view), stack[11])


def test_sorting_changes_the_table_not_the_slider(open_dock, tmp_path, write_folder, qtbot):
    write_folder(tmp_path / "a", 12)
    viewer, _, dock = open_dock(tmp_path / "a")
    viewer.dims.set_current_step(0, 5)
    dock.table.sort_by(dock.table.model.columns.index("frame"), ascending=False)
    qtbot.waitUntil(lambda: dock.table.model.source_row(0) == 11, timeout=20000)
    assert viewer.dims.current_step[0] == 5
    view = dock.table.table
    view.scrollToTop()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=cell_center(view, 0))
    assert viewer.dims.current_step[0] == 11


def test_rows_and_sliders_of_a_stack_with_sub_folders(open_dock, tmp_path, write_folder, qtbot):
    for name in ("t1", "t2", "t10"):
        write_folder(tmp_path / "a" / name, 4)
    viewer, (layer,), dock = open_dock(tmp_path / "a")
    assert layer.data.shape[:2] == (3, 4)
    dock.table.rowActivated.emit(6)
    assert viewer.dims.current_step[:2] == (1, 2)
    viewer.dims.set_current_step(0, 2)
    assert dock.table.selected_source_row == 10
    assert text(dock, 10, "original_filename") == "t10/img_2.png"


def test_a_row_of_another_group_selects_its_layer(open_dock, tmp_path, write_folder):
    write_folder(tmp_path / "a", 3)
    write_folder(tmp_path / "b", 4, shape=(8, 9))
    for path in (tmp_path / "b").iterdir():
        path.rename(tmp_path / "a" / f"z_{path.name}")
    with pytest.warns(nl.LazyLoadWarning, match="2 shapes"):
        viewer, (first, second), dock = open_dock(tmp_path / "a")
    viewer.layers.selection.active = first
    dock.table.rowActivated.emit(5)
    assert viewer.layers.selection.active is second
    assert viewer.dims.current_step[0] == 2


def test_a_scaled_and_shifted_layer_is_navigated_too(open_dock, tmp_path, write_folder):
    write_folder(tmp_path / "a", 6)
    viewer, (layer,), dock = open_dock(tmp_path / "a")
    layer.scale = (2.5, 1, 1)
    layer.translate = (100, 0, 0)
    dock.table.rowActivated.emit(4)
    assert viewer.dims.point[0] == pytest.approx(110)
    viewer.dims.set_point(0, 102.5)
    assert dock.table.selected_source_row == 1


def test_a_frame_that_fails_turns_its_row_and_a_retry_mends_it(
    open_dock, tmp_path, write_folder, qtbot
):
    stack = write_folder(tmp_path / "a", 6)
    viewer, (layer,), dock = open_dock(tmp_path / "a")
    path = tmp_path / "a" / "img_1.png"
    content = path.read_bytes()
    path.write_bytes(b"gone wrong")
    viewer.dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: text(dock, 1, "status") == "failed", timeout=20000)
    assert "img_1" in text(dock, 1, "error")
    assert "img_1" in dock.notice.text()
    assert not dock.retry_button.isHidden()
    path.write_bytes(content)
    qtbot.mouseClick(dock.retry_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: text(dock, 1, "status") == "loaded", timeout=20000)
    nl.wait(dock._viewer, 10)
    np.testing.assert_array_equal(np.asarray(layer._data_view), stack[1])
    assert dock.retry_button.isHidden()


def test_files_that_do_not_fit_are_reopened_in_groups(
    open_dock, tmp_path, write_folder, qtbot, hurried
):
    write_folder(tmp_path / "a", 6)
    write_folder(tmp_path / "b", 2, shape=(8, 9))
    for path in (tmp_path / "b").iterdir():
        path.rename(tmp_path / "a" / f"z_{path.name}")
    viewer, layers, dock = open_dock(tmp_path / "a")
    assert len(layers) == 1
    qtbot.waitUntil(lambda: not dock.regroup_button.isHidden(), timeout=20000)
    qtbot.waitUntil(lambda: text(dock, 7, "status") == "different", timeout=20000)
    qtbot.mouseClick(dock.regroup_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20000)
    assert {layer.data.shape for layer in viewer.layers} == {(6, 24, 32), (2, 8, 9)}


def test_removing_the_layer_empties_the_dock(open_dock, tmp_path, write_folder, qtbot):
    write_folder(tmp_path / "a", 3)
    viewer, (layer,), dock = open_dock(tmp_path / "a")
    viewer.layers.remove(layer)
    assert dock.dataset is None
    assert dock.table.model.total_rows == 0
    write_folder(tmp_path / "b", 5)
    viewer.open(str(tmp_path / "b"), plugin=PLUGIN)
    qtbot.waitUntil(lambda: dock.table.model.total_rows == 5, timeout=20000)


def test_closing_the_dock_lets_go_of_everything(open_dock, tmp_path, write_folder):
    from napari_lazyload.loading import status

    write_folder(tmp_path / "a", 3)
    viewer, _, dock = open_dock(tmp_path / "a")
    listeners = len(status.shared._listeners)
    viewer.window.remove_dock_widget(dock)
    dock.close_down()
    assert len(status.shared._listeners) == listeners - 1
    viewer.dims.set_current_step(0, 1)


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_the_preference_for_folders_is_written_with_consent_alone(
    open_dock, tmp_path, write_folder, qtbot, monkeypatch, answer
):
    from napari.settings import get_settings

    write_folder(tmp_path / "a", 3)
    _, _, dock = open_dock(tmp_path / "a")
    asked = []
    monkeypatch.setattr(
        QMessageBox,
        "question",
        lambda *args: asked.append(args[2]) or getattr(QMessageBox.StandardButton, answer),
    )
    before = dict(get_settings().plugins.extension2reader)
    qtbot.mouseClick(dock.reader_button, Qt.MouseButton.LeftButton)
    after = dict(get_settings().plugins.extension2reader)
    get_settings().plugins.extension2reader = before
    assert "*/" in asked[0]
    assert after == ({**before, "*/": PLUGIN, "*.zarr/": PLUGIN} if answer == "Yes" else before)


def test_the_open_buttons_open_what_was_chosen(
    make_napari_viewer, tmp_path, write_folder, qtbot, monkeypatch
):
    from qtpy.QtWidgets import QFileDialog, QPushButton

    write_folder(tmp_path / "a", 12)
    viewer = make_napari_viewer()
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Dataset table")
    folder, files, _ = (
        button for button in dock.findChildren(QPushButton) if button.text().startswith("Open ")
    )
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "a"))
    qtbot.mouseClick(folder, Qt.MouseButton.LeftButton)
    assert viewer.layers[0].data.shape == (12, 24, 32)
    chosen = [str(tmp_path / "a" / f"img_{number}.png") for number in (10, 9, 1)]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (chosen, ""))
    qtbot.mouseClick(files, Qt.MouseButton.LeftButton)
    assert viewer.layers[1].data.shape == (3, 24, 32)
    names = viewer.layers[1].metadata["napari_lazyload"].dataset.meta["original_filename"]
    assert list(names) == ["img_1.png", "img_9.png", "img_10.png"]


def test_a_folder_that_cannot_be_opened_is_told_and_napari_goes_on(
    make_napari_viewer, tmp_path, monkeypatch
):
    from napari_lazyload.widgets.open_dialogs import open_path

    errors = []
    monkeypatch.setattr("napari.utils.notifications.show_error", errors.append)
    viewer = make_napari_viewer()
    open_path(viewer, str(tmp_path))
    assert "expected pictures" in errors[0]
    assert len(viewer.layers) == 0


def test_the_row_of_a_failed_frame_stays_in_sight(
    make_napari_viewer, tmp_path, write_folder, qtbot
):
    write_folder(tmp_path / "a", 60)
    (tmp_path / "a" / "img_40.png").write_bytes(b"gone wrong")
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Dataset table")
    qtbot.waitUntil(lambda: dock.table.model.total_rows == 60, timeout=20000)
    viewer.dims.set_current_step(0, 40)
    qtbot.waitUntil(dock.retry_button.isVisible, timeout=20000)
    view = dock.table.table
    qtbot.waitUntil(lambda: view.viewport().rect().contains(cell_center(view, 40)), timeout=20000)


def test_the_users_sort_survives_the_end_of_the_scan(open_dock, tmp_path, write_folder, qtbot):
    write_folder(tmp_path / "a", 6)
    _, _, dock = open_dock(tmp_path / "a")
    dock.table.sort_by(0, ascending=False)
    qtbot.waitUntil(lambda: dock.table.model.source_row(0) == 5, timeout=20000)
    dock.dataset._emit(None)
    with qtbot.waitSignal(dock.table.model.frameChanged, timeout=20000):
        pass
    qtbot.waitUntil(lambda: not dock.table.model.busy, timeout=20000)
    assert dock.table.model.source_row(0) == 5


def test_a_store_at_an_address_is_opened_by_its_button(
    make_napari_viewer, tmp_path, qtbot, monkeypatch
):
    pytest.importorskip("obstore", reason="the extra 'remote' is not installed")
    import zarr
    from qtpy.QtWidgets import QInputDialog, QPushButton

    from helpers.server import FolderServer

    pixels = np.arange(4 * 20 * 30, dtype="u2").reshape(4, 20, 30)
    zarr.create_array(str(tmp_path / "a.zarr"), shape=pixels.shape, chunks=(1, 20, 30), dtype="u2")[
        ...
    ] = pixels
    viewer = make_napari_viewer()
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Dataset table")
    (button,) = (one for one in dock.findChildren(QPushButton) if one.text() == "Open URL…")
    with FolderServer(tmp_path) as server:
        monkeypatch.setattr(QInputDialog, "getText", lambda *_: (f" {server.url}/a.zarr ", True))
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        (layer,) = viewer.layers
        viewer.dims.set_current_step(0, 2)
        assert nl.wait(viewer, 20)
        np.testing.assert_array_equal(np.asarray(layer._data_view), pixels[2])
        np.testing.assert_array_equal(np.asarray(layer.data), pixels)
        viewer.layers.clear()


def test_the_dock_names_the_level_in_3d_and_shows_a_finer_one_on_a_click(
    make_napari_viewer, tmp_path, qtbot
):
    import zarr

    from napari_lazyload.widgets.attach import attach_open_viewers

    fine = np.random.default_rng(0).integers(1, 99, (8, 32, 32)).astype("u1")
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    for level in range(3):
        pixels = fine[:, :: 1 << level, :: 1 << level]
        group.create_array(str(level), shape=pixels.shape, chunks=(2, 16, 16), dtype="u1")[...] = (
            pixels
        )
    scales = [[1, 1 << level, 1 << level] for level in range(3)]
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for level, scale in enumerate(scales)
    ]
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    nl.configure(cache_budget=fine.nbytes - 1)
    viewer = make_napari_viewer()
    attach_open_viewers()
    (layer,) = viewer.open(str(tmp_path / "a.zarr"), plugin=PLUGIN)
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Dataset table")
    viewer.layers.selection.active = layer
    viewer.dims.ndisplay = 3
    assert nl.wait(viewer, 20)
    qtbot.waitUntil(lambda: "3-D shows level 1 of 0 to 2" in dock.notice.text())
    assert not dock.finer_button.isHidden()
    assert dock.finer_button.text() == "Show finer (8.0 KiB)"
    dock.finer_button.click()
    assert nl.wait(viewer, 20)
    qtbot.waitUntil(lambda: "3-D shows level 0 of 0 to 2" in dock.notice.text())
    assert dock.finer_button.isHidden()
    np.testing.assert_array_equal(np.asarray(layer._data_view), fine)
    viewer.dims.ndisplay = 2
    nl.wait(viewer, 20)
    qtbot.waitUntil(lambda: "3-D" not in dock.notice.text())
