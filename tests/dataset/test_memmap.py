"""`open_memmap`: raw files as a script describes them."""

from __future__ import annotations

import os
import pickle
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import napari_lazyload as nl
from napari_lazyload.sources.binary import read_strided


def values(shape, dtype="<u2", seed=0):
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


@pytest.fixture
def raw(tmp_path):
    """A function that writes bytes and returns their path."""

    def write(*parts):
        path = tmp_path / "a.raw"
        path.write_bytes(
            b"".join(part if isinstance(part, bytes) else part.tobytes() for part in parts)
        )
        return path

    return write


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    # A graph of more chunks of one pixel takes old dask minutes on a busy machine.
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=5)
    .map(tuple)
    .filter(lambda shape: prod(shape) <= 4096),
    dtype=st.sampled_from(["u1", ">u2", "<i4", ">f4", "<f8", "<c8", "?"]),
    order=st.sampled_from("CF"),
    offset=st.integers(0, 9),
    unknown=st.booleans(),
    chunks=st.sampled_from(["auto", 1, 3, -1, "100 B"]),
)
def test_it_is_what_numpy_maps(raw, shape, dtype, order, offset, unknown, chunks):
    path = raw(
        bytes(offset),
        np.random.default_rng(1).integers(
            0, 2, np.prod(shape) * np.dtype(dtype).itemsize, np.uint8
        ),
    )
    given_shape = (-1, *shape[1:]) if unknown else shape
    image = nl.open_memmap(
        path, dtype=dtype, shape=given_shape, offset=offset, order=order, chunks=chunks
    )
    expected = np.array(np.memmap(path, dtype, "r", offset, shape, order))
    assert image.data.shape == shape
    assert (
        np.asarray(image.data).tobytes()
        == expected.astype(expected.dtype.newbyteorder("=")).tobytes()
    )
    assert image.data.compute(scheduler="threads").tobytes() == np.asarray(image.data).tobytes()


def test_the_shape_is_worked_out_from_the_size(raw):
    array = values((5, 6, 7))
    path = raw(b"head", array)
    flat = nl.open_memmap(path, dtype="<u2", offset=4)
    assert (flat.shape, flat.axes) == ((210,), ("x",))
    np.testing.assert_array_equal(flat.data, array.ravel())
    np.testing.assert_array_equal(
        nl.open_memmap(path, dtype="<u2", shape=(-1, 42), offset=4).data, array.reshape(5, 42)
    )
    np.testing.assert_array_equal(
        nl.open_memmap(path, dtype="<u2", shape=210, offset=4).data, array.ravel()
    )
    # Not all of the file, where the shape says so.
    np.testing.assert_array_equal(
        nl.open_memmap(path, dtype="<u2", shape=(2, 6, 7), offset=4).data, array[:2]
    )
    with pytest.raises(
        nl.SourceOpenError,
        match="expected 3 bytes and then whole pieces of 2 bytes, found 424 bytes, 1 of",
    ):
        nl.open_memmap(path, dtype="<u2", offset=3)


def test_frames_with_a_header_before_each(raw):
    records = np.zeros(9, [("head", "V13"), ("time", "<f8"), ("pixels", ">u2", (8, 10))])
    records["pixels"] = values((9, 8, 10))
    records["time"] = np.arange(9)
    path = raw(b"file header", records)
    image = nl.open_memmap(path, dtype=records.dtype, offset=11, key="pixels")
    assert (image.shape, image.axes, image.dtype) == ((9, 8, 10), ("z", "y", "x"), np.uint16)
    np.testing.assert_array_equal(image.data, records["pixels"])
    np.testing.assert_array_equal(
        nl.open_memmap(path, dtype=records.dtype, offset=11, key="time").data, np.arange(9)
    )
    for key, message in (
        (None, "name one of the fields"),
        ("image", "names no field"),
        ("pixels.x", "names no field"),
    ):
        with pytest.raises((ValueError, nl.SourceOpenError), match=message):
            nl.open_memmap(path, dtype=records.dtype, offset=11, key=key)


