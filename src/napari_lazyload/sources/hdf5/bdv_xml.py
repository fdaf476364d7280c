"""Sizes of voxels in the XML file that BigDataViewer keeps beside its HDF5 file."""

from __future__ import annotations

import os
from math import isfinite

from napari_lazyload.core.units import length_unit
from napari_lazyload.sources.safe_xml import MOST_BYTES, parse_xml

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
    except (OSError, ValueError):
        return {}


def _parsed(document: bytes) -> Sizes:
    """Return what a document says."""
    found: Sizes = {}
    for setup in parse_xml(document).iterfind(".//{*}ViewSetups/{*}ViewSetup"):
        sizes = tuple(map(float, setup.findtext("{*}voxelSize/{*}size", "").split()))
        if len(sizes) == 3 and all(map(isfinite, sizes)) and min(sizes) > 0:
            unit = length_unit(setup.findtext("{*}voxelSize/{*}unit", ""))
            number = int(setup.findtext("{*}id", "-1"))
            found[number] = ((sizes[2], sizes[1], sizes[0]), unit)
    return found
