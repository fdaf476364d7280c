"""One image: what it says of itself, its levels, its chunks, its way into other processes."""

from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pytest

from napari_lazyload.arrays.image import Image
from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.testing.sources import RecordingSource

PIXELS = np.arange(6 * 8 * 10, dtype="u2").reshape(6, 8, 10)


def pyramid(**meta):
    return RecordingSource([PIXELS, PIXELS[:, ::2, ::2]], (1, 4, 5), axes="tyx", **meta)


def test_what_an_image_says_of_itself():
    image = Image(pyramid(name="cells", metadata={"bits": 12}))
    assert (image.name, image.kind, image.axes, image.rgb) == (
        "cells",
        "image",
        ("t", "y", "x"),
        False,
    )
    assert (image.shape, image.dtype, image.nbytes) == ((6, 8, 10), np.dtype("u2"), 960)
    assert image.chunks == ((1,) * 6, (4, 4), (5, 5))
    assert (image.scale, image.translate, image.units) == ((1.0,) * 3, (0.0,) * 3, (None,) * 3)
    assert image.metadata == {"bits": 12}
    assert repr(image) == "<lazy image 'cells': 6 x 8 x 10 uint16 (tyx), 2 levels>"


def test_its_metadata_are_a_copy():
    image = Image(pyramid(metadata={"bits": 12}))
    image.metadata["bits"] = 3
    assert image.metadata == {"bits": 12}


def test_colors_have_no_scale():
    image = Image(
        RecordingSource(np.zeros((2, 4, 5, 3), "u1"), (1, 4, 5, 3), axes=("frame", "y", "x", "s"))
    )
    assert (image.rgb, image.spatial_ndim, len(image.scale), len(image.units)) == (True, 3, 3, 3)
    assert repr(image) == "<lazy image 'recorded': 2 x 4 x 5 x 3 uint8 (frame, y, x, s)>"


def test_making_one_reads_nothing_and_levels_are_exact():
    source = pyramid()
    image = Image(source)
    assert image.data is image.levels[0]
    assert [level.shape for level in image.levels] == [(6, 8, 10), (6, 4, 5)]
    assert all(isinstance(level, LazyArray) for level in image.levels)
    assert source.loads == []
    np.testing.assert_array_equal(np.asarray(image.levels[0]), PIXELS)
    np.testing.assert_array_equal(image.levels[1].compute(scheduler="sync"), PIXELS[:, ::2, ::2])


@pytest.mark.parametrize("chunks", [None, (2, 8, 5), (1, 4, 5)])
@pytest.mark.parametrize("part", [0, slice(2, 4), (slice(None), 3, slice(1, 5))])
def test_what_is_assigned_into_its_arrays_never_changes_it(chunks, part):
    image = Image(pyramid(), chunks=chunks)
    for given, pixels in (
        (image.data, PIXELS),
        (image.levels[1], PIXELS[:, ::2, ::2]),
        (image.boxes[0], PIXELS),
    ):
        given[part] = 9
        assert (given[part].compute(scheduler="sync") == 9).all()
        arrays = (
            (image.data, image.boxes[0]) if pixels is PIXELS else (image.levels[1], image.boxes[1])
        )
        for now in arrays:
            np.testing.assert_array_equal(now.compute(scheduler="sync"), pixels)
    assert all(isinstance(box, LazyArray) and box.source is image.source for box in image.boxes)
    assert image.data is image.data
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(image)).data.compute(scheduler="sync"), PIXELS
    )


@pytest.mark.parametrize("level", [1, -1, np.int64(1)])
def test_one_level_alone(level):
    image = Image(pyramid(scale=(1.0, 0.5, 0.25), translate=(0.0, 10.0, 20.0)), level=level)
    assert [array.shape for array in image.levels] == [(6, 4, 5)]
    assert image.scale == (1.0, 1.0, 0.5)
    assert image.translate == (0.0, 10.25, 20.125)  # centers of pixels: half a fine pixel further
    np.testing.assert_array_equal(np.asarray(image.data), PIXELS[:, ::2, ::2])


