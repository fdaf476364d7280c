"""ESRI's images, written by hand after the description of their headers."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lazyload as nl

PIXELS = np.random.default_rng(0).integers(-30000, 30000, (3, 11, 13))
AXES = {"BSQ": (0, 1, 2), "BIL": (1, 0, 2), "BIP": (1, 2, 0)}
TYPES = {
    "u1": "NBITS 8",
    "i1": "NBITS 8\nPIXELTYPE SIGNEDINT",
    "<u2": "NBITS 16\nBYTEORDER I\nPIXELTYPE UNSIGNEDINT",
    ">i2": "nbits   16\nbyteorder M\npixeltype signedint",
    ">u2": "NBITS 16",
    "<i4": "NBITS 32\nBYTEORDER LSBFIRST\nPIXELTYPE SIGNEDINT",
    "<f4": "NBITS 32\nBYTEORDER I\nPIXELTYPE FLOAT",
    ">f8": "NBITS 64\nBYTEORDER M\nPIXELTYPE FLOAT",
}


def written(folder, pixels, lines, suffix=".bil", start=b""):
    (folder / "a.hdr").write_text(lines)
    (folder / f"a{suffix}").write_bytes(start + np.ascontiguousarray(pixels).tobytes())
    return folder / f"a{suffix}"


def opened(path, expected, **options):
    dataset = nl.open_dataset(path, **options)
    (image,) = dataset.images
    assert image.axes == ("c", "y", "x")[-expected.ndim :]
    assert image.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(image.data, expected)
    np.testing.assert_array_equal(image.data[..., 2:7, 3:9], expected[..., 2:7, 3:9])
    return image, dataset


def test_bytes_behind_the_pixels_are_said(tmp_path):
    path = written(tmp_path, PIXELS.astype("u1"), "NROWS 11\nNCOLS 13\nLAYOUT BSQ\n")
    with pytest.warns(nl.LazyLoadWarning, match="286 bytes behind the pixels"):
        opened(path, PIXELS[0].astype("u1"))
    opened(path, PIXELS[0].astype("u1"), trailing=True)


def refused(path, said):
    with pytest.raises(nl.SourceOpenError, match=said):
        nl.open_dataset(path)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", AXES)
def test_layouts_and_types(tmp_path, layout, dtype):
    pixels = PIXELS.astype(dtype)
    lines = f"NROWS 11\nNCOLS 13\nNBANDS 3\nLAYOUT {layout}\n{TYPES[dtype]}\nSKIPBYTES 7\n"
    path = written(
        tmp_path, pixels.transpose(AXES[layout]), lines, f".{layout.lower()}", b"head..."
    )
    opened(path, pixels)
    opened(tmp_path / "a.hdr", pixels)


def test_what_a_header_leaves_out(tmp_path):
    lines = "ncols 13\r\nnrows 11\r\n"
    opened(written(tmp_path, PIXELS[0].astype("u1"), lines), PIXELS[0].astype("u1"))
    signed = PIXELS[0].astype(">i2")  # as WorldClim has it
    opened(written(tmp_path, signed, lines + "NBITS 16\nNODATA -9999\n"), signed)


def test_rows_and_bands_with_bytes_between_them(tmp_path):
    pixels, lines = PIXELS.astype("u1"), "NROWS 11\nNCOLS 13\nNBANDS 3\n"
    wide = np.zeros((11, 3, 16), "u1")
    wide[..., :13] = pixels.transpose(1, 0, 2)
    rows = np.zeros((11, 60), "u1")
    rows[:, :48] = wide.reshape(11, 48)
    opened(
        written(tmp_path, rows, f"{lines}BANDROWBYTES 16\nTOTALROWBYTES 60\n"),
        pixels,
    )
    rows = np.zeros((11, 50), "u1")
    rows[:, :39] = pixels.transpose(1, 2, 0).reshape(11, 39)
    path = written(tmp_path, rows, f"{lines}LAYOUT BIP\nTOTALROWBYTES 50\n")
    opened(path, pixels)
    bands = np.zeros((3, 150), "u1")
    bands[:, :143] = pixels.reshape(3, 143)
    path = written(tmp_path, bands, f"{lines}LAYOUT BSQ\nBANDGAPBYTES 7\n")
    opened(path, pixels)


def test_a_float_grid(tmp_path):
    pixels = PIXELS[0].astype("<f4") / 7
    lines = "ncols 13\nnrows 11\nxllcorner 4.5\nyllcorner 6\ncellsize 0.25\nNODATA_value -9999\n"
    path = written(tmp_path, pixels, f"{lines}byteorder LSBFIRST\n", ".flt")
    image, dataset = opened(path, pixels)
    assert image.scale == (0.25, 0.25)
    assert dataset.meta["nodata_value"].tolist() == ["-9999"]
    opened(tmp_path / "a.hdr", pixels)


def test_sizes_are_those_of_pixels_and_the_rest_is_in_the_table(tmp_path):
    lines = (
        "NROWS 11\nNCOLS 13\nNBANDS 3\nULXMAP -179.5\nULYMAP 89.5\nXDIM 0.5\nYDIM 0.25\nNODATA 7\n"
    )
    image, dataset = opened(
        written(tmp_path, PIXELS.astype("u1").transpose(1, 0, 2), lines), PIXELS.astype("u1")
    )
    assert image.scale == (1, 0.25, 0.5)
    found = dataset.meta.iloc[0]
    assert (found["ulxmap"], found["ulymap"], found["nodata"]) == ("-179.5", "89.5", "7")


def test_it_is_not_taken_for_another_header(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    pixels = PIXELS.astype("<i2")
    nibabel.AnalyzeImage(pixels, np.eye(4)).to_filename(tmp_path / "b.img")
    np.testing.assert_array_equal(nl.open_dataset(tmp_path / "b.hdr").images[0].data, pixels.T)
    pytest.importorskip("spectral")
    lines = (
        "ENVI\ndescription = {NROWS 11\nNCOLS 13\n}\nsamples = 13\nlines = 11\nbands = 3\n"
        "data type = 2\ninterleave = bsq\nbyte order = 0\n"
    )
    opened(written(tmp_path, pixels, lines, ".bsq"), pixels)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("NBITS 4", "8, 16, 32 or 64 bits"),
        ("NBITS 16\nPIXELTYPE FLOAT", "16 bits, FLOAT"),
        ("NBITS x", "whole number for NBITS"),
        ("LAYOUT TILED", "LAYOUT of BIL, BIP, BSQ"),
        ("BYTEORDER X", "BYTEORDER of I or M"),
        ("TOTALROWBYTES 3", "TOTALROWBYTES of at least 13"),
        ("NBANDS 0", "at least one pixel"),
        ("SKIPBYTES -1", "whole number for SKIPBYTES"),
        ("SKIPBYTES 1", "truncated"),
        ("NROWS 99999999999", "truncated"),
    ],
)
def test_what_is_refused(tmp_path, line, said):
    lines = f"NROWS 11\nNCOLS 13\n{line}\n"
    refused(written(tmp_path, PIXELS[0].astype("u1"), lines), said)


def test_data_that_is_not_there(tmp_path):
    (tmp_path / "a.hdr").write_text("NROWS 11\nNCOLS 13\n")
    refused(tmp_path / "a.hdr", r"its data file .*a\.bil")
