"""The chunk cache: one budget, each chunk read once, failures shared, no leak, no deadlock."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_lazyload.core import settings
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading import cache as module
from napari_lazyload.loading.cache import ChunkCache
from napari_lazyload.loading.status import LoadStatus

WAIT = 20


class FakeChunk:
    """A chunk made by a function, which counts its loads."""

    def __init__(self, key, make=lambda: np.zeros(10, "u1")):
        self.key, self.make, self.loads = key, make, 0

    def load(self):
        self.loads += 1
        return self.make()


class Gated:
    """Something to load that begins, tells so, and ends when it is let."""

    def __init__(self, result=None):
        self.result, self.began, self.let = result, threading.Event(), threading.Event()

    def __call__(self):
        self.began.set()
        assert self.let.wait(WAIT)
        if isinstance(self.result, BaseException):
            raise self.result
        return np.zeros(10, "u1") if self.result is None else self.result


def kept(cache):
    return list(cache._entries)


def assert_adds_up(cache):
    snapshot = cache.snapshot()
    assert (
        snapshot["nbytes"] == sum(array.nbytes for array in cache._entries.values()) == cache.nbytes
    )
    assert snapshot["chunks"] == len(cache._entries) == len(cache)
    assert snapshot["reading"] == len(cache._flights)


def test_a_chunk_is_read_once_and_then_served_from_memory():
    cache, chunk = ChunkCache(lambda: 100), FakeChunk("a")
    first = cache.read(chunk)
    assert cache.read(FakeChunk("a")) is first
    assert chunk.loads == 1
    counters = cache.counters
    assert (counters.reads, counters.hits, counters.read_nbytes, counters.failures) == (1, 1, 10, 0)
    assert_adds_up(cache)


def test_a_chunk_too_large_for_the_memory_is_an_error_of_its_file():
    chunk = FakeChunk("a", lambda: np.zeros(1 << 50, "u8"))
    with pytest.raises(ChunkReadError, match="expected a chunk that fits into the memory"):
        ChunkCache(lambda: 100).read(chunk)


def test_the_least_recently_used_go_first():
    cache = ChunkCache(lambda: 30)
    for name in "abc":
        cache.read(FakeChunk(name))
    cache.read(FakeChunk("a"))
    cache.read(FakeChunk("d"))
    assert kept(cache) == ["c", "a", "d"]
    assert cache.counters.evictions == 1
    assert_adds_up(cache)


def test_a_chunk_over_the_budget_is_given_but_not_kept_and_evicts_nothing():
    cache = ChunkCache(lambda: 30)
    cache.read(FakeChunk("a"))
    assert cache.read(FakeChunk("big", lambda: np.zeros(31, "u1"))).size == 31
    assert (kept(cache), cache.counters.evictions) == (["a"], 0)
    assert cache.read(FakeChunk("exact", lambda: np.zeros(30, "u1"))).size == 30
    assert kept(cache) == ["exact"]
    assert_adds_up(cache)


def test_the_budget_may_change_at_any_time():
    budget = 100
    cache = ChunkCache(lambda: budget)
    for name in "abcde":
        cache.read(FakeChunk(name))
    budget = 20
    assert len(cache) == 5
    cache.trim()
    assert kept(cache) == ["d", "e"]
    budget = 10
    cache.read(FakeChunk("f"))  # without a call to trim
    assert kept(cache) == ["f"]
    budget = 0
    cache.read(FakeChunk("g"))
    cache.trim()
    assert (kept(cache), cache.nbytes) == ([], 0)
    assert_adds_up(cache)


def test_the_shared_cache_follows_the_setting():
    settings.update(cache_budget=20)
    for name in "abc":
        module.shared.read(FakeChunk(("setting", name)))
    assert kept(module.shared) == [("setting", "b"), ("setting", "c")]


def test_tiny_chunks_cannot_fill_memory_with_what_is_not_counted(monkeypatch):
    monkeypatch.setattr(module, "LEAST_ENTRIES", 4)
    cache = ChunkCache(lambda: 8 * module.ENTRY_NBYTES)
    for number in range(20):
        cache.read(FakeChunk(number, lambda: np.zeros(1, "u1")))
    assert kept(cache) == list(range(12, 20))
    for number in range(20):
        cache.read(FakeChunk((number, "empty"), lambda: np.zeros(0, "u1")))
    assert len(cache) == 8
    assert_adds_up(cache)


# --- keep=False: crops and batches


def test_a_crop_uses_what_is_kept_and_changes_nothing():
    cache = ChunkCache(lambda: 30)
    for name in "abc":
        cache.read(FakeChunk(name))
    again = FakeChunk("a")
    cache.read(again, keep=False)
    assert again.loads == 0
    assert cache.counters.hits == 1
    for name in "xyz":
        cache.read(FakeChunk(name), keep=False)
    assert kept(cache) == ["a", "b", "c"]  # nor did "a" become the latest used
    assert cache.counters.evictions == 0
    assert_adds_up(cache)


@pytest.mark.parametrize(("first", "second"), [(False, True), (True, False), (False, False)])
def test_who_joins_a_read_decides_too_whether_it_is_kept(first, second):
    cache, gated = ChunkCache(lambda: 100), Gated()
    chunk = FakeChunk("a", gated)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(cache.read, chunk, keep=first)
        assert gated.began.wait(WAIT)
        two = pool.submit(cache.read, chunk, keep=second)
        while cache.counters.shared == 0:
            pass
        gated.let.set()
        assert one.result(WAIT) is two.result(WAIT)
    assert chunk.loads == 1
    assert ("a" in cache) == (first or second)
    assert_adds_up(cache)


# --- reads under way


def test_each_chunk_is_read_once_however_many_threads_ask():
    cache = ChunkCache(lambda: 1 << 20)
    chunks = [FakeChunk(number) for number in range(50)]
    gate = threading.Barrier(8)

    def ask(seed):
        gate.wait()
        for number in np.random.default_rng(seed).permutation(50):
            assert cache.read(chunks[number]).size == 10

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert [chunk.loads for chunk in chunks] == [1] * 50
    counters = cache.counters
    assert counters.hits + counters.shared + counters.reads == 8 * 50
    assert_adds_up(cache)


def test_a_failure_reaches_all_who_wait_and_the_next_call_tries_again():
    cache, gated = ChunkCache(lambda: 100), Gated(ChunkReadError("a.png: truncated", "a.png"))
    chunk = FakeChunk("a", gated)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(cache.read, chunk)]
        assert gated.began.wait(WAIT)
        asked += [pool.submit(cache.read, chunk) for _ in range(3)]
        while cache.counters.shared < 3:
            pass
        gated.let.set()
        raised = [one.exception(WAIT) for one in asked]
    # Each thread its own, so that no traceback grows in two threads.
    assert len(set(map(id, raised))) == 4
    assert {(type(error), str(error), error.path) for error in raised} == {
        (ChunkReadError, "a.png: truncated", "a.png")
    }
    assert (cache.counters.reads, cache.counters.failures, chunk.loads) == (1, 1, 1)
    gated.result = np.ones(10, "u1")
    assert cache.read(chunk)[0] == 1
    assert_adds_up(cache)


class StubbornError(Exception):
    """Cannot be copied: its arguments are not those that it was made with."""

    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")


def test_an_error_that_cannot_be_copied_is_still_the_one_that_is_raised():
    cache, gated = ChunkCache(lambda: 100), Gated(StubbornError(3, "no"))
    chunk = FakeChunk("a", gated)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(cache.read, chunk)
        assert gated.began.wait(WAIT)
        two = pool.submit(cache.read, chunk)
        while cache.counters.shared == 0:
            pass
        gated.let.set()
        for asked in (one, two):
            with pytest.raises(StubbornError, match="3: no"):
                asked.result(WAIT)


def test_the_cause_of_a_failure_reaches_those_who_waited():
    error = ChunkReadError("a.png: cannot be read", "a.png")
    error.__cause__ = OSError(5, "Input/output error")
    again = module._again(error)
    assert (str(again), again.path) == ("a.png: cannot be read", "a.png")
    assert again.__cause__ is error.__cause__
    assert again.__traceback__ is None


def test_a_read_that_ends_between_two_looks_is_not_done_again(monkeypatch):
    cache, original, first = ChunkCache(lambda: 100), ChunkCache._join_pending, []

    def join(self, key, mine, *, keep):
        if not first:
            first.append(FakeChunk("a"))
            self.read(first[0])  # another thread is faster
        return original(self, key, mine, keep=keep)

    monkeypatch.setattr(ChunkCache, "_join_pending", join)
    second = FakeChunk("a")
    assert cache.read(second).size == 10
    assert (first[0].loads, second.loads) == (1, 0)
    assert (cache.counters.reads, cache.counters.hits, cache.snapshot()["reading"]) == (1, 1, 0)
    assert_adds_up(cache)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_who_waits_for_a_read_that_is_interrupted_reads_it_himself(interrupt):
    cache, gated = ChunkCache(lambda: 100), Gated(interrupt())
    other = FakeChunk("a", lambda: np.full(10, 7, "u1"))
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(cache.read, FakeChunk("a", gated))
        assert gated.began.wait(WAIT)
        two = pool.submit(cache.read, other)
        while cache.counters.shared == 0:
            pass
        gated.let.set()
        assert two.result(WAIT)[0] == 7
        with pytest.raises(interrupt):
            one.result(WAIT)
    assert other.loads == 1
    assert_adds_up(cache)


@pytest.mark.parametrize("method", ["_join_pending", "_load"])
def test_an_interrupt_at_any_point_leaves_no_read_that_never_ends(monkeypatch, method):
    cache = ChunkCache(lambda: 100)
    original = getattr(cache, method)

    def interrupted(*args, **kwargs):
        if method == "_join_pending":
            original(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.read(FakeChunk("a"))
    monkeypatch.undo()
    assert cache.snapshot()["reading"] == 0
    assert cache.read(FakeChunk("a")).size == 10


def test_a_budget_that_cannot_be_told_does_not_leave_others_waiting():
    def broken():
        raise RuntimeError("no budget")

    cache = ChunkCache(broken)
    with pytest.raises(RuntimeError, match="no budget"):
        cache.read(FakeChunk("a"))
    assert not cache._flights


def test_a_file_that_is_gone_is_told_before_anything_is_counted():
    class Gone:
        @property
        def key(self):
            raise ChunkReadError("gone.png: not there", "gone.png")

    cache = ChunkCache(lambda: 100)
    with pytest.raises(ChunkReadError, match="not there"):
        cache.read(Gone())
    assert cache.counters.reads == 0


# --- dropping


def test_chunks_are_dropped_by_key():
    cache = ChunkCache(lambda: 100)
    for name in ("a1", "a2", "b1"):
        cache.read(FakeChunk(name))
    assert cache.drop(lambda key: key.startswith("a")) == 2
    assert kept(cache) == ["b1"]
    assert cache.drop() == 1
    assert cache.counters.evictions == 0
    assert_adds_up(cache)


def test_a_read_that_ends_after_its_data_set_was_closed_is_not_kept():
    cache, gated = ChunkCache(lambda: 100), Gated()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(cache.read, FakeChunk("a", gated))
        assert gated.began.wait(WAIT)
        assert cache.drop(lambda key: key == "a") == 0
        gated.let.set()
        assert late.result(WAIT).size == 10
    assert "a" not in cache
    assert_adds_up(cache)


def test_a_drop_may_look_into_the_cache_and_is_not_in_the_way_of_others():
    cache = ChunkCache(lambda: 100)
    cache.read(FakeChunk("a"))

    def belongs(key):
        with ThreadPoolExecutor(1) as pool:  # another thread reads while this one decides
            return pool.submit(cache.read, FakeChunk(key)).result(WAIT).size == 10

    assert cache.drop(belongs) == 1


def test_the_garbage_collector_may_drop_in_a_thread_that_is_in_the_cache():
    cache = ChunkCache(lambda: 100)
    cache.read(FakeChunk("a"))
    done = threading.Event()

    def both():
        with cache._lock:
            cache.drop()
        done.set()

    threading.Thread(target=both, daemon=True).start()
    assert done.wait(WAIT)


# --- what is kept, and what is not


def test_what_is_kept_is_read_only_and_nothing_writable_leads_to_it():
    cache = ChunkCache(lambda: 10_000)
    views = [
        np.zeros(10, "u1"),
        np.zeros(10, "u1").reshape(1, 2, 5),
        np.zeros((4, 10), "u1")[1:3],
        np.frombuffer(bytearray(10), "u1"),
        np.asfortranarray(np.zeros((4, 5), "u1")),
        np.broadcast_to(np.zeros(1, "u1"), (100,)),
    ]
    for number, array in enumerate(views):
        found = cache.read(FakeChunk(number, lambda array=array: array))
        np.testing.assert_array_equal(found, array)
        while isinstance(found, np.ndarray):
            assert not found.flags.writeable
            found = found.base
        assert found is None  # no buffer of anybody else
    assert_adds_up(cache)


def test_a_view_of_something_larger_does_not_keep_it():
    cache = ChunkCache(lambda: 10_000)
    page = np.zeros((100, 10), "u1")
    alive = weakref.ref(page)
    chunk = FakeChunk("a", page[:1].view)
    cache.read(chunk)
    del page, chunk
    assert alive() is None
    assert cache.nbytes == 10


def test_a_frame_with_an_axis_more_is_kept_without_a_copy():
    frame = np.zeros((4, 5), "u1")
    assert np.shares_memory(
        ChunkCache(lambda: 100).read(FakeChunk("a", lambda: frame.reshape(1, 4, 5))), frame
    )


def test_a_mapping_is_not_kept_open(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(bytes(range(10)))
    found = ChunkCache(lambda: 100).read(FakeChunk("a", lambda: np.memmap(path, "u1", "r")))
    assert type(found) is np.ndarray
    assert found.base is None
    assert found[9] == 9


NO_GARBAGE = """
import gc, weakref
import numpy as np
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading.cache import ChunkCache

