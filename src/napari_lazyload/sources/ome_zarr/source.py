"""An image whose levels are Zarr arrays, and what the readers of this kind find."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.row_map import ONE_ROW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.metadata import ImageMeta
    from napari_lazyload.core.source import Chunk
    from napari_lazyload.sources.opened import RowSource
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
    """An image, and what the meta table says of it.

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
        array: ZarrArray | None = (
            self.source.arrays[0] if isinstance(self.source, ZarrSource) else None
        )
        grid = meta.levels[0].grid
        return {
            "path": self.path,
            "name": meta.name,
            "kind": meta.kind,
            "axes": "".join(meta.axes)
            if all(len(axis) == 1 for axis in meta.axes)
            else " ".join(meta.axes),
            "shape": _times(meta.shape),
            "chunks": _times(
                size if isinstance(size, int) else max(size, default=0) for size in grid.chunks
            ),
            "shards": _times(array.shard_shape) if array is not None and array.shard_shape else "",
            "levels": len(meta.levels),
            "dtype": str(meta.dtype) if array is None else array.stored_dtype,
            "codec": "" if array is None else array.codec,
            "size_bytes": 0 if array is None else array.nbytes,
            "channels": ", ".join(channel.name for channel in meta.channels if channel.name),
        }


def _times(sizes: Any) -> str:
    return " x ".join(map(str, sizes))


@dataclass(slots=True)
class OpenedNode:
    """What one node gives.

    Parameters
    ----------
    images : list of ZarrImage
        In the order in which they are shown.
    notes : list of str
        What the user should know.
    """

    images: list[ZarrImage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, other: OpenedNode) -> None:
        """Add what another node gives."""
        self.images += other.images
        self.notes += other.notes
