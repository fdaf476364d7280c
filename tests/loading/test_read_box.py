"""Exact boxes: the pixels, the chunks that are read, and what failures and cancelling leave."""

from __future__ import annotations

import gc
import signal
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.pixels import pixels
from helpers.waiting import eventually
from napari_lazyload.core import settings
from napari_lazyload.core.chunks import box_slices
from napari_lazyload.core.errors import CancelledError, ChunkReadError, RegionError
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.loading.read_box import (
    peek_block,
    read_block,
    read_box,
    read_chunk,
    sampled_chunks,
    sampled_shape,
    samples,
)
from napari_lazyload.testing.sources import RecordingSource

SHAPE, CHUNKS = (5, 17, 23), (1, 8, (10, 4, 9))
WHOLE = ((0, 5), (0, 17), (0, 23))


@pytest.fixture
def source():
    return RecordingSource(pixels(SHAPE), CHUNKS)


@st.composite
def sources_and_boxes(draw):
    """A source of one to three axes, on any chunks, and a box within it."""
    shape = tuple(draw(st.lists(st.integers(0, 12), min_size=1, max_size=3)))
    chunks = []
    for size in shape:
        if draw(st.booleans()):
            chunks.append(draw(st.integers(1, 13)))
        else:
            cuts = sorted(draw(st.lists(st.integers(0, size), max_size=3)))
            chunks.append(tuple(b - a for a, b in zip([0, *cuts], [*cuts, size], strict=True)))
    box = []
    for size in shape:
        start = draw(st.integers(0, size))
        box.append((start, draw(st.integers(start, size))))
    return RecordingSource(pixels(shape), tuple(chunks)), tuple(box)


@given(sources_and_boxes(), st.booleans(), st.integers(1, 3))
def test_a_box_is_numpys_slice_and_reads_the_chunks_it_touches_once(case, keep, workers):
    source, box = case
    settings.update(workers=workers)
    found = read_box(source, 0, box, keep=keep)
    expected = source.arrays[0][box_slices(box)]
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    grid = source.meta.levels[0].grid
    assert sorted(source.loads) == [(0, index) for index in grid.touched(box)]
    read_box(source, 0, box, keep=False)
    assert len(source.loads) == grid.count(box) * (1 if keep else 2)


def test_all_threads_help_and_each_chunk_is_read_once():
    settings.update(workers=3)
    gate = threading.Event()
    source = RecordingSource(pixels(SHAPE), CHUNKS, gate=gate)
    opener = threading.Thread(
        target=lambda: [eventually(lambda: len(source.loads) == 3), gate.set()]
    )
    opener.start()
    np.testing.assert_array_equal(read_box(source, 0, WHOLE), source.arrays[0])
    opener.join()
    assert len(source.loads) == len(set(source.loads)) == source.meta.levels[0].grid.count(WHOLE)


def test_a_level_without_axes():
    source = RecordingSource(np.array(7, "u1"), (), axes=("none",), factors=[()])
    assert read_box(source, 0, ()) == 7


def test_a_coarser_level():
    source = RecordingSource([pixels((8, 8)), pixels((4, 4))], (3, 3))
    np.testing.assert_array_equal(read_box(source, 1, ((1, 4), (0, 2))), source.arrays[1][1:4, :2])
    assert {level for level, _ in source.loads} == {1}


def test_what_leaves_is_a_copy_even_of_a_whole_chunk(source):
    box = source.meta.levels[0].grid.bounds((2, 0, 0))
    found = read_box(source, 0, box)
    assert found.flags.writeable
    assert found.flags.c_contiguous
    kept = cache.shared._entries[source.chunk(0, (2, 0, 0)).key]
    assert not np.shares_memory(found, kept)
    found[...] = 0
    np.testing.assert_array_equal(read_box(source, 0, box), source.arrays[0][box_slices(box)])


@pytest.mark.parametrize("box", [((1, 4), (3, 15), (5, 20)), ((2, 3), (0, 8), (0, 10))])
@pytest.mark.parametrize("dtype", ["u2", "f4", "u1"])
def test_out_is_filled_whatever_its_layout_and_type(source, box, dtype):
    shape = tuple(stop - start for start, stop in box)
    big = np.full((*(2 * size for size in shape),), 99, dtype)
    out = big[1::2, ::2, ::-2]
    assert read_box(source, 0, box, out) is out
    np.testing.assert_array_equal(out, source.arrays[0][box_slices(box)].astype(dtype))
    assert (big[::2] == 99).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 12, 16), (3, 12), (3, 12, 15, 1)])
