"""Which errors of files are worth another try, and that a read gets one."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.retry import locked_or_away
from napari_lazyload.loading import cache
from napari_lazyload.loading.cache import ChunkCache


def wrapped(cause):
    error = ChunkReadError("a.png: cannot be read", "a.png")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "again"),
    [
        (OSError(errno.EBUSY, "busy"), True),
        (OSError(errno.ESTALE, "stale handle"), True),
        (TimeoutError("no answer"), True),
        (ConnectionResetError("gone"), True),
        (FileNotFoundError(errno.ENOENT, "not there"), False),
        (PermissionError(errno.EACCES, "not yours"), False),
        (ValueError("no picture"), False),
        (None, False),
    ],
)
def test_what_may_pass(cause, again):
    assert locked_or_away(wrapped(cause)) is again


def test_a_file_that_another_program_writes_on_windows():
    error = PermissionError(errno.EACCES, "used by another process")
    error.winerror = 32
    assert locked_or_away(wrapped(error))


class Chunk:
    key = "a"

    def __init__(self, *errors):
        self.errors = list(errors)
        self.loads = 0

    def load(self):
        self.loads += 1
        if self.errors:
            raise self.errors.pop(0)
        return np.ones(3)


def test_a_locked_file_is_read_again_and_a_broken_one_is_not(monkeypatch):
    monkeypatch.setattr(cache, "FIRST_PAUSE", 0.001)
    busy = wrapped(OSError(errno.EBUSY, "busy"))
    chunk = Chunk(busy, busy)
    assert ChunkCache(lambda: 1000).read(chunk).all()
    assert chunk.loads == 3
    chunk = Chunk(*[busy] * 5)
    with pytest.raises(ChunkReadError):
        ChunkCache(lambda: 1000).read(chunk)
    assert chunk.loads == 3
    chunk = Chunk(wrapped(ValueError("no picture")))
    with pytest.raises(ChunkReadError):
        ChunkCache(lambda: 1000).read(chunk)
    assert chunk.loads == 1
