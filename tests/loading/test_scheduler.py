"""The pool and `each`: order, cancellation, errors, and no way to wait for ever."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from contextlib import ExitStack

import numpy as np
import pytest

from helpers.waiting import eventually
from napari_lazyload.core import settings
from napari_lazyload.core.errors import CancelledError
from napari_lazyload.loading import scheduler as module
from napari_lazyload.loading.jobs import Tier
from napari_lazyload.loading.scheduler import Scheduler

WAIT = 20


@pytest.fixture
def pool(monkeypatch):
    """A pool of its own, whose idle threads end soon, and which has none at the end."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    pool = Scheduler()
    yield pool
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    end = time.monotonic() + WAIT
    while pool.snapshot()["threads"]:
        assert time.monotonic() < end, "threads are left"
        with pool._wake:
            pool._wake.notify_all()  # some wait for a job to settle, or a read to hang
        time.sleep(0.03)


class Held:
    """Work that begins, tells so, and ends when it is let."""

    def __init__(self):
        self.began, self.let = threading.Event(), threading.Event()

    def __call__(self, _job=None):
        self.began.set()
        assert self.let.wait(WAIT)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.let.set()


def hold(pool, stack, count, **options):
    """Occupy threads until the stack is left."""
    held = [stack.enter_context(Held()) for _ in range(count)]
    jobs = [pool.submit(work, **options) for work in held]
    return held, jobs


# --- submit


def test_a_job_runs_and_is_done(pool):
    seen = []
    job = pool.submit(seen.append)
    assert job.done.wait(WAIT)
    assert (seen, job.error, job.cancelled) == ([job], None, False)


def test_an_error_is_kept_and_the_thread_goes_on(pool):
    settings.update(workers=1)
    failed = pool.submit(lambda _job: 1 / 0)
    left = pool.submit(lambda _job: (_ for _ in ()).throw(SystemExit))
    fine = pool.submit(lambda _job: None)
    for job in (failed, left, fine):
        assert job.done.wait(WAIT)
    assert [type(job.error) for job in (failed, left, fine)] == [
        ZeroDivisionError,
        SystemExit,
        type(None),
    ]


def test_what_is_visible_goes_first_and_equals_go_in_turn(pool):
    settings.update(workers=1)
    order = []
    with Held() as held:
        pool.submit(held)
        assert held.began.wait(WAIT)
        tiers = [Tier.PREFETCH, Tier.VISIBLE, Tier.PREFETCH, Tier.VISIBLE]
        jobs = [
            pool.submit(lambda _job, n=n: order.append(n), tier=tier)
            for n, tier in enumerate(tiers)
        ]
        held.let.set()
        for job in jobs:
            assert job.done.wait(WAIT)
    assert order == [1, 3, 0, 2]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_there_are_as_many_threads_as_the_setting_says_and_all_are_used(pool, workers):
    settings.update(workers=workers)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, workers + 2)
        for work in held[:workers]:
            assert work.began.wait(WAIT)
        time.sleep(0.05)
        assert pool.snapshot()["running"] == workers
        assert not any(work.began.is_set() for work in held[workers:])


def test_an_idle_thread_that_was_called_already_does_not_count_twice(pool):
    settings.update(workers=4)
    pool.submit(lambda _job: None).done.wait(WAIT)
    eventually(lambda: pool._idle == 1)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 4)  # faster than the idle thread wakes
        for work in held:
            assert work.began.wait(WAIT)


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 1), (3, 2), (4, 3)])
def test_the_background_never_takes_the_last_thread(pool, workers, most):
    settings.update(workers=workers)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 6, tier=Tier.BACKGROUND)
        for work in held[:most]:
            assert work.began.wait(WAIT)
        assert pool.submit(lambda _job: None).done.wait(WAIT)
        assert pool.submit(lambda _job: None, tier=Tier.PREFETCH).done.wait(WAIT)
        # A job is done a little before its thread is free.
        eventually(lambda: pool.snapshot()["running"] == most)
        assert not any(work.began.is_set() for work in held[most:])
        held[0].let.set()
        assert held[most].began.wait(WAIT)


def test_background_work_goes_on_as_soon_as_it_may(pool, monkeypatch):
    monkeypatch.setattr(module, "IDLE_SECONDS", WAIT)  # nobody wakes by himself
    settings.update(workers=1)
    with ExitStack() as stack:
        (one, two), _ = hold(pool, stack, 2)
        assert one.began.wait(WAIT)
        background = pool.submit(lambda _job: None, tier=Tier.BACKGROUND)
        one.let.set()
        assert two.began.wait(WAIT)
        assert background.done.wait(WAIT / 2)


