"""Pyramids in groups called ``scale0``, ``scale1`` ..., as multiscale-spatial-image writes them, by xarray."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_lazyload.sources.ome_zarr.levels import Resolution, level_metas, ordered
from napari_lazyload.sources.ome_zarr.source import ZarrImage, ZarrSource

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCALE = re.compile(r"(?:^|(?<=[ /]))scale(\d+)/")


def merged(found: Sequence[ZarrImage], notes: list[str]) -> list[ZarrImage]:
    """Return images of one level each as pyramids, where their paths differ in the number of the scale alone.

    Parameters
    ----------
    found : sequence of ZarrImage
        Made by `array_image`.
    notes : list of str
        Takes what the user should know.
    """
    groups: dict[str, dict[int, ZarrImage]] = {}
    for one in found:
        number = _SCALE.search(one.path)
        groups.setdefault(_SCALE.sub("scale/", one.path, count=1), {})[
            int(number[1]) if number else 0
        ] = one
    images: list[ZarrImage] = []
    for numbered in groups.values():
        levels = [numbered[number] for number in sorted(numbered)]
        whole = _pyramid(levels) if len(levels) > 1 else None
        images += levels if whole is None else [whole]
        if whole is not None:
            notes.append(
                f"{whole.source.meta.name}: its {len(levels)} scales are taken for the levels of one image"
            )
    return images


def _pyramid(found: Sequence[ZarrImage]) -> ZarrImage | None:
    """Return one image of several, the finest first; None where they are no pyramid."""
    first = found[0].source.meta
    same = all(
        (one.source.meta.axes, one.source.meta.channels) == (first.axes, first.channels)
        for one in found
    )
    arrays = [
        array for one in found if isinstance(one.source, ZarrSource) for array in one.source.arrays
    ]
    odd: list[str] = []
    levels = ordered([Resolution(array.path, array, None) for array in arrays], odd)
    if odd or not same or first.rgb:
        return None
    meta = replace(first, name=_SCALE.sub("", first.name, count=1), levels=level_metas(levels, odd))
    return ZarrImage(ZarrSource(arrays, meta), found[0].path)
