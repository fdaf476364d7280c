"""What the cards of a FITS header say of an image's axes and of its values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from napari_lazyload.core.affine import placement
from napari_lazyload.core.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_SKY = ("RA--", "DEC-", "GLON", "GLAT", "ELON", "ELAT", "HPLN", "HPLT", "SLON", "SLAT")
"""How the types of axes begin that are angles on the sky."""


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether a card has a whole number; T and F are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def world_axes(cards: Mapping[str, Any], axes: tuple[str, ...]) -> dict[str, Any]:
    """Return steps, the first position and units of the axes, where they are linear.

    On the sky, which is a sphere, only the sizes of pixels are told, and the image stays as its
    pixels lie. Source: FITS Standard 4.0, section 8 (world coordinate systems).
    """
    numbers = range(len(axes), 0, -1)
    steps = [_step(cards, number, len(axes)) for number in numbers]
    if not any(steps):
        return {}
    sky = [str(cards.get(f"CTYPE{number}", "")).upper().startswith(_SKY) for number in numbers]
    units = tuple(unit_of(str(cards.get(f"CUNIT{number}", ""))) for number in numbers)
    signed = [step or 1.0 for step in steps]
    first = []
    for number, step, on_sky in zip(numbers, signed, sky, strict=True):
        before = 1 - number_of(cards, f"CRPIX{number}", 1.0)
        first.append(0.0 if on_sky else number_of(cards, f"CRVAL{number}", 0.0) + before * step)
    along = [abs(step) if on_sky else step for step, on_sky in zip(signed, sky, strict=True)]
    fields: dict[str, Any] = placement(np.diag(along), first, axes, axes)
    return fields | {"units": units}


def _step(cards: Mapping[str, Any], number: int, count: int) -> float:
    """Return the step along an axis of FITS, 0 where the header has none."""
    step = number_of(cards, f"CDELT{number}", 0.0)
    column = [number_of(cards, f"CD{row}_{number}", 0.0) for row in range(1, count + 1)]
    if any(column):
        step = math.copysign(math.hypot(*column), column[number - 1] or 1.0)
    return step if math.isfinite(step) else 0.0


def number_of(cards: Mapping[str, Any], name: str, default: float) -> float:
    """Return the number of a card, or the default where it has none."""
    value = cards.get(name)
    return float(value) if is_whole(value) or isinstance(value, float) else default


def shown_limits(cards: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contrast limits that a header names, as fields of `ImageMeta`."""
    low, high = number_of(cards, "DATAMIN", np.nan), number_of(cards, "DATAMAX", np.nan)
    return {"contrast_limits": (low, high)} if -np.inf < low < high < np.inf else {}
