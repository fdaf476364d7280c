"""Lazy arrays against dask and NumPy: every form of index, every scheduler, nothing in vain."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from dask.base import tokenize
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.pixels import pixels
from napari_lazyload.arrays.lazy_array import LazyArray, level_array
from napari_lazyload.core import settings
from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.loading import cache, status
from napari_lazyload.testing.sources import RecordingSource

SHAPE, CHUNKS = (5, 17, 23), (1, 8, (10, 4, 9))
WAIT = 30


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.current())
    monkeypatch.setattr(settings, "_chosen", dict(settings._chosen))
    cache.shared.drop()
    yield
    cache.shared.drop()


@pytest.fixture
def source():
    return RecordingSource(pixels(SHAPE), CHUNKS)


@pytest.fixture
def lazy(source):
    return level_array(source)


class CountingSource:
    """Any number of chunks, each filled with its number; counts who looks at one."""

    def __init__(self, shape, chunks, token="counting"):
        grid = ChunkGrid(shape, chunks)
        level = LevelMeta(grid, (1.0,) * len(shape))
        self.meta = ImageMeta("many", tuple("tyx"[-len(shape) :]), np.dtype("u1"), (level,))
        self.token, self.looked, self.names = token, 0, ["name"] * 3

    def chunk(self, level, index):
        self.looked += 1
        grid = self.meta.levels[level].grid
        return CountedChunk(self.token, index, tuple(b - a for a, b in grid.bounds(index)))


class CountedChunk:
    def __init__(self, token, index, shape):
        self.key, self.index, self.shape = (token, index), index, shape

    def load(self):
        return np.full(self.shape, sum(self.index) % 251, "u1")


def same(found, expected):
    """A dask array, or what it computes, is exactly a NumPy one."""
    assert isinstance(found, da.Array)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if isinstance(found, LazyArray) and found.source is not None:
        assert (
            found.chunks
            == da.from_array(found.source.arrays[0], chunks=chunks_of(found))[
                slices_of(found)
            ].chunks
        )
        np.testing.assert_array_equal(np.asarray(found), expected)
    computed = found.compute(scheduler="sync")
    np.testing.assert_array_equal(computed, expected)
    assert computed.dtype == expected.dtype


def chunks_of(lazy):
    return lazy.source.meta.levels[lazy.level].grid.chunks


def slices_of(lazy):
    return tuple(
        slice(start, stop) if axis in lazy.kept_axes else start
        for axis, (start, stop) in enumerate(lazy.box)
    )


# --- index forms

FORMS = {
    "integer": np.s_[2],
    "negative": np.s_[-1],
    "numpy integer": np.s_[np.int64(2), np.uint8(3)],
    "slices": np.s_[1:3, 2:9, 3:20],
    "negative slices": np.s_[-3:-1, :, -20:-2],
    "step": np.s_[::2, 1::3],
    "reversed": np.s_[::-1, ::-2],
    "beyond": np.s_[3:100, :, -100:5],
    "ellipsis": np.s_[...],
    "ellipsis first": np.s_[..., 3],
    "ellipsis between": np.s_[1, ..., 3:5],
    "ellipsis for nothing": np.s_[1, 2:3, ..., 4:5],
    "nothing": (),
    "new axis": np.s_[None, 1, :, None, 2:4],
    "empty": np.s_[3:3],
    "empty within": np.s_[1, 5:2],
    "all integers": np.s_[1, 2, 3],
    "list": np.s_[[3, 0, 3]],
    "empty list": np.s_[[]],
    "list on a later axis": np.s_[1:3, [5, 2], :4],
    "negative list": np.s_[:, [-1, 0]],
    "array": np.s_[np.array([4, 1])],
    "mask": np.s_[np.array([True, False, True, False, True])],
    "mask on a later axis": np.s_[:, np.arange(17) % 3 == 0],
    "list and integer": np.s_[2, [1, 2]],
    "slices of numpy": slice(np.int32(1), np.int64(3)),
    "zero-dimensional array": np.s_[np.array(2)],
}


@pytest.mark.parametrize("index", FORMS.values(), ids=FORMS)
def test_an_index_means_what_it_means_to_numpy(lazy, index):
    same(lazy[index], pixels(SHAPE)[index])


def test_a_dask_array_as_index(lazy):
    mask = da.from_array(pixels(SHAPE) > 900, chunks=(2, 9, 9))
    np.testing.assert_array_equal(lazy[mask].compute(), pixels(SHAPE)[pixels(SHAPE) > 900])
    np.testing.assert_array_equal(
        lazy[da.from_array(np.array([3, 1]))].compute(), pixels(SHAPE)[[3, 1]]
    )
    own = lazy > 900
    np.testing.assert_array_equal(lazy[own].compute(), pixels(SHAPE)[pixels(SHAPE) > 900])


def keys(size):
    bound = st.none() | st.integers(-size - 2, size + 2)
    steps = st.none() | st.sampled_from([1, 1, 1, 2, 3, -1, -2])
    return st.one_of(
        st.integers(-size, size - 1),
        st.builds(slice, bound, bound),
        st.builds(slice, bound, bound, steps),
        st.just(slice(None)),
    )


@st.composite
def indices(draw):
    """An index as users and napari write it, with a list, a mask or a new axis (dask takes one)."""
    index = [draw(keys(size)) for size in SHAPE[: draw(st.integers(0, 3))]]
    extra = draw(st.sampled_from(["nothing", "list", "mask", "ellipsis", "new axis"]))
    if index and extra in ("list", "mask"):
        axis = draw(st.integers(0, len(index) - 1))
        size = SHAPE[axis]
        if extra == "list":
            index[axis] = draw(st.lists(st.integers(-size, size - 1), min_size=1, max_size=6))
        else:
            index[axis] = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    if extra in ("ellipsis", "new axis"):
        index.insert(draw(st.integers(0, len(index))), Ellipsis if extra == "ellipsis" else None)
    return tuple(index)


@given(st.lists(indices(), min_size=1, max_size=3))
@example([np.s_[1:4], np.s_[:, 3:], np.s_[-1]])
@example([np.s_[-6::-1]])
def test_indices_one_after_the_other_against_dask(chain):
    source = RecordingSource(pixels(SHAPE), CHUNKS)
    lazy, plain = level_array(source), da.from_array(pixels(SHAPE), chunks=CHUNKS)
    for index in chain:
        if may_go_back_from_before_the_start(index, plain.shape):
            continue  # there NumPy is right
        try:
            plain = plain[index]
        except Exception as err:  # noqa: BLE001 - whatever dask raises
            with pytest.raises(type(err)):
                lazy[index]
            continue
        lazy = lazy[index]
        assert (lazy.shape, lazy.chunks, lazy.dtype) == (plain.shape, plain.chunks, plain.dtype)
    expected = plain.compute(scheduler="sync")
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), expected)
    np.testing.assert_array_equal(np.asarray(lazy), expected)
    assert len(source.loads) == len(set(source.loads))


@given(st.lists(st.tuples(*map(keys, SHAPE)), min_size=1, max_size=2))
def test_basic_indices_against_numpy(chain):
    lazy, expected = level_array(RecordingSource(pixels(SHAPE), CHUNKS)), pixels(SHAPE)
    for whole in chain:
        index = whole[: expected.ndim]
        try:
            further = expected[index]
        except IndexError:
            with pytest.raises(IndexError):
                lazy[index]
            continue
        if not isinstance(lazy, LazyArray) and may_go_back_from_before_the_start(
            index, expected.shape
        ):
            continue  # dask's own array by now
        lazy, expected = lazy[index], further
    same(lazy, np.asarray(expected))


def may_go_back_from_before_the_start(index, shape):
    """Tell indices that dask takes for all of an axis, where NumPy's are empty, and some others."""
    return any(
        isinstance(key, slice)
        and (key.step or 1) < 0
        and key.start is not None
        and key.start < -min(shape, default=0)
        for key in (index if isinstance(index, tuple) else (index,))
    )


