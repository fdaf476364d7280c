"""Natural order: img2 before img10, the same on every operating system."""

from __future__ import annotations

import re
import unicodedata

_DIGITS = re.compile(r"[0-9]+")
_WIDTH = 20


def _padded(match: re.Match[str]) -> str:
    return match[0].rjust(_WIDTH, "0")


def natural_key(name: str) -> tuple[str, str]:
    """Return what to sort `name` by.

    Runs of up to 20 digits count as numbers, case does not count, a folder sorts before the names that continue its
    own. Names that differ in nothing else sort by their characters, so that the order never depends on the file system.

    Parameters
    ----------
    name : str
        A file name or a relative path with ``/`` between its parts.

    Examples
    --------
    >>> sorted(["img10", "img2", "IMG1"], key=natural_key)
    ['IMG1', 'img2', 'img10']
    """
    text = name if name.isascii() else unicodedata.normalize("NFC", name)
    return _DIGITS.sub(_padded, text.replace("/", "\0").casefold()), name
