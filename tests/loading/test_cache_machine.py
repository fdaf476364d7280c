"""The chunk cache against a model: budget, order of use, counters, each key read once."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading.cache import ChunkCache

KEYS = st.integers(0, 7)
WAIT = 20


def size_of(key):
    """A chunk's bytes: some larger than small budgets, one empty."""
    return (key * 7) % 23


class Chunk:
    """Fills itself with its key; fails, or waits at a gate, if the test says so."""

    def __init__(self, key, *, fails=False, gate=None):
        self.key, self.fails, self.gate = key, fails, gate
        self.loads = 0
        self.began = threading.Event()

    def load(self):
        self.loads += 1
        self.began.set()
        assert self.gate is None or self.gate.wait(WAIT)
        if self.fails:
            raise ChunkReadError(f"{self.key}: fails", str(self.key))
        return np.full(size_of(self.key), self.key, "u1")


class CacheMachine(RuleBasedStateMachine):
    """One thread reads, drops and changes the budget, while up to three reads of others run."""

    @initialize(budget=st.integers(0, 60))
    def begin(self, budget):
        self.budget = budget
        self.reserved = {}
        self.gone = []
        self.cache = ChunkCache(lambda: self.budget, self.gone.append)
        self.model = OrderedDict()  # key -> bytes, the least recently used first
        self.flights = {}  # key -> [chunk, gate, keep, answers, threads]
        self.reads = self.failures = self.hits = self.shared = self.evictions = self.read_nbytes = 0

    def land(self, key, *, keep, fails=False):
        self.reads += 1
        if fails:
            self.failures += 1
            return
        self.read_nbytes += size_of(key)
        if keep and size_of(key) <= self.room:
            self.model[key] = size_of(key)
            self.evict()

    @property
    def room(self):
        return max(0, self.budget - sum(self.reserved.values()))

    def evict(self):
        gone = []
        while self.model and sum(self.model.values()) > self.room:
            gone.append(self.model.popitem(last=False)[0])
            self.evictions += 1
        assert gone == self.gone
        self.gone.clear()

    @rule(key=KEYS, keep=st.booleans(), fails=st.booleans())
    def read(self, key, keep, fails):
        if key in self.flights:
            return
        chunk = Chunk(key, fails=fails)
        if key in self.model:
            pixels = self.cache.read(chunk, keep=keep)
            assert chunk.loads == 0
            self.hits += 1
            if keep:
                self.model.move_to_end(key)
        elif fails:
            with pytest.raises(ChunkReadError, match=f"{key}: fails"):
                self.cache.read(chunk, keep=keep)
            self.land(key, keep=keep, fails=True)
            return
        else:
            pixels = self.cache.read(chunk, keep=keep)
            assert chunk.loads == 1
            self.land(key, keep=keep)
        assert pixels.tolist() == [key] * size_of(key)
        assert not pixels.flags.writeable

    @precondition(lambda self: len(self.flights) < 3)
    @rule(key=KEYS, keep=st.booleans(), fails=st.booleans())
    def take_off(self, key, keep, fails):
        """Another thread begins to read, and is held there."""
        if key in self.flights or key in self.model:
            return
        gate, answers = threading.Event(), queue.Queue()
        chunk = Chunk(key, fails=fails, gate=gate)
        flight = self.flights[key] = [chunk, gate, keep, answers, []]
        self.ask(flight, chunk, keep)
        assert chunk.began.wait(WAIT)

    def ask(self, flight, chunk, keep):
        answers = flight[3]

        def work():
            try:
                answers.put(self.cache.read(chunk, keep=keep).tolist())
            except ChunkReadError as err:
                answers.put(str(err))

        thread = threading.Thread(target=work, daemon=True)
        flight[4].append(thread)
        thread.start()

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), keep=st.booleans())
    def join(self, data, keep):
        """One more thread asks for what is being read."""
        flight = self.flights[data.draw(st.sampled_from(sorted(self.flights)))]
        stranger = Chunk(flight[0].key)
        self.ask(flight, stranger, keep)
        self.shared += 1
        while self.cache.counters.shared < self.shared:
            pass
        assert stranger.loads == 0
        flight[2] |= keep

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def arrive(self, data):
        """A read under way ends: everybody who asked has the same answer."""
        key = data.draw(st.sampled_from(sorted(self.flights)))
        chunk, gate, keep, answers, threads = self.flights.pop(key)
        gate.set()
        for thread in threads:
            thread.join(WAIT)
        expected = f"{key}: fails" if chunk.fails else [key] * size_of(key)
        assert [answers.get(timeout=WAIT) for _ in threads] == [expected] * len(threads)
        assert chunk.loads == 1
        self.land(key, keep=keep, fails=chunk.fails)

    @rule(budget=st.integers(0, 60), trim=st.booleans())
    def change_budget(self, budget, trim):
        self.budget = budget
        if trim:
            self.cache.trim()
            self.evict()

    @rule(owner=st.sampled_from("ab"), nbytes=st.integers(0, 40))
    def reserve(self, owner, nbytes):
        self.cache.reserve(owner, nbytes)
        self.reserved[owner] = nbytes
        self.evict()

    @rule(key=KEYS)
    def peek(self, key):
        chunk = Chunk(key)
        pixels = self.cache.peek(chunk)
        assert chunk.loads == 0
        assert (pixels is not None) == (key in self.model)
        if key in self.model:
            self.hits += 1
            self.model.move_to_end(key)

    @rule(odd=st.booleans())
    def drop(self, odd):
        gone = [key for key in self.model if key % 2 == odd]
        assert self.cache.drop(lambda key: key % 2 == odd) == len(gone)
        assert self.gone == gone
        self.gone.clear()
        for key in gone:
            del self.model[key]
        for key, flight in self.flights.items():
            if key % 2 == odd:
                flight[2] = False

    @invariant()
    def the_same_chunks_are_kept_in_the_same_order(self):
        assert list(self.cache._entries) == list(self.model)
        assert {key: array.nbytes for key, array in self.cache._entries.items()} == self.model
        for key in range(8):
            assert (key in self.cache) == (key in self.model)

    @invariant()
    def the_counters_add_up(self):
        assert self.cache.snapshot() == {
            "budget": self.budget,
            "lent": sum(self.reserved.values()),
            "nbytes": sum(self.model.values()),
            "chunks": len(self.model),
            "reading": len(self.flights),
            "reads": self.reads,
            "failures": self.failures,
            "hits": self.hits,
            "shared": self.shared,
            "evictions": self.evictions,
            "read_nbytes": self.read_nbytes,
        }

    def teardown(self):
        for _, gate, *_ in getattr(self, "flights", {}).values():
            gate.set()
        for *_, threads in getattr(self, "flights", {}).values():
            for thread in threads:
                thread.join(WAIT)


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
