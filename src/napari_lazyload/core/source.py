"""What every format gives: metadata, and a small reference to each chunk.

A source never reads pixels when it is made. It hands out *chunk references*: small, immutable,
picklable objects that are complete in themselves, so that another process reads one without the
source. Everything that reads (the cache, the dask levels, crops, batches) knows `Source` and
`Chunk` alone.

What only some sources can do is an *ability*: a protocol here, and a function beside it that asks
for it. Nobody else looks whether a source has a method, so that a derived source knows what to
forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np

    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.core.metadata import ImageMeta


@dataclass(frozen=True, slots=True)
class ChunkKey:
    """What a decoded chunk is cached under: equal keys mean equal pixels.

    Parameters
    ----------
    file : str
        Absolute path or address of the file that holds the chunk; of a store, that of the array or
        image in it. Who closes a file frees the chunks whose key names it.
    stamp : Hashable
        What tells a replaced file from the old one, such as its size and time of change.
    part : Hashable
        Which pixels of the file they are, and what was done to them.
    """

    file: str
    stamp: Hashable
    part: Hashable
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A key is looked up several times for each view, and a part may name a thousand chunks.
        object.__setattr__(self, "_hash", hash((self.file, self.stamp, self.part)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process hashes strings differently.
        return (ChunkKey, (self.file, self.stamp, self.part))

    def derived(self, *how: Hashable) -> ChunkKey:
        """Return the key of what is made from the chunk."""
        return ChunkKey(self.file, self.stamp, (*how, self.part))


def joined_key(keys: list[ChunkKey], *how: Hashable) -> ChunkKey:
    """Return the key of what is made from several chunks, under the file of the first one."""
    return ChunkKey(keys[0].file, keys[0].stamp, (*how, *keys))


class Chunk(Protocol):
    """A reference to one chunk of one level.

    Both members may be used from any thread and from any process, several at a time, in any order.
    """

    @property
    def key(self) -> ChunkKey:
        """What the decoded chunk is cached under.

        Looking it up may touch the file system, but reads no pixel.

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


@runtime_checkable
class Source(Protocol):
    """One image of one format.

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


# --- abilities of some chunks


class BoxReader(Protocol):
    """A box of a level that can be read straight into an array."""

    @property
    def is_raw_layout(self) -> bool:
        """Whether its bytes are its pixels in long runs: to read again costs next to nothing."""

    def load_into(self, target: np.ndarray[Any, Any]) -> None:
        """Fill an array of the box's shape, with any strides, of any type that the pixels cast to.

        Raises
        ------
        ChunkReadError
            If it cannot be read; `target` may be partly filled.
        """


class DivisibleChunk(Protocol):
    """A chunk of which a part can be read without the rest."""

    def sub_chunk(self, box: Box) -> BoxReader:
        """Return what reads a box, given in pixels of the chunk."""


class DeferredChunk(Protocol):
    """A chunk for whose key metadata must be read first."""

    @property
    def ready(self) -> bool:
        """Whether that was done."""


class FileChunk(Protocol):
    """A chunk that one file holds."""

    @property
    def path(self) -> str:
        """Path or address, for messages."""


def sub_chunk(chunk: Chunk, box: Box) -> BoxReader | None:
    """Return what reads a box of a `DivisibleChunk`; None of another one."""
    if not hasattr(chunk, "sub_chunk"):
        return None
    return cast("DivisibleChunk", chunk).sub_chunk(box)


def is_ready(chunk: Chunk) -> bool:
    """Whether the key of a chunk is found without waiting; not that of some `DeferredChunk`."""
    return not hasattr(chunk, "ready") or cast("DeferredChunk", chunk).ready


def path_of(chunk: Chunk) -> str:
    """Return the path of a `FileChunk`; "" of another one."""
    return cast("FileChunk", chunk).path if hasattr(chunk, "path") else ""


# --- abilities of some sources


class RemoteSource(Protocol):
    """A source that may wait for a server."""

    @property
    def remote(self) -> bool:
        """Whether it does."""


class BoxSource(Protocol):
    """A source whose pixels can be read without decoding whole chunks."""

    def box_reader(self, level: int, box: Box) -> BoxReader | None:
        """Return what reads a box of a level; None where it is better read in chunks."""


class StridedSource(Source, Protocol):
    """A source that reads every k-th pixel without the others, in chunks of any form."""

    def rechunked(self, chunks: Any) -> Any:
        """Return the same image, a source of the same class, read in other chunks.

        Raises
        ------
        ValueError
            If the chunks do not suit the shape.
        """

    def with_strided_levels(self) -> Source:
        """Return the same image with the coarse levels of `napari_lazyload.core.coarse_levels`."""


class FileSource(Protocol):
    """A source whose pixels lie in files of this machine."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Absolute paths."""


class DerivedSource(Protocol):
    """A source made from another one, chunk by chunk or with more levels.

    Attributes
    ----------
    original : Source
        The other one.
    status_token : str
        Under which the load status keeps its chunks: the original's.
    """

    original: Source
    status_token: str


def is_remote(source: Source) -> bool:
    """Return whether the reads of a source wait for a server; see `RemoteSource`."""
    return hasattr(source, "remote") and cast("RemoteSource", source).remote


def box_reader(source: Source, level: int, box: Box) -> BoxReader | None:
    """Return what reads a box of a `BoxSource`; None where it is read in chunks."""
    if not hasattr(source, "box_reader"):
        return None
    return cast("BoxSource", source).box_reader(level, box)


def as_strided(source: Source) -> StridedSource | None:
    """Return a source that is a `StridedSource`, None for another one."""
    if not hasattr(source, "with_strided_levels"):
        return None
    return cast("StridedSource", source)


def paths_of(source: Source) -> tuple[str, ...]:
    """Return the files of a `FileSource`, or of the one it is derived from; () of another."""
    source = original_of(source)
    return cast("FileSource", source).paths if hasattr(source, "paths") else ()


def original_of(source: Source) -> Source:
    """Return what a `DerivedSource` was made from, at the end of the chain; another one itself."""
    while hasattr(source, "original"):
        source = cast("DerivedSource", source).original
    return source


def status_token(source: Source) -> str:
    """Return the token under which the load status keeps the chunks of a source."""
    if hasattr(source, "status_token"):
        return cast("DerivedSource", source).status_token
    return source.token
