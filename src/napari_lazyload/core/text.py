"""What messages say in the same words everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from napari_lazyload.core.metadata import LevelMeta

_REOPEN = "reopen in groups to see it"
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def describe_pixels(shape: Iterable[int], dtype: np.dtype[Any]) -> str:
    """Return shape and type in words.

    Examples
    --------
    >>> import numpy as np
    >>> describe_pixels((512, 640, 3), np.dtype("uint8"))
    '512 x 640 x 3 uint8'
    """
    return f"{' x '.join(map(str, shape))} {dtype}"


def different_text(expected: str, found: str) -> str:
    """Return why a file is not shown that can be read, but is unlike the others of its image."""
    return f"expected {expected}, found {found}; {_REOPEN}"


def problem_state(reason: str) -> str:
    """Return the state of a row with a problem: "different" where its file can be read."""
    return "different" if reason.endswith(_REOPEN) else "failed"


def describe_computed(level: LevelMeta, axes: Sequence[str]) -> str:
    """Return which pixels a computed level has, such as "computed, every 4th pixel", or ""."""
    steps = {axis: step for axis, step in zip(axes, level.strides or (), strict=False) if step > 1}
    if not steps:
        return ""
    if set(steps) <= {"y", "x"} and len(set(steps.values())) == 1:
        return f"computed, every {_ordinal(next(iter(steps.values())))} pixel"
    parts = [f"1 of {step} along {axis}" for axis, step in steps.items()]
    return f"computed, {', '.join(parts)}"


def level_label(number: int, level: LevelMeta, axes: Sequence[str]) -> str:
    """Return what a level is called: "level 2", or "level 2 (computed, every 4th pixel)".

    Parameters
    ----------
    number : int
        Of the level.
    level : LevelMeta
        What it is.
    axes : sequence of str
        Of the image.
    """
    computed = describe_computed(level, axes)
    return f"level {number} ({computed})" if computed else f"level {number}"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def size_text(nbytes: float) -> str:
    """Return a number of bytes for people: ``512 B``, ``3.1 MiB``, ``40 MiB``."""
    if nbytes < 1024:
        return f"{nbytes:.0f} B"
    for unit in _UNITS:
        nbytes /= 1024
        if nbytes < 1023.5 or unit == _UNITS[-1]:
            break
    digits = 1 if nbytes < 9.95 else 0
    return f"{nbytes:,.{digits}f} {unit}"


_KEPT_SIGNS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Invisible signs that words of some languages are written with."""
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINER = "\N{WORD JOINER}"


def plain_text(text: str) -> str:
    """Return a text that Qt never takes for HTML, for tooltips, message boxes and notifications.

    These have no format to set. An invisible sign keeps what looks like a tag from being one: HTML
    with escapes would wrap lines in other places, and stand in napari's log.
    """
    return text.replace("<", f"<{_JOINER}").replace("&lt;", f"&{_JOINER}lt;")


def is_hidden(sign: str) -> bool:
    """Whether a character moves the cursor, turns the writing or is no text: escapes, bells, ..."""
    return category(sign) in _HIDDEN and sign not in _KEPT_SIGNS


def printable(text: str) -> str:
    r"""Return a line for a terminal, with escapes for the characters that would do something there.

    Examples
    --------
    >>> printable("a\x1b[2Jb\nc")
    'a\\x1b[2Jb\\nc'
    """
    if text.isprintable():
        return text
    return "".join(
        sign.encode("unicode_escape").decode() if is_hidden(sign) else sign for sign in text
    )
