"""OME-Zarr images and their labels, opened as a user does: pixels, places, notes, errors."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import yaozarrs
from napari.layers import Layer
from yaozarrs.write import v05

import napari_lazyload as nl
from helpers.ome_stores import (
    axes_of,
    pyramid,
    scaled,
    write_array,
    write_group,
    write_image,
)
from helpers.server import FolderServer
from helpers.stores import CountingStore
from napari_lazyload.sources.ome_zarr import open
from napari_lazyload.sources.registry import can_open, open_path


def notes_of(path, **options):
    """Open with its warnings; return the data set and them."""
    with pytest.warns(nl.LazyLoadWarning) as caught:
        dataset = nl.open_dataset(path, **options)
    return dataset, [str(one.message) for one in caught]


def check_levels(image, levels):
    assert len(image.levels) == len(levels)
    for lazy, pixels in zip(image.levels, levels, strict=True):
        assert (lazy.shape, lazy.dtype) == (pixels.shape, pixels.dtype)
        np.testing.assert_array_equal(lazy.compute(scheduler="sync"), pixels)


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3", "0.4", "0.5"])
def test_each_version_round_trips_bit_by_bit(tmp_path, version):
    levels = pyramid((2, 3, 4, 16, 12), 3)
    path = write_image(
        tmp_path / "a.zarr",
        levels,
        "tczyx",
        version=version,
        chunks=(1, 2, 4, 8, 8),
        scale=(1, 1, 4, 2, 2),
    )
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert (image.name, image.axes, image.kind) == ("a", tuple("tczyx"), "image")
        check_levels(image, levels)
        modern = version >= "0.4"
        assert image.scale == ((1, 1, 4, 2, 2) if modern else (1,) * 5)
        assert image.units == ((None, None, *["micrometer"] * 3) if modern else (None,) * 5)
        assert image.chunks[3] == (8, 8)
        assert dataset.meta[["path", "axes", "shape", "levels", "dtype"]].to_numpy().tolist() == [
            ["", "tczyx", "2 x 3 x 4 x 16 x 12", 3, dataset.meta["dtype"][0]]
        ]
        assert dataset.summary == "1 image"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_strict_model_calls_what_the_tests_write_valid(tmp_path, version):
    path = write_image(
        tmp_path / "a.zarr", pyramid((2, 16, 16)), "cyx", version=version, scale=(1, 2, 2)
    )
    yaozarrs.validate_zarr_store(path)


def test_what_yaozarrs_writes_comes_back(tmp_path):
    levels, masks = pyramid((2, 3, 32, 32)), pyramid((3, 32, 32), dtype="uint8", seed=1)
    space = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]

    def entry(cls, axes, scales, **more):
        datasets = [
            {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": list(one)}]}
            for n, one in enumerate(scales)
        ]
        return cls(multiscales=[{"axes": axes, "datasets": datasets, "name": "x"}], **more)

    image = entry(
        yaozarrs.v05.Image,
        [{"name": "c", "type": "channel"}, *space],
        [(1, 2, 0.5, 0.5), (1, 2, 1, 1)],
    )
    label = entry(yaozarrs.v05.LabelImage, space, [(2, 0.5, 0.5), (2, 1, 1)], **{"image-label": {}})
    v05.write_image(
        tmp_path / "a.ome.zarr",
        image,
        levels,
        labels={"cells": (label, masks)},
        writer="zarr",
        chunks=(1, 1, 16, 16),
        shards=None,
    )
    with nl.open_dataset(tmp_path / "a.ome.zarr") as dataset:
        picture, cells = dataset.images
        assert (picture.name, cells.name, cells.kind) == ("a", "a cells", "labels")
        check_levels(picture, levels)
        check_levels(cells, masks)
        assert picture.scale == (1, 2, 0.5, 0.5)
        assert cells.scale == (2, 0.5, 0.5)


def test_a_sharded_image_has_the_chunks_inside_the_shards(tmp_path):
    import zarr

    pixels = pyramid((64, 64), 1)[0]
    array = zarr.create_array(
        tmp_path / "a.zarr" / "0", shape=(64, 64), dtype="uint16", chunks=(16, 16), shards=(32, 32)
    )
    array[...] = pixels
    write_group(
        tmp_path / "a.zarr", {"multiscales": [{"axes": axes_of("yx"), "datasets": [{"path": "0"}]}]}
    )
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        assert dataset.images[0].chunks == ((16,) * 4,) * 2
        check_levels(dataset.images[0], [pixels])
        assert dataset.meta["shards"].tolist() == ["32 x 32"]


def test_opening_reads_metadata_alone_in_four_rounds(tmp_path, monkeypatch):
    write_image(tmp_path / "a.zarr", pyramid((64, 64), 3))
    write_group(tmp_path / "a.zarr" / "labels", {"labels": ["one", "two"]})
    for name in ("one", "two"):
        write_image(tmp_path / "a.zarr" / "labels" / name, pyramid((64, 64), 3, "uint8"))
    stores = []

    def counted(path, **options):
        stores.append(CountingStore(open_store(path, **options)))
        return stores[0]

    open_store = open.open_store
    monkeypatch.setattr(open, "open_store", counted)
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        assert len(dataset.images) == 3
        asked = [key for _, key in stores[0].calls]
        assert not any("/c/" in key for key in asked)
        assert stores[0].rounds == 4
        dataset.images[1].data[:8, :8].compute(scheduler="sync")
        assert [key for _, key in stores[0].calls[len(asked) :]] == ["labels/one/0/c/0/0"]


def test_opening_an_address_takes_no_more_rounds_and_lists_nothing(tmp_path):
    pytest.importorskip("obstore")
    levels = pyramid((64, 64), 2)
    write_image(tmp_path / "a.zarr", levels)
    with FolderServer(tmp_path) as server:
        assert can_open(f"{server.url}/a.zarr")
        with nl.open_dataset(f"{server.url}/a.zarr") as dataset:
            assert dataset.images[0].name == "a"
            check_levels(dataset.images[0], levels)
            assert dataset.reopen().images[0].shape == (64, 64)


def test_chunks_of_an_address_are_asked_for_many_at_a_time(tmp_path):
    pytest.importorskip("obstore")
    (level,) = pyramid((64, 64), 1)
    write_image(tmp_path / "a.zarr", [level], chunks=(8, 8))
    nl.configure(workers=2)
    with (
        FolderServer(tmp_path, latency=0.2) as server,
        nl.open_dataset(f"{server.url}/a.zarr") as dataset,
    ):
        np.testing.assert_array_equal(nl.crop(dataset.images[0], ()), level)
        assert 8 <= server.most_at_once <= 17


def test_chunks_that_a_server_keeps_back_are_a_problem_of_their_row(tmp_path):
    pytest.importorskip("obstore")
    (level,) = pyramid((64, 64), 1)
    write_image(tmp_path / "a.zarr", [level], chunks=(32, 32))
    fault = lambda key, _attempt: 403 if key.endswith(("c/0/1", "c/1/1")) else None  # noqa: E731
    with (
        FolderServer(tmp_path, fault=fault) as server,
        nl.open_dataset(f"{server.url}/a.zarr") as dataset,
    ):
        assert not dataset.problems()
        with pytest.warns(nl.LazyLoadWarning, match="anonymous"):
            dataset.images[0].data.compute(scheduler="sync")
        assert dataset.problems() == {
            0: "2 chunks denied to this user, or not there, shown blank: log in to read them"
        }
        assert "with a problem" in dataset.summary


@pytest.mark.parametrize("address", ["ftp://host/a.zarr", "gopher://x"])
def test_an_address_of_another_kind_is_refused(address):
    with pytest.raises(nl.UnknownFormatError, match="known are http"):
        nl.open_dataset(address)


def test_a_file_address_is_a_local_path(tmp_path):
    levels = pyramid((8, 8), 1)
    path = write_image(tmp_path / "with space.zarr", levels)
    with nl.open_dataset(path.as_uri()) as dataset:
        check_levels(dataset.images[0], levels)


def test_addresses_are_opened_one_at_a_time(tmp_path):
    with pytest.raises(nl.UnknownFormatError, match="one address at a time"):
        nl.open_dataset(["http://a/b.zarr", "http://a/c.zarr"])


def zipped(folder, target, inside=""):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
    return target


@pytest.mark.parametrize(
    ("name", "inside"), [("a.ozx", ""), ("a.zarr.zip", ""), ("a.zip", "a.zarr/")]
)
def test_a_zip_file_is_read_in_place(tmp_path, name, inside):
    levels = pyramid((16, 16))
    path = zipped(write_image(tmp_path / "b.zarr", levels), tmp_path / name, inside)
    assert can_open([str(path)])
    with nl.open_dataset([path]) as dataset:
        check_levels(dataset.images[0], levels)
    if not inside:
        with nl.open_dataset(path / "1") as dataset:
            check_levels(dataset.images[0], levels[1:])


def test_nothing_is_written_to_the_store(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((16, 16)))
    before = {
        file: (file.stat().st_mtime_ns, file.read_bytes())
        for file in path.rglob("*")
        if file.is_file()
    }
    with nl.open_dataset(path) as dataset:
        dataset.images[0].data.compute(scheduler="sync")
        _ = dataset.meta, dataset.to_layer_data()
    assert {
        file: (file.stat().st_mtime_ns, file.read_bytes())
        for file in path.rglob("*")
        if file.is_file()
    } == before


def test_channels_become_layers_that_omero_describes(tmp_path):
    levels = pyramid((2, 3, 16, 16))
    omero = {
        "channels": [
            {"label": "DAPI", "color": "0000FF", "window": {"start": 5, "end": 90}},
            {"label": "GFP", "active": False},
        ]
    }
    path = write_image(tmp_path / "a.zarr", levels, "zcyx", omero=omero, scale=(5, 1, 2, 2))
    with nl.open_dataset(path) as dataset:
        layers = [Layer.create(*one) for one in dataset.to_layer_data()]
        assert [layer.name for layer in layers] == ["a DAPI", "a GFP", "a channel 2"]
        assert layers[0].contrast_limits == [5, 90]
        assert [layer.visible for layer in layers] == [True, False, True]
        assert layers[0].scale.tolist() == [5, 2, 2]
        assert layers[0].metadata["napari_lazyload"].needs_limits is False
        assert layers[1].metadata["napari_lazyload"].needs_limits is True
        for number, layer in enumerate(layers):
            np.testing.assert_array_equal(np.asarray(layer.data[1]), levels[1][:, number])
        assert dataset.meta["channels"].tolist() == ["DAPI, GFP, channel 2"]
    with nl.open_dataset(path, channels="GFP") as dataset:
        np.testing.assert_array_equal(
            dataset.images[0].data.compute(scheduler="sync"), levels[0][:, 1:2]
        )


def test_three_bytes_along_c_stay_channels(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((3, 64, 64), 1, "uint8"), "cyx")
    with nl.open_dataset(path) as dataset:
        assert not dataset.images[0].rgb
        assert len(dataset.to_layer_data()) == 3


def test_an_image_of_very_many_channels_is_one_layer(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((40, 8, 8), 1, "uint8"), "cyx")
    dataset, notes = notes_of(path)
    with dataset:
        assert len(dataset.to_layer_data()) == 1
    assert notes == ["a: its 40 channels are one layer with a slider for them"]


def test_labels_come_with_their_colors_and_table(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((2, 16, 16)), "cyx")
    masks = pyramid((16, 16), 2, "uint8")
    write_group(path / "labels", {"labels": ["cells"]})
    about = {
        "colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}],
        "properties": [{"label-value": 1, "class": "big"}],
    }
    write_image(path / "labels" / "cells", masks, **{"image-label": about})
    with nl.open_dataset(path) as dataset:
        layer = Layer.create(*dataset.to_layer_data()[-1])
        assert (type(layer).__name__, layer.name, layer.ndim) == ("Labels", "a cells", 2)
        np.testing.assert_array_equal(layer.get_color(1), (1, 0, 0, 1))
        assert layer.features["class"].tolist() == ["big"]
        assert dataset.meta["kind"].tolist() == ["image", "labels"]
    for alone in (path / "labels", path / "labels" / "cells"):
        with nl.open_dataset(alone) as dataset:
            assert dataset.images[0].kind == "labels"
            check_levels(dataset.images[0], masks)
    with nl.open_dataset(path, labels=False) as dataset:
        assert len(dataset.images) == 1
    with nl.open_dataset(path, channels=1) as dataset:
        assert [image.shape for image in dataset.images] == [(1, 16, 16), (16, 16)]


def test_labels_that_nobody_lists_are_found_in_their_folder(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((16, 16), 1))
    write_group(path / "labels", {})
    write_image(path / "labels" / "cells", pyramid((16, 16), 1, "uint8"))
    with nl.open_dataset(path) as dataset:
        assert [image.kind for image in dataset.images] == ["image", "labels"]


def test_an_image_in_a_folder_called_labels_is_an_image(tmp_path):
    path = write_image(tmp_path / "labels" / "a.zarr", pyramid((16, 16), 1))
    with nl.open_dataset(path) as dataset:
        assert dataset.images[0].kind == "image"
    with nl.open_dataset(
        write_image(tmp_path / "labels" / "b.zarr", pyramid((16, 16), 1), **{"image-label": {}})
    ) as dataset:
        assert dataset.images[0].kind == "labels"


def test_labels_of_fractions_open_as_an_image_and_truth_values_as_labels(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((16, 16), 1))
    write_group(path / "labels", {"labels": ["odd", "mask", "lost"]})
    write_image(path / "labels" / "odd", pyramid((16, 16), 1, "float32"))
    mask = pyramid((16, 16), 1)[0] % 2 == 1
    write_image(path / "labels" / "mask", [mask])
    dataset, notes = notes_of(path)
    with dataset:
        assert [image.kind for image in dataset.images] == ["image", "image", "labels"]
        with pytest.warns(nl.LazyLoadWarning, match="labels of truth values are shown as 0 and 1"):
            layer = Layer.create(*dataset.to_layer_data()[-1])
        np.testing.assert_array_equal(np.asarray(layer.data), mask)
        assert nl.is_lazy(layer)
        assert type(layer.data).__name__ == "LazyArray"  # so that its display can be bound
    assert any("labels of type float32 are shown as an image" in note for note in notes)
    assert any("'lost' are left out" in note for note in notes)


def test_each_of_several_multiscales_is_an_image(tmp_path):
    path = tmp_path / "a.zarr"
    first, second = pyramid((16, 16), 1)[0], pyramid((8, 8), 1, "uint8")[0]
    write_array(path / "x", first)
    write_array(path / "y", second)
    entries = [{"axes": axes_of("yx"), "datasets": [{"path": one}]} for one in "xyz"]
    write_group(path, {"multiscales": [{**entries[0], "name": "raw"}, *entries[1:]]})
    dataset, notes = notes_of(path)
    with dataset:
        assert [image.name for image in dataset.images] == ["a raw", "a 1"]
        check_levels(dataset.images[0], [first])
        check_levels(dataset.images[1], [second])
        assert dataset.meta["image"].tolist() == [0, 1]
    assert "there is no array at 'z'" in notes[0]


def test_a_missing_level_is_left_out_and_said(tmp_path):
    levels = pyramid((32, 32), 3)
    path = write_image(tmp_path / "a.zarr", levels, scale=(2, 2))
    shutil.rmtree(path / "0")
    dataset, notes = notes_of(path)
    with dataset:
        check_levels(dataset.images[0], levels[1:])
        assert dataset.images[0].scale == (4, 4)
    assert notes == ["a: level '0' is left out: there is no array at '0'"]


def test_missing_chunks_have_the_fill_value_and_broken_ones_fail(tmp_path):
    levels = pyramid((16, 16), 1)
    path = write_image(tmp_path / "a.zarr", levels, chunks=(8, 8))
    (path / "0" / "c" / "0" / "0").unlink()
    (path / "0" / "c" / "1" / "1").write_bytes(b"no pixels")
    with nl.open_dataset(path) as dataset:
        data = dataset.images[0].data
        assert not data[:8, :8].compute(scheduler="sync").any()
        np.testing.assert_array_equal(data[:8, 8:].compute(scheduler="sync"), levels[0][:8, 8:])
        with pytest.raises(nl.ChunkReadError, match=r"c.1.1"):
            data[8:, 8:].compute(scheduler="sync")


def test_the_transformation_of_each_level_places_crops_of_it(tmp_path):
    levels = pyramid((16, 16))
    datasets = [
        {"path": "0", "coordinateTransformations": scaled((2, 2), (10, 20))},
        {"path": "1", "coordinateTransformations": scaled((4, 4), (11, 21))},
    ]
    path = write_image(tmp_path / "a.zarr", levels, entry={"datasets": datasets})
    with nl.open_dataset(path) as dataset:
        assert (dataset.images[0].scale, dataset.images[0].translate) == ((2, 2), (10, 20))
        assert Layer.create(*dataset.to_layer_data()[0]).translate.tolist() == [10, 20]
    with nl.open_dataset(path, level=1) as dataset:
        assert (dataset.images[0].scale, dataset.images[0].translate) == ((4, 4), (11, 21))


def test_a_turned_image_of_version_0_6_lies_turned_in_napari(tmp_path):
    pixels = pyramid((16, 12), 1)[0]
    systems = [{"name": "physical", "axes": axes_of("yx")}]
    own = {"type": "affine", "affine": [[0, -3, 7], [2, 0, 9]], "output": "physical"}
    entry = {
        "coordinateSystems": systems,
        "datasets": [{"path": "0", "coordinateTransformations": [own]}],
    }
    write_array(tmp_path / "a.zarr" / "0", pixels)
    write_group(tmp_path / "a.zarr", {"multiscales": [entry]}, "0.6")
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        layer = Layer.create(*dataset.to_layer_data()[0])
        np.testing.assert_allclose(layer.data_to_world((5, 4)), (-3 * 4 + 7, 2 * 5 + 9))
        assert dataset.images[0].units == ("micrometer", "micrometer")
        assert dataset.images[0].metadata["coordinate_system"] == "physical"


def test_one_level_alone_keeps_its_place_in_the_image(tmp_path):
    levels = pyramid((2, 16, 16))
    path = write_image(tmp_path / "a.zarr", levels, "cyx", scale=(1, 3, 3))
    with nl.open_dataset(path / "1") as dataset:
        (image,) = dataset.images
        assert (image.name, image.axes, image.scale) == ("a 1", ("c", "y", "x"), (1, 6, 6))
        check_levels(image, levels[1:])


def test_closing_frees_its_chunks_and_no_others(tmp_path):
    from napari_lazyload.loading import cache

    levels = pyramid((16, 16), 1)
    first, second = (
        nl.open_dataset(write_image(tmp_path / name, levels)) for name in ("a.zarr", "ab.zarr")
    )
    before = len(cache.shared)
    for dataset in (first, second):
        np.asarray(dataset.images[0].boxes[0])
    assert len(cache.shared) == before + 2
    first.close()
    assert len(cache.shared) == before + 1
    second.close()
    assert len(cache.shared) == before


def test_images_pickle_and_read_by_themselves(tmp_path):
    levels = pyramid((16, 16))
    with nl.open_dataset(write_image(tmp_path / "a.zarr", levels)) as dataset:
        check_levels(pickle.loads(pickle.dumps(dataset.images[0])), levels)


def test_options_that_are_not_there_are_an_error(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((8, 8), 1))
    with pytest.raises(ValueError, match="max_images must be a whole number from 1 on, got 0"):
        nl.open_dataset(path, max_images=0)
    with pytest.raises(
        TypeError, match="'frame' is not an option of Zarr stores; there are: acquisition, labels"
    ):
        nl.open_dataset(path, frame="x")


def broken(path, name, text):
    (path / name).write_text(text)
    return path


def bad_stores(folder):
    image = [pyramid((8, 8), 1)[0]]
    yield "empty group", write_group(folder / "a.zarr", {}), "an empty group"
    yield "empty folder", (folder / "b.zarr"), "an empty folder"
    yield (
        "broken JSON",
        broken(write_image(folder / "c.zarr", image), "zarr.json", '{"zarr_format": 3,'),
        "JSON",
    )
    yield (
        "no entries",
        write_group(folder / "d.zarr", {"multiscales": []}),
        "'multiscales' are empty",
    )
    yield (
        "no datasets",
        write_group(folder / "e.zarr", {"multiscales": [{"axes": axes_of("yx")}]}),
        "names no arrays",
    )
    yield (
        "axes",
        write_image(folder / "f.zarr", image, entry={"axes": axes_of("tczyx")}),
        "one axis for each dimension",
    )
    yield (
        "no arrays",
        write_group(folder / "g.zarr", {"multiscales": [{"datasets": [{"path": "0"}]}]}),
        "no array at '0'",
    )
    yield (
        "outside",
        write_group(folder / "h.zarr", {"multiscales": [{"datasets": [{"path": "../c.zarr/0"}]}]}),
        "out of the",
    )
    codec = write_image(folder / "i.zarr", image)
    metadata = json.loads((codec / "0" / "zarr.json").read_text())
    metadata["codecs"] = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "fancy"},
    ]
    yield "codec", broken(codec / "0", "zarr.json", json.dumps(metadata)).parent, "fancy"
    yield "one dimension", write_image(folder / "o.zarr", [np.ones(5)], "x"), "found shape (5,)"
    yield (
        "a group for a level",
        write_group(group_for_a_level(folder / "p.zarr", image) / "0", {}).parent,
        "a group, no array, at '0'",
    )
    yield "N5", broken_folder(folder / "j.n5", "attributes.json"), "an N5 store"
    yield (
        "series",
        write_group(folder / "k.zarr", {"bioformats2raw.layout": 3}),
        "series of bioformats2raw",
    )
    yield "labels", write_group(folder / "l.zarr", {"labels": ["a"]}), "expected label images"
    yield "plate", write_group(folder / "m.zarr", {"plate": {"wells": []}}), "lists no wells"
    yield "well", write_group(folder / "n.zarr", {"well": {"images": []}}), "has no fields"


def group_for_a_level(path, image):
    write_image(path, image)
    shutil.rmtree(path / "0")
    return path


def broken_folder(folder, name):
    folder.mkdir()
    (folder / name).write_text("{}")
    return folder


def test_what_cannot_be_opened_says_what_was_found(tmp_path):
    (tmp_path / "b.zarr").mkdir()
    for case, path, message in bad_stores(tmp_path):
        with pytest.raises(nl.SourceOpenError) as caught:
            nl.open_dataset(path)
        assert message in str(caught.value), case
        assert str(path) in str(caught.value), case


def test_a_version_that_nobody_knows_opens_with_a_note(tmp_path):
    levels = pyramid((8, 8), 1)
    dataset, notes = notes_of(write_image(tmp_path / "a.zarr", levels, version="9.9"))
    with dataset:
        check_levels(dataset.images[0], levels)
    assert "version '9.9'" in notes[0]


def test_several_faults_leave_what_can_be_opened(tmp_path):
    levels = pyramid((2, 16, 16), 2)
    path = write_image(
        tmp_path / "a.zarr",
        levels,
        "cyx",
        omero={"channels": [{"window": {"end": "x"}, "color": 7}, None]},
        entry={
            "datasets": [
                {"path": 1, "coordinateTransformations": [{"type": "spin"}]},
                {"path": "0", "coordinateTransformations": scaled((1, 2, 2))},
                {"path": "7"},
                {"no path": True},
                "text",
            ]
        },
    )
    write_group(path / "labels", {"labels": ["gone"]})
    dataset, notes = notes_of(path)
    with dataset:
        check_levels(dataset.images[0], levels)
        assert dataset.images[0].scale == (1, 2, 2)
        assert len(dataset.to_layer_data()) == 2
    text = " ".join(notes)
    for word in (
        "'7' is left out",
        "'spin' cannot be shown",
        "sorted by size",
        "'gone' are left out",
    ):
        assert word in text


def test_a_store_is_named_to_people_for_what_it_is(tmp_path):
    image = write_image(tmp_path / "a.zarr", pyramid((8, 8), 1))
    assert open_path(image).kind == "OME-Zarr"
    assert open_path(image / "0").kind == "Zarr array"
    assert nl.open_dataset(image, format="zarr").path == str(image)
