"""Some channels of an image, by name or number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.metadata import CHANNEL_AXIS, LevelMeta
from napari_lazyload.core.source import box_reader, is_ready, is_remote, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.core.source import BoxReader, Chunk, ChunkKey
    from napari_lazyload.sources.opened import RowSource


@dataclass(frozen=True, slots=True)
class ChannelChunk:
    """Some channels of a chunk that holds several.

    Parameters
    ----------
    chunk : Chunk
        The original, which does not enter the cache.
    axis : int
        Which axis the channels lie along.
    channels : tuple of int
        Which ones, counted from the start of the chunk.
    """

    chunk: Chunk
    axis: int
    channels: tuple[int, ...]

    @property
    def path(self) -> str:
        """Where the chunk is."""
        return path_of(self.chunk)

    @property
    def ready(self) -> bool:
        """Whether the key of the chunk can be found without waiting."""
        return is_ready(self.chunk)

    @property
    def key(self) -> ChunkKey:
        """Key of the chunk, and the channels."""
        return self.chunk.key.derived("channels", self.axis, self.channels)

    def load(self) -> np.ndarray[Any, Any]:
        """Read the chunk and keep the channels."""
        return np.ascontiguousarray(self.chunk.load().take(self.channels, self.axis))


class ChannelSource:
    """Some channels of another source.

    Neighbors that share a chunk of the file stay one chunk.

    Parameters
    ----------
    source : RowSource
        The original, with an axis ``"c"``.
    channels : sequence of int
        Which ones, in the order wanted.
    """

    def __init__(self, source: RowSource, channels: Sequence[int]) -> None:
        self.original = source
        self.row_map = source.row_map
        self._channels = tuple(channels)
        self._axis = source.meta.axes.index(CHANNEL_AXIS)
        # For each level and block along the axis: the block of the original, and which of its
        # channels.
        self._blocks = [self._blocks_of(level.grid, channels) for level in source.meta.levels]
        known = source.meta.channels
        self.meta = replace(
            source.meta,
            levels=tuple(map(self._level, source.meta.levels, self._blocks)),
            channels=tuple(known[channel] for channel in channels) if known else (),
        )
        self.token = f"{source.token}-c{','.join(map(str, channels))}"

    @property
    def remote(self) -> bool:
        """Of the original."""
        return is_remote(self.original)

    def box_reader(self, level: int, box: Box) -> BoxReader | None:
        """Return what reads a box, where its channels follow each other in the original."""
        start, stop = box[self._axis]
        channels = self._channels[start:stop]
        if not channels or channels != tuple(range(channels[0], channels[0] + len(channels))):
            return None
        along = (channels[0], channels[-1] + 1)
        whole = (*box[: self._axis], along, *box[self._axis + 1 :])
        return box_reader(self.original, level, whole)

    def _blocks_of(
        self, grid: ChunkGrid, channels: Sequence[int]
    ) -> list[tuple[int, tuple[int, ...]]]:
        def block_of(channel: int) -> int:
            return grid.block_range(self._axis, channel, channel + 1)[0]

        found = []
        for block, members in groupby(channels, block_of):
            start = grid.span(self._axis, block)[0]
            found.append((block, tuple(channel - start for channel in members)))
        return found

    def _level(self, level: LevelMeta, blocks: list[tuple[int, tuple[int, ...]]]) -> LevelMeta:
        shape, chunks = list(level.grid.shape), list(level.grid.chunks)
        _, offsets = zip(*blocks, strict=True)
        sizes = tuple(map(len, offsets))
        shape[self._axis], chunks[self._axis] = sum(sizes), sizes
        return replace(level, grid=ChunkGrid(tuple(shape), tuple(chunks)))

    def chunk(self, level: int, index: BlockIndex) -> Chunk:
        """Return the reference to one chunk of some channels."""
        grid = self.original.meta.levels[level].grid
        block, offsets = self._blocks[level][index[self._axis]]
        start, stop = grid.span(self._axis, block)
        chunk = self.original.chunk(level, (*index[: self._axis], block, *index[self._axis + 1 :]))
        if offsets == tuple(range(stop - start)):
            return chunk
        return ChannelChunk(chunk, self._axis, offsets)


def select_channels(source: RowSource, channels: Iterable[int | str] | int | str) -> RowSource:
    """Return the source of some channels alone.

    Raises
    ------
    ValueError
        If the image has no channel axis, or not that channel.
    """
    meta = source.meta
    if CHANNEL_AXIS not in meta.axes:
        axes = ", ".join(map(repr, meta.axes))
        raise ValueError(
            f"channels= needs an image with a channel axis 'c'; {meta.name!r} has the axes {axes}"
        )
    if isinstance(channels, str) or not isinstance(channels, Iterable):
        channels = [channels]
    wanted = list(channels)
    if not wanted:
        raise ValueError("channels= needs at least one channel, got none")
    count = meta.shape[meta.axes.index(CHANNEL_AXIS)]
    names = [channel.name for channel in meta.channels]
    return ChannelSource(source, [_number(channel, count, names) for channel in wanted])


def _number(channel: Any, count: int, names: list[str]) -> int:
    if isinstance(channel, str) and channel in names:
        return names.index(channel)
    is_number = isinstance(channel, (int, np.integer)) and not isinstance(channel, bool)
    if is_number and -count <= channel < count:
        return int(channel) % count
    known = f" or one of {', '.join(map(repr, names))}" if names else ""
    raise ValueError(f"a channel must be a number below {count}{known}, got {channel!r}")