@pytest.mark.parametrize(
    "index",
    [
        np.s_[-6::-1],
        np.s_[-6:-9:-2, 1],
        np.s_[..., -30::-1],
        np.s_[None, 2, ..., -18::-1, :],
        np.s_[:, None, -18::-1],
        np.s_[[3, 0], -18::-1],
        np.s_[np.array([True, False, True, False, True]), ..., -24::-3],
    ],
)
def test_a_slice_that_goes_back_from_before_the_start_is_empty(index):
    expected = pixels(SHAPE)[index]
    assert 0 in expected.shape
    same(level_array(RecordingSource(pixels(SHAPE), CHUNKS))[index], expected)


def outcome(array, index):
    """What an index gives: an array, or the type of an error."""
    try:
        return array[index].compute(scheduler="sync").tolist()
    except Exception as err:  # noqa: BLE001 - whatever dask raises
        return type(err)


ODD = {
    "beyond": 5,
    "before": -6,
    "beyond on a later axis": (0, 17),
    "too many": (0, 0, 0, 0),
    "two ellipses": (..., ...),
    "float": 1.5,
    "text": "a",
    "slice of floats": slice(0.5, 2),
    "step zero": slice(None, None, 0),
    "list beyond": [7],
    "short mask": np.zeros(4, bool),
    "true": True,
    "false": (0, False),
    "true of numpy": np.True_,
    "zero-dimensional mask": np.array(True),
}


