"""Crops into files from the dock: what is written, what is asked, what is reported on errors."""

from __future__ import annotations

import errno
import threading

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Layer
from qtpy.QtWidgets import QFileDialog, QMessageBox

import napari_lazyload as nl
from helpers.crops import pixels, take_box
from helpers.waiting import threads
from napari_lazyload.arrays.image import Image
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.exporting import export
from napari_lazyload.testing.sources import RecordingSource
from napari_lazyload.widgets.crop import plan
from napari_lazyload.widgets.crop.output import LAYER, LAZY, NPY, TIFF, ZARR

REGION = ((1, 4), (15, 25), (30, 50))
INDEX = np.s_[1:4, 15:25, 30:50]


@pytest.fixture
def writer(dock, tmp_path):
    """A function that chooses a file of some kind for the region."""

    def choose(kind, name="part", *, reopen=False):
        dock.form.output.kind.value = kind
        dock.form.output.path.value = str(tmp_path / name)
        dock.form.output.reopen.value = reopen
        take_box(dock, *REGION)
        return tmp_path / f"{name}{kind}"

    return choose


@pytest.fixture
def answers(monkeypatch):
    """What was asked, and what to answer."""
    buttons = QMessageBox.StandardButton
    asked = {"texts": [], "answer": buttons.Yes}

    def question(_parent, _title, text, *_buttons):
        asked["texts"].append(text)
        return asked["answer"]

    monkeypatch.setattr(QMessageBox, "question", question)
    return asked


def save(dock, qtbot):
    dock.form.crop.native.click()
    assert dock.running
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)


def read(path):
    if path.suffix == ".npy":
        return np.load(path)
    return tifffile.imread(path) if path.suffix == ".tif" else zarr.open(path)["0"][:]


# --- what is written


@pytest.mark.parametrize("kind", [ZARR, TIFF, NPY])
def test_a_region_goes_into_a_file(dock, viewer, layer, source, writer, qtbot, kind):
    path = writer(kind)
    assert dock.form.crop.text == "Save"
    source.loads.clear()
    save(dock, qtbot)
    np.testing.assert_array_equal(read(path), source.arrays[0][INDEX], strict=True)
    assert dock.form.message.text() == f"Wrote {path}."
    assert list(viewer.layers) == [layer]
    assert len(source.loads) == len(set(source.loads)) == 4  # frame 2 is shown, and cached
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_type_and_level_count(viewer, tmp_path, qtbot):
    from napari_lazyload.widgets.crop.dock import CropDock

    finest = pixels((4, 32, 32))
    source = RecordingSource(
        [finest, finest[:, ::2, ::2].copy()], (1, 8, 8), axes="tyx", factors=[(1, 1, 1), (1, 2, 2)]
    )
    viewer.add_layer(Layer.create(*layer_data(Image(source))[0]))
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    dock.form.output.kind.value, dock.form.output.path.value = NPY, str(tmp_path / "a.npy")
    dock.form.output.reopen.value = False
    dock.form.level.value, dock.form.dtype.value = 1, "float32"
    take_box(dock, (0, 2), (4, 9), (0, 32))
    save(dock, qtbot)
    np.testing.assert_array_equal(
        np.load(tmp_path / "a.npy"), source.arrays[1][:2, 2:5].astype("f4"), strict=True
    )


def test_the_file_is_opened_over_the_layer(dock, viewer, layer, source, writer, qtbot):
    layer.scale, layer.translate, layer.units = (1, 0.5, 0.5), (0, 10, 20), ("pixel", "um", "um")
    path = writer(ZARR, reopen=True)
    save(dock, qtbot)
    assert len(viewer.layers) == 2
    new = viewer.layers[-1]
    assert nl.is_lazy(new)
    np.testing.assert_array_equal(
        new.data[0] if new.multiscale else new.data, source.arrays[0][INDEX]
    )
    np.testing.assert_allclose(
        new.data_to_world((0, 0, 0))[1:], layer.data_to_world((1, 15, 30))[1:], atol=1e-6
    )
    assert path.is_dir()


