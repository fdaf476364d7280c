"""From a path to the format that opens it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_lazyload.core.errors import SourceOpenError, UnknownFormatError
from napari_lazyload.sources.files import not_there
from napari_lazyload.sources.formats import FORMATS, SUFFIXES, Format, Path
from napari_lazyload.sources.image_files.decode import is_picture
from napari_lazyload.sources.image_files.foreign import foreign_file
from napari_lazyload.sources.ome_zarr.open import takes_zarr
from napari_lazyload.sources.zarr.location import is_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.sources.opened import OpenResult

_PACKED = (".gz", ".bz2", ".xz", ".zst", ".z", ".fz", ".zip")

PathLike: TypeAlias = "str | os.PathLike[str]"


def normalise(path: PathLike | Sequence[PathLike]) -> Path:
    """Return a path as a string, several as a list of strings; ``~`` is the user's home.

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
        raise TypeError(f"expected a path or a list of paths, got {path!r}") from err
    if not paths:
        raise ValueError("expected at least one path, got an empty list")
    # Viewers make a list of whatever they are given: that of one folder or store is that one.
    if len(paths) == 1 and (os.path.isdir(paths[0]) or takes_zarr(paths[0])):
        return paths[0]
    return paths


def _as_text(path: PathLike | bytes) -> str:
    text = os.fsdecode(path)
    if not text:
        raise ValueError("expected a path, got an empty string")
    if text.startswith("~"):
        return os.path.expanduser(text)
    return text


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
    paths = list(where) if isinstance(where, list) else [where]
    _check_addresses(paths)
    if format is not None:
        return _named(format).open(where, **options)
    for row in FORMATS:
        if row.takes(where):
            return row.open(where, **options)
    raise _not_taken(paths)


def _check_addresses(paths: list[str]) -> None:
    """Refuse several addresses at once, and pictures at an address."""
    if len(paths) > 1:
        for address in filter(is_address, paths):
            raise UnknownFormatError(
                f"{address}: is one of {len(paths)} paths; expected one address at a time", address
            )
    first = paths[0]
    if is_address(first) and is_picture(first.partition("?")[0]):
        raise UnknownFormatError(
            f"{first}: pictures are opened from local paths, Zarr stores at addresses. Download it",
            first,
        )


def _not_taken(paths: list[str]) -> SourceOpenError:
    """Return the error for paths that no format takes."""
    first = paths[0]
    if not os.path.lexists(first):
        return not_there(first)
    if len(paths) > 1 and os.path.isdir(first):
        hint = "open one folder at a time, or list its files"
        return UnknownFormatError(f"{first} is a folder, one of {len(paths)} paths: {hint}", first)
    stem, packing = os.path.splitext(first)
    if packing.lower() in _PACKED and (stem.lower().endswith(SUFFIXES) or is_picture(stem)):
        found = f"expected a file that can be read in place, found a compressed one ({packing})"
        return UnknownFormatError(f"{first}: {found}: unpack it first", first)
    foreign = foreign_file(first)
    if foreign is not None:
        return UnknownFormatError(foreign, first)
    known = ", ".join(row.name for row in FORMATS)
    hint = "supported_formats() lists the suffixes"
    return UnknownFormatError(
        f"{first}: no reader here knows this format. Known: {known}; {hint}", first
    )


def can_open(path: PathLike | Sequence[PathLike]) -> bool:
    """Return whether some format takes the path, from its name and kind alone."""
    where = normalise(path)
    return any(row.takes(where) for row in FORMATS)


def _named(name: str) -> Format:
    for row in FORMATS:
        if row.name == name:
            return row
    raise ValueError(
        f"format must be one of {', '.join(repr(row.name) for row in FORMATS)}, got {name!r}"
    )
