"""The settings of the process, the same for scripts and for napari's preferences."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, fields, replace
from typing import Any

MIB = 1 << 20


def _memory_bytes() -> int:
    """Return the machine's memory, or 4 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 4096 * MIB


def _default_budget() -> int:
    """Return a tenth of memory, at most 2 GiB; little in a worker process, where nobody browses."""
    if multiprocessing.parent_process() is not None:
        return 32 * MIB
    return max(128 * MIB, min(_memory_bytes() // 10, 2048 * MIB))


@dataclass(frozen=True, slots=True)
class Settings:
    """All that can be set.

    Parameters
    ----------
    cache_budget : int
        Bytes of decoded chunks that the process keeps.
    workers : int
        Threads that read and decode.
    header_seconds : float
        How long opening a folder may read headers before the rest is left to the background.
    """

    cache_budget: int
    workers: int
    header_seconds: float = 0.025


_LIMITS = {"cache_budget": 0, "workers": 1, "header_seconds": 0}
_current: Settings | None = None


def automatic() -> Settings:
    """Return what is chosen for this machine where nobody chose."""
    return Settings(cache_budget=_default_budget(), workers=max(2, min(os.cpu_count() or 2, 16)))


def current() -> Settings:
    """Return the settings in force."""
    global _current  # noqa: PLW0603 - one set of settings a process
    if _current is None:
        _current = automatic()
    return _current


def update(**changes: Any) -> Settings:
    """Replace some settings and return the new set.

    Raises
    ------
    TypeError
        If a name is not a setting.
    ValueError
        If a value is not a number or too small.
    """
    global _current  # noqa: PLW0603
    known = [field.name for field in fields(Settings)]
    for name, value in changes.items():
        if name not in known:
            msg = f"{name!r} is not a setting; there are: {', '.join(known)}"
            raise TypeError(msg)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < _LIMITS[name]:
            msg = f"{name} must be a number of at least {_LIMITS[name]}, got {value!r}"
            raise ValueError(msg)
        if name != "header_seconds":
            changes[name] = int(value)
    _current = replace(current(), **changes)
    return _current
