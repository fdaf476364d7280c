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


# --- FITS ------------------------------------------------------------------------------------------------------------

FITS = ["SIMPLE  =                    T", "BITPIX  =                   16", "NAXIS   =                    3"]
FITS += [f"NAXIS{number}  = {size:20}" for number, size in enumerate((6, 5, 4), 1)]


def fits(path, array, *cards, cut=0, behind=b""):
    pytest.importorskip("astropy")
    block = "".join(card.ljust(80) for card in (*FITS, *cards, "END")).encode("latin-1").ljust(2880)
    data = array.astype(">i2").tobytes().ljust(2880, b"\0")
    path.write_bytes((block + data)[: 5760 - cut] + behind)
    return path


@pytest.mark.parametrize("cut", [1, 100, 2880 - 240])
def test_fits_cut_behind_its_pixels_opens_and_says_so(tmp_path, cut):
    from napari_lazyload._cli_info import describe

    array = values((4, 5, 6), "i2")
    path = fits(tmp_path / "a.fits", array, cut=cut)
    said = f"expected 5,760 bytes .*, found {5760 - cut:,}; its pixels are whole, but it may be truncated"
    with pytest.warns(nl.LazyLoadWarning, match=said):
        _, dataset = opened(path, array)
    assert describe(dataset, [])["warnings"] == list(dataset.notes)
    assert len(dataset.notes) == 1
    with pytest.raises(nl.SourceOpenError, match="3,120 bytes as header 0 says, found 3,119 bytes"):
        nl.open_dataset(fits(path, array, cut=2880 - 240 + 1))


def test_fits_with_the_beginning_of_another_header_tells_what_was_left_out(tmp_path):
    array = values((4, 5, 6), "i2")
    _, dataset = opened(fits(tmp_path / "a.fits", array, behind=b"XTENSION= 'IMAGE   '"), array)
    assert dataset.skipped == {"bytes that are no header": 1}


@pytest.mark.parametrize("card", ["OBJECT  = 'never closed", "EXPTIME = 1,5", "lower   = 3", "=bad", "KEY     = (1,2)"])
def test_fits_with_a_card_that_cannot_be_read(tmp_path, card):
    array = values((4, 5, 6), "i2")
    _, dataset = opened(fits(tmp_path / "a.fits", array, card, "TELESCOP= 'a'"), array)
    assert dataset.meta.iloc[0]["TELESCOP"] == "a"


@pytest.mark.parametrize("card", ["BSCALE  = 1,5", "BZERO   = 'never closed", "BSCALE  = '2.0     '"])
def test_fits_whose_scaling_cannot_be_read_is_never_opened_unscaled(tmp_path, card):
    refused(fits(tmp_path / "a.fits", values((4, 5, 6), "i2"), card), "Unparsable card|a number for BSCALE")


def test_fits_images_of_one_name_are_told_apart(tmp_path):
    astropy = pytest.importorskip("astropy.io.fits")
    array = values((5, 6), "i2")
    units = [astropy.PrimaryHDU(), *(astropy.ImageHDU(array, name="SCI", ver=number) for number in (1, 2))]
    astropy.HDUList([*units, astropy.ImageHDU(array, name="ERR")]).writeto(tmp_path / "a.fits")
    with nl.open_dataset(tmp_path / "a.fits") as dataset:
        assert [image.name for image in dataset.images] == ["a.fits SCI 1", "a.fits SCI 2", "a.fits ERR"]
