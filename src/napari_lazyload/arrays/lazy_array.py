"""The dask level that stays a box while it is sliced.

dask slices eagerly over every block that is kept, which a window onto 100,000 files cannot afford
at each step of a slider. A :class:`LazyArray` is a dask array that remembers the box of the level
it stands for: a basic slice gives another box, ``numpy.asarray`` reads the box through the chunk
cache without a graph, and the graph itself (one Blockwise layer of chunk references) is made only
when somebody asks for it. Any other operation falls through to dask and gives a plain dask array.
"""

from __future__ import annotations

import hashlib
import operator
import sys
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import dask
import dask.array as da
import numpy as np
from dask.base import get_scheduler
from dask.blockwise import BlockwiseDep, BlockwiseDepDict, blockwise
from dask.callbacks import Callback
from dask.highlevelgraph import HighLevelGraph

from napari_lazyload.arrays.napari_callers import napari_is_slicing, napari_takes_the_coarsest
from napari_lazyload.core.chunks import Box, box_shape, box_slices, intersect
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.source import status_token
from napari_lazyload.loading import status
from napari_lazyload.loading.direct_read import read_alone
from napari_lazyload.loading.read_box import read_box, read_chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.source import Chunk, Source

    Failed = Callable[[BlockIndex, ChunkReadError], Any]

Block: TypeAlias = "tuple[Chunk, tuple[int, ...], tuple[slice | int, ...]]"
"""What a task reads: a chunk, its shape, and which part of it; an integer drops an axis."""

FROZEN_BLOCKS = 4096
"""A box of at most so many chunks pickles as their references alone; a larger one takes its source
along."""


class _BoxBlocks(BlockwiseDep):
    """Yields what to read for each block of a box; holds no block of its own."""

    produces_tasks = False

    def __init__(self, view: _View) -> None:
        self._view = view
        self._ranges = view.source.meta.levels[view.level].grid.block_ranges(view.box)
        self.numblocks = tuple(len(self._ranges[axis]) for axis in view.kept)

    def __getitem__(self, idx: BlockIndex) -> Block:
        view = self._view
        blocks = [span[0] for span in self._ranges]
        for axis, position in zip(view.kept, idx, strict=True):
            blocks[axis] = self._ranges[axis][position]
        index = tuple(blocks)
        bounds = view.source.meta.levels[view.level].grid.bounds(index)
        part: list[slice | int] = list(box_slices(intersect(bounds, view.box), bounds))
        for axis in view.dropped:
            part[axis] = view.box[axis][0] - bounds[axis][0]
        return view.source.chunk(view.level, index), box_shape(bounds), tuple(part)

    def __reduce__(self) -> tuple[Any, ...]:
        if prod(self.numblocks) > FROZEN_BLOCKS:
            return (_BoxBlocks, (self._view,))
        return (
            BlockwiseDepDict,
            ({idx: self[idx] for idx in np.ndindex(self.numblocks)}, self.numblocks),
        )

    def __dask_tokenize__(self) -> Any:
        return self._view.token


