"""The state of every chunk, what failed where, and who is notified."""

from __future__ import annotations

import logging
import threading
from collections import Counter

import numpy as np
import pytest

from napari_lazyload.core.chunk_states import NEXT, ChunkState
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading import status as module
from napari_lazyload.loading.status import LoadStatus, LoadSummary


def test_a_failure_is_noted_told_once_and_cleared():
    status, heard = LoadStatus(), []
    disconnect = status.connect(lambda *news: heard.append(news))
    assert status.fail("a", 0, (1, 2), "truncated")
    assert not status.fail("a", 0, (1, 2), "truncated")
    assert status.fail("a", 0, (1, 2), "gone")
    status.fail("b", 1, (0,), "empty")
    assert status.failures("a") == {(0, (1, 2)): "gone"}
    assert status.total() == 2
    status.clear("a", 0, (1, 2))
    status.clear("a", 0, (1, 2))
    assert (status.failures("a"), status.total()) == ({}, 1)
    assert heard == [
        ("a", 0, (1, 2), "truncated"),
        ("a", 0, (1, 2), "gone"),
        ("b", 1, (0,), "empty"),
        ("a", 0, (1, 2), None),
    ]
    disconnect()
    disconnect()
    status.forget("b")
    status.forget("b")
    status.fail("a", 0, (0, 0), "gone")
    assert (len(heard), status.total()) == (4, 1)


def test_what_is_handed_out_is_a_copy():
    status = LoadStatus()
    status.fail("a", 0, (0,), "gone")
    status.failures("a").clear()
    assert status.total() == 1


def test_a_listener_that_fails_spoils_no_read_and_keeps_none_from_hearing(caplog):
    status, heard = LoadStatus(), []

    def broken(*_news):
        raise RuntimeError("wrapped C/C++ object has been deleted")

    status.connect(broken)
    status.connect(lambda *news: heard.append(news))
    with caplog.at_level(logging.ERROR):
        assert status.fail("a", 0, (0,), "gone")
    assert len(heard) == 1
    assert "has been deleted" in caplog.text


def test_a_listener_may_ask_and_disconnect():
    status, heard = LoadStatus(), []

    def listener(token, *_news):
        heard.append(status.failures(token))
        disconnect()

    disconnect = status.connect(listener)
    status.fail("a", 0, (0,), "gone")
    status.fail("a", 0, (1,), "gone")
    assert heard == [{(0, (0,)): "gone"}]


def test_many_threads():
    status = LoadStatus()

    def work(number):
        for index in range(200):
            status.fail(f"s{number % 2}", 0, (index,), f"reason {number}")
            status.clear(f"s{number % 2}", 0, (index,))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert status.total() == 0


# --- states of chunks

Q, L, IN, F, E = ChunkState
KEY = "the key"


def into(status, state):
    """Bring chunk (0, (0,)) of "a" into a state, by what readers tell; return its note."""
    reporter = status.reporter("a", 0, (0,))
    if state is Q:
        status.queue("a", 0, [(0,)])
    elif state is L:
        reporter.begin()
    elif state is F:
        status.fail("a", 0, (0,), "gone")
    elif state in (IN, E):
        reporter.loaded(KEY, kept=True)
        if state is E:
            status.evicted(KEY)
    assert status.state("a", 0, (0,)) is state
    return reporter


def queue(status, _note):
    status.queue("a", 0, [(0,)])


def unqueue(status, _note):
    status.unqueue("a", 0, [(0,)])


def began(_status, reporter):
    reporter.begin()


def kept(_status, reporter):
    reporter.loaded("another key", kept=True)


def given(_status, reporter):
    reporter.loaded(KEY, kept=False)


def failed(_status, reporter):
    reporter.fail(ChunkReadError("gone", "a"))


def interrupted(_status, reporter):
    reporter.fail(KeyboardInterrupt())


def evicted(status, _note):
    status.evicted(KEY)


WHAT_BECOMES = {  # of chunks that are: unknown, queued, loading, loaded, failed, evicted
    queue: (Q, Q, L, IN, Q, Q),
    unqueue: (None, None, L, IN, F, E),
    began: (L, L, L, L, L, L),
    kept: (IN, IN, IN, IN, IN, IN),
    given: (E, E, E, E, E, E),
    failed: (F, F, F, F, F, F),
    interrupted: (None, Q, None, IN, None, None),
    evicted: (None, Q, L, E, F, E),
}


@pytest.mark.parametrize("event", WHAT_BECOMES, ids=lambda event: event.__name__)
@pytest.mark.parametrize("number", range(6), ids=["unknown", *ChunkState])
def test_what_readers_tell_makes_the_legal_transitions_and_no_other(event, number):
    before, after = [None, *ChunkState][number], WHAT_BECOMES[event][number]
    status = LoadStatus()
    event(status, into(status, before))
    assert status.state("a", 0, (0,)) is after
    assert after is before or after in NEXT[before]
    counts = {state.value: int(state is after) for state in ChunkState}
    assert {name: getattr(status.summary(), name) for name in counts} == counts


