"""File > Open Sample: an entry for each kind of data, made on the spot, small, lazy and exact."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
from npe2 import PluginManifest

import napari_lazyload as nl
from napari_lazyload import sample_data

MOST_BYTES = 40 << 20

# Each entry of the menu: its layers, and the shape of the first one.
ENTRIES = {
    "folder": (1, (300, 256, 256)),
    "ome_zarr": (3, (32, 64, 64)),
    "plate": (2, (3 * 192, 4 * 192)),
    "volume": (1, (16, 64, 64)),
}


@pytest.fixture
def menu(tmp_path, monkeypatch):
    """The menu writes into the test's own folder, and smaller data where that takes long."""
    monkeypatch.setattr(sample_data.tempfile, "gettempdir", lambda: str(tmp_path))
    for name in ("_write_cells", "_write_volume"):
        write = getattr(sample_data, name)
        monkeypatch.setattr(sample_data, name, lambda folder, _size, write=write: write(folder, 64))
    return tmp_path


def test_the_manifest_lists_them_all():
    manifest = PluginManifest.from_file(resources.files("napari_lazyload") / "napari.yaml")
    entries = {entry.key: entry.display_name for entry in manifest.contributions.sample_data}
    assert entries.keys() == ENTRIES.keys()
    assert all(entries.values())


@pytest.mark.parametrize(("key", "expected"), ENTRIES.items(), ids=ENTRIES)
def test_napari_opens_a_sample(key, expected, menu, make_napari_viewer):
    viewer = make_napari_viewer()
    count, shape = expected
    viewer.open_sample("napari-lazyload", key)
    nl.wait(viewer, timeout=60)
    assert len(viewer.layers) == count
    assert all(map(nl.is_lazy, viewer.layers))
    assert all(layer.visible for layer in viewer.layers)
    first = viewer.layers[0]
    finest = first.data[0] if first.multiscale else first.data
    assert finest.shape == shape
    pixels = nl.crop(first, {first.axis_labels[-1]: (20, 30)})
    np.testing.assert_array_equal(pixels, np.asarray(finest)[..., 20:30], strict=True)
    assert pixels.min() < pixels.max()
    viewer.layers.clear()


def test_samples_are_small_and_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_data.tempfile, "gettempdir", lambda: str(tmp_path))
    makers = (
        sample_data.make_folder,
        sample_data.make_ome_zarr,
        sample_data.make_plate,
        sample_data.make_volume,
    )
    paths = [make() for make in makers]
    written = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    assert sum(file.stat().st_size for file in written) < MOST_BYTES
    assert [make() for make in makers] == paths
    assert {
        file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()
    } == written
