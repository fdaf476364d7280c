"""Coordinate transformations of OME-Zarr as matrices, and matrices as what a viewer places an image by.

Source of the formats: https://ngff.openmicroscopy.org, versions 0.4, 0.5 and the drafts of 0.6
(RFC-5). A matrix is homogeneous, of shape (n + 1, n + 1), and maps an array's pixel indices, in the
order of its axes, to world coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.affine import linear
from napari_lazyload.sources.ome_zarr.tolerant import (
    as_count,
    as_dict,
    as_dicts,
    as_list,
    as_numbers,
    as_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Array = np.ndarray[Any, Any]
    Names = Sequence[str]


class UnshownTransformError(ValueError):
    """A transformation that no matrix stands for, or that is malformed; the message says which."""


def matrix_of(transform: Mapping[str, Any], inputs: Names, outputs: Names) -> Array:
    """Return the matrix of one transformation.

    Parameters
    ----------
    transform : mapping
        As in the attributes.
    inputs, outputs : sequence of str
        Names of the axes before and after; as many of both.

    Raises
    ------
    UnshownTransformError
        If it is not affine, or malformed.
    """
    kind = as_text(transform.get("type"))
    reader = _READERS.get(kind or "")
    if reader is None:
        msg = f"a transformation of type {transform.get('type')!r} cannot be shown"
        raise UnshownTransformError(msg)
    if (
        kind in ("scale", "translation", "rotation", "affine")
        and kind not in transform
        and "path" in transform
    ):
        msg = f"the {kind} whose values are in the array {transform['path']!r} is not read"
        raise UnshownTransformError(msg)
    before, after = _own_axes(transform, "input", inputs), _own_axes(transform, "output", outputs)
    matrix = reader(transform, before, after)
    if (before, after) == (list(inputs), list(outputs)):
        return matrix
    rows, columns = [after.index(name) for name in outputs], [before.index(name) for name in inputs]
    return matrix[np.ix_([*rows, -1], [*columns, -1])]


def _own_axes(transform: Mapping[str, Any], side: str, names: Names) -> list[str]:
    """Return the axes in the order that the transformation counts them in, which spatialdata writes into each."""
    found = [
        as_text(one.get("name")) or "" for one in as_dicts(as_dict(transform.get(side)).get("axes"))
    ]
    if found and len(found) != len(names):
        msg = f"a transformation with the {side} axes {', '.join(found)} cannot be shown; expected {', '.join(names)}"
        raise UnshownTransformError(msg)
    return found if set(found) == set(names) and len(set(found)) == len(found) else list(names)


def composed(transforms: Any, inputs: Names, outputs: Names) -> Array:
    """Return the matrix of a list of transformations, the first one applied first; that of none changes nothing."""
    whole = np.eye(len(inputs) + 1)
    for transform in as_dicts(transforms):
        whole = matrix_of(transform, inputs, outputs) @ whole
    return whole


def _numbers(transform: Mapping[str, Any], name: str, count: int) -> tuple[float, ...]:
    numbers = as_numbers(transform.get(name))
    if numbers is None or len(numbers) != count:
        msg = f"expected a {name} of {count} numbers, one for each axis, found {transform.get(name)!r}"
        raise UnshownTransformError(msg)
    return numbers


def _table(transform: Mapping[str, Any], name: str, rows: int, columns: int) -> Array:
    found = transform.get(name)
    table = [as_numbers(row) for row in as_list(found)]
    if len(table) not in (rows, columns) or any(
        row is None or len(row) != columns for row in table
    ):
        msg = f"expected a {name} of {rows} x {columns} numbers, found {found!r}"
        raise UnshownTransformError(msg)
    return np.array(table[:rows], float)


def _identity(_transform: Mapping[str, Any], inputs: Names, _outputs: Names) -> Array:
    return np.eye(len(inputs) + 1)


def _scale(transform: Mapping[str, Any], inputs: Names, _outputs: Names) -> Array:
    return linear(np.diag(_numbers(transform, "scale", len(inputs))))


def _translation(transform: Mapping[str, Any], inputs: Names, _outputs: Names) -> Array:
    return linear(np.eye(len(inputs)), _numbers(transform, "translation", len(inputs)))


def _rotation(transform: Mapping[str, Any], inputs: Names, _outputs: Names) -> Array:
    return linear(_table(transform, "rotation", len(inputs), len(inputs)))


def _affine(transform: Mapping[str, Any], inputs: Names, _outputs: Names) -> Array:
    count = len(inputs)
    table = _table(transform, "affine", count, count + 1)
    return linear(table[:, :-1], table[:, -1])


def _map_axis(transform: Mapping[str, Any], inputs: Names, outputs: Names) -> Array:
    """Return a permutation: for each axis after, which one before; drafts before 0.6.dev write it as names."""
    wanted, count = transform.get("mapAxis"), len(inputs)
    if isinstance(wanted, dict):
        places: list[Any] = [_place(wanted.get(name, name), inputs) for name in outputs]
    else:
        places = [_place(one, inputs) for one in as_list(wanted)]
    if sorted(place for place in places if place is not None) != list(range(count)):
        msg = f"expected a mapAxis that names each of {count} axes once, found {wanted!r}"
        raise UnshownTransformError(msg)
    return linear(np.eye(count)[places])


def _place(axis: Any, names: Names) -> int | None:
    """Return the number of an axis that is given by number or name."""
    if isinstance(axis, str) and axis in names:
        return list(names).index(axis)
    number = as_count(axis)
    return number if number is not None and number < len(names) else None


def _sequence(transform: Mapping[str, Any], inputs: Names, outputs: Names) -> Array:
    return composed(transform.get("transformations"), inputs, outputs)


def _by_dimension(transform: Mapping[str, Any], inputs: Names, outputs: Names) -> Array:
    """Return the matrix of transformations of some axes each; axes that none names stay as they are."""
    whole = np.eye(len(inputs) + 1)
    for part in as_dicts(transform.get("transformations")):
        inner = as_dict(part.get("transformation")) or part  # drafts nest it, or do not
        sides = [_axes_of_part(part, side) for side in ("input", "output")]
        before, after = (
            [_place(one, names) for one in side]
            for side, names in zip(sides, (inputs, outputs), strict=True)
        )
        if None in before or None in after or len(before) != len(after) or not before:
            msg = f"a byDimension transformation from axes {sides[0]} to {sides[1]} cannot be shown"
            raise UnshownTransformError(msg)
        rows, columns = [*after, len(inputs)], [*before, len(inputs)]
        inner_inputs = [inputs[place] for place in before if place is not None]
        inner_outputs = [outputs[place] for place in after if place is not None]
        small = matrix_of(inner, inner_inputs, inner_outputs)
        for row in after:
            whole[row, :-1] = 0
        whole[np.ix_(rows[:-1], columns)] = small[:-1]  # type: ignore[arg-type] # none is None
    return whole


def _axes_of_part(part: Mapping[str, Any], side: str) -> list[Any]:
    for name in (f"{side}_axes", f"{side}Axes", side):
        if isinstance(part.get(name), list):
            return as_list(part[name])
    return []


def _bijection(transform: Mapping[str, Any], inputs: Names, outputs: Names) -> Array:
    return matrix_of(as_dict(transform.get("forward")), inputs, outputs)


def _inverse_of(transform: Mapping[str, Any], inputs: Names, outputs: Names) -> Array:
    return inverse(matrix_of(as_dict(transform.get("transformation")), outputs, inputs))


_READERS = {
    "identity": _identity,
    "scale": _scale,
    "translation": _translation,
    "rotation": _rotation,
    "affine": _affine,
    "mapAxis": _map_axis,
    "sequence": _sequence,
    "byDimension": _by_dimension,
    "bijection": _bijection,
    "inverseOf": _inverse_of,
}


def inverse(matrix: Array) -> Array:
    """Return the inverse of a matrix.

    Raises
    ------
    UnshownTransformError
        If there is none.
    """
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError as err:
        msg = "a transformation that cannot be inverted cannot be shown"
        raise UnshownTransformError(msg) from err
