"""The axes of an image as the formats that are written have them."""

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
    """Return what each axis of a cut is, by its name; the last two are space where names do not tell."""
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
    """Return the axes of a cut, less those of some roles that have one pixel, as long as more than `most` have them."""
    kept = list(range(len(kinds)))
    for axis in sorted(kept, key=lambda axis: kinds[axis] != "other"):
        if (
            sum(kinds[one] in dropped for one in kept) > most
            and kinds[axis] in dropped
            and selection.shape[axis] == 1
        ):
            kept.remove(axis)
    return kept


def too_many(
    path: str, what: str, selection: ExportSelection, axes: Sequence[int], instead: str
) -> ExportError:
    """Return the error for an image with more axes than a format has."""
    names = ", ".join(f"{selection.axes[axis]} ({selection.shape[axis]})" for axis in axes)
    first = selection.axes[axes[0]]
    msg = (
        f"{path}: {what}, found the axes {names}. Export one position at a time, such as "
        f"region={{{first!r}: (0, 1)}}, or write {instead}"
    )
    return ExportError(msg, path)


def unit_name(unit: str | None) -> str | None:
    """Return a unit as OME-Zarr spells it, another one as it is, None for pixels and for what is none."""
    if not unit or is_unit_name(unit):
        return unit or None
    name = pint_name(unit) or unit
    return None if name in ("pixel", "dimensionless") else name


def is_diagonal(matrix: Any, shape: Sequence[int]) -> bool:
    """Return whether scale and translation say all of a matrix, to a millionth of a pixel over the whole image."""
    import numpy as np

    inner = matrix[:-1, :-1]
    sizes = np.diag(inner)
    if not (np.isfinite(matrix).all() and (sizes > 0).all()):
        return False
    stray = np.abs(inner - np.diag(sizes)) * np.asarray(shape) / sizes[:, None]
    return bool(stray.max(initial=0) <= 1e-6)