def test_a_state_that_may_not_follow_is_not_taken():
    chunks = module._Chunks()
    for before in (None, *ChunkState):
        for after in (None, *ChunkState):
            chunks.states = {} if before is None else {(0, ()): before}
            chunks.counts = Counter(chunks.states.values())
            legal = after in NEXT[before]
            assert chunks.move((0, ()), after) == (legal or after is before)
            now = after if legal else before
            assert chunks.states == ({} if now is None else {(0, ()): now})
            assert +chunks.counts == Counter(chunks.states.values())


def test_a_queued_chunk_that_failed_before_is_failed_again_once_nobody_waits():
    status = LoadStatus()
    into(status, F)
    status.queue("a", 0, [(0,)])
    assert status.failures("a") == {(0, (0,)): "gone"}
    status.unqueue("a", 0, [(0,)])
    assert status.state("a", 0, (0,)) is F
    status.clear("a", 0, (0,))
    assert status.state("a", 0, (0,)) is None


def test_a_queued_chunk_whose_failure_is_forgotten_still_waits():
    status = LoadStatus()
    into(status, F)
    status.queue("a", 0, [(0,)])
    status.clear("a", 0, (0,))
    assert (status.state("a", 0, (0,)), status.total()) == (Q, 0)


def test_a_chunk_on_two_lists_waits_until_it_is_off_both():
    status = LoadStatus()
    for _ in range(2):
        status.queue("a", 0, [(0,), (1,)])
    status.unqueue("a", 0, [(0,)])
    assert status.state("a", 0, (0,)) is Q
    status.unqueue("a", 0, [(0,)])
    assert status.state("a", 0, (0,)) is None
    status.dequeued("a", 0, (1,))
    assert status.state("a", 0, (1,)) is Q
    status.unqueue("a", 0, [(1,)])
    assert status.summary() == LoadSummary()
    assert not status._sources["a"].lists


def test_a_file_that_was_replaced_is_loaded_until_the_new_pixels_go():
    status = LoadStatus()
    reporter = status.reporter("a", 0, (0,))
    reporter.loaded("old", kept=True)
    reporter.begin()
    assert status.state("a", 0, (0,)) is L
    reporter.loaded("new", kept=True)
    status.evicted("old")
    assert status.state("a", 0, (0,)) is IN
    status.evicted("new")
    assert status.state("a", 0, (0,)) is E
    assert not status._kept
    assert not status._sources["a"].keys


def test_a_replaced_file_that_another_source_has_read_already_is_kept_track_of():
    status = LoadStatus()
    reporter = status.reporter("a", 0, (0,))
    reporter.loaded("old", kept=True)
    reporter.loaded("new", kept=True)  # a hit: it did not begin
    status.evicted("old")
    assert status.state("a", 0, (0,)) is IN
    status.evicted("new")
    assert status.state("a", 0, (0,)) is E


def test_a_key_of_two_sources_is_evicted_for_both_and_forgotten_for_one():
    status = LoadStatus()
    for token in "ab":
        status.reporter(token, 0, (0,)).loaded(KEY, kept=True)
    status.forget("a")
    assert status._kept == {KEY: {("b", (0, (0,)))}}
    assert (status.state("a", 0, (0,)), status.state("b", 0, (0,))) == (None, IN)
    status.reporter("a", 0, (0,)).loaded(KEY, kept=True)
    status.evicted(KEY)
    assert status.states("a") == status.states("b") == {(0, (0,)): E}


def test_nothing_is_left_of_a_source_that_is_forgotten_whatever_was_under_way():
    status, heard = LoadStatus(), []
    status.connect(lambda *news: heard.append(news))
    notes = [status.reporter("a", 0, (number,)) for number in range(5)]
    status.queue("a", 0, [(7,)])
    notes[0].loaded(KEY, kept=True)
    for reporter in notes[1:]:
        reporter.begin()
    status.forget("a")
    notes[1].end(10)
    notes[1].loaded("later", kept=True)
    notes[2].loaded("given", kept=False)
    notes[3].fail(ChunkReadError("gone", "a"))
    notes[4].fail(KeyboardInterrupt())
    status.dequeued("a", 0, (7,))
    status.unqueue("a", 0, [(7,)])
    status.evicted(KEY)
    status.clear("a", 0, (3,))
    assert (status._sources, status._kept, heard) == ({}, {}, [])
    assert status.summary() == LoadSummary()