def test_what_is_masked_is_zero_in_the_file(dock, viewer, source, writer, qtbot):
    triangle = np.array([(5, 5), (5, 35), (35, 5)], float)
    path = writer(ZARR)
    dock.form.region.value = viewer.add_shapes([triangle], shape_type="polygon")
    dock.form.frames.value = "whole"
    dock.form.masked.value = True
    save(dock, qtbot)
    y, x = np.mgrid[5:36, 5:36]
    off, on = (y + x > 40), (y == 5) | (x == 5) | (y + x == 40)
    expected = np.where(off, 0, source.arrays[0][:, 5:36, 5:36])
    np.testing.assert_array_equal(read(path)[:, ~on], expected[:, ~on])
    attributes = zarr.open(path).attrs["ome"]["multiscales"][0]
    assert attributes["datasets"][0]["coordinateTransformations"][1]["translation"] == [0, 5, 5]


@pytest.mark.parametrize("wrap", [np.asarray, lambda a: da.from_array(a, chunks=7), zarr.array])
def test_layers_of_other_plugins_are_written(dock, viewer, writer, qtbot, wrap):
    data = pixels((6, 40, 50), "f4")
    other = viewer.add_image(wrap(data), name="other", contrast_limits=(0, 1), rotate=0)
    dock.form.layer.value = other
    path = writer(NPY)
    save(dock, qtbot)
    np.testing.assert_array_equal(read(path), data[INDEX], strict=True)


def test_several_layers_are_files_beside_each_other(dock, viewer, layer, source, writer, qtbot):
    other = viewer.add_labels(pixels((6, 40, 50), "i4"), name="nuclei / 1")
    viewer.layers.selection = {layer, other}
    dock.form.layer.value = layer
    dock.form.several.value = True
    path = writer(NPY)
    save(dock, qtbot)
    np.testing.assert_array_equal(
        np.load(path.with_name("part_cells.npy")), source.arrays[0][INDEX]
    )
    np.testing.assert_array_equal(np.load(path.with_name("part_nuclei_1.npy")), other.data[INDEX])


def test_pyramid_and_shards_are_choices(dock, viewer, tmp_path, qtbot):
    big = viewer.add_image(pixels((600, 600), "u1"), name="big")
    dock.form.layer.value = big
    output = dock.form.output
    for kind, pyramid, sharded in (
        (LAYER, 0, 0),
        (LAZY, 0, 0),
        (ZARR, 1, 1),
        (TIFF, 1, 0),
        (NPY, 0, 0),
    ):
        output.kind.value = kind
        assert output.pyramid.native.isVisibleTo(dock) == bool(pyramid)
        assert output.sharded.native.isVisibleTo(dock) == bool(sharded)
    output.kind.value = ZARR
    output.reopen.value = False
    take_box(dock, (0, 600), (0, 600))
    levels, shards = {}, {}
    for pyramid, sharded in ((True, False), (False, True)):
        output.path.value = str(tmp_path / f"{pyramid}")
        output.pyramid.value, output.sharded.value = pyramid, sharded
        save(dock, qtbot)
        group = zarr.open(tmp_path / f"{pyramid}.ome.zarr")
        levels[pyramid], shards[sharded] = len(list(group.arrays())), group["0"].shards
    assert levels[True] > levels[False] == 1
    assert shards[False] is None
    assert shards[True] is not None


# --- what is asked


def test_what_is_there_is_replaced_only_if_the_user_says_so(dock, writer, answers, qtbot, source):
    path = writer(NPY)
    path.write_bytes(b"precious")
    answers["answer"] = QMessageBox.StandardButton.No
    dock.form.crop.native.click()
    assert not dock.running
    assert str(path) in answers["texts"][0]
    assert dock.form.message.text() == "Nothing was written."
    assert path.read_bytes() == b"precious"
    answers["answer"] = QMessageBox.StandardButton.Yes
    save(dock, qtbot)
    np.testing.assert_array_equal(np.load(path), source.arrays[0][INDEX])


def test_a_folder_of_other_files_is_never_replaced(dock, writer, answers, qtbot):
    path = writer(ZARR)
    path.mkdir()
    (path / "thesis.txt").write_text("precious")
    save(dock, qtbot)
    assert "is a folder that is no Zarr store" in dock.form.message.text()
    assert (path / "thesis.txt").read_text() == "precious"


