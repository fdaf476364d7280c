"""Calls that are made again: how often, after which pauses, and when not."""

from __future__ import annotations

import pytest

from napari_lazyload.core.retry import retrying


class BusyError(Exception):
    pass


class Clock:
    """Time that passes while one sleeps, and during each call."""

    def __init__(self, seconds_a_call=0.0):
        self.now = 0.0
        self.pauses = []
        self.seconds_a_call = seconds_a_call

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    def failing(self, times, error=BusyError):
        calls = []

        def call():
            calls.append(self.now)
            self.now += self.seconds_a_call
            if len(calls) <= times:
                raise error
            return len(calls)

        return call

    def retry(self, call, **options):
        def passing(err):
            return isinstance(err, BusyError)

        return retrying(call, passing, sleep=self.sleep, clock=lambda: self.now, **options)


def test_a_call_that_succeeds_is_made_once_without_a_pause():
    clock = Clock()

    assert clock.retry(clock.failing(0)) == 1
    assert clock.pauses == []


def test_pauses_double_and_chance_takes_up_to_half_of_each():
    clock = Clock()
    assert clock.retry(clock.failing(3), chance=lambda: 0.0) == 4
    assert clock.pauses == [0.2, 0.4, 0.8]

    clock = Clock()
    clock.retry(clock.failing(3), chance=lambda: 1.0)
    assert clock.pauses == [0.1, 0.2, 0.4]


def test_the_error_of_the_last_attempt_is_raised():
    clock = Clock()

    with pytest.raises(BusyError):
        clock.retry(clock.failing(9), attempts=3)
    assert len(clock.pauses) == 2


def test_another_error_is_raised_at_once():
    clock = Clock()

    with pytest.raises(KeyError):
        clock.retry(clock.failing(1, KeyError))
    assert clock.pauses == []


def test_no_call_begins_after_the_deadline():
    clock = Clock(seconds_a_call=20)

    with pytest.raises(BusyError):
        clock.retry(clock.failing(9), deadline=30)
    assert len(clock.pauses) == 1
