"""The OME-Zarr sample data: small, valid, and in napari's menu."""

from __future__ import annotations

import numpy as np
import pytest
import yaozarrs

import napari_lazyload as nl
from napari_lazyload import sample_data


def test_the_sample_image_is_valid_and_opens(tmp_path):
    path = sample_data.make_ome_zarr(tmp_path / "a.ome.zarr", size=64)
    yaozarrs.validate_zarr_store(str(path))
    with nl.open_dataset(path) as dataset:
        image, nuclei = dataset.images
        assert (image.axes, image.shape, len(image.levels)) == (
            ("c", "z", "y", "x"),
            (2, 32, 64, 64),
            3,
        )
        assert [channel.name for channel in image.meta.channels] == ["DNA", "membranes"]
        labels = nuclei.data.compute(scheduler="sync")
        assert nuclei.meta.display["features"]["index"] == [
            int(one) for one in np.unique(labels) if one
        ]
        assert dataset.notes == ()


def test_the_sample_plate_is_valid_and_opens(tmp_path):
    path = sample_data.make_plate(tmp_path / "a.ome.zarr", size=32)
    yaozarrs.validate_zarr_store(str(path))
    with nl.open_dataset(path) as dataset:
        assert dataset.images[0].shape == (2, 3 * 64, 4 * 64)
        assert dataset.images[0].data.compute(scheduler="sync").all()
        assert dataset.summary == "12 wells"


def test_a_sample_is_used_again_and_an_interrupted_one_leaves_nothing(tmp_path, monkeypatch):
    path = sample_data.make_plate(tmp_path / "a" / "b.ome.zarr", size=16)
    before = (path / "zarr.json").stat().st_mtime_ns
    assert sample_data.make_plate(path, size=16) == path
    assert (path / "zarr.json").stat().st_mtime_ns == before
    monkeypatch.setattr(sample_data, "_write_image", lambda *_args: pytest.fail("the disk is full"))
    with pytest.raises(pytest.fail.Exception):
        sample_data.make_plate(tmp_path / "a" / "c.ome.zarr")
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b.ome.zarr"]


def test_napari_opens_the_samples_from_its_menu(tmp_path, monkeypatch, make_napari_viewer):
    monkeypatch.setattr(sample_data.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(
        sample_data,
        "_write_cells",
        lambda folder, _size, write=sample_data._write_cells: write(folder, 64),
    )
    viewer = make_napari_viewer()
    viewer.open_sample("napari-lazyload", "ome_zarr")
    names = [layer.name for layer in viewer.layers]
    viewer.open_sample("napari-lazyload", "plate")
    nl.wait(viewer, timeout=30)
    assert names == [f"napari-lazyload-cells {name}" for name in ("DNA", "membranes", "nuclei")]
    assert len(viewer.layers) == 5
    assert all(map(nl.is_lazy, viewer.layers))
    viewer.layers.clear()


@pytest.mark.qt
def test_an_address_is_asked_for_and_opened(monkeypatch, qapp):
    from qtpy.QtWidgets import QInputDialog

    from napari_lazyload import _npe2
    from napari_lazyload.widgets import open_dialogs

    opened = []
    monkeypatch.setattr(open_dialogs, "open_path", lambda _viewer, path: opened.append(path))
    for answer in ((" https://host/a.zarr ", True), ("https://host/b.zarr", False), ("  ", True)):
        monkeypatch.setattr(QInputDialog, "getText", lambda *_args, answer=answer: answer)
        _npe2.open_address(None)
    assert opened == ["https://host/a.zarr"]
