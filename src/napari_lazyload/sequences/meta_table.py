"""Meta tables of sequences: read from a file, joined by file name; nothing in them is run."""

from __future__ import annotations

import json
import os
import unicodedata
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from napari_lazyload.core.errors import (
    LazyLoadWarning,
    MissingDependencyError,
    SourceOpenError,
    UnknownFormatError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]

FILE_NAME = "original_filename"
"""Column of the meta table that names the file of each row."""

_NAME_COLUMNS = (
    f"{FILE_NAME} filename file_name file name path filepath file_path image image_name image_path"
).split()
"""Where two columns hold as many file names, the one that comes first here is joined by."""


def meta_table(names: Array, columns: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a table with a row for each file and, if there are any, more columns."""
    # Objects: a file name may hold bytes that no text encoding has, and needs no second copy.
    frame = pd.DataFrame({FILE_NAME: pd.Series(names, dtype=object)})
    return frame if columns is None else pd.concat([frame, columns], axis=1)


def with_common(frame: pd.DataFrame, common: Any) -> pd.DataFrame:
    """Return the table with values that every row has.

    Raises
    ------
    TypeError
        If `common` is not a mapping from column to value.
    ValueError
        If the table has a column of it already.
    """
    if not isinstance(common, Mapping):
        raise TypeError(f"common_meta must be a mapping from column to value, got {common!r}")
    frame = frame.copy()
    for column, value in common.items():
        if column in frame.columns:
            raise ValueError(
                f"common_meta has a column {column!r} that the meta table has too; rename one"
            )
        if np.ndim(value) or isinstance(value, (Mapping, set)):
            value = pd.Series([value] * len(frame), dtype=object)  # noqa: PLW2901 - one object for each row
        frame[column] = value
    return frame


def join_table(names: Array, root: str, meta: Any, first: int | None) -> pd.DataFrame:
    """Return the columns of a table for the first files, row by row.

    Parameters
    ----------
    names : numpy.ndarray of str
        Paths of all files from `root`.
    root : str
        Folder of the files.
    meta : pandas.DataFrame, mapping of columns, or path
        See :func:`napari_lazyload.read_images`.
    first : int or None
        Rows for so many files are wanted; for all by default.

    Raises
    ------
    SourceOpenError
        If `meta` is a file that holds no table.
    TypeError
        If it is not a table.
    ValueError
        If the table names a file twice, or none of these files.

    Warns
    -----
    LazyLoadWarning
        If the table has no row for some files.
    """
    table = _as_table(meta)
    match = _best_match(names, root, table)
    if match is not None:
        return _joined(table, match, names, first)
    if not _is_path(meta) and len(table) == len(names) and FILE_NAME not in table.columns:
        return table.iloc[:first]
    raise ValueError(
        f"no column of the meta table holds the file names: {len(names)} files such as "
        f"{names[0]!r}, {len(table)} rows with the columns {', '.join(map(repr, table.columns))}. "
        "Add a column of file names"
    )


# --- From what was given to a table
# ----------------------------------------------------------------------------------


def _is_path(meta: Any) -> bool:
    return isinstance(meta, (str, os.PathLike))


def _as_table(meta: Any) -> pd.DataFrame:
    """Return a table with rows numbered from 0; an index of text becomes a column."""
    if _is_path(meta):
        table = _read_table(os.fspath(meta))
    elif isinstance(meta, pd.DataFrame):
        table = meta
    elif isinstance(meta, Mapping):
        try:
            table = pd.DataFrame(dict(meta))
        except ValueError as err:
            raise ValueError(f"meta must be columns of equal length: {err}") from err
    else:
        raise TypeError(
            f"meta must be a DataFrame, a mapping of columns, or a path, got {type(meta).__name__}"
        )
    if any(isinstance(value, str) for value in table.index[:1]):
        index = pd.DataFrame(
            {FILE_NAME if table.index.name is None else table.index.name: table.index}
        )
        table = pd.concat([index, table.reset_index(drop=True)], axis=1)
    if not table.columns.is_unique:
        repeated = table.columns[table.columns.duplicated()][0]
        raise ValueError(f"the meta table has more than one column {repeated!r}; rename one")
    return table.reset_index(drop=True)


def _read_table(path: str) -> pd.DataFrame:
    readers: dict[str, Callable[[str], pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".tsv": lambda name: pd.read_csv(name, sep="\t"),
        ".json": _read_json,
        ".xlsx": pd.read_excel,
    }
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in readers:
        raise UnknownFormatError(
            f"{path}: a meta table is a .csv, .tsv, .json or .xlsx file, "
            f"got {suffix or 'no suffix'}",
            path,
        )
    try:
        return readers[suffix](path)
    except OSError as err:
        raise SourceOpenError(
            f"the meta table {path} cannot be read: {err.strerror or err}. Check the path", path
        ) from err
    except ImportError as err:
        raise MissingDependencyError(
            f"{path}: .xlsx tables need openpyxl: pip install 'napari-lazyload[xlsx]', "
            "or save the table as CSV"
        ) from err
    except Exception as err:
        raise UnknownFormatError(
            f"{path}: expected a {suffix[1:].upper()} table, found something else: {err}", path
        ) from err


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
    raise ValueError(
        "a table is a list of rows, a mapping of columns, or a mapping from file name to row"
    )


# --- From a table to the rows of files
# -------------------------------------------------------------------------------


class _Match(NamedTuple):
    """The column that a table is joined by.

    Parameters
    ----------
    column : hashable
        Its name.
    wanted : list of str
        What each file is looked for by: its path from the folder, or its name alone.
    given : list of str
        What the column holds, in the same form; "" where it holds no text.
    """

    column: Any
    wanted: list[str]
    given: list[str]


def _best_match(names: Array, root: str, table: pd.DataFrame) -> _Match | None:
    """Return the column that names most files, None where no column names one."""
    relative = [_plain(name) for name in names]
    base = [name.rpartition("/")[2] for name in relative]
    prefix = f"{_plain(root)}/"
    best, most = None, 0
    for column in sorted(table.columns, key=_preference):
        texts = [
            _plain(value).removeprefix(prefix) if _is_path(value) else "" for value in table[column]
        ]
        bases = [text.rpartition("/")[2] for text in texts]
        for wanted, given in ((relative, texts), (base, bases)):
            known = set(given)
            hits = sum(name in known for name in wanted)
            if hits > most:
                best, most = _Match(column, wanted, given), hits
    return best


def _preference(column: Any) -> int:
    name = str(column).strip().lower().replace(" ", "_")
    return [*_NAME_COLUMNS, name].index(name)


def _plain(path: Any) -> str:
    """Return a path in the one form in which file names are compared."""
    text = unicodedata.normalize("NFC", os.fspath(path).strip().replace("\\", "/"))
    return text.removeprefix("./").rstrip("/")


def _joined(table: pd.DataFrame, match: _Match, names: Array, first: int | None) -> pd.DataFrame:
    """Return the rows of the first files, empty ones for files that the table does not name."""
    row_of = _row_of(match)
    _refuse_ambiguous(match.wanted, names, row_of)
    rows = [row_of.get(name, -1) for name in match.wanted[:first]]
    missing = rows.count(-1)
    if missing:
        msg = (
            f"the meta table has no row for {missing} of {len(rows)} files; "
            "their values are missing (NaN)"
        )
        warnings.warn(msg, LazyLoadWarning, stacklevel=4)  # in the caller of read_images
    if match.column == FILE_NAME:
        table = table.drop(columns=FILE_NAME)
    table = table.rename(columns={FILE_NAME: f"{FILE_NAME}_meta"})
    return table.reindex(rows).reset_index(drop=True)


def _row_of(match: _Match) -> dict[str, int]:
    """Return the row of each wanted file that the table names; refuse one that is named twice."""
    present = set(match.wanted)
    row_of: dict[str, int] = {}
    for row, name in enumerate(match.given):
        if name in present and row_of.setdefault(name, row) != row:
            raise ValueError(
                f"the meta table has more than one row for {name!r} "
                f"in column {match.column!r}; keep one"
            )
    return row_of


def _refuse_ambiguous(wanted: list[str], names: Array, given: dict[str, int]) -> None:
    """Refuse a table that names a file without its folder where two folders have the name."""
    path_of: dict[str, str] = {}
    for name, path in zip(wanted, names, strict=True):
        if name in given and path_of.setdefault(name, path) != path:
            raise ValueError(
                f"the meta table names {name!r}, which is {path_of[name]!r} and {path!r}; "
                "give paths from the folder"
            )
