"""Which chunks a view needs, in which order, and where in another level: against brute force."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.loading import plan

# --- nearest to the center first


def test_chunks_nearest_to_the_center_of_the_view_come_first():
    grid = ChunkGrid((1, 50, 50), (1, 10, 10))
    box = ((0, 1), (20, 50), (0, 30))  # the center lies in chunk (3, 1)
    order = plan.from_center(grid, box, grid.touched(box))
    assert order[0] == (0, 3, 1)
    assert set(order[1:5]) == {(0, 2, 1), (0, 4, 1), (0, 3, 0), (0, 3, 2)}
    assert set(order[5:]) == {(0, 2, 0), (0, 2, 2), (0, 4, 0), (0, 4, 2)}


def test_equally_near_chunks_keep_their_order():
    grid = ChunkGrid((40,), (10,))
    assert plan.from_center(grid, ((0, 40),), [(0,), (1,), (2,), (3,)]) == [(1,), (2,), (0,), (3,)]
    assert plan.from_center(grid, ((0, 40),), []) == []


def test_too_many_chunks_are_taken_as_they_come(monkeypatch):
    monkeypatch.setattr(plan, "MOST_SORTED", 3)
    grid = ChunkGrid((40,), (10,))
    indices = iter([(0,), (1,), (2,), (3,)])
    assert plan.from_center(grid, ((0, 40),), indices) == [(0,), (1,), (2,), (3,)]
    assert plan.from_center(grid, ((0, 30),), [(0,), (1,), (2,)]) == [(1,), (0,), (2,)]


# --- the same place of another level


def meta_of(*levels):
    """One axis; each level is (size, factor, offset or None)."""
    metas = (
        LevelMeta(
            ChunkGrid((size,), (max(1, size),)), (factor,), None if offset is None else (offset,)
        )
        for size, factor, offset in levels
    )
    return ImageMeta("image", ("x",), np.dtype("u1"), tuple(metas))


def edges(meta, level, pixel):
    """Where a pixel begins and ends, in pixels of level 0, without rounding."""
    found = meta.levels[level]
    factor = Fraction(found.factors[0])
    center = Fraction(found.first_center[0]) + pixel * factor
    return center - factor / 2, center + factor / 2


LEVELS = st.tuples(
    st.integers(1, 30),
    st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.25, 3.0, 4.0, 7.0]),
    st.none() | st.sampled_from([-3.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.5, 11.0]),
)


@given(mine=LEVELS, theirs=LEVELS, data=st.data())
def test_the_same_place_holds_each_pixel_that_touches_the_box_and_no_other(mine, theirs, data):
    meta = meta_of(mine, theirs)
    start = data.draw(st.integers(0, mine[0] - 1))
    stop = data.draw(st.integers(start + 1, mine[0]))
    low, high = edges(meta, 0, start)[0], edges(meta, 0, stop - 1)[1]
    touched = [
        pixel
        for pixel in range(theirs[0])
        if edges(meta, 1, pixel)[1] - low > 1e-4 and high - edges(meta, 1, pixel)[0] > 1e-4
    ]
    ((first, last),) = plan.same_place(meta, 0, ((start, stop),), 1)
    assert 0 <= first < last <= theirs[0]
    if touched:
        assert list(range(first, last)) == touched
    else:  # what lies beside the other level has the pixel at its edge
        assert (first, last) in ((0, 1), (theirs[0] - 1, theirs[0]))


@given(level=LEVELS, data=st.data())
def test_the_same_place_of_the_same_level_is_the_box(level, data):
    start = data.draw(st.integers(0, level[0] - 1))
    stop = data.draw(st.integers(start + 1, level[0]))
    assert plan.same_place(meta_of(level), 0, ((start, stop),), 0) == ((start, stop),)


def test_axes_are_treated_one_by_one():
    levels = (
        LevelMeta(ChunkGrid((5, 100), (1, 10)), (1.0, 1.0)),
        LevelMeta(ChunkGrid((5, 34), (1, 10)), (1.0, 3.0)),
    )
    meta = ImageMeta("image", ("z", "x"), np.dtype("u1"), levels)
    assert plan.same_place(meta, 0, ((2, 3), (10, 31)), 1) == ((2, 3), (3, 11))
    assert plan.same_place(meta, 1, ((2, 3), (3, 11)), 0) == ((2, 3), (9, 33))


@pytest.mark.parametrize("factor", [1.1, 1 / 3, 2 / 3, 1.0000001, 7.3])
def test_rounding_adds_no_pixel(factor):
    count = 1000
    meta = meta_of((count, factor, None), (count, factor * 3, None))
    for number in range(0, count // 3):
        assert plan.same_place(meta, 0, ((3 * number, 3 * number + 3),), 1) == (
            (number, number + 1),
        )


def test_an_axis_without_pixels_has_none():
    meta = ImageMeta(
        "image", ("x",), np.dtype("u1"), (LevelMeta(ChunkGrid((0,), ((0,),)), (1.0,)),) * 2
    )
    assert plan.same_place(meta, 0, ((0, 0),), 1) == ((0, 0),)


# --- what comes next


def test_the_next_views_come_in_the_order_of_the_movement():
    grid = ChunkGrid((10, 8), (1, 4))
    box = ((3, 4), (0, 8))
    assert plan.ahead(grid, box, 0, 1, 2) == [(4, 0), (4, 1), (5, 0), (5, 1)]
    assert plan.ahead(grid, box, 0, -1, 2) == [(2, 0), (2, 1), (1, 0), (1, 1)]
    assert plan.ahead(grid, box, 0, 3, 2) == [(6, 0), (6, 1), (9, 0), (9, 1)]
    assert plan.ahead(grid, box, 0, 1, 0) == []


def test_nothing_comes_after_the_end():
    grid = ChunkGrid((10, 8), (1, 8))
    assert plan.ahead(grid, ((8, 9), (0, 8)), 0, 1, 5) == [(9, 0)]
    assert plan.ahead(grid, ((9, 10), (0, 8)), 0, 1, 5) == []
    assert plan.ahead(grid, ((1, 2), (0, 8)), 0, -1, 5) == [(0, 0)]
    assert plan.ahead(grid, ((0, 1), (0, 8)), 0, -1, 5) == []
    assert plan.ahead(grid, ((7, 8), (0, 8)), 0, 4, 5) == []


def test_chunks_of_the_view_itself_are_not_ahead_and_none_comes_twice():
    grid = ChunkGrid((20, 4), (4, 4))
    assert plan.ahead(grid, ((4, 5), (0, 4)), 0, 1, 3) == []
    assert plan.ahead(grid, ((4, 5), (0, 4)), 0, 1, 5) == [(2, 0)]
    assert plan.ahead(grid, ((4, 5), (0, 4)), 0, -1, 5) == [(0, 0)]


def test_only_the_place_that_is_seen_is_read_ahead_of():
    grid = ChunkGrid((10, 40, 40), (1, 10, 10))
    box = ((3, 4), (5, 25), (10, 20))
    middle_first = [(4, 1, 1), (4, 0, 1), (4, 2, 1)]
    assert plan.ahead(grid, box, 0, 1, 1) == middle_first


SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=8)


@given(
    along=st.integers(1, 7) | SIZES,
    size=st.integers(1, 30),
    across=st.integers(1, 5),
    thickness=st.integers(1, 5),
    stride=st.integers(-6, 6).filter(bool),
    depth=st.integers(0, 12),
    data=st.data(),
)
@example(along=3, size=20, across=2, thickness=4, stride=-2, depth=9, data=None)
def test_ahead_against_brute_force(along, size, across, thickness, stride, depth, data):
    chunks = tuple(along) if isinstance(along, list) else along
    size = sum(along) if isinstance(along, list) else size
    grid = ChunkGrid((6, size), (across, chunks))
    start = 7 if data is None else data.draw(st.integers(0, size - 1))
    stop = min(size, start + thickness)
    view = ((1, 4), (start, stop))

    def blocks(low, high):
        pixels = range(max(0, low), min(size, high))
        return {
            block
            for block in range(grid.numblocks[1])
            if set(range(*grid.span(1, block))) & set(pixels)
        }

    seen, expected = blocks(start, stop), []
    rows = [row for row in range(grid.numblocks[0]) if set(range(*grid.span(0, row))) & {1, 2, 3}]
    for step in range(1, depth + 1):
        new = blocks(start + step * stride, stop + step * stride) - seen
        seen |= new
        expected.append({(row, block) for row in rows for block in new})
    found = plan.ahead(grid, view, 1, stride, depth)
    assert len(found) == len(set(found))
    for group in expected:
        assert set(found[: len(group)]) == group
        del found[: len(group)]
    assert not found


# --- what fits


def test_the_first_chunks_that_fit_are_taken():
    grid = ChunkGrid((25, 10), (10, 10))
    indices = [(2, 0), (0, 0), (1, 0)]  # 50, 100 and 100 pixels
    for pixels, count in [(0, 0), (49, 0), (50, 1), (149, 1), (150, 2), (249, 2), (250, 3)]:
        assert plan.within(grid, indices, pixels) == indices[:count]


def test_bytes_of_a_box():
    assert plan.nbytes(((2, 5), (0, 10)), 2) == 60
    assert plan.nbytes(((2, 2), (0, 10)), 2) == 0
    assert plan.nbytes((), 4) == 4
