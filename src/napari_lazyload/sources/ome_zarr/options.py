"""The options of a user, and the places and kinds of nodes."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.tolerant import ome_of
from napari_lazyload.sources.zarr.array import ZarrArray, open_array
from napari_lazyload.sources.zarr.location import STORE_SUFFIXES
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from napari_lazyload.core.metadata import Kind
    from napari_lazyload.sources.ome_zarr.batched_metadata import Nodes
    from napari_lazyload.sources.zarr.node import Node

LABELS = "labels"
SOME = 3
"""Most errors of one kind that are listed in full."""


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of a user.

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
            raise ValueError(
                f"max_images must be a whole number from 1 on, got {self.max_images!r}"
            )

    def too_many(self, count: int) -> list[str]:
        """Return the note, as a list, where there are more images than are opened."""
        if count <= self.max_images:
            return []
        return [
            f"{count} images are here, of which the first {self.max_images} are opened; open one "
            "by its path, or more with max_images="
        ]


def where_is(node: Node) -> str:
    """Return the full path or address of a node, for messages."""
    return node.store.address(node.path) if node.path else node.store.root


def place(node: Node, path: str) -> str:
    """Return the path within the store that a path from a node leads to.

    Raises
    ------
    SourceOpenError
        If it leads out of the store.
    """
    joined = posixpath.normpath(posixpath.join("/", node.path, path.strip("/")))
    outside = posixpath.normpath(posixpath.join(node.path, path.strip("/"))).startswith("..")
    if outside or "\\" in path:
        raise open_error(
            where_is(node), f"{path!r} leads out of the store; expected a path below it"
        )
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
        raise SourceOpenError(
            f"there is {'no array' if node is None else 'a group, no array,'} at {path!r}", path
        )
    return open_array(node.store, node)


def kind_of(node: Node) -> Kind:
    """Return the kind of a node with ``multiscales``, by its attributes or its place."""
    names = f"{node.store.root}/{node.path}".replace("\\", "/").rstrip("/").split("/")
    # For a store in a folder that happens to be called "labels", only the attributes count.
    is_store = names[-1].lower().endswith(STORE_SUFFIXES)
    by_place = names[-2:-1] == [LABELS] and not is_store
    return "labels" if by_place or "image-label" in ome_of(node.attributes) else "image"
