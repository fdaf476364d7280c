"""What a window tells of loading, in words: rates of the last seconds, time left, counts. No Qt here."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from napari_lazyload.core.text import size_text

if TYPE_CHECKING:
    from napari_lazyload.loading.status import LoadSummary

WINDOW_SECONDS = 4.0
"""Rates are those of the latest so many seconds."""

LONG_SECONDS = 2.0
"""Of work that takes longer it is told how long."""


class Rates:
    """How many chunks and bytes came in a second, lately."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, now: float, reads: int, nbytes: int) -> None:
        """Take what was read up to a moment."""
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
        return (last[column] - first[column]) / (last[0] - first[0]) if last[0] > first[0] else 0.0


def seconds_left(summary: LoadSummary, chunks_per_second: float, workers: int) -> float | None:
    """Return how long what is queued will take; None where nothing is known of it.

    Parameters
    ----------
    summary : LoadSummary
        What is queued, and how long a read takes.
    chunks_per_second : float
        What came in lately; 0 where nothing did, then the time of a read counts.
    workers : int
        Threads that read.
    """
    if not summary.queued:
        return 0.0
    rate = chunks_per_second or (workers / summary.read_seconds if summary.read_seconds else 0.0)
    return summary.queued / rate if rate else None


def counts_text(summary: LoadSummary) -> str:
    """Return how many chunks are in which state, those in none left out."""
    parts = [
        f"{count:,} {state}"
        for state in ("loaded", "loading", "queued", "failed")
        if (count := getattr(summary, state))
    ]
    return ", ".join(parts) or "nothing loaded"


def head_text(summary: LoadSummary, left: float | None, *, paused: bool) -> str:
    """Return in one line what goes on."""
    parts = ["paused"] if paused else []
    parts += [
        f"{count:,} {state}"
        for state in ("loading", "queued")
        if (count := getattr(summary, state))
    ]
    if not summary.loading and not summary.queued and not paused:
        parts.append("idle")
    if left is not None and left > LONG_SECONDS and not paused:
        parts.append(f"{time_text(left)} left")
    if summary.failed:
        parts.append(f"{summary.failed:,} failed")
    return f"Loading: {', '.join(parts)}"


def time_text(seconds: float) -> str:
    """Return a time for people: ``8 s``, ``3 min``, ``1.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def rate_text(summary: LoadSummary, rates: Rates) -> str:
    """Return what was read, and how fast it comes where it does."""
    text = f"Read {size_text(summary.read_nbytes)} in {summary.reads:,} chunk{'s'[: summary.reads != 1]}"
    if rates.chunks > 0:
        chunks = f"{rates.chunks:.0f}" if rates.chunks >= 10 else f"{rates.chunks:.1f}"
        text += f", {size_text(rates.nbytes)}/s, {chunks} chunks/s"
    return text


def cache_text(cache: dict[str, int]) -> str:
    """Return what the chunk cache holds of its budget."""
    reserved = f", {size_text(cache['lent'])} lent to views" if cache["lent"] else ""
    return f"Memory {size_text(cache['nbytes'])} of {size_text(cache['budget'])}{reserved}"
