"""*Copy as Python*: the script is run as it was copied, and gives what the dock gives."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Layer
from napari.layers._source import layer_source
from qtpy.QtWidgets import QApplication

import napari_lazyload as nl
from helpers.crops import pixels, take_box
from helpers.server import FolderServer
from napari_lazyload.sample_data import make_ome_zarr
from napari_lazyload.widgets.crop.dock import CropDock
from napari_lazyload.widgets.crop.output import NPY, ZARR
from napari_lazyload.widgets.crop.region_source import WHOLE

TRIANGLE = np.array([(5, 5), (5, 20), (20, 5)], float)


@pytest.fixture
def open_dock(viewer, qtbot):
    """A function that opens a path as napari does, and the dock on its first layer."""

    def opened(path, **options):
        dataset = nl.open_dataset(path, **options)
        layers = [viewer.add_layer(Layer.create(*data)) for data in dataset.to_layer_data()]
        dock = CropDock(viewer)
        qtbot.addWidget(dock)
        dock.form.outline.value = False
        dock.form.layer.value = layers[0]
        return dock, layers

    return opened


def copied(dock):
    dock.form.copy.native.click()
    assert dock.form.message.text() == "The script is on the clipboard."
    return QApplication.clipboard().text()


def run_script(text, **known):
    names = dict(known)
    exec(compile(text, "copied.py", "exec"), names)
    return names


def crop_of(dock, qtbot, layer):
    dock.crop()
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)
    return dock.viewer.layers[f"{layer.name} crop"].data


def test_a_folder(open_dock, write_folder, tmp_path, qtbot):
    write_folder(tmp_path / "scan", 6)
    dock, (layer,) = open_dock(tmp_path / "scan")
    take_box(dock, (2, 5), (4, 20), (8, 30))
    dock.form.dtype.value = "float32"
    text = copied(dock)
    names = run_script(text)
    np.testing.assert_array_equal(names["pixels"], crop_of(dock, qtbot, layer), strict=True)
    assert text.splitlines() == [
        "import napari_lazyload as nl",
        "",
        f"# {layer.name}",
        f"dataset = nl.open_dataset({str(tmp_path / 'scan')!r})",
        "image = dataset.images[0]",
        f'pixels = nl.crop(image, {{"{layer.axis_labels[0]}": (2, 5), "y": (4, 20), '
        "\"x\": (8, 30)}, dtype='float32')",
    ]


def test_options_of_opening_are_kept(open_dock, tmp_path, write_folder, qtbot):
    stack = write_folder(tmp_path / "scan", 6)
    files = [str(tmp_path / "scan" / f"img_{number}.png") for number in (4, 1, 2)]
    dock, _ = open_dock(files, headers="all", on_error="blank")
    take_box(dock, (0, 2), (4, 20), (8, 30))
    names = run_script(copied(dock))
    np.testing.assert_array_equal(names["pixels"], stack[[4, 1], 4:20, 8:30], strict=True)
    assert names["image"].on_error == "blank"


@pytest.fixture
def channels(tmp_path):
    """A pyramid of two channels, with names and colours."""
    array = pixels((2, 3, 64, 80))
    root = zarr.open_group(tmp_path / "c.ome.zarr", mode="w", zarr_format=2)
    for level, step in enumerate((1, 2)):
        thinned = array[..., ::step, ::step]
        stored = root.create_array(
            str(level), shape=thinned.shape, dtype=thinned.dtype, chunks=(1, 1, 32, 32)
        )
        stored[:] = thinned
    axes = [
        {"name": n, "type": t}
        for n, t in zip("czyx", ("channel", "space", "space", "space"), strict=True)
    ]
    datasets = [
        {
            "path": str(n),
            "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 2**n, 2**n]}],
        }
        for n in (0, 1)
    ]
    root.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": datasets, "name": "c"}
    ]
    looks = [
        {"color": color, "label": label, "window": {"start": 0, "end": 9, "min": 0, "max": 9}}
        for color, label in (("FF0000", "a"), ("00FF00", "b"))
    ]
    root.attrs["omero"] = {"channels": looks}
    return tmp_path / "c.ome.zarr"


def test_a_level_of_a_channel(open_dock, channels, qtbot):
    dock, layers = open_dock(channels)
    dock.form.layer.value = layers[1]
    dock.form.level.value = 1
    take_box(dock, (1, 3), (10, 31), (8, 40))
    text = copied(dock)
    assert '{"c": (1, 2), "z": (1, 3), "y": (10, 31), "x": (8, 40)}, level=1).squeeze(0)' in text
    np.testing.assert_array_equal(
        run_script(text)["pixels"], crop_of(dock, qtbot, layers[1]), strict=True
    )


def test_all_selected_layers(open_dock, viewer, channels, qtbot):
    dock, layers = open_dock(channels)
    viewer.layers.selection = set(layers)
    dock.form.several.value = True
    take_box(dock, (1, 3), (10, 31), (8, 40))
    text = copied(dock)
    assert text.count("open_dataset") == 1
    names = run_script(text)
    crop_of(dock, qtbot, layers[0])
    np.testing.assert_array_equal(names["pixels"], viewer.layers[f"{layers[0].name} crop"].data)
    np.testing.assert_array_equal(names["pixels_2"], viewer.layers[f"{layers[1].name} crop"].data)


@pytest.mark.parametrize("level", [0, 1])
def test_a_file_is_the_same_file(open_dock, channels, tmp_path, qtbot, level):
    dock, _ = open_dock(channels)
    dock.form.output.kind.value = ZARR
    dock.form.output.path.value = str(tmp_path / "part")
    dock.form.output.reopen.value = False
    dock.form.output.sharded.value = True
    dock.form.level.value = level
    take_box(dock, (1, 3), (10, 31), (8, 40))
    text = copied(dock)
    dock.crop()
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)
    written = tmp_path / "part.ome.zarr"
    written.rename(tmp_path / "by_dock.ome.zarr")
    run_script(text)
    mine, theirs = zarr.open(tmp_path / "by_dock.ome.zarr"), zarr.open(written)
    assert dict(mine.attrs) == dict(theirs.attrs)
    assert mine.attrs["ome"]["omero"]["channels"][0]["label"] == "a"
    np.testing.assert_array_equal(mine["0"][:], theirs["0"][:], strict=True)


def test_a_layer_that_was_moved_is_written_where_it_lies(open_dock, write_folder, tmp_path, qtbot):
    write_folder(tmp_path / "scan", 6)
    dock, (layer,) = open_dock(tmp_path / "scan")
    layer.scale, layer.translate, layer.units = (2, 0.5, 0.5), (1, 7, 8), ("pixel", "um", "um")
    dock.form.output.kind.value, dock.form.output.path.value = ZARR, str(tmp_path / "part")
    dock.form.output.reopen.value = False
    take_box(dock, (2, 5), (4, 20), (8, 30))
    text = copied(dock)
    dock.crop()
    qtbot.waitUntil(lambda: not dock.running, timeout=20_000)
    assert "Wrote" in dock.form.message.text()
    (tmp_path / "part.ome.zarr").rename(tmp_path / "by_dock.ome.zarr")
    run_script(text)
    mine, theirs = zarr.open(tmp_path / "by_dock.ome.zarr"), zarr.open(tmp_path / "part.ome.zarr")
    assert mine.attrs["ome"]["multiscales"] == theirs.attrs["ome"]["multiscales"]
    np.testing.assert_array_equal(mine["0"][:], theirs["0"][:], strict=True)


@pytest.mark.parametrize("kind", ["layer", NPY, ZARR])
def test_what_is_masked(open_dock, viewer, write_folder, tmp_path, qtbot, kind):
    write_folder(tmp_path / "scan", 6)
    dock, (layer,) = open_dock(tmp_path / "scan")
    dock.form.region.value = viewer.add_shapes([TRIANGLE], shape_type="polygon")
    dock.form.frames.value = WHOLE
    dock.form.masked.value = True
    dock.form.output.kind.value, dock.form.output.path.value = kind, str(tmp_path / "part")
    dock.refresh()
    names = run_script(copied(dock))
    dock.form.output.kind.value = "layer"
    expected = crop_of(dock, qtbot, layer)
    np.testing.assert_array_equal(names["pixels"], expected, strict=True)
    assert 0.4 < (expected == 0).mean() < 0.6
    if kind == NPY:
        np.testing.assert_array_equal(np.load(tmp_path / "part.npy"), expected, strict=True)
    if kind == ZARR:
        np.testing.assert_array_equal(
            zarr.open(tmp_path / "part.ome.zarr")["0"][:], expected, strict=True
        )


def test_a_lazy_crop_is_cropped_again(open_dock, viewer, channels, qtbot):
    dock, _ = open_dock(channels)
    dock.form.level.value = 1
    take_box(dock, (1, 3), (10, 60), (8, 70))
    dock.add_lazy()
    part = viewer.layers.selection.active
    dock.form.layer.value = part
    take_box(dock, (1, 2), (3, 9), (2, 11))
    names = run_script(copied(dock))
    np.testing.assert_array_equal(names["pixels"], crop_of(dock, qtbot, part), strict=True)


def test_what_the_layer_shows_converted(open_dock, tmp_path, qtbot):
    values = (pixels((4, 20, 30), "f4") + 1j).astype("c8")
    np.save(tmp_path / "waves.npy", values)
    with pytest.warns(nl.LazyLoadWarning):
        dock, (layer,) = open_dock(tmp_path / "waves.npy")
    take_box(dock, (1, 3), (4, 9), (2, 11))
    with pytest.warns(nl.LazyLoadWarning):
        names = run_script(copied(dock))
    np.testing.assert_array_equal(names["pixels"], crop_of(dock, qtbot, layer), strict=True)
    np.testing.assert_allclose(names["pixels"], abs(values[1:3, 4:9, 2:11]), rtol=1e-6)


@pytest.mark.parametrize("kind", ["layer", NPY])
@pytest.mark.parametrize(
    "wrap", [np.asarray, lambda a: da.from_array(a, chunks=7)], ids=["numpy", "dask"]
)
def test_a_layer_of_another_plugin_says_what_it_cannot_know(
    dock, viewer, tmp_path, qtbot, wrap, kind
):
    finest = pixels((40, 50))
    levels = [wrap(finest), wrap(finest[::2, ::2])]
    other = viewer.add_image(
        levels, multiscale=True, contrast_limits=(0, 9), name="other\nlayer", scale=(2, 2)
    )
    dock.form.layer.value = other
    dock.form.level.value = 1
    dock.form.output.kind.value, dock.form.output.path.value = kind, str(tmp_path / "part")
    take_box(dock, (11, 20), (4, 9))
    text = copied(dock)
    assert "# other layer\n# napari-lazyload did not open this layer: put here what gives\n" in text
    assert (
        "# level 1 of its data, an array of shape (20, 25) and type uint16.\nimage = ...\n" in text
    )
    names = run_script(text.replace("image = ...", "image = levels[1]"), levels=levels)
    written = names["pixels"] if kind == "layer" else np.load(tmp_path / "part.npy")
    np.testing.assert_array_equal(written, finest[::2, ::2][5:10, 2:5], strict=True)


def test_no_region_no_script(dock):
    QApplication.clipboard().setText("before")
    take_box(dock, (0, 6), (30, 20), (0, 50))
    dock.copy_script()
    assert QApplication.clipboard().text() == "before"
    take_box(dock, (0, 6), (0, 20), (0, 50))
    dock.form.output.kind.value = NPY
    dock.copy_script()
    assert dock.form.message.text() == "Say which file to write."
    assert QApplication.clipboard().text() == "before"


def test_no_secret_goes_to_the_clipboard(open_dock, tmp_path):
    make_ome_zarr(tmp_path / "a.ome.zarr", size=64)
    with FolderServer(tmp_path) as server:
        address = server.url.replace("://", "://me:hunter2@")
        dock, _ = open_dock(
            f"{address}/a.ome.zarr?sig=hunter3",
            headers={"Authorization": "Bearer hunter4"},
            timeout=20,
        )
        text = copied(dock)
        assert "hunter" not in text
        assert f"nl.open_dataset('{server.url}/a.ome.zarr', timeout=20, headers=...)" in text
        assert "may be secret: the login of the address, the query of the address, headers." in text


def test_the_address_of_a_foreign_layer_is_copied_without_its_login(viewer, qtbot):
    with layer_source(path="https://me:hunter2@host/a.tif?sig=hunter3"):
        layer = viewer.add_image(np.zeros((4, 40, 40), np.uint8), name="foreign")
    dock = CropDock(viewer)
    qtbot.addWidget(dock)
    dock.form.layer.value = layer
    text = copied(dock)
    assert "napari opened 'https://host/a.tif'" in text
    assert "hunter" not in text
