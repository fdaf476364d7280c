"""A source that serves an array in memory and records what is read, for tests above the formats."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import BlockIndex, ChunkGrid, box_slices
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.core.row_map import ONE_ROW, RowMap
from napari_lazyload.core.source import ChunkKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Array = np.ndarray[Any, Any]

GATE_SECONDS = 30.0
"""After this time a chunk behind a gate fails, so that no test hangs."""


class RecordingSource:
    """Serve arrays chunk by chunk and count the loads.

    A copy in another process counts for itself and has no gate.

    Parameters
    ----------
    levels : numpy.ndarray or sequence of them
        The pixels. Several arrays are the levels of a pyramid, finest first.
    chunks : tuple
        Chunk sizes for each axis, as `ChunkGrid` takes them, the same for every level.
    axes : sequence of str, optional
        Axis names, slowest first; the end of ``t c z y x`` by default.
    factors : sequence of tuple of float, optional
        Level-0 pixels that a pixel of each level spans; the ratio of the shapes by default.
    failing : iterable of tuple of int
        Indices of chunks that cannot be read, in every level.
    gate : threading.Event, optional
        Each load waits until it is set.
    **meta
        More fields of `ImageMeta`: ``name``, ``kind``, ``scale``, ``translate``, ``units``, ...

    Attributes
    ----------
    loads : list of (int, tuple of int)
        Level and index of each load, in the order in which they began; failed ones too.
    started : threading.Event
        Set when the first load begins.
    failing : set of tuple of int
        May be changed while the source is in use.
    """

    def __init__(
        self,
        levels: Array | Sequence[Array],
        chunks: tuple[int | tuple[int, ...], ...],
        *,
        axes: Sequence[str] | None = None,
        factors: Sequence[tuple[float, ...]] | None = None,
        failing: Iterable[BlockIndex] = (),
        gate: threading.Event | None = None,
        **meta: Any,
    ) -> None:
        self.arrays: list[Array] = [levels] if isinstance(levels, np.ndarray) else list(levels)
        finest = self.arrays[0]
        if factors is None:
            factors = [_factors(finest, array) for array in self.arrays]
        grids = [ChunkGrid(array.shape, _fitting(chunks, array.shape)) for array in self.arrays]
        self.meta = ImageMeta(
            meta.pop("name", "recorded"),
            tuple(axes or "tczyx"[-finest.ndim :]),
            finest.dtype,
            tuple(map(LevelMeta, grids, factors)),
            **meta,
        )
        self.token = f"recording-{uuid.uuid4().hex}"
        self.row_map: RowMap = ONE_ROW
        self.failing = set(failing)
        self.gate = gate
        self.loads: list[tuple[int, BlockIndex]] = []
        self.started = threading.Event()

    def chunk(self, level: int, index: BlockIndex) -> RecordedChunk:
        """Return the reference to one chunk."""
        return RecordedChunk(self, level, tuple(index))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "gate": None, "started": None, "loads": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, started=threading.Event(), loads=[])


@dataclass(frozen=True, slots=True)
class RecordedChunk:
    """A chunk of a `RecordingSource`.

    Parameters
    ----------
    source : RecordingSource
        The source that made it.
    level : int
        Its level.
    index : tuple of int
        Its index in the grid of the level.
    """

    source: RecordingSource
    level: int
    index: BlockIndex

    @property
    def key(self) -> ChunkKey:
        """What it is cached under."""
        return ChunkKey(self.source.token, None, (self.level, self.index))

    def load(self) -> Array:
        """Record the load, wait at the gate, and return the pixels.

        Raises
        ------
        ChunkReadError
            If the index is in `failing`, or the gate stays shut.
        """
        source = self.source
        source.loads.append((self.level, self.index))
        source.started.set()
        path = f"{source.meta.name}/{self.level}/{'.'.join(map(str, self.index))}"
        if source.gate is not None and not source.gate.wait(GATE_SECONDS):
            msg = f"{path}: the gate was shut for {GATE_SECONDS:.0f} s"
            raise ChunkReadError(msg, path)
        if self.index in source.failing:
            msg = f"{path}: fails because the test says so"
            raise ChunkReadError(msg, path)
        bounds = source.meta.levels[self.level].grid.bounds(self.index)
        return np.array(source.arrays[self.level][box_slices(bounds)], order="C")


def _factors(finest: Array, level: Array) -> tuple[float, ...]:
    """Return the level-0 pixels that a pixel of a level spans; an axis may be empty."""
    sizes = zip(finest.shape, level.shape, strict=True)
    return tuple(max(size, 1) / max(level_size, 1) for size, level_size in sizes)


def _fitting(
    chunks: tuple[int | tuple[int, ...], ...], shape: Sequence[int]
) -> tuple[int | tuple[int, ...], ...]:
    """Return `chunks` with sizes no larger than the level."""
    fitting = list(chunks)
    for axis, (chunk, size) in enumerate(zip(chunks, shape, strict=True)):
        if isinstance(chunk, int):
            fitting[axis] = max(1, min(chunk, size))
    return tuple(fitting)
