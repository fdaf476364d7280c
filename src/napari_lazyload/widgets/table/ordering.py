"""The order of a table's rows: sorting and filtering as pure functions, made to run beside a live window.

What a window feels of a thread next to it is how long the interpreter lock is held in one piece. So
values become Python objects only ``PAGE`` rows at a time, with a checkpoint in between; everything
over a whole column is NumPy on numbers or on fixed-width bytes, which lets the lock go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_lazyload.widgets.table.data import (
    PAGE,
    Block,
    TableData,
    format_float,
    format_value,
    is_missing,
)
from napari_lazyload.widgets.table.text_search import (
    Checkpoint,
    Rows,
    Text,
    argsort_text,
    contains,
    encode,
    natural_keys,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GATHER = 1 << 20
"""Bytes of text that NumPy handles at once: each of its calls may wait for the interpreter lock to
come back."""

_NAME_WORDS = frozenset(
    [
        "file",
        "files",
        "filename",
        "filenames",
        "filepath",
        "image",
        "name",
        "names",
        "path",
        "paths",
    ]
)
_CHARACTERS = {
    "i": set("0123456789-"),
    "u": set("0123456789"),
    "f": set("0123456789-+.einf"),
    "M": set("0123456789-+.: "),
}
"""What cells of these kinds can show; a text with anything else need not be looked for in them."""

_NUMBER, _TEXT, _MISSING = 0, 1, 2


@dataclass(frozen=True, slots=True)
class SortKey:
    """A column to sort by.

    Parameters
    ----------
    column : int
        The column's place in the table.
    ascending : bool
        Smallest first; missing values come last either way, and equal rows keep slider order.
    natural : bool
        Digits in text count as numbers, img2 before img10.
    """

    column: int
    ascending: bool = True
    natural: bool = False


@dataclass(frozen=True, slots=True)
class TextFilter:
    """Rows whose shown text contains a text, in one column or in any.

    Parameters
    ----------
    text : str
        What to look for, in any case of letters.
    column : int, optional
        The only column to look in. A column of numbers then has to equal the text's number.
    """

    text: str
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What a table shows.

    Parameters
    ----------
    rows : ndarray of intp, shape (shown,)
        The source row of each shown row.
    places : ndarray of intp, shape (all,)
        The shown row of each source row, -1 where it is filtered out.
    sorted_rows : ndarray of intp, shape (all,), optional
        All source rows as sorted, for the next filter under the same sort.
    """

    rows: Rows
    places: Rows
    sorted_rows: Rows | None = None

    def shown(self, rows: Rows) -> Rows:
        """Return where source rows are shown, without those that are not."""
        places = self.places[rows[rows < len(self.places)]]
        return places[places >= 0]


def runs(rows: Rows, most: int = 8) -> list[tuple[int, int]]:
    """Return the rows as ranges (first, last) of consecutive rows, or as one range around all if there are too many."""
    ordered = np.unique(rows)
    if not ordered.size:
        return []
    breaks = np.flatnonzero(np.diff(ordered) > 1)
    if breaks.size >= most:
        breaks = breaks[:0]
    firsts = ordered[np.concatenate([[0], breaks + 1])]
    lasts = ordered[np.concatenate([breaks, [-1]])]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def is_name_column(name: str) -> bool:
    """Tell whether a column's title says that it holds the names of files, which sort naturally."""
    return not _NAME_WORDS.isdisjoint(re.split(r"[\W_]+", name.casefold()))


def parse_filter(text: str, columns: Sequence[str]) -> TextFilter | None:
    """Read the filter field.

    Parameters
    ----------
    text : str
        ``text`` or ``column:text``; what stands before the colon has to be a column's title, in any
        case of letters.
    columns : sequence of str
        The table's columns.

    Returns
    -------
    TextFilter or None
        None where every row is to be shown.
    """
    text = text.strip()
    for place in sorted(range(len(columns)), key=lambda k: -len(columns[k])):
        head = columns[place] + ":"
        if text.casefold().startswith(head.casefold()):
            wanted = text[len(head) :].strip()
            return TextFilter(wanted, place) if wanted else None
    return TextFilter(text) if text else None


