"""Sorting the rows of a table: pure functions, made to run beside a live window.

Text is compared as UTF-8 bytes in which every word ends with a zero byte: bytes sort as code points
do. Digits count as numbers where natural order is requested.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from napari_lazyload.widgets.table.data import (
    PAGE,
    Block,
    TableData,
    as_objects,
    is_missing,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_lazyload.widgets.qt.latest_worker import Checkpoint
    from napari_lazyload.widgets.table.data import Rows

Text: TypeAlias = "NDArray[np.uint8]"

_GATHER = 1 << 20
"""Bytes of text that NumPy handles at once: each of its calls may wait for the interpreter lock to
come back."""

_WINDOW = 64
"""Bytes of text that are compared in one pass of the sort."""

_NAME_WORDS = frozenset(
    (
        *("file", "files", "filename", "filenames", "filepath"),
        *("image", "name", "names", "path", "paths"),
    )
)

_ZERO, _NINE = ord("0"), ord("9")
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


def is_name_column(name: str) -> bool:
    """Whether a column's title says that it holds names of files, which sort naturally."""
    return not _NAME_WORDS.isdisjoint(re.split(r"[\W_]+", name.casefold()))


def sort_rows(data: TableData, sort: SortKey, checkpoint: Checkpoint = lambda: None) -> Rows:
    """Return all rows in sorted order: a stable sort with missing values last.

    Numbers, times and categories sort by value (categories in their own order). Other columns may
    be mixed: numbers come before text, and what is neither sorts by its text.
    """
    plain = _plain_keys(data, sort.column, checkpoint)
    if plain is not None:
        keys, missing = plain
        present = np.flatnonzero(~missing)
        present = present[_argsort(keys[present], sort.ascending)]
        return np.concatenate([present, np.flatnonzero(missing)])
    kinds, numbers, texts = _mixed_keys(data, sort, checkpoint)
    number_rows = np.flatnonzero(kinds == _NUMBER)[_argsort(numbers, sort.ascending)]
    text_rows = np.flatnonzero(kinds == _TEXT)[argsort_text(texts, sort.ascending, checkpoint)]
    parts = [number_rows, text_rows]
    if not sort.ascending:
        parts.reverse()
    return np.concatenate([*parts, np.flatnonzero(kinds == _MISSING)])


def _argsort(keys: NDArray[Any], ascending: bool) -> Rows:
    """Return a stable argsort; descending, equal keys keep their order too."""
    if ascending:
        return np.argsort(keys, kind="stable")
    return len(keys) - 1 - np.argsort(keys[::-1], kind="stable")[::-1]


def _plain_keys(
    data: TableData, column: int, checkpoint: Checkpoint
) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """Return a column's numbers and where they are missing; None without numbers or times."""
    keys, missing = [], []
    dtypes = set()
    for _, block in data.blocks(column, 64 * PAGE):
        plain = _plain_block(block)
        if plain is None:
            return None
        keys.append(plain[0])
        missing.append(plain[1])
        categorical = isinstance(block.dtype, pd.CategoricalDtype)
        dtypes.add(block.dtype if categorical else plain[0].dtype.kind in "mM")
        checkpoint()
    if len(dtypes) != 1:
        return None
    return np.concatenate(keys), np.concatenate(missing)


def _plain_block(block: Block) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    dtype = block.dtype
    if isinstance(block, np.ndarray):
        return (block, np.isnan(block)) if dtype.kind in "biufc" else None
    if isinstance(dtype, pd.CategoricalDtype):
        return block.codes, block.codes < 0
    if isinstance(dtype, pd.DatetimeTZDtype) or getattr(dtype, "kind", "O") in "mM":
        if not hasattr(block, "unit"):
            return None
        keys = np.asarray(block, dtype=f"{dtype.kind}8[{block.unit}]")
        return keys, np.isnat(keys)
    numeric = getattr(dtype, "numpy_dtype", None)  # pandas' nullable and Arrow dtypes
    if isinstance(numeric, np.dtype) and numeric.kind in "biuf":
        return block.to_numpy(dtype=numeric, na_value=0), np.asarray(block.isna(), dtype=bool)
    return None


def _mixed_keys(
    data: TableData, sort: SortKey, checkpoint: Checkpoint
) -> tuple[NDArray[np.uint8], NDArray[np.float64], list[Text]]:
    """Return each row's kind, the keys of the rows of numbers, and those of the rows of text."""
    kinds = np.empty(len(data), dtype=np.uint8)
    numbers: list[NDArray[np.float64]] = []
    texts: list[Text] = []
    gathered: list[Text] = []
    for start, block in data.blocks(sort.column, PAGE):
        values = as_objects(block)
        words = values
        if set(map(type, values)) == {str}:
            kinds[start : start + len(values)] = _TEXT
        else:
            found = [_kind(value) for value in values]
            kinds[start : start + len(values)] = found
            pairs = list(zip(values, found, strict=True))
            read = [_number(value) for value, kind in pairs if kind == _NUMBER]
            numbers.append(np.array(read, dtype=np.float64))
            words = [str(value) for value, kind in pairs if kind == _TEXT]
        gathered.append(encode(words, natural=sort.natural))
        if sum(map(len, gathered)) >= _GATHER or start + len(values) == len(data):
            text = np.concatenate(gathered)
            texts.append(natural_keys(text) if sort.natural else text)
            gathered = []
        checkpoint()
    return kinds, np.concatenate([*numbers, np.zeros(0)]), texts


