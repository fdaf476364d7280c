"""The dialog that asks what a raw file holds, and the layers that come of it."""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication

import napari_lazyload as nl
from napari_lazyload._npe2 import _read
from napari_lazyload.loading import cache, scheduler
from napari_lazyload.sources.binary import read_strided
from napari_lazyload.widgets.qt.main_thread import post_to_main
from napari_lazyload.widgets.raw import dialog as raw_dialog
from napari_lazyload.widgets.raw.dialog import RawDialog

PIXELS = np.arange(3 * 64 * 64, dtype="<u2").reshape(3, 64, 64)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "camera.raw"
    PIXELS.tofile(path)
    return path


@pytest.fixture
def dialog(qtbot, path):
    dialog = RawDialog(str(path))
    qtbot.addWidget(dialog, before_close_func=lambda one: one.preview.stop())
    dialog.show()
    return dialog


def dialogs(window):
    return [one for one in window.findChildren(RawDialog) if one.isVisible()]


def type_text(qtbot, part, text):
    part.setFocus()
    part.selectAll()
    qtbot.keyClicks(part, text)


def previewed(qtbot, dialog):
    qtbot.waitUntil(lambda: "values" in dialog.preview.caption.text())
    return dialog.preview.caption.text()


# --- the dialog


def test_the_likeliest_guess_is_filled_in_and_shown(qtbot, dialog):
    assert [dialog.guesses.item(row).text() for row in range(2)] == [
        "3 x 64 x 64  uint16",
        "6 x 64 x 64  uint8",
    ]
    assert dialog.description() == {"dtype": "<u2", "shape": [3, 64, 64]}
    assert dialog.verdict.text() == "3 x 64 x 64 uint16. That is the whole file."
    assert not dialog.keep.isChecked()
    assert previewed(qtbot, dialog) == "plane 2 of 3; values 4096 to 8191"
    image = dialog.preview.picture.pixmap().toImage()
    side = image.width()
    assert (image.pixelColor(0, 0).value(), image.pixelColor(side - 1, side - 1).value()) == (
        0,
        255,
    )


def test_choosing_another_guess_by_the_keyboard_fills_in_the_fields(qtbot, dialog):
    dialog.guesses.setFocus()
    qtbot.keyClick(dialog.guesses, Qt.Key.Key_Down)
    assert dialog.description() == {"dtype": "|u1", "shape": [6, 64, 64]}


def test_fields_change_what_is_read_and_shown(qtbot, dialog):
    dialog.byte_order.setCurrentIndex(1)
    dialog.offset.setValue(2 * 64 * 64)
    type_text(qtbot, dialog.shape, "2 x 64 x 64")
    dialog.order.setCurrentIndex(1)
    assert dialog.description() == {
        "dtype": ">u2",
        "shape": [2, 64, 64],
        "offset": 8192,
        "order": "F",
    }
    type_text(qtbot, dialog.shape, "-1, 64, 64")
    dialog.order.setCurrentIndex(0)
    dialog.preview.slider.setValue(0)
    swapped = PIXELS[1].byteswap()
    qtbot.waitUntil(
        lambda: (
            f"plane 1 of 2; values {swapped.min():g} to {swapped.max():g}"
            in dialog.preview.caption.text()
        )
    )


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("4 x 64 x 64", "Does not fit: expected 32,768 bytes as .* found 24,576 bytes"),
        ("1152921504606846976 x 64", "Does not fit: expected .* found 24,576 bytes"),
        ("3 x 0 x 64", "Does not fit: shape must have positive sizes"),
        ("-1 x -1", "Does not fit: shape must have positive sizes, of which one may be -1"),
        ("many", "Does not fit: expected sizes such as 100 x 512 x 512"),
        ("", "Does not fit: expected sizes such as"),
        ("64", "Does not fit: expected an image of at least 2 axes"),
    ],
)
def test_what_does_not_fit_is_said_at_once_and_cannot_be_opened(
    qtbot, dialog, monkeypatch, shape, said
):
    previewed(qtbot, dialog)
    monkeypatch.setattr(read_strided, "_read_into", lambda *_: pytest.fail("nothing is to be read"))
    dialog.shape.setText(shape)
    assert re.match(said, dialog.verdict.text())
    assert not dialog.open_button.isEnabled()
    assert dialog.preview.picture.pixmap().isNull()


