"""Sorting agrees with pandas and with the order of the slider."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.tables import COLUMNS, FLOATS, NAMES, TEXT, table
from napari_lazyload.core.natural_sort import natural_key
from napari_lazyload.widgets.table.data import PAGE, is_missing
from napari_lazyload.widgets.table.filtering import TextFilter, match_rows
from napari_lazyload.widgets.table.sorting import SortKey, is_name_column, sort_rows


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("ascending", [True, False])
def test_sorting_equals_pandas_stable_sort(kind, ascending):
    @given(COLUMNS[kind])
    def check(series):
        expected = series.sort_values(ascending=ascending, kind="stable", na_position="last").index
        np.testing.assert_array_equal(sort_rows(table(series), SortKey(0, ascending)), expected)

    check()


@given(st.lists(NAMES), st.booleans())
def test_names_sort_as_the_slider_does(names, ascending):
    # Only the first part of the key: names that differ in nothing else keep slider order, as any
    # equal rows do.
    expected = sorted(range(len(names)), key=lambda k: natural_key(names[k])[0])
    if not ascending:
        expected = sorted(range(len(names)), key=lambda k: natural_key(names[k])[0], reverse=True)
    assert (
        sort_rows(
            table(pd.Series(names, dtype="str")), SortKey(0, ascending, natural=True)
        ).tolist()
        == expected
    )


def test_img2_stands_before_img10():
    names = pd.Series(
        ["img10.png", "img2.png", "img1.png", "img002x.png", "IMG3.png", "a/img9.png", "a.png"]
    )
    order = sort_rows(table(names), SortKey(0, natural=True))
    assert names[order].tolist() == sorted(names, key=natural_key)


@given(
    st.lists(
        st.one_of(st.integers(-3, 3), FLOATS, st.booleans(), TEXT, st.none(), st.just([1, 2]))
    ),
    st.booleans(),
)
def test_mixed_columns_put_numbers_before_text_and_missing_last(values, ascending):
    column = np.empty(len(values), dtype=object)
    column[:] = [value if not isinstance(value, list) else tuple(value) for value in values]
    values = column.tolist()

    def key(row):
        value = values[row]
        number = isinstance(value, (int, float)) and not is_missing(value)
        return (0, float(value), "") if number else (1, 0.0, str(value))

    present = [row for row in range(len(values)) if not is_missing(values[row])]
    missing = [row for row in range(len(values)) if is_missing(values[row])]
    expected = sorted(present, key=key, reverse=not ascending) + missing
    assert sort_rows(table(column), SortKey(0, ascending)).tolist() == expected


def test_long_runs_of_digits_sort_as_the_slider_does():
    digits = [
        "1" * 25,
        "2" * 21,
        "0" * 20 + "7",
        "0" * 20 + "10",
        "9" * 20,
        "1" + "0" * 19,
        "0" * 30,
        "12",
        "9" * 9,
        "8",
    ]
    names = [f"a{run}{end}" for run in digits for end in ("", ".png", "z")]
    order = sort_rows(table(pd.Series(names, dtype="str")), SortKey(0, natural=True))
    assert [names[row] for row in order] == sorted(names, key=lambda name: natural_key(name)[0])


@pytest.mark.parametrize("natural", [False, True])
def test_long_texts_sort_by_their_ends_and_pages_join(natural):
    rng = np.random.default_rng(0)
    count = 2 * PAGE + 7
    names = [
        f"{'ab'[k % 2]}{' shared ' * 20}{k:07}{'x' * (k % 3)}"
        for k in rng.integers(0, 3000, count).tolist()
    ]
    order = sort_rows(table(pd.Series(names, dtype="str")), SortKey(0, natural=natural))
    assert order.tolist() == sorted(range(count), key=names.__getitem__)


def test_file_names_that_are_no_text_sort_and_are_found():
    column = np.array(
        ["b\udcff", "a\udcff2", "a\udcff10"], dtype=object
    )  # as Python gives bytes that are not UTF-8
    assert sort_rows(table(pd.Series(column, dtype=object)), SortKey(0, natural=True)).tolist() == [
        1,
        2,
        0,
    ]
    assert match_rows(table(pd.Series(column, dtype=object)), TextFilter("\udcff1")).tolist() == [
        False,
        False,
        True,
    ]


def test_numbers_too_big_for_a_float_and_zero_bytes_do_no_harm():
    column = np.array([10**400, 1, -(10**400), "a\0b", "a\0a", "a"], dtype=object)
    assert sort_rows(table(pd.Series(column, dtype=object)), SortKey(0)).tolist()[:4] == [
        2,
        1,
        0,
        5,
    ]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("original_filename", True),
        ("File name", True),
        ("path", True),
        ("label", False),
        ("profile", False),
    ],
)
def test_columns_of_names_are_known_by_their_titles(title, expected):
    assert is_name_column(title) is expected
