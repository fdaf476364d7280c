"""Stamps, names and errors of files: what sources of every format need."""

from __future__ import annotations

import errno
import os
import stat as _stat
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_lazyload.core.errors import ChunkReadError, LazyLoadError, SourceOpenError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


LONG_TEXT = 1000
"""Texts of a header are cut to so many characters in the table."""


class BadOptionError(LazyLoadError, ValueError):
    """An option whose value does not suit the file: the caller's to mend, not the file's."""


def file_name(path: str) -> str:
    """Return what an image of `path` is called."""
    return os.path.basename(os.path.normpath(path)) or path


def check_options(options: Mapping[str, Any], known: Sequence[str], title: str) -> None:
    """Refuse an option that a format does not have.

    Raises
    ------
    TypeError
        With those that it has.
    """
    for name in options:
        if name not in known:
            msg = f"{name!r} is not an option of {title}; there are: {', '.join(known) or 'none'}"
            raise TypeError(msg)


def in_table(value: Any) -> Any:
    """Return a header's value as a cell of the table: a number or a short text."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.split(b"\0")[0].decode("latin-1")
    if isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else str(value)
    return text.strip()[:LONG_TEXT]


Stamp: TypeAlias = "tuple[int, int]"
"""``(time of change in ns, size in bytes)``, which tells a replaced file from the old one."""


def open_error(path: str, expected: str, found: str, hint: str) -> SourceOpenError:
    """Return the error for a file that cannot be opened."""
    return SourceOpenError(_error_text("open", path, expected, found, hint), path)


def read_error(path: str, expected: str, found: str, hint: str) -> ChunkReadError:
    """Return the error for a chunk that cannot be read."""
    return ChunkReadError(_error_text("read", path, expected, found, hint), path)


def _error_text(action: str, path: str, expected: str, found: str, hint: str) -> str:
    return f"cannot {action} {path!r}: expected {expected}, found {found}; {hint}"


def stamp_at_opening(path: str, what: str = "a data file", *, header: str | None = None) -> Stamp:
    """Return the stamp of a file that is about to be opened; `header` names the one that points to it.

    Raises
    ------
    SourceOpenError
        If it is not there, is no regular file, or may not be read.
    """
    blamed = path if header is None else header
    if header is not None and header != path:
        what = f"its data file {path!r}"
    try:
        found = os.stat(path)
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        raise open_error(
            blamed, what, f"nothing there ({reason})", "check the path, or put the file back"
        ) from err
    if not _stat.S_ISREG(found.st_mode):
        kind = "a folder" if _stat.S_ISDIR(found.st_mode) else "something that is no regular file"
        raise open_error(blamed, what, kind, "choose the file itself")
    if not os.access(path, os.R_OK):
        raise open_error(
            blamed,
            what,
            "one that may not be read",
            "allow reading it (permissions of file and folder)",
        )
    return found.st_mtime_ns, found.st_size


def stamp_now(path: str, opened: Stamp | None = None) -> Stamp:
    """Return the stamp of a file whose pixels are about to be read.

    Parameters
    ----------
    path : str
        The file.
    opened : tuple of int, optional
        Its stamp when its header was read; another one now means that the header may no longer
        hold.

    Raises
    ------
    ChunkReadError
        If it is gone, or no longer the file that was opened.
    """
    try:
        found = os.stat(path)
    except OSError as err:
        again = "put it back and retry"
        raise read_error(
            path, "the file that was opened", f"nothing there ({err.strerror})", again
        ) from err
    if not _stat.S_ISREG(found.st_mode):
        raise read_error(
            path, "the file that was opened", "something that is no regular file", "open it again"
        )
    stamp = found.st_mtime_ns, found.st_size
    if opened is not None and stamp != opened:
        seen = f"{opened[1]:,} bytes as when it was opened"
        changed = (
            f"{stamp[1]:,} bytes"
            if stamp[1] != opened[1]
            else "a file changed since (by its time of change)"
        )
        raise read_error(
            path, seen, changed, "it was replaced or is still being written: open it again"
        )
    return stamp


def suffix_of(name: str) -> str:
    """Return the suffix of a name in lower case, with its dot."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def not_there(path: str) -> SourceOpenError:
    """Return the error for a path that does not lead to a file or folder: what is wrong with it."""
    try:
        os.stat(path)
    except OSError as err:
        problems = {
            errno.ENOENT: "does not exist. Check the path",
            errno.ENAMETOOLONG: f"does not exist: a name in it is longer than the file system allows. {longest(path)}",
            errno.EACCES: "may not be looked at. Check the permissions of the folders it is in",
            errno.ENOTDIR: "does not exist: a part of it is a file, not a folder. Check the path",
            errno.ELOOP: "is a link that goes round in circles. Check the link",
        }
        problem = problems.get(err.errno or 0, f"cannot be looked at: {err.strerror}")
    except ValueError as err:  # a null character
        problem = f"is not a path: {err}"
    else:
        problem = "cannot be opened"
    return SourceOpenError(f"{path} {problem}", path)


def longest(path: str) -> str:
    """Return the sentence about the longest name in a path."""
    length = max(map(len, PurePath(path).parts))
    return f"The longest has {length} characters; most file systems take 255 bytes"


def file_stamp(path: str) -> Stamp:
    """Return ``(time of change in ns, size in bytes)``, which tells a replaced file from the old one.

    Raises
    ------
    ChunkReadError
        If the file is not there or may not be looked at.
    """
    try:
        stat = os.stat(path)
    except OSError as err:
        msg = (
            f"{path}: the file cannot be found any more ({err.strerror}); it was there when the folder was opened. "
            "Put it back and retry"
        )
        raise ChunkReadError(msg, path) from err
    return stat.st_mtime_ns, stat.st_size
