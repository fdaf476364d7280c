"""The Zarr store that a path or address leads into."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from napari_lazyload.core.errors import UnknownFormatError
from napari_lazyload.sources.files import suffix_of
from napari_lazyload.sources.zarr.store import ZIP_SUFFIXES

STORE_SUFFIXES = (".zarr", ".zspy", *ZIP_SUFFIXES)
# A folder with one of these endings, or one of these files in it, is one dataset of another format.
DATASET_FOLDERS = frozenset({".zarr", ".zspy", ".n5", ".ozx"})
DATASET_FILES = ("zarr.json", ".zgroup", ".zarray")
_MARKERS = (*DATASET_FILES, ".zattrs", ".zmetadata")
_DEEPEST = 8
"""Most folders above a path that are examined: those of a plate, a well, a field, its labels and
their levels."""

_VIEWERS = ("zarr", "zarr2", "zarr3")
_OTHER_FORMATS = {
    "precomputed": "a precomputed volume of Neuroglancer",
    "n5": "an N5 store",
    "dvid": "a server of DVID",
    "boss": "a server of BOSS",
}
ADDRESSES = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "file")


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """The place of something in a store.

    Parameters
    ----------
    path : str
        The absolute path of it.
    root : str
        The path of the store.
    inside : str
        Its path within the store, with slashes; "" for the whole store.
    likely : bool
        Whether names and kinds of files suggest a store.
    """

    path: str
    root: str
    inside: str = ""
    likely: bool = True

    @property
    def name(self) -> str:
        """The name of an image of it."""
        last = self.root.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
        if is_address(self.root):
            last = unquote(urlsplit(last).path)
        for suffix in (".zip", ".ozx", ".zarr", ".zspy", ".ome"):
            if last.lower().endswith(suffix) and len(last) > len(suffix):
                last = last[: -len(suffix)]
        return f"{last} {self.inside}".strip() or self.path


def is_address(path: str) -> bool:
    """Return whether a path is an address, also one of a kind that cannot be opened."""
    return "://" in path


def find_store(path: str) -> StoreLocation:
    """Return the store that a path leads into: the outermost folder that may be one, or a zip file.

    The path of a metadata file stands for that of its folder.

    Raises
    ------
    UnknownFormatError
        If it is an address of a kind that is not known.
    """
    if is_address(path):
        path = plain_address(path)
    if is_address(path):
        return _of_address(path)
    path = os.path.abspath(path)
    if os.path.basename(path) in _MARKERS and os.path.isfile(path):
        path = os.path.dirname(path)
    return _in_zip(path) or _in_folder(path)


def plain_address(pasted: str) -> str:
    """Return an address as it is meant: without blanks, quotes and what viewers put around it.

    Neuroglancer writes ``zarr://https://...`` and ``https://...|zarr3:``, where further parts lead
    into the store.

    Raises
    ------
    UnknownFormatError
        If it is of something else than Zarr.
    """
    address, *steps = pasted.strip().strip("\"'<>`").strip().split("|")
    scheme, _, inner = address.partition("://")
    if scheme.lower() in _VIEWERS and "://" in inner:
        address = inner
    address = re.sub("^(s3|gs)\\+(https?://)", r"\2", address, flags=re.IGNORECASE)
    for step in steps:
        kind, _, inside = step.partition(":")
        if kind.lower() not in (*_VIEWERS, "zip", "ome-zarr", "auto", ""):
            raise UnknownFormatError(
                f"{pasted}: a part of it is of the format {kind!r}; expected Zarr, such as "
                "https://.../a.zarr|zarr3:",
                pasted,
            )
        if inside.strip("/"):
            address = f"{address.rstrip('/')}/{inside.strip('/')}"
    return address


def _of_address(address: str) -> StoreLocation:
    scheme = address.partition("://")[0].lower()
    if scheme not in ADDRESSES:
        if scheme in _OTHER_FORMATS:
            raise UnknownFormatError(
                f"{address}: expected a Zarr store, found the address of {_OTHER_FORMATS[scheme]}, "
                "which is not read here. Convert it to OME-Zarr",
                address,
            )
        raise UnknownFormatError(
            f"{address}: addresses that begin with {scheme}:// cannot be opened; known are "
            f"{', '.join(ADDRESSES)}",
            address,
        )
    parts = urlsplit(address)
    if scheme == "file":
        from urllib.request import url2pathname

        return find_store(url2pathname(parts.path))
    names = parts.path.split("/")
    if names[-1] in _MARKERS:
        names.pop()
        parts = parts._replace(path="/".join(names))
        address = urlunsplit(parts)
    for number, name in enumerate(names[:-1], 1):
        if name.lower().endswith(STORE_SUFFIXES):
            return StoreLocation(
                address,
                urlunsplit(parts._replace(path="/".join(names[:number]))),
                unquote("/".join(filter(None, names[number:]))),
            )
    return StoreLocation(address, address if parts.query else address.rstrip("/"))


def _in_zip(path: str) -> StoreLocation | None:
    whole = Path(path)
    for above in [whole, *whole.parents][: _DEEPEST + 1]:
        if above.name.lower().endswith(ZIP_SUFFIXES) and above.is_file():
            return StoreLocation(path, str(above), "/".join(whole.parts[len(above.parts) :]))
    return None


def _in_folder(path: str) -> StoreLocation:
    root = path
    is_folder = os.path.isdir(path)
    marked = is_folder and (is_store(path) or _marked(path))
    likely = marked
    for here in map(str, list(Path(path).parents)[:_DEEPEST]):
        named = _named(here)
        if named or (marked and _marked(here)):
            root = here
            likely |= named and is_folder
    inside = os.path.relpath(path, root).replace(os.sep, "/")
    return StoreLocation(path, root, "" if inside == "." else inside, likely=likely)


def _named(folder: str) -> bool:
    return folder.lower().endswith((".zarr", ".zspy")) and os.path.isdir(folder)


def _marked(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in _MARKERS)


def is_store(folder: str) -> bool:
    """Return whether a folder is one dataset of another format, not a folder of image files."""
    if suffix_of(os.path.basename(os.path.normpath(folder))) in DATASET_FOLDERS:
        return True
    return any(os.path.exists(os.path.join(folder, name)) for name in DATASET_FILES)
