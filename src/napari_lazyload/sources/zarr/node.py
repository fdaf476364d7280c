"""The metadata of Zarr arrays and groups, versions 2 and 3, consolidated or not.

Local stores are asked for the files themselves, which cannot be out of date; servers for
consolidated metadata first, so that a cold open costs few round trips. What the one does not have,
the other may.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.zarr.store import AccessDeniedError, check_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_lazyload.sources.zarr.store import Store

    Outcomes = Mapping[str, bytes | ChunkReadError | None]

V3, ARRAY, GROUP, ATTRIBUTES, CONSOLIDATED = (
    "zarr.json",
    ".zarray",
    ".zgroup",
    ".zattrs",
    ".zmetadata",
)
FILES = (V3, ARRAY, GROUP, ATTRIBUTES, CONSOLIDATED)
"""The files that may describe one node; all are asked for at the same time."""


@dataclass(frozen=True, slots=True)
class Node:
    """One array or group.

    Parameters
    ----------
    store : Store
        Where it is.
    path : str
        Within the store, without slashes at the ends; "" for the root.
    kind : {"array", "group"}
        What it is.
    zarr_format : {2, 3}
        Version of the Zarr format.
    attributes : dict
        The user's attributes (``.zattrs``, or ``attributes`` in ``zarr.json``).
    metadata : dict
        ``.zarray``, ``.zgroup`` or ``zarr.json`` as it is, without consolidated metadata; empty
        where there is none.
    consolidated : mapping of str to Node
        All nodes that the consolidated metadata of this node or of one above tell of, by path
        within the store.
    denies_missing : bool
        Whether the server was seen to deny an anonymous user all that is not there. Then what it
        denies under this node counts as not there.
    """

    store: Store
    path: str
    kind: Literal["array", "group"]
    zarr_format: Literal[2, 3]
    attributes: dict[str, Any]
    metadata: dict[str, Any]
    consolidated: Mapping[str, Node] = field(default_factory=dict, repr=False, compare=False)
    denies_missing: bool = field(default=False, repr=False, compare=False)

    def join(self, name: str) -> str:
        """Return the path, within the store, of what is at `name` (which may have slashes) under this node.

        A name that leads out of the store, by ``..``, gives a path that nothing can be read at.
        """
        parts: list[str] = []
        for part in f"{self.path}/{name}".split("/"):
            if part == ".." and parts and parts[-1] != "..":
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        return "/".join(parts)

    def children(self) -> tuple[str, ...] | None:
        """Return the names right under a group, sorted; None where neither metadata nor the server tell them.

        A folder is listed, so that names of foreign files may be among them: :meth:`child` of such
        a name is None. A server is asked only where there is no consolidated metadata.

        Raises
        ------
        SourceOpenError
            If the folder cannot be listed.
        """
        prefix = f"{self.path}/" if self.path else ""
        under = (
            path.removeprefix(prefix)
            for path in self.consolidated
            if path and path.startswith(prefix)
        )
        known = {name.split("/", 1)[0] for name in under}
        if self.consolidated and not self.store.is_local:
            return tuple(sorted(known))
        try:
            listed = self.store.list_dir(self.path)
        except ChunkReadError as err:
            raise SourceOpenError(str(err), err.path) from err
        if listed is None:
            return None
        return tuple(sorted(known.union(name for name in listed if name not in FILES)))

    def child(self, name: str) -> Node | None:
        """Return the node at `name`, which may have slashes, under this one; None where there is none.

        Costs no request where consolidated metadata know it.

        Raises
        ------
        SourceOpenError
            If its metadata are broken or cannot be read.
        """
        return _or_raise(self.nodes([name])[name])

    def nodes(self, names: Iterable[str]) -> dict[str, Node | SourceOpenError | None]:
        """Return :meth:`child` of each name, in one round trip for all, with the error in the place of a broken one."""
        paths = {name: self.join(name) for name in names}
        known = self.consolidated
        asked = [path for path in paths.values() if self.store.is_local or path not in known]
        found = (
            read_nodes(self.store, asked, self.zarr_format, denies_missing=self.denies_missing)
            if asked
            else {}
        )
        return {name: self._hand_down(found.get(path), path) for name, path in paths.items()}

    def _hand_down(
        self, found: Node | SourceOpenError | None, path: str
    ) -> Node | SourceOpenError | None:
        """Return a node with what is known here of those under it; where it was not found, what the metadata say."""
        known = self.consolidated.get(path)
        if found is None:
            found = known
        elif known is not None and isinstance(found, Node) and not found.metadata:
            found = replace(known, attributes=found.attributes)
        if not isinstance(found, Node):
            return found
        denies = self.denies_missing or found.denies_missing
        return replace(
            found, consolidated=found.consolidated or self.consolidated, denies_missing=denies
        )


def _or_raise(found: Node | SourceOpenError | None) -> Node | None:
    if isinstance(found, SourceOpenError):
        raise found
    return found


def read_node(store: Store, path: str = "") -> Node | None:
    """Read the metadata at `path`, in one round trip; None where there is neither array nor group.

    Where there are both, version 3 counts. A folder with attributes alone counts as a group of
    version 2.

    Raises
    ------
    SourceOpenError
        If the metadata are broken (the message names the file and what is wrong), or cannot be
        read.
    """
    return _or_raise(read_nodes(store, [path])[path])


def read_nodes(
    store: Store,
    paths: Iterable[str],
    zarr_format: Literal[2, 3] | None = None,
    *,
    denies_missing: bool = False,
) -> dict[str, Node | SourceOpenError | None]:
    """Return :func:`read_node` of each path, in one round trip for all, with the error in the place of a broken one.

    Parameters
    ----------
    store : Store
        Where they are.
    paths : iterable of str
        Within the store.
    zarr_format : {2, 3}, optional
        The version alone that is looked for; what lies under one node is all of its version.
    denies_missing : bool
        Whether what an anonymous user is denied counts as not there; see `Node`.
    """
    wanted = {None: FILES, 2: FILES[1:], 3: FILES[:1]}[zarr_format]
    keys = {
        path: {name: f"{path.strip('/')}/{name}".lstrip("/") for name in wanted} for path in paths
    }
    found = store.outcomes(key for names in keys.values() for key in names.values())
    return {
        path: _try_make(
            store,
            path.strip("/"),
            {name: found[key] for name, key in names.items()},
            denies_missing,
        )
        for path, names in keys.items()
    }


def _try_make(
    store: Store, path: str, found: Outcomes, denies_missing: bool
) -> Node | SourceOpenError | None:
    try:
        learnt = _denies_missing(store, found)
        if denies_missing or learnt:
            found = {
                name: None if _is_denied(outcome) else outcome for name, outcome in found.items()
            }
        node = _make(store, path, found)
    except SourceOpenError as err:
        return err
    return node and replace(node, denies_missing=denies_missing or learnt)


def _is_denied(outcome: bytes | ChunkReadError | None) -> bool:
    return isinstance(outcome, AccessDeniedError)


def _denies_missing(store: Store, found: Outcomes) -> bool:
    """Return whether a server seems to deny an anonymous user what is not there, as those do that let nobody list.

    So it is where the node itself was found, others of its files were denied, and none was said not
    to be there.
    """
    there = any(isinstance(found.get(name), bytes) for name in (V3, ARRAY, GROUP))
    return (
        store.anonymous
        and there
        and None not in found.values()
        and any(map(_is_denied, found.values()))
    )


def _make(store: Store, path: str, found: Outcomes) -> Node | None:
    """Return the node that the files describe, each given as bytes, as an error, or as None where it is not there."""
    for name in (V3, ARRAY, GROUP):
        if isinstance(found.get(name), bytes):
            break
    else:
        name = ATTRIBUTES if isinstance(found.get(ATTRIBUTES), bytes) else ""
    _refuse_errors(found)
    prefix = f"{path}/" if path else ""
    if name == V3:
        return _node_v3(store, path, _parse(found[V3], store.address(prefix + V3)))
    consolidated = _consolidated_v2(store, path, found.get(CONSOLIDATED))
    node = consolidated.pop(path, None)
    if name in (ARRAY, GROUP):
        metadata = _parse(found[name], store.address(prefix + name))
        _check_format(metadata, 2, store.address(prefix + name))
        kind: Literal["array", "group"] = "array" if name == ARRAY else "group"
        node = Node(
            store, path, kind, 2, {} if node is None else node.attributes, metadata, consolidated
        )
    elif name and node is None:
        node = Node(store, path, "group", 2, {}, {}, consolidated)
    if node is not None and found[ATTRIBUTES] is not None:
        node = replace(
            node, attributes=_parse(found[ATTRIBUTES], store.address(prefix + ATTRIBUTES))
        )
    return node


def _refuse_errors(found: Outcomes) -> None:
    """Raise the error of a file that matters; consolidated metadata do not."""
    for name, outcome in found.items():
        if isinstance(outcome, ChunkReadError) and name != CONSOLIDATED:
            raise SourceOpenError(str(outcome), outcome.path) from outcome


def _parse(data: bytes | ChunkReadError | None, address: str) -> dict[str, Any]:
    """Return a JSON object; NaN and the infinities, which strict JSON lacks, are taken too."""
    if not isinstance(data, bytes):
        msg = f"{address}: there is no such file"
        raise SourceOpenError(msg, address)
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as err:
        start = data[:40].decode("utf-8", "replace")
        hint = (
            ". It is a pointer of Git LFS: fetch the files themselves"
            if data.startswith(b"version http")
            else ""
        )
        msg = f"{address}: expected JSON, found {start!r}... ({err}){hint}"
        raise SourceOpenError(msg, address) from err
    if not isinstance(value, dict):
        msg = (
            f"{address}: expected a JSON object with names and values, found {type(value).__name__}"
        )
        raise SourceOpenError(msg, address)
    return value


def _check_format(metadata: Mapping[str, Any], expected: int, address: str) -> None:
    found = metadata.get("zarr_format")
    if found != expected:
        msg = f'{address}: expected Zarr version {expected}, found "zarr_format": {found!r}, which is not known here'
        raise SourceOpenError(msg, address)


def _attributes(value: Any, address: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{address}: expected attributes with names and values, found {type(value).__name__}"
        raise SourceOpenError(msg, address)
    return value


def _node_v3(store: Store, path: str, metadata: dict[str, Any], *, nested: bool = False) -> Node:
    address = store.address(f"{path}/{V3}".lstrip("/"))
    _check_format(metadata, 3, address)
    kind = metadata.get("node_type")
    if kind not in ("array", "group"):
        msg = f'{address}: expected "node_type": "array" or "group", found {kind!r}'
        raise SourceOpenError(msg, address)
    attributes = _attributes(metadata.get("attributes") or {}, address)
    listed = metadata.get("consolidated_metadata")
    metadata = {name: value for name, value in metadata.items() if name != "consolidated_metadata"}
    known = listed.get("metadata") if isinstance(listed, dict) and not nested else None
    consolidated = _consolidated_v3(store, path, known) if isinstance(known, dict) else {}
    return Node(store, path, kind, 3, attributes, metadata, consolidated)


def _consolidated_v3(store: Store, path: str, known: Mapping[str, Any]) -> dict[str, Node]:
    """Return the nodes of inline consolidated metadata; a broken one is left to be read itself."""
    nodes: dict[str, Node] = {}
    for name, metadata in known.items():
        where = f"{path}/{name}".strip("/")
        if isinstance(metadata, dict) and _is_key(where):
            node = _try(
                lambda where=where, metadata=metadata: _node_v3(store, where, metadata, nested=True)
            )
            if node is not None:
                nodes[where] = node
    return _linked(nodes)


def _consolidated_v2(
    store: Store, path: str, data: bytes | ChunkReadError | None
) -> dict[str, Node]:
    """Return the nodes of a ``.zmetadata``, that of its own folder too; what is broken is left to be read itself."""
    try:
        known = _parse(data, CONSOLIDATED).get("metadata")
    except SourceOpenError:
        return {}
    folders: dict[str, dict[str, Any]] = {}
    for key, value in (known if isinstance(known, dict) else {}).items():
        folder, _, name = key.rpartition("/")
        if name in FILES and isinstance(value, dict):
            folders.setdefault(folder, {})[name] = value
    nodes: dict[str, Node] = {}
    for folder, files in folders.items():
        where = f"{path}/{folder}".strip("/")
        metadata = (
            files.get(ARRAY) or files.get(GROUP) or {"zarr_format": 2}
        )  # attributes alone: a group
        if (where == path or _is_key(where)) and metadata.get("zarr_format") == 2:
            kind: Literal["array", "group"] = "array" if ARRAY in files else "group"
            nodes[where] = Node(store, where, kind, 2, files.get(ATTRIBUTES, {}), metadata)
    return _linked(nodes)


def _is_key(path: str) -> bool:
    try:
        check_key(path)
    except ChunkReadError:
        return False
    return True


def _try(make: Any) -> Node | None:
    try:
        node: Node = make()
    except SourceOpenError:
        return None
    return node


def _linked(nodes: dict[str, Node]) -> dict[str, Node]:
    """Return the nodes, each of which knows all of them."""
    linked: dict[str, Node] = {}
    for path, node in nodes.items():
        linked[path] = replace(node, consolidated=linked)
    return linked