def _kind(value: Any) -> int:
    if isinstance(value, str):
        return _TEXT
    if is_missing(value):
        return _MISSING
    if isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
        return _NUMBER
    return _TEXT


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def encode(words: list[str], *, natural: bool = False) -> Text:
    """Return the words as bytes, each with a zero byte at its end.

    Parameters
    ----------
    words : list of str
        The words.
    natural : bool
        Whether `natural_keys` follows: letters' case is dropped then, and a slash sorts first.
    """
    if not words:
        return np.zeros(0, dtype=np.uint8)
    joined = "\0".join(words)
    if joined.count("\0") != len(words) - 1:
        joined = "\0".join([word.replace("\0", "\1") for word in words])
    if natural:
        joined = (
            (joined if joined.isascii() else unicodedata.normalize("NFC", joined))
            .replace("/", "\1")
            .casefold()
        )
    # File names that are not valid text come with lone surrogates.
    return np.frombuffer((joined + "\0").encode("utf-8", "surrogatepass"), dtype=np.uint8)


def natural_keys(text: Text) -> Text:
    """Return text whose bytes sort as the given text's words do with their digits taken as numbers.

    Together with `encode` this gives the order of the slider, that of
    `napari_lazyload.core.natural_sort.natural_key`. Where that pads a run of digits with zeros,
    this drops the zeros and puts the number of digits in front, in a code that sorts as the number
    does and, like a digit, after ``.`` and before letters: 0 to 8, then 90 to 98, 990 ... That is
    quick to make for a million words, and short to compare.

    Parameters
    ----------
    text : ndarray of uint8
        What `encode` gave for natural order.
    """
    digit = (text >= _ZERO) & (text <= _NINE)
    edges = np.flatnonzero(np.diff(digit, prepend=False))
    if not edges.size:
        return text
    starts, stops = edges[::2], edges[1::2]  # a zero byte ends each word, so every run has a stop
    counted = np.flatnonzero(digit & (text != _ZERO))
    following = np.searchsorted(counted, starts)
    first = stops.copy()
    inside = following < len(counted)
    first[inside] = np.minimum(counted[following[inside]], stops[inside])
    lengths = stops - first
    heads = lengths // 9 + 1
    codes = np.full(heads.sum(), _NINE, dtype=np.uint8)
    codes[np.cumsum(heads) - 1] = _ZERO + lengths % 9
    dropped = np.zeros(len(text) + 1, dtype=np.int8)
    dropped[starts] += 1
    dropped[first] -= 1
    kept = np.cumsum(dropped[:-1], dtype=np.int8) == 0
    places = np.repeat(starts, heads)
    kept = np.insert(kept, places, np.ones(len(places), dtype=bool))
    keys: Text = np.insert(text, places, codes)[kept]
    return keys


def argsort_text(pieces: list[Text], ascending: bool, checkpoint: Checkpoint) -> Rows:
    """Return a stable argsort of words by bytes: a pass for each window, the last one first."""
    lengths = [np.diff(np.flatnonzero(piece == 0), prepend=-1) - 1 for piece in pieces]
    width = max((int(part.max()) for part in lengths if part.size), default=0)
    count = sum(part.size for part in lengths)
    order = np.arange(count, dtype=np.intp)
    if not ascending:
        order = order[::-1]
    for start in reversed(range(0, width, _WINDOW)):
        keys = _window(pieces, lengths, start, min(_WINDOW, width - start), checkpoint)
        order = order[np.argsort(keys[order], kind="stable")]
        checkpoint()
    return order if ascending else order[::-1]


def _window(
    pieces: list[Text], lengths: list[Rows], start: int, size: int, checkpoint: Checkpoint
) -> NDArray[np.bytes_]:
    """Return ``size`` bytes of every word from byte ``start`` on, padded with zeros."""
    out = np.zeros((sum(part.size for part in lengths), size), dtype=np.uint8)
    row = 0
    for piece, length in zip(pieces, lengths, strict=True):
        taken = np.clip(length - start, 0, size)
        ends = np.cumsum(length + 1)
        begins = ends - 1 - length + start
        offsets = np.repeat(begins - (np.cumsum(taken) - taken), taken)
        target = out[row : row + length.size]
        target[np.arange(size) < taken[:, None]] = piece[offsets + np.arange(offsets.size)]
        row += length.size
        checkpoint()
    return out.view(f"S{size}").ravel()
