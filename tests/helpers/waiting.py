"""Waiting for what happens in other threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def eventually(fact: Callable[[], object], seconds: float = 20) -> None:
    """Return once something is true; fail where it never becomes so."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.001)


def threads(name: str) -> list[threading.Thread]:
    """Return the threads of a name that run now."""
    return [thread for thread in threading.enumerate() if thread.name == name]
