"""The requests of a view: in order, no more than the pool has threads, dropped when it changes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from helpers.waiting import eventually
from napari_lazyload.core import settings
from napari_lazyload.core.chunk_states import ChunkState
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.loading.chunk_queue import ChunkQueue
from napari_lazyload.loading.jobs import Job, Tier
from napari_lazyload.loading.scheduler import Scheduler
from napari_lazyload.testing.sources import RecordingSource

WAIT = 20


@pytest.fixture
def pool(monkeypatch):
    """A pool of its own with one thread for what is visible."""
    monkeypatch.setattr(scheduler, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(scheduler, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(scheduler, "STALL_SECONDS", 100.0)  # a busy machine is no read that hangs
    pool = Scheduler()
    monkeypatch.setattr(scheduler, "shared", pool)
    settings.update(workers=1)
    yield pool
    monkeypatch.setattr(scheduler, "IDLE_SECONDS", 0.01)
    end = time.monotonic() + WAIT
    while pool.snapshot()["threads"]:
        assert time.monotonic() < end, "threads are left"
        with pool._wake:
            pool._wake.notify_all()  # some wait for a job to settle, or a read to hang
        time.sleep(0.03)


class Frames(RecordingSource):
    """Two pixels a frame, each of which may be held back."""

    def __init__(self, count=20, **options):
        super().__init__(
            np.repeat(np.arange(count, dtype="u4"), 2).reshape(count, 2), (1, 2), **options
        )
        self.gates = {}

    def hold(self, *numbers):
        for number in numbers:
            self.gates[number] = threading.Event()
        return self

    def chunk(self, level, index):
        chunk = super().chunk(level, index)
        return Gated(chunk, self.gates[index[0]]) if index[0] in self.gates else chunk

    @property
    def began(self):
        return [index[0] for _, index in list(self.loads)]

    def states(self):
        return {
            index[0]: str(state) for (_, index), state in status.shared.states(self.token).items()
        }


class Gated:
    def __init__(self, chunk, gate):
        self.chunk, self.gate, self.key = chunk, gate, chunk.key

    def load(self):
        pixels = self.chunk.load()
        assert self.gate.wait(WAIT)
        return pixels


class Delivered:
    """Remembers what came, in which order."""

    def __init__(self):
        self.news = []

    def __call__(self, level, index, pixels, error):
        assert (pixels is None) != (error is None)
        self.news.append((index[0], None if pixels is None else int(pixels[0, 0]), error))

    @property
    def numbers(self):
        return [number for number, _, _ in list(self.news)]


def places(*numbers):
    return [(0, (number, 0)) for number in numbers]


def begun(source, numbers):
    eventually(lambda: source.began == list(numbers))


def test_chunks_are_read_and_delivered_in_the_order_in_which_they_are_wanted(pool):
    source, came = Frames(), Delivered()
    ChunkQueue(source, Tier.VISIBLE, came).request(places(3, 1, 7, 0, 2))
    eventually(lambda: len(came.news) == 5)
    assert source.began == [3, 1, 7, 0, 2]
    assert came.news == [(number, number, None) for number in (3, 1, 7, 0, 2)]


def test_delivered_pixels_are_those_of_the_cache(pool):
    source, came = Frames(), []
    ChunkQueue(source, Tier.VISIBLE, lambda *news: came.append(news)).request(places(3))
    eventually(lambda: came)
    level, index, pixels, error = came[0]
    assert (level, index, error) == (0, (3, 0), None)
    assert pixels is cache.shared.peek(source.chunk(0, (3, 0)))


def test_what_is_wanted_no_more_is_never_read_and_what_had_begun_is_delivered(pool):
    source, came = Frames().hold(0), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    fetch.request(places(0, 1, 2, 3))
    begun(source, [0])
    fetch.request(places(5, 2))
    source.gates[0].set()
    eventually(lambda: len(came.news) == 3)
    assert source.began == [0, 5, 2]
    assert came.numbers == [0, 5, 2]
    assert not fetch.busy


def test_a_thread_that_was_called_for_the_view_before_reads_nothing(pool, monkeypatch):
    source, came, calls = Frames(), Delivered(), []
    monkeypatch.setattr(pool, "submit", lambda work, **_: calls.append(work))
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    fetch.request(places(0, 1))
    fetch.request(places(5, 6))
    job = Job(lambda _job: None, fetch, Tier.VISIBLE, None)
    calls[0](job)  # it had left the queue, and comes only now
    assert (source.began, len(calls)) == ([], 2)
    calls[1](job)
    assert (source.began, came.numbers, len(calls)) == ([5], [5], 3)


def test_nothing_is_wanted_any_more(pool):
    source, came = Frames().hold(0), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    fetch.request(places(0, 1))
    begun(source, [0])
    fetch.request([])
    assert not fetch.busy  # what is being read is nobody's wish
    assert fetch.reading() == {(0, (0, 0))}
    assert not pool._queue
    source.gates[0].set()
    eventually(lambda: came.numbers == [0])
    eventually(lambda: not pool._running)
    assert source.began == [0]
    assert fetch.reading() == set()


def test_what_is_being_read_is_not_read_again_when_it_is_wanted_again(pool):
    settings.update(workers=2)
    source, came = Frames().hold(0), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    fetch.request(places(0))
    begun(source, [0])
    (job,) = pool._running
    fetch.request(places(4))
    eventually(lambda: came.numbers == [4])
    assert job.cancelled
    assert not fetch.busy
    fetch.request(places(0, 6))
    assert not job.cancelled  # so that it does not count as passed
    assert fetch.busy
    eventually(lambda: came.numbers == [4, 6])
    assert fetch.busy
    source.gates[0].set()
    eventually(lambda: came.numbers == [4, 6, 0])
    assert source.began == [0, 4, 6]
    eventually(lambda: not fetch.busy)


def test_a_read_that_is_wanted_again_goes_on_with_what_comes_next(pool):
    source, came = Frames().hold(0), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    fetch.request(places(0, 1))
    begun(source, [0])
    fetch.request(places(2))
    fetch.request(places(0, 3, 1))
    source.gates[0].set()
    eventually(lambda: len(came.news) == 3)
    assert came.numbers == [0, 3, 1]


def test_the_same_chunk_twice_is_read_and_delivered_once(pool):
    settings.update(workers=3)
    source, came = Frames(), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    fetch.request(places(1, 1, 2, 1))
    eventually(lambda: not fetch.busy)
    eventually(lambda: not pool._running)
    assert sorted(came.numbers) == [1, 2]


def test_as_many_are_read_at_once_as_the_pool_has_threads(pool):
    settings.update(workers=3)
    source = Frames().hold(*range(6))
    fetch = ChunkQueue(source, Tier.VISIBLE, Delivered())
    fetch.request(places(*range(6)))
    eventually(lambda: len(source.began) == 3)
    assert fetch.reading() == set(places(*source.began))
    for gate in source.gates.values():
        gate.set()
    eventually(lambda: not fetch.busy)


# --- what goes wrong


class PanicError(BaseException):
    """What compiled readers raise where they break."""


class Broken:
    def __init__(self, chunk, error):
        self.key, self.error = chunk.key, error

    def load(self):
        if isinstance(self.error, BaseException):
            raise self.error
        return self.error


class BrokenFrames(Frames):
    """Frame 1 breaks, when it is looked up or when it is read."""

    def __init__(self, error, where):
        super().__init__()
        self.error, self.where = error, where

    def chunk(self, level, index):
        if index != (1, 0):
            return super().chunk(level, index)
        if self.where == "chunk":
            raise self.error
        return Broken(super().chunk(level, index), self.error)


@pytest.mark.parametrize("where", ["chunk", "load"])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ChunkReadError("1.png: truncated", "1.png"), "^1.png: truncated$"),
        (ValueError("bad magic"), "^recorded: ValueError: bad magic$"),
        (MemoryError("too large"), "^recorded: MemoryError: too large$|larger one .too large."),
        (PanicError("index out of bounds"), "^recorded: PanicError: index out of bounds$"),
        (np.zeros((1, 3), "u4"), r"expected pixels of shape \(1, 2\)"),
        (np.zeros((1, 2), "u2"), "found .* uint16"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_chunk_that_breaks_is_delivered_as_an_error_and_the_next_ones_come(
    pool, error, says, where
):
    if where == "chunk" and not isinstance(error, BaseException):
        where = "load"
    source, came = BrokenFrames(error, where), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    fetch.request(places(0, 1, 2))
    eventually(lambda: len(came.news) == 3)
    assert [(number, pixel) for number, pixel, _ in came.news] == [(0, 0), (1, None), (2, 2)]
    found = came.news[1][2]
    assert isinstance(found, ChunkReadError)
    assert found.__traceback__ is None  # whose frames hold what was read
    with pytest.raises(ChunkReadError, match=says):
        raise found
    assert not fetch.busy
    assert fetch.reading() == set()
    assert source.states() == {0: "loaded", 1: "failed", 2: "loaded"}


def test_one_who_breaks_when_it_is_delivered_to_holds_up_nothing(pool):
    source, came = Frames(), []

    def deliver(_level, index, _pixels, _error):
        came.append(index[0])
        raise RuntimeError("wrapped C/C++ object has been deleted")

    fetch = ChunkQueue(source, Tier.VISIBLE, deliver)
    fetch.request(places(0, 1, 2))
    eventually(lambda: came == [0, 1, 2])


def test_without_threads_nothing_is_read_and_nothing_breaks(pool, monkeypatch):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    source, came = Frames(), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        fetch.request(places(0, 1))
    assert (source.began, came.news) == ([], [])
    fetch.request(places(0, 1))
    eventually(lambda: came.numbers == [0, 1])


# --- how much of the pool it takes


@pytest.mark.parametrize("workers", [1, 3])
def test_the_queue_holds_a_few_jobs_however_much_is_wanted_and_how_often(pool, workers):
    settings.update(workers=workers)
    many = 100_000
    source, most = Frames(many).hold(*range(3)), []
    fetch = ChunkQueue(source, Tier.VISIBLE, lambda *_news: most.append(len(pool._queue)))
    fetch.request(places(*range(many)))
    eventually(lambda: len(source.began) == workers)
    assert len(pool._queue) <= workers
    for first in range(4):  # those being read are wanted as well, and go on afterwards
        fetch.request(places(*range(first % 2, 500)))
        assert len(pool._queue) <= workers
    for gate in source.gates.values():
        gate.set()
    eventually(lambda: len(most) >= 500)
    assert max(most) <= workers
    assert sorted(source.began) == list(range(500))


def test_others_come_to_their_turn_between_two_chunks(pool):
    source = Frames().hold(0, 1)
    fetch = ChunkQueue(source, Tier.VISIBLE, Delivered())
    fetch.request(places(0, 1, 2))
    begun(source, [0])
    other = pool.submit(lambda _job: None)
    source.gates[0].set()
    assert other.done.wait(WAIT)
    assert source.began[-1] <= 1
    source.gates[1].set()
    eventually(lambda: not fetch.busy)


def test_what_is_wanted_later_may_be_more_urgent(pool):
    source, other = Frames().hold(0), Frames()
    fetch = ChunkQueue(source, Tier.PREFETCH, Delivered())
    pool.pause()
    fetch.request(places(0, 1))
    assert [tier for tier, _, _ in pool._queue] == [Tier.PREFETCH]
    fetch.request(places(0, 1), Tier.COARSE)
    assert [tier for tier, _, _ in pool._queue] == [Tier.COARSE]
    ChunkQueue(other, Tier.VISIBLE, Delivered()).request(places(0))
    pool.pause(paused=False)
    begun(source, [0])
    assert other.began == []
    fetch.request(places(0, 1, 2))  # it stays what it was last
    assert (fetch._tier, [tier for tier, _, _ in pool._queue]) == (
        Tier.COARSE,
        [Tier.COARSE, Tier.VISIBLE],
    )
    source.gates[0].set()
    eventually(lambda: source.began == [0, 1, 2])
    eventually(lambda: other.began == [0])


def test_a_view_of_many_chunks_settles_once(pool, monkeypatch):
    """Else each further chunk would wait again while the reads of the view before run."""
    monkeypatch.setattr(scheduler, "SETTLE_SECONDS", 0.05)
    settings.update(workers=2)
    source, came = Frames(40).hold(0), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    fetch.request(places(0))
    begun(source, [0])
    fetch.request(places(*range(1, 40)))
    asked = fetch._asked
    pool.pause()
    assert {job.asked for _, _, job in pool._queue} <= {asked}
    pool.pause(paused=False)
    seen = set()
    original = scheduler.Scheduler._take

    def take(one):
        job = original(one)
        if job is not None:
            seen.add(job.asked)
        return job

    monkeypatch.setattr(scheduler.Scheduler, "_take", take)
    eventually(lambda: len(came.news) == 39)
    assert seen <= {asked}
    source.gates[0].set()
    eventually(lambda: not pool._running)


# --- what the status says


def test_the_status_is_right_at_each_point(pool):
    source, came = Frames(failing=[(2, 0)]).hold(0, 3), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    assert source.states() == {}
    fetch.request(places(0, 1, 2))
    begun(source, [0])
    eventually(lambda: source.states() == {0: "loading", 1: "queued", 2: "queued"})
    fetch.request(places(2, 3))
    assert source.states() == {0: "loading", 2: "queued", 3: "queued"}
    source.gates[0].set()
    eventually(lambda: source.states() == {0: "loaded", 2: "failed", 3: "loading"})
    fetch.request(places(0, 3, 2, 4))
    assert source.states() == {0: "loaded", 2: "queued", 3: "loading", 4: "queued"}
    fetch.request([])
    assert source.states() == {0: "loaded", 2: "failed", 3: "loading"}
    source.gates[3].set()
    eventually(lambda: source.states() == {0: "loaded", 2: "failed", 3: "loaded"})
    assert not status.shared._sources[source.token].lists
    cache.shared.drop()
    fetch.request(places(3))
    eventually(lambda: source.states() == {0: "evicted", 2: "failed", 3: "loaded"})


def test_several_levels_are_told_apart(pool):
    source = RecordingSource([np.zeros((4, 8), "u1"), np.zeros((4, 4), "u1")], (1, 8))
    pool.pause()
    fetch = ChunkQueue(source, Tier.VISIBLE, lambda *_news: None)
    fetch.request([(1, (0, 0)), (0, (0, 0)), (1, (2, 0))])
    assert status.shared.states(source.token) == dict.fromkeys(
        [(1, (0, 0)), (0, (0, 0)), (1, (2, 0))], "queued"
    )
    fetch.request([(0, (0, 0))])
    assert status.shared.states(source.token) == {(0, (0, 0)): "queued"}
    pool.pause(paused=False)
    eventually(lambda: source.loads == [(0, (0, 0))])
    eventually(lambda: not fetch.busy)


def test_a_chunk_that_was_read_ahead_stays_queued_when_the_view_takes_it_over(pool):
    source = Frames()
    pool.pause()
    ahead, view = (ChunkQueue(source, tier, Delivered()) for tier in (Tier.PREFETCH, Tier.VISIBLE))
    ahead.request(places(1, 2))
    view.request(places(1))
    ahead.request(places(2, 3))
    assert source.states() == {1: "queued", 2: "queued", 3: "queued"}
    ahead.request([])
    assert source.states() == {1: "queued"}
    assert status.shared.summary([source.token]).queued == 1
    pool.pause(paused=False)
    eventually(lambda: source.states() == {1: "loaded"})
    eventually(lambda: not pool._running)
    assert not status.shared._sources[source.token].lists


def test_a_chunk_read_while_it_is_told_of_does_not_stay_queued(pool, monkeypatch):
    """A thread that is free already must not read before the status has the chunks as queued."""
    settings.update(workers=2)
    source, came = Frames(failing=[(1, 0), (2, 0)]).hold(0), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    fetch.request(places(0))
    begun(source, [0])
    original = status.shared.queue

    def queue(*args):
        source.gates[0].set()
        time.sleep(0.02)  # time for the thread that is free to go on with the next one
        original(*args)

    monkeypatch.setattr(status.shared, "queue", queue)
    fetch.request(places(0, 1, 2))
    eventually(lambda: len(came.news) == 3)
    assert source.states() == {0: "loaded", 1: "failed", 2: "failed"}


# --- many at once


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_two_threads_may_want_at_once(pool, budget):
    settings.update(workers=4, cache_budget=budget)
    source, came = Frames(60, failing=[(number, 0) for number in range(0, 60, 7)]), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    together = threading.Barrier(2)

    def user(seed):
        draw = np.random.default_rng(seed)
        together.wait(WAIT)
        for _ in range(150):
            fetch.request(
                places(*draw.permutation(60)[: draw.integers(12)].tolist()),
                Tier(int(draw.integers(3))),
            )
            assert len(pool._queue) <= 4

    users = [threading.Thread(target=user, args=(seed,)) for seed in range(2)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    fetch.request(places(*range(60)))
    eventually(lambda: not fetch.busy)
    eventually(lambda: not pool._running)
    assert set(came.numbers) == set(range(60))
    states = source.states()
    rest = "loaded" if budget else "evicted"
    assert states == {number: "failed" if number % 7 == 0 else rest for number in range(60)}
    assert not status.shared._sources[source.token].lists
    assert fetch.reading() == set()
    assert all(pixel == number for number, pixel, error in came.news if error is None)
    summary = status.shared.summary([source.token])
    assert (summary.queued, summary.loading) == (0, 0)


def test_each_want_is_delivered_to_the_last_chunk_whatever_came_before(pool):
    settings.update(workers=3)
    source, came = Frames(40), Delivered()
    fetch = ChunkQueue(source, Tier.VISIBLE, came)
    draw = np.random.default_rng(0)
    for _ in range(200):
        came.news.clear()
        wanted = draw.permutation(40)[: draw.integers(1, 8)].tolist()
        fetch.request(places(*wanted))
        if draw.integers(3) == 0:
            eventually(lambda: set(came.numbers) >= set(wanted))  # noqa: B023 - called at once
            assert not fetch.busy
    eventually(lambda: not pool._running)
    assert set(status.shared.states(source.token).values()) <= {ChunkState.LOADED}


@pytest.mark.parametrize(("seconds", "quick"), [(0.0, False), (0.001, True), (1.0, False)])
@pytest.mark.parametrize("far", [False, True])
def test_reads_that_are_over_in_a_moment_are_quick_but_for_those_of_servers(
    pool, monkeypatch, seconds, quick, far
):
    source, asked = Frames(), []
    if far:
        monkeypatch.setattr(scheduler, "remote", Scheduler())
        monkeypatch.setattr(scheduler, "is_remote", lambda _source: True)
    monkeypatch.setattr(status.shared, "read_seconds", lambda _token: seconds)
    fetch = ChunkQueue(source, Tier.VISIBLE, Delivered())
    monkeypatch.setattr(fetch._pool, "submit", lambda _work, *, quick, **_: asked.append(quick))
    fetch.request(places(0, 1))
    assert asked == [quick and not far]
