"""The colors of channels that a file leaves open."""

from __future__ import annotations

MOST_CHANNELS = 32
"""An image of more channels is one layer with a slider for them: as many layers could not be
overlooked."""

_PAIR = ("#ff00ff", "#00ff00")

_CYCLE = ("#00ffff", "#ffff00", "#ff00ff", "#ff0000", "#00ff00", "#0000ff")


def default_color(number: int, count: int) -> str | None:
    """Return the color of a channel that names none; None for the only channel of an image."""
    if count == 1:
        return None
    return _PAIR[number] if count == 2 else _CYCLE[number % len(_CYCLE)]