def test_only_so_many_evicted_chunks_are_remembered_and_the_latest_are(monkeypatch):
    monkeypatch.setattr(module, "MOST_EVICTED", 10)
    status = LoadStatus()
    status.queue("a", 0, [(99,)])
    for number in range(50):
        status.reporter("a", 0, (number,)).loaded(number, kept=True)
        status.evicted(number)
        gone = [index[0] for (_, index), state in status.states("a").items() if state is E]
        assert len(gone) <= 10
        assert gone == list(range(number + 1 - len(gone), number + 1))
        assert len(gone) >= min(number + 1, 5)
        assert (status.summary().evicted, status.summary().queued) == (len(gone), 1)
    assert not status._kept


def test_a_summary_looks_at_no_chunk():
    class Closed(dict):
        def _no(self, *_args):
            raise AssertionError("looked at every chunk")

        __iter__ = items = values = keys = _no

    status = LoadStatus()
    status.queue("a", 0, [(number,) for number in range(1000)])
    status.queue("b", 1, [(0,)])
    for token in "ab":
        status._sources[token].states = Closed(status._sources[token].states)
    assert status.summary() == LoadSummary(queued=1001)
    assert status.summary(["a", "a", "unknown"]) == LoadSummary(queued=1000)
    assert status.summary([]) == LoadSummary()


def test_reads_are_counted_and_the_latest_weigh_most(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    status = LoadStatus()
    assert (status.read_seconds("a"), status.read_seconds("unknown")) == (0, 0)
    for seconds, mean in [(1.0, 1.0), (0.0, 0.8), (0.0, 0.64), (1.64, 0.84)]:
        reporter = status.reporter("a", 0, (0,))
        reporter.begin()
        clock[0] += seconds
        reporter.end(10)
        assert status.read_seconds("a") == pytest.approx(mean)
    reporter = status.reporter("b", 0, (0,))
    reporter.begin()
    clock[0] += 3
    reporter.end(5)
    summary = status.summary()
    assert (summary.reads, summary.read_nbytes) == (5, 45)
    assert (summary.busy_seconds, summary.read_seconds) == pytest.approx((5.64, 3.0))
    assert status.summary(["a"]).read_seconds == pytest.approx(0.84)


def test_listeners_hear_of_failures_and_recoveries_alone():
    status, heard = LoadStatus(), []
    status.connect(lambda *news: heard.append(news))
    reporter = into(status, Q)
    reporter.begin()
    assert not reporter.loaded(KEY, kept=True)
    status.evicted(KEY)
    assert heard == []
    reporter.fail(ChunkReadError("gone", "a"))
    assert reporter.loaded(KEY, kept=False)
    reporter.recovered()
    assert heard == [("a", 0, (0,), "gone"), ("a", 0, (0,), None)]
    assert status.failures("a") == {}


class PanicError(BaseException):
    """What compiled readers raise where they break."""


def test_what_is_no_interruption_is_a_failure():
    status = LoadStatus()
    status.reporter("a", 0, (0,)).fail(PanicError("index out of bounds"))
    assert status.failures("a") == {(0, (0,)): "index out of bounds"}
    for interruption in (KeyboardInterrupt, SystemExit, GeneratorExit):
        status.reporter("a", 0, (1,)).fail(interruption())
    assert status.states("a") == {(0, (0,)): F}


def test_windows_see_that_something_changed():
    status = LoadStatus()
    reporter = status.reporter("a", 0, (0,))
    steps = [
        lambda: status.queue("a", 0, [(0,)]),
        reporter.begin,
        lambda: reporter.loaded(KEY, kept=True),
        lambda: status.evicted(KEY),
        lambda: reporter.fail(ChunkReadError("gone", "a")),
        lambda: status.clear("a", 0, (0,)),
        lambda: status.forget("a"),
    ]
    versions = [status.version]
    for step in steps:
        step()
        versions.append(status.version)
    assert len(set(versions)) == len(versions)


def test_counts_are_right_whatever_threads_tell_at_once():
    status = LoadStatus()

    def work(seed):
        draw = np.random.default_rng(seed)
        for _ in range(400):
            index = (int(draw.integers(5)),)
            reporter = status.reporter("ab"[draw.integers(2)], 0, index)
            events = [queue, unqueue, began, kept, given, failed, interrupted, evicted]
            event = events[draw.integers(len(events))]
            if event in (queue, unqueue):
                getattr(status, event.__name__)(reporter.token, 0, [index])
            else:
                event(status, reporter)
            if draw.integers(40) == 0:
                status.forget(reporter.token)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = Counter(state for token in "ab" for state in status.states(token).values())
    summary = status.summary()
    assert {state: getattr(summary, state.value) for state in ChunkState} == {
        state: states[state] for state in ChunkState
    }
