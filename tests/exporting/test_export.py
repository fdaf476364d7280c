"""nl.export writes the bits of nl.crop, and the formats' own libraries open what it writes."""

from __future__ import annotations

import json
import warnings

import dask.array as da
import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

import napari_lazyload as nl
from napari_lazyload.arrays.image import Image
from napari_lazyload.core.errors import LazyLoadWarning
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.exporting import tiff
from napari_lazyload.exporting.pyramid import level_factors, reduced
from napari_lazyload.testing.sources import RecordingSource

NAMES = {"ome-zarr": "out.ome.zarr", "ome-tiff": "out.ome.tif", "npy": "out.npy"}
TIFF_DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")


def pixels(shape, dtype="u2", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "b":
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, np.dtype(dtype), endpoint=True)
    array = rng.normal(0, 100, shape)
    return (
        array + 1j * rng.normal(0, 100, shape) if np.dtype(dtype).kind == "c" else array
    ).astype(dtype)


def image_of(array, axes, chunks=7, **meta):
    return Image(RecordingSource(array, (chunks,) * array.ndim, axes=axes, **meta))


def read_back(path):
    """What the format's own library reads."""
    if path.suffix == ".npy":
        return np.load(path)
    return (
        tifffile.imread(path)
        if path.suffix == ".tif"
        else zarr.open_group(path, mode="r")["0"][...]
    )


def opened(path):
    """What this package reads: all levels."""
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        return image, [np.asarray(level) for level in image.levels]


def ome(path):
    return zarr.open_group(path, mode="r").attrs["ome"]


def placed(path):
    """Scale and translation of each level, as they stand."""
    found = []
    for dataset in ome(path)["multiscales"][0]["datasets"]:
        scale, translation = dataset["coordinateTransformations"]
        found.append((scale["scale"], translation["translation"]))
    return found


# --- bit by bit

ZARR = [("ome-zarr", dtype) for dtype in ("?", *TIFF_DTYPES, "i8", "u8", "f2", "c8", "c16")]
NPY = [("npy", dtype) for dtype in ("?", *TIFF_DTYPES, "i8", "u8", "f2", "c8", "c16")]


@pytest.mark.parametrize(
    ("kind", "dtype"), [*ZARR, *NPY, *(("ome-tiff", dtype) for dtype in TIFF_DTYPES)]
)
def test_each_type_comes_back_bit_by_bit(tmp_path, kind, dtype):
    array = pixels((3, 37, 41), dtype)
    path = nl.export(image_of(array, "zyx"), tmp_path / NAMES[kind])
    assert path == tmp_path / NAMES[kind]
    np.testing.assert_array_equal(read_back(path), array, strict=True)
    image, levels = opened(path)
    np.testing.assert_array_equal(levels[0], array, strict=True)
    assert image.dtype == array.dtype


AXES = ["yx", "zyx", "tyx", "cyx", "tzyx", "czyx", "tcyx", "tczyx", "tzcyx"]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("kind", NAMES)
def test_each_order_of_axes_comes_back(tmp_path, kind, axes):
    array = pixels(tuple({"t": 2, "c": 3, "z": 4, "y": 33, "x": 29}[axis] for axis in axes))
    path = nl.export(image_of(array, axes), tmp_path / NAMES[kind])
    image, levels = opened(path)
    if kind == "ome-zarr" and axes == "tzcyx":  # the format has channels before space
        array = np.moveaxis(array, 2, 1)
    np.testing.assert_array_equal(levels[0], array)
    np.testing.assert_array_equal(read_back(path), array)
    if kind != "npy":
        assert "".join(image.axes) == axes.replace("zc", "cz" if kind == "ome-zarr" else "zc")


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("chunks", [3, 7, 64])
def test_a_region_that_meets_no_border_of_chunks_is_what_crop_gives(tmp_path, kind, chunks):
    image = image_of(pixels((9, 61, 70)), "zyx", chunks)
    region = {"z": (2, 8), "y": (3, 52), "x": (11, 70)}
    path = nl.export(image, tmp_path / NAMES[kind], region, chunks=16 if kind != "npy" else None)
    np.testing.assert_array_equal(read_back(path), nl.crop(image, region), strict=True)
    np.testing.assert_array_equal(opened(path)[1][0], nl.crop(image, region))