def arrange(
    data: TableData,
    sort: SortKey | None,
    wanted: TextFilter | None,
    sorted_rows: Rows | None = None,
    checkpoint: Checkpoint = lambda: None,
) -> Order:
    """Work out which rows a table shows, in which order.

    Parameters
    ----------
    data : TableData
        The table; a snapshot where another thread may append to it.
    sort : SortKey, optional
        None is slider order.
    wanted : TextFilter, optional
        None shows every row.
    sorted_rows : ndarray of intp, optional
        The rows as this sort gave them before, to be filtered again without sorting unless rows
        have come since.
    checkpoint : callable
        Called between pieces of about a millisecond; may raise to end the work.
    """
    if sort is None:
        ordered = np.arange(len(data), dtype=np.intp)
    elif sorted_rows is not None and len(sorted_rows) == len(data):
        ordered = sorted_rows
    else:
        ordered = sort_rows(data, sort, checkpoint)
    checkpoint()
    rows = ordered if wanted is None else ordered[match_rows(data, wanted, checkpoint)[ordered]]
    places = np.full(len(data), -1, dtype=np.intp)
    places[rows] = np.arange(len(rows), dtype=np.intp)
    return Order(rows, places, None if sort is None else ordered)


def sort_rows(data: TableData, sort: SortKey, checkpoint: Checkpoint = lambda: None) -> Rows:
    """Return all rows in sorted order: a stable sort with missing values last.

    Numbers, times and categories sort by value (categories in their own order). Other columns may
    be mixed: numbers come before text, and what is neither sorts by its text.
    """
    plain = _plain_keys(data, sort.column, checkpoint)
    if plain is not None:
        keys, missing = plain
        present = np.flatnonzero(~missing)
        return np.concatenate(
            [present[_argsort(keys[present], sort.ascending)], np.flatnonzero(missing)]
        )
    kinds, numbers, texts = _mixed_keys(data, sort, checkpoint)
    number_rows = np.flatnonzero(kinds == _NUMBER)[_argsort(numbers, sort.ascending)]
    text_rows = np.flatnonzero(kinds == _TEXT)[argsort_text(texts, sort.ascending, checkpoint)]
    parts = [number_rows, text_rows] if sort.ascending else [text_rows, number_rows]
    return np.concatenate([*parts, np.flatnonzero(kinds == _MISSING)])


def match_rows(
    data: TableData, wanted: TextFilter, checkpoint: Checkpoint = lambda: None
) -> NDArray[np.bool_]:
    """Return for each row whether the filter lets it through."""
    matched = np.zeros(len(data), dtype=bool)
    columns = range(len(data.columns)) if wanted.column is None else [wanted.column]
    for column in columns:
        for start, block in data.blocks(column, PAGE):
            found = matched[start : start + len(block)]
            if not found.all():
                found |= _match_block(block, wanted)
                checkpoint()
    return matched


def _argsort(keys: NDArray[Any], ascending: bool) -> Rows:
    """Return a stable argsort; descending, equal keys keep their order too."""
    if ascending:
        return np.argsort(keys, kind="stable")
    return len(keys) - 1 - np.argsort(keys[::-1], kind="stable")[::-1]


def _plain_keys(
    data: TableData, column: int, checkpoint: Checkpoint
) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """Return a column's numbers and where they are missing, or None where it is no column of numbers or times."""
    found = []
    dtypes = set()
    for _, block in data.blocks(column, 64 * PAGE):
        keys = _plain_block(block)
        if keys is None:
            return None
        found.append(keys)
        dtypes.add(
            block.dtype
            if isinstance(block.dtype, pd.CategoricalDtype)
            else keys[0].dtype.kind in "mM"
        )
        checkpoint()
    if len(dtypes) != 1:
        return None
    return np.concatenate([keys for keys, _ in found]), np.concatenate(
        [missing for _, missing in found]
    )


