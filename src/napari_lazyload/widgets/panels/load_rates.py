"""Texts about loading: rates of the last seconds, time left, counts. No Qt here."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from napari_lazyload.core.text import size_text

if TYPE_CHECKING:
    from napari_lazyload.loading.status import LoadSummary

WINDOW_SECONDS = 4.0
"""Rates are taken over this many of the latest seconds."""

LONG_SECONDS = 2.0
"""The time left is shown for work that takes longer than this."""


class Rates:
    """Chunks and bytes a second, over the latest seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, now: float, reads: int, nbytes: int) -> None:
        """Record what was read up to a moment."""
        if self._samples and reads < self._samples[-1][1]:
            self._samples.clear()  # another set of layers
        self._samples.append((now, reads, nbytes))
        while self._samples[0][0] < now - WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def chunks(self) -> float:
        """Chunks a second."""
        return self._rate(1)

    @property
    def nbytes(self) -> float:
        """Decoded bytes a second."""
        return self._rate(2)

    def _rate(self, column: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        seconds = last[0] - first[0]
        return (last[column] - first[column]) / seconds if seconds > 0 else 0.0


def seconds_left(summary: LoadSummary, chunks_per_second: float, workers: int) -> float | None:
    """Return how many seconds the queue will take; None where nothing is known.

    Parameters
    ----------
    summary : LoadSummary
        How many chunks are queued, and how long a read takes.
    chunks_per_second : float
        The present rate; where it is 0, the time of a read counts.
    workers : int
        Threads that read.
    """
    if not summary.queued:
        return 0.0
    if chunks_per_second:
        return summary.queued / chunks_per_second
    if summary.read_seconds:
        return summary.queued * summary.read_seconds / workers
    return None


def counts_text(summary: LoadSummary) -> str:
    """Return how many chunks are in which state; states without chunks are left out."""
    return ", ".join(_counts(summary, "loaded", "loading", "queued", "failed")) or "nothing loaded"


def _counts(summary: LoadSummary, *states: str) -> list[str]:
    counts = {state: getattr(summary, state) for state in states}
    return [f"{count:,} {state}" for state, count in counts.items() if count]


def head_text(summary: LoadSummary, left: float | None, *, paused: bool) -> str:
    """Return the state of loading in one line."""
    parts = ["paused"] * paused + _counts(summary, "loading", "queued")
    if not paused and left is not None and left > LONG_SECONDS:
        parts.append(f"{time_text(left)} left")
    parts = parts or ["idle"]
    return f"Loading: {', '.join(parts + _counts(summary, 'failed'))}"


def time_text(seconds: float) -> str:
    """Return a time for people: ``8 s``, ``3 min``, ``1.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def rate_text(summary: LoadSummary, rates: Rates) -> str:
    """Return how much was read, and the rate while chunks come in."""
    chunks = f"{summary.reads:,} chunk{'s'[: summary.reads != 1]}"
    text = f"Read {size_text(summary.read_nbytes)} in {chunks}"
    if rates.chunks > 0:
        digits = int(rates.chunks < 10)
        text += f", {size_text(rates.nbytes)}/s, {rates.chunks:.{digits}f} chunks/s"
    return text


def cache_text(cache: dict[str, int]) -> str:
    """Return how much of its budget the chunk cache holds."""
    reserved = f", {size_text(cache['lent'])} lent to views" if cache["lent"] else ""
    return f"Memory {size_text(cache['nbytes'])} of {size_text(cache['budget'])}{reserved}"
