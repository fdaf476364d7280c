"""The metadata of Zarr arrays and groups, versions 2 and 3, consolidated or not.

Local stores are read file by file, for that cannot be out of date. Servers are asked for
consolidated metadata first, so that a cold open costs few round trips. Each may have nodes that the
other lacks.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.zarr.store import AccessDeniedError, is_key, open_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_lazyload.sources.zarr.store import Store

    Outcomes = Mapping[str, bytes | ChunkReadError | None]

FILES = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
"""The files that may describe one node; all are requested at the same time."""
V3, ARRAY, GROUP, ATTRIBUTES, CONSOLIDATED = FILES


@dataclass(frozen=True, slots=True)
class Node:
    """One array or group.

    Parameters
    ----------
    store : Store
        The store that it is in.
    path : str
        Within the store, without slashes at the ends; "" for the root.
    kind : {"array", "group"}
        Whether it is an array.
    zarr_format : {2, 3}
        Version of the Zarr format.
    attributes : dict
        The user's attributes (``.zattrs``, or ``attributes`` in ``zarr.json``).
    metadata : dict
        The content of ``.zarray``, ``.zgroup`` or ``zarr.json``, without consolidated metadata;
        empty where there is none.
    consolidated : mapping of str to Node
        All nodes in the consolidated metadata of this node or of one above, by path within the
        store.
    denies_missing : bool
        Whether the server was seen to deny an anonymous user every file that is not there. Then a
        denied file under this node counts as not there.
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
        """Return the path, within the store, of a name under this node; it may have slashes.

        A name that leads out of the store, by ``..``, gives a path that no store reads.
        """
        parts: list[str] = []
        for part in f"{self.path}/{name}".split("/"):
            if part == ".." and parts and parts[-1] != "..":
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        return "/".join(parts)

    def children(self) -> tuple[str, ...] | None:
        """Return the sorted names under a group; None where neither metadata nor server know them.

        A folder is listed, so names of foreign files may be among them: :meth:`child` of such a
        name is None. A server is asked only where there is no consolidated metadata.

        Raises
        ------
        SourceOpenError
            If the folder cannot be listed.
        """
        prefix = f"{self.path}/".lstrip("/")
        below = [path for path in self.consolidated if path and path.startswith(prefix)]
        known = {path.removeprefix(prefix).split("/", 1)[0] for path in below}
        if self.consolidated and not self.store.is_local:
            return tuple(sorted(known))
        try:
            listed = self.store.list_dir(self.path)
        except ChunkReadError as err:
            raise SourceOpenError(str(err), err.path) from err
        if listed is None:
            return None
        return tuple(sorted(known.union(listed).difference(FILES)))

    def numbered_children(self) -> list[str]:
        """Return the names under a group that are whole numbers, by their size."""
        return sorted(filter(str.isdigit, self.children() or ()), key=int)

    def child(self, name: str) -> Node | None:
        """Return the node at `name`, which may have slashes, under this one; None for no node.

        Costs no request where consolidated metadata know it.

        Raises
        ------
        SourceOpenError
            If its metadata are broken or cannot be read.
        """
        return _or_raise(self.nodes([name])[name])

    def nodes(self, names: Iterable[str]) -> dict[str, Node | SourceOpenError | None]:
        """Return :meth:`child` of each name, in one round trip for all; errors are not raised."""
        paths = {name: self.join(name) for name in names}
        known = self.consolidated
        asked = [path for path in paths.values() if self.store.is_local or path not in known]
        found = read_nodes(self.store, asked, self.zarr_format, denies_missing=self.denies_missing)
        return {name: self._hand_down(found.get(path), path) for name, path in paths.items()}

    def _hand_down(
        self, found: Node | SourceOpenError | None, path: str
    ) -> Node | SourceOpenError | None:
        """Return a node with the consolidated metadata of this one, which may also replace it."""
        known = self.consolidated.get(path)
        if found is None:
            found = known
        elif known is not None and isinstance(found, Node) and not found.metadata:
            found = replace(known, attributes=found.attributes)
        if not isinstance(found, Node):
            return found
        return replace(
            found,
            consolidated=found.consolidated or self.consolidated,
            denies_missing=self.denies_missing or found.denies_missing,
        )


def _or_raise(found: Node | SourceOpenError | None) -> Node | None:
    if isinstance(found, SourceOpenError):
        raise found
    return found


