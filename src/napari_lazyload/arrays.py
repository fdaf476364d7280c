"""The dask level that stays a box while it is sliced.

dask slices eagerly over every block that is kept, which a window onto 100,000 files cannot afford at each step of a
slider. A :class:`LazyArray` is a dask array that remembers the box of the level it stands for: a basic slice gives
another box, ``numpy.asarray`` reads the box through the chunk cache without a graph, and the graph itself (one
Blockwise layer of chunk references) is made only when somebody asks for it. Any other operation falls through to dask
and gives a plain dask array.
"""

from __future__ import annotations

import operator
import threading
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.blockwise import BlockwiseDep, BlockwiseDepDict, blockwise
from dask.highlevelgraph import HighLevelGraph

from napari_lazyload.core.chunks import Box, intersect
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading.box import read_box, read_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import BlockIndex

    Failed = Callable[[BlockIndex, ChunkReadError], Any]
    from napari_lazyload.core.source import Chunk, Source

viewer_asks: Callable[[LazyArray], Failed | None] | None = None
"""Where napari has no place for a display hook, the layers put a function here that tells an array whether the viewer
is asking (then unreadable chunks are blank, and the function's result hears of them) or anyone else (then they raise)."""

FROZEN_BLOCKS = 4096
"""A box of at most so many chunks pickles as their references alone; a larger one takes its source along."""


class _BoxBlocks(BlockwiseDep):
    """Yields ``(chunk reference, part of the chunk)`` for each block of a box; holds no block of its own."""

    produces_tasks = False

    def __init__(self, view: _View) -> None:
        self._view = view
        self._ranges = view.source.meta.levels[view.level].grid.block_ranges(view.box)
        self.numblocks = tuple(len(self._ranges[axis]) for axis in view.kept)

    def __getitem__(self, idx: BlockIndex) -> tuple[Chunk, tuple[slice | int, ...]]:
        view = self._view
        blocks = [span[0] for span in self._ranges]
        for axis, position in zip(view.kept, idx, strict=True):
            blocks[axis] = self._ranges[axis][position]
        index = tuple(blocks)
        bounds = view.source.meta.levels[view.level].grid.bounds(index)
        part = intersect(bounds, view.box)
        slices: list[slice | int] = [slice(a - base, b - base) for (a, b), (base, _) in zip(part, bounds, strict=True)]
        for axis in view.dropped:
            slices[axis] = part[axis][0] - bounds[axis][0]
        return view.source.chunk(view.level, index), tuple(slices)

    def __reduce__(self) -> tuple[Any, ...]:
        if np.prod(self.numblocks, dtype=float) > FROZEN_BLOCKS:
            return (_BoxBlocks, (self._view,))
        return (BlockwiseDepDict, ({idx: self[idx] for idx in np.ndindex(self.numblocks)}, self.numblocks))

    def __dask_tokenize__(self) -> Any:
        return self._view.token


class _View:
    """A box of one level, with the axes that an integer index dropped."""

    __slots__ = ("box", "dropped", "kept", "level", "on_error", "source", "token")

    def __init__(self, source: Source, level: int, box: Box, dropped: frozenset[int], on_error: str) -> None:
        self.source = source
        self.level = level
        self.box = box
        self.dropped = dropped
        self.on_error = on_error
        self.kept = tuple(axis for axis in range(len(box)) if axis not in dropped)
        self.token = ("lazyload-box", source.token, level, box, tuple(sorted(dropped)), on_error)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_View, (self.source, self.level, self.box, self.dropped, self.on_error))

    def read(self, failed: Failed | None = None) -> np.ndarray[Any, Any]:
        """Return the pixels; `failed` hears of unreadable chunks, whose pixels are zero."""
        if failed is None and self.on_error == "blank":
            failed = _ignore
        pixels = read_box(self.source, self.level, self.box, failed=failed)
        return pixels.reshape([stop - start for start, stop in (self.box[axis] for axis in self.kept)])

    def sliced(self, index: Any) -> _View | None:
        """Return the box that a basic index with step 1 selects, or None where the index is of another kind."""
        keys = list(index) if isinstance(index, tuple) else [index]
        if sum(key is Ellipsis for key in keys) > 1 or any(not _is_basic(key) for key in keys):
            return None
        if any(key is Ellipsis for key in keys):
            at = next(place for place, key in enumerate(keys) if key is Ellipsis)
            keys[at : at + 1] = [slice(None)] * (len(self.kept) - len(keys) + 1)
        if len(keys) > len(self.kept):
            return None
        box, dropped = list(self.box), set(self.dropped)
        for axis, key in zip(self.kept, keys, strict=False):
            start, stop = box[axis]
            if isinstance(key, slice):
                first, last, step = key.indices(stop - start)
                if step != 1 or last <= first:
                    return None
            else:
                first = operator.index(key)
                first += stop - start if first < 0 else 0
                if not 0 <= first < stop - start:
                    return None  # dask raises the IndexError that people know
                last = first + 1
                dropped.add(axis)
            box[axis] = (start + first, start + last)
        return _View(self.source, self.level, tuple(box), frozenset(dropped), self.on_error)


def _ignore(_index: BlockIndex, _error: ChunkReadError) -> None:
    """Leave the blank that stands for a chunk that cannot be read."""