@pytest.mark.parametrize("index", ODD.values(), ids=ODD)
def test_an_odd_index_does_what_dask_does(lazy, index):
    assert outcome(lazy, index) == outcome(da.from_array(pixels(SHAPE), chunks=CHUNKS), index)


class Number:
    """Something that counts as an integer, such as a scalar of another library."""

    def __index__(self):
        return 2


class Several:
    """Says that it is an integer, and is not: a tensor of several numbers."""

    def __index__(self):
        raise TypeError("only integer tensors of a single element can be converted to an index")

    def __array__(self, dtype=None, copy=None):
        return np.array([1, 3])


def test_integers_of_other_libraries(lazy):
    assert isinstance(lazy[Number()], LazyArray)
    same(lazy[Number()], pixels(SHAPE)[2])
    assert outcome(lazy, Several()) == outcome(
        da.from_array(pixels(SHAPE), chunks=CHUNKS), Several()
    )


# --- it stays a box


def test_basic_slices_stay_boxes(lazy):
    part = lazy[1:4, :, 3:20][2, ..., 2:9]
    assert isinstance(part, LazyArray)
    assert (part.box, part.kept_axes, part.level) == (((3, 4), (0, 17), (5, 12)), (1, 2), 0)
    assert lazy[...] is lazy
    assert lazy[:, :] is lazy
    assert type(lazy[::2]) is type(lazy[None]) is type(lazy + 1) is da.Array


def test_it_has_dasks_own_attributes(lazy):
    plain = da.from_array(pixels(SHAPE), chunks=CHUNKS)
    for part, other in (
        (lazy, plain),
        (lazy[1:3, 2], plain[1:3, 2]),
        (lazy[1, 2, 3], plain[1, 2, 3]),
    ):
        for name in (
            "shape",
            "chunks",
            "chunksize",
            "numblocks",
            "npartitions",
            "ndim",
            "size",
            "nbytes",
            "dtype",
        ):
            assert getattr(part, name) == getattr(other, name), name
            assert type(getattr(part, name)) is type(getattr(other, name)), name
        assert type(part._meta) is type(other._meta)
        assert part.__dask_keys__() == _renamed(other.__dask_keys__(), other.name, part.name)
        assert repr(part).startswith("dask.array<lazyload")
    assert len(lazy) == 5
    with pytest.raises(TypeError, match="len"):
        len(lazy[1, 2, 3])
    assert int(lazy[1, 2, 3]) == pixels(SHAPE)[1, 2, 3]
    assert [frame.shape for frame in lazy] == [(17, 23)] * 5
    assert all(isinstance(frame, LazyArray) for frame in lazy)


def _renamed(keys, old, new):
    if isinstance(keys, list):
        return [_renamed(key, old, new) for key in keys]
    return (keys[0].replace(old, new), *keys[1:])


def test_only_the_chunks_of_a_slice_are_read_once(lazy, source):
    np.asarray(lazy[1:3, 2:5, 11:13])
    lazy[1:3, 2:5, 11:13].compute()
    assert sorted(source.loads) == [(0, (1, 0, 1)), (0, (2, 0, 1))]


def test_making_and_slicing_reads_nothing_and_looks_at_no_chunk():
    source = CountingSource((10**6, 64, 64), (1, 64, 64))
    lazy = level_array(source)
    window = lazy[:, 3:60, 5:]
    for step in (0, 7, 999_999):
        frame = window[step]
        assert frame.shape == (57, 59)
        frame.dask  # noqa: B018 - made when looked at
        len(frame.dask.layers)
    lazy[10:999_000].dask  # noqa: B018
    repr(lazy)
    copy.copy(frame)
    assert source.looked == 0
    np.asarray(window[7])
    assert source.looked == 1
    window[8].compute()
    assert source.looked == 2