def test_out_of_another_shape_is_refused(source, shape):
    with pytest.raises(RegionError, match=r"out must have the box's shape \(3, 12, 15\)"):
        read_box(source, 0, ((1, 4), (3, 15), (5, 20)), np.zeros(shape, "u2"))
    assert not source.loads


@pytest.mark.parametrize(
    "box",
    [
        ((0, 6), (0, 17), (0, 23)),
        ((-1, 3), (0, 17), (0, 23)),
        ((3, 2), (0, 17), (0, 23)),
        ((0, 5), (0, 17)),
        (*WHOLE, (0, 1)),
    ],
)
def test_a_box_beyond_the_level_is_refused(source, box):
    with pytest.raises(RegionError, match=r"a box within level 0 of shape \(5, 17, 23\)"):
        read_box(source, 0, box)
    assert not source.loads


# --- what cannot be read


def test_a_chunk_that_cannot_be_read_raises(source):
    source.failing = {(3, 1, 1)}
    with pytest.raises(ChunkReadError, match=r"recorded/0/3\.1\.1: fails"):
        read_box(source, 0, WHOLE)
    source.failing = set()
    np.testing.assert_array_equal(read_box(source, 0, WHOLE), source.arrays[0])


def test_a_chunk_that_cannot_be_read_is_zero_where_that_is_asked_for(source):
    source.failing = {(3, 1, 1), (0, 0, 0)}
    failures = {}
    box = ((0, 5), (5, 17), (2, 23))
    out = np.full((5, 12, 21), 9, "u2")
    read_box(source, 0, box, out, failed=failures.__setitem__)
    expected = source.arrays[0].copy()
    for index in source.failing:
        expected[box_slices(source.meta.levels[0].grid.bounds(index))] = 0
    np.testing.assert_array_equal(out, expected[box_slices(box)])
    assert set(failures) == source.failing
    assert all(isinstance(error, ChunkReadError) for error in failures.values())


def test_who_keeps_the_failures_keeps_no_pixels(source):
    class Pixels(np.ndarray):
        pass

    source.failing = {(0, 0, 0)}
    failures, out = {}, np.zeros(SHAPE, "u2").view(Pixels)
    alive = weakref.ref(out)
    read_box(source, 0, WHOLE, out, failed=failures.__setitem__)
    del out
    gc.collect()
    eventually(lambda: alive() is None)
    assert str(failures[0, 0, 0]) == "recorded/0/0.0.0: fails because the test says so"
    assert failures[0, 0, 0].__traceback__ is None


def test_an_error_of_another_kind_is_raised_even_where_failures_are_taken(source):
    source.chunk = lambda _level, _index: 1 / 0
    with pytest.raises(ZeroDivisionError):
        read_box(source, 0, WHOLE, failed=lambda *_: None)


def test_an_error_of_the_one_who_hears_of_failures_comes_out(source):
    source.failing = {(0, 0, 0)}

    def failed(index, error):
        raise LookupError(index)

    with pytest.raises(LookupError):
        read_box(source, 0, WHOLE, failed=failed)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 1, 10), "u2"),
        np.zeros((1, 9, 10), "u2"),
        np.zeros((8, 10), "u2"),
        np.zeros((1, 8, 10), "u4"),
    ],
)
def test_a_chunk_of_another_form_is_an_error_and_never_stretched(source, wrong):
    class Wrong:
        key, path = ("wrong", wrong.shape, wrong.dtype.str), "wrong.png"

        def load(self):
            return wrong.copy()

    source.chunk = lambda _level, _index: Wrong()
    match = (
        r"wrong\.png: expected pixels of shape \(1, 8, 10\) and type uint16, found .* open it again"
    )
    with pytest.raises(ChunkReadError, match=match) as caught:
        read_box(source, 0, ((0, 1), (0, 8), (0, 10)))
    assert caught.value.path == "wrong.png"
    with pytest.raises(ChunkReadError, match=match):
        read_chunk(Wrong(), (1, 8, 10), np.dtype("u2"))
    failures = []
    read_box(source, 0, ((0, 1), (0, 8), (0, 10)), failed=lambda *args: failures.append(args))
    assert len(failures) == 1


# --- cancel and progress


