"""What fits the size of a raw file, and the sketch of one plane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.sources.binary.raw import raw_source
from napari_lazyload.sources.binary.raw_guesses import Guess, guesses, plane_count, plane_sketch


@given(st.integers(0, 1 << 45))
def test_every_guess_fits_to_the_byte(size):
    found = guesses(size)
    assert len(found) == len(set(found)) <= 12
    for guess in found:
        assert (
            np.prod(guess.shape, dtype=object) * np.dtype(guess.dtype).itemsize + guess.offset
            == size
        )
        assert len(guess.shape) in (2, 3)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (640 * 480, Guess((480, 640), "uint8")),
        (512 * 512 * 3, Guess((512, 512, 3), "uint8")),
        (256**3, Guess((256, 256, 256), "uint8")),
        (7 * 2048 * 2048 * 2, Guess((7, 2048, 2048), "uint16")),
        (512 + 7 * 2048 * 2048 * 2, Guess((7, 2048, 2048), "uint16", 512)),
        (101 * 101 * 101 * 4, Guess((101, 101, 101), "float32")),
    ],
)
def test_the_likeliest_comes_first(size, expected):
    assert guesses(size)[0] == expected


def test_a_type_that_is_known_is_the_only_one():
    assert {guess.dtype for guess in guesses(4 * 64 * 64 * 4, "<i4")} == {"int32"}
    assert guesses(7) == []


def test_a_guess_says_how_to_write_it():
    assert str(Guess((3, 4), "uint8")) == "shape=(3, 4), dtype='uint8'"
    assert str(Guess((3, 4), "uint8", 512)) == "shape=(3, 4), dtype='uint8', offset=512"


@given(st.data())
def test_a_sketch_is_every_kth_pixel_of_its_plane(tmp_path_factory, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4)))
    dtype = data.draw(st.sampled_from(["<u2", ">f4", "u1"]))
    path = tmp_path_factory.mktemp("raw") / "a.raw"
    pixels = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    pixels.tofile(path)
    source = raw_source(str(path), {"dtype": dtype, "shape": shape})[1]
    side = data.draw(st.integers(1, 9))
    colors = source.meta.rgb
    planes = pixels.reshape(-1, *shape[-3 if colors else -2 :])
    assert plane_count(source) == len(planes)
    number = data.draw(st.integers(0, len(planes) - 1))
    plane = planes[number]
    rows, columns = (-(-size // side) for size in plane.shape[:2])
    np.testing.assert_array_equal(plane_sketch(source, number, side), plane[::rows, ::columns])