class Pixels(np.ndarray):
    pass

class Chunk:
    key = "a"
    def load(self):
        pixels = np.zeros(1000, "u1").view(Pixels)  # in the frame that fails
        alive.append(weakref.ref(pixels))
        raise ChunkReadError("a.png: truncated", "a.png")

cache, alive = ChunkCache(lambda: 100), []
gc.collect()
gc.disable()
for _ in range(3):
    try:
        cache.read(Chunk())
    except ChunkReadError:
        pass
assert [ref() for ref in alive] == [None] * 3
"""


def test_a_failed_read_leaves_no_garbage():
    # In a process of its own: what other tests load may hold on to the last error of a thread.
    subprocess.run([sys.executable, "-c", NO_GARBAGE], check=True)


def test_the_numbers_are_json_and_pickle():
    cache = ChunkCache(lambda: 100)
    cache.read(FakeChunk("a"))
    snapshot = cache.snapshot()
    assert {type(value) for value in snapshot.values()} == {int}
    assert snapshot["budget"] == 100
    assert pickle.loads(pickle.dumps(cache.counters)) == cache.counters


# --- what views hold beside the cache


def test_what_is_lent_is_not_there_for_chunks_until_it_comes_back():
    cache = ChunkCache(lambda: 50)
    for name in "abcde":
        cache.read(FakeChunk(name))
    cache.reserve("view", 15)
    assert kept(cache) == ["c", "d", "e"]
    cache.reserve("other", 10)
    assert kept(cache) == ["d", "e"]
    assert cache.snapshot()["lent"] == 25
    cache.reserve("view", 5)  # instead of 15, not besides
    for name in "xyz":
        cache.read(FakeChunk(name))
    assert kept(cache) == ["x", "y", "z"]
    cache.reserve("view", 0)
    cache.reserve("other", 0)
    cache.reserve("nobody", 0)
    assert (cache.snapshot()["lent"], cache._reserved) == (0, {})
    for name in "abcde":
        cache.read(FakeChunk(name))
    assert kept(cache) == list("abcde")
    assert_adds_up(cache)


def test_more_may_be_lent_than_there_is():
    cache = ChunkCache(lambda: 50)
    cache.read(FakeChunk("a"))
    cache.reserve("view", 80)
    assert kept(cache) == []
    assert cache.read(FakeChunk("a")).size == 10
    assert kept(cache) == []
    cache.reserve("view", 0)
    assert cache.read(FakeChunk("a")).size == 10
    assert kept(cache) == ["a"]


def test_a_look_reads_nothing_and_counts_as_a_use():
    cache = ChunkCache(lambda: 30)
    absent = FakeChunk("a")
    assert cache.peek(absent) is None
    assert (absent.loads, cache.counters.hits) == (0, 0)
    for name in "abc":
        cache.read(FakeChunk(name))
    assert cache.peek(FakeChunk("a")) is cache.read(FakeChunk("a"))
    cache.read(FakeChunk("d"))
    assert kept(cache) == ["c", "a", "d"]


def test_a_look_does_not_wait_for_a_read_under_way():
    cache, gated = ChunkCache(lambda: 100), Gated()
    chunk = FakeChunk("a", gated)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(cache.read, chunk)
        assert gated.began.wait(WAIT)
        assert cache.peek(chunk) is None
        gated.let.set()
        late.result(WAIT)
    assert cache.peek(chunk) is not None


# --- whom it tells


class Told:
    """A reporter that records its calls."""

    def __init__(self):
        self.news = []

    def begin(self):
        self.news.append("begin")

    def end(self, nbytes):
        self.news.append(("end", nbytes))

    def loaded(self, key, *, kept):
        self.news.append(("have", key, kept))
        return False

    def fail(self, error):
        self.news.append(("fail", str(error)))


def reports(cache, chunk, *, fails=None, **options):
    reporter = Told()
    if fails is None:
        cache.read(chunk, reporter=reporter, **options)
    else:
        with pytest.raises(fails):
            cache.read(chunk, reporter=reporter, **options)
    return reporter.news


def test_a_note_is_told_once_what_became_of_a_read():
    cache = ChunkCache(lambda: 15)
    assert reports(cache, FakeChunk("a")) == ["begin", ("end", 10), ("have", "a", True)]
    assert reports(cache, FakeChunk("a")) == [("have", "a", True)]
    assert reports(cache, FakeChunk("a"), keep=False) == [("have", "a", True)]
    assert reports(cache, FakeChunk("b"), keep=False) == [
        "begin",
        ("end", 10),
        ("have", "b", False),
    ]
    big = FakeChunk("big", lambda: np.zeros(16, "u1"))
    assert reports(cache, big) == ["begin", ("end", 16), ("have", "big", False)]
    broken = FakeChunk("c", lambda: 1 / 0)
    assert reports(cache, broken, fails=ZeroDivisionError) == [
        "begin",
        ("fail", "division by zero"),
    ]


def test_a_note_is_told_that_a_file_is_gone():
    class Gone:
        @property
        def key(self):
            raise ChunkReadError("gone.png: not there", "gone.png")

    assert reports(ChunkCache(), Gone(), fails=ChunkReadError) == [("fail", "gone.png: not there")]


def test_a_note_is_told_that_pixels_are_not_what_was_expected_and_nothing_else():
    def check(pixels):
        if pixels.shape != (20,):
            raise ChunkReadError("expected 20", "")

    cache = ChunkCache(lambda: 100)
    failed = ("fail", "expected 20")
    assert reports(cache, FakeChunk("a"), fails=ChunkReadError, check=check) == [
        "begin",
        ("end", 10),
        failed,
    ]
    assert reports(cache, FakeChunk("a"), fails=ChunkReadError, check=check) == [failed]
    with pytest.raises(ChunkReadError, match="expected 20"):
        cache.read(FakeChunk("a"), check=check)


def test_who_waits_for_a_read_of_another_is_told_what_came_of_it_but_did_not_read():
    cache, gated = ChunkCache(lambda: 100), Gated(ChunkReadError("truncated", ""))
    chunk, first, second = FakeChunk("a", gated), Told(), Told()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(cache.read, chunk, reporter=first)
        assert gated.began.wait(WAIT)
        two = pool.submit(cache.read, chunk, reporter=second)
        while cache.counters.shared == 0:
            pass
        gated.let.set()
        assert [type(asked.exception(WAIT)) for asked in (one, two)] == [ChunkReadError] * 2
    assert (first.news, second.news) == (["begin", ("fail", "truncated")], [("fail", "truncated")])


def test_it_tells_of_each_chunk_that_it_lets_go_of():
    gone = []
    cache = ChunkCache(lambda: 30, gone.append)
    for name in "abcd":
        cache.read(FakeChunk(name))
    assert gone == ["a"]
    cache.drop(lambda key: key == "c")
    assert gone == ["a", "c"]
    cache.reserve("view", 20)
    assert gone == ["a", "c", "b"]
    cache.drop()
    assert gone == ["a", "c", "b", "d"]


def test_pixels_of_another_source_with_the_same_key_are_loaded_for_both():
    status = LoadStatus()
    cache = ChunkCache(lambda: 20, status.evicted)
    cache.read(FakeChunk("a"), reporter=status.reporter("one", 0, (0,)))
    cache.read(FakeChunk("a"), reporter=status.reporter("two", 1, (5,)))
    assert (status.state("one", 0, (0,)), status.state("two", 1, (5,))) == ("loaded", "loaded")
    assert (status.summary(["one"]).reads, status.summary(["two"]).reads) == (1, 0)
    cache.drop()
    assert (status.state("one", 0, (0,)), status.state("two", 1, (5,))) == ("evicted", "evicted")
    assert not status._kept


def test_a_source_that_waited_for_pixels_that_are_not_kept_had_them_and_is_failed_no_more():
    status, gated, heard = LoadStatus(), Gated(), []
    status.fail("two", 0, (0,), "gone")
    status.connect(lambda *news: heard.append(news))
    cache = ChunkCache(lambda: 20, status.evicted)
    chunk = FakeChunk("a", gated)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(cache.read, chunk, keep=False, reporter=status.reporter("one", 0, (0,)))
        assert gated.began.wait(WAIT)
        two = pool.submit(cache.read, chunk, keep=False, reporter=status.reporter("two", 0, (0,)))
        while cache.counters.shared == 0:
            pass
        assert status.state("one", 0, (0,)) == "loading"
        gated.let.set()
        one.result(WAIT), two.result(WAIT)
    assert (status.state("one", 0, (0,)), status.state("two", 0, (0,))) == ("evicted", "evicted")
    assert (status.failures("two"), heard) == ({}, [("two", 0, (0,), None)])


def test_listeners_hear_outside_of_the_lock_of_the_cache():
    """Whoever hears may wait for another thread that reads."""
    status, cache = LoadStatus(), ChunkCache(lambda: 100)
    status.fail("a", 0, (0,), "gone")
    done = []

    def listener(*_news):
        with ThreadPoolExecutor(1) as pool:
            done.append(pool.submit(cache.read, FakeChunk("b")).result(WAIT).size)

    status.connect(listener)
    cache.read(FakeChunk("a"), reporter=status.reporter("a", 0, (0,)))
    assert done == [10]


def test_no_eviction_comes_between_the_look_and_the_word():
    """Otherwise a chunk would be called loaded for ever, or evicted while it is there."""
    status = LoadStatus()
    cache = ChunkCache(lambda: 100, status.evicted)
    original, dropped = status.loaded, threading.Event()

    def loaded(reporter, key, *, kept):
        threading.Thread(target=lambda: (cache.drop(), dropped.set()), daemon=True).start()
        assert not dropped.wait(0.05)  # it has to wait
        return original(reporter, key, kept=kept)

    status.loaded = loaded
    cache.read(FakeChunk("a"), reporter=status.reporter("a", 0, (0,)))
    assert dropped.wait(WAIT)
    assert status.state("a", 0, (0,)) == "evicted"
    assert not status._kept


def test_status_and_cache_agree_whatever_threads_do():
    status = LoadStatus()
    cache = ChunkCache(lambda: 50, status.evicted)

    def work(seed):
        draw = np.random.default_rng(seed)
        for _ in range(500):
            number = int(draw.integers(10))
            reporter = status.reporter("ab"[draw.integers(2)], 0, (number,))
            cache.read(FakeChunk(number), keep=bool(draw.integers(3)), reporter=reporter)
            if draw.integers(50) == 0:
                odd = int(draw.integers(2))
                cache.drop(lambda key, odd=odd: key % 2 == odd)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    for token in "ab":
        loaded = {
            index[0] for (_, index), state in status.states(token).items() if state == "loaded"
        }
        assert loaded <= set(cache._entries)
        assert all(state in ("loaded", "evicted") for state in status.states(token).values())
    assert set(status._kept) <= set(cache._entries)
    numbers = {number for owners in status._kept.values() for _, (_, (number,)) in owners}
    assert numbers == set(status._kept)
    cache.drop()
    assert not status._kept
    assert status.summary().loaded == 0
