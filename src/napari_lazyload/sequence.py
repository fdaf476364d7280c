"""A folder of images as a Python object, for scripts and training loops: a file is read when its pixels are asked for.

An `ImageSequence` is a store (files, or arrays in memory), the rows of it that are meant, their meta table, and the
functions to be applied; indexing makes another one of these or an image. `read_images` lists, joins tables, and reads
no header. Sizes and types come from headers when asked for, pixels through the chunk cache.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from napari_lazyload.batches import (
    Array,
    Batches,
    Read,
    at_least,
    join_batch,
    make_engine,
    plan_batches,
    probabilities,
    random_order,
)
from napari_lazyload.core.errors import (
    ChunkReadError,
    LazyLoadWarning,
    MissingDependencyError,
    SourceOpenError,
    UnknownFormatError,
)
from napari_lazyload.loading import cache, scheduler
from napari_lazyload.sources.file_listing import EMPTY, Listing, path_key
from napari_lazyload.sources.file_set import UNKNOWN, UNREADABLE, FileSet, file_stamp
from napari_lazyload.sources.grouping import FolderOptions
from napari_lazyload.sources.image_folder import PictureChunk
from napari_lazyload.sources.open_pictures import FOLDER, GLOB, list_pictures, nothing_here
from napari_lazyload.sources.pictures import PictureInfo, read_info
from napari_lazyload.sources.registry import PathLike, normalise

Form: TypeAlias = "tuple[tuple[int, ...], np.dtype[Any]]"
Map: TypeAlias = "Callable[[Array], Any]"

FILE_NAME = "original_filename"
"""Column of the meta table that names the file of each row."""

MOST_SIZES_CHECKED = 10_000
"""Up to so many files of a folder are looked at for empty ones while listing: about 20 ms."""


class LazyImage:
    """One image that is read when its pixels are first asked for, once, in whichever thread asks first.

    Parameters
    ----------
    load_fn : callable
        Called without arguments; returns the pixels. If it raises, the next use calls it again.
    meta : pandas.Series or mapping, optional
        What is known of the image.

    Raises
    ------
    TypeError
        If `load_fn` cannot be called.
    """

    __slots__ = ("__weakref__", "_data", "_load_fn", "_lock", "_meta")

    def __init__(self, load_fn: Callable[[], Any], meta: pd.Series[Any] | Mapping[str, Any] | None = None) -> None:
        if not callable(load_fn):
            msg = f"load_fn must be a function without arguments that returns pixels, got {load_fn!r}"
            raise TypeError(msg)
        self._load_fn = load_fn
        self._meta: Any = meta
        self._lock = threading.Lock()
        self._data: Array | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (LazyImage, (self._load_fn, self.meta))

    @property
    def meta(self) -> pd.Series[Any] | None:
        """Its row of the meta table, a copy; None where nothing was given."""
        if self._meta is None:
            return None
        return self._meta.series() if isinstance(self._meta, _Row) else pd.Series(self._meta).copy()

    @property
    def loaded(self) -> bool:
        """Whether the pixels are there."""
        return self._data is not None

    @property
    def data(self) -> Array:
        """The pixels, read-only; pages first where a file has several, then y, x, then colour samples.

        Raises
        ------
        ChunkReadError
            If the file cannot be read; it is tried again at the next use.
        """
        with self._lock:
            if self._data is None:
                pixels = np.asarray(self._load_fn()).view()
                pixels.flags.writeable = False
                self._data = pixels
            return self._data

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis: from the file's header, or of `data` where a function may have changed it."""
        return self._form()[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel: from the file's header, or of `data` where a function may have changed it."""
        return self._form()[1]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def _form(self) -> Form:
        if self._data is None and isinstance(self._load_fn, _Item):
            form = self._load_fn.form()
            if form is not None:
                return form
        return self.data.shape, self.data.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        name = self._load_fn.name if isinstance(self._load_fn, _Item) else getattr(self._load_fn, "__name__", "image")
        return f"<LazyImage {name!r}: {'not loaded' if self._data is None else _said(_form_of(self._data))}>"


class LoadedImage(np.ndarray[Any, np.dtype[Any]]):
    """One image of a sequence that was read with ``lazy=False``: a read-only NumPy array that knows its row.

    Results of arithmetic are plain arrays.
    """

    _row: _Row | None

    def __new__(cls, pixels: Array, row: _Row | None) -> LoadedImage:
        """Make a view of `pixels`."""
        self = np.asarray(pixels).view(cls)
        self.flags.writeable = False
        self._row = row
        return self

    def __array_finalize__(self, other: Any) -> None:
        self._row = getattr(other, "_row", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __reduce__(self) -> tuple[Any, ...]:
        return (LoadedImage, (np.array(self), None if self._row is None else _Row(self._row.frame_of_one(), 0)))

    @property
    def data(self) -> Array:  # type: ignore[override] # as numpy's own masked arrays: the pixels, as LazyImage gives
        """The pixels as a plain NumPy array, read-only."""
        return self.view(np.ndarray)

    @property
    def meta(self) -> pd.Series[Any] | None:
        """Its row of the meta table, a copy."""
        return None if self._row is None else self._row.series()


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a meta table, cut out when asked for: a million images need no million Series."""

    frame: pd.DataFrame
    position: int

    def series(self) -> pd.Series[Any]:
        """Return the row, a copy."""
        return self.frame.iloc[self.position].copy()

    def frame_of_one(self) -> pd.DataFrame:
        """Return a table of this row alone."""
        return self.frame.iloc[[self.position]]


class _Files:
    """Pictures on disk; their headers are read when asked for and remembered."""

    lazy = True

    def __init__(self, root: str, names: Array | Sequence[str]) -> None:
        self.root = root
        self.names = np.empty(len(names), object)
        self.names[:] = names
        self._files = FileSet(Listing(root, self.names))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Files, (self.root, self.names.tolist()))

    def take(self, rows: Array) -> _Files:
        """Return a store of some of these pictures."""
        return _Files(self.root, self.names[rows])

    def label(self, row: int) -> str:
        """Return the path of a picture."""
        return self._files.path(row)

    def info(self, row: int) -> PictureInfo:
        """Return what the header says, read again where the file was changed."""
        files = self._files
        kind, path = files.probe(row), files.path(row)
        if kind >= 0 and file_stamp(path) == files.probed(row):
            return files.infos[kind]
        return read_info(path)

    def form(self, row: int) -> Form:
        """Return shape and dtype from the header."""
        info = self.info(row)
        return info.shape, info.dtype

    def forms(self, rows: Array) -> set[Form]:
        """Return the distinct forms of some files as their headers were first read; none where one is unreadable."""
        files = self._files
        for row in rows[files.kind[rows] == UNREADABLE]:
            files.forget(int(row))  # it may have been mended
        scheduler.shared.each(files.probe, rows[files.kind[rows] == UNKNOWN].tolist())
        kinds = np.unique(files.kind[rows]).tolist()
        known = all(kind >= 0 for kind in kinds)
        return {(files.infos[kind].shape, files.infos[kind].dtype) for kind in kinds} if known else set()

    def read(self, row: int, *, keep: bool = True, parallel: bool = True) -> Array:
        """Return all pages of a file, through the chunk cache; they may be shared with it."""
        info = self.info(row)
        pages, frame = info.shape[: info.page_ndim], info.shape[info.page_ndim :]
        # The same keys as those of a stack in the viewer, so that both share what is cached.
        shape = (*(1,) * (1 + len(pages)), *frame)

        def page(number: int) -> Array:
            chunk = PictureChunk(self.label(row), number, shape, len(frame), info.dtype)
            return cache.shared.read(chunk, keep=keep).reshape(frame)

        if not pages:
            return page(0)
        pixels = np.empty((prod(pages), *frame), info.dtype)
        if parallel:
            scheduler.shared.each(lambda number: np.copyto(pixels[number], page(number)), range(len(pixels)))
        else:
            for number in range(len(pixels)):
                pixels[number] = page(number)
        return pixels.reshape(info.shape)


class _Arrays:
    """Pictures in memory."""

    lazy = False

    def __init__(self, root: str, names: Array, arrays: list[Array]) -> None:
        self.root = root
        self.names = names
        self._arrays = arrays

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Arrays, (self.root, self.names, self._arrays))

    def take(self, rows: Array) -> _Arrays:
        """Return a store of some of these pictures."""
        return _Arrays(self.root, self.names[rows], [self._arrays[row] for row in rows])

    def label(self, row: int) -> str:
        """Return the path of a picture."""
        return os.path.join(self.root, self.names[row])  # as the listing writes it

    def form(self, row: int) -> Form:
        """Return shape and dtype."""
        return _form_of(self._arrays[row])

    def forms(self, rows: Array) -> set[Form]:
        """Return the distinct forms of some pictures."""
        return {_form_of(self._arrays[row]) for row in rows}

    def read(self, row: int, *, keep: bool = True, parallel: bool = True) -> Array:
        """Return the pixels; the keywords are those of `_Files`."""
        return self._arrays[row]


_Store: TypeAlias = "_Files | _Arrays"


@dataclass(frozen=True, slots=True)
class _AsType:
    """Converts pixels: what `ImageSequence.astype` maps."""

    dtype: np.dtype[Any]

    def __call__(self, pixels: Array) -> Array:
        """Return a converted copy."""
        return pixels.astype(self.dtype)


@dataclass(frozen=True, slots=True)
class _Item:
    """How one image of a sequence is read; pickles with its own file name alone."""

    store: _Store
    row: int
    maps: tuple[Map, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Item, (self.store.take(np.array([self.row])), 0, self.maps))

    def __call__(self) -> Array:
        """Return pixels of the caller's own."""
        return self.pixels() if self.maps else self.pixels().copy()

    @property
    def name(self) -> str:
        """Path of the file from the folder of the sequence."""
        return str(self.store.names[self.row])

    def form(self) -> Form | None:
        """Return shape and dtype without reading pixels, or None where a function may change them."""
        if not all(isinstance(function, _AsType) for function in self.maps):
            return None
        shape, dtype = self.store.form(self.row)
        return shape, self.maps[-1].dtype if self.maps and isinstance(self.maps[-1], _AsType) else dtype

    def pixels(self, *, keep: bool = True, parallel: bool = True) -> Array:
        """Return pixels that may be shared; what a function gets is its own."""
        pixels = self.store.read(self.row, keep=keep, parallel=parallel)
        if self.maps and not isinstance(self.maps[0], _AsType):
            pixels = pixels.copy()
        for function in self.maps:
            try:
                pixels = np.asarray(function(pixels))
            except Exception as err:
                err.add_note(f"in a function that was mapped over {self.store.label(self.row)}")
                raise
        return pixels


def _form_of(pixels: Array) -> Form:
    """Return shape and dtype of an array."""
    return pixels.shape, pixels.dtype


def _said(form: Form) -> str:
    """Return shape and dtype in words."""
    return f"{' x '.join(map(str, form[0]))} {form[1]}"


class ImageSequence:
    """Images in a fixed order with a meta table, read when asked for; made by :func:`read_images`.

    Nothing changes a sequence: each method returns a new one. It pickles as the folder, the names of its own files and
    its table, and reads the same in another process or after a change of working directory. All methods may be called
    from any thread.

    Parameters
    ----------
    store : files or arrays
        Where pixels come from.
    meta : pandas.DataFrame
        One row for each image.
    rows : numpy.ndarray of int, optional
        Which images of `store`, in order; all by default.
    maps : tuple of callable
        Applied to the pixels of an image, one after the other.
    skipped : dict of str to int
        How many files were left out, by reason.
    """

    def __init__(
        self,
        store: _Store,
        meta: pd.DataFrame,
        *,
        rows: Array | None = None,
        maps: tuple[Map, ...] = (),
        skipped: Mapping[str, int] | None = None,
    ) -> None:
        self._store = store
        self._meta = meta
        self._rows = np.arange(len(store.names)) if rows is None else rows
        self._maps = maps
        self.skipped = dict(skipped or {})
        """How many files of the path were left out, by reason."""

    def __reduce__(self) -> tuple[Any, ...]:
        columns = self._meta.drop(columns=FILE_NAME) if self._meta.shape[1] > 1 else None
        return (_restored, (self._store.take(self._rows), columns, self._maps, self.skipped))

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        count = f"{len(self):,} {'lazy image' if self._store.lazy else 'image'}{'s'[: len(self) != 1]}"
        parts = [f"{count}{'' if self._store.lazy else ' in memory'} of {self._store.root!r}"]
        if len(self):
            try:
                parts.append(f"the first {_said(self._store.form(int(self._rows[0])))}")
            except (ChunkReadError, MissingDependencyError):
                parts.append("the first cannot be read")
        if self._maps:
            parts.append(f"{len(self._maps)} map{'s'[: len(self._maps) != 1]}")
        parts.append(f"meta: {', '.join(map(str, self._meta.columns))}")
        parts += [f"left out: {number:,} x {reason}" for reason, number in self.skipped.items()]
        return f"<ImageSequence: {'; '.join(parts)}>"

    @property
    def path(self) -> str:
        """Absolute folder that the file names start from."""
        return self._store.root

    @property
    def meta(self) -> pd.DataFrame:
        """The meta table, a copy each time; rows are in the order of the images, numbered from 0.

        ``original_filename`` holds the path of each file from :attr:`path`, with ``/`` between its parts.
        """
        return self._meta.copy()

    @property
    def shape(self) -> tuple[int, ...] | None:
        """``(n, y, x)``, with pages before y and colour samples after x; None where images differ.

        The first use reads all headers. None also where a header cannot be read, where there is no image, and after a
        `map`, whose results only reading would tell.
        """
        shapes = {shape for shape, _ in self._forms()}
        return (len(self), *shapes.pop()) if len(shapes) == 1 else None

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Type of a pixel; None where images differ and in the other cases of :attr:`shape`, but for a last astype."""
        if self._maps and isinstance(self._maps[-1], _AsType):
            return self._maps[-1].dtype
        dtypes = {dtype for _, dtype in self._forms()}
        return dtypes.pop() if len(dtypes) == 1 else None

    def _forms(self) -> set[Form]:
        """Return the distinct shapes and dtypes before `astype`; none where one cannot be known."""
        if not all(isinstance(function, _AsType) for function in self._maps):
            return set()
        return self._store.forms(self._rows)

    def __iter__(self) -> Iterator[LazyImage | LoadedImage]:
        return (self[position] for position in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            msg = "the images of a sequence lie apart; an array of all is a copy"
            raise ValueError(msg)
        stacked = self.stack()
        return stacked if dtype is None else stacked.astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> Any:
        """Return one image, or a lazy sub-sequence.

        Parameters
        ----------
        index : int, slice, list, range, 1-D array of integers or of bool, or pandas.Series of these
            A whole number gives a new `LazyImage` each time (with ``lazy=False`` a `LoadedImage`), all else a sequence.
            A boolean Series that carries the row numbers of :attr:`meta` in another order is taken by these.

        Raises
        ------
        IndexError
            If a number is out of range.
        ValueError
            If the index has more than one axis, or a mask not one value for each image.
        TypeError
            If it is of another type.
        """
        position = _whole_number(index)
        if position is None:
            return self._take(_positions(index, len(self)))
        if not -len(self) <= position < len(self):
            raise IndexError(_out_of_range(position, len(self)))
        position %= len(self)
        row = _Row(self._meta, position)
        item = self._item(position)
        if self._store.lazy:
            image = LazyImage(item)
            image._meta = row  # noqa: SLF001 - same module: a Series is made only where it is asked for
            return image
        return LoadedImage(item.pixels(), row)

    def _item(self, position: int) -> _Item:
        return _Item(self._store, int(self._rows[position]), self._maps)

    def _take(self, positions: Array) -> ImageSequence:
        meta = self._meta.iloc[positions].reset_index(drop=True)
        return ImageSequence(self._store, meta, rows=self._rows[positions], maps=self._maps, skipped=self.skipped)

    def query(self, expression: str) -> ImageSequence:
        """Return the images whose row fulfils an expression in pandas' query syntax; ``@name`` is a local variable.

        Raises
        ------
        ValueError
            If the expression cannot be evaluated, or gives no yes or no for each row.
        """
        if not isinstance(expression, str):
            msg = f"a query is a string such as 'label > 0.5', got {expression!r}; for a mask there is where()"
            raise TypeError(msg)
        columns = ", ".join(map(repr, self._meta.columns))
        try:
            mask = self._meta.eval(expression, engine="python", level=1)
        except Exception as err:
            msg = f"the query {expression!r} cannot be evaluated: {err}. Columns are {columns}"
            raise ValueError(msg) from err
        if not isinstance(mask, pd.Series) or str(mask.dtype) not in ("bool", "boolean"):
            msg = f"a query says yes or no for each row, as 'label > 0.5', got {expression!r}. Columns are {columns}"
            raise ValueError(msg)
        return self.where(mask.fillna(value=False))

    def where(self, mask: Any) -> ImageSequence:
        """Return the images where `mask` (one bool for each image) is true.

        Raises
        ------
        TypeError
            If it is not of bool.
        ValueError
            If it has not one value for each image.
        """
        given = np.asarray(mask)
        if given.dtype != bool:
            msg = (
                f"where() takes a bool for each image, got {given.dtype} of shape {given.shape}; numbers go in seq[...]"
            )
            raise TypeError(msg)
        return self._take(_positions(mask if isinstance(mask, pd.Series) else given, len(self)))

    def sort(self, by: Any, *, ascending: bool = True) -> ImageSequence:
        """Return the images in the order of one or more columns; equal rows keep theirs, missing values go last.

        ``original_filename`` sorts naturally: img2 before img10.

        Raises
        ------
        ValueError
            If a column is not there.
        """
        columns = list(by) if isinstance(by, (list, tuple)) else [by]
        self._check_columns("sort by", columns)
        keys = self._meta[columns]
        if FILE_NAME in columns:
            names = sorted(set(keys[FILE_NAME]), key=path_key)
            keys = keys.assign(**{FILE_NAME: keys[FILE_NAME].map(dict(zip(names, range(len(names)), strict=True)))})
        ordered = keys.sort_values(columns, ascending=ascending, kind="stable", na_position="last")
        return self._take(ordered.index.to_numpy())

    def _check_columns(self, what: str, columns: Sequence[Any]) -> None:
        for column in columns:
            if column not in self._meta.columns:
                msg = f"{what} columns of the meta table, got {column!r}; there are {', '.join(map(repr, self._meta))}"
                raise ValueError(msg)

    def map(self, function: Map) -> ImageSequence:
        """Return the sequence whose images are ``function(pixels)``, each computed when it is read.

        Parameters
        ----------
        function : callable
            Gets an array of its own, which it may change. To pickle the sequence, it must be one that pickles: a
            function that a module defines, not a lambda.
        """
        if not callable(function):
            msg = f"map() takes a function of an array, got {function!r}"
            raise TypeError(msg)
        return self._mapped(function)

    def astype(self, dtype: Any) -> ImageSequence:
        """Return the sequence with pixels converted to `dtype` as they are read."""
        return self._mapped(_AsType(np.dtype(dtype)))

    def _mapped(self, function: Map) -> ImageSequence:
        maps = (*self._maps, function)
        return ImageSequence(self._store, self._meta, rows=self._rows, maps=maps, skipped=self.skipped)

    def load(self, indices: Any = None) -> list[Array]:
        """Read images in parallel.

        Parameters
        ----------
        indices : slice, list, 1-D array or mask, optional
            Which ones; all by default.

        Returns
        -------
        list of numpy.ndarray
            The caller's own, in order.

        Raises
        ------
        ChunkReadError
            If one cannot be read.
        """
        return self._parallel(_Item.__call__, self._chosen(indices))

    def stack(self, indices: Any = None) -> Array:
        """Read images of one shape into one array, in parallel.

        Parameters
        ----------
        indices : slice, list, 1-D array or mask, optional
            Which ones; all by default.

        Returns
        -------
        numpy.ndarray
            ``(n, y, x)``, with pages before y and colour samples after x, of a dtype that holds all.

        Raises
        ------
        ValueError
            If shapes differ, or there is no image.
        ChunkReadError
            If one cannot be read.
        """
        positions = self._chosen(indices)
        if not len(positions):
            msg = "there is no image to stack; give at least one index"
            raise ValueError(msg)
        forms = self._parallel(_Item.form, positions)
        if any(form is None for form in forms):
            images = self._parallel(_Item.pixels, positions)
            self._check_shapes(positions, [_form_of(image) for image in images])
            return np.stack(images)
        self._check_shapes(positions, forms)
        stacked = np.empty((len(forms), *forms[0][0]), np.result_type(*{dtype for _, dtype in forms}))

        def fill(place: int) -> None:
            stacked[place] = self._item(int(positions[place])).pixels()

        scheduler.shared.each(fill, range(len(forms)))
        return stacked

    def _check_shapes(self, positions: Array, forms: list[Form]) -> None:
        for position, form in zip(positions, forms, strict=True):
            if form[0] != forms[0][0]:
                first, other = self._item(int(positions[0])).name, self._item(int(position)).name
                msg = (
                    f"images of one shape can be stacked; {first} is {_said(forms[0])}, {other} is {_said(form)}. "
                    "load() returns a list"
                )
                raise ValueError(msg)

    def _chosen(self, indices: Any) -> Array:
        return np.arange(len(self)) if indices is None else _positions(indices, len(self))

    def _parallel(self, work: Callable[[_Item], Any], positions: Sequence[int] | Array) -> list[Any]:
        """Return ``work(item)`` for each position, in order."""
        results: list[Any] = [None] * len(positions)

        def one(place: int) -> None:
            results[place] = work(self._item(int(positions[place])))

        scheduler.shared.each(one, range(len(positions)))
        return results

    def batches(
        self,
        batch_size: int,
        shuffle: Any = None,
        weights: Any = None,
        *,
        with_meta: str | Sequence[Any] = (),
        drop_last: bool = False,
        repeats: int = 1,
        prefetch: int = 2,
        workers: int | str | None = None,
        arrays: Sequence[Any] = (),
        on_error: str = "raise",
    ) -> Batches:
        """Read batches ahead, in order, in threads or processes.

        Parameters
        ----------
        batch_size : int
            Images in a batch; the last one of an epoch may be shorter.
        shuffle : bool, numpy.random.Generator or RandomState, optional
            Draw a new order for each epoch. With a generator the order can be had again.
        weights : array-like or column name, optional
            Draw as many images as there are, with replacement, in proportion to these numbers.
        with_meta : list of column names
            Columns of the meta table that come with each batch.
        drop_last : bool
            Whether a short batch at the end of an epoch is left out.
        repeats : int
            How many epochs; a batch never holds images of two.
        prefetch : int
            How many batches are read ahead of the one that is asked for; the first are begun at once. 0 reads when
            asked.
        workers : int or str, optional
            Threads (by default the setting ``workers``), ``"processes"`` or ``"processes:4"``. Processes are worth
            their start where mapped functions hold the interpreter lock; they need functions that pickle, and in a
            script ``if __name__ == "__main__":``.
        arrays : list of array-like or ImageSequence
            Each with one entry for each image; their part comes after the columns. A sequence is read along.
        on_error : {"raise", "skip"}
            Whether a file that cannot be read raises at its batch (the batches after it still come), or is left out of
            it and noted in ``skipped`` of the result.

        Returns
        -------
        Batches
            An iterator and context manager over tuples: the images (an array ``(n, y, x[, s])`` where shapes agree,
            else a list), then one array for each of `with_meta` and of `arrays`.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as said here.
        """
        columns = [with_meta] if isinstance(with_meta, str) else list(with_meta)
        self._check_columns("with_meta takes", columns)
        if on_error not in ("raise", "skip"):
            msg = f"on_error must be 'raise' or 'skip', got {on_error!r}"
            raise ValueError(msg)
        if isinstance(weights, str):
            self._check_columns("weights takes numbers or one of the", [weights])
            weights = self._meta[weights]
        sequences: list[ImageSequence] = [self]
        extras: list[Array | int] = [self._meta[column].to_numpy() for column in columns]
        extras += [self._aligned(number, one, sequences) for number, one in enumerate(arrays)]
        size, epochs = at_least("batch_size", batch_size, 1), at_least("repeats", repeats, 1)
        ahead = at_least("prefetch", prefetch, 0)
        plan = plan_batches(
            len(self),
            size,
            random=random_order(shuffle),
            chances=None if weights is None else probabilities(weights, len(self)),
            drop_last=drop_last,
            repeats=epochs,
        )

        def reads(position: int) -> list[Read]:
            items = (sequence._item(position) for sequence in sequences)  # noqa: SLF001 - same class
            return [functools.partial(item.pixels, parallel=False) for item in items]

        skipped: dict[str, str] = {}
        return Batches(
            plan,
            make_engine(reads, workers),
            functools.partial(join_batch, columns=extras, skipped=skipped if on_error == "skip" else None),
            total=epochs * (len(self) // size if drop_last else -(-len(self) // size)),
            prefetch=ahead,
            skipped=skipped,
        )

    def _aligned(self, number: int, values: Any, sequences: list[ImageSequence]) -> Array | int:
        """Return one of the arrays of `batches`, or the number of the sequence that is read along."""
        aligned = values if isinstance(values, ImageSequence) else np.asarray(values)
        if (isinstance(aligned, np.ndarray) and not aligned.ndim) or len(aligned) != len(self):
            size = len(aligned) if np.ndim(values) or isinstance(values, ImageSequence) else "no"
            msg = f"arrays[{number}] must have {len(self)} entries, one for each image; it has {size}"
            raise ValueError(msg)
        if isinstance(aligned, np.ndarray):
            return aligned
        sequences.append(aligned)
        return len(sequences) - 1

    def _in_memory(self) -> ImageSequence:
        """Return the same images, all read."""
        arrays = self._parallel(lambda item: item.pixels(keep=False), range(len(self)))
        for pixels in arrays:
            pixels.flags.writeable = False
        names = self._store.names[self._rows]
        return ImageSequence(_Arrays(self._store.root, names, arrays), self._meta, skipped=self.skipped)


def _restored(
    store: _Store, columns: pd.DataFrame | None, maps: tuple[Map, ...], skipped: dict[str, int]
) -> ImageSequence:
    return ImageSequence(store, _meta_table(store.names, columns), maps=maps, skipped=skipped)


def _whole_number(index: Any) -> int | None:
    """Return an index to one image as an int, or None where it is of another kind."""
    if isinstance(index, (bool, np.bool_)) or (isinstance(index, np.ndarray) and index.ndim):
        return None
    try:
        return operator.index(index)
    except TypeError:
        return None


def _out_of_range(index: int, count: int) -> str:
    if not count:
        return f"index {index} is out of range: there is no image"
    return f"index {index} is out of range: there are {count} images, 0 to {count - 1} or -{count} to -1"


def _positions(index: Any, count: int) -> Array:
    """Return the places, from 0, that an index to several of `count` images means."""
    if isinstance(index, slice):
        return np.arange(*index.indices(count))
    if isinstance(index, tuple):
        msg = f"a sequence has one axis, got the index {index!r}; give a list, or index the image that seq[i] gives"
        raise ValueError(msg)  # noqa: TRY004 - numpy reads a tuple as an index to several axes
    if not isinstance(index, (list, range, np.ndarray, pd.Series, pd.Index)):
        raise TypeError(_wrong_index(index))
    chosen = np.asarray(_in_row_order(index) if isinstance(index, pd.Series) else index)
    if not chosen.ndim:
        raise TypeError(_wrong_index(index))
    if chosen.ndim > 1:
        msg = f"an index to a sequence has one axis, got {chosen.ndim} axes of shape {chosen.shape}"
        raise ValueError(msg)
    if chosen.dtype == bool:
        if len(chosen) != count:
            msg = f"a mask must have one bool for each of the {count} images, got {len(chosen)}"
            raise ValueError(msg)
        return np.flatnonzero(chosen)
    if not chosen.size:
        return np.empty(0, np.intp)
    if chosen.dtype.kind not in "iu":
        raise TypeError(_wrong_index(index))
    for edge in (chosen.min(), chosen.max()):
        if not -count <= edge < count:
            raise IndexError(_out_of_range(int(edge), count))
    chosen = chosen.astype(np.intp)
    return np.where(chosen < 0, chosen + count, chosen)


def _in_row_order(mask: pd.Series[Any]) -> pd.Series[Any]:
    """Return a mask in the order of the rows that it numbers, all else as it is."""
    numbers = pd.RangeIndex(len(mask))
    if mask.dtype != bool or mask.index.equals(numbers) or not mask.index.sort_values().equals(numbers):
        return mask
    return mask.reindex(numbers)


def _wrong_index(index: Any) -> str:
    what = f"{index.dtype} array" if isinstance(index, (np.ndarray, pd.Series)) else repr(index)
    return f"an index is a whole number, a slice, a list or 1-D array of whole numbers, or a mask of bool, got {what}"


def read_images(
    path: PathLike | Sequence[PathLike],
    *,
    pattern: str | None = None,
    lazy: bool = True,
    limit: int | None = None,
    meta: pd.DataFrame | Mapping[str, Any] | PathLike | None = None,
    common_meta: Mapping[str, Any] | None = None,
) -> ImageSequence:
    """Return the images of a folder, a glob pattern, a list of files, or one file, as a sequence.

    No file is opened: a file that cannot be read is found when its pixels or its shape are asked for. Empty files of
    folders and patterns are left out and counted in `ImageSequence.skipped`, unless there are over 10,000 files, of
    which none is looked at; an empty file that was left in, or is named in a list, cannot be read like any other.

    Parameters
    ----------
    path : path or list of paths
        A folder is taken with its sub-folders, in natural order of the relative paths; a list keeps its order.
    pattern : str, optional
        A glob pattern that the file name or the relative path must match, such as ``"*.png"``.
    lazy : bool
        With False, all pixels are read now: indexing gives read-only NumPy arrays (`LoadedImage`), all else is the
        same.
    limit : int, optional
        Take the first so many.
    meta : pandas.DataFrame, mapping of columns, or path of a CSV, TSV, JSON or XLSX file, optional
        Joined by the text column (or index) that holds most of the file names, as relative paths or without folders.
        Columns given as a DataFrame or mapping that hold no file name are taken row by row where there are as many
        rows as files. A column ``original_filename`` that is not the one joined by is renamed
        ``original_filename_meta``.
    common_meta : mapping, optional
        Values that every row gets, by column.

    Returns
    -------
    ImageSequence

    Raises
    ------
    SourceOpenError
        If there is no image, or `meta` is a file that holds no table.
    ChunkReadError
        With ``lazy=False``, if a file cannot be read.
    ValueError
        If the table names a file twice, or none of these files, or two columns of one name come together.

    Warns
    -----
    LazyLoadWarning
        If the table has no row for some files; their values are missing (NaN).
    """
    first = None if limit is None else at_least("limit", limit, 0)
    table = None if meta is None else _as_table(meta)
    listing, label, kind = list_pictures(normalise(path), FolderOptions(pattern=pattern))
    if kind in (FOLDER, GLOB) and len(listing.names) <= MOST_SIZES_CHECKED:
        sized = (_has_bytes(listing.path(row)) for row in range(len(listing.names)))
        listing.keep(np.fromiter(sized, bool, len(listing.names)), EMPTY)
    names = listing.names
    if not len(names):
        raise SourceOpenError(nothing_here(label, listing), label)
    columns = None if table is None else _joined(names, listing.root, table, first, by_row=not _is_path(meta))
    store = _Files(listing.root, names[:first])
    frame = _with_common(_meta_table(store.names, columns), common_meta)
    sequence = ImageSequence(store, frame, skipped=listing.skipped_counts())
    return sequence if lazy else sequence._in_memory()  # noqa: SLF001 - same module


def _has_bytes(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return True  # what is wrong with it is said when it is read


# --- Meta tables -----------------------------------------------------------------------------------------------------

_NAME_COLUMNS = (
    *(FILE_NAME, "filename", "file_name", "file", "name", "path", "filepath", "file_path"),
    *("image", "image_name", "image_path"),
)
"""Where two columns hold as many file names, the one that comes first here is joined by."""


def _meta_table(names: Array, columns: pd.DataFrame | None) -> pd.DataFrame:
    """Return a table with a row for each file and, if there are any, more columns."""
    # Objects: a file name may hold bytes that no text encoding has, and needs no second copy.
    frame = pd.DataFrame({FILE_NAME: pd.Series(names, dtype=object)})
    return frame if columns is None else pd.concat([frame, columns], axis=1)


def _with_common(frame: pd.DataFrame, common: Mapping[str, Any] | None) -> pd.DataFrame:
    """Return the table with values that every row has."""
    if common is None:
        return frame
    if not isinstance(common, Mapping):
        msg = f"common_meta must be a mapping from column to value, got {common!r}"
        raise TypeError(msg)
    frame = frame.copy()
    for column, value in common.items():
        if column in frame.columns:
            msg = f"common_meta has a column {column!r} that the meta table has too; rename one"
            raise ValueError(msg)
        if np.ndim(value) or isinstance(value, (Mapping, set)):
            objects = np.empty(len(frame), object)
            objects[:] = [value] * len(frame)
            value = pd.Series(objects, dtype=object)  # noqa: PLW2901
        frame[column] = value
    return frame


def _is_path(meta: Any) -> bool:
    """Return whether a value is a path."""
    return isinstance(meta, (str, os.PathLike))


def _as_table(meta: Any) -> pd.DataFrame:
    """Return what was given as a table with rows numbered from 0; an index of text becomes a column."""
    if _is_path(meta):
        table = _read_table(os.fspath(meta))
    elif isinstance(meta, pd.DataFrame):
        table = meta
    elif isinstance(meta, Mapping):
        try:
            table = pd.DataFrame(dict(meta))
        except ValueError as err:
            msg = f"meta must be columns of equal length: {err}"
            raise ValueError(msg) from err
    else:
        msg = f"meta must be a DataFrame, a mapping of columns, or a path, got {type(meta).__name__}"
        raise TypeError(msg)
    if any(isinstance(value, str) for value in table.index[:1]):
        index = pd.DataFrame({FILE_NAME if table.index.name is None else table.index.name: table.index})
        table = pd.concat([index, table.reset_index(drop=True)], axis=1)
    if not table.columns.is_unique:
        msg = f"the meta table has more than one column {table.columns[table.columns.duplicated()][0]!r}; rename one"
        raise ValueError(msg)
    return table.reset_index(drop=True)


def _read_table(path: str) -> pd.DataFrame:
    """Read a table file; nothing in it is ever unpickled or run."""
    readers: dict[str, Callable[[str], pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".tsv": lambda name: pd.read_csv(name, sep="\t"),
        ".json": _read_json,
        ".xlsx": pd.read_excel,
    }
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in readers:
        msg = f"{path}: a meta table is a .csv, .tsv, .json or .xlsx file, got {suffix or 'no suffix'}"
        raise UnknownFormatError(msg, path)
    try:
        return readers[suffix](path)
    except OSError as err:
        msg = f"the meta table {path} cannot be read: {err.strerror or err}. Check the path"
        raise SourceOpenError(msg, path) from err
    except ImportError as err:
        msg = f"{path}: .xlsx tables need openpyxl: pip install 'napari-lazyload[xlsx]', or save the table as CSV"
        raise MissingDependencyError(msg) from err
    except Exception as err:
        msg = f"{path}: expected a {suffix[1:].upper()} table, found something else: {err}"
        raise UnknownFormatError(msg, path) from err


def _read_json(path: str) -> pd.DataFrame:
    """Read a list of rows, a mapping of columns, or a mapping from file name to row."""
    with open(path, encoding="utf-8-sig") as file:
        content = json.load(file)
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return pd.DataFrame(content)
    if isinstance(content, dict) and content:
        parts = list(content.values())
        if all(isinstance(part, list) for part in parts):
            return pd.DataFrame(content)
        if all(isinstance(part, dict) for part in parts):
            numbered = all(key.isdecimal() for part in parts for key in part)
            return pd.DataFrame.from_dict(content, orient="columns" if numbered else "index")
    msg = "a table is a list of rows, a mapping of columns, or a mapping from file name to row"
    raise ValueError(msg)


def _joined(names: Array, root: str, table: pd.DataFrame, first: int | None, *, by_row: bool) -> pd.DataFrame:
    """Return the columns of `table` for the first files, row by row."""
    match = _best_match(names, root, table)
    if match is None:
        if by_row and len(table) == len(names) and FILE_NAME not in table.columns:
            return table.iloc[:first]
        msg = (
            f"no column of the meta table holds the file names: {len(names)} files such as {names[0]!r}, "
            f"{len(table)} rows with the columns {', '.join(map(repr, table.columns))}. Add a column of file names"
        )
        raise ValueError(msg)
    column, wanted, given = match
    present, seen = set(wanted), set()
    for name in given:
        if name in present and name in seen:
            msg = f"the meta table has more than one row for {name!r} in column {column!r}; keep one"
            raise ValueError(msg)
        seen.add(name)
    _refuse_ambiguous(wanted, names, seen)
    place = {name: row for row, name in enumerate(given)}
    rows = [place.get(name, -1) for name in wanted[:first]]
    missing = rows.count(-1)
    if missing:
        msg = f"the meta table has no row for {missing} of {len(rows)} files; their values are missing (NaN)"
        warnings.warn(msg, LazyLoadWarning, stacklevel=3)
    if column == FILE_NAME:
        table = table.drop(columns=FILE_NAME)
    table = table.rename(columns={FILE_NAME: f"{FILE_NAME}_meta"})
    return table.reindex(rows).reset_index(drop=True)


def _refuse_ambiguous(wanted: list[str], names: Array, given: set[str | None]) -> None:
    """Refuse a table that names a file without its folder where two folders have one of this name."""
    path_of: dict[str, str] = {}
    for name, path in zip(wanted, names, strict=True):
        if name in given and path_of.setdefault(name, path) != path:
            msg = f"the meta table names {name!r}, which is {path_of[name]!r} and {path!r}; give paths from the folder"
            raise ValueError(msg)


def _best_match(names: Array, root: str, table: pd.DataFrame) -> tuple[Any, list[str], list[str | None]] | None:
    """Return the column that names most files, the names to look for, and the column's in the same form."""
    relative = [_plain(name) for name in names]
    base = [name.rpartition("/")[2] for name in relative]
    prefix = f"{_plain(root)}/"
    best, most = None, 0
    for column in sorted(table.columns, key=_preference):
        texts = [_plain(value).removeprefix(prefix) if _is_path(value) else None for value in table[column]]
        bases = [None if text is None else text.rpartition("/")[2] for text in texts]
        for wanted, given in ((relative, texts), (base, bases)):
            known = set(given)
            hits = sum(name in known for name in wanted)
            if hits > most:
                best, most = (column, wanted, given), hits
    return best


def _preference(column: Any) -> int:
    name = str(column).strip().lower().replace(" ", "_")
    return _NAME_COLUMNS.index(name) if name in _NAME_COLUMNS else len(_NAME_COLUMNS)


def _plain(path: Any) -> str:
    """Return a path in the one form in which file names are compared."""
    text = unicodedata.normalize("NFC", os.fspath(path).strip().replace("\\", "/"))
    return text.removeprefix("./").rstrip("/")