@pytest.mark.parametrize("kind", NAMES)
def test_a_level_and_a_type_are_what_crop_gives(tmp_path, kind):
    finest = pixels((3, 36, 50))
    image = Image(RecordingSource([finest, finest[:, ::2, ::2].copy()], (2, 8, 8), axes="zyx"))
    region = {"y": (5, 30), "x": (7, 41)}
    path = nl.export(image, tmp_path / NAMES[kind], region, level=1, dtype="f4")
    np.testing.assert_array_equal(
        read_back(path), nl.crop(image, region, level=1, dtype="f4"), strict=True
    )


@pytest.mark.parametrize("samples", [3, 4])
def test_colors_come_back(tmp_path, samples):
    array = pixels((4, 40, 52, samples), "u1")
    image = image_of(array, "zyxs", 9)
    for kind in ("ome-tiff", "npy"):
        path = nl.export(image, tmp_path / NAMES[kind], {"y": (3, 30)})
        np.testing.assert_array_equal(read_back(path), array[:, 3:30], strict=True)
        found, levels = opened(path)
        np.testing.assert_array_equal(levels[0], array[:, 3:30])
        assert kind == "npy" or found.rgb
    path = nl.export(image, tmp_path / NAMES["ome-zarr"], {"y": (3, 30)})
    np.testing.assert_array_equal(read_back(path), np.moveaxis(array[:, 3:30], -1, 0), strict=True)
    channels = ome(path)["omero"]["channels"]
    assert [one["label"] for one in channels] == ["Red", "Green", "Blue", "Alpha"][:samples]
    assert [one["color"] for one in channels[:3]] == ["FF0000", "00FF00", "0000FF"]
    yaozarrs.validate_zarr_store(str(path))


ARRAYS = {
    "numpy": lambda a: a,
    "big endian": lambda a: a.astype(">u2"),
    "fortran": np.asfortranarray,
    "dask": lambda a: da.from_array(a, chunks=(2, 8, (10, 4, 9))),
    "dask, computed": lambda a: da.from_array(a, chunks=5) + np.uint16(0),
    "zarr": lambda a: zarr.array(a, chunks=(2, 8, 9)),
    "lazy": lambda a: image_of(a, "zyx").data,
    "lazy, an axis dropped": lambda a: image_of(np.stack([a, a + 1]), "tzyx").data[0],
    "image": lambda a: image_of(a, "zyx"),
}


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("kind", NAMES)
def test_any_array_can_be_exported(tmp_path, kind, make):
    array = pixels((5, 17, 23))
    path = nl.export(make(array), tmp_path / NAMES[kind], np.s_[1:4, :, 3:20])
    np.testing.assert_array_equal(read_back(path), array[1:4, :, 3:20], strict=True)


def test_axes_of_arrays_without_names_are_the_usual_ones(tmp_path):
    for ndim, names in ((2, "yx"), (3, "zyx"), (4, "tzyx"), (5, "tczyx")):
        path = nl.export(np.zeros((2,) * (ndim - 2) + (20, 20), "u1"), tmp_path / f"{ndim}.zarr")
        assert "".join(axis["name"] for axis in ome(path)["multiscales"][0]["axes"]) == names


GRIDS = {
    "chosen": (None, None, (6, 70, 90), None),
    "shards chosen": (8, True, (6, 8, 8), (6, 72, 96)),
    "one size": (16, None, (6, 16, 16), None),
    "sizes": ((2, 16, 32), (4, 32, 64), (2, 16, 32), (4, 32, 64)),
    "names": ({"x": 8}, {"x": 32, "y": 140}, (6, 70, 8), (6, 70, 32)),
    "shards larger than the image": ((4, 16, 16), (400, 160, 160), (4, 16, 16), (8, 80, 96)),
}


@pytest.mark.parametrize(
    ("chunks", "shards", "found_chunks", "found_shards"), GRIDS.values(), ids=GRIDS
)
def test_chunks_and_shards_are_those_asked_for(
    tmp_path, chunks, shards, found_chunks, found_shards
):
    array = pixels((6, 70, 90))
    path = nl.export(image_of(array, "zyx"), tmp_path / "out.zarr", chunks=chunks, shards=shards)
    level = zarr.open_group(path, mode="r")["0"]
    np.testing.assert_array_equal(level[...], array)
    np.testing.assert_array_equal(opened(path)[1][0], array)
    assert (level.chunks, level.shards) == (found_chunks, found_shards)
    yaozarrs.validate_zarr_store(str(path))


