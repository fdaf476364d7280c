"""What the scheduler runs: jobs and their tiers."""

from __future__ import annotations

import threading
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Tier(IntEnum):
    """What is done first. A lower number goes first."""

    COARSE = 0
    VISIBLE = 1
    PREFETCH = 2
    BACKGROUND = 3


class Job:
    """One submitted call.

    Attributes
    ----------
    owner : hashable
        Whom it is for; all jobs of an owner are cancelled together.
    quick : bool
        Whether it is over in a moment.
    cancelled : bool
        Long work looks at this between steps and stops.
    done : threading.Event
        Set when the call returned, raised or was dropped.
    error : BaseException or None
        What it raised.
    """

    __slots__ = ("_work", "asked", "began", "cancelled", "done", "error", "owner", "quick", "tier")

    def __init__(
        self,
        work: Callable[[Job], Any],
        owner: Hashable,
        tier: Tier,
        asked: float | None,
        *,
        quick: bool = False,
    ) -> None:
        self._work: Callable[[Job], Any] | None = work
        self.owner = owner
        self.tier = tier
        self.quick = quick
        self.asked = time.monotonic() if asked is None else asked
        self.began = 0.0
        self.cancelled = False
        self.done = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do the work unless it was cancelled; an error is kept, not raised."""
        try:
            if self._work is not None and not self.cancelled:
                self._work(self)
        except BaseException as err:  # noqa: BLE001 - a worker thread outlives any job
            self.error = err
        finally:
            self.drop()

    def cancel(self) -> None:
        """Ask the work to stop; a job that has not begun never begins."""
        self.cancelled = True

    def drop(self) -> None:
        """Let go of the work, and of all that it holds: it is over, or never comes to run."""
        self._work = None
        self.done.set()
