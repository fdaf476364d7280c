"""The axes of an image, as the formats that are written name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from napari_lazyload.core.errors import ExportError
from napari_lazyload.core.units import is_unit_name, pint_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.exporting.selection import ExportSelection

Role = Literal["time", "channel", "space", "color", "other"]

_ROLES: dict[str, Role] = {
    "t": "time",
    "time": "time",
    "c": "channel",
    "channel": "channel",
    "z": "space",
    "y": "space",
    "x": "space",
}


def roles(selection: ExportSelection) -> list[Role]:
    """Return the role of each axis, by its name; the last two are space where names do not say."""
    found: list[Role] = [_ROLES.get(axis.lower(), "other") for axis in selection.axes]
    if selection.rgb:
        found[-1] = "color"
    for axis in reversed(range(len(found) - selection.rgb)):
        if found.count("space") < 2 and found[axis] == "other":
            found[axis] = "space"
    return found


def drop_singletons(
    selection: ExportSelection, kinds: Sequence[Role], dropped: Sequence[Role], most: int
) -> list[int]:
    """Return the axes, without surplus ones of a single pixel.

    Parameters
    ----------
    selection : ExportSelection
        What is written.
    kinds : sequence of str
        The role of each axis.
    dropped : sequence of str
        Roles of which axes are dropped, ``"other"`` first.
    most : int
        How many axes of these roles may stay.
    """
    candidates = [axis for axis, kind in enumerate(kinds) if kind in dropped]
    surplus = len(candidates) - most
    single = [axis for axis in candidates if selection.shape[axis] == 1]
    single.sort(key=lambda axis: kinds[axis] != "other")
    leaving = single[: max(0, surplus)]
    return sorted(set(range(len(kinds))).difference(leaving))


def too_many(
    path: str, rule: str, selection: ExportSelection, axes: Sequence[int], instead: str
) -> ExportError:
    """Return the error for an image with more axes than a format has; `rule` says which it has."""
    names = ", ".join(f"{selection.axes[axis]} ({selection.shape[axis]})" for axis in axes)
    first = selection.axes[axes[0]]
    msg = (
        f"{path}: {rule}, found the axes {names}. Export one position at a time, such as "
        f"region={{{first!r}: (0, 1)}}, or write {instead}"
    )
    return ExportError(msg, path)


def unit_name(unit: str | None) -> str | None:
    """Return a unit as OME-Zarr spells it, an unknown one as it is, None for pixels."""
    if not unit or is_unit_name(unit):
        return unit or None
    name = pint_name(unit) or unit
    return None if name in ("pixel", "dimensionless") else name


def is_diagonal(matrix: Any, shape: Sequence[int]) -> bool:
    """Whether scale and translation say all of a matrix, to a millionth of a pixel anywhere."""
    import numpy as np

    inner = matrix[:-1, :-1]
    sizes = np.diag(inner)
    if not (np.isfinite(matrix).all() and (sizes > 0).all()):
        return False
    stray = np.abs(inner - np.diag(sizes)) * np.asarray(shape) / sizes[:, None]
    return bool(stray.max(initial=0) <= 1e-6)