BAD = {
    "chunks, too few": ({"chunks": (4, 4)}, "one for each of the axes z, y, x"),
    "chunks, another axis": ({"chunks": {"t": 1}}, "or a mapping of them"),
    "chunks, zero": ({"chunks": 0}, "chunks must be a size"),
    "chunks, half": ({"chunks": (1, 2.5, 3)}, "chunks must be a size"),
    "shards, no multiple": ({"chunks": 16, "shards": 24}, "multiples of the chunks"),
}


@pytest.mark.parametrize(("asked", "message"), BAD.values(), ids=BAD)
def test_bad_chunks_are_told(tmp_path, asked, message):
    with pytest.raises(ValueError, match=message):
        nl.export(np.zeros((60, 70, 90), "u1"), tmp_path / "out.zarr", **asked)
    assert list(tmp_path.iterdir()) == []


def test_tiles_are_those_asked_for(tmp_path):
    for chunks in (100, (16, 20), (16, 16, 0)):
        with pytest.raises(ValueError, match="multiples of 16"):
            nl.export(np.zeros((70, 90), "u1"), tmp_path / "out.tif", chunks=chunks)
    with pytest.raises(ValueError, match="OME-Zarr"):
        nl.export(np.zeros((70, 90), "u1"), tmp_path / "out.tif", shards=True)
    array = pixels((70, 90))
    path = nl.export(image_of(array, "yx"), tmp_path / "out.tif", chunks=(32, 48))
    with tifffile.TiffFile(path) as file:
        assert (file.pages[0].tilelength, file.pages[0].tilewidth) == (32, 48)
    np.testing.assert_array_equal(read_back(path), array)


# --- levels


