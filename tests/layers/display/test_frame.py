"""The pixels of a view while they come in, against a model that looks at each pixel by itself."""

from __future__ import annotations

import threading
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.core.chunks import box_slices
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.layers.display.frame import (
    Frame,
    Placeholder,
    block_indices,
    chunk_placeholder,
)
from napari_lazyload.loading import cache
from napari_lazyload.loading.read_box import read_block
from napari_lazyload.testing.sources import RecordingSource

ERROR = ChunkReadError("truncated", "a.png")


def chunk_of(source, level, index):
    bounds = source.meta.levels[level].grid.bounds(index)
    return np.array(source.arrays[level][box_slices(bounds)])


def numbered(shape, first=1):
    """Different pixels, none of them zero."""
    return np.arange(first, first + np.prod(shape), dtype="i4").reshape(shape)


# --- the model


class Model:
    """One axis after the other, one pixel after the other, with fractions instead of rounding."""

    def __init__(self, source, level, box, strides):
        self.source, self.level = source, level
        self.grid = source.meta.levels[level].grid
        self.places = [
            range(start, stop, step) for (start, stop), step in zip(box, strides, strict=True)
        ]
        self.pixels = np.zeros([len(places) for places in self.places], "i4")
        self.chunks = np.empty(self.pixels.shape, object)
        for at in np.ndindex(self.pixels.shape):
            self.chunks[at] = self.chunk_at(
                [places[n] for places, n in zip(self.places, at, strict=True)]
            )
        self.missing = set(self.chunks.ravel())

    def chunk_at(self, pixel):
        return tuple(
            next(
                b
                for b in range(self.grid.numblocks[axis])
                if where in range(*self.grid.span(axis, b))
            )
            for axis, where in enumerate(pixel)
        )

    def settle(self, index, values):
        """Take the pixels of a whole level, or zeros."""
        if index in self.missing:
            mine = np.array([chunk == index for chunk in self.chunks.ravel()]).reshape(
                self.chunks.shape
            )
            self.pixels[mine] = values[np.ix_(*self.places)][mine]
            self.missing.discard(index)

    def nearest(self, axis, place, picture):
        """Return the positions in a placeholder that are equally near to a pixel of the frame."""
        if axis in picture.free:
            return {0}
        mine, theirs = (self.source.meta.levels[level] for level in (self.level, picture.level))
        center = Fraction(mine.first_center[axis]) + place * Fraction(mine.factors[axis])
        first, factor = Fraction(theirs.first_center[axis]), Fraction(theirs.factors[axis])
        level_pixels = range(theirs.shape[axis])
        best = min(abs(first + pixel * factor - center) for pixel in level_pixels)
        near = [pixel for pixel in level_pixels if abs(first + pixel * factor - center) == best]
        start, stop = picture.box[axis]
        found = set()
        for pixel in near:
            if start <= pixel < stop:
                samples = range(picture.pixels.shape[axis])
                distance = [
                    abs(start + sample * picture.strides[axis] - pixel) for sample in samples
                ]
                found |= {sample for sample in samples if distance[sample] == min(distance)}
        return found

    def check_painted(self, painted, picture):
        """Missing pixels show one of the nearest, or stay what they were; others do not change."""
        near = [
            [self.nearest(axis, place, picture) for place in places]
            for axis, places in enumerate(self.places)
        ]
        for at in np.ndindex(self.pixels.shape):
            options = [near[axis][n] for axis, n in enumerate(at)]
            if self.chunks[at] in self.missing and all(options):
                allowed = {
                    int(value) for value in picture.pixels[np.ix_(*map(sorted, options))].ravel()
                }
                edge = any(self.may_be_outside(axis, n, picture) for axis, n in enumerate(at))
                assert int(painted[at]) in allowed | ({int(self.pixels[at])} if edge else set())
                self.pixels[at] = painted[at]
            else:
                assert painted[at] == self.pixels[at]

    def may_be_outside(self, axis, n, picture):
        """Return whether another pixel, equally near, is not in the picture."""
        if axis in picture.free:
            return False
        place = self.places[axis][n]
        mine, theirs = (self.source.meta.levels[level] for level in (self.level, picture.level))
        center = Fraction(mine.first_center[axis]) + place * Fraction(mine.factors[axis])
        where = (center - Fraction(theirs.first_center[axis])) / Fraction(theirs.factors[axis])
        return where.denominator == 2


@st.composite
def boxes(draw, shape):
    box = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        box.append((start, draw(st.integers(start + 1, size))))
    return tuple(box)