def test_the_shape_of_ten_million_frames_is_not_added_up(monkeypatch):
    lazy = level_array(CountingSource((10**7, 8, 8), (1, 8, 8)))
    monkeypatch.setattr(
        da.core, "cached_cumsum", lambda *_args, **_options: pytest.fail("added up")
    )
    assert (lazy.shape, lazy.size, lazy.ndim, len(lazy)) == ((10**7, 8, 8), 64 * 10**7, 3, 10**7)
    assert lazy[5].shape == (8, 8)
    assert lazy[:, 2:4].chunks[0] is lazy.chunks[0]


@pytest.mark.parametrize("dump", [pickle.dumps, cloudpickle.dumps])
def test_a_slice_of_a_million_frames_pickles_small(dump):
    source = CountingSource((10**6, 64, 64), (1, 64, 64))
    source.names = [f"img_{number}.png" for number in range(10**5)]
    window = level_array(source)[:, 3:60, 5:]
    frame = window[123_456]
    assert len(dump(frame)) < 20_000
    assert len(dump(frame + 1)) < 20_000
    assert len(dump(frame.dask)) < 20_000
    assert len(dump(window[5:15])) < 20_000
    many = dump(level_array(source)[:5000])
    np.testing.assert_array_equal(pickle.loads(many)[4999, 0, 0].compute(), 4999 % 251)


# --- to NumPy


@pytest.mark.parametrize("part", [np.s_[:], np.s_[2], np.s_[1:3, 5], np.s_[1, 2, 3]])
def test_numpy_gets_a_new_array_of_the_type_asked_for(lazy, part):
    lazy, expected = lazy[part], pixels(SHAPE)[part]
    for found in (np.asarray(lazy), np.array(lazy), np.asarray(lazy, copy=True), lazy.__array__()):
        np.testing.assert_array_equal(found, expected)
        assert type(found) is np.ndarray
        assert (found.dtype, found.shape, found.flags.writeable) == (
            expected.dtype,
            expected.shape,
            True,
        )
    assert np.asarray(lazy, dtype="f4").dtype == "f4"
    np.testing.assert_array_equal(np.asarray(lazy, dtype=">i8"), expected)
    first = np.asarray(lazy)
    first[...] = 0
    np.testing.assert_array_equal(np.asarray(lazy), expected)
    for computed in (lazy.compute(scheduler="threads"), lazy.compute(scheduler="sync")):
        assert not any(np.shares_memory(computed, kept) for kept in cache.shared._entries.values())


def test_without_a_copy_there_is_nothing_to_give(lazy, source):
    with pytest.raises(ValueError, match="still to be read"):
        np.asarray(lazy, copy=False)
    with pytest.raises(ValueError, match="still to be read"):
        lazy.__array__(copy=False)
    assert not source.loads


def test_numpys_functions_give_dask(lazy):
    assert type(np.mean(lazy)) is da.Array
    np.testing.assert_array_equal(
        np.concatenate([lazy, lazy]).compute(), np.concatenate([pixels(SHAPE)] * 2)
    )
    np.testing.assert_array_equal(
        (lazy.astype("i4") - 5).clip(0, 100).max(axis=0), (pixels(SHAPE) - 5.0).clip(0, 100).max(0)
    )
    assert lazy.astype(lazy.dtype) is lazy


