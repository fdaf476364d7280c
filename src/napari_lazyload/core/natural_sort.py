"""Natural order: img2 before img10, the same on every operating system."""

from __future__ import annotations

import re
import unicodedata

_DIGITS = re.compile(r"[0-9]+")
_WIDTH = 20


def _padded(match: re.Match[str]) -> str:
    """Return the key of a number; longer ones of `_WIDTH` digits and more come later."""
    digits = match[0]
    if len(digits) >= _WIDTH:
        digits = digits.lstrip("0")
    if len(digits) >= _WIDTH:
        return f"9{len(digits):0{_WIDTH}}{digits}"
    return digits.zfill(_WIDTH)


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