@st.composite
def cases(draw):
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 11), st.integers(1, 11)))
    factors = [draw(st.sampled_from([1, 2, 3, 4])) for _ in shape]
    coarse = tuple(-(-size // factor) for size, factor in zip(shape, factors, strict=True))
    arrays = [numbered(shape), numbered(coarse, 10_000)]
    source = RecordingSource(
        arrays,
        tuple(draw(st.integers(1, 5)) for _ in shape),
        factors=[(1.0,) * 3, tuple(map(float, factors))],
    )
    level = draw(st.integers(0, 1))
    box = draw(boxes(arrays[level].shape))
    strides = draw(st.none() | st.tuples(*[st.integers(1, 4)] * 3))
    return source, level, box, strides


@st.composite
def pictures(draw, source):
    level = draw(st.integers(0, 1))
    shape = source.arrays[level].shape
    box, strides = draw(boxes(shape)), draw(st.tuples(*[st.integers(1, 3)] * 3))
    pixels = -source.arrays[level][
        tuple(slice(a, b, s) for (a, b), s in zip(box, strides, strict=True))
    ]
    return Placeholder(
        pixels, level, box, strides, draw(st.frozensets(st.integers(0, 2), max_size=2))
    )


@given(cases(), st.data())
def test_a_frame_is_what_each_pixel_by_itself_would_be(case, data):
    source, level, box, strides = case
    frame, model = (
        Frame(source, level, box, strides),
        Model(source, level, box, strides or (1, 1, 1)),
    )
    assert set(frame.missing()) == model.missing
    assert frame.total == len(model.missing)
    indices = [*model.missing, (0, 0, 0)]
    for _ in range(data.draw(st.integers(1, 8))):
        what = data.draw(st.sampled_from(["put", "fail", "paint", "paint"]))
        if what == "paint":
            picture = data.draw(pictures(source))
            before = frame.pixels.copy()
            painted = frame.paint_placeholder(picture, "words")
            model.check_painted(frame.pixels, picture)
            assert painted or (before == frame.pixels).all()
            assert frame.placeholder_kind == (
                "words" if painted and model.missing else frame.placeholder_kind
            )
        else:
            index = data.draw(st.sampled_from(indices))
            news = index in model.missing
            values = source.arrays[level] if what == "put" else np.zeros_like(source.arrays[level])
            model.settle(index, values)
            took = (
                frame.put(index, chunk_of(source, level, index))
                if what == "put"
                else frame.fail(index, ERROR)
            )
            assert took == news
            if what == "fail" and news:
                assert frame.failures[index] is ERROR
        np.testing.assert_array_equal(frame.pixels, model.pixels)
        assert set(frame.missing()) == model.missing
        assert frame.complete == frame.done.is_set() == (not model.missing)
        assert not (frame.complete and frame.placeholder_kind)


@given(cases(), st.randoms(use_true_random=False))
def test_all_chunks_together_are_the_pixels_of_the_box_whatever_their_order(case, random):
    source, level, box, strides = case
    frame = Frame(source, level, box, strides)
    order = frame.missing()
    random.shuffle(order)
    coarse = Placeholder(
        source.arrays[1], 1, tuple((0, size) for size in source.arrays[1].shape), (1, 1, 1)
    )
    for index in order:
        frame.paint_placeholder(coarse, "coarser pixels")
        assert frame.take(index, chunk_of(source, level, index), None)
        assert not frame.take(index, None, ERROR)
    frame.paint_placeholder(coarse, "coarser pixels")
    thin = tuple(slice(a, b, s) for (a, b), s in zip(box, strides or (1, 1, 1), strict=True))
    np.testing.assert_array_equal(frame.pixels, source.arrays[level][thin])
    assert (frame.complete, frame.placeholder_kind, frame.failures) == (True, "", {})


# --- by hand


def line(size=12, chunk=4, factor=2.0):
    return RecordingSource(
        [numbered(size), numbered(int(size / factor), 101)], (chunk,), factors=[(1.0,), (factor,)]
    )


def test_coarse_pixels_cover_those_that_lie_under_them():
    source = line()
    frame = Frame(source, 0, ((1, 12),))
    assert frame.paint_placeholder(
        chunk_placeholder(source, 1, (0,), chunk_of(source, 1, (0,))), "coarser pixels"
    )
    assert frame.pixels.tolist() == [101, 102, 102, 103, 103, 104, 104, 0, 0, 0, 0]
    assert frame.paint_placeholder(
        chunk_placeholder(source, 1, (1,), chunk_of(source, 1, (1,))), "coarser pixels"
    )
    assert frame.pixels.tolist() == [101, 102, 102, 103, 103, 104, 104, 105, 105, 106, 106]
    assert frame.placeholder_kind == "coarser pixels"
    assert frame.put((1,), chunk_of(source, 0, (1,)))
    assert frame.pixels.tolist() == [101, 102, 102, 5, 6, 7, 8, 105, 105, 106, 106]


def test_the_last_coarse_pixel_covers_what_is_left_over():
    source = RecordingSource([numbered(9), numbered(4, 101)], (4,), factors=[(1.0,), (2.0,)])
    frame = Frame(source, 0, ((0, 9),))
    frame.paint_placeholder(
        chunk_placeholder(source, 1, (0,), chunk_of(source, 1, (0,))), "coarser pixels"
    )
    assert frame.pixels.tolist() == [101, 101, 102, 102, 103, 103, 104, 104, 104]


def test_pictures_of_finer_levels_and_thin_ones_show_the_nearest_sample():
    source = line()
    frame = Frame(source, 1, ((0, 6),))
    frame.paint_placeholder(Placeholder(numbered(12, 501), 0, ((0, 12),), (1,)), "")
    assert set(frame.pixels) <= set(range(501, 513))
    frame = Frame(source, 0, ((0, 12),))
    frame.paint_placeholder(
        Placeholder(numbered(3, 501), 0, ((0, 12),), (5,)), ""
    )  # samples at 0, 5 and 10
    assert frame.pixels.tolist() == [501] * 3 + [502] * 5 + [503] * 4


def test_a_picture_that_lies_elsewhere_paints_nothing():
    source = line()
    frame = Frame(source, 0, ((8, 12),))
    assert not frame.paint_placeholder(
        chunk_placeholder(source, 1, (0,), chunk_of(source, 1, (0,))), "coarser pixels"
    )
    assert (frame.pixels.tolist(), frame.placeholder_kind) == ([0] * 4, "")


def test_what_was_seen_before_stands_in_for_any_other_place_of_free_axes():
    source = RecordingSource(numbered((5, 4)), (1, 2))
    held = Frame(source, 0, ((1, 2), (0, 4)))
    for index in held.missing():
        held.put(index, chunk_of(source, 0, index))
    frame = Frame(source, 0, ((4, 5), (1, 4)))
    assert not frame.paint_placeholder(held.as_placeholder(), "the previous frame")
    assert frame.paint_placeholder(held.as_placeholder(frozenset({0})), "the previous frame")
    assert frame.pixels.tolist() == [[6, 7, 8]]
    thick = Frame(source, 0, ((2, 5), (1, 4)))
    assert thick.paint_placeholder(held.as_placeholder(frozenset({0})), "the previous frame")
    assert thick.pixels.tolist() == [[6, 7, 8]] * 3


def test_a_failed_chunk_is_zero_whatever_was_painted_there():
    source = line()
    frame = Frame(source, 0, ((0, 12),))
    coarse = Placeholder(source.arrays[1], 1, ((0, 6),), (1,))
    frame.paint_placeholder(coarse, "coarser pixels")
    assert frame.fail((1,), ERROR)
    frame.paint_placeholder(coarse, "coarser pixels")
    assert frame.pixels.tolist() == [101, 101, 102, 102, 0, 0, 0, 0, 105, 105, 106, 106]
    assert frame.failures == {(1,): ERROR}
    assert not frame.put((1,), chunk_of(source, 0, (1,)))
    assert frame.missing() == [(0,), (2,)]


def test_a_chunk_that_is_no_part_of_the_view_is_not_taken():
    source = line()
    frame = Frame(source, 0, ((0, 4),))
    assert not frame.put((1,), chunk_of(source, 0, (1,)))
    assert not frame.fail((1,), ERROR)
    assert not frame.take((0,), None, None)
    assert not frame.failures


def test_an_empty_view_is_complete():
    frame = Frame(line(), 0, ((3, 3),))
    assert (frame.complete, frame.done.is_set(), frame.total, frame.missing()) == (
        True,
        True,
        0,
        [],
    )
    assert not frame.paint_placeholder(
        Placeholder(numbered(6, 101), 1, ((0, 6),), (1,)), "coarser pixels"
    )
    assert frame.placeholder_kind == ""


def test_equal_keys_show_the_same():
    source = line()
    key = Frame(source, 0, ((0, 8),)).key
    assert Frame(source, 0, ((0, 8),)).key == key
    others = [
        Frame(line(), 0, ((0, 8),)),
        Frame(source, 1, ((0, 6),)),
        Frame(source, 0, ((0, 7),)),
        Frame(source, 0, ((0, 8),), (2,)),
    ]
    assert all(other.key != key for other in others)


def test_the_chunks_of_a_box():
    source = RecordingSource(numbered((5, 9)), (2, 4))
    assert block_indices(source, 0, ((1, 3), (4, 9))) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    picture = chunk_placeholder(source, 0, (2, 2), chunk_of(source, 0, (2, 2)))
    assert (picture.box, picture.strides, picture.free) == (((4, 5), (8, 9)), (1, 1), frozenset())


# --- the cache's own pixels


@pytest.mark.parametrize("box", [((4, 8),), ((5, 7),)])
def test_a_view_of_one_chunk_shares_the_pixels_of_the_cache_and_never_writes_to_them(box):
    source = line()
    pixels = read_block(source, 0, (1,))
    frame = Frame(source, 0, box)
    size = box[0][1] - box[0][0]
    assert frame.nbytes == 4 * size
    coarse = Placeholder(source.arrays[1], 1, ((0, 6),), (1,))
    frame.paint_placeholder(coarse, "coarser pixels")
    frame.put((1,), pixels)
    assert np.shares_memory(frame.pixels, pixels)
    assert (frame.nbytes, frame.pixels.flags.writeable) == (0, False)
    frame.paint_placeholder(coarse, "coarser pixels")
    frame.fail((1,), ERROR)
    assert pixels.tolist() == [5, 6, 7, 8]
    assert frame.pixels.tolist() == list(range(box[0][0] + 1, box[0][1] + 1))
    cache.shared.drop()


def test_views_of_several_chunks_or_thin_ones_have_pixels_of_their_own():
    source = line()
    frame, thin = Frame(source, 0, ((3, 9),)), Frame(source, 0, ((4, 8),), (2,))
    for one, index in [(frame, (0,)), (frame, (1,)), (frame, (2,)), (thin, (1,))]:
        pixels = read_block(source, 0, index)
        assert one.put(index, pixels)
        assert not np.shares_memory(one.pixels, pixels)
    assert (frame.nbytes, thin.nbytes) == (24, 8)
    assert (frame.pixels.tolist(), thin.pixels.tolist()) == ([4, 5, 6, 7, 8, 9], [5, 7])
    cache.shared.drop()


def test_painting_copies_and_leaves_the_picture_alone():
    source = line()
    held = Frame(source, 0, ((0, 12),))
    held.put((0,), chunk_of(source, 0, (0,)))
    frame = Frame(source, 0, ((0, 12),))
    frame.paint_placeholder(held.as_placeholder(), "the previous frame")
    assert not np.shares_memory(frame.pixels, held.pixels)
    frame.put((1,), chunk_of(source, 0, (1,)))
    assert held.pixels.tolist() == [1, 2, 3, 4] + [0] * 8


def test_a_picture_is_painted_into_the_chunks_under_it_alone(monkeypatch):
    source = RecordingSource([numbered((64, 64)), numbered((32, 32), 10_000)], (8, 8))
    frame = Frame(source, 0, ((0, 64), (0, 64)))
    frame.put((5, 5), chunk_of(source, 0, (5, 5)))  # from now on each chunk is painted by itself
    painted, places, original = [], [], Frame._positions
    monkeypatch.setattr(Frame, "_paint_chunk", lambda _frame, index, *_: painted.append(index))
    monkeypatch.setattr(
        Frame, "_positions", lambda *args: (places.append(args[1]), original(*args))[1]
    )
    for index in ((1, 2), (1, 3), (2, 2)):
        frame.paint_placeholder(
            chunk_placeholder(source, 1, index, chunk_of(source, 1, index)), "coarser pixels"
        )
    under = {
        (2 * y + a, 2 * x + b) for y, x in ((1, 2), (1, 3), (2, 2)) for a in (0, 1) for b in (0, 1)
    }
    assert sorted(painted) == sorted(under - {(5, 5)})
    assert sorted(places) == [0, 0, 1, 1]  # two rows and two columns of chunks: each is placed once


# --- threads


def test_exact_pixels_win_whichever_threads_come_first():
    source = RecordingSource([numbered((64, 64)), numbered((32, 32), 10_000)], (8, 8))
    coarse = Placeholder(source.arrays[1], 1, ((0, 32), (0, 32)), (1, 1))
    for seed in range(5):
        frame = Frame(source, 0, ((3, 61), (0, 64)))
        order = np.random.default_rng(seed).permutation(len(frame.missing()))
        indices = [frame.missing()[number] for number in order]
        together, taken = threading.Barrier(4), []

        def paint_placeholder(frame=frame, together=together):
            together.wait(20)
            while not frame.done.is_set():
                frame.paint_placeholder(coarse, "coarser pixels")

        def put(part, frame=frame, together=together, taken=taken):
            together.wait(20)
            for index in part:
                taken.append(frame.put(index, chunk_of(source, 0, index)))

        parts = [
            indices[: len(indices) // 2 + 4],
            indices[len(indices) // 2 - 4 :],
        ]  # some come twice
        threads = [threading.Thread(target=paint_placeholder) for _ in range(2)]
        threads += [threading.Thread(target=put, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_array_equal(frame.pixels, source.arrays[0][3:61])
        assert (sum(taken), frame.placeholder_kind) == (len(indices), "")