def test_frames_scattered_over_a_grid(raw):
    frames = values((5, 6, 7), ">i2")
    path = raw(b"ab", frames)
    positions = [(0, 0), (1, 2), (2, 1), (0, 2), (2, 2)]
    expected = np.zeros((3, 3, 6, 7), "i2")
    for frame, place in zip(frames, positions, strict=True):
        expected[place] = frame
    for chunks in ("auto", (1, 1, 6, 7), (2, 3, 4, 7), -1):
        image = nl.open_memmap(
            path, dtype=">i2", shape=(3, 3, 6, 7), offset=2, positions=positions, chunks=chunks
        )
        np.testing.assert_array_equal(image.data, expected)
    record = np.dtype((">i2", (6, 7)))
    records = np.dtype([("pixels", record)])
    image = nl.open_memmap(
        path, dtype=records, key="pixels", offset=2, positions=np.array([4, 3, 2, 1, 0])
    )
    np.testing.assert_array_equal(image.data, frames[::-1])
    one = nl.open_memmap(path, dtype=">i2", shape=(8, 6, 7), offset=2, positions=[0, 2, 4, 6, 7])
    assert np.asarray(one.data)[[1, 3, 5]].max() == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"positions": [(0, 0), (0, 0)], "shape": (2, 2, 6, 7)},
            "two frames cannot lie at the same place",
        ),
        ({"positions": [(0, 0), (0, 5)], "shape": (2, 2, 6, 7)}, r"positions reach \(0, 5\)"),
        ({"positions": [(0, -1)], "shape": (2, 2, 6, 7)}, "at least 0"),
        ({"positions": [0.5], "shape": (2, 6, 7)}, "whole numbers"),
        ({"positions": [], "shape": (2, 6, 7)}, "whole numbers"),
        ({"positions": [(1 << 40,)], "shape": (1 << 41, 6, 7)}, "more than"),
        ({"shape": (2, 0)}, "positive sizes"),
        ({"shape": (-1, -1)}, "one may be -1"),
        ({"shape": (2.5, 2)}, "whole numbers"),
        ({"shape": ()}, "positive sizes"),
        ({"offset": -1}, "at least 0"),
        ({"offset": 1.5}, "whole numbers"),
        ({"order": "K"}, "'C' .* or 'F'"),
        ({"dtype": "uint17"}, "no type of NumPy"),
        ({"dtype": object}, "not objects"),
        ({"chunks": "lots"}, "16 MiB"),
        ({"chunks": (1, 2)}, "expected 3 sizes"),
    ],
)
def test_what_makes_no_sense_is_a_value_error_that_says_why(raw, more, message):
    path = raw(values((5, 6, 7)))
    with pytest.raises(ValueError, match=message):
        nl.open_memmap(path, **{"dtype": "<u2", "shape": (5, 6, 7), **more})


def test_a_file_that_does_not_fit_is_refused_with_both_sizes(raw, tmp_path):
    path = raw(values((5, 6, 7)))
    with pytest.raises(nl.SourceOpenError, match=r"expected 422 bytes .* found 420 bytes") as info:
        nl.open_memmap(path, dtype="<u2", shape=(5, 6, 7), offset=2)
    assert info.value.path == str(path)
    with pytest.raises(nl.SourceOpenError, match="found 420 bytes"):
        nl.open_memmap(path, dtype="<u2", shape=(1 << 30, 1 << 30, 1 << 20))
    with pytest.raises(nl.SourceOpenError, match="nothing there"):
        nl.open_memmap(tmp_path / "none.raw", dtype="u1")
    with pytest.raises(nl.SourceOpenError, match="a folder"):
        nl.open_memmap(tmp_path, dtype="u1")
    (tmp_path / "empty.raw").touch()
    with pytest.raises(nl.SourceOpenError, match="found 0 bytes"):
        nl.open_memmap(tmp_path / "empty.raw", dtype="u1")