def test_the_number_of_workers_may_grow_while_there_is_work(pool):
    settings.update(workers=1)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 4)
        assert held[0].began.wait(WAIT)
        settings.update(workers=4)
        pool.submit(lambda _job: None)
        for work in held:
            assert work.began.wait(WAIT)


def test_the_number_of_workers_may_shrink_while_there_is_work(pool):
    settings.update(workers=4)
    running, most, lock = set(), [0], threading.Lock()

    def work(job):
        with lock:
            running.add(job)
            most[0] = max(most[0], len(running))
        time.sleep(0.002)
        with lock:
            running.discard(job)

    with ExitStack() as stack:
        held, _ = hold(pool, stack, 4)
        for one in held:
            assert one.began.wait(WAIT)
        settings.update(workers=2)
        jobs = [pool.submit(work) for _ in range(30)]
        for one in held:
            one.let.set()
    for job in jobs:
        assert job.done.wait(WAIT)
    assert most[0] <= 2


def test_idle_threads_end(pool):
    settings.update(workers=3)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 3)
        for work in held:
            assert work.began.wait(WAIT)
    eventually(
        lambda: (
            pool.snapshot()
            == {
                **{f"queued_{tier.name.lower()}": 0 for tier in Tier},
                "running": 0,
                "threads": 0,
                "paused": False,
            }
        )
    )
    assert pool.submit(lambda _job: None).done.wait(WAIT)


def test_threads_that_end_lose_no_job(pool, monkeypatch):
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0005)  # they end while jobs come
    for number in range(300):
        job = pool.submit(lambda _job: None, tier=Tier(number % 3))
        if number % 7 == 0:
            time.sleep(0.001)
    for _ in range(20):
        assert job.done.wait(WAIT)
        job = pool.submit(lambda _job: None)
        time.sleep(0.0005)
    eventually(lambda: pool.snapshot()["running"] == 0)
    assert not pool._queue


def test_an_idle_thread_holds_nobodys_pixels(pool):
    class Pixels:
        pass

    pixels = Pixels()
    alive = weakref.ref(pixels)
    job = pool.submit(lambda _job, _kept=pixels: None)
    del pixels
    assert job.done.wait(WAIT)
    eventually(lambda: pool.snapshot()["running"] == 0)
    eventually(lambda: alive() is None)


def test_daemon_threads_hold_up_nobody(pool):
    with Held() as held:
        pool.submit(held)
        assert held.began.wait(WAIT)
        assert all(
            thread.daemon for thread in threading.enumerate() if thread.name.startswith("lazyload-")
        )


def no_threads(monkeypatch):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_without_a_thread_a_job_is_refused_and_forgotten(pool, monkeypatch):
    with monkeypatch.context() as patch:
        no_threads(patch)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(lambda _job: None)
    assert pool.snapshot()["threads"] == 0
    assert not pool._queue
    assert pool.submit(lambda _job: None).done.wait(WAIT)


def test_a_thread_that_is_there_does_what_no_new_thread_can(pool, monkeypatch):
    settings.update(workers=4)
    with Held() as held:
        pool.submit(held)
        assert held.began.wait(WAIT)
        with monkeypatch.context() as patch:
            no_threads(patch)
            job = pool.submit(lambda _job: None)
        held.let.set()
        assert job.done.wait(WAIT)


# --- cancel


def test_an_owners_jobs_are_cancelled_together(pool):
    settings.update(workers=2)
    with ExitStack() as stack:
        (mine, other), jobs = (
            hold(pool, stack, 1, owner="me")[0] + hold(pool, stack, 1, owner="you")[0],
            [],
        )
        assert mine.began.wait(WAIT)
        assert other.began.wait(WAIT)
        began = []
        jobs = [pool.submit(lambda _job: began.append(1), owner="me") for _ in range(5)]
        yours = pool.submit(lambda _job: None, owner="you")
        assert pool.cancel("me") == 6
        assert all(job.done.is_set() and job.cancelled and job.error is None for job in jobs)
        assert pool.cancel("nobody") == 0
        mine.let.set()
        assert yours.done.wait(WAIT)
        assert not yours.cancelled
    assert not began


