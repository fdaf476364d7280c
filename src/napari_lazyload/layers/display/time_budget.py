"""How long a view may wait for pixels before it shows what is there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_SECONDS = 0.02
"""How long the views of one turn may wait in all: an image file decodes in less, and what takes
longer is noticed as a pause."""


class FrameBudget:
    """One wait for all layers that are asked for their views in the same turn of the event loop.

    Parameters
    ----------
    post : callable
        Runs a function in the main thread, later: the next turn.
    """

    def __init__(self, post: Callable[..., Any]) -> None:
        self._post = post
        self._until: float | None = None

    def remaining(self) -> float:
        """Return how long a view may wait from now on."""
        now = time.monotonic()
        until = self._until
        if until is None:
            until = self._until = now + WAIT_SECONDS
            self._post(self._renew)
        # Not the attribute: a view may be sliced in a thread while the turn ends.
        return max(0.0, until - now)

    def at_end(self, function: Callable[[], Any]) -> None:
        """Call a function when the turn ends, in the main thread."""
        self._post(function)

    def _renew(self) -> None:
        self._until = None
