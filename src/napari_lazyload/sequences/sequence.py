"""A folder of images as a Python object, for scripts and training loops: pixels are read at use.

An `ImageSequence` is a store (files, or arrays in memory), the rows of it that are meant, their
meta table, and the functions to be applied; indexing makes another one of these or an image. Sizes
and types come from headers when asked for, pixels through the chunk cache.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_lazyload.core.errors import ChunkReadError, MissingDependencyError
from napari_lazyload.core.text import said
from napari_lazyload.sequences.batches import Batches, Reader, make_batches
from napari_lazyload.sequences.file_store import Array, Form, Store, in_parallel
from napari_lazyload.sequences.indexing import one_position, positions
from napari_lazyload.sequences.items import (
    AsType,
    Item,
    Map,
    last_dtype,
    only_converts,
    stack_items,
)
from napari_lazyload.sequences.lazy_image import LazyImage, LoadedImage, Row
from napari_lazyload.sequences.meta_table import FILE_NAME, meta_table
from napari_lazyload.sources.folder.listing import path_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_lazyload.sequences.batch_engines import Read

__all__ = ["ImageSequence", "LazyImage", "LoadedImage"]


class ImageSequence:
    """Images in a fixed order, read at use, and their meta table; `read_images` makes it.

    Nothing changes a sequence: each method returns a new one. It pickles as the folder, the names
    of its own files and its table, and reads the same in another process or after a change of
    working directory. All methods may be called from any thread.

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
        store: Store,
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
        noun, where = ("lazy image", "") if self._store.lazy else ("image", " in memory")
        count = f"{len(self):,} {noun}{'s'[: len(self) != 1]}"
        parts = [f"{count}{where} of {self._store.root!r}"]
        if len(self):
            try:
                parts.append(f"the first {said(*self._store.form(int(self._rows[0])))}")
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

        ``original_filename`` holds the path of each file from :attr:`path`, with ``/`` between its
        parts.
        """
        return self._meta.copy()

    @property
    def shape(self) -> tuple[int, ...] | None:
        """``(n, y, x)``, with pages before y and colour samples after x; None where images differ.

        The first use reads all headers. None also where a header cannot be read, where there is no
        image, and after a `map`, whose results only reading would tell.
        """
        shapes = {shape for shape, _ in self._forms()}
        return (len(self), *shapes.pop()) if len(shapes) == 1 else None

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Type of a pixel; None where images differ, or where :attr:`shape` is None.

        After a last `astype`, its type always.
        """
        converted = last_dtype(self._maps)
        if converted is not None:
            return converted
        dtypes = {dtype for _, dtype in self._forms()}
        return dtypes.pop() if len(dtypes) == 1 else None

    def _forms(self) -> set[Form]:
        """Return the distinct shapes and dtypes before `astype`; none where one cannot be known."""
        if not only_converts(self._maps):
            return set()
        return self._store.forms(self._rows)

    def __iter__(self) -> Iterator[LazyImage | LoadedImage]:
        return (self[position] for position in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            msg = "the images of a sequence lie apart; an array of all is a copy"
            raise ValueError(msg)
        return np.asarray(self.stack(), dtype)

    def __getitem__(self, index: Any) -> Any:
        """Return one image, or a lazy sub-sequence.

        Parameters
        ----------
        index : int, slice, list, range, 1-D array of integers or of bool, or pandas.Series of these
            A whole number gives a new `LazyImage` each time (with ``lazy=False`` a `LoadedImage`),
            all else a sequence. A boolean Series that carries the row numbers of :attr:`meta` in
            another order is taken by these.

        Raises
        ------
        IndexError
            If a number is out of range.
        ValueError
            If the index has more than one axis, or a mask not one value for each image.
        TypeError
            If it is of another type.
        """
        position = one_position(index, len(self))
        if position is None:
            return self._take(positions(index, len(self)))
        item, row = self._item(position), Row(self._meta, position)
        return LazyImage(item, row) if self._store.lazy else LoadedImage(item.pixels(), row)

    def _item(self, position: int) -> Item:
        return Item(self._store, int(self._rows[position]), self._maps)

    def _items(self, indices: Any) -> list[Item]:
        chosen = range(len(self)) if indices is None else positions(indices, len(self)).tolist()
        return [self._item(position) for position in chosen]

    def _read(self, position: int) -> Read:
        """Return what reads an image in the one thread that calls it."""
        return functools.partial(self._item(position).pixels, workers=1)

    def _take(self, places: Array) -> ImageSequence:
        meta = self._meta.iloc[places].reset_index(drop=True)
        return ImageSequence(
            self._store, meta, rows=self._rows[places], maps=self._maps, skipped=self.skipped
        )

    def query(self, expression: str) -> ImageSequence:
        """Return the images whose row fulfils an expression in pandas' query syntax.

        ``@name`` is a local variable.

        Raises
        ------
        ValueError
            If the expression cannot be evaluated, or gives no yes or no for each row.
        """
        if not isinstance(expression, str):
            msg = (
                f"a query is a string such as 'label > 0.5', got {expression!r}; "
                "for a mask there is where()"
            )
            raise TypeError(msg)
        columns = ", ".join(map(repr, self._meta.columns))
        try:
            mask = self._meta.eval(expression, engine="python", level=1)
        except Exception as err:
            msg = f"the query {expression!r} cannot be evaluated: {err}. Columns are {columns}"
            raise ValueError(msg) from err
        if not isinstance(mask, pd.Series) or str(mask.dtype) not in ("bool", "boolean"):
            msg = (
                f"a query says yes or no for each row, as 'label > 0.5', got {expression!r}. "
                f"Columns are {columns}"
            )
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
            found = f"{given.dtype} of shape {given.shape}"
            msg = f"where() takes a bool for each image, got {found}; numbers go in seq[...]"
            raise TypeError(msg)
        return self._take(positions(mask if isinstance(mask, pd.Series) else given, len(self)))

    def sort(self, by: Any, *, ascending: bool = True) -> ImageSequence:
        """Return the images in the order of columns; missing values come last.

        Equal rows keep their order.

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
            natural = pd.Series(map(path_key, keys[FILE_NAME]), dtype=object)
            keys = keys.assign(**{FILE_NAME: natural})
        ordered = keys.sort_values(columns, ascending=ascending, kind="stable", na_position="last")
        return self._take(ordered.index.to_numpy())

    def _check_columns(self, what: str, columns: Sequence[Any]) -> None:
        for column in columns:
            if column not in self._meta.columns:
                msg = (
                    f"{what} columns of the meta table, got {column!r}; "
                    f"there are {', '.join(map(repr, self._meta))}"
                )
                raise ValueError(msg)

    def map(self, function: Map) -> ImageSequence:
        """Return the sequence whose images are ``function(pixels)``, each computed when it is read.

        Parameters
        ----------
        function : callable
            Gets an array of its own, which it may change. To pickle the sequence, it must be one
            that pickles: a function that a module defines, not a lambda.
        """
        if not callable(function):
            msg = f"map() takes a function of an array, got {function!r}"
            raise TypeError(msg)
        return self._mapped(function)

    def astype(self, dtype: Any) -> ImageSequence:
        """Return the sequence with pixels converted to `dtype` as they are read."""
        return self._mapped(AsType(np.dtype(dtype)))

    def _mapped(self, function: Map) -> ImageSequence:
        maps = (*self._maps, function)
        return ImageSequence(
            self._store, self._meta, rows=self._rows, maps=maps, skipped=self.skipped
        )

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
        return in_parallel(Item.__call__, self._items(indices))

    def stack(self, indices: Any = None) -> Array:
        """Read images of one shape into one array, in parallel.

        Parameters
        ----------
        indices : slice, list, 1-D array or mask, optional
            Which ones; all by default.

        Returns
        -------
        numpy.ndarray
            ``(n, y, x)``, with pages before y and colour samples after x, of a dtype that holds
            all.

        Raises
        ------
        ValueError
            If shapes differ, or there is no image.
        ChunkReadError
            If one cannot be read.
        """
        items = self._items(indices)
        if not items:
            msg = "there is no image to stack; give at least one index"
            raise ValueError(msg)
        return stack_items(items)

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
        with_meta : list of column names, or one
            Columns of the meta table that come with each batch.
        drop_last : bool
            Whether a short batch at the end of an epoch is left out.
        repeats : int
            How many epochs; a batch never holds images of two.
        prefetch : int
            How many batches are read ahead of the one that is asked for; the first are begun at
            once. 0 reads when asked.
        workers : int or str, optional
            A number of threads, ``"threads"``, ``"processes"`` or ``"processes:4"``; where no
            number is said, that of the setting ``workers``. Processes are worth their start where
            mapped functions hold the interpreter lock; they need functions that pickle, and in a
            script ``if __name__ == "__main__":``.
        arrays : list of array-like or ImageSequence
            Each with one entry for each image; their part comes after the columns. A sequence is
            read along.
        on_error : {"raise", "skip"}
            Whether a file that cannot be read raises at its batch (the batches after it still
            come), or is left out of it and noted in ``skipped`` of the result.

        Returns
        -------
        Batches
            An iterator and context manager over tuples: the images (an array ``(n, y, x[, s])``
            where shapes agree, else a list), then one array for each of `with_meta` and of
            `arrays`.

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described here.
        """
        columns = [with_meta] if isinstance(with_meta, str) else list(with_meta)
        self._check_columns("with_meta takes", columns)
        if isinstance(weights, str):
            self._check_columns("weights takes numbers or one of the", [weights])
            weights = self._meta[weights]
        beside: list[Array | Reader] = [self._meta[column].to_numpy() for column in columns]
        beside += [self._aligned(number, values) for number, values in enumerate(arrays)]
        return make_batches(
            self._read,
            beside,
            len(self),
            batch_size=batch_size,
            shuffle=shuffle,
            weights=weights,
            drop_last=drop_last,
            repeats=repeats,
            prefetch=prefetch,
            workers=workers,
            on_error=on_error,
        )

    def _aligned(self, number: int, values: Any) -> Array | Reader:
        """Return one of the `arrays` of batches, or what reads the images of such a sequence."""
        aligned = values if isinstance(values, ImageSequence) else np.asarray(values)
        size = len(aligned) if isinstance(aligned, ImageSequence) or aligned.ndim else "no"
        if size != len(self):
            msg = (
                f"arrays[{number}] must have {len(self)} entries, one for each image; it has {size}"
            )
            raise ValueError(msg)
        return aligned._read if isinstance(aligned, ImageSequence) else aligned  # noqa: SLF001 - same class


def _restored(
    store: Store, columns: pd.DataFrame | None, maps: tuple[Map, ...], skipped: dict[str, int]
) -> ImageSequence:
    return ImageSequence(store, meta_table(store.names, columns), maps=maps, skipped=skipped)
