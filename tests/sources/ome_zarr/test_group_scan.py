"""Stores that are not one OME-Zarr image: plain arrays, groups of them, series, scenes."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import yaozarrs
import zarr
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
from napari_lazyload.sources.ome_zarr import group_scan
from napari_lazyload.sources.ome_zarr.plain_arrays import guessed_names
from napari_lazyload.sources.registry import can_open, open_path
from napari_lazyload.sources.zarr.location import find_store
from napari_lazyload.sources.zarr.store import LocalStore


def pixels_of(image):
    return image.data.compute(scheduler="sync")


def notes_of(path, **options):
    with pytest.warns(nl.LazyLoadWarning) as caught:
        dataset = nl.open_dataset(path, **options)
    return dataset, " ".join(str(one.message) for one in caught)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int32", "float16", "<f8", "complex64", "bool"])
def test_a_plain_array_opens_with_its_values(tmp_path, zarr_format, dtype):
    if zarr_format == 3:
        dtype = np.dtype(dtype).newbyteorder(
            "="
        )  # there the order of bytes is the codec's, not the type's
    pixels = (np.arange(7 * 9).reshape(7, 9) % 5).astype(dtype)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(7, 9), dtype=dtype, chunks=(4, 4), zarr_format=zarr_format
    )
    array[...] = pixels
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        (image,) = dataset.images
        assert (image.axes, image.dtype, image.chunks) == (
            ("y", "x"),
            np.dtype(dtype).newbyteorder("="),
            ((4, 3), (4, 4, 1)),
        )
        np.testing.assert_array_equal(pixels_of(image), pixels)
        assert dataset.kind == "Zarr array"


def test_dimension_names_are_the_axes(tmp_path):
    write_array(tmp_path / "a.zarr", np.ones((2, 3, 4, 5)), names=["time", "channel", "row", "col"])
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        assert dataset.images[0].axes == ("time", "c", "row", "col")
        assert len(dataset.to_layer_data()) == 3


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((8, 9), "|u1", ("y", "x")),
        ((7, 8, 9), "|u1", ("z", "y", "x")),
        ((6, 7, 8, 9), "<u2", ("dim_0", "z", "y", "x")),
        ((40, 50, 3), "|u1", ("y", "x", "s")),
        ((5, 40, 50, 4), "|u1", ("z", "y", "x", "s")),
        ((40, 50, 3), "<u2", ("z", "y", "x")),
        ((8, 9, 3), "|u1", ("z", "y", "x")),
        ((40, 50, 5), "|u1", ("z", "y", "x")),
    ],
)
def test_axes_that_nobody_names_are_guessed_from_the_shape(shape, dtype, expected):
    assert guessed_names(shape, dtype) == expected


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.ones(4), "it has 1 dimension"),
        (np.array(3), "it has 0 dimensions"),
        (np.ones((3, 0)), "it is empty: 3 x 0"),
        (np.ones((2, 2), "<M8[s]"), "times, no pixels"),
        (np.full((2, 2), "a", "<U3"), "expected numbers"),
    ],
)
def test_an_array_that_is_no_image_is_refused_with_the_reason(tmp_path, pixels, message):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=pixels.shape, dtype=pixels.dtype, zarr_format=2
    )
    array[...] = pixels
    with pytest.raises(nl.SourceOpenError, match=message):
        nl.open_dataset(tmp_path / "a.zarr")


def test_a_group_opens_each_array_that_could_be_an_image(tmp_path):
    path = write_group(tmp_path / "a.zarr", {}, "0.4")
    first, second = pyramid((8, 9), 1)[0], pyramid((3, 8, 9), 1, "float32")[0]
    write_array(path / "raw", first, version="0.4")
    write_group(path / "deep", {}, "0.4")
    write_array(path / "deep" / "volume", second, version="0.4")
    write_array(path / "line", np.ones(5), version="0.4")
    dataset, notes = notes_of(path)
    with dataset:
        assert [image.name for image in dataset.images] == ["a raw", "a deep/volume"]
        np.testing.assert_array_equal(pixels_of(dataset.images[0]), first)
        np.testing.assert_array_equal(pixels_of(dataset.images[1]), second)
        assert dataset.meta["path"].tolist() == ["raw", "deep/volume"]
        assert dataset.summary == "2 images"
    assert notes == "a: left out: line (it has 1 dimension)"
    with notes_of(path, scene="a raw")[0] as dataset:
        assert len(dataset.images) == len(dataset.meta) == 1


def xarray_store(path):
    """A dataset as xarray writes it: two variables and their coordinates, one of two dimensions."""
    write_group(path, {"coordinates": "lon2d"}, "0.4")
    shapes = {
        "temp": ("time", "y", "x"),
        "time": ("time",),
        "x": ("x",),
        "y": ("y",),
        "lon2d": ("y", "x"),
        "height": ("y", "x"),
    }
    sizes = {"time": 2, "y": 3, "x": 4}
    for name, dims in shapes.items():
        values = np.arange(np.prod([sizes[one] for one in dims]), dtype="f4").reshape(
            [sizes[one] for one in dims]
        )
        write_array(path / name, values, version="0.4")
        (path / name / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": dims}))
    return path


def test_coordinates_of_xarray_are_left_out_and_said(tmp_path):
    dataset, notes = notes_of(xarray_store(tmp_path / "a.zarr"))
    with dataset:
        assert [(image.name, image.axes) for image in dataset.images] == [
            ("a height", ("y", "x")),
            ("a temp", ("time", "y", "x")),
        ]
    assert notes.count("(coordinates)") == 4


def test_too_many_images_are_not_opened_without_asking(tmp_path):
    path = write_group(tmp_path / "a.zarr", {})
    for number in range(5):
        write_array(path / str(number), np.ones((2, 2)))
    dataset, notes = notes_of(path, max_images=3)
    with dataset:
        assert len(dataset.images) == 3
    assert "5 images are here, of which the first 3 are opened" in notes


def test_a_group_of_very_many_names_is_not_walked_through(tmp_path, monkeypatch):
    monkeypatch.setattr(group_scan, "MOST_NODES", 4)
    path = write_group(tmp_path / "a.zarr", {})
    for number in range(5):
        write_array(path / str(number), np.ones((2, 2)))
    with pytest.raises(nl.SourceOpenError, match="there are 5 names; open a path in it"):
        nl.open_dataset(path)


def test_a_broken_node_of_a_group_leaves_the_others(tmp_path):
    path = write_group(tmp_path / "a.zarr", {})
    write_array(path / "good", np.ones((2, 2)))
    write_array(path / "bad", np.ones((2, 2)))
    (path / "bad" / "zarr.json").write_text("{")
    dataset, notes = notes_of(path)
    with dataset:
        assert dataset.meta["path"].tolist() == ["good"]
    assert "left out" in notes
    assert "expected JSON" in notes


def test_a_group_on_a_server_that_does_not_list_asks_for_a_longer_address(tmp_path):
    pytest.importorskip("obstore")
    path = write_group(tmp_path / "a.zarr", {})
    write_array(path / "image", np.ones((2, 2)))
    with FolderServer(tmp_path) as server:
        with pytest.raises(
            nl.SourceOpenError,
            match=r"does not list files\. Give the address of an array or image in it",
        ):
            nl.open_dataset(f"{server.url}/a.zarr")
        with pytest.raises(nl.SourceOpenError, match="found no metadata there"):
            nl.open_dataset(f"{server.url}/b.zarr")
        with nl.open_dataset(f"{server.url}/a.zarr/image") as dataset:
            assert dataset.images[0].name == "a image"
            assert dataset.path == f"{server.url}/a.zarr/image"


def test_units_of_dimensions_are_taken(tmp_path):
    write_array(tmp_path / "a.zarr", np.ones((2, 2)), names=["y", "x"])
    zarr.open_array(tmp_path / "a.zarr").attrs["dimension_units"] = ["nm", None]
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        assert dataset.images[0].units == ("nm", None)


def test_images_and_labels_of_spatialdata_open_and_tables_are_said(tmp_path):
    path = write_group(tmp_path / "a.zarr", {}, "0.4")
    image, mask = pyramid((3, 16, 16), 2, "uint8"), pyramid((16, 16), 2, "int32")
    for name in ("images", "labels", "tables", "shapes"):
        write_group(path / name, {}, "0.4")
    write_image(path / "images" / "blobs", image, "cyx", version="0.4")
    write_image(path / "labels" / "cells", mask, version="0.4")
    write_group(path / "tables" / "table", {"encoding-type": "anndata"}, "0.4")
    write_array(path / "shapes" / "coords", np.ones((9, 2)), version="0.4")
    dataset, notes = notes_of(path)
    with dataset:
        assert [(one.name, one.kind) for one in dataset.images] == [
            ("a images/blobs", "image"),
            ("a labels/cells", "labels"),
        ]
        np.testing.assert_array_equal(pixels_of(dataset.images[1]), mask[0])
    assert "tables are left out: tables/table" in notes
    assert "shapes/coords" in notes
    with pytest.raises(nl.SourceOpenError, match="found a table of anndata"):
        nl.open_dataset(path / "tables" / "table")
    with pytest.raises(nl.SourceOpenError, match="found tables: table"):
        nl.open_dataset(path / "tables")


XML = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image Name="one"/><Image Name="two"/></OME>'
)


def write_series(path, version, *, xml, listed):
    levels = [pyramid((2, 16, 16), 2, seed=number) for number in range(2)]
    write_group(path, {"bioformats2raw.layout": 3}, version)
    for number, one in enumerate(levels):
        write_image(path / str(number), one, "cyx", version=version)
    if xml:
        (path / "OME").mkdir()
        (path / "OME" / "METADATA.ome.xml").write_text(XML)
    if listed:
        write_group(path / "OME", {"series": ["1", "0"]}, version)
    return levels


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("xml", [True, False])
@pytest.mark.parametrize("listed", [True, False])
def test_every_series_of_bioformats2raw_opens(tmp_path, version, xml, listed):
    levels = write_series(tmp_path / "a.zarr", version, xml=xml, listed=listed)
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        order = [1, 0] if listed else [0, 1]
        names = ["one", "two"] if xml else [str(number) for number in order]
        assert [image.name for image in dataset.images] == [f"a {name}" for name in names]
        for image, number in zip(dataset.images, order, strict=True):
            np.testing.assert_array_equal(pixels_of(image), levels[number][0])


def test_a_series_that_is_missing_leaves_the_others(tmp_path):
    levels = write_series(tmp_path / "a.zarr", "0.4", xml=True, listed=False)
    shutil.rmtree(tmp_path / "a.zarr" / "0")
    dataset, notes = notes_of(tmp_path / "a.zarr")
    with dataset:
        (image,) = dataset.images
        assert image.name == "a two"
        np.testing.assert_array_equal(pixels_of(image), levels[1][0])
    assert "there is no image" in notes


def test_series_that_are_all_broken_are_refused_with_what_is_wrong(tmp_path):
    write_series(tmp_path / "a.zarr", "0.4", xml=False, listed=False)
    shutil.rmtree(tmp_path / "a.zarr" / "0" / "0")
    shutil.rmtree(tmp_path / "a.zarr" / "0" / "1")
    (tmp_path / "a.zarr" / "1" / ".zattrs").write_text("{")
    with pytest.raises(
        nl.SourceOpenError,
        match=r"none of its 2 images can be opened: .*expected JSON.*no array at '0/0'",
    ):
        nl.open_dataset(tmp_path / "a.zarr")


def test_names_that_cannot_be_read_leave_the_series_their_numbers(tmp_path, monkeypatch):
    get = LocalStore.get

    def denied(store, key):
        if key.endswith(".xml"):
            raise nl.ChunkReadError(key)
        return get(store, key)

    write_series(tmp_path / "a.zarr", "0.4", xml=True, listed=False)
    monkeypatch.setattr(LocalStore, "get", denied)
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        assert [image.name for image in dataset.images] == ["a 0", "a 1"]


def test_a_series_written_by_yaozarrs_comes_back(tmp_path):
    pixels = pyramid((2, 16, 16), 1)[0]
    axes = [{"name": "c", "type": "channel"}, *({"name": one, "type": "space"} for one in "yx")]
    datasets = [{"path": "0", "coordinateTransformations": scaled((1, 2, 2))}]
    image = yaozarrs.v05.Image(multiscales=[{"axes": axes, "datasets": datasets}])
    v05.write_bioformats2raw(
        tmp_path / "a.ome.zarr", {"0": (image, [pixels]), "1": (image, [pixels + 1])}, writer="zarr"
    )
    with nl.open_dataset(tmp_path / "a.ome.zarr") as dataset:
        for number, found in enumerate(dataset.images):
            np.testing.assert_array_equal(pixels_of(found), pixels + number)


def test_an_image_of_the_drafts_of_version_1_opens_with_its_sizes(tmp_path):
    pixels = pyramid((6, 8), 2)
    levels = []
    for number, level in enumerate(pixels):
        write_array(tmp_path / "a.zarr" / "image" / f"s{number}", level)
        own = {**scaled((2**number, 3 * 2**number))[0], "input": f"s{number}", "output": "physical"}
        levels.append({"path": f"s{number}", "coordinateTransformations": [own]})
    systems = [{"name": "physical", "axes": axes_of("yx")}]
    write_group(
        tmp_path / "a.zarr" / "image",
        {"multiscale": {"coordinateSystems": systems, "levels": levels}},
        "1.0-dev",
    )
    nodes = [{"type": "multiscale", "path": "image"}]
    write_group(tmp_path / "a.zarr", {"collection": {"name": "all", "nodes": nodes}}, "1.0-dev")
    dataset, notes = notes_of(tmp_path / "a.zarr")
    with dataset:
        (image,) = dataset.images
        assert [level.shape for level in image.levels] == [(6, 8), (3, 4)]
        assert (image.axes, image.scale, image.units) == (
            ("y", "x"),
            (1, 3),
            ("micrometer", "micrometer"),
        )
        np.testing.assert_array_equal(pixels_of(image), pixels[0])
    assert "version '1.0-dev', which is not known here" in notes


def scene_store(path, transforms, systems=()):
    pixels = pyramid((6, 8), 1)[0]
    for name in ("left", "right"):
        own = {**scaled((2, 2))[0], "output": "physical"}
        entry = {
            "coordinateSystems": [{"name": "physical", "axes": axes_of("yx")}],
            "datasets": [{"path": "s0", "coordinateTransformations": [own]}],
        }
        write_array(path / name / "s0", pixels)
        write_group(path / name, {"multiscales": [entry]}, "0.6")
    systems = [{"name": one, "axes": axes_of("yx")} for one in systems]
    return write_group(
        path,
        {"scene": {"coordinateTransformations": transforms, "coordinateSystems": systems}},
        "0.6",
    )


def step(start, end, **transform):
    def one_end(name):
        return {"name": name} if name == "world" else {"path": name, "name": "physical"}

    return {"input": one_end(start), "output": one_end(end), **transform}


def test_the_images_of_a_scene_lie_where_it_puts_them(tmp_path):
    transforms = [
        step("left", "world", type="translation", translation=[0, 0]),
        step("right", "world", type="translation", translation=[10, 20]),
    ]
    with nl.open_dataset(scene_store(tmp_path / "a.zarr", transforms, ["world"])) as dataset:
        assert [(one.name, one.scale, one.translate) for one in dataset.images] == [
            ("a left", (2, 2), (0, 0)),
            ("a right", (2, 2), (10, 20)),
        ]


def test_a_scene_places_an_image_by_the_coordinate_system_that_it_names(tmp_path):
    path = scene_store(
        tmp_path / "a.zarr",
        [step("left", "world", type="translation", translation=[1, 2])],
        ["world"],
    )
    turned = {
        "coordinateSystems": [
            {"name": name, "axes": axes_of("yx", "nanometer")} for name in ("turned", "physical")
        ],
        "datasets": [
            {
                "path": "s0",
                "coordinateTransformations": [{**scaled((2, 3))[0], "output": "physical"}],
            }
        ],
        "coordinateTransformations": [
            {
                "type": "rotation",
                "rotation": [[0, -1], [1, 0]],
                "input": "physical",
                "output": "turned",
            }
        ],
    }
    write_group(path / "left", {"multiscales": [turned]}, "0.6")
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert (image.scale, image.translate, image.meta.affine) == ((2, 3), (1, 2), None)
        assert image.units == ("micrometer", "micrometer")


def test_an_image_whose_coordinate_system_a_scene_does_not_name_is_not_said_to_lack_one(tmp_path):
    transform = step("left", "world", type="translation", translation=[1, 2])
    del transform["input"]["name"]
    dataset, notes = notes_of(scene_store(tmp_path / "a.zarr", [transform], ["world"]))
    with dataset:
        assert "has no coordinate system ''" not in notes


def test_a_scene_without_a_world_of_its_own_is_placed_by_one_of_its_images(tmp_path):
    turn = step("right", "left", type="rotation", rotation=[[0, -1], [1, 0]])
    with nl.open_dataset(scene_store(tmp_path / "a.zarr", [turn])) as dataset:
        right, left = dataset.images
        np.testing.assert_allclose(right.affine, [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
        np.testing.assert_allclose(left.affine, np.eye(3))


def test_an_image_that_is_placed_by_another_one_has_its_units(tmp_path):
    path = scene_store(
        tmp_path / "a.zarr", [step("right", "left", type="scale", scale=[0.001, 0.001])]
    )
    entry = {
        "coordinateSystems": [{"name": "physical", "axes": axes_of("yx", "nanometer")}],
        "datasets": [
            {
                "path": "s0",
                "coordinateTransformations": [{**scaled((5, 5))[0], "output": "physical"}],
            }
        ],
    }
    write_group(path / "right", {"multiscales": [entry]}, "0.6")
    with nl.open_dataset(path) as dataset:
        right = dataset.images[0]
        assert (right.scale, right.units) == ((0.005, 0.005), ("micrometer", "micrometer"))


def test_an_image_that_no_way_leads_to_is_shown_in_its_own_place_and_said(tmp_path):
    transforms = [
        step("left", "world", type="translation", translation=[1, 2]),
        step("right", "world", type="displacements", path="field"),
    ]
    dataset, notes = notes_of(scene_store(tmp_path / "a.zarr", transforms, ["world"]))
    with dataset:
        assert [one.translate for one in dataset.images] == [(1, 2), (0, 0)]
    assert "a right: a transformation of type 'displacements' cannot be shown" in notes
    assert "a right: is not placed in the scene" in notes


def test_a_place_within_a_store_is_found_from_the_outermost_folder(tmp_path):
    path = write_image(tmp_path / "x.zarr", pyramid((16, 16)))
    write_group(path / "labels", {"labels": ["nuclei"]})
    write_image(path / "labels" / "nuclei", pyramid((16, 16), 1, "uint8"))
    for inside in ("", "0", "labels", "labels/nuclei", "labels/nuclei/0"):
        assert find_store(str(path / inside / "zarr.json")) == find_store(str(path / inside))
        found = find_store(str(path / inside))
        assert (found.root, found.inside, found.likely) == (str(path), inside, True)
        assert nl.open_dataset(path / inside).images[0].kind == (
            "labels" if "labels" in inside else "image"
        )


def test_a_level_of_a_label_of_a_field_of_a_well_leads_to_its_plate(tmp_path):
    path = write_group(tmp_path / "x.zarr", {})
    inside = "B/3/0/labels/nuclei/0"
    found = find_store(str(path / inside))
    assert (found.root, found.inside) == (str(path), inside)


def test_a_folder_called_as_a_zip_file_is_a_folder(tmp_path):
    path = write_image(tmp_path / "all.zip" / "x.zarr", pyramid((16, 16)))
    assert find_store(str(path)).root == str(path)


@pytest.mark.parametrize(
    ("address", "root", "inside", "name"),
    [
        ("https://host/a/x.zarr", "https://host/a/x.zarr", "", "x"),
        ("https://host/a/x.ome.zarr/", "https://host/a/x.ome.zarr", "", "x"),
        (
            "https://host/a/x.zarr/labels/nuclei",
            "https://host/a/x.zarr",
            "labels/nuclei",
            "x labels/nuclei",
        ),
        ("s3://bucket/x.zarr/B/3/0/", "s3://bucket/x.zarr", "B/3/0", "x B/3/0"),
        ("https://host/x%20y.zarr?token=abc", "https://host/x%20y.zarr?token=abc", "", "x y"),
        ("https://host/x.zarr/0?token=abc", "https://host/x.zarr?token=abc", "0", "x 0"),
        ("https://host/data/image", "https://host/data/image", "", "image"),
        ("https://host/x.zarr/0/.zattrs?token=abc", "https://host/x.zarr?token=abc", "0", "x 0"),
        ("s3://bucket/image/zarr.json", "s3://bucket/image", "", "image"),
        ("https://host/x.zarr?signature=abc/", "https://host/x.zarr?signature=abc/", "", "x"),
        ("https://host/X.ZARR/a%20b", "https://host/X.ZARR", "a b", "X a b"),
        ("https://host/.zarr", "https://host/.zarr", "", ".zarr"),
    ],
)
def test_an_address_leads_into_the_store_that_its_names_tell_of(address, root, inside, name):
    found = find_store(address)
    assert (found.root, found.inside, found.name) == (root, inside, name)


@pytest.mark.parametrize(
    ("pasted", "root", "inside"),
    [
        (" https://host/x.zarr \n", "https://host/x.zarr", ""),
        ("'https://host/x.zarr/0'", "https://host/x.zarr", "0"),
        ('"https://host/x.zarr"', "https://host/x.zarr", ""),
        ("<https://host/x.zarr>", "https://host/x.zarr", ""),
        ("zarr://https://host/x.zarr", "https://host/x.zarr", ""),
        ("zarr3://s3://bucket/x", "s3://bucket/x", ""),
        ("https://host/x|zarr3:", "https://host/x", ""),
        ("https://host/x.zarr/|zarr2:0/1", "https://host/x.zarr", "0/1"),
        ("gs://bucket/x.zarr.zip|zip:inner/|zarr3:", "gs://bucket/x.zarr.zip", "inner"),
        ("s3+https://host/bucket/x.zarr", "https://host/bucket/x.zarr", ""),
    ],
)
def test_addresses_are_taken_as_they_are_pasted(pasted, root, inside):
    found = find_store(pasted)
    assert (found.root, found.inside) == (root, inside)


@pytest.mark.parametrize(
    ("pasted", "match"),
    [
        ("precomputed://gs://bucket/x", "a precomputed volume of Neuroglancer, which is not read"),
        ("n5://https://host/x.n5", "an N5 store, which is not read"),
        ("https://host/x|neuroglancer-precomputed:", "of the format 'neuroglancer-precomputed'"),
        ("ftp://host/x.zarr", "beginning|begin with ftp:// cannot be opened"),
    ],
)
def test_addresses_of_other_formats_are_named(pasted, match):
    with pytest.raises(nl.SourceOpenError, match=match):
        nl.open_dataset(pasted)


def test_folders_and_pictures_are_left_to_other_formats(tmp_path, write_folder):
    write_folder(tmp_path / "pictures", 2)
    assert open_path(tmp_path / "pictures").kind == "image folder"
    assert not find_store(str(tmp_path)).likely
    assert not can_open(tmp_path / "gone.zarr")
    with pytest.raises(nl.SourceOpenError, match="does not exist"):
        nl.open_dataset(tmp_path / "gone.zarr")


def test_a_place_within_a_store_that_is_not_there_is_said(tmp_path):
    path = write_image(tmp_path / "x.zarr", pyramid((16, 16)))
    os.mkdir(path / "extra")
    with pytest.raises(nl.SourceOpenError, match=r"x\.zarr.extra"):
        nl.open_dataset(path / "extra")


def test_a_folder_without_metadata_in_a_store_opens_what_is_in_it(tmp_path):
    path = write_group(tmp_path / "x.zarr", {})
    pixels = pyramid((16, 16), 1)[0]
    write_array(path / "bare" / "one", pixels)
    (path / "bare" / "zarr.json").unlink(missing_ok=True)
    with nl.open_dataset(path / "bare") as dataset:
        assert dataset.images[0].name == "x bare one"
        np.testing.assert_array_equal(pixels_of(dataset.images[0]), pixels)


def test_a_signal_of_hyperspy_opens_as_the_array_in_it(tmp_path):
    root = zarr.open_group(tmp_path / "a.zspy", mode="w", zarr_format=2)
    pixels = np.arange(3 * 8 * 9, dtype="u2").reshape(3, 8, 9)
    signal = root.create_group("Experiments/one")
    signal.create_array("data", shape=pixels.shape, chunks=(1, 8, 9), dtype="u2")[...] = pixels
    signal.create_group("axis-0", attributes={"scale": 2.0})
    for path in (tmp_path / "a.zspy", tmp_path / "a.zspy" / "Experiments" / "one" / "data"):
        with nl.open_dataset(path) as dataset:
            (image,) = dataset.images
            assert image.name == "a Experiments/one/data"
            np.testing.assert_array_equal(image.data.compute(scheduler="sync"), pixels)
