"""What every format gives: metadata, and a small reference to each chunk.

A source never reads pixels when it is made. It hands out *chunk references*: small, immutable,
picklable objects that are complete in themselves, so that another process reads one without the
source. Everything that reads (the cache, the dask levels, crops, batches) knows these two protocols
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.metadata import ImageMeta


class Chunk(Protocol):
    """A reference to one chunk of one level.

    Both members may be used from any thread and from any process, several at a time, in any order.
    """

    @property
    def key(self) -> Hashable:
        """What the decoded chunk is cached under.

        Equal keys mean equal pixels: the key holds whatever tells a replaced file from the old one
        (size and time of change). Looking it up may touch the file system, but reads no pixel.

        Raises
        ------
        ChunkReadError
            If the file is no longer there.
        """

    def load(self) -> np.ndarray[Any, Any]:
        """Read and decode the chunk.

        Returns
        -------
        numpy.ndarray
            A new C-contiguous array of exactly the chunk's shape in the grid and of the image's
            dtype.

        Raises
        ------
        ChunkReadError
            If it cannot be read, decodes to another shape or dtype, or the file was changed into
            something else.
        """


class BoxReader(Protocol):
    """A box of a level that can be read straight into an array: what ``piece(level, box)`` of some sources returns."""

    @property
    def is_raw_layout(self) -> bool:
        """Whether its bytes are its pixels and lie in long runs, so that reading them again costs next to nothing."""

    def load_into(self, target: np.ndarray[Any, Any]) -> None:
        """Fill an array of the box's shape, of any type that the image's can be cast to, and with any strides.

        Raises
        ------
        ChunkReadError
            If it cannot be read; `target` may be partly filled.
        """


def is_ready(chunk: Any) -> bool:
    """Return whether the key of a chunk can be told without waiting.

    A chunk for whose key metadata must be read first has an attribute ``ready``; one that wraps
    another has ``chunk``.
    """
    inner = getattr(chunk, "chunk", None)
    return bool(getattr(chunk, "ready", True)) and (inner is None or is_ready(inner))


@runtime_checkable
class Source(Protocol):
    """One image of one format.

    One whose reads wait for a server also has an attribute ``remote`` that is true. One whose
    pixels can be read without decoding whole chunks has a method ``piece(level, box)``, which
    returns a `BoxReader`, or None.

    Attributes
    ----------
    meta : ImageMeta
        Axes, levels with their chunk grids, dtype.
    token : str
        Names this source among all others of every process; equal after pickling.
    """

    meta: ImageMeta
    token: str

    def chunk(self, level: int, index: BlockIndex) -> Chunk:
        """Return the reference to one chunk; cheap, and reads nothing."""


def is_remote(source: Source) -> bool:
    """Return whether the reads of a source wait for a server."""
    return bool(getattr(source, "remote", False))
