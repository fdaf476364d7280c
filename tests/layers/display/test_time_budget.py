"""One wait for all layers of one turn of the event loop."""

from __future__ import annotations

import pytest

from napari_lazyload.layers.display import time_budget as module
from napari_lazyload.layers.display.time_budget import WAIT_SECONDS, Patience


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_all_that_ask_in_one_turn_wait_for_the_same_moment(clock):
    posted = []
    patience = Patience(posted.append)
    assert patience.seconds == WAIT_SECONDS
    assert patience.left() == pytest.approx(WAIT_SECONDS)
    clock[0] += WAIT_SECONDS / 2
    assert patience.left() == pytest.approx(WAIT_SECONDS / 2)
    clock[0] += WAIT_SECONDS
    assert patience.left() == 0
    assert len(posted) == 1


def test_the_next_turn_may_wait_again(clock):
    posted = []
    patience = Patience(posted.append)
    patience.left()
    clock[0] += 1
    assert patience.left() == 0
    posted.pop()()
    assert patience.left() == pytest.approx(WAIT_SECONDS)
    assert len(posted) == 1


def test_a_turn_may_end_while_a_thread_asks(clock):
    """A view that is sliced in a thread asks there, and the main thread renews at any moment."""
    patience = Patience(lambda renew: renew())
    assert patience.left() == pytest.approx(WAIT_SECONDS)
    assert patience.left() == pytest.approx(WAIT_SECONDS)
