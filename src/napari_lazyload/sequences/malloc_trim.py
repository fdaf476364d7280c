"""Return freed memory to the system, where the C library would keep it.

The GNU C library has a pool for each thread that asks for memory at the same time as others. What
one thread frees, the others cannot use: arrays that are read in two threads and kept in one cache
can take up twice their size.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_NBYTES = 48 << 20
"""After so many bytes of new arrays: a call takes about a millisecond, and the pages must be
fetched again."""


def _find_trim() -> Callable[[int], object] | None:
    """Return the function of the C library; None where it is another one (macOS, Windows, musl)."""
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return trim


class MallocTrimmer:
    """Counts the bytes of new arrays, and makes the C library return freed memory now and then."""

    def __init__(self) -> None:
        self._trim = _find_trim()
        self._nbytes = 0

    def record(self, nbytes: int) -> None:
        """Count new arrays that replaced old ones; from any thread, a lost count does no harm."""
        self._nbytes += nbytes
        if self._trim is not None and self._nbytes >= EVERY_NBYTES:
            self._nbytes = 0
            self._trim(0)


malloc_trimmer = MallocTrimmer()
"""The one count of the process."""
