"""Frames to show in a table, and what is seen of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from napari_lazyload.widgets.table.data import TableData

if TYPE_CHECKING:
    from qtpy.QtGui import QColor

MILLION = 1_000_000


def frame(rows: int = 200) -> pd.DataFrame:
    """Return a meta table of some rows."""
    numbers = np.arange(rows)
    return pd.DataFrame(
        {
            "original_filename": [f"img{k}.png" for k in range(rows)],
            "status": pd.Series([""] * rows, dtype="str"),
            "error": pd.Series([""] * rows, dtype="str"),
            "label": (numbers * 7 % rows) / 4,
            "group": [f"g{k % 3}" for k in range(rows)],
        }
    )


def million_rows() -> pd.DataFrame:
    """Return a meta table of a million rows and ten columns."""
    numbers = np.arange(MILLION)
    columns = {f"n{k}": (numbers * (2 * k + 7919)) % MILLION for k in range(8)}
    return pd.DataFrame(
        {"name": np.char.add("img", numbers.astype("U7")).astype(object), "status": "", **columns}
    )


def column(model: Any, place: int) -> list[str]:
    """Return the texts of a column of a Qt model, from the top."""
    return [model.data(model.index(row, place)) for row in range(model.rowCount())]


def luminance(color: QColor) -> float:
    """Return the brightness of a color: the relative luminance of WCAG 2."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color.getRgbF()[:3]
    ]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


FLOATS = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf]))

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\1"), max_size=5)

NAMES = st.lists(
    st.one_of(
        st.sampled_from(["img", "IMG", "é", "e\u0301", ".", "_", "-", " ", "/", "ß", "0", "00"]),
        st.integers(0, 10**25).map(str),
        st.integers(0, 12).map(str),
    ),
    max_size=6,
).map("".join)

COLUMNS = {
    "int": st.lists(st.integers(-5, 5)).map(lambda v: pd.Series(v, dtype="int64")),
    "big int": st.lists(st.integers(2**62, 2**62 + 3)).map(lambda v: pd.Series(v, dtype="int64")),
    "float": st.lists(FLOATS).map(lambda v: pd.Series(v, dtype="float64")),
    "bool": st.lists(st.booleans()).map(lambda v: pd.Series(v, dtype=bool)),
    "text": st.lists(st.one_of(TEXT, st.none())).map(lambda v: pd.Series(v, dtype="str")),
    "objects": st.lists(st.one_of(TEXT, st.none(), st.just(np.nan))).map(
        lambda v: pd.Series(v, dtype=object)
    ),
    "time": st.lists(st.integers(0, 5)).map(
        lambda v: pd.to_datetime(pd.Series(v, dtype="int64")).where(lambda s: s.dt.nanosecond != 3)
    ),
    "zoned": st.lists(st.integers(0, 5)).map(
        lambda v: pd.to_datetime(pd.Series(v, dtype="int64")).dt.tz_localize("Europe/Berlin")
    ),
    "duration": st.lists(st.integers(-3, 3)).map(
        lambda v: pd.to_timedelta(pd.Series(v, dtype="int64"))
    ),
    "nullable": st.lists(st.one_of(st.integers(-3, 3), st.none())).map(
        lambda v: pd.Series(v, dtype="Int64")
    ),
    "category": st.lists(st.sampled_from(["b", "a", "c", None])).map(
        lambda v: pd.Series(pd.Categorical(v, categories=["c", "a", "b"]))
    ),
}


def table(values) -> TableData:
    """Return a table of one column."""
    return TableData(pd.DataFrame({"column": values}))


def source_rows(model) -> np.ndarray:
    """Return the source rows of a model in the order they are shown."""
    return np.array([model.source_row(row) for row in range(model.rowCount())], dtype=np.intp)
