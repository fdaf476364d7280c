"""Several images of one store: the series of bioformats2raw, and others that are listed by path."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, run_together
from napari_lazyload.sources.ome_zarr.images import read_image
from napari_lazyload.sources.ome_zarr.ome_xml_names import image_names
from napari_lazyload.sources.ome_zarr.options import Options, place, where_is
from napari_lazyload.sources.ome_zarr.source import OpenedNode
from napari_lazyload.sources.ome_zarr.tolerant import as_list, as_text, ome_of
from napari_lazyload.sources.zarr.node import Node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


XML = "OME/METADATA.ome.xml"


def read_series(node: Node, name: str, options: Options) -> MetadataRead:
    """Read the series of a store of bioformats2raw; returns a `OpenedNode`.

    They are those that ``OME`` lists, else as many as the XML file describes, else the groups with
    a number.

    Raises
    ------
    SourceOpenError
        If there are none, or none that can be opened.
    """
    about = (yield [place(node, "OME")]).get(place(node, "OME"))
    listed = ome_of(about.attributes).get("series") if isinstance(about, Node) else None
    xml_names = image_names(_xml(node))
    paths = [one for one in map(as_text, as_list(listed)) if one]
    paths = paths or [str(number) for number in range(len(xml_names))] or _numbered(node)
    if not paths:
        msg = f"{where_is(node)}: expected the series of bioformats2raw, found no list of them and no numbered group"
        raise SourceOpenError(msg, where_is(node))
    labels = [f"{name} {xml or path}" for path, xml in _paired(paths, xml_names)]
    return (yield from read_several(node, paths, labels if len(paths) > 1 else [name], options))


def _paired(paths: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return each path with its name in the XML; names that are not one for each image are of no use."""
    if len(names) != len(paths) or len(set(names)) < len(names):
        names = [""] * len(paths)
    return list(zip(paths, names, strict=True))


def _xml(node: Node) -> bytes:
    try:
        return node.store.get(place(node, XML)) or b""
    except ChunkReadError:  # names alone are lost
        return b""


def _numbered(node: Node) -> list[str]:
    return sorted((one for one in node.children() or () if one.isdigit()), key=int)


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
        Where they are and what they are called.
    systems : mapping of str to str, optional
        The coordinate system to place an image in, by its path, where the user named none.

    Raises
    ------
    SourceOpenError
        If none of them can be opened.
    """
    finding = OpenedNode()
    finding.notes += options.too_many(len(paths))
    chosen = dict(zip(paths[: options.max_images], names, strict=False))
    inside = {path: place(node, path) for path in chosen}
    nodes = yield list(inside.values())
    readings, errors = [], []
    for path, name in chosen.items():
        found = nodes.get(inside[path])
        if isinstance(found, SourceOpenError):
            errors.append(str(found))
        elif found is None:
            errors.append(f"{node.store.address(inside[path])}: there is no image")
        else:
            system = options.system or (systems or {}).get(path) or None
            readings.append(read_image(found, name, replace(options, system=system)))
    for result in (yield from run_together(readings)):
        if isinstance(result, SourceOpenError):
            errors.append(str(result))
        else:
            finding.take(result)
    if not finding.images:
        msg = f"{where_is(node)}: none of its {len(paths)} images can be opened: {'; '.join(errors[:3])}"
        raise SourceOpenError(msg, where_is(node))
    finding.notes += [f"left out: {error}" for error in errors]
    return finding