def test_long_work_is_told(pool):
    cancelled = threading.Event()

    def work(job):
        while not job.cancelled:
            time.sleep(0.001)
        cancelled.set()

    job = pool.submit(work, owner="me")
    eventually(lambda: pool.snapshot()["running"] == 1)
    pool.cancel("me")
    assert cancelled.wait(WAIT)
    assert job.done.wait(WAIT)


def test_a_cancel_between_the_queue_and_the_run_ends_the_job_undone(pool, monkeypatch):
    taken, go, original = threading.Event(), threading.Event(), module.Job.run

    def run(job):
        taken.set()
        assert go.wait(WAIT)
        original(job)

    monkeypatch.setattr(module.Job, "run", run)
    began = []
    job = pool.submit(lambda _job: began.append(1), owner="me")
    assert taken.wait(WAIT)
    assert pool.cancel("me") == 1
    assert not job.done.is_set()
    go.set()
    assert job.done.wait(WAIT)
    assert not began


def test_every_job_is_done_in_the_end_whoever_cancels_when(pool):
    settings.update(workers=3)
    jobs, stop = [], threading.Event()

    def cancel():
        while not stop.is_set():
            pool.cancel("me")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        jobs = [
            pool.submit(lambda _job: None, owner="me", tier=Tier(number % 3))
            for number in range(300)
        ]
        for job in jobs:
            assert job.done.wait(WAIT)
    finally:
        stop.set()
        canceller.join()
    assert not pool._queue


# --- each


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("count", [0, 1, 57])
@pytest.mark.parametrize("kind", [list, iter])
def test_each_item_is_done_once(pool, workers, count, kind):
    settings.update(workers=workers)
    done, counts = [], []
    pool.each(done.append, kind(range(count)), progress=counts.append)
    assert sorted(done) == list(range(count))
    assert counts == list(range(1, count + 1))


def test_helpers_help(pool):
    settings.update(workers=3)
    together = threading.Barrier(3)
    pool.each(lambda _item: together.wait(WAIT), range(3))


def test_at_most_so_many_threads(pool):
    settings.update(workers=8)
    threads = set()

    def work(_item):
        threads.add(threading.get_ident())
        time.sleep(0.001)

    pool.each(work, range(40), workers=2)
    assert len(threads) <= 2
    threads.clear()
    pool.each(work, range(5), workers=1)
    assert threads == {threading.get_ident()}


def test_the_caller_does_it_alone_where_the_pool_is_busy_for_ever(pool):
    settings.update(workers=2)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 2)
        for work in held:
            assert work.began.wait(WAIT)
        done = []
        pool.each(done.append, range(20))
        assert done == list(range(20))
        assert not pool._queue


def test_the_caller_does_it_alone_where_no_thread_starts(pool, monkeypatch):
    with monkeypatch.context() as patch:
        no_threads(patch)
        done = []
        pool.each(done.append, range(20))
    assert done == list(range(20))
    assert not pool._queue


def test_nested_calls_from_all_workers_end(pool):
    settings.update(workers=2)
    done = []

    def outer(i):
        pool.each(lambda j: pool.each(lambda k: done.append((i, j, k)), range(3)), range(3))

    jobs = [
        pool.submit(lambda _job, i=i: pool.each(outer, [3 * i, 3 * i + 1, 3 * i + 2]))
        for i in range(4)
    ]
    for job in jobs:
        assert job.done.wait(WAIT)
        assert job.error is None
    assert sorted(done) == [(i, j, k) for i in range(12) for j in range(3) for k in range(3)]


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_error_ends_it(pool, workers):
    settings.update(workers=workers)
    done = []

    def work(item):
        if item == 5:
            raise ValueError("five")
        done.append(item)
        time.sleep(0.001)

    with pytest.raises(ValueError, match="five"):
        pool.each(work, range(1000))
    count = len(done)
    assert count < 100
    time.sleep(0.02)
    assert len(done) == count  # no helper goes on


def test_a_helper_that_comes_late_begins_nothing(pool, monkeypatch):
    """It was taken from the queue before the call ended, and gets to its first item after that."""
    settings.update(workers=2)
    late, go, original = threading.Event(), threading.Event(), module.WorkSharing.assist

    def help_late(run, job):
        late.set()
        assert go.wait(WAIT)
        original(run, job)

    monkeypatch.setattr(module.WorkSharing, "assist", help_late)
    done = []

    def work(item):
        assert late.wait(WAIT)
        done.append(item)
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        pool.each(work, range(10))
    go.set()
    eventually(lambda: pool.snapshot()["running"] == 0)
    assert done == [0]


