"""The door of this room: from a path or address to the images of a Zarr store.

It finds the store, chooses how to read the node (an image, a plate, a series ...), and wraps the
result. OME-Zarr of any version, or plain arrays.
"""

from __future__ import annotations

import posixpath
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.batched_metadata import metadata_fetcher, run
from napari_lazyload.sources.ome_zarr.group_scan import read_group, read_image_or_inside
from napari_lazyload.sources.ome_zarr.images import read_image, read_labels
from napari_lazyload.sources.ome_zarr.multiscales import named_datasets
from napari_lazyload.sources.ome_zarr.plain_arrays import array_image, packing_note
from napari_lazyload.sources.ome_zarr.plate import (
    OpenedPlate,
    plate_columns,
    read_plate,
    read_well,
)
from napari_lazyload.sources.ome_zarr.series import read_scene, read_series
from napari_lazyload.sources.ome_zarr.source import (
    LABELS,
    OpenedNode,
    Options,
    image_columns,
    kind_of,
    where_is,
)
from napari_lazyload.sources.ome_zarr.tolerant import multiscales_of, ome_of
from napari_lazyload.sources.opened import Below, OpenResult
from napari_lazyload.sources.zarr.location import StoreLocation, find_store, is_address
from napari_lazyload.sources.zarr.node import Node, read_node, read_nodes
from napari_lazyload.sources.zarr.open_store import ending_at_silence, open_store
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead
    from napari_lazyload.sources.ome_zarr.source import ZarrImage
    from napari_lazyload.sources.zarr.store import Store

LAYOUT = "bioformats2raw.layout"
# The formats of folders without Zarr metadata, by a file in them.
_OTHERS = {
    "attributes.json": "an N5 store",
    "manifest.ocdbt": "an OCDBT database of TensorStore",
    "info": "a precomputed volume of Neuroglancer",
    "repo": "an Icechunk repository",
    "meta": "a store of an early draft of Zarr version 3",
}

_READERS = {
    "plate": read_plate,
    "well": read_well,
    "multiscales": read_image_or_inside,
    "scene": read_scene,
}
"""The readings of groups by a name in their attributes; the first that fits is taken."""


def open_zarr(path: str | list[str], **options: Any) -> OpenResult:
    """Open a Zarr store, or an image, plate, well, label image or array in it.

    Parameters
    ----------
    path : str
        A folder, a zip file, or an address; or a place within one. A list of several is refused.
    **options
        See :class:`Options`; for addresses also the options of their storage.

    Raises
    ------
    SourceOpenError
        If there is nothing that can be shown, or it cannot be read.
    TypeError
        If an option is not one of them.
    """
    if not isinstance(path, str):
        raise open_error(
            path[0], f"is one of {len(path)} paths; Zarr stores are opened one at a time"
        )
    storage = dict(options)
    known = sorted(field.name for field in fields(Options))
    chosen = {name: storage.pop(name) for name in known if name in options}
    location = find_store(path)
    if storage and not is_address(location.root):
        raise TypeError(
            f"{next(iter(storage))!r} is not an option of Zarr stores; there are: "
            f"{', '.join(known)}"
        )
    with ending_at_silence():
        node, above = _node_at(open_store(location.root, **storage), location)
        found = run(_read(node, above, location.name, Options(**chosen)), metadata_fetcher(node))
        return _result(location, node, found)


def _node_at(store: Store, location: StoreLocation) -> tuple[Node, list[Node]]:
    """Return the node to open, and the groups around it that may describe it."""
    if not location.inside:
        return (read_node(store) or _unmarked(store, location)), []
    paths = [location.inside]
    while paths[-1] and len(paths) < 3:
        paths.append(posixpath.dirname(paths[-1]))
    node, *above = read_nodes(store, paths).values()
    if isinstance(node, SourceOpenError):
        raise node
    return (node or _unmarked(store, location)), [
        group for group in above if isinstance(group, Node)
    ]


def _unmarked(store: Store, location: StoreLocation) -> Node:
    """Return a group without metadata, such as that of a zip file made one folder too high.

    Raises
    ------
    SourceOpenError
        If there is something else, or nothing.
    """
    node = Node(store, location.inside, "group", 2, {}, {})
    where, names = where_is(node), node.children()
    if names is None:
        raise open_error(
            where,
            "expected a Zarr store, found no metadata there (zarr.json, .zgroup, .zarray, "
            ".zattrs). Check the address; it may lack the name of a folder",
        )
    for name in names:
        if name in _OTHERS:
            raise open_error(
                where,
                f"expected a Zarr store, found {_OTHERS[name]}, which is not read here. "
                "Convert it to OME-Zarr",
            )
    if names:
        return node
    raise open_error(
        where,
        ("is not there" if location.inside else "expected a Zarr store, found an empty folder"),
    )


