"""An image whose levels are Zarr arrays, the result of reading a node, and its table."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.row_map import ONE_ROW
from napari_lazyload.sources.opened import IMAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.metadata import ImageMeta
    from napari_lazyload.core.source import Chunk
    from napari_lazyload.sources.opened import Columns, RowSource
    from napari_lazyload.sources.zarr.array import ZarrArray


class ZarrSource:
    """One image, one row of the meta table.

    Parameters
    ----------
    arrays : sequence of ZarrArray
        One for each level, finest first.
    meta : ImageMeta
        Its levels have the grids of the arrays.
    """

    def __init__(self, arrays: Sequence[ZarrArray], meta: ImageMeta) -> None:
        self.arrays = tuple(arrays)
        self.meta = meta
        self.token = f"zarr-{uuid.uuid4().hex}"
        self.row_map = ONE_ROW

    @property
    def remote(self) -> bool:
        """Whether reads wait for a server."""
        return not self.arrays[0].store.is_local

    def chunk(self, level: int, index: BlockIndex) -> Chunk:
        """Return the reference to one chunk of the level's array."""
        return self.arrays[level].chunk(index)


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
        axes = letters if len(letters) == len(meta.axes) else " ".join(meta.axes)
        row: dict[str, Any] = {
            "path": self.path,
            "name": meta.name,
            "kind": meta.kind,
            "axes": axes,
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
