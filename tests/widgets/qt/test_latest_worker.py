"""The thread beside the window does the newest work only, and ends."""

from __future__ import annotations

import threading
import time

import pytest

from napari_lazyload.widgets.qt.latest_worker import Cancelled, LatestWorker


def wait(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.001)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "test-worker"]


@pytest.fixture
def worker():
    worker = LatestWorker("test-worker")
    yield worker
    worker.cancel()
    wait(lambda: not threads())


def test_work_runs_in_a_thread_that_ends(worker):
    task = worker.submit(lambda _: threading.current_thread().name)
    wait(lambda: task.done)
    assert task.result == "test-worker"
    wait(lambda: not threads())


def test_newer_work_calls_older_work_off_and_what_waits_never_starts(worker):
    started = threading.Event()

    def endless(checkpoint):
        started.set()
        while True:
            checkpoint()

    first = worker.submit(endless)
    assert started.wait(20)
    ran = []
    second = worker.submit(lambda _: ran.append("second"))
    third = worker.submit(lambda _: ran.append("third"))
    wait(lambda: first.done and third.done)
    assert isinstance(first.error, Cancelled)
    assert ran == ["third"]
    assert not second.done
    assert len(threads()) <= 1


def test_an_error_is_kept_for_whoever_asked(worker):
    task = worker.submit(lambda _: 1 / 0)
    wait(lambda: task.done)
    assert isinstance(task.error, ZeroDivisionError)
    assert task.result is None


def test_cancel_ends_the_thread(worker):
    def endless(checkpoint):
        while True:
            checkpoint()

    task = worker.submit(endless)
    worker.cancel()
    wait(lambda: task.done or not threads())
    wait(lambda: not threads())
