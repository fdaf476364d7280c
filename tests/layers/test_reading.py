"""What one layer reads: nothing twice, nothing that failed, nothing looked up in vain; without a window."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_lazyload.core import settings
from napari_lazyload.layers import reading as module
from napari_lazyload.layers.frames import Frame
from napari_lazyload.layers.patience import Patience
from napari_lazyload.layers.reading import Reading, places
from napari_lazyload.loading import cache
from napari_lazyload.loading.box import read_block
from napari_lazyload.testing.sources import RecordingSource

from .conftest import WAIT

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
    """Return what reads from a source, and an event for each chunk that came."""
    came = {(0, (number, 0)): threading.Event() for number in range(6)}
    return Reading(source, lambda level, index, *_: came[level, index].set(), Patience(lambda *_: None)), came


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
    reading_of(source)[0].fill(frame)
    assert len(frame.missing()) == 5


def test_a_chunk_that_is_read_ahead_comes_by_itself_when_it_is_wanted(gate):
    source = Kept(gate=gate)
    reading, came = reading_of(source)
    reading.want_ahead(0, [(3, 0)])
    assert source.started.wait(WAIT)
    assert reading.busy
    waited = cache.shared.counters.shared
    reading.want([(0, (3, 0)), (0, (4, 0))], [(0, (3, 0))])
    gate.set()
    assert all(came[0, (number, 0)].wait(WAIT) for number in (3, 4))
    assert sorted(source.loads) == [(0, (3, 0)), (0, (4, 0))]
    assert cache.shared.counters.shared == waited  # no thread stood by while another read


def test_what_is_there_or_failed_is_not_read_ahead():
    source = Kept(failing=[(1, 0)])
    reading, came = reading_of(source)
    reading.want([(0, (0, 0)), (0, (1, 0))], [])
    assert all(came[0, (number, 0)].wait(WAIT) for number in (0, 1))
    source.looked_up.clear()
    reading.want_ahead(0, [(0, 0), (1, 0), (2, 0)])
    assert came[0, (2, 0)].wait(WAIT)
    assert source.looked_up == [(2, 0)]


def test_nothing_is_read_any_more_once_it_is_cancelled(gate):
    settings.update(workers=2)
    source = Kept(gate=gate)
    reading, came = reading_of(source)
    reading.want_ahead(0, [(0, 0), (1, 0), (2, 0)])
    assert source.started.wait(WAIT)
    reading.cancel()
    gate.set()
    assert came[0, (0, 0)].wait(WAIT)
    reading.want([(0, (5, 0))], [])
    assert came[0, (5, 0)].wait(WAIT)
    assert source.loads == [(0, (0, 0)), (0, (5, 0))]


def test_the_chunks_of_a_view_are_wanted_from_its_centre():
    frame = Frame(Kept(), 0, ((0, 5), (0, 2)))
    frame.put((2, 0), PIXELS[2:3])
    assert [index[0] for _, index in places(frame)] == [1, 3, 0, 4]
