"""Scenes of version 0.6: several images, placed in one world by their transformations."""

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
    from collections.abc import Mapping

    import numpy as np

    from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead
    from napari_lazyload.sources.ome_zarr.options import Options
    from napari_lazyload.sources.zarr.node import Node

    Ways = dict[Any, np.ndarray[Any, Any]]

End: TypeAlias = "tuple[str, str]"


class _World(NamedTuple):
    """The world that the images of a scene are placed in."""

    end: End
    units: tuple[str | None, ...]


def read_scene(node: Node, name: str, options: Options) -> MetadataRead:
    """Read the images of a scene, placed by its transformations; returns an `OpenedNode`.

    Raises
    ------
    SourceOpenError
        If none of them can be opened.
    """
    scene = as_dict(ome_of(node.attributes).get("scene"))
    transforms = as_dicts(scene.get("coordinateTransformations"))
    systems: dict[str, str] = {}  # of several of an image the first
    for transform in transforms:
        for path, system in (_end(transform.get("input")), _end(transform.get("output"))):
            if path:
                systems.setdefault(path, system)
    paths = list(systems or node.children() or ())
    names = [f"{name} {path}" for path in paths]
    opened: OpenedNode = yield from read_several(node, paths, names, options, systems)
    world = _world(scene, transforms, opened, node.path)
    images = opened.images
    opened.images = [_moved(one, node.path, transforms, world, opened.notes) for one in images]
    return opened


def _world(
    scene: Mapping[str, Any], transforms: list[Mapping[str, Any]], opened: OpenedNode, root: str
) -> _World:
    """Return the first world that a scene describes, else that of its first transformation."""
    for system in as_dicts(scene.get("coordinateSystems")):
        return _World(("", end_of(system)), tuple(axis.unit for axis in system_axes(system)))
    target = _end(transforms[0].get("output")) if transforms else ("", "")
    for image in opened.images:
        if _own(image, root) == target:
            return _World(target, image.source.meta.units or ())
    return _World(target, ())


def _own(image: ZarrImage, root: str) -> End:
    """Return the path of an image, for labels that of their image, and its coordinate system."""
    path = image.path.removeprefix(root).strip("/").split("/labels/")[0]
    return path, str(image.source.meta.metadata.get("coordinate_system", ""))


def _end(found: Any) -> End:
    """Return the path of an image ("" for the scene itself) and the name of a coordinate system."""
    return (as_text(as_dict(found).get("path")) or "").strip("/"), end_of(found)


def _moved(
    image: ZarrImage,
    root: str,
    transforms: list[Mapping[str, Any]],
    world: _World,
    notes: list[str],
) -> ZarrImage:
    """Return an image placed in the world of the scene; unchanged, with a note, if it cannot be."""
    source, meta = image.source, image.source.meta
    own = _own(image, root)
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
            f"{meta.name}: is not placed in the scene, for no way leads from {own[1]!r} to "
            f"{world.end[1]!r}"
        )
        return image
    placed = placement_of(way @ matrix_from(meta.scale, meta.translate, meta.affine), reorder=False)
    units = world.units if len(world.units) == len(placed.scale) else meta.units
    meta = replace(
        meta, scale=placed.scale, translate=placed.translate, affine=placed.affine, units=units
    )
    return replace(image, source=ZarrSource(source.arrays, meta))