def _plain_block(block: Block) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    dtype = block.dtype
    if isinstance(block, np.ndarray):
        return (block, np.isnan(block)) if dtype.kind in "biufc" else None
    if isinstance(dtype, pd.CategoricalDtype):
        return block.codes, block.codes < 0
    if isinstance(dtype, pd.DatetimeTZDtype) or getattr(dtype, "kind", "O") in "mM":
        kind = dtype.kind if isinstance(dtype, np.dtype) else "M"
        keys = np.asarray(block, dtype=f"{kind}8[{block.unit}]") if hasattr(block, "unit") else None
        return None if keys is None else (keys, np.isnat(keys))
    numeric = getattr(dtype, "numpy_dtype", None)  # pandas' nullable and Arrow dtypes
    if isinstance(numeric, np.dtype) and numeric.kind in "biuf":
        return block.to_numpy(dtype=numeric, na_value=0), np.asarray(block.isna(), dtype=bool)
    return None


def _mixed_keys(
    data: TableData, sort: SortKey, checkpoint: Checkpoint
) -> tuple[NDArray[np.uint8], NDArray[np.float64], list[Text]]:
    """Return each row's kind, and the keys of the rows that are numbers and of those that are text."""
    kinds = np.empty(len(data), dtype=np.uint8)
    numbers: list[NDArray[np.float64]] = []
    texts: list[Text] = []
    gathered: list[Text] = []
    for start, block in data.blocks(sort.column, PAGE):
        values = _values(block)
        words = values
        if set(map(type, values)) == {str}:
            kinds[start : start + len(values)] = _TEXT
        else:
            found = [_kind(value) for value in values]
            kinds[start : start + len(values)] = found
            pairs = zip(values, found, strict=True)
            numbers.append(
                np.array(
                    [_number(value) for value, kind in pairs if kind == _NUMBER], dtype=np.float64
                )
            )
            words = [str(value) for value, kind in zip(values, found, strict=True) if kind == _TEXT]
        gathered.append(encode(words, natural=sort.natural))
        if sum(map(len, gathered)) >= _GATHER or start + len(values) == len(data):
            text = np.concatenate(gathered)
            texts.append(natural_keys(text) if sort.natural else text)
            gathered = []
        checkpoint()
    return kinds, np.concatenate([*numbers, np.zeros(0)]), texts


def _values(block: Block) -> list[Any]:
    values: list[Any] = np.asarray(block, dtype=object).tolist()
    return values


def _kind(value: Any) -> int:
    if isinstance(value, str):
        return _TEXT
    if is_missing(value):
        return _MISSING
    return _NUMBER if isinstance(value, (int, float, np.integer, np.floating, np.bool_)) else _TEXT


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _match_block(block: Block, wanted: TextFilter) -> NDArray[np.bool_]:
    needle = wanted.text.casefold()
    kind = block.dtype.kind if isinstance(block, np.ndarray) else "O"
    if kind in "iuf":
        if wanted.column is not None:
            return _equals_number(block, needle)
    elif getattr(block.dtype, "kind", "O") == "M":
        kind = "M"
    if not set(needle) <= _CHARACTERS.get(kind, set(needle)):
        return np.zeros(len(block), dtype=bool)
    return contains(_shown(block, kind), needle)


def _shown(block: Block, kind: str) -> list[str]:
    if kind == "M" and isinstance(block.dtype, np.dtype):
        times = np.asarray(block)
        seconds = times.astype("M8[s]")
        if (seconds == times)[~np.isnat(times)].all():  # fractions show only where there are any
            texts = np.char.replace(np.datetime_as_string(seconds), "T", " ")
            texts[np.isnat(times)] = ""
            words: list[str] = texts.tolist()
            return words
    values = _values(block) if kind in "OM" else block.tolist()
    if kind in "iu":
        return list(map(str, values))
    return list(map(format_float if kind == "f" else format_value, values))


def _equals_number(block: NDArray[Any], text: str) -> NDArray[np.bool_]:
    same = np.zeros(len(block), dtype=bool)
    for read in (int, float):
        try:
            same |= block == read(text)
        except (ValueError, OverflowError):
            continue  # no such number
        break
    if block.dtype.kind == "f":
        same |= np.array([format_float(value) == text for value in block.tolist()], dtype=bool)
    return same
