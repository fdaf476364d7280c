"""Coordinate transformations of OME-Zarr as matrices.

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
    from collections.abc import Callable, Mapping, Sequence

    Array = np.ndarray[Any, Any]
    Names = Sequence[str]


class UnshownTransformError(ValueError):
    """A transformation that is not affine, or is malformed; the message says which."""


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
        raise UnshownTransformError(
            f"a transformation of type {transform.get('type')!r} cannot be shown"
        )
    has_values = kind in transform or kind not in ("scale", "translation", "rotation", "affine")
    if not has_values and "path" in transform:
        raise UnshownTransformError(
            f"the {kind} whose values are in the array {transform['path']!r} is not read"
        )
    before, after = _own_axes(transform, "input", inputs), _own_axes(transform, "output", outputs)
    matrix = reader(transform, before, after)
    if (before, after) == (list(inputs), list(outputs)):
        return matrix
    rows, columns = map(after.index, outputs), map(before.index, inputs)
    return matrix[np.ix_([*rows, -1], [*columns, -1])]


def _own_axes(transform: Mapping[str, Any], side: str, names: Names) -> list[str]:
    """Return the axes in the order of the transformation, which spatialdata writes into each."""
    axes = as_dicts(as_dict(transform.get(side)).get("axes"))
    found = [as_text(axis.get("name")) or "" for axis in axes]
    if found and len(found) != len(names):
        raise UnshownTransformError(
            f"a transformation with the {side} axes {', '.join(found)} cannot be shown; expected "
            f"{', '.join(names)}"
        )
    return found if sorted(found) == sorted(set(names)) else list(names)


def composed(transforms: Any, inputs: Names, outputs: Names) -> Array:
    """Return the matrix of a list of transformations, in the order in which they are applied."""
    whole = np.eye(len(inputs) + 1)
    for transform in as_dicts(transforms):
        whole = matrix_of(transform, inputs, outputs) @ whole
    return whole


def _numbers(transform: Mapping[str, Any], name: str, count: int) -> tuple[float, ...]:
    numbers = as_numbers(transform.get(name))
    if numbers is None or len(numbers) != count:
        raise UnshownTransformError(
            f"expected a {name} of {count} numbers, one for each axis, found "
            f"{transform.get(name)!r}"
        )
    return numbers


def _table(transform: Mapping[str, Any], name: str, rows: int, columns: int) -> Array:
    found = transform.get(name)
    table = [as_numbers(row) or () for row in as_list(found)]
    if len(table) not in (rows, columns) or set(map(len, table)) != {columns}:
        raise UnshownTransformError(
            f"expected a {name} of {rows} x {columns} numbers, found {found!r}"
        )
    return np.array(table[:rows], float)


def _affine(transform: Mapping[str, Any], inputs: Names, _outputs: Names) -> Array:
    count = len(inputs)
    table = _table(transform, "affine", count, count + 1)
    return linear(table[:, :-1], table[:, -1])


def _map_axis(transform: Mapping[str, Any], inputs: Names, outputs: Names) -> Array:
    """Return a permutation: the axis before of each axis after; early drafts of 0.6 name them."""
    wanted, count = transform.get("mapAxis"), len(inputs)
    axes = as_list(wanted)
    if isinstance(wanted, dict):
        axes = [wanted.get(name, name) for name in outputs]
    places = [_place(axis, inputs) for axis in axes]
    if set(places) != set(range(count)) or len(places) != count:
        raise UnshownTransformError(
            f"expected a mapAxis that names each of {count} axes once, found {wanted!r}"
        )
    return linear(np.eye(count)[places])


def _place(axis: Any, names: Names) -> int:
    """Return the number of an axis, given by number or name."""
    if isinstance(axis, str) and axis in names:
        return list(names).index(axis)
    number = as_count(axis)
    if number is None or number >= len(names):
        raise UnshownTransformError(f"expected one of the axes {', '.join(names)}, found {axis!r}")
    return number


def _by_dimension(transform: Mapping[str, Any], inputs: Names, outputs: Names) -> Array:
    """Return the matrix of transformations of some axes each; other axes stay unchanged."""
    whole = np.eye(len(inputs) + 1)
    for part in as_dicts(transform.get("transformations")):
        inner = as_dict(part.get("transformation")) or part  # some drafts nest it
        before, after = _places(part, "input", inputs), _places(part, "output", outputs)
        if len(before) != len(after) or not before:
            raise UnshownTransformError(
                f"a byDimension transformation from axes {before} to {after} cannot be shown"
            )
        whole[after, :-1] = 0
        whole[np.ix_(after, [*before, -1])] = matrix_of(
            inner, list(map(inputs.__getitem__, before)), list(map(outputs.__getitem__, after))
        )[:-1]
    return whole


def _places(part: Mapping[str, Any], side: str, names: Names) -> list[int]:
    """Return the numbers of the axes of one side of a part."""
    keys = (f"{side}_axes", f"{side}Axes", side)
    axes = next(filter(None, map(as_list, map(part.get, keys))), [])
    return [_place(axis, names) for axis in axes]


_READERS: dict[str, Callable[[Mapping[str, Any], Names, Names], Array]] = {
    "identity": lambda _, before, _after: np.eye(len(before) + 1),
    "scale": lambda one, before, _: linear(np.diag(_numbers(one, "scale", len(before)))),
    "translation": lambda one, before, _: linear(
        np.eye(len(before)), _numbers(one, "translation", len(before))
    ),
    "rotation": lambda one, before, _: linear(_table(one, "rotation", len(before), len(before))),
    "affine": _affine,
    "mapAxis": _map_axis,
    "sequence": lambda one, before, after: composed(one.get("transformations"), before, after),
    "byDimension": _by_dimension,
    "bijection": lambda one, before, after: matrix_of(as_dict(one.get("forward")), before, after),
    "inverseOf": lambda one, before, after: inverse(
        matrix_of(as_dict(one.get("transformation")), after, before)
    ),
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
        raise UnshownTransformError(
            "a transformation that cannot be inverted cannot be shown"
        ) from err
