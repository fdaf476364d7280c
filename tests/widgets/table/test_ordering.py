"""Sorting and filtering agree with pandas and with the slider's order, and work in small pieces."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.core.natural_sort import natural_key
from napari_lazyload.widgets.table import ordering
from napari_lazyload.widgets.table.data import PAGE, TableData, format_value, is_missing
from napari_lazyload.widgets.table.ordering import (
    SortKey,
    TextFilter,
    arrange,
    is_name_column,
    match_rows,
    parse_filter,
    runs,
    sort_rows,
)

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
    return TableData(pd.DataFrame({"column": values}))


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


@given(st.lists(st.integers(0, 30)))
def test_runs_cover_the_rows_and_few_of_them_nothing_else(rows):
    found = runs(np.array(rows, dtype=np.intp))
    covered = [row for first, last in found for row in range(first, last + 1)]
    assert set(rows) <= set(covered)
    assert len(found) <= 8
    if len(found) > 1:
        assert covered == sorted(set(rows))


def test_numbers_too_big_for_a_float_and_zero_bytes_do_no_harm():
    column = np.array([10**400, 1, -(10**400), "a\0b", "a\0a", "a"], dtype=object)
    assert sort_rows(table(pd.Series(column, dtype=object)), SortKey(0)).tolist()[:4] == [
        2,
        1,
        0,
        5,
    ]


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


def test_arrange_gives_rows_and_places_that_undo_each_other():
    data = table([5, 3, 4, 3])
    order = arrange(data, SortKey(0, ascending=False), TextFilter("3", 0))
    assert order.rows.tolist() == [1, 3]
    assert order.places.tolist() == [-1, 0, -1, 1]
    assert order.sorted_rows.tolist() == [0, 2, 1, 3]


def test_a_new_filter_does_not_sort_again(monkeypatch):
    data = table([5, 3, 4, 3])
    before = arrange(data, SortKey(0), None)
    monkeypatch.delattr(ordering, "sort_rows")
    assert arrange(data, SortKey(0), TextFilter("3", 0), before.sorted_rows).rows.tolist() == [1, 3]


class StopError(Exception):
    pass


@pytest.mark.parametrize("kind", ["number", "text", "mixed"])
def test_work_is_called_off_between_pieces_and_never_takes_more_than_a_page(kind, monkeypatch):
    count = 20 * PAGE
    values = (
        np.arange(count)
        if kind == "number"
        else np.array([f"{k}" for k in range(count)], dtype=object)
    )
    if kind == "mixed":
        values[::2] = 1.5
    taken = []
    original = ordering._values
    monkeypatch.setattr(
        ordering, "_values", lambda block: taken.append(len(block)) or original(block)
    )
    calls = []

    def checkpoint():
        calls.append(None)
        if len(calls) == 3:
            raise StopError

    data = table(values)
    for work in (
        lambda: arrange(data, SortKey(0), TextFilter("no number"), checkpoint=checkpoint),
        lambda: match_rows(data, TextFilter("7"), checkpoint),
    ):
        calls.clear()
        with pytest.raises(StopError):
            work()
    assert max(taken, default=0) <= PAGE
    assert len(taken) <= 8
