"""The model under the table: what it reports to Qt, the cost of a change, and the final order."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QModelIndex, QPersistentModelIndex, Qt

from helpers.tables import column, frame, source_rows
from napari_lazyload.widgets.table import model as table_model
from napari_lazyload.widgets.table.data import PAGE, TableData
from napari_lazyload.widgets.table.model import MetaTableModel

Role = Qt.ItemDataRole


@pytest.fixture
def model(qapp) -> MetaTableModel:
    return MetaTableModel(frame())


def test_the_model_keeps_qts_rules(qtmodeltester, settle):
    model = MetaTableModel(frame(20))
    qtmodeltester.check(model)
    for change in (
        lambda: model.sort_by(3),
        lambda: model.filter_by("img1"),
        lambda: model.append_rows(frame(5)),
        lambda: model.update_rows([0, 1], {"status": ["loaded", "failed"]}),
        lambda: model.sort_by(None),
        lambda: model.filter_by(""),
        lambda: model.append_rows(frame(5)),
        lambda: model.set_frame(pd.DataFrame()),
        lambda: model.set_frame(frame(3)),
    ):
        change()
        settle(model)
        qtmodeltester.check(model)


def test_cells_headers_and_alignment(model):
    model.set_frame(pd.DataFrame({"name": ["a", None], "value": [1 / 3, np.nan], "count": [7, 8]}))
    assert [column(model, k) for k in range(3)] == [["a", ""], ["0.333333", ""], ["7", "8"]]
    horizontal, vertical = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
    assert [model.headerData(k, horizontal) for k in range(3)] == ["name", "value", "count"]
    assert [model.headerData(k, vertical) for k in range(2)] == ["0", "1"]
    assert "float64" in model.headerData(1, horizontal, Role.ToolTipRole)
    right = [
        bool(
            (model.data(model.index(0, k), Role.TextAlignmentRole) or Qt.AlignmentFlag(0))
            & Qt.AlignmentFlag.AlignRight
        )
        for k in range(3)
    ]
    assert right == [False, True, True]
    assert model.data(QModelIndex()) is None
    assert model.headerData(9, horizontal) is None


def test_without_a_sort_the_rows_are_back_in_slider_order(model, settle):
    model.sort_by(3, ascending=False)
    settle(model)
    assert source_rows(model)[0] == frame()["label"].argmax()
    model.sort_by(None)
    assert source_rows(model)[0] == 0


def test_a_persistent_index_follows_its_source_row(model, settle):
    held = QPersistentModelIndex(model.index(17, 3))
    model.sort_by(3)
    settle(model)
    assert held.row() == model.view_row(17) != 17
    assert held.column() == 3


def test_the_newest_request_wins(qtbot, model, settle, monkeypatch):
    started, gate, done = threading.Event(), threading.Event(), []
    original = table_model.arrange

    def slow(data, sort, *rest):
        started.set()
        assert gate.wait(20)
        done.append(sort.column)
        return original(data, sort, *rest)

    monkeypatch.setattr(table_model, "arrange", slow)
    swaps = []
    model.orderChanged.connect(lambda: swaps.append(source_rows(model)[:3].tolist()))
    model.sort_by(0, ascending=False)
    assert started.wait(20)
    model.sort_by(4)
    model.sort_by(3, ascending=False)
    gate.set()
    settle(model)
    assert 4 not in done
    assert done[-1] == 3
    assert swaps == [source_rows(model)[:3].tolist()]
    assert source_rows(model)[0] == frame()["label"].argmax()


def changes(model) -> list[tuple[int, int, int, int]]:
    seen: list[tuple[int, int, int, int]] = []
    model.dataChanged.connect(lambda a, b: seen.append((a.row(), b.row(), a.column(), b.column())))
    return seen


def test_a_contiguous_update_is_one_change(model, settle):
    seen = changes(model)
    model.update_rows(range(10, 20), {"status": ["loaded"] * 10})
    model.update_rows([5], {"status": ["failed"], "error": ["truncated"]})
    model.update_rows([1, 2, 7], {"label": [0.5, 1.5, 2.5]})
    model.update_rows(
        np.arange(0, 200, 2), {"status": ["queued"] * 100}
    )  # too scattered to name each
    model.update_rows([], {"status": []})
    assert seen == [(10, 19, 1, 1), (5, 5, 1, 2), (1, 2, 3, 3), (7, 7, 3, 3), (0, 198, 1, 1)]
    assert column(model, 1)[:4] == ["queued", "", "queued", ""]
    assert column(model, 3)[:3] == ["0", "0.5", "1.5"]
    seen.clear()
    model.sort_by(0, ascending=False)
    settle(model)
    model.update_rows([0, 1], {"status": ["loaded"] * 2})
    assert seen == [(198, 199, 1, 1)]


def test_an_update_reads_and_writes_no_other_page(million, monkeypatch):
    model = MetaTableModel(million)
    seen = changes(model)
    monkeypatch.delattr(TableData, "blocks")
    model.update_rows([500_000, 500_001], {"status": ["loaded", "failed"]})
    assert seen == [(500_000, 500_001, 1, 1)]
    assert [list(pages) for pages in model._data._pages if pages] == [[500_000 // PAGE]]


def test_a_filter_on_states_is_applied_again_when_they_change(qtbot, model, settle):
    model.filter_by("status:failed")
    settle(model)
    assert model.rowCount() == 0
    model.update_rows([3, 9], {"status": ["failed", "failed"]})
    settle(model)
    assert source_rows(model).tolist() == [3, 9]
    model.update_rows([3], {"label": [0.0]})
    assert not model._refresh.isActive()  # no column that the filter looks at


def test_a_sort_by_state_does_not_shuffle_rows_as_they_load(model, settle):
    model.sort_by(1)
    settle(model)
    model.update_rows([3], {"status": ["loaded"]})
    settle(model)
    assert source_rows(model).tolist() == list(range(200))


def test_rows_appended_to_an_empty_table_bring_its_dtypes(model):
    model.set_frame(frame(0))
    model.append_rows(frame(4))
    assert model.rowCount() == 4
    assert model.data(model.index(0, 3), Role.TextAlignmentRole) is not None
    with pytest.raises(ValueError, match="found also new"):
        model.append_rows(pd.DataFrame({"new": [1]}))
    assert model.rowCount() == 4


def test_changes_that_keep_coming_do_not_starve_a_filter(qtbot, model, settle, monkeypatch):
    gate = threading.Event()
    original = table_model.arrange

    def slow(*arguments):
        assert gate.wait(20)
        return original(*arguments)

    monkeypatch.setattr(table_model, "arrange", slow)
    monkeypatch.setattr(table_model, "_REFRESH", 1)
    model.filter_by("failed")
    first = model._task
    for row in range(20):
        model.update_rows([row], {"status": ["failed"]})
        qtbot.wait(3)
    assert model._task is first  # not called off and begun anew with every change
    gate.set()
    settle(model)
    assert source_rows(model).tolist() == list(range(20))