def test_a_file_is_chosen_in_a_dialog(dock, monkeypatch, tmp_path):
    dock.form.output.kind.value = TIFF
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_args, **_options: (str(tmp_path / "x"), "")
    )
    dock.form.output.browse.native.click()
    assert dock.form.output.path.value == str(tmp_path / "x")
    assert dock.form.output.paths(["a"]) == (tmp_path / "x.ome.tif",)
    dock.form.output.kind.value = NPY
    assert dock.form.output.paths(["a"]) == (tmp_path / "x.npy",)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args, **_options: ("", ""))
    dock.form.output.browse.native.click()
    assert dock.form.output.paths(["a"]) == (tmp_path / "x.npy",)


def test_no_file_and_no_folder_are_told(dock, writer, tmp_path):
    writer(NPY)
    dock.form.output.path.value = " "
    dock.form.crop.native.click()
    assert dock.form.message.text() == "Say which file to write."
    dock.form.output.path.value = str(tmp_path / "nowhere" / "a")
    dock.form.crop.native.click()
    assert dock.form.message.text().startswith(f"There is no folder {tmp_path / 'nowhere'}")
    assert not dock.running


def test_what_does_not_fit_memory_goes_into_a_file(dock, writer, monkeypatch, qtbot, source):
    monkeypatch.setattr(plan, "free_memory", lambda: 100)
    path = writer(NPY)
    dock.form.output.kind.value = LAYER
    dock.refresh()
    assert (
        "add it as a lazy layer, which reads nothing yet or write it into a file"
        in dock.form.message.text()
    )
    assert not dock.form.crop.enabled
    dock.form.to_file.native.click()
    assert dock.form.output.kind.value == ZARR
    dock.form.output.kind.value = NPY
    dock.refresh()
    assert dock.form.crop.enabled
    save(dock, qtbot)
    np.testing.assert_array_equal(np.load(path), source.arrays[0][INDEX])


# --- what goes wrong


def test_cancel_leaves_nothing(dock, viewer, source, writer, qtbot):
    source.gate = threading.Event()
    path = writer(ZARR)
    dock.crop()
    assert source.started.wait(10)
    dock.form.cancel.native.click()
    assert dock.running  # until its files are settled
    assert dock.form.message.text() == "Stopping…"
    assert not dock.form.cancel.enabled
    source.gate.set()
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)
    assert dock.form.message.text() == "Cancelled, nothing was written."
    assert list(path.parent.iterdir()) == []
    assert dock.form.cancel.enabled or not dock.form.cancel.native.isVisibleTo(dock)
    save(dock, qtbot)
    assert path.is_dir()


def test_a_source_that_fails_in_the_middle_leaves_the_target_as_it_was(
    dock, source, writer, answers, qtbot
):
    path = writer(NPY)
    path.write_bytes(b"precious")
    source.failing.add((3, 0, 1))
    save(dock, qtbot)
    assert "cells/0/3.0.1: fails because the test says so" in dock.form.message.text()
    assert path.read_bytes() == b"precious"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        ZeroDivisionError("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_writing_are_told(dock, writer, monkeypatch, qtbot, error):
    def fail(*_args, **_keywords):
        raise error

    monkeypatch.setattr(export, "export", fail)
    writer(NPY)
    save(dock, qtbot)
    assert str(error) in dock.form.message.text()
    assert dock.form.crop.enabled


def test_the_second_of_two_files_fails(dock, viewer, layer, source, writer, qtbot):
    other = viewer.add_layer(
        Layer.create(
            *layer_data(Image(RecordingSource(pixels(), (1, 20, 25), axes="tyx", name="b")))[0]
        )
    )
    viewer.layers.selection = {layer, other}
    dock.form.layer.value = layer
    dock.form.several.value = True
    path = writer(NPY)
    other.metadata["napari_lazyload"].image.source.failing.add((3, 0, 1))
    save(dock, qtbot)
    written = path.with_name("part_cells.npy")
    assert f"Written before: {written}" in dock.form.message.text()
    assert [entry.name for entry in path.parent.iterdir()] == [written.name]


def test_removing_the_layer_ends_its_export(dock, viewer, layer, source, writer, qtbot):
    source.gate = threading.Event()
    path = writer(NPY)
    dock.crop()
    assert source.started.wait(10)
    viewer.layers.remove(layer)
    assert not dock.running
    assert dock._outcome == "Stopped: 'cells' was removed."
    source.gate.set()
    qtbot.waitUntil(lambda: not threads("lazyload-crop"), timeout=20_000)
    assert list(path.parent.iterdir()) == []
