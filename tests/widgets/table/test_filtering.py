"""A filter finds what the cells show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.tables import COLUMNS, FLOATS, TEXT, table
from napari_lazyload.widgets.table.data import TableData, format_value
from napari_lazyload.widgets.table.filtering import TextFilter, match_rows, parse_filter


@given(
    st.lists(
        st.one_of(
            st.integers(-30, 30), FLOATS, TEXT, st.none(), st.sampled_from(["Straße", "a\nb", "x"])
        )
    ),
    st.one_of(TEXT, st.sampled_from(["ss", "1", "-", "X", "e", "inf"])),
)
def test_a_filter_finds_what_cells_show(values, text):
    wanted = parse_filter(text, ("column",))
    column = np.empty(len(values), dtype=object)
    column[:] = values
    found = match_rows(table(column), wanted or TextFilter(""))
    needle = text.strip().casefold()
    assert found.tolist() == [needle in format_value(value).casefold() for value in values]


@pytest.mark.parametrize("kind", [kind for kind in COLUMNS if kind != "big int"])
def test_a_filter_over_all_columns_finds_what_any_cell_shows(kind):
    @given(
        COLUMNS[kind],
        st.sampled_from(["1", "a", "-", "00:0", "1970-01-01 01", "0.5", "true", "inf", "e"]),
    )
    def check(series, text):
        frame = pd.DataFrame({"column": series, "other": "z"})
        shown = [format_value(value).casefold() for value in series]
        assert match_rows(TableData(frame), TextFilter(text)).tolist() == [
            text in cell for cell in shown
        ]

    check()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("   ", None),
        ("img", TextFilter("img")),
        ("status:failed", TextFilter("failed", 0)),
        ("STATUS: failed ", TextFilter("failed", 0)),
        ("status:", None),
        ("status:plate: 4", TextFilter("4", 1)),  # the longest title wins
        ("C:\\data", TextFilter("C:\\data")),
    ],
)
def test_the_filter_line_is_read(text, expected):
    assert parse_filter(text, ("status", "status:plate")) == expected


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ([3, 30, 13], "3", [True, False, False]),
        ([3, 30, 13], "3.0", [True, False, False]),
        ([3, 30, 13], "many", [False, False, False]),
        ([0.25, 1 / 3, np.nan], "0.333333", [False, True, False]),
        ([0.25, 1 / 3, np.nan], ".25", [True, False, False]),
        ([np.inf, 1.0, np.nan], "inf", [True, False, False]),
        ([2**63 - 1, 2**63 - 2, 0], str(2**63 - 1), [True, False, False]),
        ([1, 2, 3], str(10**30), [False, False, False]),
    ],
)
def test_a_column_of_numbers_has_to_equal_the_number(column, text, expected):
    assert match_rows(table(column), TextFilter(text, 0)).tolist() == expected
