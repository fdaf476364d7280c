"""Affine transforms: homogeneous matrices, and the scale and translation that a viewer takes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]


def linear(matrix: Any, offset: Any = None) -> Array:
    """Return the homogeneous matrix of a square matrix and an offset."""
    whole = np.eye(len(matrix) + 1)
    whole[:-1, :-1] = matrix
    if offset is not None:
        whole[:-1, -1] = offset
    return whole


def shear_matrix(shear: Any, count: int) -> Array:
    """Return the shear of a layer as a matrix: napari has it as one, or as its upper triangle."""
    values = np.asarray(shear, float)
    if values.ndim == 2:
        return values
    matrix = np.eye(count)
    matrix[np.triu_indices(count, k=1)] = values  # row by row
    return matrix


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an image lies, as `ImageMeta` says it.

    Parameters
    ----------
    order : tuple of int
        For each axis of the array, which world axis it runs along.
    scale, translate : tuple of float
        For each axis of the array.
    affine : tuple of tuple of float or None
        What scale and translation cannot say.
    """

    order: tuple[int, ...]
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    affine: tuple[tuple[float, ...], ...] | None = None


def matrix_from(
    scale: Sequence[float],
    translate: Sequence[float] | None,
    affine: Sequence[Sequence[float]] | None = None,
) -> Array:
    """Return the matrix of what `ImageMeta` says of where an image lies."""
    whole = linear(np.diag(scale), translate)
    return whole if affine is None else np.array(affine, float) @ whole


def placement_of(matrix: Array, *, reorder: bool = True) -> Placement:
    """Return a matrix as scale and translation, with a matrix where it rotates, mirrors or shears.

    With `reorder`, a matrix that only exchanges axes tells along which world axis each array axis
    runs, and needs no affine matrix.
    """
    inner, offset = matrix[:-1, :-1], matrix[:-1, -1]
    count = len(offset)
    if np.array_equal(inner, np.diag(np.diag(inner))):
        return Placement(
            tuple(range(count)), tuple(np.diag(inner).tolist()), tuple(offset.tolist())
        )
    used = np.abs(inner) > 1e-12 * np.abs(inner).max(initial=0)
    if reorder and (used.sum(axis=0) == 1).all() and (used.sum(axis=1) == 1).all():
        order = tuple(int(np.flatnonzero(used[:, axis])[0]) for axis in range(count))
        scale = tuple(float(inner[world, axis]) for axis, world in enumerate(order))
        if all(size > 0 for size in scale):
            return Placement(order, scale, tuple(float(offset[world]) for world in order))
    sizes = np.linalg.norm(inner, axis=0)
    sizes[sizes == 0] = 1  # an axis that moves nothing: the viewer's own check of scales says so
    affine = linear(inner / sizes, offset)
    return Placement(
        tuple(range(count)),
        tuple(sizes.tolist()),
        (0.0,) * count,
        tuple(tuple(row) for row in affine.tolist()),
    )


def world_order(inner: Array) -> tuple[int, ...]:
    """Return for each array axis the world axis that it runs along most nearly, each once.

    Parameters
    ----------
    inner : numpy.ndarray, (axes, axes)
        Column k is the step in the world along array axis k.
    """
    sizes = np.linalg.norm(inner, axis=0)
    share = np.abs(inner) / np.where(sizes == 0, 1, sizes)
    axes = np.arange(len(inner))
    # Rounded: of orders that are as good as one another the first one counts, everywhere.
    return max(
        itertools.permutations(axes.tolist()),
        key=lambda order: round(float(share[list(order), axes].sum()), 6),
    )


_ROUNDING = 1e-6


def placement(
    directions: Any,
    origin: Sequence[float] | np.ndarray[Any, Any],
    axes: Sequence[str],
    spatial: Sequence[str],
    *,
    lengths: Sequence[float] | None = None,
) -> dict[str, tuple[Any, ...]]:
    """Return the fields of `ImageMeta` that place an image.

    Parameters
    ----------
    directions : array-like, (world axes, spatial axes)
        Column k is the step in the world from one pixel to the next along spatial axis k. World
        axes are in the order of the spatial ones, slowest first.
    origin : sequence of float
        Position of the centre of the first pixel, for each world axis.
    axes : sequence of str
        Of the image without colours.
    spatial : sequence of str
        Those of them that `directions` speaks of.
    lengths : sequence of float, optional
        Sizes of a pixel along them, where the header says these apart; the lengths of the steps by
        default.

    Returns
    -------
    dict
        ``scale``, and ``translate``, or ``affine`` where axes are turned, sheared or mirrored.
    """
    steps = np.asarray(directions, float)
    first = np.asarray(origin, float)
    scale = np.ones(len(axes))
    places = [list(axes).index(axis) for axis in spatial]
    if steps.ndim != 2 or steps.shape[1] != len(spatial) or not np.isfinite(steps).all():
        return {"scale": tuple(map(float, scale))}
    first = np.where(np.isfinite(first), first, 0.0)
    sizes = np.sqrt((steps**2).sum(axis=0))
    if lengths is not None and np.isfinite(lengths).all() and min(lengths) > 0:
        sizes = np.array(lengths, float)
    sizes[sizes == 0] = 1.0
    scale[places] = sizes
    if len(steps) != len(spatial):  # a plane in space: only its pixels' sizes can be told
        return {"scale": tuple(map(float, scale))}
    translate = np.zeros(len(axes))
    translate[places] = first
    turned = steps / sizes
    fields: dict[str, tuple[Any, ...]] = {"scale": tuple(map(float, scale))}
    if np.abs(turned - np.eye(len(spatial))).max(initial=0) <= _ROUNDING or np.linalg.matrix_rank(
        turned
    ) < len(spatial):
        return fields | {"translate": tuple(map(float, translate))}
    matrix = np.eye(len(axes) + 1)
    matrix[np.ix_(places, places)] = turned
    matrix[:-1, -1] = translate
    return fields | {"affine": tuple(tuple(map(float, row)) for row in matrix)}
