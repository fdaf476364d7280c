"""Regions as users write them, clipped, and carried to other levels."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor, inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.core.region import Estimate, estimate_box, level_box, region_box

AXES, SHAPE = ("t", "y", "x"), (5, 40, 60)
WHOLE = ((0, 5), (0, 40), (0, 60))


def box(region):
    return region_box(region, AXES, SHAPE)


# Each row: what the user writes, what it means.
TAKEN = {
    "nothing": ((), WHOLE),
    "ellipsis": (..., WHOLE),
    "one slice": (np.s_[1:3], ((1, 3), *WHOLE[1:])),
    "negative": (np.s_[-2:, -30:-10], ((3, 5), (10, 30), WHOLE[2])),
    "ellipsis before": (np.s_[..., 5:7], (*WHOLE[:2], (5, 7))),
    "ellipsis between": (np.s_[1:2, ..., 5:7], ((1, 2), WHOLE[1], (5, 7))),
    "ellipsis for nothing": (np.s_[1:2, ..., 3:4, 5:7], ((1, 2), (3, 4), (5, 7))),
    "beyond the end": (np.s_[:, 30:1000], (WHOLE[0], (30, 40), WHOLE[2])),
    "huge": (np.s_[:, -(10**40) : 10**40], WHOLE),
    "step one": (slice(1, 3, 1), ((1, 3), *WHOLE[1:])),
    "numpy integers": (slice(np.uint8(1), np.int64(3), np.int8(1)), ((1, 3), *WHOLE[1:])),
    "no mapping": ({}, WHOLE),
    "pair": ({"y": (3, 9)}, (WHOLE[0], (3, 9), WHOLE[2])),
    "list": ({"y": [3, 9]}, (WHOLE[0], (3, 9), WHOLE[2])),
    "array": ({"y": np.array([3, 9])}, (WHOLE[0], (3, 9), WHOLE[2])),
    "open pair": ({"y": (None, 9), "x": (50, None)}, (WHOLE[0], (0, 9), (50, 60))),
    "slice in a mapping": ({"x": slice(-10, None)}, (*WHOLE[:2], (50, 60))),
    "outside is not from the end": ({"y": (-5, 9)}, (WHOLE[0], (0, 9), WHOLE[2])),
    "whole floats": ({"y": (3.0, np.float32(9)), "x": (np.float64(1), 1e30)}, (WHOLE[0], (3, 9), (1, 60))),
    "whole fraction": ({"y": (Fraction(6, 2), 9)}, (WHOLE[0], (3, 9), WHOLE[2])),
    "huge pair": ({"y": (-(10**400), 10**400)}, WHOLE),
}


@pytest.mark.parametrize(("region", "expected"), TAKEN.values(), ids=TAKEN)
def test_a_region_means(region, expected):
    found = box(region)
    assert found == expected
    assert all(type(bound) is int for pair in found for bound in pair)


REFUSED = {
    "empty slice": (np.s_[3:3], "empty along axis 't': 3:3 of 5"),
    "inverted": (np.s_[:, 9:3], "empty along axis 'y': 9:3 of 40"),
    "past the end": (np.s_[7:9], "empty along axis 't': 7:9 of 5"),
    "pair outside": ({"y": (100, 200)}, r"empty along axis 'y': \(100, 200\) of 40"),
    "pair before": ({"y": (-9, -3)}, "empty along axis 'y'"),
    "inverted pair": ({"y": (9, 3)}, "empty along axis 'y'"),
    "step": (np.s_[::2], "step 1, got 2"),
    "reversed": (np.s_[::-1], "step 1, got -1"),
    "step zero": (slice(1, 3, 0), "expected a slice"),
    "integer": (3, "got 3; write slice"),
    "integer among slices": (np.s_[1:2, 3], "got 3"),
    "none": (None, "got None"),
    "new axis": (np.s_[None, 1:2], "got None"),
    "list of slices": ([slice(1, 2)], "tuple of slices"),
    "mask": (np.ones(SHAPE, bool), "tuple of slices"),
    "text": ("1:3", "tuple of slices"),
    "too many": (np.s_[:, :, :, :], "4 slices; the image has 3 axes"),
    "two ellipses": ((..., ...), "at most one Ellipsis"),
    "float slice": (slice(1.0, 3.0), "whole pixels"),
    "unknown axis": ({"z": (1, 2)}, "names axis 'z'; the image has 't', 'y', 'x'"),
    "number as a name": ({0: (1, 2)}, "names axis 0"),
    "broken float": ({"y": (1.5, 3)}, "whole pixels"),
    "nan": ({"y": (nan, 3)}, "whole pixels"),
    "infinite": ({"y": (0, inf)}, "whole pixels"),
    "three bounds": ({"y": (1, 2, 3)}, "whole pixels"),
    "one number": ({"y": 5}, "whole pixels"),
    "nothing for an axis": ({"y": None}, "whole pixels"),
    "text bounds": ({"y": "12"}, "whole pixels"),
    "complex": ({"y": (1 + 0j, 3)}, "whole pixels"),
}


@pytest.mark.parametrize(("region", "match"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_region_is_refused(region, match):
    with pytest.raises(RegionError, match=match):
        box(region)


def test_the_error_is_a_value_error():
    with pytest.raises(ValueError, match="empty"):
        box(np.s_[9:])


def test_the_colour_axis_is_whole_and_never_part_of_a_region():
    axes, shape = ("y", "x", "s"), (40, 60, 3)
    assert region_box(np.s_[1:2], axes, shape) == ((1, 2), (0, 60), (0, 3))
    assert region_box({"x": (3, 5)}, axes, shape) == ((0, 40), (3, 5), (0, 3))
    with pytest.raises(RegionError, match="3 slices; the image has 2 axes"):
        region_box(np.s_[:, :, :1], axes, shape)
    with pytest.raises(RegionError, match="names axis 's'"):
        region_box({"s": (0, 1)}, axes, shape)


bounds = st.none() | st.integers(-100, 100)


@given(st.lists(st.builds(slice, bounds, bounds), max_size=3).map(tuple))
def test_slices_mean_what_they_mean_to_numpy(region):
    expected = np.empty(SHAPE, "i1")[region]
    if expected.size == 0:
        with pytest.raises(RegionError, match="empty"):
            box(region)
        return
    found = box(region)
    assert tuple(stop - start for start, stop in found) == expected.shape
    for (start, stop), part, size in zip(found, region, SHAPE, strict=False):
        assert list(range(start, stop)) == list(range(size))[part]


def level(shape, factors):
    return LevelMeta(ChunkGrid(shape, shape), factors)


@given(st.integers(1, 400), st.integers(1, 60), st.data())
def test_a_box_is_carried_to_a_level_by_floor_and_ceil(size, pixels, data):
    pixels = min(size, pixels)
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    ((first, last),) = level_box(((start, stop),), level((pixels,), (size / pixels,)))
    exact = Fraction(size, pixels)
    assert (first, last) == (floor(start / exact), ceil(stop / exact))
    assert 0 <= first < last <= pixels


def test_rounding_of_the_factor_reads_no_pixel_too_many():
    assert 33 / 1.1 != 30
    assert level_box(((33, 44),), level((100,), (1.1,))) == ((30, 40),)


def test_a_level_that_ends_early_gives_its_last_pixel():
    # 7 pixels halved and cut: 3 pixels of 2, the seventh is covered by none.
    assert level_box(((6, 7),), level((3,), (2.0,))) == ((2, 3),)


def test_level_zero_is_the_box_itself():
    assert level_box(WHOLE, level(SHAPE, (1.0, 1.0, 1.0))) == WHOLE


def test_an_estimate_counts_whole_chunks():
    grid = ChunkGrid((10, 100, 100), (1, 64, 64))
    meta = ImageMeta("i", ("z", "y", "x"), np.dtype("u2"), (LevelMeta(grid, (1.0,) * 3),))
    inside = ((2, 4), (60, 70), (0, 10))
    assert estimate_box(meta, 0, inside) == Estimate(
        result_nbytes=2 * 10 * 10 * 2, touched_nbytes=2 * 100 * 64 * 2, touched_chunks=4, full_nbytes=10 * 100 * 100 * 2
    )
    assert estimate_box(meta, 0, inside, 8).result_nbytes == 2 * 10 * 10 * 8