def test_bytes_that_are_left_over_are_said_and_put_up_with(dialog, path):
    dialog.shape.setText("2 x 64 x 64")
    assert "8,192 bytes behind the last pixel are left over" in dialog.verdict.text()
    assert dialog.open_button.isEnabled()
    with nl.open_dataset(path, **dialog.description()) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, PIXELS[:2])


def test_the_preview_reads_one_plane_alone(qtbot, tmp_path, monkeypatch):
    path = tmp_path / "big.raw"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    read = []
    original = read_strided._read_into

    def counted(file, offset, target):
        read.append(target.nbytes)
        original(file, offset, target)

    monkeypatch.setattr(read_strided, "_read_into", counted)
    cache.shared.drop()
    dialog = RawDialog(str(path))
    qtbot.addWidget(dialog, before_close_func=lambda one: one.preview.stop())
    dialog.shape.setText("65536 x 2048 x 4096")
    assert "values 0 to 0" in previewed(qtbot, dialog)
    dialog.preview.slider.setValue(7)
    qtbot.waitUntil(lambda: "plane 8 of 65,536" in dialog.preview.caption.text())
    assert 0 < sum(read) < 3 * 320 * 4096 * 2
    assert len(cache.shared) == 0


def test_values_that_are_not_finite_and_colors_are_shown(qtbot, tmp_path):
    path = tmp_path / "a.raw"
    values = (
        np.array([np.nan, -np.inf, np.inf, -3e38, 3e38, 1], "<f4").repeat(6 * 6 * 6).reshape(36, 36)
    )
    values.tofile(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dialog = RawDialog(str(path))
        qtbot.addWidget(dialog, before_close_func=lambda one: one.preview.stop())
        dialog.dtype.setCurrentText("float32")
        dialog.shape.setText("36 x 36")
        qtbot.waitUntil(lambda: "values -3e+38 to 3e+38" in dialog.preview.caption.text())
        dialog.dtype.setCurrentText("uint8")
        dialog.shape.setText("36 x 48 x 3")
        qtbot.waitUntil(lambda: "values 0 to 255" in dialog.preview.caption.text())
        dialog.dtype.setCurrentText("complex64")
        dialog.shape.setText("18 x 36")
        previewed(qtbot, dialog)


def test_a_file_that_shrinks_meanwhile_is_said(qtbot, dialog, path):
    previewed(qtbot, dialog)
    path.write_bytes(b"")
    dialog.preview.slider.setValue(2)
    qtbot.waitUntil(lambda: "ends at byte 0" in dialog.preview.caption.text())


def test_what_the_name_tells_is_taken(qtbot, tmp_path):
    path = tmp_path / "scan_be_float32.raw"
    np.zeros((5, 64, 64), ">f4").tofile(path)
    dialog = RawDialog(str(path))
    qtbot.addWidget(dialog, before_close_func=lambda one: one.preview.stop())
    assert dialog.description() == {"dtype": ">f4", "shape": [5, 64, 64]}


def test_every_field_has_a_key_and_can_be_reached_by_tab(dialog, qtbot):
    from qtpy.QtWidgets import QLabel

    buddies = {label.buddy() for label in dialog.findChildren(QLabel) if "&" in label.text()}
    assert {
        dialog.guesses,
        dialog.dtype,
        dialog.byte_order,
        dialog.shape,
        dialog.offset,
        dialog.order,
    } <= buddies
    letters = [
        label.text()[label.text().index("&") + 1]
        for label in dialog.findChildren(QLabel)
        if "&" in label.text()
    ]
    assert len(set(letters)) == len(letters)
    reached, part = set(), dialog.guesses
    for _ in range(40):
        reached.add(part)
        part = part.nextInFocusChain()
    assert {dialog.keep, dialog.preview.slider, dialog.open_button} <= reached


# --- the reader


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


def drop(viewer, path):
    dropped = QMimeData()
    dropped.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(10, 10),
        Qt.DropAction.CopyAction,
        dropped,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    viewer.window._qt_viewer.dropEvent(event)


def test_a_dropped_file_is_asked_for_and_opens_when_the_dialog_is_accepted(viewer, path, qtbot):
    from napari.settings import get_settings

    get_settings().plugins.extension2reader = {"*.raw": "napari-lazyload"}
    drop(viewer, path)
    get_settings().plugins.extension2reader = {}
    assert len(viewer.layers) == 0
    (dialog,) = dialogs(viewer.window._qt_window)
    assert not dialog.isModal()
    viewer.add_points([[0, 0]])  # napari is alive meanwhile
    previewed(qtbot, dialog)
    dialog.shape.setFocus()
    qtbot.keyClick(dialog.shape, Qt.Key.Key_Return)
    layer = viewer.layers["camera.raw"]
    assert nl.is_lazy(layer)
    assert layer.visible
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(layer.data, PIXELS)
    np.testing.assert_array_equal(np.asarray(layer._data_view), PIXELS[viewer.dims.current_step[0]])
    qtbot.waitUntil(lambda: not dialogs(viewer.window._qt_window))
    assert [one.name for one in path.parent.iterdir()] == ["camera.raw"]


def test_a_dialog_that_is_cancelled_adds_nothing(viewer, path, qtbot):
    assert _read(str(path)) == [(None,)]
    (dialog,) = dialogs(viewer.window._qt_window)
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not dialogs(viewer.window._qt_window))
    assert len(viewer.layers) == 0
    assert [one.name for one in path.parent.iterdir()] == ["camera.raw"]


