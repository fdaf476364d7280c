"""The settings of the process, the same for scripts and for napari's preferences."""

from __future__ import annotations

import multiprocessing
import os
import threading
from dataclasses import dataclass, fields
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np

MIB = 1 << 20


def _memory_bytes() -> int:
    """Return the machine's memory, or 4 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 4096 * MIB


def _default_budget() -> int:
    """Return a tenth of memory, at most 2 GiB; little in a worker process, where nobody browses."""
    if _forked or multiprocessing.parent_process() is not None:
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
    remote_workers : int
        Threads that wait for servers, beside those.
    header_seconds : float
        How long opening a folder may read headers before the rest is left to the background.
    look_ahead : int
        Frames that are read ahead of a moving slider; 0 for none.
    coarse_first : bool
        Whether a new view shows a coarser level while the exact one is loading.
    """

    cache_budget: int
    workers: int
    header_seconds: float = 0.025
    look_ahead: int = 8
    remote_workers: int = 16
    coarse_first: bool = True


_RANGES: dict[str, tuple[float, float]] = {
    "cache_budget": (0, inf),
    "workers": (1, inf),
    "header_seconds": (0, inf),
    "look_ahead": (0, 64),
    "remote_workers": (1, 128),
}
_WHOLE = ("cache_budget", "workers", "look_ahead", "remote_workers")

_lock = threading.Lock()
_chosen: dict[str, Any] = {}
_current: Settings | None = None
_forked = False


def _defaults() -> dict[str, Any]:
    return {"cache_budget": _default_budget(), "workers": max(4, min(os.cpu_count() or 4, 16))}


def current() -> Settings:
    """Return the settings in force."""
    return _current or update()


def update(**changes: Any) -> Settings:
    """Replace some settings and return the new set; None goes back to the automatic choice.

    Raises
    ------
    TypeError
        If a name is not a setting.
    ValueError
        If a value is not a number in its range, not whole where it counts something, or neither
        true nor false where it is a choice.
    """
    global _current  # noqa: PLW0603 - one set of settings a process
    checked = {name: _checked(name, value) for name, value in changes.items()}
    with _lock:
        _chosen.update(checked)
        for name in [name for name, value in checked.items() if value is None]:
            del _chosen[name]
        _current = Settings(**(_defaults() | _chosen))
        return _current


def _checked(name: str, value: Any) -> float | None:
    known = [field.name for field in fields(Settings)]
    if name not in known:
        msg = f"{name!r} is not a setting; there are: {', '.join(known)}"
        raise TypeError(msg)
    if value is None:
        return None
    if name in _RANGES:
        return _number(name, value)
    return _choice(name, value)


def _number(name: str, value: Any) -> float:
    number = (
        isinstance(value, Real)
        and not isinstance(value, bool)
        and (isinstance(value, Integral) or isfinite(value))
    )
    least, most = _RANGES[name]
    if not number or not least <= value <= most or (name in _WHOLE and value != int(value)):
        kind = "whole number" if name in _WHOLE else "number"
        upwards = "" if most == inf else f" and at most {most}"
        msg = f"{name} must be a {kind} of at least {least}{upwards}, got {value!r}"
        raise ValueError(msg)
    return int(value) if name in _WHOLE else float(value)


def _choice(name: str, value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    msg = f"{name} must be True or False, got {value!r}"
    raise ValueError(msg)


def _after_fork() -> None:
    """Choose the automatic budget of a worker process in a forked child; choices stay."""
    global _current, _forked, _lock
    _current, _forked, _lock = None, True, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
