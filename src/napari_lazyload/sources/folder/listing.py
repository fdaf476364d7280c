"""Which files of a folder are image files: one ``scandir`` a folder, no file is opened."""

from __future__ import annotations

import fnmatch
import glob
import os
import posixpath
import re
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.natural_sort import natural_key
from napari_lazyload.sources.files import not_there, suffix_of
from napari_lazyload.sources.image_files.decode import PICTURE_SUFFIXES
from napari_lazyload.sources.zarr.location import is_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Array = np.ndarray[Any, Any]

SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"})
SIDECAR_SUFFIXES = frozenset(
    {".csv", ".tsv", ".json", ".xlsx", ".txt", ".xml", ".yaml", ".yml", ".md", ".log", ".ini"}
)
MAX_DEPTH = 8
MAX_NAMED = 1000
"""Of the files left out for one reason so many are remembered by name; the rest are counted."""

HIDDEN, SYSTEM, SIDECAR, FOREIGN, EMPTY, FOLDER, STORE, LOOP, DEEP = (
    "hidden file",
    "system file",
    "sidecar",
    "not a picture",
    "empty file",
    "sub-folder",
    "Zarr or N5 store",
    "link to a folder around it",
    f"folder more than {MAX_DEPTH} deep",
)
MEMBER = "part of an OME-TIFF set that another file opens"


@dataclass(slots=True)
class Listing:
    """The image files below one folder.

    Parameters
    ----------
    root : str
        Absolute folder that the names start from; "" where files lie on several drives and the
        names are absolute.
    names : numpy.ndarray of object
        Paths from `root` with ``/`` between parts, in slider order.
    skipped : dict of str to list of str
        The first names that were left out, by reason.
    """

    root: str
    names: Array
    skipped: dict[str, list[str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict, init=False)
    _prefix: str = field(init=False)

    def __post_init__(self) -> None:
        """Make what every path begins with."""
        self._prefix = os.path.join(self.root, "")

    def path(self, row: int) -> str:
        """Return the absolute path of one image file."""
        return self._prefix + str(self.names[row])

    def skip(self, reason: str, name: str) -> None:
        """Note that a file was left out."""
        self._counts[reason] = count = self._counts.get(reason, 0) + 1
        if count <= MAX_NAMED:
            self.skipped.setdefault(reason, []).append(name)

    def skipped_counts(self) -> dict[str, int]:
        """Return how many files were left out, by reason, the most common one first."""
        return dict(sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0])))

    def keep(self, kept: Array, reason: str) -> None:
        """Keep some of the names, by a mask; the others are left out."""
        for name in self.names[~kept]:
            self.skip(reason, name)
        self.names = self.names[kept]


def reason_to_skip(name: str) -> str:
    """Return why a file of this name is not taken for a picture."""
    if name.lower() in SYSTEM_FILES:
        return SYSTEM
    if name.startswith("."):
        return HIDDEN
    return SIDECAR if suffix_of(name) in SIDECAR_SUFFIXES else FOREIGN


def path_key(name: str) -> str:
    """Return what to sort a relative path by: natural order, files of one folder side by side.

    A string, not a tuple: a million of them compare faster and the garbage collector has nothing to
    look at.

    Examples
    --------
    >>> sorted(["b10", "A/2", "a/1", "A/1", "b9"], key=path_key)
    ['A/1', 'A/2', 'a/1', 'b9', 'b10']
    """
    if "/" not in name:
        return "\0".join(natural_key(name))
    return "\0".join("\0".join(natural_key(part)) for part in name.split("/"))


def _as_array(names: Iterable[str]) -> Array:
    """Return names as an array: of a list, each full garbage collection would walk all strings."""
    ordered = list(names)
    array = np.empty(len(ordered), object)
    array[:] = ordered
    return array


