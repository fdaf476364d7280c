"""Netpbm's images and PFM: Pillow's pixels where it reads them exactly, else those written."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

import napari_lazyload as nl

RNG = np.random.default_rng(0)


def opened(path, expected):
    image = nl.open_dataset(path).images[0]
    found = np.asarray(image.data)
    assert image.dtype == found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    for index in (np.s_[..., 2:5, 1:4], np.s_[-1], np.s_[::-2]):
        np.testing.assert_array_equal(image.data[index], expected[index])
    again = pickle.loads(pickle.dumps(image.levels[0]))
    np.testing.assert_array_equal(again, expected)
    return image


@pytest.mark.parametrize(
    ("name", "shape", "axes"),
    [("a.pgm", (7, 9), ("y", "x")), ("a.ppm", (7, 9, 3), ("y", "x", "s"))],
)
def test_bytes_as_pillow_reads_them(tmp_path, name, shape, axes):
    pixels = RNG.integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    assert opened(tmp_path / name, pixels).axes == axes


@pytest.mark.parametrize("name", ["a.pbm", "a.pnm"])
def test_bits_as_pillow_reads_them(tmp_path, name):
    pixels = RNG.integers(0, 2, (7, 19)).astype(bool)
    Image.fromarray(pixels).save(tmp_path / "a.pbm")
    (tmp_path / "a.pbm").rename(tmp_path / name)
    with Image.open(tmp_path / name) as reference:
        opened(tmp_path / name, np.asarray(reference))


def test_text(tmp_path):
    gray = RNG.integers(0, 60000, (5, 6)).astype(np.uint16)
    numbers = " ".join(map(str, gray.ravel()))
    (tmp_path / "a.pgm").write_text(f"P2 # gray\n6 # wide\n5\n60000\n{numbers}\n")
    opened(tmp_path / "a.pgm", gray)
    color = RNG.integers(0, 256, (5, 6, 3), np.uint8)
    numbers = "\n".join(map(str, color.ravel()))
    (tmp_path / "a.ppm").write_text(f"P3\n6 5\n255\n{numbers}")
    assert opened(tmp_path / "a.ppm", color).rgb
    bits = RNG.integers(0, 2, (5, 6)).astype(bool)
    digits = "".join("0" if bit else "1" for bit in bits.ravel())
    (tmp_path / "a.pbm").write_text(f"P1\n# bits\n6 5\n{digits[:9]}\n# more\n{digits[9:]}\n")
    opened(tmp_path / "a.pbm", bits)


@pytest.mark.parametrize("samples", [1, 3])
def test_sixteen_bits_are_in_network_order(tmp_path, samples):
    pixels = RNG.integers(0, 65536, (6, 7, samples)[: 2 + (samples > 1)]).astype(">u2")
    kind = "P5" if samples == 1 else "P6"
    (tmp_path / "a.pnm").write_bytes(f"{kind}\n7 6\n65535\n".encode() + pixels.tobytes())
    opened(tmp_path / "a.pnm", pixels.astype("u2"))


def test_values_stay_below_the_largest_that_the_header_names(tmp_path):
    pixels = RNG.integers(0, 100, (6, 7), np.uint8)
    (tmp_path / "a.pgm").write_bytes(b"P5 7 6 99 " + pixels.tobytes())
    opened(tmp_path / "a.pgm", pixels)
    assert nl.open_dataset(tmp_path / "a.pgm").meta["largest"].tolist() == [99]


@pytest.mark.parametrize(
    ("kind", "depth", "axes"),
    [
        ("GRAYSCALE", 1, ("y", "x")),
        ("GRAYSCALE_ALPHA", 2, ("c", "y", "x")),
        ("RGB", 3, ("y", "x", "s")),
        ("RGB_ALPHA", 4, ("y", "x", "s")),
        ("bands of a satellite", 7, ("c", "y", "x")),
    ],
)
def test_pam(tmp_path, kind, depth, axes):
    pixels = RNG.integers(0, 256, (6, 7, depth), np.uint8)
    head = (
        f"P7\n# made here\nWIDTH 7\nHEIGHT 6\nDEPTH {depth}\nMAXVAL 255\nTUPLTYPE {kind}\nENDHDR\n"
    )
    (tmp_path / "a.pam").write_bytes(head.encode() + pixels.tobytes())
    expected = pixels if axes[-1] == "s" else np.moveaxis(pixels, -1, 0)
    assert opened(tmp_path / "a.pam", expected[0] if depth == 1 else expected).axes == axes


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["Pf", "PF"])
def test_pfm_begins_at_the_bottom(tmp_path, order, kind):
    shape = (40, 70) if kind == "Pf" else (40, 70, 3)
    pixels = RNG.random(shape).astype("f4")
    scale = "-2.5" if order == "<" else "2.5"
    stored = pixels[::-1].astype(f"{order}f4").tobytes()
    (tmp_path / "a.pfm").write_bytes(f"{kind}\n70 40\n{scale}\n".encode() + stored)
    opened(tmp_path / "a.pfm", pixels)
    assert nl.open_dataset(tmp_path / "a.pfm").meta["scale_factor"].tolist() == [2.5]


def test_images_behind_each_other_are_a_stack(tmp_path):
    pixels = RNG.integers(0, 256, (4, 6, 7), np.uint8)
    (tmp_path / "a.pgm").write_bytes(b"".join(b"P5\n7 6\n255\n" + one.tobytes() for one in pixels))
    assert opened(tmp_path / "a.pgm", pixels).axes == ("t", "y", "x")


def test_a_folder_of_them_is_a_stack(tmp_path):
    pixels = RNG.integers(0, 256, (12, 6, 7), np.uint8)
    for number, frame in enumerate(pixels):
        (tmp_path / f"f{number}.pgm").write_bytes(b"P5\n7 6\n255\n" + frame.tobytes())
    np.testing.assert_array_equal(nl.open_dataset(tmp_path).images[0].data, pixels)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (b"P5\n7 6\n255\n" + bytes(41), "expected 53 bytes as its header says, found 52"),
        (b"P9\n7 6\n255\n" + bytes(42), "a file that begins with P1 to P7"),
        (b"P5\n7\n", "width, height and the largest value"),
        (b"P5\n7 -6\n255\n" + bytes(42), "a whole number in its header"),
        (b"P5\n7 6\n70000\n" + bytes(84), "a largest value of 1 to 65,535"),
        (b"P7\nWIDTH 7\nHEIGHT 6\n", "a header that ends with ENDHDR"),
        (b"P7\nWIDTH 7\nENDHDR\n", "a whole number in its header"),
        (b"Pf\n7 6\n0\n" + bytes(168), "a scale other than 0"),
        (b"Pf\n7 6\nnan\n" + bytes(168), "a scale other than 0"),
        (b"P5\n" + b"9" * 12 + b" " + b"9" * 12 + b"\n255\n", "8 EiB"),
        (b"P2\n7000 6000\n255\n1 2 3", "which cannot hold them"),
        (b"P4\n700 600\n" + bytes(5), "as its header says"),
        (b"P1\n70 60\n0101", "as its header says"),
    ],
)
def test_what_is_damaged_says_how(tmp_path, block, said):
    (tmp_path / "a.pnm").write_bytes(block)
    with pytest.raises(nl.SourceOpenError, match=said):
        nl.open_dataset(tmp_path / "a.pnm")


def test_bytes_behind_the_pixels_are_said(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5\n7 6\n255\n" + bytes(50))
    with pytest.warns(nl.LazyLoadWarning, match="8 bytes"):
        nl.open_dataset(tmp_path / "a.pgm")
