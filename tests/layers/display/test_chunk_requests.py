"""What one layer reads, without a window: nothing twice, nothing that failed, nothing in vain."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from helpers.displays import WAIT
from napari_lazyload.core import settings
from napari_lazyload.layers.display import chunk_requests as module
from napari_lazyload.layers.display.chunk_requests import ChunkRequests, places
from napari_lazyload.layers.display.frame import Frame
from napari_lazyload.layers.display.time_budget import FrameBudget
from napari_lazyload.loading import scheduler, status
from napari_lazyload.loading.read_box import read_block
from napari_lazyload.testing.sources import RecordingSource

PIXELS = np.arange(12, dtype="u1").reshape(6, 2)


class Kept(RecordingSource):
    """Counts which chunks are looked up."""

    def __init__(self, **more):
        super().__init__(PIXELS, (1, 2), **more)
        self.looked_up = []

    def chunk(self, level, index):
        self.looked_up.append(index)
        return super().chunk(level, index)


@pytest.fixture
def gate():
    made = threading.Event()
    yield made
    made.set()


def reading_of(source):
    """Return what reads from a source, and the numbers of the chunks that came."""
    came = []
    frame_budget = FrameBudget(lambda *_: None)
    return ChunkRequests(
        source, lambda _level, index, *_: came.append(index[0]), frame_budget
    ), came


def until(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.001)


def test_a_view_looks_up_none_but_the_chunks_that_are_in_memory():
    source = Kept()
    read_block(source, 0, (2, 0))
    source.looked_up.clear()
    frame = Frame(source, 0, ((0, 6), (0, 2)))
    reading_of(source)[0].fill(frame)
    assert source.looked_up == [(2, 0)]
    assert len(frame.missing()) == 5


def test_copies_of_what_is_in_memory_end_in_time(monkeypatch):
    source = Kept()
    for number in range(6):
        read_block(source, 0, (number, 0))
    monkeypatch.setattr(module, "COPY_SECONDS", -1.0)
    frame = Frame(source, 0, ((0, 6), (0, 2)))
    monkeypatch.setattr(FrameBudget, "remaining", lambda _budget: 0.0)
    reading_of(source)[0].fill(frame)
    assert len(frame.missing()) == 5
    monkeypatch.setattr(FrameBudget, "remaining", lambda _budget: 0.001)
    reading_of(source)[0].fill(frame)  # it would wait anyway
    assert frame.complete


@pytest.mark.parametrize(
    ("cores", "seconds", "soon"),
    [(2, 0.0, True), (2, 0.009, True), (2, 0.015, False), (1, 0.006, False)],
)
def test_what_comes_soon_is_what_many_threads_read_while_a_view_waits(
    monkeypatch, cores, seconds, soon
):
    """Reads that keep a core busy take turns where there are fewer cores than threads."""
    monkeypatch.setattr(scheduler, "CORES", cores)
    settings.update(workers=2)
    source = Kept()
    for number in (0, 5):
        read_block(source, 0, (number, 0))
    monkeypatch.setattr(status.shared, "read_seconds", lambda _token: seconds)
    reading, _ = reading_of(source)
    assert (
        reading.expected_within_budget(Frame(source, 0, ((0, 6), (0, 2)))) is soon
    )  # four are missing: two turns
    assert reading.expected_within_budget(Frame(source, 0, ((5, 6), (0, 2))))


def test_what_is_asked_for_later_is_asked_once_when_the_turn_ends():
    posted, asked = [], []
    reading = ChunkRequests(Kept(), lambda *_: None, FrameBudget(posted.append))
    for number in range(3):
        reading.defer(lambda number=number: asked.append((number, reading.busy)))
    assert reading.busy
    assert asked == []
    while posted:
        posted.pop()()
    assert asked == [(2, False)]
    reading.defer(lambda: asked.append("cancelled"))
    reading.cancel()
    assert not reading.busy
    posted.pop()()
    assert len(asked) == 1


def test_a_chunk_that_is_read_ahead_comes_by_itself_when_it_is_wanted(gate):
    source = Kept(gate=gate)
    reading, came = reading_of(source)
    reading.prefetch(0, [(3, 0)])
    assert source.started.wait(WAIT)
    assert reading.busy
    reading.request([(0, (3, 0)), (0, (4, 0))], [(0, (3, 0)), (0, (5, 0))])
    gate.set()
    until(lambda: not reading.busy and len(came) >= 3)
    assert sorted(came) == [3, 4, 5]  # no thread stood by while another read


def test_what_is_there_or_failed_is_not_read_ahead():
    source = Kept(failing=[(1, 0)])
    reading, came = reading_of(source)
    reading.request([(0, (0, 0)), (0, (1, 0))], [])
    until(lambda: sorted(came) == [0, 1])
    source.looked_up.clear()
    reading.prefetch(0, [(0, 0), (1, 0), (2, 0)])
    until(lambda: came[2:] == [2])
    assert source.looked_up == [(2, 0)]


@pytest.mark.parametrize("kind", ["ahead", "fine", "rough"])
def test_nothing_is_read_any_more_once_it_is_cancelled(gate, kind):
    settings.update(workers=1)
    source = Kept(gate=gate)
    reading, came = reading_of(source)
    wanted = [(0, (number, 0)) for number in range(3)]
    if kind == "ahead":
        reading.prefetch(0, [index for _, index in wanted])
    else:
        reading.request(*((wanted, []) if kind == "fine" else ([], wanted)))
    assert source.started.wait(WAIT)
    reading.cancel()
    gate.set()
    until(lambda: came == [0])
    reading.request([(0, (5, 0))], [])
    until(lambda: came == [0, 5])
    assert source.loads == [(0, (0, 0)), (0, (5, 0))]


def test_the_chunks_of_a_view_are_wanted_from_its_center():
    frame = Frame(Kept(), 0, ((0, 5), (0, 2)))
    frame.put((2, 0), PIXELS[2:3])
    assert [index[0] for _, index in places(frame)] == [1, 3, 0, 4]
