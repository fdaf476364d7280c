"""The formats in the order in which they are asked; the order is policy: the first that takes a path opens it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_lazyload.core.errors import UnknownFormatError
from napari_lazyload.sources.files import not_there
from napari_lazyload.sources.formats import FORMATS, Format, Path
from napari_lazyload.sources.formats import SUFFIXES as BINARY_SUFFIXES
from napari_lazyload.sources.image_files.decode import is_picture
from napari_lazyload.sources.ome_zarr.open import takes_zarr
from napari_lazyload.sources.zarr.location import is_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.sources.opened import OpenResult

_PACKED = (".gz", ".bz2", ".xz", ".zst", ".z", ".fz", ".zip")

PathLike: TypeAlias = "str | os.PathLike[str]"


def normalise(path: PathLike | Sequence[PathLike]) -> Path:
    """Return a path as a string, a sequence of paths as a list of strings; ``~`` is the user's home.

    A list of one folder is that folder.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it is empty.
    """
    if isinstance(path, (str, bytes, os.PathLike)):
        return _as_text(path)
    try:
        paths = [_as_text(one) for one in path]
    except TypeError as err:
        msg = f"expected a path or a list of paths, got {path!r}"
        raise TypeError(msg) from err
    if not paths:
        msg = "expected at least one path, got an empty list"
        raise ValueError(msg)
    return _alone(paths)


def _alone(paths: list[str]) -> Path:
    """Return the folder (or store) of a list of one: viewers make a list of whatever they are given."""
    return (
        paths[0] if len(paths) == 1 and (os.path.isdir(paths[0]) or takes_zarr(paths[0])) else paths
    )


def _as_text(path: PathLike | bytes) -> str:
    text = os.fsdecode(path)
    if not text:
        msg = "expected a path, got an empty string"
        raise ValueError(msg)
    return os.path.expanduser(text) if text.startswith("~") else text


def open_path(
    path: PathLike | Sequence[PathLike], *, format: str | None = None, **options: Any
) -> OpenResult:
    """Open a path by the first format that takes it, or by the one that is named.

    Raises
    ------
    SourceOpenError
        If it does not exist or cannot be opened.
    UnknownFormatError
        If no format takes it.
    """
    where = normalise(path)
    paths = [where] if isinstance(where, str) else where
    for address in paths if len(paths) > 1 else []:
        if is_address(address):
            msg = f"{address}: is one of {len(paths)} paths; expected one address at a time"
            raise UnknownFormatError(msg, address)
    if is_address(paths[0]) and is_picture(paths[0].partition("?")[0]):
        msg = f"{paths[0]}: pictures are opened from local paths; at addresses, Zarr stores are. Download it first"
        raise UnknownFormatError(msg, paths[0])
    if format is not None:
        return _named(format).open(where, **options)
    for row in FORMATS:
        if row.takes(where):
            return row.open(where, **options)
    first = paths[0]
    if not os.path.lexists(first):
        raise not_there(first)
    if len(paths) > 1 and os.path.isdir(first):
        msg = f"{first} is a folder, and one of {len(paths)} paths: open one folder at a time, or list its files"
        raise UnknownFormatError(msg, first)
    stem, packed = os.path.splitext(first)
    if packed.lower() in _PACKED and (stem.lower().endswith(BINARY_SUFFIXES) or is_picture(stem)):
        msg = f"{first}: expected a file that can be read in place, found a compressed one ({packed}): unpack it first"
        raise UnknownFormatError(msg, first)
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
