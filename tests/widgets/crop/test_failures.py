"""What cannot be read in the crop dock: the user stops there, leaves it blank or leaves it out."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Layer
from qtpy.QtWidgets import QApplication

import napari_lazyload as nl
from helpers.crops import take_box
from napari_lazyload.layers.crop.crop_layer import CROP_KEY
from napari_lazyload.widgets.crop.dock import CropDock
from napari_lazyload.widgets.crop.output import NPY

REGION = ((1, 4), (15, 25), (30, 50))
INDEX = np.s_[1:4, 15:25, 30:50]


def crop(dock, qtbot):
    dock.form.crop.native.click()
    assert dock.running
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)


def broken_region(dock, source, position=1):
    source.failing |= {(position, row, column) for row in range(9) for column in range(9)}
    take_box(dock, *REGION)


def test_a_crop_that_stops_offers_how_to_go_on(dock, layer, source, qtbot):
    broken_region(dock, source)
    assert not dock.form.more.header.isChecked()
    crop(dock, qtbot)
    assert dock.form.more.header.isChecked()
    assert (
        "To go on without it, choose Leave blank or Leave out under More."
        in dock.form.message.text()
    )


@pytest.mark.parametrize(
    ("on_error", "words"), [("blank", "hold blanks"), ("skip", "are left out")]
)
def test_a_layer_says_which_frames_are_missing(dock, viewer, source, qtbot, on_error, words):
    broken_region(dock, source)
    dock.form.on_error.value = on_error
    crop(dock, qtbot)
    made = viewer.layers["cells crop"]
    expected = source.arrays[0][INDEX].copy()
    expected[0] = 0
    if on_error == "skip":
        expected = expected[1:]
        assert made.translate[0] == 2
    np.testing.assert_array_equal(made.data, expected)
    assert f"1 of 3 positions along t {words}" in dock.form.message.text()
    facts = made.metadata[CROP_KEY]["failures"]
    assert (facts["on_error"], facts["axis"], facts["positions"]) == (on_error, "t", [1])


@pytest.mark.parametrize(
    ("on_error", "words"), [("blank", "hold blanks"), ("skip", "are left out")]
)
def test_a_file_is_written_without_what_cannot_be_read(
    dock, source, qtbot, tmp_path, on_error, words
):
    dock.form.output.kind.value = NPY
    dock.form.output.path.value = str(tmp_path / "part")
    dock.form.output.reopen.value = False
    broken_region(dock, source, 3)
    dock.form.on_error.value = on_error
    crop(dock, qtbot)
    expected = source.arrays[0][INDEX].copy()
    expected[2] = 0
    if on_error == "skip":
        expected = np.delete(expected, 2, 0)
    np.testing.assert_array_equal(np.load(tmp_path / "part.npy"), expected)
    assert f"1 of 3 positions along t {words}" in dock.form.message.text()
    assert ": 3; the first: " in dock.form.message.text()


@pytest.mark.parametrize("kind", ["layer", NPY])
def test_the_script_goes_on_in_the_same_way(viewer, qtbot, write_folder, tmp_path, kind):
    write_folder(tmp_path / "scan", 6)
    path = sorted((tmp_path / "scan").iterdir())[2]
    path.write_bytes(path.read_bytes()[:-20])
    dataset = nl.open_dataset(tmp_path / "scan")
    viewer.add_layer(Layer.create(*dataset.to_layer_data()[0]))
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    dock.form.output.kind.value = kind
    dock.form.output.path.value = str(tmp_path / "part")
    take_box(dock, (1, 5), (4, 20), (8, 30))
    dock.form.on_error.value = "skip"
    dock.refresh()
    dock.form.copy.native.click()
    text = QApplication.clipboard().text()
    assert text.count("on_error='skip'") == 1
    names = {}
    with pytest.warns(nl.LazyLoadWarning, match="1 of 4 positions"):
        exec(compile(text, "copied.py", "exec"), names)
    pixels = names["pixels"] if kind == "layer" else np.load(tmp_path / "part.npy")
    assert pixels.shape == (3, 16, 22)
    names["dataset"].close()
    dataset.close()
