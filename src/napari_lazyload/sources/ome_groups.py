"""A group that says nothing of itself: what is in it, image by image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_arrays import array_image
from napari_lazyload.sources.ome_image import read_image
from napari_lazyload.sources.ome_nodes import Options, kind_of, where_is
from napari_lazyload.sources.ome_reading import Reading, together
from napari_lazyload.sources.ome_source import Finding
from napari_lazyload.sources.ome_values import ome_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_lazyload.sources.zarr_node import Node

MAX_DEPTH = 5
MOST_NODES = 2000
TABLES = ("anndata", "mudata", "MuData", "AnnData")
SOME = 12
"""So many names are told of what was left out."""


@dataclass(slots=True)
class _Inside:
    """What lies below a group."""

    images: list[Node] = field(default_factory=list)
    arrays: list[Node] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    names: int = 0


def read_group(node: Node, name: str, options: Options) -> Reading:
    """Read the images below a group: those of OME-Zarr, or where there are none, plain arrays; returns a `Finding`.

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
    finding = Finding()
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


def _look_inside(root: Node) -> Reading:
    """Go through the groups below, a level at a time, down to images and arrays."""
    inside = _Inside()
    groups = [root]
    for _ in range(MAX_DEPTH):
        paths = [
            group.join(name)
            for group in groups
            for name in group.children() or ()
            if not name.startswith((".", "__")) and not name.endswith(".json")
        ]
        inside.names += len(paths)
        if inside.names > MOST_NODES:
            inside.broken.append(f"what lies deeper: there are {inside.names} names; open a path in it")
        if not paths or inside.names > MOST_NODES:
            break
        nodes = yield paths
        groups = []
        for path in paths:
            _sort_in(path, nodes.get(path), inside, groups)
    return inside


def _sort_in(path: str, found: Node | SourceOpenError | None, inside: _Inside, groups: list[Node]) -> None:
    if found is None:
        return
    if isinstance(found, SourceOpenError):
        inside.broken.append(str(found))
    elif found.kind == "array":
        inside.arrays.append(found)
    elif "multiscales" in ome_of(found.attributes):
        inside.images.append(found)
    elif _is_table(found):
        inside.tables.append(path)
    else:
        groups.append(found)


def _take_images(node: Node, inside: _Inside, name: str, options: Options, finding: Finding) -> Reading:
    images = inside.images[: options.max_images]
    finding.notes += options.too_many(len(inside.images))
    readings = [read_image(one, f"{name} {_below(node, one.path)}", options, kind=kind_of(one)) for one in images]
    for result in (yield from together(readings)):
        if isinstance(result, SourceOpenError):
            inside.broken.append(str(result))
        else:
            finding.take(result)
    # Labels lie over what they label.
    finding.images.sort(key=lambda one: one.source.meta.kind == "labels")
    plain = [_below(node, one.path) for one in inside.arrays]
    if plain:
        finding.notes.append(f"{name}: arrays that belong to no OME-Zarr image are left out: {_some(plain)}")


def _take_arrays(node: Node, inside: _Inside, name: str, options: Options, finding: Finding) -> None:
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


def _nothing(node: Node, inside: _Inside, finding: Finding) -> str:
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
