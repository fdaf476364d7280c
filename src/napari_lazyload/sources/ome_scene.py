"""Scenes of version 0.6: several images, placed in one world by transformations between their coordinate systems."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.ome_multiscale import add_way, end_of, reachable
from napari_lazyload.sources.ome_series import read_several
from napari_lazyload.sources.ome_source import Finding, Found, ZarrSource
from napari_lazyload.sources.ome_transforms import UnshownTransformError, matrix_from, matrix_of, placement_of
from napari_lazyload.sources.ome_values import as_dict, as_dicts, as_text, ome_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from napari_lazyload.sources.ome_nodes import Options
    from napari_lazyload.sources.ome_reading import Reading
    from napari_lazyload.sources.zarr_node import Node

    Ways = dict[Any, np.ndarray[Any, Any]]
    End = tuple[str, str]


def read_scene(node: Node, name: str, options: Options) -> Reading:
    """Read the images of a scene, each where its transformations put it; returns a `Finding`.

    Raises
    ------
    SourceOpenError
        If none of them can be opened.
    """
    scene = as_dict(ome_of(node.attributes).get("scene"))
    transforms = as_dicts(scene.get("coordinateTransformations"))
    ends = [_end(one.get(side)) for one in transforms for side in ("input", "output")]
    paths = list(dict.fromkeys(path for path, _ in ends if path)) or list(node.children() or ())
    finding: Finding = yield from read_several(node, paths, [f"{name} {path}" for path in paths], options)
    worlds = [as_text(one.get("name")) or "" for one in as_dicts(scene.get("coordinateSystems"))]
    target = ("", worlds[0]) if worlds else next(iter(ends[1::2]), ("", ""))
    finding.images = [_moved(one, node.path, transforms, target, finding.notes) for one in finding.images]
    return finding


def _end(found: Any) -> End:
    """Return the path of an image ("" for the scene itself) and the name of a coordinate system."""
    return (as_text(as_dict(found).get("path")) or "").strip("/"), end_of(found)


def _moved(one: Found, root: str, transforms: list[Mapping[str, Any]], target: End, notes: list[str]) -> Found:
    """Return an image placed in the world of the scene; where that cannot be done, as it is, and say so."""
    source, meta = one.source, one.source.meta
    path = one.path.removeprefix(root).strip("/").split("/labels/")[0]
    own = (path, str(meta.metadata.get("coordinate_system", "")))
    ways: Ways = {}
    for transform in transforms:
        start, end = _end(transform.get("input")), _end(transform.get("output"))
        try:
            add_way(ways, start, end, matrix_of(transform, meta.axes, meta.axes))
        except UnshownTransformError as err:
            if own in (start, end):
                notes.append(f"{meta.name}: {err}")
    way = reachable(ways, own, len(meta.axes)).get(target)
    if way is None or meta.scale is None or not isinstance(source, ZarrSource):
        notes.append(f"{meta.name}: is not placed in the scene, for no way leads from {own[1]!r} to {target[1]!r}")
        return one
    placed = placement_of(way @ matrix_from(meta.scale, meta.translate, meta.affine), reorder=False)
    meta = replace(meta, scale=placed.scale, translate=placed.translate, affine=placed.affine)
    return replace(one, source=ZarrSource(source.arrays, meta))
