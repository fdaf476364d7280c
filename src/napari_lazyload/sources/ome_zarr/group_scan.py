"""A group without metadata of OME-Zarr: the search for images in it.

The door of this room is `open`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, run_together
from napari_lazyload.sources.ome_zarr.images import level_places, read_image
from napari_lazyload.sources.ome_zarr.plain_arrays import array_image, merged, packing_note
from napari_lazyload.sources.ome_zarr.plate import read_plate
from napari_lazyload.sources.ome_zarr.source import OpenedNode, Options, kind_of, where_is
from napari_lazyload.sources.ome_zarr.tolerant import multiscales_of, ome_of
from napari_lazyload.sources.zarr.array_metadata import XARRAY_NAMES
from napari_lazyload.sources.zarr.node import Node
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_lazyload.sources.ome_zarr.plate import OpenedPlate

MAX_DEPTH = 5
MOST_NODES = 2000
TABLES = ("anndata", "mudata", "MuData", "AnnData")
MAC_FOLDER = "__MACOSX"
"""What the Finder of macOS adds to zip files."""

SOME = 12
"""Most names in a note on what was left out."""


@dataclass(slots=True)
class GroupContents:
    """The nodes and names below a group."""

    images: list[Node] = field(default_factory=list)
    plates: list[Node] = field(default_factory=list)
    arrays: list[Node] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    names: int = 0


def read_group(node: Node, name: str, options: Options) -> MetadataRead:
    """Read the images below a group: those of OME-Zarr, else a plate, else plain arrays.

    Returns an `OpenedNode`, or the `OpenedPlate`.

    Raises
    ------
    SourceOpenError
        If there is nothing to show; the message says what was found.
    """
    if _is_table(node):
        raise open_error(
            where_is(node),
            f"expected images, found a table of {node.attributes['encoding-type']}, which is not "
            "shown here",
        )
    inside = yield from _scan(node)
    is_empty = not (inside.images or inside.plates or inside.arrays or inside.broken)
    if is_empty and node.store.is_local:
        inside = yield from _scan(node, bare=True)
    if inside.plates and not inside.images:
        return (yield from _read_first_plate(node, inside, name, options))
    opened = OpenedNode()
    if inside.images:
        yield from _take_images(node, inside, name, options, opened)
    else:
        _take_arrays(node, inside, name, options, opened)
    opened.notes += map("left out: {}".format, inside.broken[:SOME])
    if not opened.images:
        raise open_error(where_is(node), _nothing(node, inside, opened))
    if inside.tables:
        opened.notes.append(f"{name}: tables are left out: {_some(inside.tables)}")
    return opened


def _is_table(node: Node) -> bool:
    return node.attributes.get("encoding-type") in TABLES


def _read_first_plate(
    node: Node, inside: GroupContents, name: str, options: Options
) -> MetadataRead:
    first, *others = _names_below(node, inside.plates)
    opened: OpenedPlate = yield from read_plate(inside.plates[0], f"{name} {first}", options)
    if others:
        opened.notes.append(f"{name}: one plate is opened at a time; others are at {_some(others)}")
    return opened


def read_image_or_inside(node: Node, name: str, options: Options) -> MetadataRead:
    """Read a group with ``multiscales``; its contents where these lead to no arrays.

    So it is with ``multiscales`` of other conventions.

    Raises
    ------
    SourceOpenError
        If there is nothing to show.
    """
    try:
        return (yield from read_image(node, name, options, kind=kind_of(node)))
    except SourceOpenError as err:
        nodes = yield level_places(node)
        if any(isinstance(level, Node) and level.kind == "array" for level in nodes.values()):
            raise
        try:
            opened = yield from read_group(node, name, options)
        except SourceOpenError:
            raise err from None
        opened.notes.append(
            f"{name}: it has no pyramid as OME-Zarr describes them, so its contents are shown: "
            f"{err}"
        )
        return opened


def _scan(root: Node, *, bare: bool = False) -> MetadataRead:
    """Go through the groups below, a level at a time, down to images and arrays.

    With `bare`, folders without metadata count as groups: TensorStore and others write only arrays.
    """
    inside = GroupContents()
    groups = [root]
    for _ in range(MAX_DEPTH):
        paths = list(chain.from_iterable(map(_child_paths, groups)))
        inside.names += len(paths)
        if inside.names > MOST_NODES:
            inside.broken.append(
                f"everything deeper: there are {inside.names} names; open a path in it"
            )
        if not paths or inside.names > MOST_NODES:
            break
        nodes = yield paths
        groups = []
        for path in paths:
            found = nodes.get(path)
            if found is None and bare:
                found = Node(root.store, path, "group", 2, {}, {})
            if found is not None:
                _sort_in(path, found, inside, groups)
    return inside


def _child_paths(group: Node) -> list[str]:
    """Return the paths under a group that may be nodes."""
    return [
        group.join(name)
        for name in group.children() or ()
        if not name.startswith((".", MAC_FOLDER)) and not name.endswith(".json")
    ]


def _sort_in(
    path: str, found: Node | SourceOpenError, inside: GroupContents, groups: list[Node]
) -> None:
    if isinstance(found, SourceOpenError):
        inside.broken.append(str(found))
    elif found.kind == "array":
        inside.arrays.append(found)
    elif multiscales_of(found.attributes):
        inside.images.append(found)
    elif "plate" in ome_of(found.attributes):
        inside.plates.append(found)
    elif _is_table(found):
        inside.tables.append(path)
    else:
        groups.append(found)


def _take_images(
    node: Node, inside: GroupContents, name: str, options: Options, opened: OpenedNode
) -> MetadataRead:
    opened.notes += options.too_many(len(inside.images))
    reads = [
        read_image(image, f"{name} {_below(node, image)}", options, kind=kind_of(image))
        for image in inside.images[: options.max_images]
    ]
    inside.broken += opened.take_all((yield from run_together(reads)))
    # Labels lie over the image that they label.
    opened.images.sort(key=lambda image: image.source.meta.kind == "labels")
    if inside.plates:
        opened.notes.append(
            f"{name}: plates are left out: {_some(_names_below(node, inside.plates))}"
        )
    if inside.arrays:
        opened.notes.append(
            f"{name}: arrays that belong to no OME-Zarr image are left out: "
            f"{_some(_names_below(node, inside.arrays))}"
        )


def _take_arrays(
    node: Node, inside: GroupContents, name: str, options: Options, opened: OpenedNode
) -> None:
    left_out: list[str] = []
    coordinates = _coordinate_names(node, inside.arrays)
    shown = []
    for array in inside.arrays:
        below = _below(node, array)
        if _is_coordinate(array, coordinates):
            left_out.append(f"{below} (coordinates)")
            continue
        try:
            shown.append(array_image(array, f"{name} {below}"))
        except SourceOpenError as err:
            left_out.append(f"{below} ({_short(str(err))})")
        else:
            opened.notes += packing_note(array.attributes, f"{name} {below}")
    shown = merged(shown, opened.notes)
    opened.notes += options.too_many(len(shown))
    opened.images = shown[: options.max_images]
    if left_out:
        opened.notes.append(f"{name}: left out: {_some(left_out)}")


def _coordinate_names(root: Node, arrays: Iterable[Node]) -> set[str]:
    """Return the names of arrays with coordinates of others, as xarray notes them."""
    names: set[str] = set()
    for node in (root, *arrays):
        text = node.attributes.get("coordinates")
        if isinstance(text, str):
            names.update(text.split())
    return names


def _is_coordinate(array: Node, names: set[str]) -> bool:
    """Return whether an array only holds the places of other arrays' pixels."""
    axes = array.attributes.get(XARRAY_NAMES) or array.metadata.get("dimension_names")
    last = array.path.rpartition("/")[2]
    return last in names or axes == [last]


def _short(error: str) -> str:
    """Return an error about an array without its path, which stands beside it."""
    for sign in (", but ", "cannot be opened: "):
        error = error.rpartition(sign)[2]
    return error


def _below(group: Node, node: Node) -> str:
    """Return the path of a node from a group above it."""
    return node.path.removeprefix(group.path).strip("/")


def _names_below(group: Node, nodes: Iterable[Node]) -> list[str]:
    return [_below(group, node) for node in nodes]


def _some(names: list[str]) -> str:
    text = ", ".join(names[:SOME])
    return f"{text} and {len(names) - SOME} more" if len(names) > SOME else text


def _nothing(node: Node, inside: GroupContents, opened: OpenedNode) -> str:
    """Return the message for a group with nothing to show."""
    if node.children() is None:
        return (
            "a Zarr group that does not list its contents, on a server that does not list files. "
            "Give the address of an array or image in it"
        )
    found = list(opened.notes)
    if inside.tables:
        found.append(f"tables: {_some(inside.tables)}")
    found += inside.broken[:3]
    found = found or ["no arrays" if inside.names else "an empty group"]
    return f"expected images or arrays with two dimensions or more, found {'; '.join(found)}"
