"""Sizes of voxels in the XML file that BigDataViewer keeps beside its HDF5 file."""

from __future__ import annotations

import os
from math import isfinite
from xml.parsers import expat

from napari_lazyload.core.units import length_unit
from napari_lazyload.sources.safe_xml import MOST_BYTES, safe_parser

_SETUP, _SIZE = ("ViewSetups", "ViewSetup"), ("ViewSetups", "ViewSetup", "voxelSize")

Sizes = dict[int, tuple[tuple[float, float, float], "str | None"]]


def voxel_sizes(path: str) -> Sizes:
    """Return, for the number of each set-up, the size of a voxel along z, y, x and its unit.

    Parameters
    ----------
    path : str
        The HDF5 file; what is read is the XML file of the same name.

    Returns
    -------
    dict
        Nothing where there is no such file, or it cannot be read.
    """
    beside = f"{os.path.splitext(path)[0]}.xml"
    try:
        if os.path.getsize(beside) > MOST_BYTES:
            return {}
        with open(beside, "rb") as file:
            return _parsed(file.read())
    except (OSError, ValueError, expat.ExpatError):
        return {}


def _parsed(document: bytes) -> Sizes:
    """Return what a document says."""
    found: Sizes = {}
    stack: list[str] = []
    text: list[str] = []
    known: dict[str, str] = {}

    def start(tag: str, _attributes: dict[str, str]) -> None:
        stack.append(tag)
        text.clear()
        if tuple(stack[-2:]) == _SETUP:
            known.clear()

    def end(tag: str) -> None:
        stack.pop()
        where = tuple(stack)
        if where[-2:] == _SETUP and tag == "id":
            known["id"] = "".join(text)
        elif where[-3:] == _SIZE:
            known[tag] = "".join(text).strip()
        if tag == _SETUP[-1] and where[-1:] == _SETUP[:1]:
            sizes = list(map(float, known.get("size", "").split()))
            if len(sizes) == 3 and min(sizes) > 0 and all(map(isfinite, sizes)):
                found[int(known.get("id", "-1"))] = (
                    (sizes[2], sizes[1], sizes[0]),
                    length_unit(known.get("unit")),
                )

    parser = safe_parser()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.Parse(document, True)
    return found