def test_an_error_is_raised_only_when_no_item_is_under_way(pool):
    settings.update(workers=2)
    with Held() as held:
        ended = []

        def work(item):
            if item == 0:
                held()
                ended.append(item)
            else:
                assert held.began.wait(WAIT)
                threading.Timer(0.05, held.let.set).start()
                raise ValueError("one")

        with pytest.raises(ValueError, match="one"):
            pool.each(work, range(2))
        assert ended == [0]


@pytest.mark.parametrize("where", ["items", "cancel", "progress"])
def test_errors_of_what_was_handed_in_come_out(pool, where):
    settings.update(workers=4)
    done = []

    def broken(*_args):
        if len(done) >= 3:
            raise LookupError(where)
        return False

    def items():
        for number in range(1000):
            if where == "items":
                broken()
            yield number

    with pytest.raises(LookupError, match=where):
        pool.each(done.append, items(), **({} if where == "items" else {where: broken}))
    assert len(done) < 20


def test_cancel_is_asked_before_each_item(pool):
    settings.update(workers=3)
    done = []
    with pytest.raises(CancelledError):
        pool.each(done.append, range(1000), cancel=lambda: len(done) >= 10)
    assert 10 <= len(done) <= 13
    done.clear()
    with pytest.raises(CancelledError):
        pool.each(done.append, range(10), cancel=lambda: True)
    assert not done


def test_progress_hears_one_at_a_time_and_in_order(pool):
    settings.update(workers=8)
    inside, counts = [0], []

    def progress(count):
        inside[0] += 1
        assert inside[0] == 1
        counts.append(count)
        time.sleep(0.0005)
        inside[0] -= 1

    pool.each(lambda _item: None, range(100), progress=progress)
    assert counts == list(range(1, 101))


def test_progress_may_read_through_the_pool_itself(pool):
    settings.update(workers=2)
    inner = []
    pool.each(lambda _item: None, range(5), progress=lambda count: pool.each(inner.append, [count]))
    assert inner == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("where", ["_next", "_report"])
def test_an_interrupt_between_two_items_stops_the_helpers(pool, monkeypatch, where):
    """Ctrl-C comes in the calling thread, at any point of its loop."""
    settings.update(workers=4)
    caller, calls, done = threading.get_ident(), [0], []
    original = getattr(module.WorkSharing, where)

    def interrupted(run):
        found = original(run)
        if threading.get_ident() == caller:
            calls[0] += 1
            if calls[0] == 3:
                raise KeyboardInterrupt
        return found

    monkeypatch.setattr(module.WorkSharing, where, interrupted)

    def work(item):
        done.append(item)
        time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        pool.each(work, range(10_000), progress=lambda _count: None)
    count = len(done)
    assert count < 1000
    time.sleep(0.02)
    assert len(done) == count


def test_an_interrupt_outside_of_the_loop_stops_the_helpers(pool, monkeypatch):
    settings.update(workers=3)
    done = []

    def run_until_empty(run):
        eventually(lambda: len(done) > 5)
        raise KeyboardInterrupt

    original = module.WorkSharing.run_until_empty
    monkeypatch.setattr(module.WorkSharing, "assist", lambda run, _job: original(run))
    monkeypatch.setattr(module.WorkSharing, "run_until_empty", run_until_empty)

    def work(item):
        done.append(item)
        time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        pool.each(work, range(10_000))
    eventually(lambda: pool.snapshot()["running"] == 0)
    assert len(done) < 1000


def test_a_failed_read_keeps_no_pixels(pool, monkeypatch):
    monkeypatch.setattr(module, "IDLE_SECONDS", 1)  # the helper stays for a while

    class Pixels(np.ndarray):
        pass

    alive, caller = [], threading.get_ident()

    def call(fails_in_caller):
        result = np.zeros(1000).view(Pixels)
        alive.append(weakref.ref(result))
        together = threading.Barrier(2)

        def work(_item):
            together.wait(WAIT)
            assert result is not None
            if (threading.get_ident() == caller) == fails_in_caller:
                raise ValueError("three")

        pool.each(work, range(2))

    settings.update(workers=2)
    gc.collect()
    gc.disable()
    try:
        for fails_in_caller in (True, False):
            with pytest.raises(ValueError, match="three"):
                call(fails_in_caller)
            eventually(lambda: pool._idle == 1)
            assert alive.pop()() is None
    finally:
        gc.enable()


