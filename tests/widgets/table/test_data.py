"""Values come out as they went in, however rows were added and changed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.widgets.table import data as table_data
from napari_lazyload.widgets.table.data import PAGE, TableData, format_value, full_text


def contents(data: TableData) -> list[list[object]]:
    """Return every column's values, read block by block, and check that single values agree."""
    columns = []
    for column in range(len(data.columns)):
        values = []
        for start, block in data.blocks(column, PAGE):
            assert start == len(values)
            assert len(block) <= PAGE
            values += np.asarray(block, dtype=object).tolist()
        assert len(values) == len(data)
        shown = [data.value(row, column) for row in range(len(data))]
        assert list(map(full_text, shown)) == list(map(full_text, values))
        columns.append(values)
    return columns


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 9)),
        st.tuples(
            st.just("update"),
            st.lists(st.integers(0, 60), max_size=5),
            st.sampled_from([7, 2.5, None]),
        ),
    ),
    max_size=12,
)


@given(st.integers(0, 12), STEPS)
def test_appends_and_updates_agree_with_a_plain_list(first, steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_data, "PAGE", 4)
        patch.setattr(table_data, "_MERGE_BELOW", 8)
        numbers, states = list(range(first)), [""] * first
        data = TableData(
            pd.DataFrame(
                {
                    "number": pd.Series(numbers, dtype="int64"),
                    "state": pd.Series(states, dtype="str"),
                }
            )
        )
        for kind, *arguments in steps:
            count = len(numbers)
            if kind == "append":
                new = list(range(count, count + arguments[0]))
                data.append(pd.DataFrame({"number": new, "state": [f"new {k}" for k in new]}))
                numbers += new
                states += [f"new {k}" for k in new]
            else:
                rows = [row for row in arguments[0] if row < count]
                values = [f"state {row}" for row in rows]
                data.update(
                    np.array(rows, dtype=np.intp),
                    {"number": [arguments[1]] * len(rows), "state": values},
                )
                for row, value in zip(rows, values, strict=True):
                    numbers[row], states[row] = arguments[1], value
        assert [list(map(full_text, column)) for column in contents(data)] == [
            list(map(full_text, column)) for column in (numbers, states)
        ]


def test_a_snapshot_keeps_its_rows_while_others_are_appended():
    data = TableData(pd.DataFrame({"a": [1, 2]}))
    before = data.snapshot()
    data.append(pd.DataFrame({"a": [3]}))
    data.append(pd.DataFrame({"a": [4]}))
    assert (len(before), len(data)) == (2, 4)
    assert contents(before) == [[1, 2]]
    assert contents(data) == [[1, 2, 3, 4]]


def test_an_update_turns_only_its_page_into_objects():
    data = TableData(
        pd.DataFrame({"state": pd.Series([""] * (5 * PAGE), dtype="str"), "n": np.arange(5 * PAGE)})
    )
    data.update(np.array([3 * PAGE]), {"state": ["loaded"], "n": [-1]})
    assert [sorted(pages) for pages in data._pages] == [[3], [3]]
    assert data._pages[1][3].dtype == np.int64  # numbers stay numbers
    assert (data.value(3 * PAGE, 0), data.value(3 * PAGE, 1)) == ("loaded", -1)


def test_a_change_in_the_middle_of_reading_a_column_loses_no_value():
    count = 4 * PAGE
    data = TableData(pd.DataFrame({"n": np.arange(count)}))
    blocks = data.snapshot().blocks(0, 2 * PAGE)
    read = next(blocks)[1].tolist()
    data.update(np.array([2 * PAGE]), {"n": [2 * PAGE]})  # as the window does while a thread sorts
    for start, block in blocks:
        assert start == len(read)
        read += block.tolist()
    assert read == list(range(count))


def test_rows_that_come_one_by_one_do_not_pile_up():
    data = TableData(pd.DataFrame({"a": [0]}))
    for k in range(1, 2000):
        data.append(pd.DataFrame({"a": [k]}))
    assert len(data._frames) < 20
    assert contents(data) == [list(range(2000))]


def test_appended_rows_may_lack_columns_but_bring_no_new_ones():
    data = TableData(pd.DataFrame({"a": [1], "b": ["x"]}))
    data.append(pd.DataFrame({"b": ["y"]}))
    assert [full_text(data.value(1, 0)), data.value(1, 1)] == ["", "y"]
    with pytest.raises(ValueError, match=r"must have the table's columns, found also c"):
        data.append(pd.DataFrame({"c": [1]}))
    assert len(data) == 2


@pytest.mark.parametrize(
    ("rows", "columns", "error", "message"),
    [
        ([2], {"a": [1]}, IndexError, "rows must be in 0 to 1, got 2"),
        ([-1], {"a": [1]}, IndexError, "rows must be in 0 to 1, got -1"),
        ([0], {"c": [1]}, ValueError, "no column 'c'; it has: a, b"),
        ([0, 1], {"a": [1]}, ValueError, "one value for each of 2 rows, got 1"),
    ],
)
def test_a_wrong_update_says_what_is_wrong_and_changes_nothing(rows, columns, error, message):
    data = TableData(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    with pytest.raises(error, match=message):
        data.update(np.array(rows), {"b": ["new"] * len(rows), **columns})
    assert contents(data) == [[1, 2], ["x", "y"]]


@pytest.mark.skipif(
    int(pd.__version__.split(".")[0]) < 3, reason="pandas 2 copies nothing on write by itself"
)
def test_changes_of_the_frame_afterwards_stay_out():
    frame = pd.DataFrame({"a": [1, 2]})
    data = TableData(frame)
    frame.loc[0, "a"] = 9
    assert data.value(0, 0) == 1


@pytest.mark.parametrize(
    ("value", "shown", "whole"),
    [
        (1 / 3, "0.333333", "0.3333333333333333"),
        (np.float32(0.1), "0.1", "0.1"),
        (1234567.0, "1234567", "1234567.0"),
        (-0.0, "0", "-0.0"),
        (1e300, "1e+300", "1e+300"),
        (float("inf"), "inf", "inf"),
        (float("nan"), "", ""),
        (None, "", ""),
        (pd.NaT, "", ""),
        (pd.NA, "", ""),
        (np.int64(512), "512", "512"),
        (True, "True", "True"),
        (pd.Timestamp("2024-01-02 03:04:05"), "2024-01-02 03:04:05", "2024-01-02 03:04:05"),
        ("two\nlines", "two lines", "two\nlines"),
        ((3, 4), "(3, 4)", "(3, 4)"),
        ("x" * 5000, "x" * 500, "x" * 5000),
    ],
)
def test_cells_show_short_texts(value, shown, whole):
    assert (format_value(value), full_text(value)) == (shown, whole)
