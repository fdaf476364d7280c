"""ChunkGrid: which block holds which pixels, against NumPy and dask as oracles."""

from __future__ import annotations

import pickle
from math import prod

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices, intersect


@st.composite
def axes(draw, least=0):
    """The length of an axis and its chunks: one size, or irregular ones, empty ones among them."""
    if draw(st.booleans()):
        return draw(st.integers(least, 40)), draw(st.integers(1, 45))
    sizes = tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=8)))
    return (sum(sizes), sizes) if sum(sizes) >= least else (least, (least,))


@st.composite
def grids_and_boxes(draw, least=0):
    """A grid of one to three axes and a box within it."""
    drawn = draw(st.lists(axes(least), min_size=1, max_size=3))
    grid = ChunkGrid(tuple(size for size, _ in drawn), tuple(chunk for _, chunk in drawn))
    box = []
    for size in grid.shape:
        start = draw(st.integers(0, size))
        box.append((start, draw(st.integers(start, size))))
    return grid, tuple(box)


@given(grids_and_boxes())
def test_the_bounds_of_all_chunks_tile_the_level(case):
    grid, _ = case
    seen = np.zeros(grid.shape, int)
    for index in np.ndindex(grid.numblocks):
        seen[box_slices(grid.bounds(index))] += 1
    assert (seen == 1).all()


@given(grids_and_boxes())
def test_touched_chunks_are_those_that_hold_a_pixel_of_the_box(case):
    grid, box = case
    touched = list(grid.touched(box))
    with_pixels = {
        index
        for index in np.ndindex(grid.numblocks)
        if all(start < stop for start, stop in intersect(grid.bounds(index), box))
    }
    assert with_pixels <= set(touched)
    # An empty chunk between two touched ones is the one thing that may come on top.
    assert all(0 in box_shape(grid.bounds(index)) for index in set(touched) - with_pixels)
    assert grid.count(box) == len(touched) == len(set(touched))
    assert touched == sorted(touched)
    assert grid.touched_pixels(box) == sum(prod(box_shape(grid.bounds(index))) for index in touched)


@given(grids_and_boxes(least=1))
def test_block_sizes_are_the_chunks_that_dask_has_after_slicing(case):
    grid, box = case
    box = tuple(
        (start, stop) if start < stop else (start - (start > 0), stop + (start == 0))
        for start, stop in box
    )
    dask = da.zeros(grid.shape, chunks=grid.chunks)[box_slices(box)]
    # Where dask drops empty chunks depends on its version.
    own = tuple(
        tuple(size for size in grid.block_sizes(axis, *pair) if size)
        for axis, pair in enumerate(box)
    )
    assert own == tuple(tuple(size for size in sizes if size) for sizes in dask.chunks)


def test_an_empty_span_is_one_empty_block_as_in_dask():
    grid = ChunkGrid((0, 6), (3, 4))
    assert grid.block_sizes(0, 0, 0) == (0,)
    assert grid.block_sizes(1, 2, 2) == (0,)
    assert grid.numblocks == (0, 2)
    assert list(grid.touched(grid.full_box)) == []
    assert da.zeros((0, 6), chunks=(3, 4)).chunks[0] == (0,)


def test_a_chunk_longer_than_its_axis_is_cut_short():
    grid = ChunkGrid((5,), (100,))
    assert (grid.numblocks, grid.bounds((0,))) == ((1,), ((0, 5),))


def test_numbers_of_numpy_become_pythons():
    grid = ChunkGrid((np.int64(5), np.uint8(4)), (np.int32(2), (np.int64(1), np.int64(3))))
    assert grid == ChunkGrid((5, 4), (2, (1, 3)))
    assert {type(size) for size in (*grid.shape, grid.chunks[0], *grid.chunks[1])} == {int}
    assert "int64" not in repr(grid)


@pytest.mark.parametrize(
    ("shape", "chunks", "match"),
    [
        ((4,), (2, 2), "1 axes needs as many"),
        ((4,), (0,), "do not cover an axis of 4"),
        ((4,), (-1,), "do not cover an axis of 4"),
        ((4,), ((1, 2),), "do not cover an axis of 4"),
        ((4,), ((5, -1),), "do not cover an axis of 4"),
        ((-1,), (1,), "do not cover an axis of -1"),
        ((4,), ((float("nan"), 2),), "whole numbers"),
        ((4.5,), (1,), "whole numbers"),
        (
            (2, 1 << 40),
            (1, 1024),
            "chunks of 1024 along an axis of 1,099,511,627,776 pixels are more than 134,217,728",
        ),
    ],
)
def test_a_grid_with_gaps_is_refused(shape, chunks, match):
    with pytest.raises(ValueError, match=match):
        ChunkGrid(shape, chunks)


def test_a_grid_pickles_as_what_it_was_made_from():
    grid = ChunkGrid((10**6, 64), ((1,) * 10**6, 64))
    copied = pickle.loads(pickle.dumps(grid))
    assert copied == grid
    assert copied.bounds((999_999, 0)) == ((999_999, 10**6), (0, 64))
    assert len(pickle.dumps(ChunkGrid((10**7,), (1,)))) < 200


def test_a_place_in_a_million_irregular_chunks_is_found_without_adding_them_up():
    class Counted(tuple):
        passes = 0

        def __iter__(self):
            Counted.passes += 1
            return super().__iter__()

    grid = ChunkGrid((10**5,), (Counted((1,) * 10**5),))
    once = Counted.passes
    for place in range(0, 10**5, 1000):
        assert grid.bounds(next(iter(grid.touched(((place, place + 1),))))) == ((place, place + 1),)
    assert Counted.passes == once


def test_a_level_without_axes_is_one_chunk():
    grid = ChunkGrid((), ())
    assert list(grid.touched(())) == [()]
    assert (grid.numblocks, grid.bounds(()), grid.count(()), grid.touched_pixels(())) == (
        (),
        (),
        1,
        1,
    )