OPERATIONS = {
    "arithmetic": lambda x: x * 2 + 1,
    "reduction": lambda x: x.sum(axis=(0, 2)),
    "rechunk": lambda x: x.rechunk((2, 5, 7)),
    "map_blocks": lambda x: x.map_blocks(np.sqrt),
    "map_overlap": lambda x: x.astype("f8").map_overlap(
        lambda block: block, depth=1, boundary="reflect"
    ),
    "stack": lambda x: da.stack([x[0], x[2], x[-1]]),
    "concatenate": lambda x: da.concatenate([x[:2], x[3:]]),
    "block": lambda x: da.block([[x[0], x[1]], [x[2], x[3]]]),
    "transpose": lambda x: x.T[::-1],
    "reshape": lambda x: x.reshape(5, -1),
    "persist": lambda x: x[1:3].persist() + 1,
    "blocks": lambda x: x.blocks[1, :, 2],
    "vindex": lambda x: x.vindex[[0, 2], [3, 4], [5, 6]],
    "where": lambda x: da.where(x > 500, x, 0),
    "percentile": lambda x: da.histogram(x, bins=10, range=(0, 2000))[0],
    "nested": lambda x: x.map_blocks(lambda block: block, dtype=x.dtype)[1:, 2:].rechunk(-1),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_operations_are_those_of_a_plain_dask_array(lazy, source, operation, scheduler):
    plain = operation(da.from_array(pixels(SHAPE), chunks=CHUNKS))
    found = operation(lazy)
    assert type(found) is da.Array
    assert found.chunks == plain.chunks
    np.testing.assert_array_equal(
        found.compute(scheduler=scheduler), plain.compute(scheduler="sync")
    )
    assert len(source.loads) == len(set(source.loads))


def test_compute_in_processes(source):
    settings.update(workers=2)
    expected = pixels(SHAPE)
    lazy = level_array(source)
    with dask.config.set({"multiprocessing.context": "spawn", "num_workers": 1}):
        found = dask.compute(lazy, lazy[2], lazy[1:3, 5] + 1, scheduler="processes")
    for one, part in zip(found, (expected, expected[2], expected[1:3, 5] + 1), strict=True):
        np.testing.assert_array_equal(one, part)
    assert not source.loads  # not here


@pytest.mark.parametrize("processes", [True, False])
def test_compute_on_a_cluster(processes, source, tmp_path, caplog):
    distributed = pytest.importorskip("distributed")
    source.failing = {(4, 0, 0)}
    lazy = level_array(source)
    with (
        dask.config.set({"temporary-directory": str(tmp_path)}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=processes, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = client.gather(
            client.compute([lazy[:4], lazy[2], lazy[1:3].sum(), da.stack([lazy[0], lazy[1]])])
        )
        expected = [
            pixels(SHAPE)[:4],
            pixels(SHAPE)[2],
            pixels(SHAPE)[1:3].sum(),
            pixels(SHAPE)[:2],
        ]
        for one, part in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, part)
        kept = lazy[1:3].persist()
        np.testing.assert_array_equal(kept, pixels(SHAPE)[1:3])
        with pytest.raises(ChunkReadError, match=r"recorded/0/4\.0\.0: fails") as caught:
            lazy[4].compute()
        assert caught.value.path == "recorded/0/4.0.0"
        blank = level_array(source, on_error="blank")[4].compute()
        assert (blank[:8, :10] == 0).all()
        np.testing.assert_array_equal(blank[8:], pixels(SHAPE)[4, 8:])
        if processes:
            assert {found.cache_budget for found in client.run(settings.current).values()} == {
                32 * settings.MIB
            }


def test_leaves_do_not_wait_for_the_pool_they_run_in(lazy):
    """Computing within tasks, on a pool of two, on chunks that others read at the same time."""
    settings.update(workers=2)

    def nested(block):
        inner = (
            np.asarray(lazy[1:3]).sum()
            + lazy[2:4].compute(scheduler="threads", num_workers=2).sum()
        )
        return block + inner.astype(block.dtype)

    done = []

    def work():
        done.append(lazy.map_blocks(nested, dtype="u2").compute(scheduler="threads", num_workers=2))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(done) == 3
    add = (pixels(SHAPE)[1:3].sum() + pixels(SHAPE)[2:4].sum()).astype("u2")
    np.testing.assert_array_equal(done[0], pixels(SHAPE) + add)


def test_many_threads_make_the_graph_of_one_array(source):
    for _ in range(20):
        lazy = level_array(source)
        gate = threading.Barrier(4)

        def work(lazy=lazy, gate=gate):
            gate.wait()
            return lazy[1].compute(scheduler="sync").sum() + lazy.sum().compute(scheduler="sync")

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(lambda _: work(), range(4)))) == 1


# --- names, copies, assignment


def test_names_tell_pixels_apart_and_are_the_same_in_every_process(source):
    lazy = level_array(source)
    again = level_array(pickle.loads(pickle.dumps(source)))
    assert lazy.name == again.name
    assert lazy[1:3, 2].name == again[1:3][:, 2].name
    assert tokenize(lazy) == tokenize(again)
    assert tokenize(lazy.dask) == tokenize(again.dask)
    others = [
        lazy,
        lazy[1],
        lazy[1:2],
        lazy[2],
        lazy[:, 1],
        level_array(source, on_error="blank"),
        level_array(RecordingSource(pixels(SHAPE), CHUNKS)),
    ]
    assert len({other.name for other in others}) == len(others)
    assert len({tokenize(other) for other in others}) == len(others)
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        assert tokenize(lazy.map_blocks(np.sqrt)) == tokenize(again.map_blocks(np.sqrt))