# --- lanes: what may begin while other things run


def began(held):
    return [work.began.is_set() for work in held]


def wait_for_all(held):
    for work in held:
        assert work.began.wait(WAIT)


def rest(pool):
    """Give every thread the time to do what it should not."""
    time.sleep(0.05)
    with pool._wake:
        return len(pool._running)


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 1), (3, 2), (5, 4)])
@pytest.mark.parametrize("background", [0, 6])
def test_look_ahead_never_takes_the_last_thread(pool, workers, most, background):
    settings.update(workers=workers)
    with ExitStack() as stack:
        behind, _ = hold(pool, stack, background, tier=Tier.BACKGROUND)
        behind = behind[: max(1, workers - 1)]
        wait_for_all(behind)
        ahead, _ = hold(pool, stack, 7, tier=Tier.PREFETCH)
        wait_for_all(ahead[:most])
        assert rest(pool) == most + len(behind)
        assert began(ahead[most:]) == [False] * (7 - most)
        for tier in (Tier.VISIBLE, Tier.COARSE):
            assert pool.submit(lambda _job: None, tier=tier).done.wait(WAIT)
        assert began(ahead[most:]) == [False] * (7 - most)
        ahead[0].let.set()
        assert ahead[most].began.wait(WAIT)


def test_look_ahead_leaves_a_thread_free_beside_a_view_that_is_read_or_has_passed(pool):
    settings.update(workers=4)
    with ExitStack() as stack:
        seen, _ = hold(pool, stack, 2, owner="view")
        wait_for_all(seen)
        pool.cancel("view")
        ahead, _ = hold(pool, stack, 4, tier=Tier.PREFETCH)
        assert ahead[0].began.wait(WAIT)
        assert rest(pool) == 3
        late = hold(pool, stack, 1)[0][0]
        assert late.began.wait(WAIT)
        assert began(ahead) == [True, False, False, False]


def test_what_is_visible_takes_all_threads_where_nothing_is_read_ahead(pool):
    settings.update(workers=3)
    with ExitStack() as stack:
        wait_for_all(hold(pool, stack, 3)[0])
        ahead, _ = hold(pool, stack, 1, tier=Tier.PREFETCH)
        assert rest(pool) == 3
        assert began(ahead) == [False]


def test_coarse_goes_before_visible_before_look_ahead_before_background(pool):
    settings.update(workers=1)
    order = []
    pool.pause()
    tiers = [Tier.BACKGROUND, Tier.PREFETCH, Tier.VISIBLE, Tier.COARSE]
    with ExitStack() as stack:
        gates = {tier: stack.enter_context(Held()) for tier in tiers}

        def work(job):
            order.append(job.tier)
            gates[job.tier]()

        jobs = [pool.submit(work, tier=tier) for tier in tiers]
        assert rest(pool) == 0
        pool.pause(paused=False)
        for tier in sorted(tiers):
            assert gates[tier].began.wait(WAIT)
            gates[tier].let.set()
        for job in jobs:
            assert job.done.wait(WAIT)
    assert order == sorted(tiers)


# --- drags: views that pass


@pytest.mark.parametrize(("workers", "half"), [(1, 1), (2, 1), (4, 2), (7, 3)])
def test_a_drag_begins_half_of_the_threads_and_the_view_on_which_it_ends(
    pool, monkeypatch, workers, half
):
    monkeypatch.setattr(module, "SETTLE_SECONDS", WAIT)
    settings.update(workers=workers)
    with ExitStack() as stack:
        held = []
        for _ in range(12):
            pool.cancel("view")
            held += hold(pool, stack, 1, owner="view")[0]
            if len(held) <= half:
                assert held[-1].began.wait(WAIT)
        assert rest(pool) == half
        assert began(held) == [True] * half + [False] * (12 - half)
        monkeypatch.setattr(module, "SETTLE_SECONDS", 0.0)
        if workers == 1:  # there is no other half
            held[0].let.set()
        with pool._wake:
            pool._wake.notify_all()
        assert held[-1].began.wait(WAIT)
        assert began(held[half:-1]) == [False] * (11 - half)


def test_the_view_on_which_a_drag_ends_begins_once_it_has_settled_though_nothing_else_happens(
    pool, monkeypatch
):
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(module, "IDLE_SECONDS", WAIT)
    settings.update(workers=2)
    with ExitStack() as stack:
        passed = hold(pool, stack, 1, owner="view")[0][0]
        assert passed.began.wait(WAIT)
        pool.cancel("view")
        begun = []
        job = pool.submit(lambda _job: begun.append(time.monotonic()), owner="view")
        assert job.done.wait(WAIT / 2)
        assert begun[0] - job.asked >= 0.1
        assert not passed.let.is_set()


