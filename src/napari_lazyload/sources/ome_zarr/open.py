"""From a path or address to the images of a Zarr store: OME-Zarr of any version, or plain arrays."""

from __future__ import annotations

import posixpath
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.ome_zarr.array_attributes import packing_note
from napari_lazyload.sources.ome_zarr.batched_metadata import metadata_fetcher, run
from napari_lazyload.sources.ome_zarr.group_scan import read_group, read_image_or_inside
from napari_lazyload.sources.ome_zarr.images import read_image, read_labels
from napari_lazyload.sources.ome_zarr.multiscales import named_datasets
from napari_lazyload.sources.ome_zarr.options import LABELS, Options, kind_of, where_is
from napari_lazyload.sources.ome_zarr.plain_arrays import array_image
from napari_lazyload.sources.ome_zarr.plate import OpenedPlate, read_plate, read_well
from napari_lazyload.sources.ome_zarr.scene import read_scene
from napari_lazyload.sources.ome_zarr.series import read_series
from napari_lazyload.sources.ome_zarr.source import OpenedNode
from napari_lazyload.sources.ome_zarr.table import image_columns, plate_columns
from napari_lazyload.sources.ome_zarr.tolerant import as_dict, multiscales_of, ome_of
from napari_lazyload.sources.opened import Below, OpenResult
from napari_lazyload.sources.zarr.location import StoreLocation, find_store, is_address
from napari_lazyload.sources.zarr.node import Node, read_node, read_nodes
from napari_lazyload.sources.zarr.open_store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead
    from napari_lazyload.sources.ome_zarr.source import ZarrImage
    from napari_lazyload.sources.zarr.store import Store

LAYOUT = "bioformats2raw.layout"
# What a folder without Zarr metadata may be, by a file in it.
_OTHERS = {
    "attributes.json": "an N5 store",
    "manifest.ocdbt": "an OCDBT database of TensorStore",
    "info": "a precomputed volume of Neuroglancer",
    "repo": "an Icechunk repository",
    "meta": "a store of an early draft of Zarr version 3",
}


def open_zarr(path: str | list[str], **options: Any) -> OpenResult:
    """Open a Zarr store, or an image, plate, well, label image or array in it.

    Parameters
    ----------
    path : str
        A folder, a zip file, or an address; or a place within one. A list of several is refused.
    **options
        See :class:`Options`; for addresses also what their storage takes.

    Raises
    ------
    SourceOpenError
        If there is nothing that can be shown, or it cannot be read.
    TypeError
        If an option is not one of them.
    """
    if not isinstance(path, str):
        msg = f"{path[0]}: is one of {len(path)} paths; Zarr stores are opened one at a time"
        raise SourceOpenError(msg, path[0])
    known = {field.name for field in fields(Options)}
    storage = {name: value for name, value in options.items() if name not in known}
    found = find_store(path)
    if storage and not found.is_address:
        names = ", ".join(sorted(known))
        msg = f"{next(iter(storage))!r} is not an option of Zarr stores; there are: {names}"
        raise TypeError(msg)
    chosen = Options(**{name: value for name, value in options.items() if name in known})
    store = open_store(found.root, **storage)
    node, above = _node_at(store, found)
    finding = run(_reading(node, above, found.name, chosen), metadata_fetcher(node))
    return _opened(found, store, node, finding)


def _node_at(store: Store, found: StoreLocation) -> tuple[Node, list[Node]]:
    """Return the node to open, and the groups around it that may tell of it."""
    if not found.inside:
        node = read_node(store)
        return (node or _unmarked(store, found)), []
    parents = [found.inside]
    while parents[-1] and len(parents) < 3:
        parents.append(posixpath.dirname(parents[-1]))
    nodes = read_nodes(store, parents)
    node = nodes[found.inside]  # type: ignore[assignment] # an error is raised at once
    if isinstance(node, SourceOpenError):
        raise node
    above = [one for path in parents[1:] if isinstance(one := nodes[path], Node)]
    return (node or _unmarked(store, found)), above


def _unmarked(store: Store, found: StoreLocation) -> Node:
    """Return a group without metadata, such as a zip file made one folder too high; or say what is there instead."""
    where = store.address(found.inside) if found.inside else store.root
    try:
        names = store.list_dir(found.inside)
    except ChunkReadError as err:
        raise SourceOpenError(str(err), where) from err
    other = next((_OTHERS[name] for name in names or () if name in _OTHERS), None)
    if other is not None:
        msg = f"{where}: expected a Zarr store, found {other}, which is not read here. Convert it to OME-Zarr"
    elif names is None:
        msg = (
            f"{where}: expected a Zarr store, found no metadata there (zarr.json, .zgroup, .zarray, .zattrs). Check "
            "the address; it may need a folder's name more"
        )
    elif not names:
        msg = (
            f"{where}: expected a Zarr store, found an empty folder"
            if not found.inside
            else f"{where}: is not there"
        )
    else:
        return Node(store, found.inside, "group", 2, {}, {})
    raise SourceOpenError(msg, where)


