"""Stamps, names and errors of files: what sources of every format need."""

from __future__ import annotations

import errno
import os
from pathlib import PurePath
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_lazyload.core.errors import ChunkReadError, LazyLoadError, SourceOpenError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_WINDOWS = os.name == "nt"
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
            raise TypeError(
                f"{name!r} is not an option of {title}; there are: {', '.join(known) or 'none'}"
            )


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


def open_error(path: str, expected: str, found: str, hint: str) -> SourceOpenError:
    """Return the error for a file that cannot be opened."""
    return SourceOpenError(_error_text("open", path, expected, found, hint), path)


def refuse_if(wrong: object, path: str, expected: str, found: str, hint: str) -> None:
    """Refuse to open a file if something in it is wrong.

    Raises
    ------
    SourceOpenError
        The error of `open_error`.
    """
    if wrong:
        raise open_error(path, expected, found, hint)


def refuse_option_if(wrong: object, message: str) -> None:
    """Refuse the value of an option.

    Raises
    ------
    BadOptionError
        With the message; it is a ValueError too.
    """
    if wrong:
        raise BadOptionError(message)


def read_error(path: str, expected: str, found: str, hint: str) -> ChunkReadError:
    """Return the error for a chunk that cannot be read."""
    return ChunkReadError(_error_text("read", path, expected, found, hint), path)


def _error_text(action: str, path: str, expected: str, found: str, hint: str) -> str:
    return f"cannot {action} {path!r}: expected {expected}, found {found}; {hint}"


class FileStamp(NamedTuple):
    """The state of a file that tells it from one that replaced it.

    Parameters
    ----------
    mtime_ns : int
        Time of change in ns.
    size : int
        Size in bytes.
    inode : int
        The number of the file in its file system. Some network drives count anew at times, so that
        another one is a reason to read again, and none to refuse.
    changed_ns : int
        When the file or what is known of it changed last, in ns; 0 on Windows, which has no such
        time. A copy can keep the time of change, but not this one.
    """

    mtime_ns: int
    size: int
    inode: int = 0
    changed_ns: int = 0

    def same_content(self, other: FileStamp) -> bool:
        """Whether a header that was read then may still hold, by size and time of change."""
        return self[:2] == other[:2]

    @classmethod
    def from_stat(cls, stat: os.stat_result) -> FileStamp:
        """Return the stamp of a file whose state is known."""
        # Faster than a call of the class, whose __new__ is Python: keys of chunks take this way.
        changed = 0 if _WINDOWS else stat.st_ctime_ns
        return tuple.__new__(cls, (stat.st_mtime_ns, stat.st_size, stat.st_ino, changed))

    @classmethod
    def or_none(cls, path: str) -> FileStamp | None:
        """Return the stamp of a file; None where it is missing or may not be looked at."""
        try:
            return cls.from_stat(os.stat(path))
        except OSError:
            return None

    @classmethod
    def of(cls, path: str) -> FileStamp:
        """Return the stamp of a file of an opened folder.

        Raises
        ------
        ChunkReadError
            If the file is missing or may not be looked at.
        """
        try:
            return cls.from_stat(os.stat(path))
        except OSError as err:
            raise ChunkReadError(
                f"{path}: the file cannot be found any more ({err.strerror}); it was there when "
                "the folder was opened. Put it back and retry",
                path,
            ) from err

    @classmethod
    def at_open(
        cls, path: str, what: str = "a data file", *, header: str | None = None
    ) -> FileStamp:
        """Return the stamp of a file that is about to be opened.

        Parameters
        ----------
        path : str
            The file.
        what : str
            What the file should be, for the error.
        header : str, optional
            The file that points to this one; the error then names it.

        Raises
        ------
        SourceOpenError
            If it is missing, is no regular file, or may not be read.
        """
        named = path if header is None else header
        if named != path:
            what = f"its data file {path!r}"
        try:
            stat = os.stat(path)
        except (OSError, ValueError) as err:
            found = f"nothing there ({getattr(err, 'strerror', None) or err})"
            raise open_error(named, what, found, "check the path, or put the file back") from err
        if not S_ISREG(stat.st_mode):
            found = "a folder" if S_ISDIR(stat.st_mode) else "something that is no regular file"
            raise open_error(named, what, found, "choose the file itself")
        if not os.access(path, os.R_OK):
            hint = "allow reading it (permissions of file and folder)"
            raise open_error(named, what, "one that may not be read", hint)
        return cls.from_stat(stat)

    @classmethod
    def verify(cls, path: str, opened: FileStamp | None = None) -> FileStamp:
        """Return the stamp of a file whose pixels are about to be read.

        Parameters
        ----------
        path : str
            The file.
        opened : FileStamp, optional
            Its stamp when its header was read. If the stamp is another one now, the header may no
            longer hold.

        Raises
        ------
        ChunkReadError
            If it is missing, or no longer the file that was opened.
        """
        expected = "the file that was opened"
        try:
            stat = os.stat(path)
        except OSError as err:
            found = f"nothing there ({err.strerror})"
            raise read_error(path, expected, found, "put it back and retry") from err
        if not S_ISREG(stat.st_mode):
            found = "something that is no regular file"
            raise read_error(path, expected, found, "open it again")
        stamp = cls.from_stat(stat)
        if opened is not None and not stamp.same_content(opened):
            expected = f"{opened.size:,} bytes as when it was opened"
            found = f"{stamp.size:,} bytes"
            if stamp.size == opened.size:
                found = "a file changed since (by its time of change)"
            hint = "it was replaced or is still being written: open it again"
            raise read_error(path, expected, found, hint)
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
        too_long = "a name in it is longer than the file system allows"
        problems = {
            errno.ENOENT: "does not exist. Check the path",
            errno.ENAMETOOLONG: f"does not exist: {too_long}. {longest(path)}",
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
