"""Calls again what failed for a passing reason, with pauses that grow."""

from __future__ import annotations

import errno
import random
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def retrying(
    call: Callable[[], T],
    passing: Callable[[Exception], bool],
    *,
    attempts: int = 4,
    first_pause: float = 0.2,
    deadline: float = 30.0,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> T:
    """Return what `call` returns, called again where it failed for a passing reason.

    Parameters
    ----------
    call : callable
        What may fail.
    passing : callable
        Returns whether an error may be gone next time.
    attempts : int
        Most calls.
    first_pause : float
        Seconds before the second call, twice as many before each further one; up to half of it is
        left out by chance, so that those who failed together do not come back together.
    deadline : float
        Seconds after which no further call is begun.
    sleep, clock, chance : callable
        Of the standard library; others in tests.

    Raises
    ------
    Exception
        What the last call raised.
    """
    end = clock() + deadline
    pause = first_pause
    for _ in range(attempts - 1):
        try:
            return call()
        except Exception as err:
            wait = pause * (1 - chance() / 2)
            if not passing(err) or clock() + wait > end:
                raise
        sleep(wait)
        pause *= 2
    return call()


PASSING = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENOLCK,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""What the system says of a file that is locked, or on a drive that is away for the moment."""

LOCKED_ON_WINDOWS = frozenset({32, 33})
"""ERROR_SHARING_VIOLATION and ERROR_LOCK_VIOLATION: another program writes the file."""


def locked_or_away(error: BaseException | None) -> bool:
    """Return whether what made an error is a file that may be readable in a moment."""
    while error is not None:
        if isinstance(error, OSError):
            if getattr(error, "winerror", None) in LOCKED_ON_WINDOWS or error.errno in PASSING:
                return True
            if isinstance(error, (ConnectionError, TimeoutError)):
                return True
        error = error.__cause__
    return False