def test_a_moment_that_comes_while_it_is_looked_at_is_not_missed(pool, monkeypatch):
    """A thread that finds the job unsettled must not sleep as if there were nothing to wait for."""
    monkeypatch.setattr(module, "IDLE_SECONDS", WAIT)
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    job = module.Job(lambda _job: None, None, Tier.VISIBLE, None)
    pool._queue.append((Tier.VISIBLE, 0, job))
    slept = []

    def take():
        clock[0] += module.SETTLE_SECONDS - 0.001 if not slept else 0  # not yet
        return None if not slept else job

    def wait(seconds):
        slept.append(seconds)
        return True

    monkeypatch.setattr(pool, "_take", take)
    monkeypatch.setattr(pool._wake, "wait", wait)
    clock[0] += 0.002
    with pool._wake:
        assert pool._wait_for_job() is job
    assert slept[0] < 0.1
    pool._queue.clear()


def test_a_view_that_goes_on_has_settled(pool, monkeypatch):
    monkeypatch.setattr(module, "SETTLE_SECONDS", WAIT)
    settings.update(workers=2)
    with ExitStack() as stack:
        passed = hold(pool, stack, 1, owner="view")[0][0]
        assert passed.began.wait(WAIT)
        pool.cancel("view")
        assert pool.submit(lambda _job: None, asked=time.monotonic() - WAIT).done.wait(WAIT / 2)


def test_a_read_that_is_wanted_again_is_not_passed(pool, monkeypatch):
    monkeypatch.setattr(module, "SETTLE_SECONDS", WAIT)
    settings.update(workers=2)
    with ExitStack() as stack:
        (held,), (job,) = hold(pool, stack, 1, owner="view")
        assert held.began.wait(WAIT)
        pool.cancel("view")
        job.cancelled = False
        assert pool.submit(lambda _job: None).done.wait(WAIT / 2)


def test_what_stands_behind_a_cancelled_job_begins_at_once(pool, monkeypatch):
    for name, seconds in (("IDLE_SECONDS", WAIT), ("STALL_SECONDS", WAIT), ("SETTLE_SECONDS", 0.0)):
        monkeypatch.setattr(module, name, seconds)  # no thread wakes by itself
    settings.update(workers=2)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 2)
        wait_for_all(held)
        pool.submit(lambda _job: None, owner="view")
        background = pool.submit(lambda _job: None, tier=Tier.BACKGROUND)
        assert rest(pool) == 2
        assert not background.done.is_set()
        pool.cancel("view")
        assert background.done.wait(WAIT / 2)


# --- reads that hang


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("tier", [Tier.COARSE, Tier.VISIBLE, Tier.PREFETCH])
def test_reads_that_hang_in_every_thread_give_up_their_places(pool, monkeypatch, workers, tier):
    monkeypatch.setattr(module, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(module, "IDLE_SECONDS", WAIT)  # nobody wakes by chance
    settings.update(workers=workers)
    with ExitStack() as stack:
        # As many as three times all threads.
        hanging, _ = hold(pool, stack, 3 * workers + 2, tier=tier)
        wait_for_all(hanging)
        assert pool.submit(lambda _job: None).done.wait(WAIT / 2)


def test_passed_reads_that_hang_hold_up_no_view(pool, monkeypatch):
    monkeypatch.setattr(module, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(module, "SETTLE_SECONDS", WAIT)
    settings.update(workers=2)
    with ExitStack() as stack:
        passed = hold(pool, stack, 1, owner="view")[0][0]
        assert passed.began.wait(WAIT)
        pool.cancel("view")
        assert pool.submit(lambda _job: None, owner="view").done.wait(WAIT / 2)


def test_a_read_that_is_slow_but_does_not_hang_keeps_its_place(pool, monkeypatch):
    monkeypatch.setattr(module, "STALL_SECONDS", WAIT)
    settings.update(workers=2)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 3)
        wait_for_all(held[:2])
        assert rest(pool) == 2
        assert began(held) == [True, True, False]


def test_only_so_many_reads_give_up_their_places(pool, monkeypatch):
    monkeypatch.setattr(module, "STALL_SECONDS", 0.01)
    monkeypatch.setattr(module, "MOST_STALLED", 3)
    settings.update(workers=2)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 12)
        wait_for_all(held[:5])
        assert rest(pool) == 5
        assert sum(began(held)) == 5
        assert pool.snapshot()["threads"] <= 6


