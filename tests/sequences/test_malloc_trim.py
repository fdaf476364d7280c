"""Freed memory goes back to the system now and then, where the C library would keep it."""

from __future__ import annotations

import ctypes
import platform

import pytest

from napari_lazyload.sequences import malloc_trim


@pytest.fixture
def calls(monkeypatch):
    """The calls of the C library."""
    calls = []
    monkeypatch.setattr(malloc_trim, "_find_trim", lambda: calls.append)
    monkeypatch.setattr(malloc_trim, "EVERY_NBYTES", 100)
    return calls


def test_it_is_given_back_after_so_many_bytes(calls):
    back = malloc_trim.MallocTrimmer()
    for nbytes in (60, 39, 1, 99, 0, 1000, 5):
        back.record(nbytes)
    assert calls == [0, 0]


def test_where_the_c_library_has_no_such_function_nothing_is_done(monkeypatch):
    for missing in (AttributeError, OSError, TypeError):

        def load(_name, error=missing):
            raise error

        monkeypatch.setattr(ctypes, "CDLL", load)
        malloc_trim.MallocTrimmer().record(2 * malloc_trim.EVERY_NBYTES)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only the GNU C library has the function"
)
def test_the_gnu_c_library_has_the_function():
    malloc_trim.MallocTrimmer().record(2 * malloc_trim.EVERY_NBYTES)
    assert malloc_trim._find_trim() is not None
