"""Regions that the user has kept under a name, for as long as their layer is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import RegionError
from napari_lazyload.cropping.target import LayerTarget
from napari_lazyload.layers.crop.mask import Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

REGIONS_KEY = "napari_lazyload_regions"
"""Where the metadata of a layer keeps its named regions; all of it is JSON-ready."""


def kept_names(layer: Any) -> list[str]:
    """Return the names of the regions of a layer, in the order in which they were kept."""
    return list(layer.metadata.get(REGIONS_KEY, {}))


def keep(layer: Any, name: str, region: Sequence[slice], mask: Mask | None = None) -> None:
    """Keep a region of a layer under a name, in place of an older one of that name.

    Parameters
    ----------
    layer : napari layer
        Whose region it is.
    name : str
        What it is called.
    region : sequence of slice
        In level-0 pixels, for each axis without the color axis.
    mask : Mask, optional
        What was drawn.
    """
    entry: dict[str, Any] = {
        "axes": list(LayerTarget(layer).axis_names),
        "region": [[int(part.start), int(part.stop)] for part in region],
    }
    if mask is not None:
        entry["mask"] = {
            "axes": list(mask.axes),
            "polygons": [list(map(list, polygon)) for polygon in mask.polygons],
        }
    layer.metadata.setdefault(REGIONS_KEY, {})[name] = entry


def forget(layer: Any, name: str) -> None:
    """Remove a region that was kept."""
    layer.metadata.get(REGIONS_KEY, {}).pop(name, None)


def kept_region(layer: Any, name: str) -> tuple[list[tuple[int, int]], Mask | None]:
    """Return the ranges and the mask of a region that was kept.

    Raises
    ------
    RegionError
        If it is gone, or the layer has other axes than when it was kept.
    """
    entry = layer.metadata.get(REGIONS_KEY, {}).get(name)
    if entry is None or len(entry["region"]) != layer.ndim:
        msg = f"{layer.name!r} has no region called {name!r} any more"
        if entry is not None:
            msg += f": it has {len(entry['region'])} axes, the layer {layer.ndim}"
        raise RegionError(msg)
    ranges = [(int(start), int(stop)) for start, stop in entry["region"]]
    mask = entry.get("mask")
    if mask is None:
        return ranges, None
    polygons = [
        tuple(map(tuple, np.asarray(corners, float).tolist())) for corners in mask["polygons"]
    ]
    return ranges, Mask((mask["axes"][0], mask["axes"][1]), tuple(polygons))
