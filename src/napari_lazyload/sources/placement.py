"""From the matrix of a header to scale, translation and, where these cannot say it, an affine matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        Column k is the step in the world from one pixel to the next along spatial axis k. World axes are in the order
        of the spatial ones, slowest first.
    origin : sequence of float
        Position of the centre of the first pixel, for each world axis.
    axes : sequence of str
        Of the image without colours.
    spatial : sequence of str
        Those of them that `directions` speaks of.
    lengths : sequence of float, optional
        Sizes of a pixel along them, where the header says these apart; the lengths of the steps by default.

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
    said: dict[str, tuple[Any, ...]] = {"scale": tuple(map(float, scale))}
    if np.abs(turned - np.eye(len(spatial))).max(initial=0) <= _ROUNDING or np.linalg.matrix_rank(turned) < len(
        spatial
    ):
        return said | {"translate": tuple(map(float, translate))}
    matrix = np.eye(len(axes) + 1)
    matrix[np.ix_(places, places)] = turned
    matrix[:-1, -1] = translate
    return said | {"affine": tuple(tuple(map(float, row)) for row in matrix)}
