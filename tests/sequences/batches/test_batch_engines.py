"""Batches: how far they are read ahead, in threads and processes, and that nothing is left."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import threading
import time
import weakref

import numpy as np
import pytest

from helpers.pictures import NUMBERED, numbers
from helpers.waiting import eventually, threads
from napari_lazyload.core import settings
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.sequences.batch_engines import _sendable
from napari_lazyload.sequences.reading import read_images
from napari_lazyload.sources.image_files import decode as pictures


@pytest.fixture
def gate(monkeypatch):
    """Holds every decoder back until it is opened."""
    opened, begun = threading.Event(), threading.Semaphore(0)
    original = pictures.decode

    def decode(path, *args, **kwargs):
        begun.release()
        assert opened.wait(20)
        return original(path, *args, **kwargs)

    monkeypatch.setattr(pictures, "decode", decode)
    opened.begun = begun
    yield opened
    opened.set()


class TestReadingAhead:
    def test_first_batches_are_filled_before_one_is_asked_for(self, seq, reads):
        batches = seq.batches(2, prefetch=3)
        eventually(lambda: not threads("lazyload-batches"))
        assert sorted(reads) == [f"{number}.png" for number in range(6)]
        assert "3 read ahead" in repr(batches)
        assert numbers(next(batches)) == [0, 1]
        batches.close()

    def test_no_more_than_asked_for(self, seq, reads):
        batches = seq.batches(2, prefetch=1)
        for taken in range(1, 5):
            next(batches)
            eventually(lambda: not threads("lazyload-batches"))
            assert len(reads) == 2 * min(taken + 1, 5)
        batches.close()

    def test_nothing_ahead(self, seq, reads):
        batches = seq.batches(3, prefetch=0)
        time.sleep(0.05)
        assert not reads
        assert numbers(next(batches)) == [0, 1, 2]
        assert len(reads) == 3
        assert [numbers(batch) for batch in batches] == [[3, 4, 5], [6, 7, 8], [9]]

    def test_at_most_so_many_threads(self, seq, gate):
        batches = seq.batches(4, workers=3)
        for _ in range(3):
            assert gate.begun.acquire(timeout=10)
        assert len(threads("lazyload-batches")) == 3
        assert not gate.begun.acquire(timeout=0.05)
        gate.set()
        assert len(list(batches)) == 3

    def test_the_number_of_threads_is_a_setting(self, seq, gate):
        settings.update(workers=2)
        try:
            batches = seq.batches(4)
            assert len(threads("lazyload-batches")) == 2
        finally:
            settings.update(workers=None)
            gate.set()
        batches.close()

    def test_each_file_is_read_once_an_epoch_at_most(self, seq, reads):
        assert len(list(seq.batches(3, repeats=3))) == 12
        assert len(reads) == NUMBERED  # the later epochs come from the cache

    def test_many_readers_of_one_iterator(self, seq):
        batches = seq.batches(1, repeats=20)
        taken = []

        def take():
            taken.extend(numbers(batch)[0] for batch in batches)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == sorted(list(range(NUMBERED)) * 20)


class TestEnd:
    def test_with_closes(self, seq, gate, reads):
        with seq.batches(2, workers=2, prefetch=4) as batches:
            assert gate.begun.acquire(timeout=10)
        gate.set()
        eventually(lambda: not threads("lazyload-batches"))
        assert len(reads) <= 2  # what had begun; nothing after it
        assert list(batches) == []
        assert repr(batches) == "<Batches: 5 in all, closed>"

    def test_close_does_not_wait_for_a_read_that_hangs(self, seq, gate):
        batches = seq.batches(2)
        assert gate.begun.acquire(timeout=10)
        started = time.monotonic()
        batches.close()
        batches.close()
        assert time.monotonic() - started < 5
        gate.set()

    def test_close_frees_whoever_waits(self, seq, gate):
        batches = seq.batches(2)
        got = []
        waiting = threading.Thread(target=lambda: got.extend(batches))
        waiting.start()
        assert gate.begun.acquire(timeout=10)
        eventually(lambda: batches._waited_for)
        batches.close()
        waiting.join(10)
        assert not waiting.is_alive()
        assert got == []
        gate.set()

    def test_the_last_batch_ends_all(self, seq):
        batches = seq.batches(4)
        assert len(list(batches)) == 3
        assert not threads("lazyload-batches")
        with pytest.raises(StopIteration):
            next(batches)

    def test_a_forgotten_iterator_stops(self, seq, gate, reads):
        batches = seq.batches(1, workers=1, prefetch=8)
        assert gate.begun.acquire(timeout=10)
        gone = weakref.ref(batches)
        del batches
        gc.collect()
        assert gone() is None
        gate.set()
        eventually(lambda: not threads("lazyload-batches"))
        assert len(reads) == 1

    def test_batches_that_were_handed_out_are_not_kept(self, seq):
        batches = seq.batches(2, prefetch=1)
        (images,) = next(batches)
        gone = weakref.ref(images)
        del images
        eventually(lambda: gone() is None)
        batches.close()

    def test_leaving_a_loop(self, seq):
        for (images,) in seq.batches(2):
            if images[0, 0, 0] == 2:
                break
        gc.collect()
        eventually(lambda: not threads("lazyload-batches"))


class TestProcesses:
    """Spawned: nothing of this process but what is pickled reaches them."""

    def test_same_batches(self, seq, folder):
        masks = read_images(folder).map(np.negative)
        arguments = {
            "with_meta": ["number"],
            "arrays": [masks, range(NUMBERED)],
            "repeats": 2,
            "prefetch": 1,
        }
        mapped = seq.map(np.fliplr).astype("f4")
        expected = list(mapped.batches(4, shuffle=np.random.default_rng(1), **arguments))
        with mapped.batches(
            4, shuffle=np.random.default_rng(1), workers="processes:2", **arguments
        ) as batches:
            for got, wanted in zip(batches, expected, strict=True):
                for one, other in zip(got, wanted, strict=True):
                    np.testing.assert_array_equal(one, other)
                    assert one.dtype == other.dtype
        eventually(lambda: not multiprocessing.active_children())

    def test_errors_come_back_and_the_next_still_come(self, seq, folder):
        (folder / "2.png").write_text("not a picture")
        with seq.batches(2, workers="processes:1") as batches:
            assert numbers(next(batches)) == [0, 1]
            with pytest.raises(ChunkReadError, match=r"2\.png") as caught:
                next(batches)
            assert caught.value.path == str(folder / "2.png")
            assert numbers(next(batches)) == [4, 5]
        with seq.batches(3, workers="processes:1", on_error="skip") as batches:
            assert [numbers(batch) for batch in batches] == [[0, 1], [3, 4, 5], [6, 7, 8], [9]]
            assert list(batches.skipped) == [str(folder / "2.png")]
        eventually(lambda: not multiprocessing.active_children())

    def test_a_function_that_does_not_pickle(self, seq):
        with (
            seq.map(lambda pixels: pixels).batches(2, workers="processes:1") as batches,
            pytest.raises(
                TypeError,
                match=r"cannot go to a worker process.*Map functions that a module defines",
            ),
        ):
            next(batches)
        eventually(lambda: not multiprocessing.active_children())

    def test_a_process_that_dies_is_told(self, seq):
        exits = seq.map(_Exit(os.getpid()))
        with (
            exits.batches(2, workers="processes:1") as batches,
            pytest.raises(RuntimeError, match="a worker process ended before its work was done"),
        ):
            next(batches)
        eventually(lambda: not multiprocessing.active_children())

    def test_forgotten(self, seq):
        batches = seq.batches(2, workers="processes:1")
        next(batches)
        del batches
        gc.collect()
        eventually(lambda: not multiprocessing.active_children())


class _Exit:
    """Ends the process that unpickles it, if it is another one."""

    def __init__(self, home):
        self.home = home

    def __call__(self, pixels):
        return pixels

    def __reduce__(self):
        return (eval, (f"__import__('os').getpid() == {self.home} or __import__('os')._exit(1)",))


class _StrangeError(Exception):
    """Pickles, but does not unpickle, also where tblib (which dask loads) pickles errors."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")

    def __reduce__(self):
        return (_StrangeError, self.args)


class _HeldError(Exception):
    """Does not pickle."""

    def __init__(self, *args):
        super().__init__(*args)
        self.lock = threading.Lock()


@pytest.mark.parametrize("error", [_StrangeError(1, 2), _HeldError("1 2")])
def test_an_error_that_does_not_survive_the_way_back_is_told_in_words(error):
    sent = _sendable(error)
    assert str(sent) == f"{type(error).__name__}: 1 2"
    assert str(pickle.loads(pickle.dumps(sent))) == str(sent)


def test_an_error_that_survives_the_way_back_is_sent_as_it_is():
    error = ChunkReadError("broken", "a.png")
    assert _sendable(error) is error