def by_hand(array, factors, *, nearest):
    """One level from the one before, by the definition: block by block."""
    shape = [-(-size // factor) for size, factor in zip(array.shape, factors, strict=True)]
    made = np.empty(shape, array.dtype)
    for index in np.ndindex(*shape):
        block = array[
            tuple(
                slice(at * factor, (at + 1) * factor)
                for at, factor in zip(index, factors, strict=True)
            )
        ]
        if nearest:
            made[index] = block.flat[0]
        elif array.dtype.kind in "iu":
            total = sum(map(int, block.flat))
            made[index] = (2 * total + block.size) // (2 * block.size)
        else:
            made[index] = block.astype("f8").mean()
    return made


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("factors", [(1, 2, 2), (2, 2, 2), (1, 1, 2)])
def test_a_level_is_the_rounded_mean_of_the_one_before(dtype, factors):
    array = pixels((3, 5, 6), dtype)
    mean, wanted = reduced(array, factors, nearest=False), by_hand(array, factors, nearest=False)
    # Sums of floats depend on their order; whole numbers are exact.
    close = 1e-4 if array.dtype.kind == "f" else 0
    np.testing.assert_allclose(mean, wanted, rtol=0, atol=close, strict=True)
    np.testing.assert_array_equal(
        reduced(array, factors, nearest=True), by_hand(array, factors, nearest=True), strict=True
    )


def test_axes_are_halved_until_pixels_are_cubes():
    # z pixels are four times as long: y and x come first.
    factors = level_factors((40, 4096, 4096), (2.0, 0.5, 0.5), (0, 1, 2), 256)
    assert factors == [(1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)]
    assert level_factors((300, 200), (1, 1), (0, 1), 256) == [(2, 2)]
    assert level_factors((256, 200), (1, 1), (0, 1), 256) == []
    assert level_factors((3, 1, 600), (1, 1, 1), (1, 2), 256) == [(1, 1, 2), (1, 1, 2)]


@pytest.mark.parametrize("kind", ["image", "labels"])
@pytest.mark.parametrize("shards", [None, True])
def test_the_pyramid_of_a_store(tmp_path, kind, shards):
    array = pixels((5, 530, 301), "u2")
    image = image_of(array, "zyx", 64, kind=kind, scale=(2.0, 0.5, 0.5), translate=(1.0, -3.0, 4.0))
    path = nl.export(image, tmp_path / "out.zarr", {"y": (3, 530)}, shards=shards)
    found, levels = opened(path)
    assert found.kind == kind
    expected = [array[:, 3:]]
    for factors in ((1, 2, 2), (1, 2, 2)):
        expected.append(reduced(expected[-1], factors, nearest=kind == "labels"))
    assert len(levels) == 3
    for level, wanted in zip(levels, expected, strict=True):
        np.testing.assert_array_equal(level, wanted, strict=True)
    assert placed(path) == [
        ([2.0, 0.5, 0.5], [1.0, -1.5, 4.0]),
        ([2.0, 1.0, 1.0], [1.0, -1.25, 4.25]),
        ([2.0, 2.0, 2.0], [1.0, -0.75, 4.75]),
    ]
    assert ome(path)["multiscales"][0]["type"] == ("nearest" if kind == "labels" else "mean")
    assert [level.factors for level in found.meta.levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]


@pytest.mark.parametrize("samples", [0, 3])
@pytest.mark.parametrize("kind", ["image", "labels"])
def test_the_pyramid_of_a_tiff(tmp_path, kind, samples):
    array = pixels((2, 1101, 1030) + (samples,) * bool(samples), "u1")
    image = image_of(array, "zyx" + "s" * bool(samples), 300, kind=kind)
    path = nl.export(image, tmp_path / "out.ome.tif")
    expected = [array]
    for _ in range(2):
        expected.append(reduced(expected[-1], (1, 2, 2, 1)[: array.ndim], nearest=kind == "labels"))
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert len(file.pages) == 2
        assert len(file.pages[0].subifds) == 2
        for level, wanted in zip(file.series[0].levels, expected, strict=True):
            np.testing.assert_array_equal(level.asarray(), wanted)
    for level, wanted in zip(opened(path)[1], expected, strict=True):
        np.testing.assert_array_equal(level, wanted)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.ome.tif"]


@pytest.mark.parametrize("beyond", [False, True])
def test_a_tiff_that_may_outgrow_its_offsets_is_a_big_one(tmp_path, monkeypatch, beyond):
    array = pixels((3, 1030, 600))
    whole = (array.size + 3 * 515 * 300 + 3 * 258 * 150) * array.itemsize  # of all levels
    assert tiff._BIG < 4 << 30  # where classic offsets end
    monkeypatch.setattr(tiff, "_BIG", whole - beyond)
    path = nl.export(image_of(array, "zyx", 300), tmp_path / "out.ome.tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff == beyond
        np.testing.assert_array_equal(file.asarray(), array)
    np.testing.assert_array_equal(opened(path)[1][0], array)


def test_without_a_pyramid_there_is_one_level(tmp_path):
    array = pixels((600, 700))
    for kind in ("ome-zarr", "ome-tiff"):
        assert len(opened(nl.export(array, tmp_path / NAMES[kind], pyramid=False))[1]) == 1


# --- metadata


@pytest.fixture
def described():
    channels = (
        ChannelMeta("DAPI", "#0000ff", (100.0, 4000.0)),
        ChannelMeta("GFP", "green", None, visible=False),
        ChannelMeta("Cy5", None, (7.0, 7.5)),
    )
    return image_of(
        pixels((2, 3, 4, 40, 50)),
        "tczyx",
        scale=(0.5, 1.0, 2.0, 0.25, 0.25),
        translate=(10.0, 0.0, -1.0, 100.0, 200.0),
        units=("second", None, "micrometer", "micrometer", "micrometer"),
        name="cells",
        channels=channels,
    )


def test_a_store_says_where_and_what_the_region_is(tmp_path, described):
    region = {"t": (1, 2), "c": (1, 3), "z": (1, 3), "y": (8, 40), "x": (4, 50)}
    path = nl.export(described, tmp_path / "out.ome.zarr", region)
    store = yaozarrs.validate_zarr_store(str(path))
    assert store.ome_metadata().version == "0.5"
    (multiscale,) = ome(path)["multiscales"]
    assert multiscale["name"] == "cells"
    assert multiscale["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    assert placed(path) == [([0.5, 1.0, 2.0, 0.25, 0.25], [10.5, 1.0, 1.0, 102.0, 201.0])]
    gfp, cy5 = ome(path)["omero"]["channels"]
    seen = nl.crop(described, {**region, "c": (1, 2)})
    assert gfp["label"] == "GFP"
    assert gfp["color"] == "00FF00"
    assert gfp["active"] is False
    assert gfp["window"] == {
        "min": seen.min(),
        "max": seen.max(),
        "start": seen.min(),
        "end": seen.max(),
    }
    assert cy5["label"] == "Cy5"
    assert (cy5["window"]["start"], cy5["window"]["end"]) == (7.0, 7.5)
    image, _ = opened(path)
    assert image.scale == (0.5, 1.0, 2.0, 0.25, 0.25)
    assert image.translate == (10.5, 1.0, 1.0, 102.0, 201.0)
    assert image.units == ("second", None, "micrometer", "micrometer", "micrometer")
    assert [channel.name for channel in image.meta.channels] == ["GFP", "Cy5"]
    assert zarr.open_group(path, mode="r")["0"].metadata.dimension_names == tuple("tczyx")


def test_a_tiff_says_what_the_region_is(tmp_path, described):
    path = nl.export(described, tmp_path / "out.ome.tif", {"c": (1, 3)})
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "TCZYX"
        said = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    size = said["Pixels"]
    assert said["Name"] == "cells"
    assert (size["PhysicalSizeX"], size["PhysicalSizeY"], size["PhysicalSizeZ"]) == (
        0.25,
        0.25,
        2.0,
    )
    assert size["PhysicalSizeXUnit"] == size["PhysicalSizeZUnit"] == "µm"
    assert (size["TimeIncrement"], size["TimeIncrementUnit"]) == (0.5, "s")
    assert [channel["Name"] for channel in size["Channel"]] == ["GFP", "Cy5"]
    image, _ = opened(path)
    assert image.scale[2:] == (2.0, 0.25, 0.25)
    assert image.units[2:] == ("micrometer",) * 3


def test_a_level_lies_over_the_finest_one(tmp_path):
    finest = np.zeros((32, 48), "u1")
    levels = [finest, finest[::4, ::4].copy()]
    image = Image(
        RecordingSource(levels, (8, 8), axes="yx", scale=(0.5, 2.0), translate=(3.0, 5.0))
    )
    path = nl.export(image, tmp_path / "out.zarr", {"y": (8, 32), "x": (4, 48)}, level=1)
    # Pixel (2, 1) of the level: its centre lies at 4 * 2 + 1.5 and 4 * 1 + 1.5 pixels of the
    # finest one.
    assert placed(path) == [([2.0, 8.0], [3.0 + 0.5 * 9.5, 5.0 + 2.0 * 5.5])]


def test_windows_are_of_the_numbers_among_the_pixels(tmp_path):
    array = np.full((30, 30), np.nan, "f4")
    array[3, 4], array[7, 8], array[0, 0] = -2.5, 9, np.inf
    path = nl.export(array, tmp_path / "out.zarr", chunks=10)
    (channel,) = ome(path)["omero"]["channels"]
    assert channel["window"] == {"min": -2.5, "max": 9, "start": -2.5, "end": 9}
    path = nl.export(np.full((30, 30), np.nan), tmp_path / "nothing.zarr")
    assert ome(path)["omero"]["channels"][0]["window"]["end"] == 1
    yaozarrs.validate_zarr_store(str(path))


def test_units_are_spelled_as_the_format_has_them(tmp_path):
    image = image_of(np.zeros((2, 20, 20), "u1"), "tyx", units=("ms", "um", "pixel"))
    path = nl.export(image, tmp_path / "out.zarr")
    assert [axis.get("unit") for axis in ome(path)["multiscales"][0]["axes"]] == [
        "millisecond",
        "micrometer",
        None,
    ]
    yaozarrs.validate_zarr_store(str(path))


def test_labels_keep_colors_and_properties(tmp_path):
    display = {
        "colormap": {None: (0.5, 0.5, 0.5, 1.0), 0: (0, 0, 0, 0), 3: (1.0, 0.0, 0.2, 1.0)},
        "features": {"index": [3, 5], "area": [12.5, float("nan")], "type": ["a", "b"]},
    }
    image = image_of(pixels((20, 30), "u2"), "yx", kind="labels", display=display)
    path = nl.export(image, tmp_path / "out.zarr")
    said = ome(path)["image-label"]
    assert said["colors"] == [{"label-value": 3, "rgba": [255, 0, 51, 255]}]
    assert said["properties"] == [
        {"label-value": 3, "area": 12.5, "type": "a"},
        {"label-value": 5, "area": None, "type": "b"},
    ]
    yaozarrs.validate_zarr_store(str(path))
    found, _ = opened(path)
    assert found.kind == "labels"
    assert found.meta.display["colormap"][3] == (1.0, 0.0, 0.2, 1.0)


def test_frames_of_a_folder_are_an_axis_of_their_own(tmp_path):
    array = pixels((5, 20, 30))
    image = image_of(array, ("frame", "y", "x"))
    path = nl.export(image, tmp_path / "out.zarr")
    assert ome(path)["multiscales"][0]["axes"][0] == {"name": "frame"}
    assert opened(path)[0].axes == ("frame", "y", "x")
    yaozarrs.validate_zarr_store(str(path))
    path = nl.export(image, tmp_path / "out.ome.tif")
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "TYX"
    np.testing.assert_array_equal(opened(path)[1][0], array)


def test_frames_with_channels_or_colors_are_points_of_time(tmp_path):
    array = pixels((5, 3, 20, 30), "u1")
    path = nl.export(image_of(array, ("frame", "c", "y", "x")), tmp_path / "out.zarr")
    assert ome(path)["multiscales"][0]["axes"][0] == {"name": "frame", "type": "time"}
    np.testing.assert_array_equal(opened(path)[1][0], array)
    yaozarrs.validate_zarr_store(str(path))
    path = nl.export(
        image_of(np.moveaxis(array, 1, -1), ("frame", "y", "x", "s")), tmp_path / "colours.zarr"
    )
    np.testing.assert_array_equal(read_back(path), array)
    yaozarrs.validate_zarr_store(str(path))


def test_axes_that_a_format_lacks_are_told(tmp_path):
    image = image_of(np.zeros((2, 3, 4, 20, 20), "u1"), ("position", "frame", "c", "y", "x"))
    with pytest.raises(
        nl.ExportError,
        match=r"position \(2\), frame \(3\), c \(4\).*region=\{'position': \(0, 1\)\}",
    ):
        nl.export(image, tmp_path / "out.zarr")
    with pytest.raises(nl.ExportError, match=r"T, C, Z, Y, X.*OME-Zarr"):
        nl.export(image, tmp_path / "out.tif")
    assert list(tmp_path.iterdir()) == []
    # One position of each but one: what is left fits.
    path = nl.export(image, tmp_path / "out.zarr", {"position": (0, 1), "frame": (0, 1)})
    assert read_back(path).shape == (1, 4, 20, 20)
    with pytest.raises(nl.ExportError, match="two axes of space"):
        nl.export(np.zeros(5), tmp_path / "line.zarr")
    with pytest.raises(nl.ExportError, match="two axes of space"):
        nl.export(np.zeros(5), tmp_path / "line.tif")
    assert np.load(nl.export(np.zeros(5), tmp_path / "line.npy")).shape == (5,)


def test_a_rotated_image_is_told_and_its_matrix_kept(tmp_path):
    turned = ((0.8, -0.6, 5.0), (0.6, 0.8, 7.0), (0.0, 0.0, 1.0))
    image = image_of(np.ones((20, 30), "u1"), "yx", scale=(2.0, 2.0), affine=turned)
    with pytest.warns(LazyLoadWarning, match="rotation"):
        path = nl.export(image, tmp_path / "out.zarr", {"y": (5, 20)})
    ((scale, translation),) = placed(path)
    np.testing.assert_allclose(scale, (2, 2))
    np.testing.assert_allclose(translation, (5 + 0.8 * 10, 7 + 0.6 * 10))
    kept = zarr.open_group(path, mode="r").attrs["napari_lazyload"]["affine"]
    np.testing.assert_allclose(kept, [[1.6, -1.2, 13], [1.2, 1.6, 13], [0, 0, 1]])
    yaozarrs.validate_zarr_store(str(path))
    with pytest.warns(LazyLoadWarning, match="OME-TIFF says scale and position alone"):
        nl.export(image, tmp_path / "out.tif")


# --- layers


def layer_of(kind, data, **keywords):
    from napari.layers import Layer

    return Layer.create(data, keywords, kind)


def test_a_layer_of_another_plugin_is_written_where_it_lies(tmp_path):
    array = pixels((4, 40, 50))
    layer = layer_of(
        "image",
        array,
        name="cells",
        scale=(2, 0.5, 0.5),
        translate=(1, 2, 3),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"), colormap="green", contrast_limits=(10, 900),
    )  # fmt: skip
    path = nl.export(layer, tmp_path / "out.zarr", {"y": (10, 40)})
    np.testing.assert_array_equal(read_back(path), array[:, 10:])
    assert placed(path) == [([2.0, 0.5, 0.5], [1.0, 7.0, 3.0])]
    (channel,) = ome(path)["omero"]["channels"]
    assert channel["color"] == "00FF00"
    assert (channel["window"]["start"], channel["window"]["end"]) == (10, 900)
    image, _ = opened(path)
    assert image.units == ("micrometer",) * 3
    assert image.axes == ("z", "y", "x")
    assert image.meta.contrast_limits == (10, 900)


def test_levels_of_a_layer_of_another_plugin(tmp_path):
    finest = pixels((40, 60))
    layer = layer_of("image", [finest, finest[::2, ::2]], multiscale=True, scale=(0.5, 0.5))
    path = nl.export(layer, tmp_path / "out.zarr", np.s_[4:40], level=1)
    np.testing.assert_array_equal(read_back(path), finest[4:40:2, ::2])
    assert placed(path) == [([1.0, 1.0], [2.25, 0.25])]


def test_labels_layers_stay_labels(tmp_path):
    layer = layer_of(
        "labels", pixels((40, 60), "u1") % 5, features={"index": [1, 2], "size": [10, 20]}
    )
    path = nl.export(layer, tmp_path / "out.zarr")
    assert opened(path)[0].kind == "labels"
    assert ome(path)["image-label"]["properties"] == [
        {"label-value": 1, "size": 10},
        {"label-value": 2, "size": 20},
    ]


def test_layers_of_this_package_are_written_as_they_are_shown(tmp_path, described):
    from napari.layers import Layer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LazyLoadWarning)
        dapi = Layer.create(*layer_data(described)[0])
    path = nl.export(dapi, tmp_path / "dapi.zarr", {"x": (4, 50)})
    np.testing.assert_array_equal(read_back(path), np.asarray(described.data)[:, 0, :, :, 4:])
    (channel,) = ome(path)["omero"]["channels"]
    assert channel["color"] == "0000FF"
    assert (channel["window"]["start"], channel["window"]["end"]) == (100, 4000)
    assert opened(path)[0].axes == ("t", "z", "y", "x")
    assert placed(path)[0][1] == [10.0, -1.0, 100.0, 201.0]


def test_a_rotated_layer_is_told(tmp_path):
    layer = layer_of("image", np.ones((20, 30), "u1"), rotate=30, scale=(2, 3))
    with pytest.warns(LazyLoadWarning, match="rotation"):
        path = nl.export(layer, tmp_path / "out.zarr")
    kept = np.array(
        json.loads((path / "zarr.json").read_text())["attributes"]["napari_lazyload"]["affine"]
    )
    np.testing.assert_allclose(
        kept, layer.affine.affine_matrix @ layer._transforms["data2physical"].affine_matrix
    )


# --- names and types that writers stumble over


@pytest.mark.parametrize("name", ["sample #3", "why?", "100 %", "a;b", "dir #1/x?y"])
@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif", ".npy"])
def test_names_of_files_are_no_addresses(tmp_path, name, suffix):
    (tmp_path / "dir #1").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    pixels = np.arange(600, dtype="u2").reshape(3, 20, 10)
    target = tmp_path / f"{name}{suffix}"
    image = Image(RecordingSource([pixels], (1, 20, 10), axes="zyx"))
    nl.export(image, target)
    with nl.open_dataset(target) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, pixels)
    beside = [path.name for path in tmp_path.iterdir()]
    assert sorted(beside) == sorted({*before, target.relative_to(tmp_path).parts[0]})


@pytest.mark.parametrize("code", ["q", "Q", "l", "L"])
def test_long_numbers_of_any_name_are_written(tmp_path, code):
    """tifffile reads 64 bits as C's long long, which zarr does not know."""
    labels = np.arange(60, dtype=code).reshape(3, 4, 5) * 10**12
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="minisblack")
    with nl.open_dataset(tmp_path / "a.tif") as dataset:
        image = dataset.images[0]
        assert image.dtype.char in "lL"
        for target in ("b.ome.zarr", "b.npy"):
            nl.export(image, tmp_path / target, dtype=code)
            with nl.open_dataset(tmp_path / target) as back:
                np.testing.assert_array_equal(back.images[0].data, labels)
