"""One entry of ``multiscales``: its axes, its datasets, their places, and the levels they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from operator import attrgetter, gt
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.metadata import LevelMeta
from napari_lazyload.sources.ome_zarr.axes import (
    Axis,
    checked_axes,
    read_axes,
    system_axes,
    unnamed_axes,
)
from napari_lazyload.sources.ome_zarr.tolerant import as_dict, as_dicts, as_text
from napari_lazyload.sources.ome_zarr.transforms import (
    UnshownTransformError,
    composed,
    inverse,
    matrix_of,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from napari_lazyload.core.chunks import ChunkGrid

    Array = np.ndarray[Any, Any]
    Ways = dict[tuple[Hashable, Hashable], Array]


@dataclass(slots=True)
class Placements:
    """The places of the datasets of a multiscale image.

    Parameters
    ----------
    axes : tuple of Axis
        Of the world that the matrices lead to, one for each array axis; the array's own where no
        matrix rotates it.
    matrices : list of numpy.ndarray or None
        For each dataset the homogeneous matrix from pixel indices to world coordinates; None where
        the metadata have none that can be used.
    notes : list of str
        Remarks on what cannot be shown.
    system : str
        Name of the world, since version 0.6.
    systems : tuple of str
        Names of all worlds that it can be shown in.
    reorder : bool
        Whether an exchange of axes may change their names alone; not where other images lie in the
        same world.
    """

    axes: tuple[Axis, ...]
    matrices: list[Array | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    system: str = ""
    systems: tuple[str, ...] = ()
    reorder: bool = True


MOST_LEVELS = 64
"""Most datasets of a list that are read; no pyramid has more."""


def named_datasets(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the datasets of a multiscale image that have a path."""
    datasets = as_dicts(entry.get("datasets"))[:MOST_LEVELS]
    return [dataset for dataset in datasets if as_text(dataset.get("path")) is not None]


def dataset_paths(entry: Mapping[str, Any]) -> list[str]:
    """Return the paths of the arrays of a multiscale image, as in the metadata."""
    return [str(dataset["path"]).strip() for dataset in named_datasets(entry)]


def is_shifted(dataset: Mapping[str, Any]) -> bool:
    """Return whether a dataset says where its first pixel lies: by more than a scale."""
    kinds = {
        as_text(transform.get("type"))
        for transform in as_dicts(dataset.get("coordinateTransformations"))
    }
    return not kinds <= {"scale", "identity", None}


def read_placements(
    entry: Mapping[str, Any], shape: Sequence[int], where: str, system: str | None = None
) -> Placements:
    """Return the places of the datasets of `entry`, in the order of :func:`dataset_paths`.

    Parameters
    ----------
    entry : mapping
        One of ``multiscales``.
    shape : sequence of int
        Of one of its arrays.
    where : str
        For messages.
    system : str, optional
        The coordinate system, of version 0.6 or spatialdata, to place it in. By default "global",
        or the first one that can be shown.

    Raises
    ------
    SourceOpenError
        If there is not one axis for each dimension.
    """
    datasets = named_datasets(entry)
    if as_dicts(entry.get("coordinateSystems")) and not entry.get("axes"):
        return _Systems(entry, shape, where).placements(datasets, system)
    axes = read_axes(entry["axes"]) if entry.get("axes") else unnamed_axes(len(shape))
    placements = Placements(checked_axes(axes, shape, where))
    names = list(map(attrgetter("name"), axes))
    identity = np.eye(len(names) + 1)
    try:
        whole = composed(_transforms_of_all(entry, placements, system), names, names)
    except UnshownTransformError as err:
        whole = identity
        placements.notes.append(f"the transformations of the whole image are left out: {err}")
    placements.matrices = [_matrix(one, names, whole, placements.notes) for one in datasets]
    unplaced = all(matrix is None for matrix in placements.matrices)
    if unplaced and not np.array_equal(whole, identity):
        placements.matrices = [whole, *placements.matrices[1:]]
    return placements


def _transforms_of_all(
    entry: Mapping[str, Any], placements: Placements, system: str | None
) -> list[Mapping[str, Any]]:
    """Return the transformations of a whole image.

    Only one of those to worlds with a name, as spatialdata has them, is among them.
    """
    own: list[Mapping[str, Any]] = []
    named: dict[str, Mapping[str, Any]] = {}
    for transform in as_dicts(entry.get("coordinateTransformations")):
        if isinstance(transform.get("output"), dict):
            named.setdefault(end_of(transform["output"]), transform)
        else:
            own.append(transform)
    if not named:
        return own
    placements.systems, placements.reorder = tuple(named), False
    if system is not None and system not in named:
        placements.notes.append(
            f"has no coordinate system {system!r}, but {', '.join(map(repr, named))}"
        )
    placements.system = next(name for name in (system, "global", *named) if name in named)
    return [*own, named[placements.system]]


