"""Boxes read straight into their place: exact, once, never kept, and failing chunk by chunk."""

from __future__ import annotations

import os
import pickle

import dask
import numpy as np
import pytest
from dask.callbacks import Callback
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.arrays.lazy_array import level_array
from napari_lazyload.core import settings
from napari_lazyload.core.chunks import ChunkGrid, box_slices
from napari_lazyload.core.errors import CancelledError, ChunkReadError
from napari_lazyload.loading import cache, direct_read, status
from napari_lazyload.loading.read_box import read_block, read_box
from napari_lazyload.sources import files
from napari_lazyload.sources.binary import read_strided, strided_chunks
from napari_lazyload.sources.binary.strided import Frames, StridedFileSource, StridedLayout, dense
from napari_lazyload.sources.binary.strided_chunks import Linear

SHAPE = (6, 40, 50)
WHOLE = tuple((0, size) for size in SHAPE)


def pixels(shape=SHAPE, dtype="<u2"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.fixture
def read_pieces(monkeypatch):
    """The pieces that are read: (offset, bytes) of each."""
    pieces = []
    original = read_strided._read_into

    def read_into(file, offset, target):
        pieces.append((offset, target.nbytes))
        original(file, offset, target)

    monkeypatch.setattr(read_strided, "_read_into", read_into)
    return pieces


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Sizes as of a big file: planes of 4,000 bytes are read straight, three of them at once."""
    monkeypatch.setattr(direct_read, "LEAST", 2000)
    monkeypatch.setattr(direct_read, "AT_ONCE", 12_000)
    monkeypatch.setattr(strided_chunks, "LONG_RUN", 64)


def source_of(path, array=None, chunks=(1, 10, 50), **more):
    array = pixels() if array is None else array
    array.tofile(path)
    return StridedFileSource(
        dense(array.shape, array.dtype),
        [(str(path), None)],
        "raw",
        ("z", "y", "x"),
        chunks=chunks,
        **more,
    )


@pytest.fixture
def source(tmp_path):
    return source_of(tmp_path / "a.raw")


# --- exact


@st.composite
def layouts(draw):
    """Pixels of any form in a file, and how they lie."""
    shape = tuple(draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
    stored = (
        np.arange(np.prod(shape))
        .reshape(shape)
        .astype(draw(st.sampled_from(["u1", "<u2", ">i4", ">f8"])))
    )
    order = draw(st.permutations(range(len(shape))))
    gap = draw(st.integers(0, 3))
    strides, step = [0] * len(shape), stored.itemsize
    for axis in order:
        strides[axis], step = step, step * (shape[axis] + gap)
    box = tuple(
        sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in shape
    )
    return (
        stored,
        StridedLayout(shape, stored.dtype, draw(st.integers(0, 5)), tuple(strides)),
        tuple(map(tuple, box)),
    )


@given(layouts(), st.booleans(), st.data())
def test_any_box_of_any_layout_is_numpys_slice(tmp_path_factory, case, keep, data):
    array, layout, box = case
    path = tmp_path_factory.mktemp("raw") / "a.raw"
    content = np.zeros(layout.end, "u1")
    np.ndarray(layout.shape, layout.dtype, content, layout.offset, layout.strides)[...] = array
    content.tofile(path)
    chunks = tuple(data.draw(st.integers(1, size)) for size in layout.shape)
    convert = data.draw(st.sampled_from([None, Linear(2.0, 1.0, "float64")]))
    dtype = None if convert is None else "float64"
    axes = tuple("tzyx"[: array.ndim])
    source = StridedFileSource(
        layout, [(str(path), None)], "raw", axes, chunks=chunks, convert=convert, dtype=dtype
    )
    expected = (array if convert is None else array * 2.0 + 1)[box_slices(box)]
    at_once, least = direct_read.AT_ONCE, direct_read.LEAST
    direct_read.AT_ONCE, direct_read.LEAST = (
        data.draw(st.sampled_from([1, 40, 300])),
        data.draw(st.sampled_from([1, 100])),
    )
    try:
        found = read_box(source, 0, box, keep=keep)
        wide = np.full((*(2 * size for size in expected.shape),), 7, "f4")
        out = wide[(slice(1, None, 2),) * array.ndim]
        read_box(source, 0, box, out, keep=keep)
    finally:
        direct_read.AT_ONCE, direct_read.LEAST = at_once, least
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == source.meta.dtype
    np.testing.assert_array_equal(out, expected.astype("f4"))
    out[...] = 7
    assert (wide == 7).all()


@pytest.mark.parametrize(
    "part",
    [
        np.s_[2],
        np.s_[1:5],
        np.s_[:, 3:37],
        np.s_[2, :, 7:43],
        np.s_[..., 4],
        np.s_[::2],
        np.s_[3, [4, 1]],
    ],
)
@pytest.mark.parametrize("read", [np.asarray, lambda x: x.compute(), lambda x: (x + 0).compute()])
@pytest.mark.parametrize("dtype", ["<u2", ">f4"])
def test_every_way_to_read_gives_the_pixels(tmp_path, part, read, dtype):
    array = pixels(dtype=dtype)
    data = level_array(source_of(tmp_path / "a.raw", array))
    found = read(data[part])
    np.testing.assert_array_equal(found, array[part])
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.flags.writeable


@pytest.mark.parametrize("page", [1, 4096])
@pytest.mark.parametrize("box", [WHOLE, ((0, 6), (3, 30), (0, 50)), ((1, 5), (0, 40), (7, 20))])
def test_pixels_are_read_into_an_array_of_any_strides(source, monkeypatch, page, box):
    monkeypatch.setattr(read_strided, "PAGE", page)  # gaps are read through, or left out
    expected = pixels()[box_slices(box)]
    for step in ((1, 1, 2), (1, 2, 1), (2, 1, 1)):
        every = tuple(slice(None, None, one) for one in step)
        wide = np.zeros([size * one for size, one in zip(expected.shape, step, strict=True)], "u2")
        read_box(source, 0, box, wide[every], keep=False)
        np.testing.assert_array_equal(wide[every], expected)
        assert wide.sum() == expected.sum()


# --- what is read, and how often


def test_a_plane_is_one_read_and_not_kept(source, read_pieces):
    for read in (np.asarray, lambda x: x.compute()):
        np.testing.assert_array_equal(read(level_array(source)[4]), pixels()[4])
        assert read_pieces == [(16_000, 4000)]
        assert len(cache.shared) == 0
        read_pieces.clear()


def test_a_stack_is_read_in_pieces_of_neighbouring_chunks(source, read_pieces):
    np.testing.assert_array_equal(read_box(source, 0, WHOLE), pixels())
    assert sorted(read_pieces) == [(0, 12_000), (12_000, 12_000)]


def test_a_task_of_dask_reads_its_part_of_a_chunk_alone(tmp_path, read_pieces):
    data = level_array(source_of(tmp_path / "a.raw", chunks=(6, 40, 50)))
    np.testing.assert_array_equal((data[2] + 1).compute(scheduler="synchronous"), pixels()[2] + 1)
    assert read_pieces == [(8000, 4000)]
    assert len(cache.shared) == 0


def test_a_task_of_dask_takes_its_part_of_a_chunk_that_is_in_memory(tmp_path, read_pieces):
    source = source_of(tmp_path / "a.raw", chunks=(6, 40, 50))
    read_block(source, 0, (0, 0, 0))
    read_pieces.clear()
    np.testing.assert_array_equal(
        (level_array(source)[2] + 1).compute(scheduler="synchronous"), pixels()[2] + 1
    )
    assert read_pieces == []


@pytest.mark.parametrize(
    ("part", "slope"), [(np.s_[2, 7], 1), (np.s_[2], 2)], ids=["small", "converted"]
)
def test_a_task_of_dask_reads_a_chunk_once_where_its_part_alone_would_cost_as_much(
    tmp_path, read_pieces, part, slope
):
    more = {"convert": Linear(slope, 0.0, "f4"), "dtype": "f4"} if slope > 1 else {}
    data = level_array(source_of(tmp_path / "a.raw", chunks=(6, 40, 50), **more))
    for _ in range(2):
        found = (data[part] + 1).compute(scheduler="synchronous")
        np.testing.assert_array_equal(found, pixels()[part] * slope + 1)
    assert read_pieces == [(0, 24_000)]


def test_chunks_in_memory_are_used(source, read_pieces):
    read_block(source, 0, (2, 1, 0))
    read_pieces.clear()
    for read in (np.asarray, lambda x: (x + 0).compute(scheduler="synchronous")):
        np.testing.assert_array_equal(read(level_array(source)[2]), pixels()[2])
        assert (9000, 1000) not in read_pieces
        assert sum(size for _, size in read_pieces) == 3000
        for number in (0, 2, 3):
            cache.shared.drop(lambda key, number=number: key == source.chunk(0, (2, number, 0)).key)
        read_pieces.clear()


def test_small_boxes_go_through_the_cache(source, read_pieces):
    for row in range(3):
        np.testing.assert_array_equal(level_array(source)[2, row], pixels()[2, row])
    assert read_pieces == [(8000, 1000)]
    assert len(cache.shared) == 1


def test_a_narrow_box_is_read_in_whole_chunks_which_are_kept(source, read_pieces):
    box = ((0, 6), (0, 40), (3, 10))
    for _ in range(2):
        np.testing.assert_array_equal(read_box(source, 0, box), pixels()[box_slices(box)])
    assert sorted(read_pieces) == [(1000 * number, 1000) for number in range(24)]


@pytest.mark.parametrize("order", ["converted", "fastest axis first"])
def test_what_must_be_worked_on_is_kept(tmp_path, read_pieces, order):
    source = source_of(tmp_path / "a.raw")
    if order == "converted":
        source = StridedFileSource(
            source.layout,
            source.files,
            "raw",
            ("z", "y", "x"),
            convert=Linear(2.0, 0.0, "f4"),
            dtype="f4",
        )
    else:
        source = StridedFileSource(
            dense(SHAPE, "<u2", 0, "F"), source.files, "raw", ("z", "y", "x")
        )
    first = read_box(source, 0, WHOLE)
    count = len(read_pieces)
    np.testing.assert_array_equal(read_box(source, 0, WHOLE), first)
    assert len(read_pieces) == count


def test_frames_that_lie_apart_are_read_one_by_one(tmp_path, read_pieces):
    path = tmp_path / "a.raw"
    pixels().tofile(path)
    numbers = np.array([5, -1, 0, 3])
    frames = Frames(1, 4000, 6, numbers)
    layout = StridedLayout((4, 40, 50), np.dtype("<u2"), 0, (4000, 100, 2))
    source = StridedFileSource(layout, [(str(path), None)], "raw", ("z", "y", "x"), frames=frames)
    expected = np.where((numbers >= 0)[:, None, None], pixels()[numbers], 0)
    np.testing.assert_array_equal(read_box(source, 0, ((0, 4), (0, 40), (0, 50))), expected)
    assert {offset for offset, _ in read_pieces} == {0, 12_000, 20_000}


def test_a_slice_takes_no_file_along(source):
    assert len(pickle.dumps(level_array(source)[3])) < 20_000


@given(st.data())
def test_neighbours_are_read_together_as_far_as_that_goes(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=4)))
    grid = ChunkGrid(shape, tuple(data.draw(st.integers(1, size)) for size in shape))
    box = tuple(
        sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in shape
    )
    most, direct_read.AT_ONCE = direct_read.AT_ONCE, data.draw(st.integers(1, 2000))
    try:
        runs = list(direct_read.joined(grid, box, 2))
    finally:
        limit, direct_read.AT_ONCE = direct_read.AT_ONCE, most
    found = [index for run in runs for index in np.ndindex(*map(len, run))]
    assert len(found) == grid.count(box)
    assert {
        tuple(b[i] for b, i in zip(run, at, strict=True))
        for run in runs
        for at in np.ndindex(*map(len, run))
    } == {*grid.touched(box)}
    for run in runs:
        part = direct_read.blocks_box(grid, run, box)
        grown = [axis for axis, blocks in enumerate(run) if len(blocks) > 1]
        if grown:  # whole chunks along the axes before that one may make it more
            inner = part[grown[0] :]
            assert np.prod([stop - start for start, stop in inner]) * 2 <= limit


# --- what fails


def test_a_file_cut_short_fails_chunk_by_chunk(source):
    os.truncate(source.files[0][0], 4 * 4000 + 2 * 1000 + 1)
    with pytest.raises(ChunkReadError, match="ends at byte 18,001"):
        read_box(source, 0, WHOLE)
    failures = {}
    found = read_box(source, 0, WHOLE, failed=failures.__setitem__)
    expected = pixels()
    expected[5] = expected[4, 20:] = 0
    np.testing.assert_array_equal(found, expected)
    assert set(failures) == {(4, 2, 0), (4, 3, 0), *((5, number, 0) for number in range(4))}
    assert status.shared.failures(source.token).keys() == {(0, index) for index in failures}
    pixels().tofile(source.files[0][0])
    np.testing.assert_array_equal(read_box(source, 0, WHOLE), pixels())
    assert status.shared.failures(source.token) == {}


def test_a_file_that_was_replaced_is_not_read(tmp_path):
    path = tmp_path / "a.raw"
    free = source_of(path)
    source = StridedFileSource(
        free.layout, [(str(path), files.FileStamp.at_open(str(path)))], "raw", ("z", "y", "x")
    )
    os.utime(path, ns=(1, 1))
    for read in (np.asarray, lambda x: x.compute(), lambda x: (x + 0).compute()):
        with pytest.raises(ChunkReadError, match="it was replaced"):
            read(level_array(source)[3])
    assert (level_array(source, on_error="blank")[3].compute() == 0).all()


def test_a_file_that_is_locked_for_a_moment_is_read_again(source, monkeypatch):
    original, calls = read_strided._read_into, []

    def locked_at_first(file, offset, target):
        calls.append(offset)
        if len(calls) == 1:
            raise BlockingIOError(11, "try again")
        original(file, offset, target)

    monkeypatch.setattr(read_strided, "_read_into", locked_at_first)
    np.testing.assert_array_equal(level_array(source)[1], pixels()[1])
    assert calls == [4000, 4000]


def test_ctrl_c_while_reading_leaves_nothing_loading(source, monkeypatch):
    def interrupted(_file, _offset, _target):
        raise KeyboardInterrupt

    monkeypatch.setattr(read_strided, "_read_into", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_box(source, 0, ((1, 2), (0, 40), (0, 50)))
    assert status.shared.states(source.token) == {}


# --- what others hear


def test_the_status_counts_what_was_read_and_says_that_it_is_not_kept(source):
    read_block(source, 0, (0, 0, 0))
    read_box(source, 0, ((1, 3), (0, 40), (0, 50)))
    states = status.shared.states(source.token)
    assert states.pop((0, (0, 0, 0))) == "loaded"
    assert states == {(0, (z, y, 0)): "evicted" for z in (1, 2) for y in range(4)}
    assert status.shared.summary([source.token]).read_nbytes == 9000


def test_progress_counts_chunks_and_cancel_stops(source):
    settings.update(workers=1)
    counts = []
    read_box(source, 0, WHOLE, progress=counts.append)
    assert counts == [12, 24]
    answers = iter([False, True])
    with pytest.raises(CancelledError):
        read_box(source, 0, WHOLE, cancel=lambda: next(answers), progress=counts.append)
    assert counts[2:] == [12]


def test_progress_that_raises_is_not_called_again(source):
    settings.update(workers=1)
    calls = []

    def progress(count):
        calls.append(count)
        raise LookupError

    with pytest.raises(LookupError):
        read_box(source, 0, WHOLE, progress=progress)
    assert calls == [12]


def test_dask_computes_where_it_is_told_how_or_somebody_listens(source):
    tasks = []
    data = level_array(source)[2]
    with Callback(posttask=lambda *_: tasks.append(1)):
        np.testing.assert_array_equal(data.compute(), pixels()[2])
    assert len(tasks) >= 4
    used = []

    def scheduler(graph, keys, **more):
        used.append(keys)
        return dask.get(graph, keys, **more)

    with dask.config.set(scheduler=scheduler):
        np.testing.assert_array_equal(data.compute(), pixels()[2])
    np.testing.assert_array_equal(data.compute(scheduler=scheduler), pixels()[2])
    assert len(used) == 2
