"""The small table of packages, and the copy of labels that can be painted."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

import napari_lazyload as nl
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.core import lazy_imports
from napari_lazyload.sources.opened import OpenResult
from napari_lazyload.testing.sources import RecordingSource
from napari_lazyload.widgets.attach import attach_open_viewers
from napari_lazyload.widgets.panels.imports import ImportPanel

PLUGIN = "napari-lazyload"


def told(progress, **packages):
    names = (
        "total_packages",
        "loaded_packages",
        "failed_packages",
        "is_loading",
        "progress_percentage",
    )
    keys = ("status", "load_time", "error", "priority")
    return {
        "progress": dict(zip(names, progress, strict=True)),
        "packages": {
            name: dict(zip(keys, (*values, 1), strict=True)) for name, values in packages.items()
        },
    }


def cells(panel):
    table = panel.table
    return [
        [table.item(row, column).text() for column in range(3)] for row in range(table.rowCount())
    ]


def test_packages_their_states_and_how_long_they_took(qtbot, monkeypatch):
    status = told(
        (3, 1, 0, True, 33.3),
        zarr=("loading", None, None),
        absent=("not installed", None, None),
        h5py=("loaded", 0.256, None),
        dask=("pending", None, None),
    )
    monkeypatch.setattr(lazy_imports, "import_status", lambda: status)
    panel = ImportPanel()
    qtbot.addWidget(panel)
    assert panel.refresh() == "Packages: 1 of 3 loaded, loading"
    assert panel.table.rowCount() == 0  # nobody sees it
    panel.show()
    panel.refresh()
    assert cells(panel) == [
        ["dask", "pending", ""],
        ["h5py", "loaded", "0.26"],
        ["zarr", "loading", ""],
        ["absent", "not installed", ""],
    ]
    status = told(
        (1, 0, 1, False, 100.0), zarr=("failed", 0.1, "RuntimeError: half an installation")
    )
    assert panel.refresh() == "Packages: 0 of 1 loaded, 1 failed"
    assert cells(panel) == [["zarr", "failed", "0.10"]]
    assert panel.table.item(0, 1).toolTip() == "RuntimeError: half an installation"
    assert not panel.table.item(0, 1).icon().isNull()


# --- labels


@pytest.fixture
def labels(make_napari_viewer, qtbot):
    """A viewer with a lazy Labels layer, its dock, and the pixels."""
    pixels = np.random.default_rng(0).integers(0, 9, (5, 40, 60), "u1")
    source = RecordingSource(
        pixels, (1, 16, 16), kind="labels", name="cells", scale=(2.0, 0.5, 0.5)
    )
    dataset = nl.Dataset(
        OpenResult(
            "/somewhere", "test", (source,), (range(1),), lambda: {"original_filename": ["a"]}
        )
    )
    viewer = make_napari_viewer(show=True)
    attach_open_viewers()
    ((data, keywords, kind),) = dataset.to_layer_data()
    keywords["visible"] = False
    keywords["metadata"][METADATA_KEY].hidden = True
    (layer,) = viewer._add_layer_from_data(data, keywords, kind)
    viewer.layers.selection.active = layer
    viewer.dims.set_current_step(0, 3)
    nl.wait(viewer, 10)
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Dataset table")
    qtbot.waitUntil(dock.copy_button.isVisible, timeout=20000)
    yield viewer, layer, dock, pixels
    dataset.close()


def test_labels_in_view_become_a_layer_that_can_be_painted(labels, qtbot):
    viewer, layer, dock, pixels = labels
    assert not layer.editable
    viewer.reset_view()
    dock.copy_button.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=10_000)
    copy = viewer.layers[1]
    assert viewer.layers.selection.active is copy
    assert isinstance(copy, Labels)
    np.testing.assert_array_equal(copy.data, pixels[3:4])
    np.testing.assert_allclose(copy.data_to_world((0, 0, 0)), layer.data_to_world((3, 0, 0)))
    assert copy.editable
    copy.paint((0, 5, 5), 77)
    assert copy.data[0, 5, 5] == 77
    assert pixels[3, 5, 5] != 77
    assert dock.notice.text() == ""


def test_a_copy_in_3d_says_what_to_do_instead(labels):
    viewer, _, dock, _ = labels
    viewer.dims.ndisplay = 3
    dock.copy_button.click()
    assert "switch to 2-D" in dock.notice.text()
    assert len(viewer.layers) == 1


def test_images_are_offered_no_copy_to_paint_in(labels, tmp_path, write_folder, qtbot):
    viewer, _, dock, _ = labels
    write_folder(tmp_path / "a", 3)
    viewer.open(str(tmp_path / "a"), plugin=PLUGIN)
    qtbot.waitUntil(lambda: dock.table.model.total_rows == 3, timeout=20000)
    assert not dock.copy_button.isVisible()
