"""Several images of one store: the series of bioformats2raw, and the scenes of version 0.6.

The images of a scene lie in one world, placed by transformations between their coordinate systems.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_lazyload.core.affine import matrix_from, placement_of
from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.ome_zarr.axes import system_axes
from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, run_together
from napari_lazyload.sources.ome_zarr.images import read_image
from napari_lazyload.sources.ome_zarr.multiscales import add_way, end_of, reachable
from napari_lazyload.sources.ome_zarr.source import (
    OpenedNode,
    Options,
    ZarrImage,
    ZarrSource,
    place,
    where_is,
)
from napari_lazyload.sources.ome_zarr.tolerant import as_dict, as_dicts, as_text, as_texts, ome_of
from napari_lazyload.sources.ome_zarr.transforms import UnshownTransformError, matrix_of
from napari_lazyload.sources.safe_xml import XMLError, parse_xml
from napari_lazyload.sources.zarr.node import Node
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.ome_zarr.multiscales import Ways

End: TypeAlias = "tuple[str, str]"
World: TypeAlias = "tuple[End, tuple[str | None, ...]]"
"""The coordinate system that the images of a scene are placed in, and the units of its axes."""

XML = "OME/METADATA.ome.xml"


def read_series(node: Node, name: str, options: Options) -> MetadataRead:
    """Read the series of a store of bioformats2raw; returns an `OpenedNode`.

    The series are those that ``OME`` lists, else as many as the XML file describes, else the groups
    with a number.

    Raises
    ------
    SourceOpenError
        If there are none, or none that can be opened.
    """
    path = place(node, "OME")
    ome = (yield [path]).get(path)
    listed = ome_of(ome.attributes).get("series") if isinstance(ome, Node) else None
    names = image_names(_xml(node))
    paths = as_texts(listed) or list(map(str, range(len(names)))) or node.numbered_children()
    if not paths:
        raise open_error(
            where_is(node),
            "expected the series of bioformats2raw, found no list of them and no numbered group",
        )
    if len(paths) == 1:
        return (yield from read_several(node, paths, [name], options))
    # Names that are not one for each image are of no use.
    if len(names) != len(paths) or len(set(names)) < len(names):
        names = paths
    labels = [f"{name} {own or path}" for path, own in zip(paths, names, strict=True)]
    return (yield from read_several(node, paths, labels, options))


def image_names(document: bytes) -> list[str]:
    """Return the name of each ``Image`` of an OME-XML file, "" for none; [] if it is unreadable.

    Source of the format: https://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd
    """
    try:
        return [image.get("Name", "") for image in parse_xml(document).iterfind("{*}Image")]
    except XMLError:
        return []


def _xml(node: Node) -> bytes:
    try:
        return node.store.get(place(node, XML)) or b""
    except ChunkReadError:  # only names are lost
        return b""


def read_several(
    node: Node,
    paths: Sequence[str],
    names: Sequence[str],
    options: Options,
    systems: Mapping[str, str] | None = None,
) -> MetadataRead:
    """Read some groups with ``multiscales``; returns one `OpenedNode` for all.

    Parameters
    ----------
    node, paths, names, options
        The group, the paths of the images from there, and their names.
    systems : mapping of str to str, optional
        The coordinate system to place an image in, by its path, where the user chose none.

    Raises
    ------
    SourceOpenError
        If none of them can be opened.
    """
    opened = OpenedNode(notes=options.too_many(len(paths)))
    names_by_path = dict(zip(paths[: options.max_images], names, strict=False))
    inside = {path: place(node, path) for path in names_by_path}
    nodes = yield list(inside.values())
    reads, errors = [], []
    for path, name in names_by_path.items():
        found = nodes.get(inside[path])
        if isinstance(found, SourceOpenError):
            errors.append(str(found))
        elif found is None:
            errors.append(f"{node.store.address(inside[path])}: there is no image")
        else:
            system = options.system or (systems or {}).get(path) or None
            reads.append(read_image(found, name, replace(options, system=system)))
    errors += opened.take_all((yield from run_together(reads)))
    if not opened.images:
        raise open_error(
            where_is(node),
            f"none of its {len(paths)} images can be opened: {'; '.join(errors[:3])}",
        )
    opened.notes += map("left out: {}".format, errors)
    return opened


# --- Scenes of version 0.6
# --------------------------------------------------------------------------------------------------


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
) -> World:
    """Return the first world that a scene describes, else that of its first transformation."""
    for system in as_dicts(scene.get("coordinateSystems")):
        return ("", end_of(system)), tuple(axis.unit for axis in system_axes(system))
    target = _end(transforms[0].get("output")) if transforms else ("", "")
    for image in opened.images:
        if _own(image, root) == target:
            return target, image.source.meta.units or ()
    return target, ()


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
    world: World,
    notes: list[str],
) -> ZarrImage:
    """Return an image placed in the world of the scene; unchanged, with a note, if it cannot be."""
    source, meta = image.source, image.source.meta
    own = _own(image, root)
    end, world_units = world
    ways: Ways = {}
    for transform in transforms:
        sides = _end(transform.get("input")), _end(transform.get("output"))
        try:
            add_way(ways, *sides, matrix_of(transform, meta.axes, meta.axes))
        except UnshownTransformError as err:
            if own in sides:
                notes.append(f"{meta.name}: {err}")
    way = reachable(ways, own, len(meta.axes)).get(end)
    if way is None or meta.scale is None or not isinstance(source, ZarrSource):
        notes.append(
            f"{meta.name}: is not placed in the scene, for no way leads from {own[1]!r} to "
            f"{end[1]!r}"
        )
        return image
    placed = placement_of(way @ matrix_from(meta.scale, meta.translate, meta.affine), reorder=False)
    units = world_units if len(world_units) == len(placed.scale) else meta.units
    meta = replace(
        meta, scale=placed.scale, translate=placed.translate, affine=placed.affine, units=units
    )
    return replace(image, source=ZarrSource(source.arrays, meta, source.added))
