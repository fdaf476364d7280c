"""The crop dock in a real window: regions, costs, crops under way, and leaving during one."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.layers import Labels, Layer
from napari.utils._proxies import PublicOnlyProxy
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from helpers.crops import pixels, take_box
from helpers.waiting import threads
from napari_lazyload.arrays.image import Image
from napari_lazyload.core import settings
from napari_lazyload.core.text import size_text
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.layers.crop.crop_layer import CROP_KEY
from napari_lazyload.testing.sources import RecordingSource
from napari_lazyload.widgets.crop import plan
from napari_lazyload.widgets.crop import run as _crop_run
from napari_lazyload.widgets.crop.dock import CropDock
from napari_lazyload.widgets.crop.region_source import (
    CENTER,
    NUMBERS,
    RANDOM,
    SHOWN,
    TYPED,
    VIEW,
    WHOLE,
)


def rectangle(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], float)


def run(dock, qtbot):
    dock.crop()
    assert dock.running
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)


# --- choosing


def test_the_cost_is_told_before_anything_is_read(dock, source):
    loads = len(source.loads)
    take_box(dock, (1, 4), (15, 25), (0, 10))
    assert dock.form.cost.text() == (
        "Level 0, uint16: 3 x 10 x 10\nResult 600 B\nReads 5.9 KiB in 6 chunks, of 23 KiB"
    )
    dock.form.dtype.value = "float64"
    dock.refresh()
    assert dock.form.cost.text().startswith(
        "Level 0, float64: 3 x 10 x 10\nResult 2.3 KiB\nReads 5.9 KiB"
    )
    assert len(source.loads) == loads


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (2**19, "512 KiB"),
        (1023.6 * 1024, "1.0 MiB"),
        (40 * 2**20, "40 MiB"),
        (2**60 * 7, "7,168 PiB"),
    ],
)
def test_sizes_for_people(nbytes, text):
    assert size_text(nbytes) == text


def test_the_view_is_the_first_region_and_follows_camera_and_slider(dock, viewer, layer, qtbot):
    viewer.window._qt_window.show()
    assert dock.form.region.value == VIEW
    assert dock.form.frames.value == SHOWN
    qtbot.wait(50)
    viewer.scene.camera.center = (20, 30)
    viewer.scene.camera.zoom = 20
    viewer.dims.set_point(0, 4)
    rows, columns = viewer.canvas.size
    expected = (
        slice(4, 5),
        slice(max(0, int(np.floor(20.5 - rows / 40))), min(40, int(np.ceil(20.5 + rows / 40)))),
        slice(
            max(0, int(np.floor(30.5 - columns / 40))), min(50, int(np.ceil(30.5 + columns / 40)))
        ),
    )
    qtbot.waitUntil(lambda: dock.plan.region == expected, timeout=20000)


def test_a_drawn_rectangle_is_the_region(dock, viewer, layer):
    shapes = viewer.add_shapes([rectangle(9.6, 4.6, 20.4, 40.4)], name="mine")
    dock.form.region.value = shapes
    viewer.dims.set_point(0, 2)
    dock.refresh()
    assert dock.plan.region == np.s_[2:3, 10:21, 5:41]
    dock.form.frames.value = WHOLE
    dock.refresh()
    assert dock.plan.region == np.s_[0:6, 10:21, 5:41]
    assert dock.form.rows.ranges() == [(0, 6), (10, 21), (5, 41)]


def test_moving_a_rectangle_moves_the_region(dock, viewer, layer, qtbot):
    viewer.window._qt_window.show()
    shapes = viewer.add_shapes([rectangle(9.6, 4.6, 20.4, 40.4)])
    dock.form.region.value = shapes
    qtbot.waitUntil(
        lambda: dock.plan is not None and dock.plan.region[1:] == np.s_[10:21, 5:41], timeout=20000
    )
    shapes.data = [rectangle(0, 0, 3, 3)]
    qtbot.waitUntil(lambda: dock.plan.region[1:] == np.s_[0:4, 0:4], timeout=20000)
    shapes.translate = (10, 10)
    qtbot.waitUntil(lambda: dock.plan.region[1:] == np.s_[10:14, 10:14], timeout=20000)
    layer.scale = (1, 2, 2)
    qtbot.waitUntil(lambda: dock.plan.region[1:] == np.s_[5:7, 5:7], timeout=20000)


def test_typing_makes_the_region_mine(dock, viewer):
    dock.form.region.value = viewer.add_shapes([rectangle(9.6, 4.6, 20.4, 40.4)])
    dock.refresh()
    start, stop = dock.form.rows._boxes[0]
    start.value, stop.value = 1, 5  # along t, which the rectangle says nothing about
    assert dock.form.frames.value == TYPED
    assert dock.form.region.value not in (VIEW, NUMBERS)
    dock.refresh()
    assert dock.plan.region == np.s_[1:5, 10:21, 5:41]
    dock.form.rows._boxes[2][1].value = 30
    assert dock.form.region.value == NUMBERS
    dock.refresh()
    assert dock.plan.region == np.s_[1:5, 10:21, 5:30]


def test_an_empty_region_is_a_message(dock, viewer, layer, qtbot):
    take_box(dock, (0, 6), (30, 20), (0, 50))
    assert dock.plan is None
    assert "The region is empty: along y, 30 to 20 holds no pixel." in dock.form.message.text()
    assert not dock.form.crop.enabled
    dock.crop()
    assert not dock.running
    dock.form.region.value = viewer.add_shapes([rectangle(-30, -30, -20, -20)])
    dock.refresh()
    assert "lies outside 'cells': along y" in dock.form.message.text()
    take_box(dock, (0, 6), (0, 20), (0, 50))
    assert dock.form.crop.enabled
    assert dock.form.message.text() == ""


def test_choices_follow_the_layers(dock, viewer, layer):
    assert dock.layer is layer
    other = viewer.add_labels(pixels((9, 8), "u1"), name="nuclei")
    dock.form.layer.value = layer
    points = viewer.add_points()
    assert dock.form.layer.choices == (other, layer)
    assert dock.layer is layer
    shapes = viewer.add_shapes(name="roi")
    assert dock.form.region.choices == (shapes, VIEW, NUMBERS, CENTER, RANDOM)
    dock.form.region.value = shapes
    layer.name = shapes.name = "renamed"
    assert dock.form.layer.current_choice == "renamed"
    assert dock.form.region.current_choice == f"Rectangle in {shapes.name}"
    assert dock.layer is layer
    assert dock.form.region.value is shapes
    viewer.layers.remove(shapes)
    assert dock.form.region.value == VIEW
    viewer.layers.remove(layer)
    assert dock.layer is other
    assert [name for name, _ in dock.form.rows._axes] == list(other.axis_labels)
    viewer.layers.remove(points)
    viewer.layers.remove(other)
    assert dock.layer is None
    dock.refresh()
    assert dock.form.message.text() == "Open an image first."
    assert not dock.form.crop.enabled
    again = viewer.add_image(pixels((4, 4)), name="again")
    assert dock.layer is again


def test_new_pixels_of_a_layer_are_another_choice(dock, viewer, qtbot):
    other = viewer.add_image(pixels((9, 8)), name="other")
    dock.form.layer.value = other
    take_box(dock, (0, 9), (0, 8))
    other.data = pixels((20, 30, 40), "f4")
    dock.refresh()
    assert [size for _, size in dock.form.rows._axes] == [20, 30, 40]
    assert dock.form.dtype.current_choice == "Unchanged (float32)"
    other.axis_labels = ("a", "b", "c")
    assert [name for name, _ in dock.form.rows._axes] == ["a", "b", "c"]


def test_the_dock_follows_the_selected_layer_and_not_its_own_crop(dock, viewer, layer, qtbot):
    other = viewer.add_image(pixels((9, 8)), name="other")
    assert dock.layer is other
    viewer.layers.selection.active = layer
    assert dock.layer is layer
    viewer.add_points(np.zeros((2, 2)))
    assert dock.layer is layer
    dock.form.layer.value = other
    assert dock.layer is other
    take_box(dock, (1, 5), (2, 6))
    dock.crop()
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)
    made = viewer.layers.selection.active
    assert made.name == "other crop"
    assert dock.layer is other
    viewer.layers.selection.active = layer
    viewer.layers.selection.active = made
    assert dock.layer is made


def test_labels_offer_whole_types_alone(dock, viewer):
    dock.form.layer.value = viewer.add_labels(pixels((9, 8), "u1"))
    assert dock.form.dtype.choices == ("", "uint16", "uint32", "int16", "int32")


def test_no_view_in_3d_but_numbers(dock, viewer):
    viewer.dims.ndisplay = 3
    dock.refresh()
    assert "switch to 2-D" in dock.form.message.text()
    dock.draw_rectangle()
    assert len(viewer.layers) == 1
    take_box(dock, (0, 6), (0, 20), (0, 50))
    assert dock.plan.region == np.s_[0:6, 0:20, 0:50]


# --- cropping


def test_the_crop_is_a_new_layer_over_the_old_one(dock, viewer, layer, source, qtbot):
    layer.scale, layer.colormap, layer.contrast_limits = (1, 0.5, 0.5), "magma", (3, 900)
    viewer.add_points(name="on top")
    take_box(dock, (1, 4), (15, 25), (30, 50))
    before = len(source.loads)
    run(dock, qtbot)
    first, new, last = viewer.layers
    assert first is layer
    assert last.name == "on top"
    assert new.name == "cells crop"
    assert type(new.data) is np.ndarray
    np.testing.assert_array_equal(new.data, source.arrays[0][1:4, 15:25, 30:50], strict=True)
    np.testing.assert_allclose(new.translate, (1, 7.5, 15))
    assert new.colormap.name == "magma"
    assert new.contrast_limits == [3, 900]
    assert new.metadata[CROP_KEY]["region"] == {"t": [1, 4], "y": [15, 25], "x": [30, 50]}
    assert viewer.layers.selection.active is new
    assert dock.layer is layer
    assert dock.form.message.text() == "Added 'cells crop'."
    assert len(source.loads) - before <= 6


def test_level_and_type_are_chosen(viewer, qtbot):
    finest = pixels((4, 32, 32))
    source = RecordingSource(
        [finest, finest[:, ::2, ::2].copy()], (1, 8, 8), axes="tyx", factors=[(1, 1, 1), (1, 2, 2)]
    )
    layer = viewer.add_layer(Layer.create(*layer_data(Image(source))[0]))
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    dock.form.level.value = 1
    dock.form.dtype.value = "float32"
    take_box(dock, (0, 2), (4, 9), (0, 32))
    assert dock.form.cost.text().startswith("Level 1, float32: 2 x 3 x 16\n")
    run(dock, qtbot)
    new = viewer.layers["recorded crop"]
    np.testing.assert_array_equal(new.data, source.arrays[1][:2, 2:5].astype("f4"), strict=True)
    np.testing.assert_allclose(new.scale, (1, 2, 2))
    np.testing.assert_allclose(new.translate, (0, 4.5, 0.5))
    assert layer in viewer.layers


def test_one_frame_keeps_its_axis_and_its_place(dock, viewer, qtbot, source):
    viewer.dims.set_point(0, 4)
    dock.crop()
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)
    new = viewer.layers[-1]
    assert new.data.shape[0] == 1
    assert new.data_to_world((0, 0, 0))[0] == 4
    assert viewer.dims.point[0] == 4


def test_labels_and_colors(viewer, qtbot):
    labels = viewer.add_labels(pixels((9, 8), "i4") % 4, name="nuclei")
    colors = viewer.add_image(pixels((9, 8, 3), "u1"), rgb=True, name="photo")
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    for layer in (labels, colors):
        dock.form.layer.value = layer
        take_box(dock, (2, 5), (1, 7))
        run(dock, qtbot)
        new = viewer.layers[f"{layer.name} crop"]
        assert type(new) is type(layer)
        np.testing.assert_array_equal(new.data, layer.data[2:5, 1:7])
    assert viewer.layers["photo crop"].rgb
    assert isinstance(viewer.layers["nuclei crop"], Labels)


def test_the_window_stays_live_and_progress_is_shown(dock, viewer, source, qtbot):
    source.gate = threading.Event()
    take_box(dock, (0, 2), (0, 40), (0, 50))
    dock.crop()
    assert source.started.wait(10)
    assert not dock.form.crop.enabled
    assert dock.form.cancel.native.isVisibleTo(dock)
    assert dock.form.progress.native.isVisibleTo(dock)
    ticks = []
    qtbot.waitUntil(lambda: ticks.append(1) or len(ticks) > 5, timeout=20000)
    dock.crop()  # one at a time
    assert len(threads("lazyload-crop")) == 1
    source.gate.set()
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)
    assert dock.form.progress.value <= dock.form.progress.max == 8
    assert not dock.form.cancel.native.isVisibleTo(dock)
    assert not dock.form.progress.native.isVisibleTo(dock)
    assert dock.form.crop.enabled


def test_the_keyboard_goes_from_crop_to_cancel_and_back(dock, viewer, source, qtbot):
    viewer.window._qt_window.show()
    viewer.window._qt_window.activateWindow()
    source.gate = threading.Event()
    take_box(dock, (0, 6), (0, 40), (0, 50))
    dock.form.crop.native.setFocus()
    qtbot.waitUntil(dock.form.crop.native.hasFocus, timeout=20000)
    qtbot.keyClick(dock.form.crop.native, Qt.Key.Key_Space)
    assert source.started.wait(10)
    assert dock.form.cancel.native.hasFocus()
    qtbot.keyClick(dock.form.cancel.native, Qt.Key.Key_Space)
    assert not dock.running
    assert dock.form.crop.native.hasFocus()
    source.gate.set()


def test_cancel_does_not_wait_for_a_read_that_hangs(dock, viewer, source, qtbot):
    source.gate = threading.Event()
    take_box(dock, (0, 6), (0, 40), (0, 50))
    dock.crop()
    assert source.started.wait(10)
    dock.form.cancel.native.click()
    assert not dock.running
    assert dock.form.message.text() == "Cancelled, nothing was added."
    assert dock.form.crop.enabled
    begun = len(source.loads)
    source.gate.set()
    qtbot.waitUntil(lambda: not threads("lazyload-crop"), timeout=20_000)
    qtbot.wait(100)
    assert len(source.loads) == begun
    assert len(viewer.layers) == 1


def test_a_chunk_that_cannot_be_read_is_told(dock, viewer, source, qtbot):
    source.failing.add((1, 0, 0))
    take_box(dock, (0, 6), (0, 40), (0, 50))
    notification_manager.records.clear()
    run(dock, qtbot)
    assert "cells/0/1.0.0: fails because the test says so" in dock.form.message.text()
    assert any(
        "Crop of cells: cells/0/1.0.0" in record.message for record in notification_manager.records
    )
    assert len(viewer.layers) == 1
    source.failing.clear()
    run(dock, qtbot)
    assert len(viewer.layers) == 2


@pytest.mark.parametrize(
    "error",
    [MemoryError("the region needs 9 GiB"), ZeroDivisionError("odd")],
    ids=lambda e: type(e).__name__,
)
def test_other_errors_are_told_too(dock, viewer, monkeypatch, qtbot, error):
    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(_crop_run, "crop", fail)
    take_box(dock, (0, 6), (0, 40), (0, 50))
    run(dock, qtbot)
    assert str(error)[1:] in dock.form.message.text()
    assert len(viewer.layers) == 1


def test_what_does_not_fit_memory_is_refused_and_offered_as_a_lazy_layer(
    dock, viewer, source, monkeypatch
):
    settings.update(workers=2)  # two chunks in flight
    monkeypatch.setattr(plan, "free_memory", lambda: 20_000)
    take_box(dock, (0, 6), (0, 40), (0, 50))
    assert not dock.form.crop.enabled
    assert "This needs 25 KiB of memory, 20 KiB are free." in dock.form.message.text()
    assert "smaller region or a coarser level" in dock.form.message.text()
    dock.crop()
    assert not dock.running
    assert dock.form.lazy.native.isVisibleTo(dock)
    dock.form.lazy.native.click()
    assert dock.form.message.text().startswith("Added 'cells crop'.\nThis needs 25 KiB")
    new = viewer.layers[-1]
    assert new.name == "cells crop"
    assert not isinstance(new.data, np.ndarray)
    np.testing.assert_array_equal(np.asarray(new.data), source.arrays[0])
    take_box(dock, (0, 1), (0, 40), (0, 50))
    assert dock.form.crop.enabled
    assert not dock.form.lazy.native.isVisibleTo(dock)


def at_rest(viewer, qtbot):
    """What a canvas of one size shows, whatever size a busy machine gives the real one when."""

    def shot():
        return viewer.screenshot(size=(400, 600), canvas_only=True, flash=False)

    shots = [shot()]

    def settled():
        shots.append(shot())
        return np.array_equal(shots[-1], shots[-2])

    qtbot.wait(100)
    qtbot.waitUntil(settled, timeout=20_000)
    return shots[-1]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_crop_looks_like_what_it_was_taken_from(make_napari_viewer, qtbot, level):
    viewer = make_napari_viewer(show=True)
    finest = np.random.default_rng(0).integers(0, 255, (3, 64, 96), "u1")
    levels = [finest[:, :: 2**number, :: 2**number].copy() for number in range(3)]
    factors = [(1, 2**number, 2**number) for number in range(3)]
    source = RecordingSource(
        levels, (1, 16, 16), axes="zyx", factors=factors, scale=(1.0, 0.5, 0.7), name="cells"
    )
    layer = viewer.add_layer(Layer.create(*layer_data(Image(source))[0]))
    layer.contrast_limits, layer.locked_data_level = (0, 255), level
    layer.rotate = [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]
    viewer.reset_view()
    before = at_rest(viewer, qtbot)
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    dock.form.level.value = level
    dock.form.outline.value = False
    take_box(dock, (0, 3), (0, 64), (0, 96))
    run(dock, qtbot)
    layer.visible = False
    np.testing.assert_array_equal(at_rest(viewer, qtbot), before)
    assert before[..., :3].std() > 50


# --- drawing


def canvas_point(viewer, y, x):
    rows, columns = viewer.canvas.size
    zoom, (cy, cx) = viewer.scene.camera.zoom, viewer.scene.camera.center[-2:]
    return QPoint(round((x - cx) * zoom + columns / 2), round((y - cy) * zoom + rows / 2))


def drag(qtbot, viewer, start, stop):
    canvas = viewer.window._qt_viewer.canvas.native
    begin, end = canvas_point(viewer, *start), canvas_point(viewer, *stop)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=begin)
    for step in range(1, 5):
        at = QPointF(begin + (end - begin) * step / 4)
        glob = QPointF(canvas.mapToGlobal(at.toPoint()))
        buttons = (
            Qt.MouseButton.NoButton,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(canvas, QMouseEvent(QEvent.Type.MouseMove, at, glob, *buttons))
        qtbot.wait(10)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=end)


def test_drawing_with_the_mouse(make_napari_viewer, source, qtbot):
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_layer(Layer.create(*layer_data(Image(source))[0]))
    layer.rotate = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]  # a quarter turn
    dock = CropDock(viewer)
    viewer.window.add_dock_widget(dock, name="Crop a region")
    viewer.reset_view()
    qtbot.wait(100)
    dock.form.draw.native.click()
    shapes = viewer.layers.selection.active
    assert shapes.name == "Crop region"
    assert shapes.mode == "add_rectangle"
    assert "drag one over the image" in dock.form.message.text()
    qtbot.wait(100)  # the canvas makes room for the controls of shapes
    drag(qtbot, viewer, layer.data_to_world((0, 5, 10))[1:], layer.data_to_world((0, 30, 40))[1:])
    qtbot.waitUntil(lambda: shapes.mode == "select", timeout=20000)
    assert len(shapes.data) == 1
    (y0, x0), (y1, x1) = np.min(shapes.data[0], axis=0), np.max(shapes.data[0], axis=0)
    np.testing.assert_allclose((y0, x0, y1, x1), (5, 10, 30, 40), atol=0.2)
    dock.refresh()
    assert dock.form.message.text() == ""
    for part, low, high in zip(dock.plan.region[1:], (y0, x0), (y1, x1), strict=True):
        assert (part.start, part.stop) == (np.floor(low + 0.5), np.ceil(high + 0.5))
    dock.form.draw.native.click()
    assert sum(layer.name.startswith("Crop region") for layer in viewer.layers) == 1
    shapes.add(rectangle(1, 2, 3, 4))
    qtbot.waitUntil(lambda: shapes.mode == "select", timeout=20000)
    dock.refresh()
    assert dock.plan.region[1:] == np.s_[1:4, 2:5]


# --- how napari makes it


@pytest.mark.filterwarnings("error::FutureWarning")  # what the proxy says of private names
def test_it_works_with_the_proxy_that_plugins_get(viewer, layer, source, qtbot):
    dock = CropDock(PublicOnlyProxy(viewer))
    qtbot.addWidget(dock)
    dock.form.region.value = viewer.add_shapes([rectangle(9.6, 4.6, 20.4, 40.4)])
    dock.refresh()
    run(dock, qtbot)
    np.testing.assert_array_equal(
        viewer.layers[1].data, source.arrays[0][dock.plan.region], strict=True
    )
    dock.draw_rectangle()
    assert viewer.layers.selection.active.mode == "add_rectangle"


def test_it_is_one_of_the_plugins_docks(viewer, layer):
    _, dock = viewer.window.add_plugin_dock_widget("napari-lazyload", "Crop a region")
    assert type(dock).__name__ == "CropDock"
    assert dock.layer is layer


def test_everything_has_a_name_and_nothing_is_too_wide(dock, viewer, qtbot):
    viewer.window._qt_window.show()
    viewer.layers[
        0
    ].name = "a name that is much longer than any drop-down list in a dock could ever be"
    qtbot.wait(50)
    form = dock.form
    assert dock.minimumSizeHint().width() <= 320
    for field in (form.layer, form.region, form.frames, form.level, form.dtype):
        assert field.native.accessibleName()
    for pair in form.rows._boxes:
        assert all(box.native.accessibleName() for box in pair)
    dock.form.layer.native.repaint()
    assert viewer.layers[0].name in dock.form.layer.native.toolTip()