def test_what_was_settled_is_kept_on_request_and_opens_without_a_question(viewer, path, qtbot):
    viewer.open(path, plugin="napari-lazyload")
    (dialog,) = dialogs(viewer.window._qt_window)
    dialog.shape.setText("2 x 64 x 64")
    dialog.offset.setValue(1000)
    dialog.keep.click()
    dialog.open_button.click()
    said = json.loads((path.parent / "camera.raw.json").read_text("utf-8"))
    assert said == {"dtype": "<u2", "shape": [2, 64, 64], "offset": 1000, "trailing": True}
    expected = np.frombuffer(path.read_bytes(), "<u2", 2 * 64 * 64, 1000).reshape(2, 64, 64)
    (again,) = viewer.open(path, plugin="napari-lazyload")
    for layer in (viewer.layers[0], again):
        np.testing.assert_array_equal(layer.data, expected)


def test_a_sidecar_that_cannot_be_written_is_said_and_the_layer_is_there(viewer, path, monkeypatch):
    said = []
    monkeypatch.setattr(raw_dialog, "show_error", said.append)
    viewer.open(path, plugin="napari-lazyload")
    (dialog,) = dialogs(viewer.window._qt_window)
    (path.parent / "camera.raw.json").mkdir()
    dialog.keep.setChecked(True)
    dialog.open_button.click()
    assert len(viewer.layers) == 1
    assert "camera.raw.json': expected a new sidecar, found an error of the system" in said[0]


def test_the_dialog_goes_with_the_window(make_napari_viewer, path, qtbot):
    viewer = make_napari_viewer(show=True)
    _read(str(path))
    (dialog,) = dialogs(viewer.window._qt_window)
    previewed(qtbot, dialog)
    gone = []
    dialog.destroyed.connect(lambda *_: gone.append(1))
    dialog.preview.slider.setValue(0)  # still being read
    viewer.close()
    QApplication.processEvents()
    qtbot.waitUntil(lambda: bool(gone))


def test_a_preview_that_comes_after_the_window_went_is_dropped(make_napari_viewer, path, qtbot):
    viewer = make_napari_viewer(show=True)
    _read(str(path))
    (dialog,) = dialogs(viewer.window._qt_window)
    previewed(qtbot, dialog)
    gone, delivered = [], []
    dialog.destroyed.connect(lambda *_: gone.append(1))
    scheduler.pause()
    try:
        dialog.preview.slider.setValue(0)
        viewer.close()
        QApplication.processEvents()
        qtbot.waitUntil(lambda: bool(gone))
    finally:
        scheduler.pause(paused=False)
    qtbot.waitUntil(
        lambda: not sum(scheduler.snapshot()[name] for name in ("queued_visible", "running"))
    )
    post_to_main(lambda: delivered.append(1))
    qtbot.waitUntil(
        lambda: bool(delivered)
    )  # what the preview posted came before, and raised nothing


def test_without_a_window_that_is_shown_it_is_an_error_with_guesses(make_napari_viewer, path):
    with pytest.raises(
        ValueError, match=r"What fits the size: shape=\(3, 64, 64\), dtype='uint16'"
    ):
        nl.open_dataset(path)
    viewer = make_napari_viewer()
    with pytest.raises(ValueError, match="What fits the size"):
        viewer.open(path, plugin="napari-lazyload")
    assert not dialogs(viewer.window._qt_window)