@pytest.mark.parametrize("level", [2, -3, "0", 0.5])
def test_a_level_that_is_not_there(level):
    with pytest.raises(ValueError, match="level must be a number from 0 to 1 for 'recorded', got"):
        Image(pyramid(), level=level)


CHUNKS = {
    "number": (4, ((4, 2), (4, 4), (4, 4, 2))),
    "whole": (-1, ((6,), (8,), (10,))),
    "tuple": ((2, 8, 5), ((2, 2, 2), (8,), (5, 5))),
    "nested": (((1, 5), 8, 10), ((1, 5), (8,), (10,))),
    "by name": ({"t": 3}, ((3, 3), (4, 4), (5, 5))),
    "by number": ({0: 3, -1: 10}, ((3, 3), (4, 4), (10,))),
    "the file's for some": ((-1, None, None), ((6,), (4, 4), (5, 5))),
    "bytes": ("160 B", None),
    "auto": ("auto", ((6,), (8,), (10,))),
}


@pytest.mark.parametrize(("chunks", "expected"), CHUNKS.values(), ids=CHUNKS)
def test_other_chunks(chunks, expected):
    image = Image(pyramid(), chunks=chunks)
    assert expected is None or image.chunks == expected
    assert image.data is image.data
    assert isinstance(image.data, da.Array)
    np.testing.assert_array_equal(image.data.compute(scheduler="sync"), PIXELS)
    np.testing.assert_array_equal(image.levels[1].compute(scheduler="sync"), PIXELS[:, ::2, ::2])
    assert [box.chunks for box in image.boxes] == [
        ((1,) * 6, (4, 4), (5, 5)),
        ((1,) * 6, (4,), (5,)),
    ]
    assert pickle.loads(pickle.dumps(image)).chunks == image.chunks


@pytest.mark.parametrize(
    "chunks", [(1, 2), {"c": 1}, {3: 1}, "x", (0, 1, 1), ((1, 2), 8, 10), 1.5, object()]
)
def test_chunks_that_do_not_suit(chunks):
    with pytest.raises(
        ValueError, match=r"do not suit an image of shape \(6, 8, 10\) with axes t, y, x: "
    ):
        Image(pyramid(), chunks=chunks)


def test_blank_or_raise():
    source = RecordingSource(PIXELS, (1, 8, 10), axes="tyx", failing=[(2, 0, 0)])
    with pytest.raises(ChunkReadError, match=r"2\.0\.0"):
        np.asarray(Image(source).data)
    expected = PIXELS.copy()
    expected[2] = 0
    blank = Image(source, on_error="blank")
    np.testing.assert_array_equal(np.asarray(blank.data), expected)
    np.testing.assert_array_equal(blank.data.compute(scheduler="sync"), expected)
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'blank', got None"):
        Image(source, on_error=None)


def test_it_pickles_with_all_that_was_chosen():
    source = RecordingSource(
        [PIXELS, PIXELS[:, ::2, ::2]], (1, 4, 5), axes="tyx", failing=[(2, 0, 0)]
    )
    image = pickle.loads(pickle.dumps(Image(source, on_error="blank", level=1, chunks=(2, -1, -1))))
    assert (image.on_error, image.chunks, image.shape) == (
        "blank",
        ((2, 2, 2), (4,), (5,)),
        (6, 4, 5),
    )
    assert image.data.compute(scheduler="sync")[2].sum() == 0


def test_the_same_choices_for_another_source():
    image = Image(pyramid(), on_error="blank", level=1, chunks=-1).of(
        RecordingSource([PIXELS, PIXELS * 2], (1, 4, 5))
    )
    assert (image.on_error, image.chunks) == ("blank", ((6,), (8,), (10,)))
    np.testing.assert_array_equal(image.data.compute(scheduler="sync"), PIXELS * 2)
