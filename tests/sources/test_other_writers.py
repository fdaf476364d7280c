"""Binaries as software other than Python's writes them, by hand after the specification of each format."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

import napari_lazyload as nl


def values(shape, dtype="u2", seed=0):
    """Return values that use every bit of integers."""
    random, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind in "iu":
        return np.frombuffer(random.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape).copy()
    return random.random(shape).astype(dtype)


def opened(path, expected, number=0, **options):
    """Open a file, compare an image with what it should be, and return it with its dataset."""
    dataset = nl.open_dataset(path, **options)
    image = dataset.images[number]
    assert image.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(image.data, expected)
    part = tuple(slice(size // 3, size // 3 + max(1, size // 2)) for size in expected.shape[: image.spatial_ndim])
    np.testing.assert_array_equal(nl.crop(image, part), expected[part])
    return image, dataset


def refused(path, said, **options):
    with pytest.raises(nl.SourceOpenError, match=said):
        nl.open_dataset(path, **options)


# --- MRC -------------------------------------------------------------------------------------------------------------

LITTLE, BIG, NONE = (0x44, 0x44, 0, 0), (0x11, 0x11, 0, 0), (0, 0, 0, 0)
MODES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}


def mrc(path, array, mode, order="<", stamp=LITTLE, **fields):
    """Write an MRC file; `extra` are four-byte integers at positions of the header."""
    pytest.importorskip("mrcfile")
    from mrcfile.dtypes import HEADER_DTYPE

    header = np.zeros((), HEADER_DTYPE.newbyteorder(order))
    header["nz"], header["ny"], header["nx"] = array.shape
    header["mz"], header["my"], header["mx"] = array.shape
    header["mode"], header["machst"], header["ispg"], header["map"] = mode, stamp, 1, b"MAP "
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    extra = fields.pop("extra", {})
    for name, value in fields.items():
        header[name] = value
    block = bytearray(header.tobytes())
    for place, value in extra.items():
        block[place : place + 4] = struct.pack(f"{order}i", value)
    path.write_bytes(bytes(block) + array.astype(array.dtype.newbyteorder(order)).tobytes())
    return path


@pytest.mark.parametrize("stamp", [LITTLE, BIG, NONE], ids=["little", "big", "none"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", MODES)
def test_mrc_whose_stamp_is_wrong_or_missing(tmp_path, mode, order, stamp):
    for shape in ((4, 5, 6), (256, 3, 512)):
        array = values(shape, MODES[mode])
        opened(mrc(tmp_path / "a.mrc", array, mode, order, stamp), array)
    packed = tmp_path / "a.mrc.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.mrc").read_bytes()))
    opened(packed, array)


@pytest.mark.parametrize("order", ["<", ">"])
def test_mrc_of_bytes_that_have_no_sign(tmp_path, order):
    stamp = LITTLE if order == "<" else BIG
    path, array = tmp_path / "a.rec", values((4, 5, 6), "u1")
    signed = array.view("i1")
    for fields, expected in (
        ({}, signed),
        ({"extra": {152: 1146047817, 156: 0}}, array),
        ({"extra": {152: 1146047817, 156: 4 + 8}}, array),
        ({"extra": {152: 1146047817, 156: 1}}, signed),
        ({"dmin": 0, "dmax": 250, "dmean": 100}, array),
        ({"dmin": 0, "dmax": 127, "dmean": 100}, signed),
        ({"dmin": -128, "dmax": 127}, signed),
    ):
        _, dataset = opened(mrc(path, signed, 0, order, stamp, **fields), expected)
        assert dataset.meta.iloc[0]["stored_dtype"] == expected.dtype.name
    refused(mrc(path, signed, 0, order, stamp, extra={152: 1146047817, 156: 16}), "two pixels in a byte")


@pytest.mark.parametrize("each", [0, -2, 3])
def test_mrc_of_volumes_that_are_not_whole_is_one_volume(tmp_path, each):
    array = values((4, 5, 6), "f4")
    image, _ = opened(mrc(tmp_path / "a.map", array, 2, ispg=401, mz=each), array)
    assert image.axes == ("z", "y", "x")
