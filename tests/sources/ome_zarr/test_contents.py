"""Groups that are no OME-Zarr image: plates, bare arrays, pyramids of others, packed numbers."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest
import zarr

import napari_lazyload as nl
from helpers.ome_stores import (
    pyramid,
    write_array,
    write_group,
    write_image,
    write_plate,
)

PIXELS = np.arange(16 * 20, dtype="u2").reshape(16, 20)


def opened(path):
    """Open, and return the dataset with its notes."""
    with pytest.warns(nl.LazyLoadWarning):
        dataset = nl.open_dataset(path)
    return dataset, " ".join(dataset.notes)


def pixels_of(image):
    return image.data.compute(scheduler="sync")


def test_an_array_that_xarray_wrote_without_a_name_opens(tmp_path):
    path = write_group(tmp_path / "a.zarr", {})
    write_array(path / "__xarray_dataarray_variable__", PIXELS, names=["y", "x"])
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(pixels_of(dataset.images[0]), PIXELS)


def test_numbers_that_stand_for_others_are_shown_as_stored_and_said(tmp_path):
    path = write_group(tmp_path / "a.zarr", {})
    for name, attributes in (
        ("packed", {"scale_factor": 0.01, "add_offset": 273}),
        ("plain", {"scale_factor": 1.0}),
    ):
        write_array(path / name, PIXELS)
        zarr.open_array(path / name, mode="a").attrs.update(attributes)
    dataset, notes = opened(path)
    assert notes == (
        "a packed: its numbers are shown as they are stored; for the values that they stand for, "
        "multiply by 0.01 and "
        "add 273"
    )
    np.testing.assert_array_equal(pixels_of(dataset.images[0]), PIXELS)
    _, alone = opened(path / "packed")
    assert "multiply by 0.01 and add 273" in alone


@pytest.mark.parametrize(
    ("value", "scale", "units"),
    [
        (["4 nm", "2.5e1nm"], (4, 25), ("nm", "nm")),
        (["nm", None], (1, 1), ("nm", None)),
        (["8", "1/cm"], (8, 1), (None, "1/cm")),
        (["0 nm", 3], (1, 3), ("nm", None)),
        (["nm"], (1, 1), (None, None)),
        ("nm", (1, 1), (None, None)),
    ],
)
def test_sizes_beside_the_dimensions_are_those_of_pixels(tmp_path, value, scale, units):
    write_array(tmp_path / "a.zarr", PIXELS)
    zarr.open_array(tmp_path / "a.zarr", mode="a").attrs["dimension_units"] = value
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        assert (dataset.images[0].scale, dataset.images[0].units) == (scale, units)


@pytest.mark.parametrize(
    ("value", "axes", "scale", "translate", "units"),
    [
        (
            {
                "axis_names": ["c^", "z", "x"],
                "voxel_size": [2, 4],
                "offset": [10, 20],
                "units": ["nm", "nm"],
            },
            ("c", "z", "x"),
            (1, 2, 4),
            (0, 10, 20),
            (None, "nm", "nm"),
        ),
        ({"voxel_size": [4, 5]}, ("z", "y", "x"), (1, 4, 5), (0, 0, 0), (None,) * 3),
        (
            {"voxel_size": [3, 4, 5], "offset": [1]},
            ("z", "y", "x"),
            (3, 4, 5),
            (0, 0, 0),
            (None,) * 3,
        ),
        (
            {"voxel_size": [0, 4, 5], "axis_names": ["q", "", "r"]},
            ("q", "dim_1", "r"),
            (1, 1, 1),
            (0, 0, 0),
            (None,) * 3,
        ),
        (
            {"voxel_size": "4nm", "axis_names": 3, "offset": [1, 2, 3]},
            ("z", "y", "x"),
            (1, 1, 1),
            (0, 0, 0),
            (None,) * 3,
        ),
    ],
)
def test_sizes_and_names_that_funlib_writes_are_taken(
    tmp_path, value, axes, scale, translate, units
):
    write_array(tmp_path / "a.zarr", np.stack([PIXELS, PIXELS]))
    zarr.open_array(tmp_path / "a.zarr", mode="a").attrs.update(value)
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        image = dataset.images[0]
        assert (image.axes, image.scale, image.translate, image.units) == (
            axes,
            scale,
            translate,
            units,
        )


@pytest.mark.parametrize(
    "names", [("C", "Y", "X"), ("Channel", "y", "x"), ("channels", "row", "col")]
)
def test_channels_are_told_in_any_case(tmp_path, names):
    write_array(tmp_path / "a.zarr", np.stack([PIXELS, PIXELS]), names=names)
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        assert dataset.images[0].axes == ("c", *names[1:])
        assert len(dataset.to_layer_data()) == 2


def test_channels_of_lines_stay_one_picture(tmp_path):
    write_array(tmp_path / "a.zarr", PIXELS, names=("c", "x"))
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        assert [data.shape for data, _, _ in dataset.to_layer_data()] == [(16, 20)]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_arrays_in_folders_without_metadata_are_found(tmp_path, version):
    for name in ("s0", "s1"):
        write_array(tmp_path / "a.zarr" / "em" / name, PIXELS, version=version)
        (tmp_path / "a.zarr" / "em" / "zarr.json").unlink(missing_ok=True)
        (tmp_path / "a.zarr" / "em" / ".zgroup").unlink(missing_ok=True)
    with nl.open_dataset(tmp_path / "a.zarr") as dataset:
        assert dataset.meta["path"].tolist() == ["em/s0", "em/s1"]
        np.testing.assert_array_equal(pixels_of(dataset.images[1]), PIXELS)


@pytest.mark.parametrize(
    "value",
    [
        {"layout": [{"asset": "0"}]},
        None,
        [],
        "x",
        [{"datasets": [{"path": "0", "pixels_per_tile": 128}]}],
    ],
    ids=["GeoZarr", "null", "empty", "text", "ndpyramid"],
)
def test_pyramids_of_other_conventions_open_as_the_arrays_they_have(tmp_path, value):
    path = write_group(tmp_path / "a.zarr", {"multiscales": value}, "0.4")
    write_group(path / "0", {}, "0.4")
    write_array(path / "0" / "temperature", PIXELS, version="0.4")
    dataset, notes = opened(path)
    np.testing.assert_array_equal(pixels_of(dataset.images[0]), PIXELS)
    assert dataset.kind == ("OME-Zarr" if isinstance(value, list) and value else "Zarr group")
    assert "a: it has no pyramid as OME-Zarr describes them, so its contents are shown" in notes


def test_an_image_whose_axes_are_wrong_does_not_open_as_arrays(tmp_path):
    path = write_image(tmp_path / "a.zarr", [PIXELS], entry={"axes": ["z", "y", "x"]})
    with pytest.raises(nl.SourceOpenError, match="expected one axis for each dimension"):
        nl.open_dataset(path)


def scales(path, arrays):
    """Write arrays as multiscale-spatial-image does."""
    for name, pixels in arrays.items():
        write_array(write_group(path, {}) / name, pixels, names=["y", "x"])
    return path


def test_scales_of_one_image_are_its_levels(tmp_path):
    arrays = {
        f"em/scale{n}/{name}": PIXELS[:: 2**n, :: 2**n]
        for n in range(3)
        for name in ("image", "mask")
    }
    dataset, notes = opened(scales(tmp_path / "a.zarr", arrays))
    assert [one.name for one in dataset.images] == ["a em/image", "a em/mask"]
    for image in dataset.images:
        assert (image.axes, image.scale) == (("y", "x"), (1, 1))
        for number, level in enumerate(image.levels):
            np.testing.assert_array_equal(
                level.compute(scheduler="sync"), arrays[f"em/scale{number}/image"]
            )
    assert "a em/mask: its 3 scales are taken for the levels of one image" in notes


@pytest.mark.parametrize(
    "other", [PIXELS, PIXELS[::2].astype("u1"), np.stack([PIXELS] * 2)[:, ::2, ::2]]
)
def test_scales_that_are_no_pyramid_stay_images(tmp_path, other):
    path = write_group(tmp_path / "a.zarr", {})
    for number, pixels in enumerate((PIXELS, other)):
        write_array(path / f"scale{number}" / "image", pixels)
    with nl.open_dataset(path) as dataset:
        assert [image.shape for image in dataset.images] == [PIXELS.shape, other.shape]
    only = scales(tmp_path / "b.zarr", {"scale0/image": PIXELS, "scale0/mask": PIXELS})
    with nl.open_dataset(only) as dataset:
        assert dataset.meta["path"].tolist() == ["scale0/image", "scale0/mask"]


def test_a_level_that_lacks_channels_is_left_out(tmp_path):
    levels = [np.stack([PIXELS] * 4), np.stack([PIXELS[::2, ::2]] * 2)]
    dataset, notes = opened(write_image(tmp_path / "a.zarr", levels, "cyx"))
    assert notes == "a: level 1 is left out: its shape (2, 8, 10) lacks channels"
    assert [np.asarray(data).shape for data, _, _ in dataset.to_layer_data()] == [(16, 20)] * 4


@pytest.mark.parametrize("axes", [None, []])
def test_axes_that_are_empty_are_guessed_as_those_of_old_versions(tmp_path, axes):
    path = write_image(tmp_path / "a.zarr", pyramid((3, 16, 20), 1), "zyx", entry={"axes": axes})
    with nl.open_dataset(path) as dataset:
        assert dataset.images[0].axes == ("z", "y", "x")


def test_multiscales_that_are_no_list_but_the_image_itself_are_taken(tmp_path):
    write_array(tmp_path / "a.zarr" / "0", PIXELS)
    path = write_group(
        tmp_path / "a.zarr", {"multiscales": {"axes": ["y", "x"], "datasets": [{"path": "0"}]}}
    )
    with nl.open_dataset(path) as dataset:
        assert (dataset.kind, dataset.images[0].axes) == ("OME-Zarr", ("y", "x"))


def test_what_a_writer_left_outside_ome_counts_too(tmp_path):
    path = write_image(tmp_path / "a.zarr", pyramid((2, 16, 20), 1), "cyx")
    channels = [{"label": "DAPI"}, {"label": "GFP"}]
    zarr.open_group(path, mode="a").attrs.update(
        {"omero": {"channels": channels}, "multiscales": []}
    )
    with nl.open_dataset(path) as dataset:
        assert [one.name for one in dataset.images[0].meta.channels] == ["DAPI", "GFP"]


def test_a_plate_in_a_group_opens_as_a_plate(tmp_path):
    path = write_group(tmp_path / "a.zarr", {})
    write_plate(path / "first", {"A/1": [PIXELS], "B/2": [PIXELS + 1]})
    with nl.open_dataset(path) as dataset:
        assert (dataset.kind, dataset.meta["well"].tolist()) == ("OME-Zarr plate", ["A1", "B2"])
        np.testing.assert_array_equal(pixels_of(dataset.images[0])[16:, 20:], PIXELS + 1)
    shutil.copytree(path / "first", path / "second")
    dataset, notes = opened(path)
    assert len(dataset.meta) == 2
    assert notes == "a: one plate is opened at a time; others are at second"


def test_a_plate_beside_images_is_said(tmp_path):
    path = write_group(tmp_path / "a.zarr", {})
    write_plate(path / "plate", {"A/1": [PIXELS]})
    write_image(path / "image", [PIXELS])
    dataset, notes = opened(path)
    assert dataset.meta["path"].tolist() == ["image"]
    assert notes == "a: plates are left out: plate"


@pytest.mark.parametrize("top", ["P.zarr/", "./P.zarr/", "data/2024/P.zarr/"])
def test_a_plate_in_a_zip_file_of_macos_opens_as_a_plate(tmp_path, top):
    path = write_plate(tmp_path / "p", {"A/1": [PIXELS]})
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr(f"__MACOSX/{top}._zarr.json", b"junk")
        archive.writestr(".DS_Store", b"junk")
        for file in path.rglob("*"):
            if file.is_file():
                archive.write(file, top + file.relative_to(path).as_posix())
    with nl.open_dataset(tmp_path / "p.zip") as dataset:
        assert dataset.kind == "OME-Zarr plate"
        np.testing.assert_array_equal(pixels_of(dataset.images[0]), PIXELS)
