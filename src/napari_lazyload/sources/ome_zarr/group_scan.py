"""A group that says nothing of itself: what is in it, image by image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.array_attributes import packing_note
from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, run_together
from napari_lazyload.sources.ome_zarr.images import level_places, read_image
from napari_lazyload.sources.ome_zarr.options import Options, kind_of, where_is
from napari_lazyload.sources.ome_zarr.plain_arrays import array_image
from napari_lazyload.sources.ome_zarr.plate import read_plate
from napari_lazyload.sources.ome_zarr.scale_groups import merged
from napari_lazyload.sources.ome_zarr.source import OpenedNode
from napari_lazyload.sources.ome_zarr.tolerant import multiscales_of, ome_of
from napari_lazyload.sources.zarr.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_lazyload.sources.ome_zarr.plate import OpenedPlate

MAX_DEPTH = 5
MOST_NODES = 2000
TABLES = ("anndata", "mudata", "MuData", "AnnData")
MAC_FOLDER = "__MACOSX"
"""What the Finder of macOS adds to zip files."""

SOME = 12
"""So many names are told of what was left out."""


@dataclass(slots=True)
class GroupContents:
    """What lies below a group."""

    images: list[Node] = field(default_factory=list)
    plates: list[Node] = field(default_factory=list)
    arrays: list[Node] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    names: int = 0


def read_group(node: Node, name: str, options: Options) -> MetadataRead:
    """Read the images below a group: those of OME-Zarr, or where there are none, a plate, or plain arrays.

    Returns a `OpenedNode`, or that of the plate.

    Raises
    ------
    SourceOpenError
        If there is nothing to show; the message says what was found.
    """
    if _is_table(node):
        kind = node.attributes["encoding-type"]
        msg = f"{where_is(node)}: expected images, found a table of {kind}, which is not shown here"
        raise SourceOpenError(msg, where_is(node))
    inside = yield from _look_inside(node)
    if (
        not (inside.images or inside.plates or inside.arrays or inside.broken)
        and node.store.is_local
    ):
        inside = yield from _look_inside(node, bare=True)
    if inside.plates and not inside.images:
        return (yield from _read_first_plate(node, inside, name, options))
    finding = OpenedNode()
    if inside.images:
        yield from _take_images(node, inside, name, options, finding)
    else:
        _take_arrays(node, inside, name, options, finding)
    finding.notes += [f"left out: {one}" for one in inside.broken[:SOME]]
    if not finding.images:
        raise SourceOpenError(_nothing(node, inside, finding), where_is(node))
    if inside.tables:
        finding.notes.append(f"{name}: tables are left out: {_some(inside.tables)}")
    return finding


def _is_table(node: Node) -> bool:
    return node.attributes.get("encoding-type") in TABLES


def _read_first_plate(
    node: Node, inside: GroupContents, name: str, options: Options
) -> MetadataRead:
    plate, *others = inside.plates
    finding: OpenedPlate = yield from read_plate(
        plate, f"{name} {_below(node, plate.path)}", options
    )
    if others:
        names = _some([_below(node, one.path) for one in others])
        finding.notes.append(f"{name}: one plate is opened at a time; others are at {names}")
    return finding


def read_image_or_inside(node: Node, name: str, options: Options) -> MetadataRead:
    """Read a group with ``multiscales``; where these lead to no arrays, as those of other conventions, what is in it.

    Raises
    ------
    SourceOpenError
        If there is nothing to show.
    """
    try:
        return (yield from read_image(node, name, options, kind=kind_of(node)))
    except SourceOpenError as err:
        nodes = yield level_places(node)
        if any(isinstance(one, Node) and one.kind == "array" for one in nodes.values()):
            raise
        try:
            finding = yield from read_group(node, name, options)
        except SourceOpenError:
            raise err from None
        finding.notes.append(
            f"{name}: it has no pyramid as OME-Zarr describes them, so that what is in it is shown: {err}"
        )
        return finding


def _look_inside(root: Node, *, bare: bool = False) -> MetadataRead:
    """Go through the groups below, a level at a time, down to images and arrays.

    With `bare`, folders without metadata count as groups: TensorStore and others write arrays
    alone.
    """
    inside = GroupContents()
    groups = [root]
    for _ in range(MAX_DEPTH):
        paths = [
            group.join(name)
            for group in groups
            for name in group.children() or ()
            if not name.startswith((".", MAC_FOLDER)) and not name.endswith(".json")
        ]
        inside.names += len(paths)
        if inside.names > MOST_NODES:
            inside.broken.append(
                f"what lies deeper: there are {inside.names} names; open a path in it"
            )
        if not paths or inside.names > MOST_NODES:
            break
        nodes = yield paths
        groups = []
        for path in paths:
            found = nodes.get(path)
            if found is None and bare:
                found = Node(root.store, path, "group", 2, {}, {})
            _sort_in(path, found, inside, groups)
    return inside


def _sort_in(
    path: str, found: Node | SourceOpenError | None, inside: GroupContents, groups: list[Node]
) -> None:
    if found is None:
        return
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
    node: Node, inside: GroupContents, name: str, options: Options, finding: OpenedNode
) -> MetadataRead:
    images = inside.images[: options.max_images]
    finding.notes += options.too_many(len(inside.images))
    readings = [
        read_image(one, f"{name} {_below(node, one.path)}", options, kind=kind_of(one))
        for one in images
    ]
    for result in (yield from run_together(readings)):
        if isinstance(result, SourceOpenError):
            inside.broken.append(str(result))
        else:
            finding.take(result)
    # Labels lie over what they label.
    finding.images.sort(key=lambda one: one.source.meta.kind == "labels")
    if inside.plates:
        finding.notes.append(
            f"{name}: plates are left out: {_some([_below(node, one.path) for one in inside.plates])}"
        )
    plain = [_below(node, one.path) for one in inside.arrays]
    if plain:
        finding.notes.append(
            f"{name}: arrays that belong to no OME-Zarr image are left out: {_some(plain)}"
        )


def _take_arrays(
    node: Node, inside: GroupContents, name: str, options: Options, finding: OpenedNode
) -> None:
    left: list[str] = []
    coordinates = _coordinates(node, inside.arrays)
    shown = []
    for one in inside.arrays:
        below = _below(node, one.path)
        if one.path in coordinates:
            left.append(f"{below} (coordinates)")
            continue
        try:
            shown.append(array_image(one, f"{name} {below}"))
        except SourceOpenError as err:
            left.append(f"{below} ({_short(str(err))})")
        else:
            note = packing_note(one.attributes)
            finding.notes += [f"{name} {below}: {note}"] if note else []
    shown = merged(shown, finding.notes)
    finding.notes += options.too_many(len(shown))
    finding.images = shown[: options.max_images]
    if left:
        finding.notes.append(f"{name}: left out: {_some(left)}")


def _coordinates(root: Node, arrays: Iterable[Node]) -> set[str]:
    """Return the paths of arrays that only tell where the pixels of others are, as xarray notes them."""
    arrays = list(arrays)
    named: set[str] = set()
    for one in (root, *arrays):
        said: Any = one.attributes.get("coordinates")
        named |= set(said.split()) if isinstance(said, str) else set()
    found = set()
    for one in arrays:
        own = one.attributes.get("_ARRAY_DIMENSIONS") or one.metadata.get("dimension_names") or []
        last = one.path.rpartition("/")[2]
        if last in named or own == [last]:
            found.add(one.path)
    return found


def _short(error: str) -> str:
    """Return an error about an array without its place, which is told beside."""
    for sign in (", but ", "cannot be opened: "):
        error = error.rpartition(sign)[2]
    return error


def _below(node: Node, path: str) -> str:
    return path.removeprefix(node.path).strip("/")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SOME} more" if len(names) > SOME else ""
    return ", ".join(names[:SOME]) + more


def _nothing(node: Node, inside: GroupContents, finding: OpenedNode) -> str:
    if node.children() is None:
        return (
            f"{where_is(node)}: a Zarr group that says nothing of what is in it, on a server that does not list files. "
            "Give the address of an array or image in it"
        )
    found = [*finding.notes]
    if inside.tables:
        found.append(f"tables: {_some(inside.tables)}")
    if inside.broken:
        found.append("; ".join(inside.broken[:3]))
    said = "; ".join(found) or ("no arrays" if inside.names else "an empty group")
    return f"{where_is(node)}: expected images or arrays with two dimensions or more, found {said}"
