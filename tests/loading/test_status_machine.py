"""The status of a real cache against a simple model: read, replaced, evicted, dropped, closed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from napari_lazyload.core.chunk_states import ChunkState
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading.cache import ChunkCache
from napari_lazyload.loading.status import LoadStatus

SIZE = 10
TOKENS = st.sampled_from("ab")
NUMBERS = st.integers(0, 3)
Q, L, IN, F, E = ChunkState


class Chunk:
    def __init__(self, key, fails):
        self.key, self.fails = key, fails

    def load(self):
        if self.fails:
            raise ChunkReadError("fails", "")
        return np.zeros(SIZE, "u1")


class StatusMachine(RuleBasedStateMachine):
    """Two sources of the same files, one thread."""

    @initialize(room=st.integers(0, 4))
    def begin(self, room):
        self.room = room
        self.status = LoadStatus()
        self.cache = ChunkCache(lambda: self.room * SIZE, self.status.evicted)
        self.version = dict.fromkeys(range(4), 0)
        self.states = {}  # (token, number) -> state
        self.seen = {}  # (token, number) -> the key of the pixels that it had last
        self.lists = Counter()
        self.reads = Counter()
        self.reasons = {}
        self.heard, self.expected = [], []
        self.status.connect(lambda *news: self.heard.append(news))

    def note_evictions(self):
        for place, state in self.states.items():
            if state is IN and self.seen[place] not in self.cache:
                self.states[place] = E

    def say(self, place, reason):
        if self.reasons.get(place) != reason:
            self.expected.append((place[0], 0, (place[1],), reason))
        self.reasons[place] = reason
        if reason is None:
            del self.reasons[place]

    @rule(token=TOKENS, number=NUMBERS, keep=st.booleans(), fails=st.booleans())
    def read(self, token, number, keep, fails):
        place, key = (token, number), (number, self.version[number])
        reporter = self.status.reporter(token, 0, (number,))
        cached = key in self.cache
        if fails and not cached:
            with pytest.raises(ChunkReadError):
                self.cache.read(Chunk(key, fails), keep=keep, reporter=reporter)
            self.states[place] = F
            self.say(place, "fails")
            return
        self.cache.read(Chunk(key, fails), keep=keep, reporter=reporter)
        self.reads[token] += not cached
        self.note_evictions()
        self.seen[place], self.states[place] = key, IN if key in self.cache else E
        self.say(place, None) if place in self.reasons else None

    @rule(number=NUMBERS)
    def replace_the_file(self, number):
        self.version[number] += 1

    @rule(token=TOKENS, numbers=st.sets(NUMBERS))
    def queue(self, token, numbers):
        self.status.queue(token, 0, [(number,) for number in numbers])
        for number in numbers:
            self.lists[token, number] += 1
            if self.states.get((token, number)) is not IN:
                self.states[token, number] = Q

    @rule(token=TOKENS, number=NUMBERS, begins=st.booleans())
    def take_off_a_list(self, token, number, begins):
        place = (token, number)
        if not self.lists[place]:
            return
        self.lists[place] -= 1
        if begins:
            self.status.dequeued(token, 0, (number,))
            self.read(token, number, keep=True, fails=False)
            return
        self.status.unqueue(token, 0, [(number,)])
        if self.states.get(place) is Q and not self.lists[place]:
            self.states[place] = F if place in self.reasons else None

    @rule(token=TOKENS, number=NUMBERS)
    def retry(self, token, number):
        place = (token, number)
        if place in self.reasons:
            self.status.clear(token, 0, (number,))
            self.states[place] = Q if self.lists[place] else None
            self.say(place, None)

    @rule(room=st.integers(0, 4))
    def change_the_budget(self, room):
        self.room = room
        self.cache.trim()
        self.note_evictions()

    @rule(number=NUMBERS)
    def drop(self, number):
        self.cache.drop(lambda key: key[0] == number)
        self.note_evictions()

    @rule()
    def drop_all(self):
        self.cache.drop()
        self.note_evictions()
        assert not self.status._kept

    @rule(token=TOKENS)
    def forget(self, token):
        self.status.forget(token)
        for known in (self.states, self.seen, self.lists, self.reasons):
            for place in [place for place in known if place[0] == token]:
                del known[place]
        del self.reads[token]
        assert all(owner != token for owners in self.status._kept.values() for owner, _ in owners)

    @invariant()
    def each_chunk_is_in_its_state(self):
        for token in "ab":
            states = {
                number: state
                for (owner, number), state in self.states.items()
                if owner == token and state
            }
            assert {
                index[0]: state for (_, index), state in self.status.states(token).items()
            } == states
            reasons = {
                number: reason for (owner, number), reason in self.reasons.items() if owner == token
            }
            assert {
                index[0]: reason for (_, index), reason in self.status.failures(token).items()
            } == reasons
        assert self.status.total() == len(self.reasons)
        assert self.heard == self.expected

    @invariant()
    def the_counts_add_up(self):
        for tokens in (None, "a", "b"):
            summary = self.status.summary(tokens)
            mine = Counter(
                state
                for (owner, _), state in self.states.items()
                if tokens is None or owner in tokens
            )
            assert {state: getattr(summary, state.value) for state in ChunkState} == {
                state: mine[state] for state in ChunkState
            }
            reads = sum(
                count for token, count in self.reads.items() if tokens is None or token in tokens
            )
            assert (summary.reads, summary.read_nbytes) == (reads, reads * SIZE)

    @invariant()
    def it_remembers_the_keys_of_what_is_in_memory_and_no_other(self):
        assert set(self.status._kept) <= set(self.cache._entries)
        kept = {
            (token, place): key
            for key, owners in self.status._kept.items()
            for token, place in owners
        }
        known = {
            (token, place): key
            for token, chunks in self.status._sources.items()
            for place, key in chunks.keys.items()
        }
        assert kept == known
        loaded = {
            (token, (0, (number,))) for (token, number), state in self.states.items() if state is IN
        }
        assert loaded <= set(kept)


TestStatusMachine = StatusMachine.TestCase
TestStatusMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
