"""The package's own errors; each is also a built-in, so that callers need not know this package.

A message says what was expected, what was found and what the user can do.
"""

from __future__ import annotations

from typing import Any


class LazyLoadError(Exception):
    """Base of all errors that this package raises on purpose."""


class _PathError(LazyLoadError, OSError):
    """An error about one path, which it carries along, also to another process."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message, self.path))


class SourceOpenError(_PathError):
    """A path that cannot be opened as a dataset.

    Parameters
    ----------
    message : str
        What was expected, what was found, what to do.
    path : str
        The path.
    """


class UnknownFormatError(SourceOpenError, ValueError):
    """A path that exists, in a format that no reader here knows."""


class MissingDependencyError(LazyLoadError, ImportError):
    """A format needs a package that is not installed; the message names the extra to install."""


class ChunkReadError(_PathError):
    """One chunk (of a picture folder: one file) that cannot be read or decoded.

    Parameters
    ----------
    message : str
        What was expected, what was found, what to do.
    path : str
        The file or the store key that failed.
    """


class ExportError(_PathError):
    """A file that cannot be written; what was at its place is as it was.

    Parameters
    ----------
    message : str
        What was expected, what was found, what to do.
    path : str
        The file that was to be written.
    """


class RegionError(LazyLoadError, ValueError):
    """A region that is empty, malformed, or names an axis that is not there."""


class CancelledError(LazyLoadError, RuntimeError):
    """Work that the user cancelled."""


class LazyLoadWarning(UserWarning):
    """Something in the data was mended or left out; the message says what."""


__all__ = [
    "CancelledError",
    "ChunkReadError",
    "ExportError",
    "LazyLoadError",
    "LazyLoadWarning",
    "MissingDependencyError",
    "RegionError",
    "SourceOpenError",
    "UnknownFormatError",
]
