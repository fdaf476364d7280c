"""A sort and a filter together give an order, and work in small pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.tables import table
from napari_lazyload.widgets.table import filtering, ordering, sorting
from napari_lazyload.widgets.table.data import PAGE
from napari_lazyload.widgets.table.filtering import TextFilter, match_rows
from napari_lazyload.widgets.table.ordering import arrange, runs
from napari_lazyload.widgets.table.sorting import SortKey


@given(st.lists(st.integers(0, 30)))
def test_runs_cover_the_rows_and_few_of_them_nothing_else(rows):
    found = runs(np.array(rows, dtype=np.intp))
    covered = [row for first, last in found for row in range(first, last + 1)]
    assert set(rows) <= set(covered)
    assert len(found) <= 8
    if len(found) > 1:
        assert covered == sorted(set(rows))


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
    original = sorting.as_objects

    def as_objects(block):
        taken.append(len(block))
        return original(block)

    monkeypatch.setattr(sorting, "as_objects", as_objects)
    monkeypatch.setattr(filtering, "as_objects", as_objects)
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
