"""Background work gives way to what is looked at."""

from __future__ import annotations

import threading
import time

from napari_lazyload.loading import background, cache


def test_it_waits_while_chunks_are_asked_for_and_goes_on_when_it_is_quiet(monkeypatch):
    monkeypatch.setattr(background, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 60.0)
    browsing, steps = threading.Event(), []
    browsing.set()

    def browse():
        while browsing.is_set():
            cache.shared.counters.hits += 1
            time.sleep(0.005)

    keep_time = background.BackgroundThrottle(lambda: len(steps) >= 3)

    def work():
        while not keep_time():
            steps.append(browsing.is_set())

    threads = [threading.Thread(target=target, daemon=True) for target in (browse, work)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert steps == []
    browsing.clear()
    for thread in threads:
        thread.join(10)
    assert steps == [False, False, False]


def test_a_movie_that_never_stops_does_not_stop_it_for_ever(monkeypatch):
    monkeypatch.setattr(background, "QUIET_SECONDS", 60.0)
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 0.05)
    assert background.BackgroundThrottle(lambda: False)() is False


def test_it_ends_at_once_when_it_is_told_to():
    assert background.BackgroundThrottle(lambda: True)() is True


def test_it_does_not_begin_before_a_new_frame_is_drawn(monkeypatch):
    monkeypatch.setattr(background, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(background, "drawing", background.RedrawGuard())
    begun = threading.Event()
    background.drawing.begin()
    thread = threading.Thread(
        target=lambda: (background.BackgroundThrottle(lambda: False)(), begun.set()), daemon=True
    )
    thread.start()
    assert not begun.wait(0.3)
    background.drawing.end()
    assert begun.wait(10)
    thread.join(10)


def test_a_window_that_never_draws_holds_nothing_up_for_ever(monkeypatch):
    monkeypatch.setattr(background, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 0.05)
    drawing = background.RedrawGuard()
    drawing.begin()
    assert drawing.active()
    time.sleep(0.06)
    assert not drawing.active()