def test_background_work_that_is_long_keeps_its_place(pool, monkeypatch):
    monkeypatch.setattr(module, "STALL_SECONDS", 0.01)
    settings.update(workers=2)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 2, tier=Tier.BACKGROUND)
        assert held[0].began.wait(WAIT)
        assert rest(pool) == 1
        assert began(held) == [True, False]
        with pool._wake:
            assert pool._stalled() == []  # nor does it count among those that may


def test_threads_that_hung_are_no_longer_there_in_the_end(pool, monkeypatch):
    monkeypatch.setattr(module, "STALL_SECONDS", 0.02)
    settings.update(workers=2)
    with ExitStack() as stack:
        wait_for_all(hold(pool, stack, 8)[0])
    eventually(lambda: pool.snapshot()["threads"] == 0)
    with ExitStack() as stack:
        monkeypatch.setattr(module, "STALL_SECONDS", WAIT)
        held, _ = hold(pool, stack, 4)
        wait_for_all(held[:2])
        assert rest(pool) == 2


# --- pause


def test_a_pause_holds_what_is_queued_and_lets_it_go_on(pool):
    settings.update(workers=3)
    with Held() as held:
        running = pool.submit(held)
        assert held.began.wait(WAIT)
        pool.pause()
        assert pool.snapshot()["paused"]
        jobs = [pool.submit(lambda _job: None, tier=Tier(number % 4)) for number in range(8)]
        gone = pool.submit(lambda _job: None, owner="gone")
        assert rest(pool) == 1
        assert not any(job.done.is_set() for job in jobs)
        assert pool.cancel("gone") == 1
        assert gone.done.is_set()
        held.let.set()
        assert running.done.wait(WAIT)  # what ran goes on
        # Nobody has to wait for the end of a pause.
        eventually(lambda: pool.snapshot()["threads"] == 0)
        assert len(pool._queue) == 8
    pool.pause(paused=False)
    for job in jobs:
        assert job.done.wait(WAIT)
    assert not pool.snapshot()["paused"]


def test_a_pause_uses_all_threads_afterwards(pool):
    settings.update(workers=4)
    pool.pause()
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 4)
        assert rest(pool) == 0
        pool.pause(paused=False)
        wait_for_all(held)


def test_who_reads_in_his_own_thread_does_so_in_a_pause(pool):
    settings.update(workers=3)
    pool.pause()
    done = []
    pool.each(done.append, range(20))
    assert done == list(range(20))
    assert not pool._queue


# --- each, beside all of this


@pytest.mark.parametrize("tier", Tier)
def test_each_does_every_item_once_beside_drags_hangs_and_look_ahead(pool, monkeypatch, tier):
    monkeypatch.setattr(module, "STALL_SECONDS", 0.02)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.01)
    settings.update(workers=3)
    with ExitStack() as stack:
        for kind in (Tier.VISIBLE, Tier.PREFETCH, Tier.BACKGROUND):
            hold(pool, stack, 2, tier=kind, owner="passed")
        pool.cancel("passed")
        done, counts = [], []

        def work(item):
            time.sleep(0.001)
            done.append(item)

        for _ in range(3):
            pool.each(work, range(40), tier=tier, progress=counts.append)
    assert sorted(done) == sorted(3 * list(range(40)))
    assert counts == 3 * list(range(1, 41))


def test_helpers_of_the_call_before_do_not_hold_up_those_of_the_next(pool, monkeypatch):
    monkeypatch.setattr(module, "SETTLE_SECONDS", WAIT)
    settings.update(workers=2)
    for _ in range(50):
        together = threading.Barrier(2)
        pool.each(lambda _item, both=together: both.wait(WAIT / 2), range(2))


def test_long_calls_of_each_leave_room_for_what_is_visible(pool, monkeypatch):
    monkeypatch.setattr(module, "STALL_SECONDS", 0.05)
    settings.update(workers=2)
    with ExitStack() as stack:
        first = [stack.enter_context(Held()) for _ in range(2)]
        caller = threading.Thread(target=pool.each, args=(lambda work: work(), first))
        stack.callback(caller.join)
        second = stack.enter_context(Held())
        caller.start()
        wait_for_all(first)
        pool.submit(second)
        assert second.began.wait(WAIT)
        assert pool.submit(lambda _job: None).done.wait(WAIT / 2)
        for work in (*first, second):
            work.let.set()


