"""Nodes of a store: where they are, what they are, what a user may choose of them."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.tolerant import ome_of
from napari_lazyload.sources.zarr.array import ZarrArray, open_array
from napari_lazyload.sources.zarr.location import STORE_SUFFIXES

if TYPE_CHECKING:
    from napari_lazyload.core.metadata import Kind
    from napari_lazyload.sources.ome_zarr.batched_metadata import Nodes
    from napari_lazyload.sources.zarr.node import Node

LABELS = "labels"
SOME = 3
"""So many errors of one kind are told in full."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose.

    Parameters
    ----------
    system : str, optional
        Coordinate system to place images in, for stores of version 0.6 that have several.
    acquisition : int or str, optional
        Of a plate: number or name of the acquisition to open alone.
    labels : bool
        Whether the labels of an image are opened with it.
    max_images : int
        More images than this are not made from one path.
    """

    system: str | None = None
    acquisition: int | str | None = None
    labels: bool = True
    max_images: int = 64

    def __post_init__(self) -> None:
        """Refuse a limit that leaves nothing."""
        if not isinstance(self.max_images, int) or self.max_images < 1:
            msg = f"max_images must be a whole number from 1 on, got {self.max_images!r}"
            raise ValueError(msg)

    def too_many(self, count: int) -> list[str]:
        """Return what to say where there are more images than are opened."""
        if count <= self.max_images:
            return []
        return [
            f"{count} images are here, of which the first {self.max_images} are opened; open one by its path, or more "
            "with max_images="
        ]


def where_is(node: Node) -> str:
    """Return the full path or address of a node, for messages."""
    return node.store.address(node.path) if node.path else node.store.root


def place(node: Node, path: str) -> str:
    """Return where a path from a node leads, within the store.

    Raises
    ------
    SourceOpenError
        If it leads out of the store.
    """
    joined = posixpath.normpath(posixpath.join("/", node.path, path.strip("/")))
    outside = posixpath.normpath(posixpath.join(node.path, path.strip("/"))).startswith("..")
    if outside or "\\" in path:
        msg = f"{where_is(node)}: {path!r} leads out of the store; expected a path below it"
        raise SourceOpenError(msg, where_is(node))
    return joined.strip("/")


def array_at(nodes: Nodes, path: str) -> ZarrArray:
    """Return the array at a path.

    Raises
    ------
    SourceOpenError
        If there is none, or it cannot be opened; the message is about the array alone.
    """
    node = nodes.get(path)
    if isinstance(node, SourceOpenError):
        raise node
    if node is None or node.kind != "array":
        msg = f"there is {'no array' if node is None else 'a group, no array,'} at {path!r}"
        raise SourceOpenError(msg, path)
    return open_array(node.store, node)


def kind_of(node: Node) -> Kind:
    """Return whether a node with ``multiscales`` is an image or labels, by its attributes or its place."""
    names = f"{node.store.root}/{node.path}".replace("\\", "/").rstrip("/").split("/")
    # A store of its own, in a folder that happens to be called so, is told by its attributes alone.
    by_place = (
        len(names) > 1 and names[-2] == LABELS and not names[-1].lower().endswith(STORE_SUFFIXES)
    )
    return "labels" if by_place or "image-label" in ome_of(node.attributes) else "image"
