"""A forked child reads, whatever locks other threads of the parent held at that moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback

import numpy as np
import pytest

from napari_lazyload.core import settings
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.loading.jobs import Tier
from napari_lazyload.loading.read_box import read_box
from napari_lazyload.testing.sources import RecordingSource

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    # Python 3.12 warns of what is tested here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

SECONDS = 20


def in_child(work):
    """Return whether `work` came to its end in a forked child."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the child whatever it waits for
            signal.alarm(SECONDS)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the child must not come back to pytest
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def use_everything():
    """Use every lock of the package."""
    pixels = np.arange(400, dtype="u2").reshape(20, 20)
    source = RecordingSource(pixels, (3, 4))
    settings.update(workers=3)
    box = ((0, 20), (0, 20))
    assert (read_box(source, 0, box) == pixels).all()
    assert len(source.loads) == source.meta.levels[0].grid.count(box)
    job = scheduler.shared.submit(lambda _job: status.shared.fail("token", 0, (0, 0), "child"))
    assert job.done.wait(SECONDS)
    assert status.shared.failures("token") == {(0, (0, 0)): "child"}
    assert status.shared.total() == 1
    numbers = cache.shared.snapshot()
    assert numbers["reads"] == len(source.loads)
    assert numbers["reading"] == 0


@pytest.mark.parametrize(
    "lock",
    [
        lambda: cache.shared._lock,
        lambda: scheduler.shared._wake,
        lambda: status.shared._lock,
        lambda: settings._lock,
    ],
    ids=["cache", "scheduler", "status", "settings"],
)
def test_a_lock_that_is_held_elsewhere_is_free_in_the_child(lock):
    held, let = threading.Event(), threading.Event()

    def hold():
        with lock():
            held.set()
            let.wait(SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(SECONDS)
        assert in_child(use_everything)
    finally:
        let.set()
        thread.join()


def test_a_read_that_is_under_way_elsewhere_is_not_waited_for():
    gate = threading.Event()
    source = RecordingSource(np.ones((4, 4), "u1"), (4, 4), gate=gate)
    thread = threading.Thread(target=read_box, args=(source, 0, ((0, 4), (0, 4))))
    thread.start()

    def work():
        gate.set()
        assert read_box(source, 0, ((0, 4), (0, 4))).all()

    try:
        assert source.started.wait(SECONDS)
        assert in_child(work)
    finally:
        gate.set()
        thread.join()


def test_a_child_forked_by_a_read_goes_on():
    """Some decoders start programs; the thread that reads is then all there is in the child."""

    class Forking:
        key = "forking"

        def load(self):
            assert in_child(use_everything)
            return np.ones(3, "u1")

    assert cache.shared.read(Forking()).all()

    def submit_and_fork(_job):
        assert in_child(use_everything)

    job = scheduler.shared.submit(submit_and_fork)
    assert job.done.wait(2 * SECONDS)
    assert job.error is None


def test_a_child_has_an_empty_cache_and_no_listeners():
    heard = []
    disconnect = status.shared.connect(lambda *news: heard.append(news))
    source = RecordingSource(np.ones((4, 4), "u1"), (4, 4))
    read_box(source, 0, ((0, 4), (0, 4)))

    def work():
        assert len(cache.shared) == 0
        status.shared.fail("token", 0, (0,), "child")
        assert not heard

    assert in_child(work)
    assert len(cache.shared) == 1
    disconnect()


def test_many_forks_while_threads_are_busy():
    stop = threading.Event()

    def busy(seed):
        source = RecordingSource(np.zeros((64, 64), "u1"), (8, 8))
        rng = np.random.default_rng(seed)
        while not stop.is_set():
            start = int(rng.integers(0, 50))
            read_box(source, 0, ((start, start + 14), (0, 64)))
            cache.shared.drop(lambda key: key.file == source.token and key.part[1][0] % 3 == 0)
            status.shared.fail(source.token, 0, (start,), "busy")
            settings.update(workers=2 + start % 3)

    threads = [threading.Thread(target=busy, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    try:
        end = time.monotonic() + 60
        for _ in range(100):
            assert in_child(use_everything)
            if time.monotonic() > end:  # a slow machine: fewer must do
                break
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_child_has_a_pool_of_its_own_though_that_of_the_parent_is_paused_and_hangs():
    pool, let, began = scheduler.shared, threading.Event(), threading.Event()

    def hang(_job):
        began.set()
        assert let.wait(SECONDS)

    running = pool.submit(hang, tier=Tier.PREFETCH)
    assert began.wait(SECONDS)
    pool.pause()
    queued = pool.submit(lambda _job: None)
    try:
        assert in_child(use_everything)
    finally:
        pool.pause(paused=False)
        let.set()
    assert running.done.wait(SECONDS)
    assert queued.done.wait(SECONDS)