def _is_basic(key: Any) -> bool:
    if key is Ellipsis or isinstance(key, slice):
        return True
    return hasattr(key, "__index__") and not isinstance(key, (bool, np.bool_, np.ndarray, da.Array))


def _read_block(block: tuple[Chunk, tuple[slice | int, ...]]) -> np.ndarray[Any, Any]:
    """Read one block: the task of every leaf."""
    return read_part(*block)


def _read_block_or_blank(
    block: tuple[Chunk, tuple[slice | int, ...]], dtype: np.dtype[Any], **_: Any
) -> np.ndarray[Any, Any]:
    """Read one block; zeros stand for one that cannot be read."""
    chunk, part = block
    try:
        return read_part(chunk, part)
    except ChunkReadError:
        return np.zeros([key.stop - key.start for key in part if isinstance(key, slice)], dtype)


class LazyArray(da.Array):  # type: ignore[misc] # dask has no type information
    """A box of one level of a source, as a dask array.

    Made by :func:`level_array`. Exact from any thread and any process. Pickles as a plain dask array.
    """

    __slots__ = ("_graph", "_lock", "_view")

    def __new__(cls, view: _View, chunks: tuple[tuple[int, ...], ...] | None = None) -> LazyArray:
        """Make the array of a view without its graph; `chunks` where the caller has them already."""
        self = object.__new__(cls)
        self._view = view
        self._graph = None
        self._lock = threading.Lock()
        self._name = "lazyload-" + tokenize(*view.token)
        if chunks is None:
            grid = view.source.meta.levels[view.level].grid
            chunks = tuple(grid.block_sizes(axis, *view.box[axis]) for axis in view.kept)
        self._chunks = chunks
        self._meta = np.empty((0,) * len(view.kept), view.source.meta.dtype)
        return self

    @property
    def dask(self) -> HighLevelGraph:
        """The graph: one Blockwise layer, made when first asked for."""
        with self._lock:
            if self._graph is None:
                self._graph = self._make_graph()
            return self._graph

    @dask.setter
    def dask(self, graph: HighLevelGraph) -> None:
        # dask's in-place assignment (x[...] = v) ends here: from now on this is a plain array.
        self._graph = graph
        self._view = None

    def _make_graph(self) -> HighLevelGraph:
        axes = tuple(range(self.ndim))
        blank = self._view.on_error == "blank"
        layer = blockwise(
            _read_block_or_blank if blank else _read_block,
            self._name,
            axes,
            _BoxBlocks(self._view),
            axes,
            numblocks={},
            **({"dtype": self.dtype} if blank else {}),
        )
        return HighLevelGraph({self._name: layer}, {self._name: set()})

    @property
    def source(self) -> Source | None:
        """Where the chunks come from; None once something was assigned into the array."""
        return None if self._view is None else self._view.source

    @property
    def level(self) -> int:
        """Number of the level that this is a box of."""
        return int(self._view.level)

    @property
    def box(self) -> Box:
        """The box within the level, along all axes of the level."""
        return self._view.box

    @property
    def kept_axes(self) -> tuple[int, ...]:
        """Which axes of the level the array has; an integer index dropped the others."""
        return self._view.kept

    def __getitem__(self, index: Any) -> da.Array:
        view = None if self._view is None else self._view.sliced(index)
        if view is None:
            return super().__getitem__(index)
        if view.box == self._view.box and view.dropped == self._view.dropped:
            return self
        kept = self._unchanged_chunks(view)
        return LazyArray(view, kept)

    def _unchanged_chunks(self, view: _View) -> tuple[tuple[int, ...], ...]:
        """Return the chunks of a part of this array, those of whole axes as they are (there may be a million)."""
        grid = view.source.meta.levels[view.level].grid
        mine = dict(zip(self._view.kept, self.chunks, strict=True))
        return tuple(
            mine[axis] if view.box[axis] == self._view.box[axis] else grid.block_sizes(axis, *view.box[axis])
            for axis in view.kept
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None, **kwargs: Any) -> np.ndarray[Any, Any]:
        """Read the box, through the chunk cache and in parallel, without a graph."""
        if self._view is None:
            return np.asarray(super().__array__(dtype, copy=copy, **kwargs))
        pixels = self._view.read(viewer_asks(self) if viewer_asks is not None else None)
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def read_tolerant(self, failed: Failed) -> np.ndarray[Any, Any]:
        """Return the pixels with zeros for chunks that cannot be read; `failed` hears of each (for display alone).

        Parameters
        ----------
        failed : callable
            Gets the index of the chunk in its level and the error.
        """
        return np.asarray(self) if self._view is None else self._view.read(failed)

    def copy(self) -> da.Array:
        """Return the array itself: it never changes."""
        return LazyArray(self._view, self.chunks) if self._view is not None else super().copy()


def level_array(source: Source, level: int = 0, *, on_error: str = "raise") -> LazyArray:
    """Return one level of a source as a dask array on the source's own chunk grid.

    Parameters
    ----------
    source : Source
        Where the chunks come from.
    level : int
        Which level; 0 is the finest.
    on_error : {"raise", "blank"}
        What an exact read of a chunk that cannot be read gives: `ChunkReadError`, or zeros.

    Returns
    -------
    LazyArray
    """
    grid = source.meta.levels[level].grid
    return LazyArray(_View(source, level, grid.full_box, frozenset(), on_error))

