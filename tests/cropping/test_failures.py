"""Crops and exports of a folder with broken files: stop, blank, or left out."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.core.errors import ChunkReadError, LazyLoadWarning


@pytest.fixture
def broken(tmp_path, write_folder):
    """Return a folder of six frames of which the second and third are cut short, and its pixels."""
    folder = tmp_path / "a"
    write_folder(folder, 6)
    with nl.open_dataset(folder) as dataset:
        pixels = np.asarray(dataset.images[0].data)
    for path in sorted(folder.iterdir())[1:3]:
        path.write_bytes(path.read_bytes()[:-20])
    return folder, pixels


@pytest.fixture
def image(broken):
    with nl.open_dataset(broken[0]) as dataset:
        yield dataset.images[0]


@pytest.mark.parametrize("on_error", [None, "raise"])
def test_a_crop_stops_at_what_cannot_be_read(image, on_error):
    with pytest.raises(ChunkReadError):
        nl.crop(image, {}, on_error=on_error)


def test_a_crop_stops_where_it_is_told_to_though_the_image_was_opened_with_blanks(broken):
    with (
        nl.open_dataset(broken[0], on_error="blank") as dataset,
        pytest.raises(ChunkReadError),
    ):
        nl.crop(dataset.images[0], {}, on_error="raise")


def expected(pixels, on_error, region=slice(None)):
    if on_error == "skip":
        return np.delete(pixels, [1, 2], 0)
    blank = pixels.copy()
    blank[1:3] = 0
    return blank[region]


@pytest.mark.parametrize(
    ("on_error", "words"), [("blank", "hold blanks"), ("skip", "are left out")]
)
@pytest.mark.parametrize("foreign", [False, True], ids=["image", "dask"])
def test_a_crop_goes_on_and_says_which(broken, image, on_error, words, foreign):
    what = image.data.map_blocks(lambda block: block) if foreign else image
    with pytest.warns(LazyLoadWarning, match=rf"2 of 6 positions along .* {words}.*: 1, 2; the"):
        pixels = nl.crop(what, (), on_error=on_error)
    np.testing.assert_array_equal(pixels, expected(broken[1], on_error))


def test_positions_are_those_of_the_image(image):
    found = []
    pixels = nl.crop(image, (slice(2, 5),), on_error="skip", failures=found.append)
    assert len(pixels) == 2
    assert found[0].positions == [2]


@pytest.mark.parametrize("name", ["a.npy", "a.ome.tif", "a.ome.zarr"])
@pytest.mark.parametrize(
    ("on_error", "words"), [("blank", "hold blanks"), ("skip", "are left out")]
)
def test_an_export_goes_on_and_says_which(broken, image, tmp_path, name, on_error, words):
    with pytest.warns(LazyLoadWarning, match=rf"2 of 6 positions along .* {words}.*: 1, 2; the"):
        path = nl.export(image, tmp_path / name, on_error=on_error)
    with nl.open_dataset(path) as dataset:
        pixels = np.asarray(dataset.images[0].data)
    np.testing.assert_array_equal(pixels, expected(broken[1], on_error))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", name])


def test_what_is_left_begins_where_the_first_frame_lies(image, tmp_path):
    found = []
    region = {image.axes[0]: (1, 6)}
    path = nl.export(image, tmp_path / "a.ome.zarr", region, on_error="skip", failures=found.append)
    assert found[0].positions == [1, 2]
    with nl.open_dataset(path) as dataset:
        assert dataset.images[0].shape[0] == 3
        assert dataset.images[0].translate[0] == 3


def test_nothing_is_left_of_broken_files_alone(image, tmp_path):
    region = {image.axes[0]: (1, 3)}
    with pytest.raises(ChunkReadError, match="nothing is left"):
        nl.crop(image, region, on_error="skip", failures=print)
    with pytest.raises(ChunkReadError, match="nothing is left"):
        nl.export(image, tmp_path / "a.npy", region, on_error="skip")
    assert not (tmp_path / "a.npy").exists()


@pytest.mark.parametrize("region", [{"y": (0, 4)}, {}], ids=["one frame", "out"])
def test_what_cannot_be_left_out_is_refused(image, region):
    region = {image.axes[0]: (0, 1), **region} if region else region
    out = None if region else np.empty(image.shape, image.dtype)
    with pytest.raises(ValueError, match="on_error='skip'"):
        nl.crop(image, region, on_error="skip", out=out)


def test_an_unknown_word_is_refused(image):
    with pytest.raises(ValueError, match="on_error must be 'raise', 'blank' or 'skip'"):
        nl.crop(image, {}, on_error="ignore")
