"""Frames to show in a table, and what is seen of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

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
