"""Formats of images that are recognized by their contents and not read here, and what reads them.

Sources of the signs: DICOM PS3.10, section 7.1; ICS 2.0; https://github.com/saalfeldlab/n5;
https://github.com/scalableminds/webknossos-wrap; Neuroglancer's documentation of "precomputed".
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HEAD = 1 << 10
_MOST_JSON = 1 << 24
_BY_BIOIO = (
    "pip install 'napari-lazyload[bioio]' bioio-bioformats, and open it with format=\"bioio\""
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A format that is not read here.

    Parameters
    ----------
    name : str
        Of the format.
    hint : str
        What to do.
    """

    name: str
    hint: str


DICOM = Foreign("DICOM", f"convert it to NIfTI (dcm2niix), or {_BY_BIOIO}")
ICS = Foreign("ICS", f"convert it to OME-TIFF (bfconvert), or {_BY_BIOIO}")
WKW = Foreign("WKW", "convert it to Zarr with the package webknossos")
N5 = Foreign("N5", "convert it to OME-Zarr, for instance with Fiji")
PRECOMPUTED = Foreign(
    "precomputed (Neuroglancer)", "convert it to Zarr, for instance by TensorStore"
)
HDF5 = Foreign("HDF5", 'open it with format="hdf5", or give it the suffix .h5')


_FILES: tuple[tuple[Callable[[bytes], bool], Foreign], ...] = (
    (lambda head: head[128:132] == b"DICM", DICOM),
    (lambda head: b"ics_version" in head[:32], ICS),
    (lambda head: head.startswith(b"WKW"), WKW),
    (lambda head: head.startswith(b"\x89HDF\r\n"), HDF5),
)
_FOLDERS = (
    ("attributes.json", ("n5", "dimensions", "multiscales", "scales"), N5),
    ("info", ("scales",), PRECOMPUTED),
)


def foreign_file(path: str) -> str | None:
    """Return the message for a file of such a format, None for any other file."""
    found = _format_of(path)
    return None if found is None else _message(found, "file", path)


def foreign_folder(path: str, names: Sequence[str]) -> str | None:
    """Return the message for a folder of such a format, None for any other folder.

    Parameters
    ----------
    path : str
        The folder.
    names : sequence of str
        Files in it that are no pictures; the first one is examined.
    """
    for name, keys, found in _FOLDERS:
        if _has_keys(os.path.join(path, name), keys):
            return _message(found, "store", path)
    if os.path.isfile(os.path.join(path, "header.wkw")):
        return _message(WKW, "store", path)
    if not names:
        return None
    first = os.path.join(path, names[0])
    if _format_of(first) is DICOM:
        return _message(DICOM, "series", path)
    return foreign_file(first)


def _message(found: Foreign, kind: str, path: str) -> str:
    article = "an" if found in (ICS, N5, HDF5) else "a"
    return f"{article} {found.name} {kind}, which is not read here: {path}. To see it, {found.hint}"


def _format_of(path: str) -> Foreign | None:
    """Return the format of a file by its first bytes.

    The data of ICS has its header beside it; old files of DICOM have no sign but their suffix.
    """
    base, suffix = os.path.splitext(path)
    if suffix.lower() == ".dcm":
        return DICOM
    if suffix.lower() == ".ids" and os.path.isfile(f"{base}.ics"):
        return ICS
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    return next((found for fits, found in _FILES if fits(head)), None)


def _has_keys(path: str, keys: Sequence[str]) -> bool:
    """Whether a file is a JSON object that has one of some keys."""
    try:
        with open(path, "rb") as file:
            known = json.loads(file.read(_MOST_JSON))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(known, dict) and not known.keys().isdisjoint(keys)
