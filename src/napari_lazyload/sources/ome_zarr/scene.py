"""Scenes of version 0.6: several images, placed in one world by transformations between their coordinate systems."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from napari_lazyload.core.affine import matrix_from, placement_of
from napari_lazyload.sources.ome_zarr.axes import system_axes
from napari_lazyload.sources.ome_zarr.multiscales import add_way, end_of, reachable
from napari_lazyload.sources.ome_zarr.series import read_several
from napari_lazyload.sources.ome_zarr.source import OpenedNode, ZarrImage, ZarrSource
from napari_lazyload.sources.ome_zarr.tolerant import as_dict, as_dicts, as_text, ome_of
from napari_lazyload.sources.ome_zarr.transforms import UnshownTransformError, matrix_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead
    from napari_lazyload.sources.ome_zarr.options import Options
    from napari_lazyload.sources.zarr.node import Node

    Ways = dict[Any, np.ndarray[Any, Any]]

End: TypeAlias = "tuple[str, str]"


class _World(NamedTuple):
    """Where the images of a scene are placed."""

    end: End
    units: tuple[str | None, ...]


def read_scene(node: Node, name: str, options: Options) -> MetadataRead:
    """Read the images of a scene, each where its transformations put it; returns a `OpenedNode`.

    Raises
    ------
    SourceOpenError
        If none of them can be opened.
    """
    scene = as_dict(ome_of(node.attributes).get("scene"))
    transforms = as_dicts(scene.get("coordinateTransformations"))
    ends = [_end(one.get(side)) for one in transforms for side in ("input", "output")]
    named = {path: system for path, system in reversed(ends) if path}  # of several the first
    paths = list(dict.fromkeys(path for path, _ in ends if path)) or list(node.children() or ())
    names = [f"{name} {path}" for path in paths]
    finding: OpenedNode = yield from read_several(node, paths, names, options, named)
    worlds = as_dicts(scene.get("coordinateSystems"))
    target = (
        ("", as_text(worlds[0].get("name")) or "") if worlds else next(iter(ends[1::2]), ("", ""))
    )
    units = (
        [axis.unit for axis in system_axes(worlds[0])]
        if worlds
        else _units_of(finding, node.path, target)
    )
    world = _World(target, tuple(units))
    finding.images = [
        _moved(one, node.path, transforms, world, finding.notes) for one in finding.images
    ]
    return finding


def _units_of(finding: OpenedNode, root: str, target: End) -> Sequence[str | None]:
    """Return the units of the image whose coordinate system is the world of a scene; none where it is not there."""
    return next(
        (one.source.meta.units or () for one in finding.images if _own(one, root) == target), ()
    )


def _own(one: ZarrImage, root: str) -> End:
    """Return the path of an image, that which they lie over for labels, and the coordinate system it is placed in."""
    path = one.path.removeprefix(root).strip("/").split("/labels/")[0]
    return path, str(one.source.meta.metadata.get("coordinate_system", ""))


def _end(found: Any) -> End:
    """Return the path of an image ("" for the scene itself) and the name of a coordinate system."""
    return (as_text(as_dict(found).get("path")) or "").strip("/"), end_of(found)


def _moved(
    one: ZarrImage, root: str, transforms: list[Mapping[str, Any]], world: _World, notes: list[str]
) -> ZarrImage:
    """Return an image placed in the world of the scene; where that cannot be done, as it is, and say so."""
    source, meta = one.source, one.source.meta
    own = _own(one, root)
    ways: Ways = {}
    for transform in transforms:
        start, end = _end(transform.get("input")), _end(transform.get("output"))
        try:
            add_way(ways, start, end, matrix_of(transform, meta.axes, meta.axes))
        except UnshownTransformError as err:
            if own in (start, end):
                notes.append(f"{meta.name}: {err}")
    way = reachable(ways, own, len(meta.axes)).get(world.end)
    if way is None or meta.scale is None or not isinstance(source, ZarrSource):
        notes.append(
            f"{meta.name}: is not placed in the scene, for no way leads from {own[1]!r} to {world.end[1]!r}"
        )
        return one
    placed = placement_of(way @ matrix_from(meta.scale, meta.translate, meta.affine), reorder=False)
    units = world.units if len(world.units) == len(placed.scale) else meta.units
    meta = replace(
        meta, scale=placed.scale, translate=placed.translate, affine=placed.affine, units=units
    )
    return replace(one, source=ZarrSource(source.arrays, meta))
