"""Which files of a folder are pictures: one ``scandir`` a folder, no file is opened."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.natural import natural_key
from napari_lazyload.sources.pictures import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"})
SIDECAR_SUFFIXES = frozenset({".csv", ".tsv", ".json", ".xlsx", ".txt", ".xml", ".yaml", ".yml", ".md", ".log", ".ini"})
# A folder with one of these endings is one data set of another format, not a sub-folder of pictures.
DATASET_FOLDERS = frozenset({".zarr", ".n5", ".ozx"})
MAX_DEPTH = 8

HIDDEN, SYSTEM, SIDECAR, FOREIGN, EMPTY, FOLDER = (
    "hidden file",
    "system file",
    "sidecar",
    "not a picture",
    "empty file",
    "sub-folder",
)


@dataclass(slots=True)
class Listing:
    """The pictures below one folder.

    Parameters
    ----------
    root : str
        Absolute folder that the names start from.
    names : numpy.ndarray of object
        Paths from `root` with ``/`` between parts, in natural order.
    skipped : dict of str to list of str
        What was left out, by reason.
    """

    root: str
    names: np.ndarray[Any, Any]
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def path(self, row: int) -> str:
        """Return the absolute path of one picture."""
        return os.path.join(self.root, self.names[row])  # noqa: PTH118 - a million paths, as strings

    def skip(self, reason: str, name: str) -> None:
        """Note that a file was left out."""
        self.skipped.setdefault(reason, []).append(name)

    def skipped_counts(self) -> dict[str, int]:
        """Return how many files were left out, by reason."""
        return {reason: len(names) for reason, names in self.skipped.items()}


def _suffix(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def reason_to_skip(name: str) -> str | None:
    """Return why a file of this name is not taken for a picture, or None where it is."""
    if name.lower() in SYSTEM_FILES:
        return SYSTEM
    if name.startswith("."):
        return HIDDEN
    suffix = _suffix(name)
    if suffix in PICTURE_SUFFIXES:
        return None
    return SIDECAR if suffix in SIDECAR_SUFFIXES else FOREIGN


def _scan(listing: Listing, prefix: str, depth: int, found: list[str], *, recurse: bool) -> None:
    folder = os.path.join(listing.root, prefix)  # noqa: PTH118
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if _suffix(name) in PICTURE_SUFFIXES and not name.startswith(".") and not entry.is_dir():
                found.append(prefix + name)
            elif entry.is_dir(follow_symlinks=depth == 0):
                _scan_folder(listing, prefix, name, depth, found, recurse=recurse)
            else:
                listing.skip(reason_to_skip(name) or FOREIGN, prefix + name)


def _scan_folder(listing: Listing, prefix: str, name: str, depth: int, found: list[str], *, recurse: bool) -> None:
    if name.startswith(".") or name.lower() in SYSTEM_FILES:
        listing.skip(HIDDEN, prefix + name)
    elif not recurse or depth >= MAX_DEPTH or _suffix(name) in DATASET_FOLDERS:
        listing.skip(FOLDER, prefix + name)
    else:
        try:
            _scan(listing, f"{prefix}{name}/", depth + 1, found, recurse=True)
        except OSError as err:
            listing.skip(f"cannot be listed ({err.strerror})", prefix + name)


def _sorted(names: Iterable[str]) -> np.ndarray[Any, Any]:
    # An object array, not a list: the garbage collector would walk a million strings of a list at each full pass.
    ordered = sorted(names, key=natural_key)
    array = np.empty(len(ordered), object)
    array[:] = ordered
    return array


def list_folder(folder: str, *, pattern: str | None = None, recurse: bool = True) -> Listing:
    """List the pictures of a folder and of its sub-folders.

    Parameters
    ----------
    folder : str
        The folder.
    pattern : str, optional
        A glob pattern that the relative path or the file name must match, such as ``"*.png"``.
    recurse : bool
        Whether sub-folders are entered.

    Raises
    ------
    SourceOpenError
        If the folder cannot be listed.
    """
    root = os.path.abspath(folder)  # noqa: PTH100 - keeps symbolic links as the user wrote them
    listing = Listing(root, np.empty(0, object))
    found: list[str] = []
    try:
        _scan(listing, "", 0, found, recurse=recurse)
    except OSError as err:
        msg = f"the folder {root} cannot be listed: {err.strerror}. Check that it exists and that you may read it"
        raise SourceOpenError(msg, root) from err
    if pattern is not None:
        kept = [name for name in found if _matches(name, pattern)]
        for name in set(found) - set(kept):
            listing.skip(f"does not match {pattern!r}", name)
        found = kept
    listing.names = _sorted(found)
    return listing


def _matches(name: str, pattern: str) -> bool:
    path = PurePath(name)
    return path.match(pattern) or PurePath(path.name).match(pattern)


def list_files(paths: Iterable[str | os.PathLike[str]], *, sort: bool = False) -> Listing:
    """List pictures that were named one by one, in the order given unless `sort`.

    Raises
    ------
    SourceOpenError
        If a file does not exist; the message names the first one.
    """
    absolute = [os.path.abspath(os.fspath(path)) for path in paths]  # noqa: PTH100
    for path in absolute:
        if not os.path.exists(path):  # noqa: PTH110
            msg = f"{path} does not exist. Check the path"
            raise SourceOpenError(msg, path)
    folders = {os.path.dirname(path) for path in absolute}  # noqa: PTH120
    root = os.path.commonpath(folders) if folders else ""
    listing = Listing(root, np.empty(0, object))
    names = []
    for path in absolute:
        name = os.path.relpath(path, root).replace(os.sep, "/")
        reason = reason_to_skip(os.path.basename(path))  # noqa: PTH119
        if reason in (None, HIDDEN) and _suffix(path) in PICTURE_SUFFIXES:
            names.append(name)
        else:
            listing.skip(reason or FOREIGN, name)
    if sort:
        listing.names = _sorted(names)
    else:
        listing.names = np.empty(len(names), object)
        listing.names[:] = names
    return listing


def list_glob(pattern: str) -> Listing:
    """List the pictures that a glob pattern matches (``**`` enters sub-folders), in natural order.

    Raises
    ------
    SourceOpenError
        If nothing matches.
    """
    paths = [path for path in _glob(pattern) if os.path.isfile(path)]  # noqa: PTH113
    if not paths:
        msg = f"no file matches {pattern}. Check the folder and the pattern"
        raise SourceOpenError(msg, pattern)
    return list_files(paths, sort=True)


def _glob(pattern: str) -> Iterator[str]:
    return glob.iglob(pattern, recursive=True)  # noqa: PTH207 - the user's pattern may be absolute
