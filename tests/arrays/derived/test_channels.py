"""Some channels of an image, by name or number."""

from __future__ import annotations

import pickle

import imagecodecs
import numpy as np
import pytest

from napari_lazyload.arrays.derived.channels import ChannelSource, select_channels
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.sources.folder.open_folder import open_pictures
from napari_lazyload.testing.sources import RecordingSource

PIXELS = np.arange(2 * 4 * 3 * 3, dtype="u2").reshape(2, 4, 3, 3)
NAMES = {"channels": tuple(map(ChannelMeta, ["DAPI", "GFP", "RFP", "phase"]))}


def read(source):
    grid = source.meta.levels[0].grid
    result = np.empty(grid.shape, source.meta.dtype)
    for index in grid.touched(grid.full_box):
        chunk = source.chunk(0, index).load()
        assert chunk.flags.c_contiguous
        result[tuple(slice(*span) for span in grid.bounds(index))] = chunk
    return result


GRIDS = {"one each": 1, "all together": 4, "two and two": 2, "three and one": (3, 1)}
WANTED = {
    "number": (2, [2]),
    "name": ("GFP", [1]),
    "several": ([3, "DAPI"], [3, 0]),
    "neighbours": ([0, 1, 3], [0, 1, 3]),
    "from the end": ([-1], [3]),
    "twice": ([1, 1], [1, 1]),
    "all": (range(4), [0, 1, 2, 3]),
    "NumPy": (np.array([2, 0]), [2, 0]),
    "one of NumPy": (np.int64(2), [2]),
}


@pytest.mark.parametrize("chunk", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize(("wanted", "numbers"), WANTED.values(), ids=WANTED)
def test_channels_are_those_of_the_image(chunk, wanted, numbers):
    source = RecordingSource(PIXELS, (1, chunk, 3, 3), axes="tcyx", **NAMES)
    some = select_channels(source, wanted)
    assert some.meta.shape == (2, len(numbers), 3, 3)
    assert some.meta.channels == tuple(NAMES["channels"][number] for number in numbers)
    np.testing.assert_array_equal(read(some), PIXELS[:, numbers])
    np.testing.assert_array_equal(read(pickle.loads(pickle.dumps(some))), PIXELS[:, numbers])


def test_channels_of_one_chunk_are_read_together():
    source = RecordingSource(PIXELS, (1, 4, 3, 3), axes="tcyx")
    read(select_channels(source, [0, 2, 3]))
    assert len(source.loads) == 2
    assert (
        select_channels(source, range(4)).chunk(0, (0, 0, 0, 0)).key
        == source.chunk(0, (0, 0, 0, 0)).key
    )


def test_keys_and_tokens_tell_selections_apart():
    source = RecordingSource(PIXELS, (1, 4, 3, 3), axes="tcyx")
    some = [select_channels(source, wanted) for wanted in ([0], [1], [0, 1], [1, 0])]
    assert len({one.token for one in some}) == 4
    assert len({one.chunk(0, (0, 0, 0, 0)).key for one in some}) == 4


def test_every_level_is_cut():
    source = RecordingSource([PIXELS, PIXELS[..., ::2, ::2]], (1, 2, 3, 3), axes="tcyx")
    assert [level.shape for level in select_channels(source, [3]).meta.levels] == [
        (2, 1, 3, 3),
        (2, 1, 2, 2),
    ]


WRONG = {
    "name": (
        "mCherry",
        "a channel must be a number below 4 or one of 'DAPI', 'GFP', 'RFP', 'phase', got 'mCherry'",
    ),
    "number": (4, "got 4"),
    "below": ([-5], "got -5"),
    "bool": (True, "got True"),
    "float": ([1.0], "got 1.0"),
    "none": ([], "needs at least one channel, got none"),
}


@pytest.mark.parametrize(("wanted", "message"), WRONG.values(), ids=WRONG)
def test_channels_that_are_not_there(wanted, message):
    with pytest.raises(ValueError, match=message):
        select_channels(RecordingSource(PIXELS, (1, 4, 3, 3), axes="tcyx", **NAMES), wanted)


def test_an_image_without_channels():
    with pytest.raises(
        ValueError,
        match=r"needs an image with a channel axis 'c'; 'recorded' has the axes 't', 'z'",
    ):
        select_channels(RecordingSource(PIXELS, (1, 4, 3, 3), axes="tzyx"), 0)


def test_rows_are_those_of_the_original(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(imagecodecs.png_encode(np.zeros((2, 2), "u1")))
    (original,) = open_pictures(str(tmp_path)).sources
    original.meta = RecordingSource(np.zeros((3, 2, 2)), (1, 2, 2), axes="fcx").meta
    some = ChannelSource(original, [1])
    assert some.row_map.axes == {"frame": 3}
    assert some.row_map.row_of((2, 0, 0)) == 2
    assert some.row_map.index_of(1) == (1,)