def _reading(node: Node, above: list[Node], name: str, options: Options) -> MetadataRead:
    """Return how to read a node, by what its attributes say it is; the order is policy."""
    ome = ome_of(node.attributes)
    if node.kind == "array":
        return _read_array(node, above, name, options)
    if "plate" in ome:
        return read_plate(node, name, options)
    if "well" in ome:
        return read_well(node, name, options)
    if "multiscales" in ome:
        return read_image_or_inside(node, name, options)
    if "scene" in ome:
        return read_scene(node, name, options)
    if isinstance(ome.get(LABELS), list):
        return _read_labels_alone(node, name, options)
    if LAYOUT in ome or LAYOUT in node.attributes:
        return read_series(node, name, options)
    return read_group(node, name, options)


def _read_array(node: Node, above: list[Node], name: str, options: Options) -> MetadataRead:
    """Read one array: as the level of an image that it is, else as it stands."""
    for group in above:
        inside = node.path.removeprefix(group.path).strip("/")
        for entry in multiscales_of(group.attributes):
            own = [one for one in named_datasets(entry) if str(one["path"]).strip("/ ") == inside]
            if own:
                ome = {**ome_of(group.attributes), "multiscales": [{**entry, "datasets": own}]}
                attributes = (
                    {**as_dict(group.attributes), "ome": ome} if "ome" in group.attributes else ome
                )
                alone = replace(group, attributes=dict(attributes))
                alone_options = replace(options, labels=False)
                return (yield from read_image(alone, name, alone_options, kind=kind_of(group)))
    note = packing_note(node.attributes)
    return OpenedNode([array_image(node, name)], [f"{name}: {note}"] if note else [])


def _read_labels_alone(node: Node, name: str, options: Options) -> MetadataRead:
    finding: OpenedNode = yield from read_labels(node, name, options)
    if not finding.images:
        said = "; ".join(finding.notes) or "it lists none"
        msg = f"{where_is(node)}: expected label images, but none can be opened: {said}"
        raise SourceOpenError(msg, where_is(node))
    return finding


def _opened(
    found: StoreLocation, store: Store, node: Node, finding: OpenedNode | OpenedPlate
) -> OpenResult:
    images = finding.images
    count = len(images)
    whole: dict[str, Any] = {}
    if isinstance(finding, OpenedPlate):
        book = finding.book
        count = len(book.wells) if finding.fields is None else len(finding.fields)
        rows = (range(count),) * len(images)
        whole["columns"] = lambda: plate_columns(finding)
        whole["recheck"] = book.forget
        if finding.fields is None:
            whole["problems"] = lambda: dict(book.problems)
            whole["background"] = book.scan if store.is_local else None
        else:
            whole["recheck"] = lambda _row: book.forget(0)
    else:
        rows = tuple(range(number, number + 1) for number in range(count))
        whole["columns"] = lambda: image_columns(images)
        whole["problems"] = lambda: _denied(images)
    kind, row_name = _kinds(node, finding)
    return OpenResult(
        path=where_is(node) if found.is_address else found.path,  # an address may hold credentials
        kind=kind,
        sources=tuple(one.source for one in images),
        rows=rows,
        row_name=row_name,
        files=Below(store.address(node.path)),
        notes=list(dict.fromkeys(finding.notes)),
        where=lambda: found.path,
        **whole,
    )


def _denied(images: Sequence[ZarrImage]) -> dict[int, str]:
    """Return the rows of images of which a server keeps chunks back that it does not say are missing."""
    found = {}
    for row, image in enumerate(images):
        count = len(image.denied_keys)
        if count:
            found[row] = (
                f"{count} chunk{'s'[: count != 1]} denied to an anonymous user, shown blank: log in to read them"
            )
    return found


def _kinds(node: Node, finding: OpenedNode | OpenedPlate) -> tuple[str, str]:
    """Return what it is, and what a row of its table is."""
    if isinstance(finding, OpenedPlate):
        return ("OME-Zarr plate", "well") if finding.fields is None else ("OME-Zarr well", "field")
    if node.kind == "array":
        return "Zarr array", "image"
    ours = {LABELS, "scene", LAYOUT} & {*ome_of(node.attributes), *node.attributes}
    return ("OME-Zarr" if ours or multiscales_of(node.attributes) else "Zarr group"), "image"


def takes_zarr(path: str | list[str]) -> bool:
    """Return whether a path is a Zarr store or within one, by names and kinds of files alone."""
    return isinstance(path, str) and (is_address(path) or find_store(path).likely)
