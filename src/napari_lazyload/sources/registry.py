"""The formats in the order in which they are asked; the order is policy: the first that takes a path opens it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from napari_lazyload.core.errors import SourceOpenError, UnknownFormatError
from napari_lazyload.sources.file_listing import DATASET_FOLDERS
from napari_lazyload.sources.open_pictures import open_pictures
from napari_lazyload.sources.opened import Opened
from napari_lazyload.sources.pictures import is_picture

PathLike: TypeAlias = "str | os.PathLike[str]"
Path: TypeAlias = "str | list[str]"


@dataclass(frozen=True, slots=True)
class Format:
    """One row of the table.

    Parameters
    ----------
    name : str
        What ``format=`` calls it.
    takes : callable
        Returns whether this format opens a path (or a list of them), from the name and the kind of file alone.
    open : callable
        ``open(path, **options)`` returns an `Opened`.
    """

    name: str
    takes: Callable[[Path], bool]
    open: Callable[..., Opened]


def _takes_pictures(path: Path) -> bool:
    if not isinstance(path, str):
        return all(is_picture(name) for name in path)
    if os.path.isdir(path):  # noqa: PTH112
        return os.path.splitext(path.rstrip("/\\"))[1].lower() not in DATASET_FOLDERS  # noqa: PTH122
    return is_picture(path)


FORMATS: tuple[Format, ...] = (Format("pictures", _takes_pictures, open_pictures),)


def normalise(path: PathLike | Sequence[PathLike]) -> Path:
    """Return a path as a string, a sequence of paths as a list of strings.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(path, (str, os.PathLike)):
        return os.fspath(path)
    try:
        paths = [os.fspath(one) for one in path]
    except TypeError as err:
        msg = f"expected a path or a list of paths, got {path!r}"
        raise TypeError(msg) from err
    if not paths:
        msg = "expected at least one path, got an empty list"
        raise ValueError(msg)
    return paths


def open_path(path: PathLike | Sequence[PathLike], *, format: str | None = None, **options: Any) -> Opened:  # noqa: A002
    """Open a path by the first format that takes it, or by the one that is named.

    Raises
    ------
    SourceOpenError
        If it does not exist or cannot be opened.
    UnknownFormatError
        If no format takes it.
    """
    where = normalise(path)
    if format is not None:
        return _named(format).open(where, **options)
    if isinstance(where, str) and "://" in where:
        msg = f"{where}: addresses cannot be opened yet; this version opens local pictures and folders"
        raise UnknownFormatError(msg, where)
    for row in FORMATS:
        if row.takes(where):
            return row.open(where, **options)
    first = where if isinstance(where, str) else next(one for one in where if not is_picture(one))
    if not os.path.lexists(first):
        msg = f"{first} does not exist. Check the path"
        raise SourceOpenError(msg, first)
    known = ", ".join(row.name for row in FORMATS)
    msg = f"{first}: no reader here knows this format. Known: {known}; supported_formats() lists the suffixes"
    raise UnknownFormatError(msg, first)


def can_open(path: PathLike | Sequence[PathLike]) -> bool:
    """Return whether some format takes the path, from its name and kind alone."""
    where = normalise(path)
    return any(row.takes(where) for row in FORMATS)


def _named(name: str) -> Format:
    for row in FORMATS:
        if row.name == name:
            return row
    msg = f"format must be one of {', '.join(repr(row.name) for row in FORMATS)}, got {name!r}"
    raise ValueError(msg)
