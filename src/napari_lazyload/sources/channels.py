"""Some channels of an image, by name or number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.metadata import LevelMeta

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Chunk, Source

CHANNEL_AXIS = "c"


@dataclass(frozen=True, slots=True)
class ChannelChunk:
    """One channel of a chunk that holds several."""

    chunk: Chunk
    axis: int
    channel: int

    @property
    def key(self) -> Hashable:
        """Key of the chunk, and the channel."""
        return ("converted", self.axis, self.channel, self.chunk.key)

    def load(self) -> np.ndarray[Any, Any]:
        """Read the chunk and keep one channel."""
        return np.ascontiguousarray(self.chunk.load().take([self.channel], self.axis))


class ChannelSource:
    """Some channels of another source, one chunk each.

    Parameters
    ----------
    source : Source
        The original, with an axis ``"c"``.
    channels : sequence of int
        Which ones, in the order wanted.
    """

    def __init__(self, source: Source, channels: Sequence[int]) -> None:
        self.original = source
        self._channels = tuple(channels)
        self._axis = source.meta.axes.index(CHANNEL_AXIS)
        self.meta = replace(source.meta, levels=tuple(self._level(level) for level in source.meta.levels))
        self.token = f"{source.token}-c{','.join(map(str, channels))}"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "original":  # not there yet while unpickling
            raise AttributeError(name)
        return getattr(self.original, name)

    def _level(self, level: LevelMeta) -> LevelMeta:
        shape, chunks = list(level.grid.shape), list(level.grid.chunks)
        shape[self._axis], chunks[self._axis] = len(self._channels), 1
        return LevelMeta(ChunkGrid(tuple(shape), tuple(chunks)), level.factors)

    def chunk(self, level: int, index: BlockIndex) -> Chunk:
        """Return the reference to one chunk of one channel."""
        grid = self.original.meta.levels[level].grid
        channel = self._channels[index[self._axis]]
        block = grid.block_range(self._axis, channel, channel + 1)[0]
        start, stop = grid.span(self._axis, block)
        chunk = self.original.chunk(level, (*index[: self._axis], block, *index[self._axis + 1 :]))
        return chunk if stop - start == 1 else ChannelChunk(chunk, self._axis, channel - start)


def select_channels(source: Source, channels: Sequence[int | str] | int | str) -> Source:
    """Return the source of some channels alone.

    Raises
    ------
    ValueError
        If the image has no channel axis, or not that channel.
    """
    meta = source.meta
    if CHANNEL_AXIS not in meta.axes:
        axes = ", ".join(map(repr, meta.axes))
        msg = f"channels= needs an image with a channel axis 'c'; {meta.name!r} has the axes {axes}"
        raise ValueError(msg)
    wanted = [channels] if isinstance(channels, (int, str)) else list(channels)
    count = meta.shape[meta.axes.index(CHANNEL_AXIS)]
    names = [str(name) for name in meta.metadata.get("channel_names", ())]
    return ChannelSource(source, [_number(channel, count, names) for channel in wanted])


def _number(channel: int | str, count: int, names: list[str]) -> int:
    if isinstance(channel, str) and channel in names:
        return names.index(channel)
    if not isinstance(channel, str) and -count <= channel < count:
        return channel % count
    known = f" or one of {', '.join(map(repr, names))}" if names else ""
    msg = f"a channel must be a number below {count}{known}, got {channel!r}"
    raise ValueError(msg)