@pytest.mark.parametrize("box", [WHOLE, ((2, 3), (0, 8), (0, 10))])
def test_progress_counts_the_chunks(source, box):
    counts = []
    read_box(source, 0, box, progress=counts.append)
    assert counts == list(range(1, source.meta.levels[0].grid.count(box) + 1))


@pytest.mark.parametrize("box", [WHOLE, ((2, 3), (0, 8), (0, 10))])
def test_a_cancelled_read_reads_nothing(source, box):
    with pytest.raises(CancelledError):
        read_box(source, 0, box, cancel=lambda: True)
    assert not source.loads


def test_cancel_stops_before_the_next_chunk():
    settings.update(workers=2)
    gate, stop = threading.Event(), threading.Event()
    source = RecordingSource(pixels(SHAPE), CHUNKS, gate=gate)

    def cancel_then_let():
        eventually(lambda: len(source.loads) == 2)
        stop.set()
        gate.set()

    other = threading.Thread(target=cancel_then_let)
    other.start()
    with pytest.raises(CancelledError):
        read_box(source, 0, WHOLE, cancel=stop.is_set)
    other.join()
    assert len(source.loads) == 2
    eventually(lambda: scheduler.shared.snapshot()["running"] == 0)


@pytest.fixture
def ctrl_c():
    """Let the signal raise, as it does but for a process that a shell began in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_reading_ends_the_read_and_spoils_nothing(source):
    settings.update(workers=3)
    plain, interrupted, came = source.chunk, [], threading.Event()

    class Interrupting:
        """Ctrl-C comes while the main thread decodes; the others leave a chunk to it."""

        def __init__(self, chunk):
            self.chunk, self.key = chunk, chunk.key

        def load(self):
            if threading.current_thread() is threading.main_thread() and not interrupted:
                interrupted.append(self.key)
                came.set()
                signal.raise_signal(signal.SIGINT)
            assert came.wait(20)
            return self.chunk.load()

    source.chunk = lambda level, index: Interrupting(plain(level, index))
    with pytest.raises(KeyboardInterrupt):
        read_box(source, 0, WHOLE)
    eventually(lambda: scheduler.shared.snapshot()["running"] == 0)
    assert cache.shared.snapshot()["reading"] == 0
    np.testing.assert_array_equal(read_box(source, 0, WHOLE), source.arrays[0])
    assert len(source.loads) == len(set(source.loads))


# --- sampled


@given(sources_and_boxes(), st.data())
def test_a_sampled_box_is_numpys_strided_slice_and_takes_those_chunks_alone(case, data):
    source, box = case
    steps = tuple(data.draw(st.integers(1, 15)) for _ in box)
    strided = tuple(
        slice(start, stop, step) for (start, stop), step in zip(box, steps, strict=True)
    )
    assert sampled_shape(box, steps) == source.arrays[0][strided].shape
    grid = source.meta.levels[0].grid
    holding = np.zeros(source.meta.shape, bool)
    holding[strided] = True
    needed = [
        index
        for index in np.ndindex(grid.numblocks)
        if holding[box_slices(grid.bounds(index))].any()
    ]
    assert sampled_chunks(source, 0, box, steps) == needed


def test_a_sampled_box_is_found_in_a_million_chunks_without_looking_at_each():
    class Endless(RecordingSource):
        def __init__(self):
            super().__init__(np.zeros((1, 4), "u1"), (1, 4))

    source = Endless()
    grid = type(source.meta.levels[0].grid)((10**9, 4), (1000, 4))
    object.__setattr__(source.meta.levels[0], "grid", grid)
    assert sampled_chunks(source, 0, ((5, 10**9), (0, 4)), (10**8, 1)) == [
        (i * 10**5, 0) for i in range(10)
    ]


# --- one chunk, and what the status hears of it


def state(source, index, level=0):
    return status.shared.state(source.token, level, index)


def test_a_block_is_read_through_the_cache_and_the_status_hears(source):
    found = read_block(source, 0, (1, 2, 1))
    np.testing.assert_array_equal(found, source.arrays[0][1:2, 16:17, 10:14])
    assert read_block(source, 0, (1, 2, 1)) is found is peek_block(source, 0, (1, 2, 1))
    assert not found.flags.writeable
    assert state(source, (1, 2, 1)) == "loaded"
    cache.shared.drop()
    assert state(source, (1, 2, 1)) == "evicted"
    summary = status.shared.summary([source.token])
    assert (summary.reads, summary.read_nbytes, summary.evicted) == (1, 8, 1)


def test_a_peek_reads_nothing(source):
    assert peek_block(source, 0, (1, 2, 1)) is None
    assert (source.loads, state(source, (1, 2, 1))) == ([], None)


def test_a_box_tells_how_each_chunk_fares(source):
    source.failing = {(1, 0, 0)}
    read_box(source, 0, ((0, 2), (0, 8), (0, 10)), failed=lambda *_error: None)
    assert status.shared.states(source.token) == {
        (0, (0, 0, 0)): "loaded",
        (0, (1, 0, 0)): "failed",
    }
    read_box(source, 0, ((2, 4), (0, 8), (0, 10)), keep=False)
    read_box(source, 0, ((0, 1), (0, 8), (0, 10)), keep=False)
    assert status.shared.states(source.token) == {
        (0, (0, 0, 0)): "loaded",
        (0, (1, 0, 0)): "failed",
        (0, (2, 0, 0)): "evicted",
        (0, (3, 0, 0)): "evicted",
    }


class Unwilling:
    """A source that has no reference to its chunks."""

    token = "unwilling"

    def __init__(self, error):
        self.error, self.meta = error, RecordingSource(pixels(SHAPE), CHUNKS).meta

    def chunk(self, level, index):
        raise self.error


@pytest.mark.parametrize(
    ("error", "after"), [(ValueError("no"), "failed"), (KeyboardInterrupt(), None)]
)
def test_a_source_that_gives_no_chunk_does_not_leave_it_queued(error, after):
    source = Unwilling(error)
    status.shared.queue(source.token, 0, [(0, 0, 0)])
    status.shared.dequeued(source.token, 0, (0, 0, 0))
    with pytest.raises(type(error)):
        read_block(source, 0, (0, 0, 0))
    assert state(source, (0, 0, 0)) == after


def test_a_peek_at_a_file_that_is_gone_is_nothing():
    assert peek_block(Unwilling(ChunkReadError("gone", "")), 0, (0, 0, 0)) is None


@pytest.mark.parametrize("wrong", [np.zeros((1, 8, 9), "u2"), np.zeros((1, 8, 10), "u1")])
def test_a_chunk_of_another_form_is_failed_and_never_seen(source, wrong):
    heard = []
    stop = status.shared.connect(lambda *news: heard.append(news[3]))
    source.chunk = lambda level, index: Other(type(source).chunk(source, level, index), wrong)
    for _ in range(3):
        with pytest.raises(ChunkReadError, match="expected pixels of shape"):
            read_block(source, 0, (0, 0, 0))
        assert peek_block(source, 0, (0, 0, 0)) is None
        assert state(source, (0, 0, 0)) == "failed"
    assert len(heard) == 1  # told once, though the pixels are in the cache now
    del source.chunk
    cache.shared.drop()
    assert state(source, (0, 0, 0)) == "failed"
    read_block(source, 0, (0, 0, 0))
    assert (state(source, (0, 0, 0)), heard[1:]) == ("loaded", [None])
    stop()


class Other:
    """A chunk whose file was replaced by another one."""

    path = "replaced.png"

    def __init__(self, chunk, found):
        self.key, self.found = chunk.key, found

    def load(self):
        return self.found.copy()


# --- where samples lie


@given(st.data())
def test_samples_of_a_chunk_are_those_of_the_whole_axis(data):
    size, step = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 9))
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first + 1, size))
    axis = np.arange(size)
    thin = axis[start:stop:step]
    target, taken = samples((start, stop), (first, last), step)
    if max(start, first) < min(stop, last):
        np.testing.assert_array_equal(
            axis[first:last][taken], thin[(thin >= first) & (thin < last)]
        )
        np.testing.assert_array_equal(thin[target], axis[first:last][taken])


def test_a_peek_tells_the_status_of_another_source_of_the_same_file(source):
    other = RecordingSource(source.arrays[0], (1, 1, 1))
    other.meta, other.chunk = source.meta, source.chunk
    read_block(source, 0, (1, 2, 1))
    assert status.shared.state(other.token, 0, (1, 2, 1)) is None
    assert peek_block(other, 0, (1, 2, 1)) is not None
    assert status.shared.state(other.token, 0, (1, 2, 1)) == "loaded"