def _matrix(
    dataset: Mapping[str, Any], names: list[str], whole: Array, notes: list[str]
) -> Array | None:
    """Return the matrix of a dataset; None where it has none that can be used."""
    transforms = as_dicts(dataset.get("coordinateTransformations"))
    if not transforms:
        return None
    try:
        return whole @ composed(transforms, names, names)
    except UnshownTransformError as err:
        notes.append(f"the transformations of {dataset['path']!r} are left out: {err}")
        return None


class _Systems:
    """The coordinate systems of a multiscale image of version 0.6, and the ways between them."""

    def __init__(self, entry: Mapping[str, Any], shape: Sequence[int], where: str) -> None:
        self.notes: list[str] = []
        self._where = where
        self._shape = shape
        self._array = list(map("dim_{}".format, range(len(shape))))
        self._systems: dict[str, tuple[Axis, ...]] = {}
        for system in as_dicts(entry["coordinateSystems"]):
            self._systems[end_of(system)] = system_axes(system)
        self._fitting = [name for name in self._systems if self._fits(name)]
        self._ways: Ways = {}
        for transform in as_dicts(entry.get("coordinateTransformations")):
            start, end = end_of(transform.get("input")), end_of(transform.get("output"))
            try:
                add_way(
                    self._ways,
                    start,
                    end,
                    matrix_of(transform, self._names(start), self._names(end)),
                )
            except UnshownTransformError as err:
                self.notes.append(f"the way from {start!r} to {end!r} is left out: {err}")

    def _names(self, system: str) -> list[str]:
        names = map(attrgetter("name"), self._systems.get(system, ()))
        return list(names) if self._fits(system) else self._array

    def _fits(self, system: str) -> bool:
        return len(self._systems.get(system, ())) == len(self._shape)

    def _unlisted(self, target: str) -> tuple[Axis, ...]:
        """Return the likely axes of a coordinate system that is not described."""
        self.notes.append(
            f"its pixels lie in the coordinate system {target!r}, which is not described; expected "
            f"one of {', '.join(map(repr, self._systems))}"
        )
        if self._fitting:
            return self._systems[self._fitting[0]]
        return unnamed_axes(len(self._shape))

    def placements(self, datasets: list[Mapping[str, Any]], wanted: str | None) -> Placements:
        """Return the places in the wanted system, or in the first one that can be shown."""
        own, first = list(map(self._dataset, datasets)), next(iter(self._systems))
        start = next((system for system, matrix in own if matrix is not None), first)
        reached = reachable(self._ways, start, len(self._shape))
        if wanted is not None and wanted not in reached:
            self.notes.append(
                f"has no coordinate system {wanted!r} that can be shown, but "
                f"{', '.join(map(repr, reached))}"
            )
        order = [
            name for name in (wanted, *self._systems, start) if name is not None and name in reached
        ]
        target = next(filter(self._fits, order), order[0])
        axes = self._systems.get(target) or self._unlisted(target)
        placements = Placements(checked_axes(axes, self._shape, self._where), notes=self.notes)
        placements.systems = tuple(filter(reached.__contains__, self._fitting))
        placements.system = target
        for system, matrix in own:
            way = reachable(self._ways, system, len(self._shape)).get(target)
            placed = None if way is None or matrix is None else way @ matrix
            placements.matrices.append(placed)
        return placements

    def _dataset(self, dataset: Mapping[str, Any]) -> tuple[str, Array | None]:
        """Return the system that a dataset's own transformations lead to, and their matrix.

        Without transformations it is the first system, and None.
        """
        transforms = as_dicts(dataset.get("coordinateTransformations"))
        first = next(iter(self._systems))
        if not transforms:
            return first, None
        end = end_of(transforms[-1].get("output"))
        try:
            return end, composed(transforms, self._array, self._names(end))
        except UnshownTransformError as err:
            self.notes.append(f"the transformations of {dataset['path']!r} are left out: {err}")
            return first, None


def end_of(found: Any) -> str:
    """Return the name of a coordinate system, or of that at the end of a transformation."""
    return as_text(found) or as_text(as_dict(found).get("name")) or ""


def add_way(ways: Ways, start: Hashable, end: Hashable, matrix: Array) -> None:
    """Record the way from one coordinate system to another, and back.

    Raises
    ------
    UnshownTransformError
        If there is no way back.
    """
    ways[start, end], ways[end, start] = matrix, inverse(matrix)