NAMES = """
from tests_source import CountingSource
from napari_lazyload.arrays.lazy_array import level_array
from dask.base import tokenize
lazy = level_array(CountingSource())
print(lazy.name, lazy[3:9, 2].name, tokenize(lazy.dask), tokenize(lazy[2] + 1))
"""


def test_names_do_not_depend_on_the_hash_seed(tmp_path):
    (tmp_path / "tests_source.py").write_text(
        "import numpy as np\n"
        "from napari_lazyload.core.chunks import ChunkGrid\n"
        "from napari_lazyload.core.metadata import ImageMeta, LevelMeta\n"
        "class CountingSource:\n"
        "    token = 'same'\n"
        "    level = LevelMeta(ChunkGrid((10, 4), (1, 4)), (1.0, 1.0))\n"
        "    meta = ImageMeta('i', ('t', 'y'), np.dtype('u1'), (level,))\n"
        "    def chunk(self, level, index): return index\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", NAMES],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("part", [np.s_[:], np.s_[1:3, 5], np.s_[1, 2, 3]])
def test_copies_and_pickles_give_the_same_pixels(lazy, part):
    lazy, expected = lazy[part], pixels(SHAPE)[part]
    for again in (
        lazy.copy(),
        copy.copy(lazy),
        copy.deepcopy(lazy),
        pickle.loads(pickle.dumps(lazy)),
    ):
        assert again is not lazy
        assert (again.name, again.chunks, again.dtype) == (lazy.name, lazy.chunks, lazy.dtype)
        np.testing.assert_array_equal(again.compute(), expected)
    assert isinstance(lazy.copy(), LazyArray)
    assert isinstance(copy.deepcopy(lazy), LazyArray)
    assert type(pickle.loads(pickle.dumps(lazy))) is da.Array


ASSIGNMENTS = {
    "slice": (np.s_[1:3], 7),
    "element": (np.s_[0, 0, 0], 9),
    "all": (np.s_[...], 3),
    "array": (np.s_[2], np.arange(23)),
    "list": (np.s_[[0, 4]], 1),
}


@pytest.mark.parametrize(("index", "value"), ASSIGNMENTS.values(), ids=ASSIGNMENTS)
def test_what_is_assigned_shows_in_this_array_alone(lazy, source, index, value):
    kept, part, before = lazy.copy(), lazy[1], lazy.name
    expected = pixels(SHAPE)
    lazy[index] = value
    expected[index] = value
    for found in (
        np.asarray(lazy),
        lazy.compute(),
        np.asarray(lazy[1:3]),
        pickle.loads(pickle.dumps(lazy)).compute(),
    ):
        np.testing.assert_array_equal(found, expected[1:3] if found.shape[0] == 2 else expected)
    assert lazy.source is None
    assert lazy.name != before
    assert (lazy.shape, len(lazy), lazy.level) == (SHAPE, 5, 0)
    assert type(lazy[1]) is da.Array
    np.testing.assert_array_equal(lazy.copy(), expected)
    np.testing.assert_array_equal(copy.deepcopy(lazy), expected)
    np.testing.assert_array_equal(kept, pixels(SHAPE))
    np.testing.assert_array_equal(part, pixels(SHAPE)[1])
    np.testing.assert_array_equal(level_array(source), pixels(SHAPE))


def test_assignment_through_a_mask_and_twice(lazy):
    expected = pixels(SHAPE)
    lazy[lazy > 1000] = 0
    expected[expected > 1000] = 0
    lazy[0] = 5
    expected[0] = 5
    np.testing.assert_array_equal(lazy, expected)
    part = lazy[1:3]
    part[0] = 1
    np.testing.assert_array_equal(lazy, expected)


def test_a_ufunc_may_write_into_it(lazy):
    out = level_array(RecordingSource(np.zeros(SHAPE, "u2"), CHUNKS))
    np.add(lazy, 1, out=out)
    np.testing.assert_array_equal(out, pixels(SHAPE) + 1)


# --- what cannot be read


