"""One wait for all layers of one turn of the event loop."""

from __future__ import annotations

import pytest

from napari_lazyload.layers.display import time_budget as module
from napari_lazyload.layers.display.time_budget import WAIT_SECONDS, FrameBudget


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_all_that_ask_in_one_turn_wait_for_the_same_moment(clock):
    posted = []
    frame_budget = FrameBudget(posted.append)
    assert frame_budget.remaining() == pytest.approx(WAIT_SECONDS)
    clock[0] += WAIT_SECONDS / 2
    assert frame_budget.remaining() == pytest.approx(WAIT_SECONDS / 2)
    clock[0] += WAIT_SECONDS
    assert frame_budget.remaining() == 0
    assert len(posted) == 1


def test_the_next_turn_may_wait_again(clock):
    posted = []
    frame_budget = FrameBudget(posted.append)
    frame_budget.remaining()
    clock[0] += 1
    assert frame_budget.remaining() == 0
    posted.pop()()
    assert frame_budget.remaining() == pytest.approx(WAIT_SECONDS)
    assert len(posted) == 1


def test_a_turn_may_end_while_a_thread_asks(clock):
    """A view that is sliced in a thread asks there, and the main thread renews at any moment."""
    frame_budget = FrameBudget(lambda renew: renew())
    assert frame_budget.remaining() == pytest.approx(WAIT_SECONDS)
    assert frame_budget.remaining() == pytest.approx(WAIT_SECONDS)