def reachable(ways: Ways, start: Hashable, ndim: int) -> dict[Hashable, Array]:
    """Return the matrix from one coordinate system to each that can be reached, itself first."""
    found: dict[Hashable, Array] = {start: np.eye(ndim + 1)}
    waiting = [start]
    for here in waiting:
        for (begin, end), matrix in ways.items():
            if begin == here and end not in found:
                found[end] = matrix @ found[here]
                waiting.append(end)
    return found


# --- The levels of a pyramid: in order, placed by transformations where they are sane
# --------------------------------------------------------------------------------------------------

FAR = 0.5
"""Pixels that a level may lie from where a viewer shows it before a note says so."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """An array of a pyramid.

    Parameters
    ----------
    path : str
        As in the metadata.
    array : Any
        A `ZarrArray`, or anything with its `grid`, `shape` and `dtype`.
    matrix : numpy.ndarray or None
        From its pixels to the world, where that is known.
    shifted : bool
        Whether the metadata say where its first pixel lies; many writers leave that out.
    """

    path: str
    array: Any
    matrix: Array | None
    shifted: bool = False


def ordered(found: Sequence[Resolution], notes: list[str]) -> list[Resolution]:
    """Return the arrays of one pyramid, finest first; `notes` say what was left out or sorted."""
    by_size = sorted(found, key=lambda level: -prod(level.array.shape))
    paths = list(map(attrgetter("path"), found))
    if list(map(attrgetter("path"), by_size)) != paths:
        notes.append(f"its levels are in the order {', '.join(paths)}; sorted by size")
    finest, *coarser = by_size
    kept = [finest]
    for level in coarser:
        why = _unfit(level.array, kept[-1].array, finest.array)
        if why:
            notes.append(f"level {level.path!r} is left out: {why}")
        else:
            kept.append(level)
    return kept


def _unfit(array: Any, finer: Any, finest: Any) -> str | None:
    """Return why an array cannot be a level below another."""
    if len(array.shape) != len(finest.shape):
        return f"it has {len(array.shape)} dimensions, the finest one {len(finest.shape)}"
    if array.dtype != finest.dtype:
        return f"it is of type {array.dtype}, the finest one {finest.dtype}"
    if array.shape == finer.shape:
        return "it is as large as the one before"
    if any(map(gt, array.shape, finer.shape)):
        return f"its shape {array.shape} is no smaller one of {finer.shape}"
    return None


def level_metas(levels: Sequence[Resolution], notes: list[str]) -> tuple[LevelMeta, ...]:
    """Return factors and offsets of each level, by its transformation if that suits its shape."""
    finest = levels[0]
    metas = [LevelMeta(finest.array.grid, (1.0,) * len(finest.array.shape))]
    for level in levels[1:]:
        grid = level.array.grid
        placed = _by_matrix(level, finest)
        if placed is None:
            metas.append(LevelMeta(grid, by_shape(grid, finest.array.grid)))
            if level.matrix is not None and finest.matrix is not None:
                notes.append(
                    f"the transformations of level {level.path!r} do not suit its shape, which is "
                    "followed"
                )
            continue
        factors, offsets = placed
        centered = (factors - 1) / 2
        if np.allclose(offsets, centered) or not (level.shifted or np.any(offsets)):
            metas.append(LevelMeta(grid, tuple(factors.tolist())))
            continue
        metas.append(LevelMeta(grid, tuple(factors.tolist()), tuple(offsets.tolist())))
        off = np.max(np.abs(offsets - centered) / factors)
        if off > FAR:
            notes.append(
                f"level {level.path!r} lies {off:.2g} of its pixels from where viewers show it, "
                "which place levels by their shapes; crops of it are placed right"
            )
    return tuple(metas)


def by_shape(grid: ChunkGrid, finest: ChunkGrid) -> tuple[float, ...]:
    """Return the number of pixels of the finest level in one of this level, along each axis.

    The finest level has pixels on every axis; an axis of a coarser one without any counts as equal.
    """
    return tuple(big / (small or big) for big, small in zip(finest.shape, grid.shape, strict=True))


def _by_matrix(level: Resolution, finest: Resolution) -> tuple[Array, Array] | None:
    """Return the factors and offsets of the transformations, None where they cannot be true."""
    if level.matrix is None or finest.matrix is None or not np.linalg.det(finest.matrix):
        return None
    relative = np.linalg.inv(finest.matrix) @ level.matrix
    inner, offsets = relative[:-1, :-1], relative[:-1, -1]
    factors = np.diag(inner)
    shape = np.array(level.array.shape)
    # Compare in pixels, for axes may differ in scale by many orders.
    stray = np.abs(inner - np.diag(factors)) * shape
    if stray.max(initial=0) > FAR or not np.isfinite(offsets).all() or not (factors > 0).all():
        return None
    off = np.abs(np.array(finest.array.shape) / factors - shape)
    return (factors, offsets) if (off <= 1 + 1e-6 * shape).all() else None
