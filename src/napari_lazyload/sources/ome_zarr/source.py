"""What every reading needs: options, places and kinds of nodes, images of arrays, their table."""

from __future__ import annotations

import posixpath
import uuid
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.row_map import ONE_ROW
from napari_lazyload.sources.ome_zarr.tolerant import ome_of
from napari_lazyload.sources.opened import IMAGE
from napari_lazyload.sources.zarr.array import ZarrArray, open_array
from napari_lazyload.sources.zarr.location import STORE_SUFFIXES
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.metadata import ImageMeta, Kind
    from napari_lazyload.core.source import Chunk, ChunkKey
    from napari_lazyload.sources.ome_zarr.batched_metadata import Nodes
    from napari_lazyload.sources.opened import Columns, RowSource
    from napari_lazyload.sources.zarr.array import ZarrChunk
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
    by_place = names[-2:-1] == [LABELS] and not names[-1].lower().endswith(STORE_SUFFIXES)
    return "labels" if by_place or "image-label" in ome_of(node.attributes) else "image"


class ZarrSource:
    """One image, one row of the meta table.

    Parameters
    ----------
    arrays : sequence of ZarrArray
        One for each level, finest first.
    meta : ImageMeta
        Its levels have the grids of the arrays.
    added : tuple of int
        The axes, each of one pixel, that it has and the arrays do not.
    """

    def __init__(
        self, arrays: Sequence[ZarrArray], meta: ImageMeta, added: tuple[int, ...] = ()
    ) -> None:
        self.arrays = tuple(arrays)
        self.meta = meta
        self.added = added
        self.token = f"zarr-{uuid.uuid4().hex}"
        self.row_map = ONE_ROW

    @property
    def remote(self) -> bool:
        """Whether reads wait for a server."""
        return not self.arrays[0].store.is_local

    def chunk(self, level: int, index: BlockIndex) -> Chunk:
        """Return the reference to one chunk of the level's array."""
        if not self.added:
            return self.arrays[level].chunk(index)
        inner = tuple(place for axis, place in enumerate(index) if axis not in self.added)
        return ExpandedChunk(self.arrays[level].chunk(inner), self.added)


@dataclass(frozen=True, slots=True)
class ExpandedChunk:
    """A chunk with further axes of one pixel.

    Parameters
    ----------
    chunk : ZarrChunk
        The chunk without them.
    axes : tuple of int
        Their numbers.
    """

    chunk: ZarrChunk
    axes: tuple[int, ...]

    @property
    def path(self) -> str:
        """Path or URL of the file that holds it."""
        return self.chunk.path

    @property
    def key(self) -> ChunkKey:
        """See `Chunk`."""
        return self.chunk.key.derived("expanded", self.axes)

    def load(self) -> np.ndarray[Any, Any]:
        """See `Chunk`."""
        return np.expand_dims(self.chunk.load(), self.axes)


@dataclass(frozen=True, slots=True)
class ZarrImage:
    """An image, and its row of the meta table.

    Parameters
    ----------
    source : RowSource
        The image.
    path : str
        Within the store.
    """

    source: RowSource
    path: str

    @property
    def denied_keys(self) -> set[str]:
        """The chunks that a server keeps back."""
        if not isinstance(self.source, ZarrSource):
            return set()
        return set().union(*(array.denied_keys for array in self.source.arrays))

    @property
    def row(self) -> dict[str, Any]:
        """The columns of its row."""
        meta = self.source.meta
        arrays = self.source.arrays if isinstance(self.source, ZarrSource) else ()
        sizes = map(np.atleast_1d, meta.levels[0].grid.chunks)
        chunks = [max(axis.tolist(), default=0) for axis in sizes]
        letters = "".join(meta.axes)
        row: dict[str, Any] = {
            "path": self.path,
            "name": meta.name,
            "kind": meta.kind,
            "axes": (letters if len(letters) == len(meta.axes) else " ".join(meta.axes)),
            "shape": _times(meta.shape),
            "chunks": _times(chunks),
            "shards": "",
            "levels": len(meta.levels),
            "dtype": str(meta.dtype),
            "codec": "",
            "size_bytes": 0,
            "channels": ", ".join(filter(None, map(attrgetter("name"), meta.channels))),
        }
        for array in arrays[:1]:
            row |= {"dtype": array.stored_dtype, "codec": array.codec, "size_bytes": array.nbytes}
            row["shards"] = _times(array.shard_shape or ())
        return row


def _times(sizes: Any) -> str:
    return " x ".join(map(str, sizes))


@dataclass(slots=True)
class OpenedNode:
    """The images of one node.

    Parameters
    ----------
    images : list of ZarrImage
        In the order in which they are shown.
    notes : list of str
        Remarks for the user.
    """

    images: list[ZarrImage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, other: OpenedNode) -> None:
        """Add the images and notes of another node."""
        self.images += other.images
        self.notes += other.notes

    def take_all(self, results: Sequence[OpenedNode | SourceOpenError]) -> list[str]:
        """Add several nodes; return the errors of those that could not be opened."""
        errors = []
        for result in results:
            if isinstance(result, SourceOpenError):
                errors.append(str(result))
            else:
                self.take(result)
        return errors


# --- The columns of the meta table
# --------------------------------------------------------------------------------------------------


def image_columns(images: Sequence[ZarrImage]) -> Columns:
    """Return a row for each image, series or label image."""
    columns = columns_of([image.row for image in images])
    return {IMAGE: list(range(len(images))), **columns} if len(images) > 1 else columns


def columns_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return rows with the same names as columns."""
    columns: dict[str, Any] = {}
    for name in rows[0]:
        columns[name] = [row[name] for row in rows]
    return columns