class _View:
    """A box of one level, with the axes that an integer index dropped."""

    __slots__ = ("box", "dropped", "kept", "level", "on_error", "source")

    def __init__(
        self, source: Source, level: int, box: Box, dropped: frozenset[int], on_error: str
    ) -> None:
        self.source = source
        self.level = level
        self.box = box
        self.dropped = dropped
        self.on_error = on_error
        self.kept = tuple(axis for axis in range(len(box)) if axis not in dropped)

    @property
    def token(self) -> tuple[Any, ...]:
        """What tells this view from all others."""
        return (
            "lazyload-box",
            self.source.token,
            self.level,
            self.box,
            tuple(sorted(self.dropped)),
            self.on_error,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (_View, (self.source, self.level, self.box, self.dropped, self.on_error))

    def read(self, failed: Failed | None = None) -> np.ndarray[Any, Any]:
        """Return the pixels; `failed` hears of unreadable chunks, whose pixels are zero."""
        if failed is None and self.on_error == "blank":
            failed = _ignore
        pixels = read_box(self.source, self.level, self.box, failed=failed)
        return pixels.reshape([pixels.shape[axis] for axis in self.kept])

    def stored(self) -> _View:
        """Return what a computed level was made from, where this is the whole of one."""
        levels = self.source.meta.levels
        shown = levels[self.level]
        if shown.steps is None or any(
            self.box[axis] != (0, shown.shape[axis]) for axis in self.kept
        ):
            return self
        level = shown.computed_from or 0
        whole = levels[level].grid.full_box
        box = tuple(
            pair if axis in self.dropped else whole[axis] for axis, pair in enumerate(self.box)
        )
        return _View(self.source, level, box, self.dropped, self.on_error)

    def sliced(self, index: Any) -> _View | None:
        """Return the box that a basic index with step 1 selects, or None where the index is of another kind."""
        keys = list(index) if isinstance(index, tuple) else [index]
        dots = [place for place, key in enumerate(keys) if key is Ellipsis]
        if dots:
            keys[dots[0] : dots[0] + 1] = [slice(None)] * (len(self.kept) - len(keys) + 1)
        if len(keys) > len(self.kept):
            return None
        box, dropped = list(self.box), set(self.dropped)
        for axis, key in zip(self.kept, keys, strict=False):
            start, stop = box[axis]
            span = _span(key, stop - start)
            if span is None:
                return None
            box[axis] = (start + span[0], start + span[1])
            if not isinstance(key, slice):
                dropped.add(axis)
        return _View(self.source, self.level, tuple(box), frozenset(dropped), self.on_error)


def _span(key: Any, size: int) -> tuple[int, int] | None:
    """Return which pixels of an axis a slice or an integer selects, or None where dask shall see to it."""
    try:
        if isinstance(key, slice):
            first, last, step = key.indices(size)
            return (first, last) if step == 1 and first < last else None
        if isinstance(
            key, (bool, np.bool_, da.Array)
        ):  # a mask; an array of one number, which this would compute
            return None
        position = operator.index(key)
    except (
        TypeError,
        ValueError,
    ):  # a second ellipsis, a list, a slice of floats, an array of several numbers
        return None
    position += size if position < 0 else 0
    return (
        (position, position + 1) if 0 <= position < size else None
    )  # dask raises the IndexError that people know


def _ignore(_index: BlockIndex, _error: ChunkReadError) -> None:
    """Leave the blank that stands for a chunk that cannot be read."""


def _read_block(block: Block, dtype: np.dtype[Any], blank: bool) -> np.ndarray[Any, Any]:
    """Read one block: the task of every leaf. With `blank`, zeros stand for one that cannot be read."""
    chunk, shape, part = block
    try:
        # A copy: a view that the caller keeps would hold an evicted chunk in memory.
        pixels = read_alone(chunk, dtype, _box_of(part))
        if pixels is None:
            return np.array(read_chunk(chunk, shape, dtype)[part], order="C")
        return pixels[tuple(slice(None) if isinstance(key, slice) else 0 for key in part)]
    except ChunkReadError:
        if not blank:
            raise
        return np.zeros([key.stop - key.start for key in part if isinstance(key, slice)], dtype)


def _box_of(part: tuple[slice | int, ...]) -> Box:
    return tuple(
        (key.start, key.stop) if isinstance(key, slice) else (key, key + 1) for key in part
    )


class LazyArray(da.Array):
    """A box of one level of a source, as a dask array.

    Made by :func:`level_array`. Exact from any thread and any process. Pickles as a plain dask
    array, and is one from the moment on that something is assigned into it.
    """

    __slots__ = ("_assigned", "_graph", "_known_name", "_view")

    _assigned: bool
    _graph: Mapping[Any, Any] | None
    _known_name: str | None
    _view: _View

    def __new__(cls, view: _View, chunks: tuple[tuple[int, ...], ...] | None = None) -> LazyArray:
        """Make the array of a view without its graph; `chunks` where the caller has them already."""
        self = object.__new__(cls)
        self._view = view
        self._graph = None
        self._assigned = False
        self._known_name = self._cached_keys = None
        if chunks is None:
            grid = view.source.meta.levels[view.level].grid
            chunks = tuple(grid.block_sizes(axis, *view.box[axis]) for axis in view.kept)
        self._chunks = chunks
        self._meta = np.empty((0,) * len(view.kept), view.source.meta.dtype)
        return self

    @property
    def _name(self) -> str:
        """What its tasks are called; worked out when it is first asked for, as most views are read without a graph."""
        if self._known_name is None:
            token = repr(self._view.token).encode()
            self._known_name = f"lazyload-{hashlib.blake2b(token, digest_size=16).hexdigest()}"
        return self._known_name

    @_name.setter
    def _name(self, name: str) -> None:
        # dask's in-place assignment gives another one.
        self._known_name = name
        self._cached_keys = None
        self._reset_cache("_key_array")  # type: ignore[no-untyped-call] # dask's

    name = property(lambda self: self._name, da.Array.name.fset, doc=da.Array.name.__doc__)  # type: ignore[attr-defined] # mypy takes it for a function

    @property
    def dask(self) -> Any:
        """The graph: one Blockwise layer, made when first asked for."""
        graph = self._graph
        if graph is None:
            # Two threads may both make one: they are equal, and a lock would not survive a fork.
            self._graph = graph = self._make_graph()
        return graph

    @dask.setter
    def dask(self, graph: Mapping[Any, Any]) -> None:
        # dask's in-place assignment (x[...] = v) ends here: from now on this is a plain array.
        self._graph = graph
        self._assigned = True

    def _make_graph(self) -> Any:
        if 0 in self.shape:
            return da.zeros(self.shape, dtype=self.dtype, chunks=self.chunks, name=self.name).dask
        axes = tuple(range(self.ndim))
        layer = blockwise(
            _read_block,
            self.name,
            axes,
            _BoxBlocks(self._view),
            axes,
            numblocks={},
            dtype=self.dtype,
            blank=self._view.on_error == "blank",
        )
        return HighLevelGraph({self.name: layer}, {self.name: set()})

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis; dask would add up the chunks, of which there may be millions."""
        if self._assigned:
            return tuple(map(sum, self.chunks))
        return tuple(self._view.box[axis][1] - self._view.box[axis][0] for axis in self._view.kept)

    def __len__(self) -> int:
        """Return the length of the first axis."""
        if not self.shape:
            msg = "len() of unsized object"
            raise TypeError(msg)
        return self.shape[0]

    @property
    def source(self) -> Source | None:
        """Where the chunks come from; None once something was assigned into the array."""
        return None if self._assigned else self._view.source

    @property
    def on_error(self) -> str:
        """Whether exact reads of a chunk that cannot be read raise or give zeros: ``"raise"`` or ``"blank"``."""
        return self._view.on_error

    @property
    def level(self) -> int:
        """Number of the level that this is a box of."""
        return self._view.level

    @property
    def box(self) -> Box:
        """The box within the level, along all axes of the level."""
        return self._view.box

    @property
    def kept_axes(self) -> tuple[int, ...]:
        """Which axes of the level the array has; an integer index dropped the others."""
        return self._view.kept

    def __getitem__(self, index: Any) -> Any:
        view = None if self._assigned else self._view.sliced(index)
        if view is None:
            return super().__getitem__(_beginning_inside(index, self.shape))  # type: ignore[no-untyped-call] # dask's
        if view.box == self._view.box and view.dropped == self._view.dropped:
            return self
        return LazyArray(view, self._unchanged_chunks(view))

    def _unchanged_chunks(self, view: _View) -> tuple[tuple[int, ...], ...]:
        """Return the chunks of a part of this array, those of whole axes as they are (there may be a million)."""
        grid = view.source.meta.levels[view.level].grid
        mine = dict(zip(self._view.kept, self.chunks, strict=True))
        return tuple(
            mine[axis]
            if view.box[axis] == self._view.box[axis]
            else grid.block_sizes(axis, *view.box[axis])
            for axis in view.kept
        )

    def __array__(
        self, dtype: Any = None, copy: bool | None = None, **kwargs: Any
    ) -> np.ndarray[Any, Any]:
        """Read the box, through the chunk cache and in parallel, without a graph.

        Raises
        ------
        ValueError
            With ``copy=False``: there is nothing yet that could be shared.
        """
        if copy is False:
            msg = "the pixels are still to be read, which makes a new array: ask for it with copy=None or copy=True"
            raise ValueError(msg)
        if self._assigned:
            return np.asarray(super().__array__(dtype, copy=copy, **kwargs))  # type: ignore[no-untyped-call] # dask's
        view = self._view.stored() if napari_takes_the_coarsest() else self._view
        pixels = view.read(self._note if napari_is_slicing() else None)
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def compute(self, **kwargs: Any) -> Any:
        """Read the box as ``numpy.asarray`` does, unless dask is told how, or has a cluster or somebody who listens."""
        if self._assigned or kwargs or Callback.active or _dask_has_a_scheduler():
            return super().compute(**kwargs)  # type: ignore[no-untyped-call] # dask's
        return self._view.read()

    def _note(self, index: BlockIndex, error: ChunkReadError) -> None:
        status.shared.fail(status_token(self._view.source), self._view.level, index, str(error))

    def copy(self) -> Any:
        """Return the same pixels as another array: what is assigned into one does not show in the other."""
        return super().copy() if self._assigned else LazyArray(self._view, self.chunks)  # type: ignore[no-untyped-call] # dask's


def _beginning_inside(index: Any, shape: tuple[int, ...]) -> Any:
    """Return an index in which slices that go back from before the start are empty: for dask they begin at the end."""
    keys = list(index) if isinstance(index, tuple) else [index]
    for place, key in enumerate(keys):
        if isinstance(key, slice) and key.step is not None and key.step < 0:
            after_dots = any(one is Ellipsis for one in keys[:place])
            axis = (
                len(shape) - sum(map(_axes_of, keys[place:]))
                if after_dots
                else sum(map(_axes_of, keys[:place]))
            )
            if 0 <= axis < len(shape) and not range(shape[axis])[key]:
                keys[place] = slice(0, 0)
    return tuple(keys) if isinstance(index, tuple) else keys[0]


def _axes_of(key: Any) -> int:
    """Return how many axes a part of an index takes."""
    is_mask = getattr(getattr(key, "dtype", None), "kind", "") == "b"
    return 0 if key is None else key.ndim if is_mask else 1


def _dask_has_a_scheduler() -> bool:
    """Return whether the user chose one, or is connected to a cluster."""
    if dask.config.get("scheduler", None) is not None:
        return True
    return "distributed" in sys.modules and get_scheduler() is not None


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
