"""The rows of a table that grows and changes: a row of frames, with pages of changed values.

Nothing here is kept per cell. A row number is the row's place in slider order, for as long as the
table lives.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

PAGE = 4096
"""Rows of a page, and the most rows that are turned into Python objects in one go."""

_MERGE_BELOW = 16 * PAGE
_SHOWN_CHARACTERS = 500

Rows: TypeAlias = "NDArray[np.intp]"

Block: TypeAlias = Any
"""A NumPy array or a pandas extension array: some consecutive values of one column."""


class TableData:
    """The columns of a table, by position; rows are numbered in slider order.

    Parameters
    ----------
    frame : pandas.DataFrame
        The first rows. They are not copied: where pandas has no copy-on-write (before 3.0), leave
        the frame alone.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.columns: tuple[str, ...] = tuple(str(label) for label in frame.columns)
        self._frames: tuple[pd.DataFrame, ...] = (frame.copy(deep=False),)
        self._starts: list[int] = [0]
        self._length = len(frame)
        self._arrays: list[list[Block]] = [_arrays(frame)]
        self._pages: list[dict[int, NDArray[Any]]] = [{} for _ in self.columns]

    def __len__(self) -> int:
        return self._length

    def snapshot(self) -> TableData:
        """Return the same rows for another thread, without rows that are appended later.

        Values that are changed later may be in it.
        """
        twin = object.__new__(TableData)
        twin.__dict__.update(self.__dict__)
        return twin

    def position(self, column: str) -> int:
        """Return the place of a column, or raise a ValueError that lists the columns."""
        if column not in self.columns:
            msg = f"the table has no column {column!r}; it has: {', '.join(self.columns)}"
            raise ValueError(msg)
        return self.columns.index(column)

    def value(self, row: int, column: int) -> Any:
        """Return one value."""
        pages = self._pages[column]
        if pages:
            page = pages.get(row // PAGE)
            if page is not None:
                return page[row % PAGE]
        if len(self._starts) == 1:
            return self._arrays[0][column][row]
        part = bisect_right(self._starts, row) - 1
        return self._arrays[part][column][row - self._starts[part]]

    def is_numeric(self, column: int) -> bool:
        """Whether a column's first rows are numbers by their dtype (bool is not)."""
        dtype = self._arrays[0][column].dtype
        return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)

    def dtype_name(self, column: int) -> str:
        """Return the name of the dtype of a column's first rows."""
        return str(self._arrays[0][column].dtype)

    def blocks(self, column: int, size: int | None = None) -> Iterator[tuple[int, Block]]:
        """Yield (first row, values) over a whole column, in order.

        Parameters
        ----------
        column : int
            The column's place.
        size : int, optional
            The most rows of a block, a multiple of ``PAGE``; None gives the largest blocks that
            need no copy.
        """
        pages = dict(self._pages[column])  # a copy: the window's thread may add some meanwhile
        step = PAGE if pages else (size or max(self._length, 1))
        for start, stop in self._cuts(step):
            page = pages.get(start // PAGE)
            if page is not None:
                yield start, page[start % PAGE : start % PAGE + stop - start]
            else:
                yield start, self._base(column, start, stop)

    def aligned(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a frame with this table's columns in their order, blank where it lacks one.

        Raises
        ------
        ValueError
            If the frame has a column that the table lacks.
        """
        frame = frame.copy(deep=False)
        frame.columns = pd.Index([str(label) for label in frame.columns])
        unknown = [name for name in frame.columns if name not in self.columns]
        if unknown:
            found = ", ".join(unknown)
            msg = (
                f"appended rows must have the table's columns, found also {found}; set a new frame"
            )
            raise ValueError(msg)
        if tuple(frame.columns) == self.columns:
            return frame
        return frame.reindex(columns=list(self.columns))

    def append(self, frame: pd.DataFrame) -> None:
        """Add rows at the end, in time that does not grow with the table.

        Raises
        ------
        ValueError
            If the frame has a column that the table lacks.
        """
        frame = self.aligned(frame)
        frames, starts, arrays = list(self._frames), list(self._starts), list(self._arrays)
        start = self._length
        # Rows that come one by one are merged, so that a lookup never searches thousands of frames.
        while len(frames) > 1 and _are_merged(len(frames[-1]), len(frame)):
            frame = pd.concat([frames.pop(), frame], ignore_index=True)
            start = starts.pop()
            arrays.pop()
        old_length, self._length = self._length, start + len(frame)
        # New lists, never changed ones: a snapshot in another thread still reads the old.
        self._frames, self._starts = (*frames, frame), [*starts, start]
        self._arrays = [*arrays, _arrays(frame)]
        self._extend_pages(old_length)

    def update(self, rows: NDArray[np.intp], columns: Mapping[str, Sequence[Any]]) -> list[int]:
        """Set the values of some rows and return the changed columns' places.

        Raises
        ------
        IndexError
            If a row is not in the table.
        ValueError
            If a column is not in the table or has not one value for each row.
        """
        wrong = rows[(rows < 0) | (rows >= self._length)]
        if wrong.size:
            msg = f"rows must be in 0 to {self._length - 1}, got {wrong[0]}"
            raise IndexError(msg)
        places = [self.position(name) for name in columns]
        for name, values in columns.items():
            if len(values) != rows.size:
                wanted = f"one value for each of {rows.size} rows"
                msg = f"column {name!r} needs {wanted}, got {len(values)}"
                raise ValueError(msg)
        pages = rows // PAGE
        for number in np.unique(pages):
            chosen = np.flatnonzero(pages == number)
            inside = rows[chosen] % PAGE
            for place, values in zip(places, columns.values(), strict=True):
                self._write(place, int(number), inside, [values[k] for k in chosen.tolist()])
        return places

    def _write(self, column: int, number: int, inside: NDArray[np.intp], values: list[Any]) -> None:
        page = self._pages[column].get(number)
        if page is None:
            start = number * PAGE
            page = _as_page(self._joined(column, start, min(start + PAGE, self._length)))
        new = np.asarray(values) if page.dtype != object else _object_array(values)
        if new.dtype != page.dtype and not np.can_cast(new.dtype, page.dtype, "safe"):
            page, new = page.astype(object), _object_array(values)
        page[inside] = new
        self._pages[column][number] = page

    def _extend_pages(self, old_length: int) -> None:
        number = old_length // PAGE
        if old_length % PAGE == 0:
            return
        stop = min((number + 1) * PAGE, self._length)
        for column, pages in enumerate(self._pages):
            if number in pages:
                new = _as_page(self._joined(column, old_length, stop))
                old = pages[number]
                if new.dtype != old.dtype:
                    old, new = old.astype(object), new.astype(object)
                pages[number] = np.concatenate([old, new])

    def _cuts(self, step: int) -> Iterator[tuple[int, int]]:
        ends = [*self._starts[1:], self._length]
        for first, end in zip(self._starts, ends, strict=True):
            start = first
            while start < end:
                stop = min(end, (start // step + 1) * step)
                yield start, stop
                start = stop

    def _base(self, column: int, start: int, stop: int) -> Block:
        part = bisect_right(self._starts, start) - 1
        first = self._starts[part]
        return self._arrays[part][column][start - first : stop - first]

    def _joined(self, column: int, start: int, stop: int) -> list[Block]:
        """Return the untouched values of rows that may lie in several frames."""
        found = []
        while start < stop:
            part = bisect_right(self._starts, start) - 1
            end = (*self._starts[1:], self._length)[part]
            found.append(self._base(column, start, min(stop, end)))
            start = min(stop, end)
        return found


def as_objects(block: Block) -> list[Any]:
    """Return the values of a block as Python objects."""
    values: list[Any] = np.asarray(block, dtype=object).tolist()
    return values


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT or NA; arrays and lists are not."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def format_value(value: Any) -> str:
    """Return a cell's short text: floats to six digits, missing values blank, no line breaks."""
    if isinstance(value, str):
        if len(value) < _SHOWN_CHARACTERS and value.isprintable():
            return value
        return _one_line(value)
    if isinstance(value, (float, np.floating)):
        return format_float(value)
    return _one_line(full_text(value))


def format_float(value: float | np.floating[Any]) -> str:
    """Return a float in at most six significant digits; whole numbers whole, NaN blank."""
    number = float(value)
    if math.isnan(number):
        return ""
    whole = number.is_integer() and abs(number) < 1e15  # what a double holds exactly
    return str(int(number)) if whole else f"{number:.6g}"


def full_text(value: Any) -> str:
    """Return a value's whole text for a tooltip or the clipboard; missing values are blank."""
    return "" if is_missing(value) else str(value)


def _one_line(text: str) -> str:
    return " ".join(text[:_SHOWN_CHARACTERS].splitlines())


def _arrays(frame: pd.DataFrame) -> list[Block]:
    """Return each column's own array: NumPy's where pandas holds one, else pandas'."""
    found: list[Block] = []
    for k in range(frame.shape[1]):
        series = frame.iloc[:, k]
        plain = isinstance(series.dtype, np.dtype) and series.dtype.kind not in "mM"
        found.append(series.to_numpy(copy=False) if plain else series.array)
    return found


def _object_array(values: Sequence[Any]) -> NDArray[Any]:
    """Return a 1-d object array, also of values that are lists themselves."""
    array = np.empty(len(values), dtype=object)
    for k, value in enumerate(values):
        array[k] = value
    return array


def _are_merged(last: int, new: int) -> bool:
    return last <= 2 * new and last + new <= _MERGE_BELOW


def _as_page(blocks: list[Block]) -> NDArray[Any]:
    numeric = all(isinstance(block, np.ndarray) and block.dtype.kind in "biuf" for block in blocks)
    dtype = None if numeric else object
    return np.concatenate([np.array(block, dtype) for block in blocks])
