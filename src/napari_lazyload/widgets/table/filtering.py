"""Filtering the rows of a table by a text: pure functions, made to run beside a live window."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.widgets.table.data import (
    PAGE,
    Block,
    TableData,
    as_objects,
    format_float,
    format_value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_lazyload.widgets.qt.latest_worker import Checkpoint

_CHARACTERS = {
    "i": set("0123456789-"),
    "u": set("0123456789"),
    "f": set("0123456789-+.einf"),
    "M": set("0123456789-+.: "),
}
"""The characters in cells of these kinds; a text with any other is in none of them."""


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
    text, column = text.strip(), None
    for place in sorted(range(len(columns)), key=lambda k: -len(columns[k])):
        head = columns[place] + ":"
        if text.casefold().startswith(head.casefold()):
            text, column = text[len(head) :].strip(), place
            break
    return TextFilter(text, column) if text else None


def match_rows(
    data: TableData, wanted: TextFilter, checkpoint: Checkpoint = lambda: None
) -> NDArray[np.bool_]:
    """Return for each row whether the filter matches it."""
    matched = np.zeros(len(data), dtype=bool)
    columns = range(len(data.columns)) if wanted.column is None else [wanted.column]
    for column in columns:
        for start, block in data.blocks(column, PAGE):
            found = matched[start : start + len(block)]
            if not found.all():
                found |= _match_block(block, wanted)
                checkpoint()
    return matched


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
    values = as_objects(block) if kind in "OM" else block.tolist()
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


def contains(words: list[str], needle: str) -> NDArray[np.bool_]:
    """Return for each word whether the needle is in it, in any case of letters.

    Words are searched as one text of UTF-8 bytes with a zero byte after each word.
    """
    found = np.zeros(len(words), dtype=bool)
    text = "\0".join(words).casefold().encode("utf-8", "surrogatepass") + b"\0"
    if text.count(0) != len(words) or "\0" in needle or not needle:
        return np.array([needle in word.casefold() for word in words], dtype=bool)
    pattern = re.escape(needle.encode("utf-8", "surrogatepass"))
    hits = [hit.start() for hit in re.finditer(pattern, text)]
    if hits:
        ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == 0)
        found[np.searchsorted(ends, hits)] = True
    return found
