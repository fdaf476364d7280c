"""Natural order: img2 before img10, the same on every operating system."""

from __future__ import annotations

import re
import unicodedata

_DIGITS = re.compile(r"[0-9]+")
_WIDTH = 20


def _padded(match: re.Match[str]) -> str:
    digits = match[0]
    return digits.zfill(_WIDTH) if len(digits) < _WIDTH else _long(digits.lstrip("0"))


def _long(digits: str) -> str:
    """Return what sorts numbers of `_WIDTH` digits or more by their length first: shorter ones begin with a zero."""
    return digits.zfill(_WIDTH) if len(digits) < _WIDTH else f"9{len(digits):0{_WIDTH}}{digits}"


def natural_key(name: str) -> tuple[str, str]:
    """Return what to sort `name` by.

    Runs of digits count as numbers, however long (those of DICOM's UIDs have up to 39 digits), case
    does not count, a folder sorts before the names that continue its own. Names that differ in
    nothing else sort by their characters, so that the order never depends on the file system.

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
