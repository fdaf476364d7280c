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
from napari_lazyload.core.region import (
    Estimate,
    center_region,
    estimate_box,
    level_box,
    pixels_of_world,
    random_region,
    region_box,
)

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
    "whole floats": (
        {"y": (3.0, np.float32(9)), "x": (np.float64(1), 1e30)},
        (WHOLE[0], (3, 9), (1, 60)),
    ),
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


def test_the_color_axis_is_whole_and_never_part_of_a_region():
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
        result_nbytes=2 * 10 * 10 * 2,
        touched_nbytes=2 * 100 * 64 * 2,
        touched_chunks=4,
        full_nbytes=10 * 100 * 100 * 2,
    )
    assert estimate_box(meta, 0, inside, 8).result_nbytes == 2 * 10 * 10 * 8


# --- boxes in the middle, by chance, and in world coordinates

CENTERS = {
    "even in even": (10, 4, (3, 7)),
    "odd in odd": (11, 3, (4, 7)),
    "odd in even": (10, 3, (3, 6)),
    "whole": (10, 10, (0, 10)),
    "larger than the image": (10, 99, (0, 10)),
    "one pixel": (1, 1, (0, 1)),
}


@pytest.mark.parametrize(("full", "size", "expected"), CENTERS.values(), ids=CENTERS)
def test_a_centered_box(full, size, expected):
    found = center_region(("z", "y", "x", "s"), (7, full, 5, 3), {"y": size})
    assert found == {"z": (0, 7), "y": expected, "x": (0, 5)}


def test_a_random_box_is_the_same_on_every_machine():
    axes, shape = ("t", "z", "y", "x"), (10, 100, 2048, 2048)
    size = {"z": 64, "y": np.int64(64), "x": 64}
    assert random_region(axes, shape, size, 7) == {
        "t": (0, 10),
        "z": (5, 69),
        "y": (1292, 1356),
        "x": (143, 207),
    }
    assert random_region(axes, shape, size, 7) != random_region(axes, shape, size, 8)


def test_random_boxes_come_to_lie_at_all_places_equally_often():
    starts = [random_region(("y", "x"), (7, 9), {"x": 6}, seed)["x"] for seed in range(4000)]
    assert {pair[1] - pair[0] for pair in starts} == {6}
    counts = np.bincount([first for first, _ in starts])
    assert len(counts) == 4
    assert abs(counts - 1000).max() < 120  # four standard deviations


@pytest.mark.parametrize(
    "make", [center_region, lambda *args: random_region(*args, 0)], ids=["center", "random"]
)
def test_a_box_of_no_size_or_along_no_axis_is_refused(make):
    axes, shape = ("y", "x", "s"), (40, 60, 3)
    for size in (0, -3, 2.5, nan, "8", None):
        with pytest.raises(RegionError, match="axis 'x': expected a size of at least 1 pixel"):
            make(axes, shape, {"x": size})
    for axis in ("z", "s"):
        with pytest.raises(RegionError, match=f"axis '{axis}'; the image has 'y', 'x'"):
            make(axes, shape, {axis: 3})
    assert make(axes, shape, {}) == {"y": (0, 40), "x": (0, 60)}


WORLDS = {
    "border to border": ((-0.25, 0.75), 0.5, 0.0, (0, 2)),
    "within a pixel": ((0.1, 0.2), 0.5, 0.0, (0, 1)),
    "a little more": ((-0.25, 0.76), 0.5, 0.0, (0, 3)),
    "away from the origin": ((10.0, 11.0), 0.5, 10.0, (0, 3)),
    "mirrored": ((-2.0, -0.4), -1.0, 0.0, (0, 3)),
    "mirrored, open": ((None, -0.4), -1.0, 0.0, (0, None)),
    "open start": ((None, 0.75), 0.5, 0.0, (None, 2)),
    "open": ((None, None), 0.5, 0.0, (None, None)),
    "rounded": ((0.3 - 0.05, 0.9 - 0.05), 0.1, 0.0, (3, 9)),
    "before the image": ((-4.0, -3.0), 1.0, 0.0, (-4, -2)),
}


@pytest.mark.parametrize(("world", "size", "first", "expected"), WORLDS.values(), ids=WORLDS)
def test_world_coordinates_take_the_pixels_that_they_meet(world, size, first, expected):
    found = pixels_of_world({"x": world}, ("y", "x", "s"), (2.0, size), (0.0, first))
    assert found == {"x": expected}


@given(
    st.integers(0, 50),
    st.integers(1, 50),
    st.floats(0.01, 100),
    st.floats(-100, 100),
    st.booleans(),
)
def test_the_world_box_of_pixels_is_those_pixels(start, size, scale, translate, mirrored):
    scale = -scale if mirrored else scale
    ends = sorted(translate + (edge - 0.5) * scale for edge in (start, start + size))
    assert pixels_of_world({"x": ends}, "x", (scale,), (translate,)) == {"x": (start, start + size)}


def test_world_ranges_that_mean_nothing_are_refused():
    for pair in ((nan, 1.0), (0.0, inf), (-inf, None)):
        with pytest.raises(RegionError, match="axis 'x': expected finite positions"):
            pixels_of_world({"x": pair}, "x", (1.0,), (0.0,))
    with pytest.raises(RegionError, match="expected finite positions"):
        pixels_of_world({"x": (0.0, 1.0)}, "x", (0.0,), (0.0,))
    for pair in ((2.0, 1.0), (2.0, 2.0)):
        with pytest.raises(RegionError, match="empty along axis 'x'"):
            pixels_of_world({"x": pair}, "x", (-1.0,), (0.0,))
    with pytest.raises(RegionError, match="axis 's'; the image has 'y', 'x'"):
        pixels_of_world({"s": (0.0, 1.0)}, ("y", "x", "s"), (1.0, 1.0), (0.0, 0.0))
