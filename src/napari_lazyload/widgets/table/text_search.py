"""Columns of text as bytes: sorting them, with digits as numbers where wanted, and looking for a text in them.

Text is handled as UTF-8 bytes in which every word ends with a zero byte: bytes sort as code points
do, and a needle found in bytes is found in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.intp]
Text: TypeAlias = NDArray[np.uint8]
Checkpoint: TypeAlias = Callable[[], None]

_WINDOW = 64
"""Bytes of text that are compared in one pass of the sort."""

_ZERO, _NINE = ord("0"), ord("9")


def encode(words: list[str], *, natural: bool = False) -> Text:
    """Return the words as bytes, each with a zero byte at its end.

    Parameters
    ----------
    words : list of str
        The words.
    natural : bool
        Whether `natural_keys` is to come: letters' case is dropped then, and a slash sorts before
        all else.
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
    keys: Text = np.insert(text, places, codes)[
        np.insert(kept, places, np.ones(len(places), dtype=bool))
    ]
    return keys


def argsort_text(pieces: list[Text], ascending: bool, checkpoint: Checkpoint) -> Rows:
    """Return a stable argsort of words by bytes: passes over windows of the words, last window first."""
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


def contains(words: list[str], needle: str) -> NDArray[np.bool_]:
    """Return for each word whether the needle is in it, letters' case aside."""
    found = np.zeros(len(words), dtype=bool)
    text = "\0".join(words).casefold().encode("utf-8", "surrogatepass") + b"\0"
    if text.count(0) != len(words) or "\0" in needle or not needle:
        return np.array([needle in word.casefold() for word in words], dtype=bool)
    hits = [
        hit.start() for hit in re.finditer(re.escape(needle.encode("utf-8", "surrogatepass")), text)
    ]
    if hits:
        ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == 0)
        found[np.searchsorted(ends, hits)] = True
    return found


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
