"""Where the store is that a path or address leads into."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from napari_lazyload.core.errors import UnknownFormatError
from napari_lazyload.sources.files import suffix_of
from napari_lazyload.sources.zarr.store import ZIP_SUFFIXES

STORE_SUFFIXES = (".zarr", *ZIP_SUFFIXES)
# A folder with one of these endings, or one of these files in it, is one data set of another
# format.
DATASET_FOLDERS = frozenset({".zarr", ".n5", ".ozx"})
DATASET_FILES = ("zarr.json", ".zgroup", ".zarray")
_MARKERS = (*DATASET_FILES, ".zattrs", ".zmetadata")
_DEEPEST = 8
"""So many folders above a path are looked at: those of a plate, a well, a field, its labels and
their levels."""

ADDRESSES = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "file")


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """Where something is.

    Parameters
    ----------
    path : str
        As a whole, absolute.
    root : str
        Of the store.
    inside : str
        Within the store, with slashes; "" for all of it.
    likely : bool
        Whether names and kinds of files tell of a store.
    """

    path: str
    root: str
    inside: str = ""
    likely: bool = True

    @property
    def is_address(self) -> bool:
        """Whether it is on a server."""
        return "://" in self.root

    @property
    def name(self) -> str:
        """What an image of it is called."""
        last = self.root.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
        last = unquote(urlsplit(last).path) if self.is_address else last
        for suffix in (".zip", ".ozx", ".zarr", ".ome"):
            if last.lower().endswith(suffix) and len(last) > len(suffix):
                last = last[: -len(suffix)]
        return f"{last} {self.inside}".strip() or self.path


def is_address(path: str) -> bool:
    """Return whether a path is an address, also one of a kind that cannot be opened."""
    return "://" in path


def find_store(path: str) -> StoreLocation:
    """Return where the store is that a path leads into: the outermost folder that tells of one, or a zip file.

    The path of a file with metadata stands for that of its folder.

    Raises
    ------
    UnknownFormatError
        If it is an address of a kind that is not known.
    """
    if is_address(path):
        return _of_address(path)
    path = os.path.abspath(path)
    if os.path.basename(path) in _MARKERS and os.path.isfile(path):
        path = os.path.dirname(path)
    return _in_zip(path) or _in_folder(path)


def _of_address(address: str) -> StoreLocation:
    scheme = address.partition("://")[0].lower()
    if scheme not in ADDRESSES:
        msg = f"{address}: addresses that begin with {scheme}:// cannot be opened; known are {', '.join(ADDRESSES)}"
        raise UnknownFormatError(msg, address)
    parts = urlsplit(address)
    if scheme == "file":
        from urllib.request import url2pathname

        return find_store(url2pathname(parts.path))
    names = parts.path.split("/")
    if names[-1] in _MARKERS:
        names.pop()
        parts = parts._replace(path="/".join(names))
        address = urlunsplit(parts)
    for number, name in enumerate(names[:-1]):
        if name.lower().endswith(STORE_SUFFIXES):
            inside = "/".join(filter(None, names[number + 1 :]))
            root = urlunsplit(parts._replace(path="/".join(names[: number + 1])))
            return StoreLocation(address, root, unquote(inside))
    return StoreLocation(address, address.rstrip("/") if not parts.query else address)


def _in_zip(path: str) -> StoreLocation | None:
    parts: list[str] = []
    here = path
    for _ in range(_DEEPEST + 1):
        if here.lower().endswith(ZIP_SUFFIXES) and os.path.isfile(here):
            return StoreLocation(path, here, "/".join(reversed(parts)))
        above, name = os.path.split(here)
        if not name:
            break
        parts.append(name)
        here = above
    return None


def _in_folder(path: str) -> StoreLocation:
    root, named = path, _named(path)
    marked = os.path.isdir(path) and (is_store(path) or _marked(path))
    likely = marked
    here = path
    for _ in range(_DEEPEST):
        here = os.path.dirname(here)
        if _named(here) or (marked and _marked(here)):
            root, likely, named = (
                here,
                likely or (_named(here) and os.path.isdir(path)),
                named or _named(here),
            )
    inside = os.path.relpath(path, root).replace(os.sep, "/")
    return StoreLocation(path, root, "" if inside == "." else inside, likely=likely)


def _named(folder: str) -> bool:
    return folder.lower().endswith(".zarr") and os.path.isdir(folder)


def _marked(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in _MARKERS)


def is_store(folder: str) -> bool:
    """Return whether a folder is one data set of another format, not a folder of pictures."""
    if suffix_of(os.path.basename(os.path.normpath(folder))) in DATASET_FOLDERS:
        return True
    return any(os.path.exists(os.path.join(folder, name)) for name in DATASET_FILES)