def read_node(store: Store, path: str = "") -> Node | None:
    """Read the metadata at `path`, in one round trip; None where there is neither array nor group.

    Version 3 comes first where there are both. A folder with attributes alone counts as a group of
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
    """Return :func:`read_node` of each path, in one round trip for all; errors are not raised.

    Parameters
    ----------
    store : Store
        The store that they are in.
    paths : iterable of str
        Within the store.
    zarr_format : {2, 3}, optional
        The version of the node above. Files of the other one are looked for where there is none of
        this one, and on servers, where each costs a request, only for labels: other programs add
        them.
    denies_missing : bool
        Whether a file that an anonymous user is denied counts as not there; see `Node`.
    """
    wanted = {path: path.strip("/") for path in paths}
    if not wanted:
        return {}
    of_version = {None: FILES, 2: FILES[1:], 3: FILES[:1]}[zarr_format]
    names: dict[str, tuple[str, ...]] = {}
    for path in wanted.values():
        names[path] = FILES if "labels" in path.split("/") else of_version
    found = store.outcomes([_key(path, name) for path in names for name in names[path]])
    nodes = {}
    for path, inside in wanted.items():
        files = {name: found[_key(inside, name)] for name in names[inside]}
        nodes[path] = _try_make(store, inside, files, zarr_format, denies_missing=denies_missing)
    narrow = [path for path, inside in wanted.items() if names[inside] != FILES]
    missing = [path for path in narrow if nodes[path] is None]
    if missing and store.is_local:
        return nodes | read_nodes(store, missing)
    return nodes


def _key(path: str, name: str) -> str:
    return f"{path}/{name}".lstrip("/")


def _try_make(
    store: Store, path: str, found: Outcomes, version: int | None, *, denies_missing: bool
) -> Node | SourceOpenError | None:
    try:
        denies_missing |= _denies_missing(store, found)
        if denies_missing:
            missing = [name for name in found if isinstance(found[name], AccessDeniedError)]
            found = {**found, **dict.fromkeys(missing)}
        node = _make(store, path, found, version)
    except SourceOpenError as err:
        return err
    return node and replace(node, denies_missing=denies_missing)


def _denies_missing(store: Store, found: Outcomes) -> bool:
    """Return whether a server seems to deny files that are not there.

    Servers that let nobody list do so. It shows where the node itself was found, others of its
    files were denied, and none was said not to be there.
    """
    kinds = set(map(type, found.values()))
    described = any(isinstance(found.get(name), bytes) for name in (V3, ARRAY, GROUP))
    return (
        not store.is_local and described and AccessDeniedError in kinds and type(None) not in kinds
    )


def _make(store: Store, path: str, found: Outcomes, version: int | None) -> Node | None:
    """Return the node that the files describe; each is bytes, an error, or None for not there.

    Of nodes of both versions the one that says more is taken: an array, then one with attributes,
    then that of `version`.
    """
    _refuse_errors(found)
    nodes: list[Node | None] = []
    errors: list[SourceOpenError] = []
    for read in (_read_v3, _read_v2):
        try:
            nodes.append(read(store, path, found))
        except SourceOpenError as err:
            errors.append(err)
    read_nodes = list(filter(None, nodes))
    telling = [node for node in read_nodes if node.kind == "array" or node.attributes]
    if errors and not telling:
        raise errors[0]
    return max(
        read_nodes,
        key=lambda node: (
            node.kind == "array",
            bool(node.attributes),
            node.zarr_format == (version or 3),
        ),
        default=None,
    )


def _read_v3(store: Store, path: str, found: Outcomes) -> Node | None:
    if found.get(V3) is None:
        return None
    return _node_v3(store, path, _parse(found[V3], store.address(_key(path, V3))))


def _read_v2(store: Store, path: str, found: Outcomes) -> Node | None:
    files = (ARRAY, GROUP, ATTRIBUTES)
    present = [name for name in files if isinstance(found.get(name), bytes)]
    consolidated = _consolidated_v2(store, path, found.get(CONSOLIDATED))
    node = consolidated.pop(path, None)
    if ARRAY in present or GROUP in present:
        address = store.address(_key(path, present[0]))
        metadata = _parse(found[present[0]], address)
        _check_format(metadata, 2, address)
        kind: Literal["array", "group"] = "array" if ARRAY in present else "group"
        node = Node(store, path, kind, 2, node.attributes if node else {}, metadata, consolidated)
    elif present and node is None:
        node = Node(store, path, "group", 2, {}, {}, consolidated)
    if node is not None and ATTRIBUTES in present:
        address = store.address(_key(path, ATTRIBUTES))
        node = replace(node, attributes=_parse(found[ATTRIBUTES], address))
    return node


def _refuse_errors(found: Outcomes) -> None:
    """Raise the error of a file that matters; consolidated metadata do not.

    Nor do files of version 2 beside an array, or a group with attributes, of version 3.
    """
    spare = {CONSOLIDATED}
    described = found.get(V3)
    if isinstance(described, bytes) and (b'"array"' in described or b'"ome"' in described):
        spare |= {ARRAY, GROUP, ATTRIBUTES}
    for name, outcome in found.items():
        if isinstance(outcome, ChunkReadError) and name not in spare:
            raise SourceOpenError(str(outcome), outcome.path) from outcome


def _parse(data: bytes | ChunkReadError | None, address: str) -> dict[str, Any]:
    """Return a JSON object; NaN and the infinities, which strict JSON lacks, are allowed."""
    if not isinstance(data, bytes):
        raise open_error(address, "there is no such file")
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as err:
        text = f"expected JSON, found {data[:40].decode('utf-8', 'replace')!r}... ({err})"
        if data.startswith(b"version http"):
            text += ". It is a pointer of Git LFS: fetch the files themselves"
        raise open_error(address, text) from err
    return _object(value, address, "a JSON object")


def _object(value: Any, address: str, title: str) -> dict[str, Any]:
    """Return a value of a JSON file that must be an object."""
    if not isinstance(value, dict):
        raise open_error(
            address, f"expected {title} with names and values, found {type(value).__name__}"
        )
    return value


def _check_format(metadata: Mapping[str, Any], expected: int, address: str) -> None:
    if metadata.get("zarr_format") != expected:
        raise open_error(
            address,
            f'expected Zarr version {expected}, found "zarr_format": '
            f"{metadata.get('zarr_format')!r}, which is not known here",
        )


def _node_v3(store: Store, path: str, metadata: dict[str, Any], *, nested: bool = False) -> Node:
    address = store.address(_key(path, V3))
    _check_format(metadata, 3, address)
    kind = metadata.get("node_type")
    if kind not in ("array", "group"):
        raise open_error(address, f'expected "node_type": "array" or "group", found {kind!r}')
    attributes = _object(metadata.get("attributes") or {}, address, "attributes")
    metadata = dict(metadata)
    listed = metadata.pop("consolidated_metadata", None)
    known = listed.get("metadata") if isinstance(listed, dict) and not nested else None
    consolidated = _consolidated_v3(store, path, known) if isinstance(known, dict) else {}
    return Node(store, path, kind, 3, attributes, metadata, consolidated)


def _consolidated_v3(store: Store, path: str, known: Mapping[str, Any]) -> dict[str, Node]:
    """Return the nodes of inline consolidated metadata; broken ones are read by themselves."""
    nodes: dict[str, Node] = {}
    for name, metadata in known.items():
        where = f"{path}/{name}".strip("/")
        if isinstance(metadata, dict) and is_key(where):
            with suppress(SourceOpenError):
                nodes[where] = _node_v3(store, where, metadata, nested=True)
    return _linked(nodes)


def _consolidated_v2(
    store: Store, path: str, data: bytes | ChunkReadError | None
) -> dict[str, Node]:
    """Return the nodes of a ``.zmetadata`` and of its own folder; broken ones are left out."""
    try:
        known = _object(_parse(data, CONSOLIDATED).get("metadata"), CONSOLIDATED, "nodes")
    except SourceOpenError:
        return {}
    folders: dict[str, dict[str, Any]] = {}
    for key, value in known.items():
        folder, _, name = key.rpartition("/")
        if name in FILES and isinstance(value, dict):
            folders.setdefault(folder, {})[name] = value
    nodes: dict[str, Node] = {}
    for folder, files in folders.items():
        where = f"{path}/{folder}".strip("/")
        # Attributes alone make a group.
        metadata = files.get(ARRAY) or files.get(GROUP) or {"zarr_format": 2}
        if (where == path or is_key(where)) and metadata.get("zarr_format") == 2:
            kind: Literal["array", "group"] = "array" if ARRAY in files else "group"
            nodes[where] = Node(store, where, kind, 2, files.get(ATTRIBUTES, {}), metadata)
    return _linked(nodes)


def _linked(nodes: dict[str, Node]) -> dict[str, Node]:
    """Return the nodes, each with all of them as its consolidated metadata."""
    linked: dict[str, Node] = {}
    for path, node in nodes.items():
        linked[path] = replace(node, consolidated=linked)
    return linked