def test_a_replaced_file_shows_its_new_pixels_and_a_cut_one_fails(raw):
    image = nl.open_memmap(
        raw(values((5, 60, 70))), dtype="<u2", shape=(5, 60, 70), chunks=(1, 60, 70)
    )
    np.testing.assert_array_equal(image.data, values((5, 60, 70)))
    path = raw(values((5, 60, 70), seed=1))
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(image.data, values((5, 60, 70), seed=1))
    os.truncate(path, 4 * 60 * 70 * 2 - 1)
    assert np.asarray(image.data[2]).shape == (60, 70)
    with pytest.raises(nl.ChunkReadError, match="ends at byte 33,599"):
        np.asarray(image.data[3])


def test_a_terabyte_opens_by_its_size_alone(tmp_path, monkeypatch):
    pieces = []
    original = read_strided._read_into
    monkeypatch.setattr(
        read_strided,
        "_read_into",
        lambda file, at, to: (pieces.append(to.nbytes), original(file, at, to)),
    )
    path = tmp_path / "vol_65536x2048x4096_uint16.raw"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert (image.nbytes, pieces) == (1 << 40, [])
        assert len(dataset.to_layer_data()) == 1
        assert len(dataset.meta) == 1
        assert pieces == []
        plane = image.data[40_000]
        assert len(pickle.dumps(plane)) < 20_000
        assert np.asarray(plane).max() == 0
        assert sum(pieces) == 2048 * 4096 * 2
        assert len(pickle.dumps(image)) < 20_000


@pytest.mark.parametrize(
    "read", [np.asarray, lambda box: box.compute(), None], ids=["numpy", "dask", "crop"]
)
def test_a_box_of_a_large_volume_reads_the_pages_of_its_rows(tmp_path, monkeypatch, read):
    pieces = []
    original = read_strided._read_into
    monkeypatch.setattr(
        read_strided,
        "_read_into",
        lambda file, at, to: (pieces.append((at, to.nbytes)), original(file, at, to)),
    )
    path = tmp_path / "a.raw"
    shape, box = (6104, 2048, 4096), (slice(1000, 1064), slice(300, 1324), slice(700, 1724))
    with path.open("wb") as file:
        file.truncate(2 * np.prod(shape))
    image = nl.open_memmap(path, dtype="<u2", shape=shape)
    found = nl.crop(image, box) if read is None else read(image.data[box])
    assert found.shape == (64, 1024, 1024)
    rows = (
        np.add.outer(np.arange(1000, 1064) * 2048, np.arange(300, 1324)) * 4096 + 700
    ).ravel() * 2
    pages = ((rows + 2047) // 4096 - rows // 4096 + 1).sum() * 4096
    starts, sizes = np.array(pieces).T
    assert ((starts + sizes - 1) // 4096 - starts // 4096 + 1).sum() * 4096 <= 1.1 * pages


def test_ten_million_chunks_are_counted_not_listed(tmp_path):
    path = tmp_path / "a.raw"
    with path.open("wb") as file:
        file.truncate(10_000_000 * 64)
    image = nl.open_memmap(path, dtype="u1", shape=(10_000_000, 8, 8), chunks=(1, 8, 8))
    assert image.data.npartitions == 10_000_000
    assert len(pickle.dumps(image.data[9_999_999])) < 20_000
    assert np.asarray(image.data[9_999_999]).shape == (8, 8)


def test_the_home_folder_is_written_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.raw").write_bytes(bytes(6))
    assert nl.open_memmap("~/a.raw", dtype="u1").shape == (6,)


def test_the_sample_volume_is_read_in_place_with_its_scale(tmp_path):
    from napari_lazyload import sample_data

    path = sample_data.make_volume(tmp_path / "volume", size=32)
    with nl.open_dataset(path) as dataset:
        (image,) = dataset.images
        assert (image.shape, image.dtype, image.scale) == ((8, 32, 32), np.uint16, (1.0, 0.5, 0.5))
        assert image.units == ("micrometer",) * 3
        stored = np.fromfile(path.with_suffix(".raw"), "<u2").reshape(8, 32, 32)
        np.testing.assert_array_equal(image.data, stored)
        assert stored.max() > 1000
