"""From what is chosen in the crop dock to the ranges of pixels that it means. No Qt here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes

from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.region import center_region, random_region
from napari_lazyload.layers.crop import geometry
from napari_lazyload.layers.crop.mask import shapes_mask
from napari_lazyload.layers.crop.named_regions import kept_region

if TYPE_CHECKING:
    from napari_lazyload.cropping.target import LayerTarget
    from napari_lazyload.layers.crop.mask import Mask

VIEW, NUMBERS, CENTER, RANDOM, KEPT = "view", "numbers", "center", "random", "kept: "
"""Regions that are no Shapes layer; the last one goes before the name of a region that was kept."""

SHOWN, WHOLE, TYPED = "shown", "whole", "typed"
"""What is taken along the axes that a region says nothing about."""


@dataclass(frozen=True, slots=True)
class RegionChoice:
    """What is chosen in the dock.

    Parameters
    ----------
    source : str or napari.layers.Shapes
        Where the region comes from.
    others : str
        What is taken along the axes that it says nothing about.
    typed : tuple of (int, int)
        The numbers as they stand, for each axis of the layer.
    size : str
        Of a center box or a random box, as :func:`box_sizes` takes it.
    seed : int
        Of a random box.
    masked : bool
        Whether pixels outside of what is drawn are left out.
    """

    source: Any
    others: str
    typed: tuple[tuple[int, int], ...]
    size: str = ""
    seed: int = 0
    masked: bool = False


@dataclass(frozen=True, slots=True)
class ResolvedRegion:
    """The region that was meant.

    Parameters
    ----------
    ranges : tuple of (int, int)
        For each axis of the layer, not clipped.
    outlined : frozenset of int
        The axes that the source says something about.
    mask : Mask or None
        What is left out of it.
    upright : bool
        Whether what is drawn is its own box, so that it needs neither mask nor outline.
    """

    ranges: tuple[tuple[int, int], ...]
    outlined: frozenset[int]
    mask: Mask | None = None
    upright: bool = False


def resolve(viewer: Any, target: LayerTarget, choice: RegionChoice) -> ResolvedRegion:
    """Return the region of a layer that is meant.

    Raises
    ------
    RegionError
        If there is none.
    """
    layer = target.layer
    every = frozenset(range(layer.ndim))
    if choice.source == NUMBERS:
        return ResolvedRegion(choice.typed, every)
    if isinstance(choice.source, str) and choice.source.startswith(KEPT):
        ranges, mask = kept_region(layer, choice.source.removeprefix(KEPT))
        return ResolvedRegion(tuple(ranges), every, mask)
    mask, upright = None, False
    if choice.source == VIEW:
        found = geometry.view_ranges(viewer, layer)
    elif isinstance(choice.source, Shapes):
        found = geometry.rectangle_ranges(viewer, choice.source, layer)
        upright = geometry.is_upright(viewer, choice.source, layer, found)
        if choice.masked and not upright:
            mask = shapes_mask(viewer, choice.source, layer)
    else:
        found = _box(viewer, target, choice)
    outlined = frozenset(found)
    return ResolvedRegion(_filled(viewer, target, choice, found), outlined, mask, upright)


def resolve_on_other_layer(
    viewer: Any, layer: Any, region: tuple[slice, ...], other: LayerTarget, choice: RegionChoice
) -> ResolvedRegion:
    """Return the region of another layer that lies where the region of a layer lies."""
    found = geometry.ranges_elsewhere(viewer, layer, region, other.layer)
    mask = None
    if choice.masked and isinstance(choice.source, Shapes):
        mask = shapes_mask(viewer, choice.source, other.layer)
    return ResolvedRegion(_filled(viewer, other, choice, found), frozenset(found), mask)


def _filled(
    viewer: Any, target: LayerTarget, choice: RegionChoice, found: dict[int, tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Return a range for each axis."""
    if choice.others == SHOWN:
        found = {**geometry.shown_ranges(viewer, target.layer), **found}
    elif choice.others == TYPED and len(choice.typed) == target.ndim:
        found = {**dict(enumerate(choice.typed)), **found}
    return tuple(found.get(axis, (0, size)) for axis, size in enumerate(target.sizes))


def _box(viewer: Any, target: LayerTarget, choice: RegionChoice) -> dict[int, tuple[int, int]]:
    displayed = geometry.displayed_axes(viewer, target.layer)
    sizes = box_sizes(choice.size, target.slider_names, displayed)
    # By numbers, for two axes of a layer may have one name.
    keys = list(map(str, range(target.ndim)))
    wanted = {keys[axis]: size for axis, size in sizes.items()}
    if choice.source == CENTER:
        box = center_region(keys, target.sizes, wanted)
    else:
        box = random_region(keys, target.sizes, wanted, choice.seed)
    return {axis: box[keys[axis]] for axis in sizes}


def box_sizes(text: str, axes: tuple[str, ...], displayed: tuple[int, ...]) -> dict[int, int]:
    """Return the size of a box along some axes.

    Parameters
    ----------
    text : str
        ``64`` for the displayed axes, ``16 x 64 x 64`` for the last ones, or ``z=16, y=64`` by
        name.
    axes : tuple of str
        Names of the axes.
    displayed : tuple of int
        Those that the canvas shows.

    Raises
    ------
    RegionError
        If the text says something else.
    """
    sizes = _read_sizes(text, axes, displayed)
    if not sizes or any(size < 1 for size in sizes.values()):
        named = ", ".join(f"{name}=64" for name in axes[-2:])
        raise RegionError(
            "a size is one whole number of pixels, one for each of the last axes (64 x 64), "
            f"or {named}; got {text!r}"
        )
    return sizes


def _read_sizes(text: str, axes: tuple[str, ...], displayed: tuple[int, ...]) -> dict[int, int]:
    """Return the size along each axis that a text names, none where the text is malformed."""
    text = re.sub(r"\s*=\s*", "=", text.strip())
    separator = r"\s*[,;]\s*|\s+x\s+|(?<=\d)x(?=\d)|\s+"
    parts = list(filter(None, re.split(separator, text)))
    try:
        if all("=" in part for part in parts):
            pairs = [part.split("=") for part in parts]
            return {axes.index(pair[0]): int(pair[1]) for pair in pairs}
        sizes = list(map(int, parts))
    except ValueError:
        return {}
    if len(sizes) == 1:
        return dict.fromkeys(displayed, sizes[0])
    return dict(enumerate(sizes, len(axes) - len(sizes))) if len(sizes) <= len(axes) else {}