class _Walk:
    """One walk through a folder and, where `recurse`, its sub-folders, for names that match."""

    def __init__(
        self, root: str, *, recurse: bool = False, matches: Callable[[str], Any] | None = None
    ) -> None:
        self.listing = Listing(root, np.empty(0, object))
        self.found: list[str] = []
        self._recurse = recurse
        self._matches = matches

    def folder(self, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        """List one folder; `above` are the folders around it, which a link may lead back to."""
        path = os.path.join(self.listing.root, prefix)
        matches = self._matches
        folders = []
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if matches is not None and not matches(name):
                    continue
                if _leads_to_folder(entry):
                    folders.append(name)
                else:
                    self.file(prefix, name)
        if folders:
            around = above | {_identity(path)}
            for name in folders:
                self._sub_folder(prefix, name, around)

    def file(self, prefix: str, name: str) -> None:
        """Take a file, or leave it out."""
        if name[name.rfind(".") :].lower() in PICTURE_SUFFIXES and name[0] != ".":
            self.found.append(prefix + name)
        else:
            self.listing.skip(reason_to_skip(name), prefix + name)

    def end(self) -> Listing:
        """Return the listing, in natural order."""
        self.listing.names = _as_array(sorted(self.found, key=path_key))
        for names in self.listing.skipped.values():
            names.sort(key=path_key)
        return self.listing

    def _sub_folder(self, prefix: str, name: str, above: frozenset[tuple[int, int]]) -> None:
        path = os.path.join(self.listing.root, prefix + name)
        before = len(self.found)
        try:
            reason = self._reason(prefix, name, path, above)
            if reason is None:
                self.folder(f"{prefix}{name}/", above)
        except OSError as err:
            del self.found[before:]
            reason = f"folder that cannot be listed ({err.strerror})"
        if reason is not None:
            self.listing.skip(reason, prefix + name)

    def _reason(
        self, prefix: str, name: str, path: str, above: frozenset[tuple[int, int]]
    ) -> str | None:
        """Return why a sub-folder is not entered."""
        if name.lower() in SYSTEM_FILES or name.startswith("."):
            return SYSTEM if name.lower() in SYSTEM_FILES else HIDDEN
        if is_store(path):
            return STORE
        if not self._recurse:
            return FOLDER
        if prefix.count("/") >= MAX_DEPTH:
            return DEEP
        here = _identity(path)
        return LOOP if here[1] and here in above else None  # some network drives number nothing


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that goes round in circles
        return False


def _identity(folder: str) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _parents(folder: str) -> frozenset[tuple[int, int]]:
    """Return the folders around one, which links within it may lead to."""
    found = set()
    for parent in PurePath(os.path.realpath(folder)).parents:
        with suppress(OSError):
            found.add(_identity(str(parent)))
    return frozenset(found)


def list_folder(folder: str, *, pattern: str | None = None, recurse: bool = True) -> Listing:
    """List the pictures of a folder and of its sub-folders.

    Parameters
    ----------
    folder : str
        The folder.
    pattern : str, optional
        A glob pattern that the relative path or the file name must match, such as ``"*.png"``.
    recurse : bool
        Whether sub-folders are entered; those of hidden folders, of Zarr stores and of links that
        lead back to a folder around them never are.

    Raises
    ------
    SourceOpenError
        If the folder cannot be listed.
    """
    root = os.path.abspath(folder)  # keeps symbolic links as the user wrote them
    walk = _Walk(root, recurse=recurse)
    try:
        walk.folder("", _parents(root))
    except OSError as err:
        raise _not_listed(root, err) from err
    listing = walk.end()
    if pattern is not None:
        keep_matching(listing, pattern)
    return listing


def _not_listed(folder: str, error: OSError) -> SourceOpenError:
    hint = "Check that it exists and that you may read it"
    return SourceOpenError(
        f"the folder {folder} cannot be listed: {error.strerror}. {hint}", folder
    )


def keep_matching(listing: Listing, pattern: str) -> None:
    """Leave out the names that do not match a glob pattern, as a whole or by the file's name."""
    if "/" in pattern or os.sep in pattern:
        kept = [PurePath(name).match(pattern) for name in listing.names]
    else:
        matches = _matcher(pattern)
        kept = [matches(name[name.rfind("/") + 1 :]) is not None for name in listing.names]
    listing.keep(np.array(kept, bool), f"does not match {pattern!r}")


def _matcher(pattern: str) -> Callable[[str], Any]:
    """Return a function: whether a file name matches, case regarded as the system does."""
    matches = re.compile(fnmatch.translate(os.path.normcase(pattern))).match
    return matches if os.path is posixpath else lambda name: matches(os.path.normcase(name))


def list_files(paths: Iterable[str | os.PathLike[str]]) -> Listing:
    """List pictures that were named one by one: in the order given, a file as often as it is named.

    Raises
    ------
    SourceOpenError
        If a file does not exist; the message names the first one.
    """
    absolute = [os.path.abspath(os.fspath(path)) for path in paths]
    listing = Listing(_common_folder(absolute), np.empty(0, object))
    start = len(os.path.join(listing.root, ""))
    names = []
    for path in absolute:
        name = path[start:].replace(os.sep, "/")
        if _is_folder(path):
            listing.skip(FOLDER, name)
        elif suffix_of(path) in PICTURE_SUFFIXES:
            names.append(name)
        else:
            listing.skip(reason_to_skip(os.path.basename(path)), name)
    listing.names = _as_array(names)
    return listing


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError) as err:
        raise not_there(path) from err


def _common_folder(paths: list[str]) -> str:
    """Return the folder that all paths are in: "" on several drives of Windows."""
    try:
        return os.path.commonpath({os.path.dirname(path) for path in paths}) if paths else ""
    except ValueError:
        return ""


def list_glob(pattern: str) -> Listing:
    """List the image files that a glob pattern matches, in natural order, each once.

    ``**`` enters sub-folders.

    The part of the pattern that is a folder as it is written stands for itself: ``a[1]/*.png``
    finds the pictures of a folder called "a[1]".

    Raises
    ------
    SourceOpenError
        If nothing matches.
    """
    base, rest = _split_pattern(pattern)
    walk = _Walk(os.path.abspath(base), matches=_matcher(rest))
    try:
        if os.sep not in rest and rest != "**":
            walk.folder("", frozenset())
        else:
            for name in _files_below(walk.listing.root, rest):
                folder, slash, file = name.rpartition("/")
                walk.file(folder + slash, file)
    except OSError as err:
        raise _not_listed(walk.listing.root, err) from err
    listing = walk.end()
    if not len(listing.names) and not listing.skipped:
        msg = f"no file matches {pattern}. Check the folder and the pattern"
        raise SourceOpenError(msg, pattern)
    return listing


def _split_pattern(pattern: str) -> tuple[str, str]:
    """Return the folder that a pattern begins with and the rest of it."""
    base = pattern
    parts: list[str] = []
    while base and not os.path.isdir(base):
        head, tail = os.path.split(base)
        if head == base:  # a drive that is not there
            break
        base, parts = head, [tail, *parts]
    return base or ".", os.sep.join(parts)


def _files_below(root: str, pattern: str) -> list[str]:
    """Return the files that match a pattern with folders in it, each once whatever the links."""
    real: dict[str, str] = {}
    found: dict[tuple[str, str], str] = {}
    for match in sorted(glob.iglob(pattern, root_dir=root, recursive=True), key=len):
        path = os.path.join(root, match)
        if not os.path.isdir(path):
            folder, file = os.path.split(path)
            if folder not in real:
                real[folder] = os.path.realpath(folder)
            found.setdefault((real[folder], file), match.replace(os.sep, "/"))
    return list(found.values())