def _read(node: Node, above: list[Node], name: str, options: Options) -> MetadataRead:
    """Return the reading of a node, by its attributes; the order is policy."""
    ome = ome_of(node.attributes)
    if node.kind == "array":
        return _read_array(node, above, name, options)
    for key, read in _READERS.items():
        if key in ome:
            return read(node, name, options)
    if isinstance(ome.get(LABELS), list):
        return _read_labels_group(node, name, options)
    if LAYOUT in ome or LAYOUT in node.attributes:
        return read_series(node, name, options)
    return read_group(node, name, options)


def _read_array(node: Node, above: list[Node], name: str, options: Options) -> MetadataRead:
    """Read one array: as the level of an image if it is one, else by itself."""
    for group in above:
        inside = node.path.removeprefix(group.path).strip("/")
        for entry in multiscales_of(group.attributes):
            for dataset in named_datasets(entry):
                if str(dataset["path"]).strip("/ ") == inside:
                    return (
                        yield from _read_level(
                            group, {**entry, "datasets": [dataset]}, name, options
                        )
                    )
    return OpenedNode([array_image(node, name)], packing_note(node.attributes, name))


def _read_level(group: Node, level: Mapping[str, Any], name: str, options: Options) -> MetadataRead:
    """Read one level of an image; `level` is its entry of ``multiscales`` without the others."""
    attributes = {**ome_of(group.attributes), "multiscales": [level]}
    if "ome" in group.attributes:
        attributes = {**group.attributes, "ome": attributes}
    return (
        yield from read_image(
            replace(group, attributes=attributes),
            name,
            replace(options, labels=False),
            kind=kind_of(group),
        )
    )


def _read_labels_group(node: Node, name: str, options: Options) -> MetadataRead:
    opened: OpenedNode = yield from read_labels(node, name, options)
    if not opened.images:
        raise open_error(
            where_is(node),
            "expected label images, but none can be opened: "
            f"{'; '.join(opened.notes) or 'it lists none'}",
        )
    return opened


def _result(location: StoreLocation, node: Node, opened: OpenedNode | OpenedPlate) -> OpenResult:
    whole = _plate_table(opened) if isinstance(opened, OpenedPlate) else _image_table(node, opened)
    return OpenResult(
        path=where_is(node)
        if is_address(location.root)
        else location.path,  # that may hold credentials
        sources=tuple(image.source for image in opened.images),
        files=Below(where_is(node)),
        notes=list(dict.fromkeys(opened.notes)),
        where=lambda: location.path,
        **whole,
    )


def _plate_table(opened: OpenedPlate) -> dict[str, Any]:
    """Return the fields of an `OpenResult` for a table of wells, or of the fields of one well."""
    registry = opened.registry
    table: dict[str, Any] = {"columns": lambda: plate_columns(opened)}
    if opened.fields is None:
        count = len(registry.wells)
        table |= {"kind": "OME-Zarr plate", "row_name": "well", "recheck": registry.forget}
        table["problems"] = lambda: dict(registry.problems)
        table["background"] = registry.scan if registry.store.is_local else None
    else:
        count = len(opened.fields)
        table |= {"kind": "OME-Zarr well", "row_name": "field"}
        table["recheck"] = lambda _row: registry.forget(0)
    return table | {"rows": (range(count),) * len(opened.images)}


def _image_table(node: Node, opened: OpenedNode) -> dict[str, Any]:
    """Return the fields of an `OpenResult` for a table of images."""
    return {
        "kind": _kind_name(node),
        "rows": tuple(range(row, row + 1) for row in range(len(opened.images))),
        "row_name": "image",
        "columns": lambda: image_columns(opened.images),
        "problems": lambda: _denied(opened.images),
    }


def _denied(images: Sequence[ZarrImage]) -> dict[int, str]:
    """Return the rows of images with chunks that a server denies, and does not call missing."""
    problems = {}
    for row, image in enumerate(images):
        count = len(image.denied_keys)
        if count:
            problems[row] = (
                f"{count} chunk{'s'[: count != 1]} denied to this user, or not there, shown blank: "
                "log in to read them"
            )
    return problems


def _kind_name(node: Node) -> str:
    if node.kind == "array":
        return "Zarr array"
    names = {LABELS, "scene", LAYOUT} & {*ome_of(node.attributes), *node.attributes}
    return "OME-Zarr" if names or multiscales_of(node.attributes) else "Zarr group"


def takes_zarr(path: str | list[str]) -> bool:
    """Return whether a path is a Zarr store or within one, by names and kinds of files."""
    return isinstance(path, str) and (is_address(path) or find_store(path).likely)
