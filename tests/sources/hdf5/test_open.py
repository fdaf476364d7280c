"""HDF5 files as h5py writes them open equal: values, types, axes, scale."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.sources.binary.strided import StridedFileSource
from napari_lazyload.sources.hdf5.source import Hdf5Level, Hdf5Source, grown_chunks


def values(shape, dtype="u2", seed=0):
    made = np.random.default_rng(seed).integers(0, 100, shape)
    return (made * (1 + 1j) if np.dtype(dtype).kind == "c" else made).astype(dtype)


def opened(path, expected, number=0, **options):
    """Open a file, compare an image with what it should be, and return it with its dataset."""
    dataset = nl.open_dataset(path, **options)
    image = dataset.images[number]
    pixels = np.asarray(image.data)
    assert image.shape == pixels.shape == expected.shape
    assert image.dtype == pixels.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(
        image.data[..., : -(-expected.shape[-1] // 2)], expected[..., : -(-expected.shape[-1] // 2)]
    )
    assert len(dataset.meta) == dataset._opened.row_count
    return image, dataset


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", ">f4", "<f8", "?", "<c8"])
def test_hdf5_in_place_and_by_chunks(tmp_path, dtype):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    array = values((9, 30, 40), dtype)
    with h5py.File(path, "w", userblock_size=512) as file:
        file["plain"] = array
        file.create_dataset(
            "group/packed", data=array, chunks=(2, 16, 16), compression="gzip", shuffle=True
        )
        file["spectrum"] = np.arange(9)
        file["group/label"] = "text"
    dataset = nl.open_dataset(path)
    assert sorted(dataset.meta["data_set"]) == ["group/packed", "plain"]
    for number, name in enumerate(dataset.meta["data_set"]):
        image, _ = opened(path, array, number)
        assert isinstance(image.source, StridedFileSource) == (name == "plain")
    assert set(dataset.left_out["original_filename"]) == {"spectrum", "group/label"}
    opened(path, array, dataset="plain")
    with pytest.raises(ValueError, match=r"'group/packed', 'plain'|'plain'"):
        nl.open_dataset(path, dataset="nothing")
    chunks = [image.source.chunk(0, (0, 0, 0)) for image in dataset.images]
    os.utime(path, (1, 1))
    for chunk in chunks:  # as a task of dask, which had its key before
        with pytest.raises(nl.ChunkReadError, match="changed since"):
            chunk.load()


def test_hdf5_that_another_program_has_locked_is_read_all_the_same(tmp_path):
    h5py, fcntl = pytest.importorskip("h5py"), pytest.importorskip("fcntl")
    path = tmp_path / "a.h5"
    array = values((6, 30, 40), "u2")
    with h5py.File(path, "w") as file:
        file.create_dataset("packed", data=array, chunks=(2, 16, 16))
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        opened(path, array)


def test_small_hdf5_chunks_are_put_together_and_those_of_no_data_set_are_blank():
    assert grown_chunks((64, 512, 512), (1, 16, 16), 2) == (1, 512, 512)
    assert grown_chunks((64, 512, 512), (4, 64, 64), 2) == (4, 256, 512)
    level = Hdf5Level(("there", ""), (2,), (3, 4), (0, 1), None, (1.0, 1.0))
    source = Hdf5Source(("a.h5", (0, 0)), [level], "a", ("t", "y", "x"), np.dtype(">u2"))
    blank = source.chunk(0, (1, 0, 0)).load()
    assert (blank.shape, blank.dtype, blank.any()) == ((1, 3, 4), np.dtype("=u2"), False)


def test_hdf5_axes_and_sizes(tmp_path):
    h5py = pytest.importorskip("h5py")
    array = values((2, 5, 6, 7, 3), "u2")
    for chunks in (None, (1, 2, 3, 4, 3)):
        path = tmp_path / f"{chunks}.h5"
        with h5py.File(path, "w") as file:
            made = file.create_dataset("exported_data", data=array, chunks=chunks)
            made.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "tzyxc"]})
            made.attrs["element_size_um"] = [0.5, 0.2, 0.1]
        image, _ = opened(path, np.moveaxis(array, -1, 1))
        assert image.axes == ("t", "c", "z", "y", "x")
        assert (image.scale, image.units) == (
            (1, 1, 0.5, 0.2, 0.1),
            (None, None, *("micrometer",) * 3),
        )


def test_imaris(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.ims"
    finest = values((2, 3, 4, 10, 12), "u2")
    coarse = finest[..., ::2, ::2]
    with h5py.File(path, "w") as file:
        for level, pixels in enumerate((finest, coarse)):
            padded = np.pad(pixels, [(0, 0)] * 3 + [(0, 6), (0, 4)])
            for time, channel in np.ndindex(2, 3):
                group = file.create_group(
                    f"DataSet/ResolutionLevel {level}/TimePoint {time}/Channel {channel}"
                )
                group.create_dataset(
                    "Data", data=padded[time, channel], chunks=(2, 8, 8), compression="gzip"
                )
                for axis, size in zip("ZYX", pixels.shape[2:], strict=True):
                    group.attrs[f"ImageSize{axis}"] = np.array(list(str(size)), "S1")
        image = file.create_group("DataSetInfo/Image")
        for axis, (low, high) in enumerate(((0, 24), (0, 10), (5, 9))):
            image.attrs[f"ExtMin{axis}"] = np.array(list(str(low)), "S1")
            image.attrs[f"ExtMax{axis}"] = np.array(list(str(high)), "S1")
        file["Thumbnail/Data"] = values((16, 64), "u1")
    image, dataset = opened(path, finest)
    assert len(dataset.images) == 1
    assert image.axes == ("t", "c", "z", "y", "x")
    np.testing.assert_array_equal(image.levels[1], coarse)
    assert (image.scale, image.translate) == ((1, 1, 1, 1, 2), (0, 0, 5.5, 0.5, 1))


# --- colors and letters

COLORS = np.random.default_rng(0).integers(0, 255, (15, 26, 3)).astype("u1")


@pytest.mark.parametrize("chunks", [None, (8, 13, 1)])
@pytest.mark.parametrize(
    ("mode", "axis"), [("INTERLACE_PIXEL", 2), ("INTERLACE_LINE", 1), ("INTERLACE_PLANE", 0)]
)
def test_color_images_of_the_specification_are_in_color(tmp_path, mode, axis, chunks):
    h5py = pytest.importorskip("h5py")
    stored = np.moveaxis(COLORS, -1, axis)
    if chunks:
        chunks = tuple(np.moveaxis(np.zeros(chunks, "?"), -1, axis).shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("image", data=stored, chunks=chunks)
        attributes = {"CLASS": "IMAGE", "IMAGE_SUBCLASS": "IMAGE_TRUECOLOR", "INTERLACE_MODE": mode}
        for name, value in attributes.items():
            dataset.attrs[name] = np.bytes_(value)
    with nl.open_dataset(tmp_path / "a.h5") as dataset:
        (image,) = dataset.images
        assert (image.axes, image.rgb) == (("y", "x", "s"), True)
        np.testing.assert_array_equal(image.data, COLORS)
        np.testing.assert_array_equal(nl.crop(image, np.s_[3:9, 4:20]), COLORS[3:9, 4:20])


def test_bytes_in_threes_are_colors_as_in_npy(tmp_path):
    h5py = pytest.importorskip("h5py")
    stack = np.stack([COLORS, COLORS[::-1]])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = stack
    with nl.open_dataset(tmp_path / "a.h5") as dataset:
        (image,) = dataset.images
        assert (image.axes, image.rgb) == (("z", "y", "x", "s"), True)
        np.testing.assert_array_equal(image.data, stack)


def test_letters_of_axes_may_be_capitals(tmp_path):
    h5py = pytest.importorskip("h5py")
    stored = np.arange(2 * 3 * 4 * 5, dtype="u2").reshape(2, 3, 4, 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("image", data=stored)
        for number, label in enumerate("XYCZ"):
            dataset.dims[number].label = label
    with nl.open_dataset(tmp_path / "a.h5") as dataset:
        (image,) = dataset.images
        assert image.axes == ("c", "z", "y", "x")
        np.testing.assert_array_equal(image.data, stored.transpose(2, 3, 1, 0))


def test_twenty_thousand_data_sets_cost_a_visit_each(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    from napari_lazyload.sources.hdf5 import open as opening

    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        pixels = np.zeros((4, 5), "u1")
        for number in range(20_000):
            file[f"g{number // 500}/d{number}"] = pixels
        file["g0/large"] = np.ones((40, 50), "u1")
    visited, described, reads = [], [], []
    find, describe, read = opening._find, opening._describe, h5py.Dataset.__getitem__
    monkeypatch.setattr(opening, "_find", lambda *args: visited.append(0) or find(*args))
    monkeypatch.setattr(
        opening, "_describe", lambda *args, **more: described.append(0) or describe(*args, **more)
    )
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda *args, **more: reads.append(0) or read(*args, **more)
    )
    with pytest.warns(nl.LazyLoadWarning, match="20,001 images; the first 64 are opened"):
        dataset = nl.open_dataset(tmp_path / "a.h5")
    assert (len(visited), len(described), len(reads)) == (20_001 + 40, 64, 0)
    assert dataset.images[0].name == "a.h5 g0/large"
    assert dataset.skipped == {"image": 20_001 - 64}
    one = nl.open_dataset(tmp_path / "a.h5", dataset="g3/d1999")
    assert len(described) == 65
    np.testing.assert_array_equal(one.images[0].data, pixels)
