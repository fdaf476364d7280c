"""Netpbm's images: the pixels of Pillow where it has them as stored, and of NumPy elsewhere."""

from __future__ import annotations

import pickle
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import napari_lazyload as nl
from napari_lazyload.sources.binary import pnm

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (11, 13), "u1")
WORDS = RNG.integers(0, 1 << 16, (11, 13), "u2")
COLORS = RNG.integers(0, 256, (11, 13, 3), "u1")
BITS = RNG.integers(0, 2, (11, 13), "u1")
FLOATS = RNG.normal(size=(11, 13)).astype("f4")


def text(values):
    return " ".join(map(str, values.ravel().tolist())).encode()


def opened(path, expected, axes="yx", **options):
    image = nl.open_dataset(path, **options).images[0]
    assert image.axes == tuple(axes)
    assert image.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(image.data, expected)
    part = (slice(3, 8), slice(2, 9))
    if len(axes) == 2 or axes[-1] == "s":
        np.testing.assert_array_equal(image.data[part], expected[part])
        np.testing.assert_array_equal(image.data[::2, 1::3], expected[::2, 1::3])
    again = pickle.loads(pickle.dumps(image.levels[0]))
    np.testing.assert_array_equal(again, expected)
    return image


KINDS = {
    "P1": (b"P1\n# made by hand\n13 11\n" + text(BITS), ".pbm"),
    "P1 without blanks": (b"P1 13 11\n" + text(BITS).replace(b" ", b""), ".pbm"),
    "P2": (b"P2\n13 11 255\n" + text(BYTES) + b"\n", ".pgm"),
    "P3": (b"P3\n13\n11\n255\n" + text(COLORS), ".ppm"),
    "P4": (b"P4\n13 11\n" + np.packbits(BITS, axis=1).tobytes(), ".pbm"),
    "P5": (b"P5 # of\n# a\n13 # b\n11\n255\n" + BYTES.tobytes(), ".pgm"),
    "P5 of words": (b"P5\n13 11\n65535\n" + WORDS.astype(">u2").tobytes(), ".pgm"),
    "P6": (b"P6\n13 11\n255\n" + COLORS.tobytes(), ".ppm"),
    "Pf": (b"Pf\n13 11\n-1.0\n" + FLOATS[::-1].astype("<f4").tobytes(), ".pfm"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("common", [False, True], ids=["own", "pnm"])
def test_it_is_what_pillow_reads(tmp_path, kind, common):
    content, suffix = KINDS[kind]
    path = tmp_path / ("a.pnm" if common else f"a{suffix}")
    path.write_bytes(content)
    expected = np.asarray(Image.open(BytesIO(content)))
    if kind == "P5 of words":  # Pillow has them as 32 bits
        expected = expected.astype("u2")
    opened(path, expected, "yxs" if expected.ndim == 3 else "yx")


def test_what_pillow_writes(tmp_path):
    for name, pixels in [("a.pgm", BYTES), ("a.ppm", COLORS), ("a.pfm", FLOATS)]:
        Image.fromarray(pixels).save(tmp_path / name)
        opened(tmp_path / name, pixels, "yxs"[: pixels.ndim])
    Image.fromarray(BITS.astype(bool)).save(tmp_path / "a.pbm")
    opened(tmp_path / "a.pbm", BITS.astype(bool))


@pytest.mark.parametrize("scale", ["-1.0", "0.25", "1e-3", "-255"])
@pytest.mark.parametrize("kind", ["Pf", "PF"])
def test_the_scale_of_pfm_is_its_byte_order_and_is_not_applied(tmp_path, kind, scale):
    pixels = FLOATS if kind == "Pf" else RNG.random((11, 13, 3)).astype("f4")
    order = "<" if scale.startswith("-") else ">"
    content = f"{kind}\n13 11\n{scale}\n".encode() + pixels[::-1].astype(f"{order}f4").tobytes()
    (tmp_path / "a.pfm").write_bytes(content)
    opened(tmp_path / "a.pfm", pixels, "yxs"[: pixels.ndim])
    assert nl.open_dataset(tmp_path / "a.pfm").meta["scale"].tolist() == [float(scale)]


@pytest.mark.parametrize(
    ("depth", "tuple_type", "axes"),
    [
        (1, "BLACKANDWHITE", "yx"),
        (1, "", "yx"),
        (2, "GRAYSCALE_ALPHA", "cyx"),
        (3, "RGB", "yxs"),
        (4, "RGB_ALPHA", "yxs"),
        (4, "CMYK", "cyx"),
        (3, "", "cyx"),
        (7, "bands", "cyx"),
    ],
)
@pytest.mark.parametrize("most", [255, 4095])
def test_pam(tmp_path, depth, tuple_type, axes, most):
    pixels = RNG.integers(0, most + 1, (11, 13, depth)).astype("u1" if most < 256 else ">u2")
    lines = ["P7", "# a comment", f"WIDTH 13\nHEIGHT 11\nDEPTH {depth}", f"MAXVAL {most}"]
    lines += [f"TUPLTYPE {tuple_type}"] if tuple_type else []
    (tmp_path / "a.pam").write_bytes("\n".join([*lines, "ENDHDR\n"]).encode() + pixels.tobytes())
    expected = {"yx": pixels[..., 0], "yxs": pixels, "cyx": np.moveaxis(pixels, 2, 0)}[axes]
    image = opened(tmp_path / "a.pam", expected, axes)
    assert image.axes == tuple(axes)


def test_the_largest_value_gives_the_contrast_and_is_kept(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 13 11 1023\n" + (WORDS % 1024).astype(">u2").tobytes())
    dataset = nl.open_dataset(tmp_path / "a.pgm")
    np.testing.assert_array_equal(dataset.images[0].data, WORDS % 1024)
    assert dataset._opened.sources[0].meta.contrast_limits == (0, 1023)
    assert dataset.meta["maxval"].tolist() == [1023]


def test_images_behind_one_another_are_frames(tmp_path):
    frames = RNG.integers(0, 256, (5, 11, 13), "u1")
    content = b"".join(b"P5\n13 11\n255\n" + frame.tobytes() for frame in frames)
    (tmp_path / "a.pgm").write_bytes(content)
    opened(tmp_path / "a.pgm", frames, "tyx")
    other = content[: len(content) // 5] + b"P5\n11 13\n255\n" + frames[0].tobytes()
    (tmp_path / "b.pgm").write_bytes(other)
    with pytest.warns(nl.LazyLoadWarning, match="behind the pixels are ignored"):
        opened(tmp_path / "b.pgm", frames[0])
    opened(tmp_path / "b.pgm", frames[0], trailing=True)


def test_a_folder_is_a_stack(tmp_path):
    for number in range(11):
        Image.fromarray(BYTES + np.uint8(number)).save(tmp_path / f"{number}.pgm")
    expected = np.stack([BYTES + np.uint8(number) for number in range(11)])
    image = nl.open_dataset(tmp_path).images[0]
    np.testing.assert_array_equal(image.data, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_refused_or_fails(tmp_path, kind):
    content, suffix = KINDS[kind]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content[:-20])
    with pytest.raises((nl.SourceOpenError, nl.ChunkReadError), match=r"bytes|digits|numbers"):
        np.asarray(nl.open_dataset(path).images[0].data)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"P5\n13 11\n0\n", "MAXVAL of 1 to 65535, found 0"),
        (b"P5\n13 11\n70000\n", "MAXVAL of 1 to 65535"),
        (b"P5\n-13 11\n255\n", "begins with"),
        (b"P5\n0 11\n255\n", "at least one pixel"),
        (b"P5\n999999999 999999999\n255\n", "truncated"),
        (b"P4\n999999999 999999999\n", "truncated"),
        (b"P2\n99999 99999\n255\n1", "at most 2 GiB"),
        (b"Pf\n13 11\n0\n", "scale that is not 0"),
        (b"P7\nWIDTH 13\nHEIGHT 11\nMAXVAL 255\nENDHDR\n", "DEPTH, found none"),
        (b"P7 332\n#XVVERSION\n", "begins with"),
        (b"StartFontMetrics", "begins with"),
        (b"", "begins with"),
    ],
)
def test_what_is_refused(tmp_path, content, said):
    (tmp_path / "a.pnm").write_bytes(content)
    with pytest.raises(nl.SourceOpenError, match=re.escape(said)):
        nl.open_dataset(tmp_path / "a.pnm")


def test_views_read_their_own_rows(tmp_path, monkeypatch):
    pixels = RNG.normal(size=(3000, 1000)).astype("f4")
    (tmp_path / "a.pfm").write_bytes(b"Pf\n1000 3000\n-1\n" + pixels[::-1].tobytes())
    image = nl.open_dataset(tmp_path / "a.pfm").images[0]
    assert len(image.chunks[0]) > 4
    read = []
    read_strided = pnm.read_strided

    def counted(path, offset, target, strides):
        read.append(target.nbytes)
        read_strided(path, offset, target, strides)

    monkeypatch.setattr(pnm, "read_strided", counted)
    np.testing.assert_array_equal(image.data[5:8], pixels[5:8])
    assert sum(read) < pixels.nbytes / 4