def test_jobs_of_all_tiers_end_whatever_happens_at_once(pool, monkeypatch):
    monkeypatch.setattr(module, "STALL_SECONDS", 0.003)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.002)
    monkeypatch.setattr(module, "MOST_STALLED", 2)
    settings.update(workers=3)
    jobs, lock = [], threading.Lock()

    def user(seed):
        draw = np.random.default_rng(seed)
        for number in range(120):
            work = time.sleep if draw.integers(3) == 0 else None
            seconds = float(draw.choice([0.0, 0.001, 0.006]))
            job = pool.submit(
                lambda _job, work=work, seconds=seconds: work and work(seconds),
                tier=Tier(int(draw.integers(4))),
                owner=int(draw.integers(3)),
            )
            with lock:
                jobs.append(job)
            if number % 9 == 0:
                pool.cancel(int(draw.integers(3)))
            if number % 40 == 20:
                pool.pause()
                pool.pause(paused=False)

    users = [threading.Thread(target=user, args=(seed,)) for seed in range(3)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    for job in jobs:
        assert job.done.wait(WAIT)
    eventually(lambda: not pool._running)
    assert not pool._queue


# --- the two pools


def test_reads_that_wait_for_a_server_have_threads_of_their_own_beside_those_that_work(monkeypatch):
    settings.update(workers=2, remote_workers=6)
    waiting = [Held() for _ in range(6)]
    with ExitStack() as stack:
        jobs = [module.remote.submit(stack.enter_context(held)) for held in waiting]
        for held in waiting:
            assert held.began.wait(WAIT)
        done = threading.Event()
        module.shared.submit(lambda _job: done.set())
        assert done.wait(WAIT)
    for job in jobs:
        assert job.done.wait(WAIT)


def test_the_pool_of_a_source_is_told_by_the_source_and_what_wraps_it():
    from napari_lazyload.arrays.derived.converted import ConvertedSource, truth_as_number
    from napari_lazyload.testing.sources import RecordingSource

    source = RecordingSource(np.zeros((4, 4), "u1"), (4, 4))
    assert module.pool_of(source) is module.shared
    source.remote = True
    assert module.pool_of(source) is module.remote
    assert module.pool_of(ConvertedSource(source, truth_as_number, np.dtype("u1"))) is module.remote


def test_a_pause_holds_both_pools_and_a_snapshot_counts_both():
    module.pause()
    try:
        jobs = [pool.submit(lambda _job: None) for pool in (module.shared, module.remote)]
        assert module.snapshot()["queued_visible"] == 2
        assert module.snapshot()["paused"]
        assert not any(job.done.is_set() for job in jobs)
    finally:
        module.pause(paused=False)
    for job in jobs:
        assert job.done.wait(WAIT)
    assert not module.snapshot()["paused"]


# --- quick jobs: as many as there are cores


@pytest.mark.parametrize(
    ("cores", "tier", "most"), [(2, Tier.VISIBLE, 2), (2, Tier.PREFETCH, 1), (1, Tier.COARSE, 1)]
)
def test_no_more_quick_jobs_run_than_there_are_cores(pool, monkeypatch, cores, tier, most):
    monkeypatch.setattr(module, "CORES", cores)
    settings.update(workers=4)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 4, tier=tier, quick=True)
        wait_for_all(held[:most])
        assert rest(pool) == most
        assert began(held) == [True] * most + [False] * (4 - most)
        for work, following in zip(held, held[most:], strict=False):
            work.let.set()
            assert following.began.wait(WAIT)


def test_jobs_that_wait_for_a_disk_find_all_threads_beside_quick_ones(pool, monkeypatch):
    monkeypatch.setattr(module, "CORES", 1)
    settings.update(workers=4)
    with ExitStack() as stack:
        wait_for_all(hold(pool, stack, 3)[0])
        wait_for_all(hold(pool, stack, 1, quick=True)[0])
        assert rest(pool) == 4


def test_a_quick_job_that_hangs_gives_its_core_to_the_next(pool, monkeypatch):
    monkeypatch.setattr(module, "CORES", 1)
    monkeypatch.setattr(module, "STALL_SECONDS", 0.05)
    settings.update(workers=4)
    with ExitStack() as stack:
        held, _ = hold(pool, stack, 2, quick=True)
        wait_for_all(held)
