"""Several images of one store: the series of bioformats2raw, and others that are listed by path."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, run_together
from napari_lazyload.sources.ome_zarr.images import read_image
from napari_lazyload.sources.ome_zarr.options import Options, place, where_is
from napari_lazyload.sources.ome_zarr.source import OpenedNode
from napari_lazyload.sources.ome_zarr.tolerant import as_texts, ome_of
from napari_lazyload.sources.safe_xml import XMLError, parse_xml
from napari_lazyload.sources.zarr.node import Node
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
        reasons = "; ".join(errors[:3])
        raise open_error(
            where_is(node), f"none of its {len(paths)} images can be opened: {reasons}"
        )
    opened.notes += map("left out: {}".format, errors)
    return opened