@pytest.mark.parametrize("part", [np.s_[:], np.s_[3], np.s_[2:4, 3:12, 12], np.s_[3, 9, 12]])
@pytest.mark.parametrize(
    "read", [np.asarray, da.Array.compute, lambda x: (x + 0).compute()], ids=["numpy", "dask", "op"]
)
def test_a_chunk_that_cannot_be_read(source, part, read):
    source.failing = {(3, 1, 1)}
    with pytest.raises(ChunkReadError, match=r"recorded/0/3\.1\.1: fails"):
        read(level_array(source)[part])
    expected = pixels(SHAPE)
    expected[3, 8:16, 10:14] = 0
    found = read(level_array(source, on_error="blank")[part])
    np.testing.assert_array_equal(found, expected[part])
    assert found.dtype == "u2"
    source.failing = set()
    np.testing.assert_array_equal(
        read(level_array(source, on_error="blank")[part]), pixels(SHAPE)[part]
    )


def test_a_layer_that_no_display_is_bound_to_shows_blanks(source):
    layers = pytest.importorskip("napari.layers")
    source.failing = {(0, 0, 0)}
    layer = layers.Image(level_array(source), contrast_limits=(0, 1), cache=False)
    layer.refresh()
    assert status.shared.failures(source.token).keys() == {(0, (0, 0, 0))}
    with pytest.raises(ChunkReadError):
        np.asarray(layer.data)
    status.shared.forget(source.token)


def test_who_is_called_while_napari_slices_reads_exactly(source):
    source.failing = {(0, 0, 0)}
    lazy, napari = level_array(source), {"__name__": "napari.layers._scalar_field", "np": np}
    exec(
        "def _slice(data): return np.asarray(data)\ndef save(data): return np.asarray(data)", napari
    )
    exec("def _update_slice(listener): return listener()", napari)
    assert (napari["_slice"](lazy)[0, :8, :10] == 0).all()
    with pytest.raises(ChunkReadError):
        napari["save"](lazy)
    with pytest.raises(ChunkReadError):
        napari["_update_slice"](lambda: np.asarray(lazy))
    status.shared.forget(source.token)


# --- odd levels


@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4), (0,)])
@pytest.mark.parametrize("on_error", ["raise", "blank"])
def test_a_level_without_pixels(shape, on_error):
    source = RecordingSource(np.zeros(shape, "u2"), (2,) * len(shape))
    lazy, plain = level_array(source, on_error=on_error), da.zeros(shape, dtype="u2", chunks=2)
    assert (lazy.shape, lazy.chunks, lazy.numblocks) == (plain.shape, plain.chunks, plain.numblocks)
    for found in (
        np.asarray(lazy),
        lazy.compute(),
        (lazy + 1).compute(),
        pickle.loads(pickle.dumps(lazy)).compute(),
    ):
        assert (found.shape, found.dtype) == (shape, np.dtype("u2"))
    assert lazy[..., :2].compute().shape == plain[..., :2].shape


def test_a_level_of_no_axes_and_a_level_of_one_pixel():
    lazy = level_array(RecordingSource(np.array(7, "u1"), (), axes=("none",), factors=[()]))
    assert (
        lazy.shape,
        lazy.chunks,
        int(np.asarray(lazy)),
        int(lazy.compute()),
        int(lazy[()] + 1),
    ) == ((), (), 7, 7, 8)
    same(level_array(RecordingSource(np.ones((1, 1), "u1"), (1, 1)))[0], np.ones(1, "u1"))


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u8", "f2", "f8", "c8", [("a", "u1"), ("b", "f4")]], ids=str
)
def test_any_dtype(dtype):
    array = np.zeros((4, 6), dtype)
    array[1:, 2:] = np.ones((), dtype)
    lazy = level_array(RecordingSource(array, (2, 4)))
    for found in (np.asarray(lazy), lazy.compute(), np.asarray(lazy[3]), lazy[1:, 3].compute()):
        assert found.dtype == dtype
    np.testing.assert_array_equal(np.asarray(lazy), array)
    np.testing.assert_array_equal(lazy.compute(), array)


def test_levels_of_a_pyramid():
    source = RecordingSource([pixels((8, 8)), pixels((4, 4))], (3, 3))
    np.testing.assert_array_equal(level_array(source, 1)[1:, 2], source.arrays[1][1:, 2])
    assert level_array(source, 0).name != level_array(source, 1).name
