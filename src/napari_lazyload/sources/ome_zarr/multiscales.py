"""One entry of ``multiscales``: its axes, its datasets, and where each of them lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

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

    Array = np.ndarray[Any, Any]
    Ways = dict[tuple[Hashable, Hashable], Array]


@dataclass(slots=True)
class Placements:
    """Where the datasets of a multiscale image lie.

    Parameters
    ----------
    axes : tuple of Axis
        Of the world that the matrices lead to, one for each array axis; the array's own where no
        matrix turns it.
    matrices : list of numpy.ndarray or None
        For each dataset the homogeneous matrix from pixel indices to world coordinates, None where
        the metadata say nothing (or nothing that can be used).
    notes : list of str
        What cannot be shown.
    system : str
        Name of the world, since version 0.6.
    systems : tuple of str
        Names of all worlds that it can be shown in.
    reorder : bool
        Whether an exchange of axes is one of their names alone; not where other images lie in the
        same world.
    """

    axes: tuple[Axis, ...]
    matrices: list[Array | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    system: str = ""
    systems: tuple[str, ...] = ()
    reorder: bool = True


MOST_LEVELS = 64
"""Of longer lists of datasets, which no pyramid has, the first ones are read."""


def named_datasets(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the datasets of a multiscale image that have a path."""
    return [
        one
        for one in as_dicts(entry.get("datasets"))[:MOST_LEVELS]
        if as_text(one.get("path")) is not None
    ]


def dataset_paths(entry: Mapping[str, Any]) -> list[str]:
    """Return the paths of the arrays of a multiscale image, as they stand."""
    return [str(one["path"]).strip() for one in named_datasets(entry)]


def is_shifted(dataset: Mapping[str, Any]) -> bool:
    """Return whether a dataset says where its first pixel lies: by anything else than a scale."""
    kinds = {as_text(one.get("type")) for one in as_dicts(dataset.get("coordinateTransformations"))}
    return not kinds <= {"scale", "identity", None}


def layout_of(
    entry: Mapping[str, Any], shape: Sequence[int], where: str, system: str | None = None
) -> Placements:
    """Return where the datasets of `entry` lie; matrices are in the order of :func:`dataset_paths`.

    Parameters
    ----------
    entry : mapping
        One of ``multiscales``.
    shape : sequence of int
        Of one of its arrays.
    where : str
        For messages.
    system : str, optional
        Which coordinate system, of version 0.6 or spatialdata, to place it in; the first one that
        can be shown by default, or the one called "global".

    Raises
    ------
    SourceOpenError
        If there is not one axis for each dimension.
    """
    datasets = named_datasets(entry)
    if as_dicts(entry.get("coordinateSystems")) and not entry.get("axes"):
        return _Systems(entry, shape, where).layout(datasets, system)
    axes = read_axes(entry["axes"]) if entry.get("axes") else unnamed_axes(len(shape))
    checked_axes(axes, shape, where)
    layout = Placements(axes)
    names = [axis.name for axis in axes]
    try:
        whole = composed(_own(entry.get("coordinateTransformations"), layout, system), names, names)
    except UnshownTransformError as err:
        whole = np.eye(len(names) + 1)
        layout.notes.append(f"the transformations of the whole image are left out: {err}")
    for dataset in datasets:
        layout.matrices.append(_placed(dataset, names, whole, layout.notes))
    if all(matrix is None for matrix in layout.matrices) and not np.array_equal(
        whole, np.eye(len(names) + 1)
    ):
        layout.matrices = [whole, *layout.matrices[1:]]
    return layout


def _own(transforms: Any, layout: Placements, system: str | None) -> list[Mapping[str, Any]]:
    """Return the transformations of a whole image; of those to worlds with a name, as spatialdata's, one alone."""
    own = [one for one in as_dicts(transforms) if not isinstance(one.get("output"), dict)]
    named = {
        end_of(one["output"]): one
        for one in reversed(as_dicts(transforms))
        if isinstance(one.get("output"), dict)
    }
    if not named:
        return own
    layout.systems, layout.reorder = tuple(reversed(named)), False
    if system is not None and system not in named:
        layout.notes.append(
            f"has no coordinate system {system!r}, but {', '.join(map(repr, layout.systems))}"
        )
    layout.system = next(name for name in (system, "global", *layout.systems) if name in named)
    return [*own, named[layout.system]]


def _placed(
    dataset: Mapping[str, Any], names: list[str], whole: Array, notes: list[str]
) -> Array | None:
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
        self._array = [f"dim_{number}" for number in range(len(shape))]
        systems = as_dicts(entry["coordinateSystems"])
        self._systems = {as_text(one.get("name")) or "": system_axes(one) for one in systems}
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
        axes = self._systems.get(system, ())
        return [axis.name for axis in axes] if len(axes) == len(self._array) else self._array

    def _fits(self, system: str) -> bool:
        return len(self._systems.get(system, ())) == len(self._shape)

    def _unlisted(self, target: str) -> tuple[Axis, ...]:
        """Return the axes of a coordinate system that is not described, which those that are let expect."""
        axes = next((axes for name, axes in self._systems.items() if self._fits(name)), None)
        known = ", ".join(map(repr, self._systems))
        self.notes.append(
            f"its pixels lie in the coordinate system {target!r}, which is not described; expected one of {known}"
        )
        return unnamed_axes(len(self._shape)) if axes is None else axes

    def layout(self, datasets: list[Mapping[str, Any]], wanted: str | None) -> Placements:
        """Return the layout in the wanted system, or in the first one that the image can be shown in."""
        own = [self._dataset(dataset) for dataset in datasets]
        start = next((one[0] for one in own if one is not None), next(iter(self._systems)))
        reached = reachable(self._ways, start, len(self._shape))
        if wanted is not None and wanted not in reached:
            known = ", ".join(map(repr, reached))
            self.notes.append(f"has no coordinate system {wanted!r} that can be shown, but {known}")
        order = [
            name for name in (wanted, *self._systems, start) if name is not None and name in reached
        ]
        target = next((name for name in order if self._fits(name)), order[0])
        axes = self._systems.get(target) or self._unlisted(target)
        layout = Placements(checked_axes(axes, self._shape, self._where), notes=self.notes)
        layout.systems = tuple(
            name for name in self._systems if name in reached and self._fits(name)
        )
        layout.system = target
        for one in own:
            way = (
                None if one is None else reachable(self._ways, one[0], len(self._shape)).get(target)
            )
            layout.matrices.append(None if one is None or way is None else way @ one[1])
        return layout

    def _dataset(self, dataset: Mapping[str, Any]) -> tuple[str, Array] | None:
        """Return the system that a dataset's own transformations lead to, and their matrix."""
        transforms = as_dicts(dataset.get("coordinateTransformations"))
        if not transforms:
            return None
        end = end_of(transforms[-1].get("output"))
        try:
            return end, composed(transforms, self._array, self._names(end))
        except UnshownTransformError as err:
            self.notes.append(f"the transformations of {dataset['path']!r} are left out: {err}")
            return None


def end_of(found: Any) -> str:
    """Return the name of the coordinate system that a transformation begins or ends at."""
    return as_text(found) or as_text(as_dict(found).get("name")) or ""


def add_way(ways: Ways, start: Hashable, end: Hashable, matrix: Array) -> None:
    """Note the way from one coordinate system to another, and back.

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
