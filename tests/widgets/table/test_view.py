"""The table as a user meets it: real clicks and keys, and a million rows without a pause."""

from __future__ import annotations

import gc
import threading
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QGuiApplication, QHelpEvent, QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QMenu, QStyleOptionViewItem, QVBoxLayout, QWidget

from helpers.tables import MILLION, column, frame, luminance, source_rows
from helpers.waiting import threads
from napari_lazyload.widgets.table import model as table_model
from napari_lazyload.widgets.table.data import TableData
from napari_lazyload.widgets.table.painting import STATES
from napari_lazyload.widgets.table.view import MetaTableView

Role = Qt.ItemDataRole


@pytest.fixture
def view(qtbot) -> MetaTableView:
    view = MetaTableView()
    qtbot.addWidget(view)
    view.resize(700, 500)
    view.model.set_frame(frame())
    view.show()
    qtbot.waitExposed(view)
    view.activateWindow()
    view.table.setFocus()
    return view


@pytest.fixture
def picked(view) -> list[int]:
    rows: list[int] = []
    view.rowActivated.connect(rows.append)
    return rows


def click_header(qtbot, view, column) -> None:
    header = view.table.horizontalHeader()
    middle = QPoint(
        header.sectionViewportPosition(column) + header.sectionSize(column) // 2,
        header.height() // 2,
    )
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=middle)


def click_cell(qtbot, view, row, column=0, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    place = view.table.visualRect(view.model.index(row, column)).center()
    qtbot.mouseClick(view.table.viewport(), Qt.MouseButton.LeftButton, modifier, place)


def test_header_clicks_sort_up_down_and_back_to_slider_order(qtbot, view, settle):
    expected = frame()["label"].astype(float)
    click_header(qtbot, view, 3)
    settle(view.model)
    assert source_rows(view.model).tolist() == expected.sort_values(kind="stable").index.tolist()
    header = view.table.horizontalHeader()
    assert (header.sortIndicatorSection(), header.sortIndicatorOrder()) == (
        3,
        Qt.SortOrder.AscendingOrder,
    )
    click_header(qtbot, view, 3)
    settle(view.model)
    assert (
        source_rows(view.model).tolist()
        == expected.sort_values(kind="stable", ascending=False).index.tolist()
    )
    assert header.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder
    click_header(qtbot, view, 3)
    settle(view.model)
    assert source_rows(view.model).tolist() == list(range(200))
    assert header.sortIndicatorSection() == -1


def test_file_names_sort_naturally_and_row_numbers_stay(qtbot, view, settle):
    view.model.set_frame(pd.DataFrame({"original_filename": ["img10", "img2", "img1"]}))
    click_header(qtbot, view, 0)
    settle(view.model)
    assert column(view.model, 0) == ["img1", "img2", "img10"]
    assert [view.model.headerData(k, Qt.Orientation.Vertical) for k in range(3)] == ["2", "1", "0"]


def test_a_click_reports_the_source_row(qtbot, view, picked, settle):
    view.sort_by(3, ascending=False)
    settle(view.model)
    click_cell(qtbot, view, 2)
    click_cell(qtbot, view, 2)  # the same row again still brings the slider there
    click_cell(qtbot, view, 4, modifier=Qt.KeyboardModifier.ControlModifier)
    rows = source_rows(view.model)
    assert picked == [rows[2], rows[2], rows[4]]
    click_cell(qtbot, view, 4, modifier=Qt.KeyboardModifier.ControlModifier)
    assert view.selected_source_row == rows[4]
    view.model.set_frame(frame(3))
    view.select_source_row(1)
    viewport = view.table.viewport()
    qtbot.mouseClick(
        viewport, Qt.MouseButton.LeftButton, pos=QPoint(5, viewport.height() - 3)
    )  # below the rows
    assert view.selected_source_row == 1


def test_a_drag_reports_each_row(qtbot, view, picked):
    viewport = view.table.viewport()
    places = [view.table.visualRect(view.model.index(row, 0)).center() for row in range(3)]
    qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, pos=places[0])
    view.table.mouseMoveEvent(_move(viewport, places[1]))
    view.table.mouseMoveEvent(_move(viewport, places[2]))
    qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=places[2])
    assert picked == [0, 1, 2]


def _move(viewport, place):
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    spot = QPointF(place)
    return QMouseEvent(
        QEvent.Type.MouseMove, spot, QPointF(viewport.mapToGlobal(place)), left, left, none
    )


def test_keys_report_the_row_they_move_to(qtbot, view, picked):
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_End, Qt.Key.Key_Home):
        qtbot.keyClick(view.table, key)
    assert picked[1:] == [picked[0] + 1, picked[0], 199, 0]
    qtbot.keyClick(view.table, Qt.Key.Key_PageDown)
    assert 5 < picked[-1] < 50
    qtbot.keyClick(view.table, Qt.Key.Key_Right)
    assert len(picked) == 6  # another column is no other row


def test_a_click_on_a_row_number_reports_the_row(qtbot, view, picked):
    header = view.table.verticalHeader()
    place = QPoint(header.width() // 2, header.sectionViewportPosition(5) + 5)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert picked == [5]
    assert view.selected_source_row == 5


def test_only_the_user_makes_row_activated(qtbot, view, picked, settle):
    view.select_source_row(3)
    view.table.selectRow(4)
    view.filter_edit.setFocus()
    view.table.clearSelection()
    view.table.setFocus(Qt.FocusReason.TabFocusReason)
    view.sort_by(3)
    settle(view.model)
    view.model.filter_by("img1")
    settle(view.model)
    view.model.set_frame(frame(9))
    qtbot.mouseClick(
        view.table.viewport(),
        Qt.MouseButton.LeftButton,
        pos=QPoint(5, view.table.viewport().height() - 3),
    )
    assert picked == []


def test_select_source_row_shows_the_row_wherever_it_stands(view, settle):
    view.sort_by(3, ascending=False)
    settle(view.model)
    bar = view.table.horizontalScrollBar()
    view.resize(200, 300)
    bar.setValue(bar.maximum())
    across = bar.value()
    assert across > 0
    view.select_source_row(0)
    row = view.model.view_row(0)
    assert view.table.currentIndex().row() == row
    assert view.table.viewport().rect().intersects(view.table.visualRect(view.model.index(row, 4)))
    assert bar.value() == across  # it scrolls to the row, not to a column
    assert view.selected_source_row == 0


def test_the_selection_follows_its_source_row(view, settle):
    view.select_source_row(17)
    view.sort_by(3)
    settle(view.model)
    assert view.selected_source_row == 17
    view.model.filter_by("img1")
    settle(view.model)
    assert view.selected_source_row == 17
    view.model.filter_by("img2")
    settle(view.model)
    assert view.selected_source_row is None
    view.select_source_row(18)
    assert view.selected_source_row is None
    view.model.filter_by("")
    settle(view.model)
    assert view.selected_source_row == 18  # what the slider shows is selected once it is to be seen


def test_a_sort_shows_its_beginning_and_slider_order_the_selected_row(view, settle):
    view.select_source_row(150)
    bar = view.table.verticalScrollBar()
    assert bar.value() > 100
    view.sort_by(3)
    settle(view.model)
    assert bar.value() == 0
    view.sort_by(None)
    row = view.table.visualRect(view.model.index(150, 0))
    assert view.table.viewport().rect().contains(row.center())


def test_the_filter_line_filters_and_counts(qtbot, view, settle):
    assert view.count_label.text() == "200 rows"
    qtbot.keyClicks(view.filter_edit, "IMG19")
    qtbot.waitUntil(lambda: view.model.rowCount() < 200)
    settle(view.model)
    assert view.count_label.text() == "11 of 200 rows"
    assert column(view.model, 0) == ["img19.png", *(f"img{k}.png" for k in range(190, 200))]
    view.filter_edit.clear()
    qtbot.keyClicks(view.filter_edit, "group:g1")
    qtbot.keyClick(view.filter_edit, Qt.Key.Key_Return)
    settle(view.model)
    assert view.count_label.text() == "67 of 200 rows"
    view.filter_edit.setText("nothing like it")
    qtbot.keyClick(view.filter_edit, Qt.Key.Key_Return)
    settle(view.model)
    assert view.count_label.text() == "0 of 200 rows"
    view.model.set_frame(frame(1234))
    assert view.filter_edit.text() == ""
    assert view.count_label.text() == "1,234 rows"


@pytest.mark.parametrize("rows", [200, 230])
def test_the_same_data_set_read_again_keeps_sort_filter_and_row(view, settle, picked, rows):
    view.sort_by(3, ascending=False)
    view.filter_edit.setText("img1")
    view.filter_edit.returnPressed.emit()
    settle(view.model)
    view.select_source_row(17)
    view.table.setColumnWidth(0, 123)
    view.model.set_frame(frame(rows), keep_order=True)
    settle(view.model)
    expected = frame(rows)[frame(rows)["original_filename"].str.contains("img1")].sort_values(
        "label", ascending=False
    )
    assert source_rows(view.model).tolist() == expected.index.tolist()
    assert view.filter_edit.text() == "img1"
    assert view.table.horizontalHeader().sortIndicatorSection() == 3
    assert view.selected_source_row == 17
    assert view.table.columnWidth(0) == 123
    assert picked == []
    view.model.set_frame(frame(5)[["label"]], keep_order=True)  # other columns: another table
    assert view.filter_edit.text() == ""
    assert source_rows(view.model).tolist() == list(range(5))


def test_work_that_takes_long_says_so(qtbot, view, settle, monkeypatch):
    gate = threading.Event()
    original = table_model.arrange
    monkeypatch.setattr(table_model, "arrange", lambda *a: gate.wait(20) and original(*a))
    view.sort_by(3)
    qtbot.waitUntil(lambda: view.count_label.text() == "Working…")
    gate.set()
    settle(view.model)
    assert view.count_label.text() == "200 rows"


def test_a_sort_that_fails_leaves_the_rows_and_says_why(qtbot, view, settle, monkeypatch):
    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(table_model, "arrange", fail)
    with qtbot.waitSignal(view.model.orderFailed) as blocker:
        view.sort_by(3)
    assert blocker.args == ["no room"]
    assert source_rows(view.model).tolist() == list(range(200))
    assert not view.model.busy
    assert view.count_label.toolTip() == "no room"


# --- live changes
# ------------------------------------------------------------------------------------------------


def test_a_state_is_marked_and_a_failure_gives_its_reason(view):
    view.model.update_rows(
        range(len(STATES)), {"status": STATES, "error": ["bad zip"] * len(STATES)}
    )
    model = view.model
    for row, state in enumerate(STATES):
        index = model.index(row, 1)
        assert not model.data(index, Role.DecorationRole).isNull()
        assert model.data(index, Role.ForegroundRole) is not None
        reasons = [model.data(model.index(row, k), Role.ToolTipRole) or "" for k in (0, 1, 3)]
        assert all("bad zip" in reason for reason in reasons) is (state in ("failed", "different"))
    assert model.data(model.index(50, 1), Role.DecorationRole) is None
    assert model.data(model.index(0, 0), Role.DecorationRole) is None


@pytest.mark.parametrize("prepared", ["plain", "sorted", "filtered"])
def test_appended_rows_show(view, settle, prepared):
    view.select_source_row(3)
    if prepared == "sorted":
        view.sort_by(3)
    elif prepared == "filtered":
        view.model.filter_by("img")
    settle(view.model)
    view.model.append_rows(frame(3))
    assert view.model.total_rows == 203
    assert view.model.view_row(202) == (202 if prepared == "plain" else -1)
    settle(view.model)
    assert sorted(source_rows(view.model).tolist()) == list(range(203))
    assert view.count_label.text() == "203 rows"
    assert view.selected_source_row == 3


# --- a million rows
# ----------------------------------------------------------------------------------------------


class Watch:
    """Counts the reads of the window's thread, and records which thread reads whole columns."""

    def __init__(self, monkeypatch) -> None:
        self.cells: Counter[str] = Counter()
        self.readers: set[str] = set()
        value, blocks = TableData.value, TableData.blocks
        window = threading.get_ident()

        def watched_value(data, row, column):
            self.cells["cells"] += 1
            return value(data, row, column)

        def watched_blocks(data, column, size=None):
            self.readers.add("window" if threading.get_ident() == window else "worker")
            return blocks(data, column, size)

        monkeypatch.setattr(TableData, "value", watched_value)
        monkeypatch.setattr(TableData, "blocks", watched_blocks)


def test_a_million_rows_show_scroll_sort_and_filter_without_reading_columns_in_the_window(
    qtbot, view, settle, million, monkeypatch
):
    watch = Watch(monkeypatch)
    visible = 40 * 10  # rows that fit, times columns
    view.model.set_frame(million)
    view.table.viewport().repaint()
    assert (
        watch.cells["cells"] <= 50 * 10 + 3 * visible
    )  # the sample for the widths, and a page's roles
    assert watch.readers == set()
    watch.cells.clear()
    view.table.scrollToBottom()
    view.table.viewport().repaint()
    view.select_source_row(MILLION // 2)
    view.table.viewport().repaint()
    assert watch.cells["cells"] <= 6 * visible
    watch.cells.clear()
    view.sort_by(0, ascending=False)
    settle(view.model)
    assert (view.model.source_row(0), view.model.source_row(MILLION - 1)) == (MILLION - 1, 0)
    view.model.filter_by("n0:77")
    settle(view.model)
    assert view.model.rowCount() == 1
    assert view.selected_source_row is None
    assert watch.readers == {"worker"}
    assert watch.cells["cells"] <= 20 * visible


def test_typed_letters_do_not_search_the_rows(qtbot, view, million, picked, monkeypatch):
    view.model.set_frame(million)
    view.select_source_row(0)
    watch = Watch(monkeypatch)
    qtbot.keyClicks(view.table, "zz9")
    assert picked == []
    assert watch.cells["cells"] == 0


def test_columns_fit_the_first_rows_and_long_texts_are_cut(qtbot, view):
    long = "x" * 300
    view.model.set_frame(
        pd.DataFrame(
            {"a": ["1"] * 100, "status": "", "long": ["short"] * 60 + [long] * 40, "wide": long}
        )
    )
    widths = [view.table.columnWidth(k) for k in range(4)]
    letter = view.table.fontMetrics().averageCharWidth()
    assert widths[2] < 20 * letter  # what stands further down than the first rows does not count
    assert 40 * letter <= widths[3] <= 50 * letter
    assert view.table.horizontalScrollBar().maximum() == 0 or view.width() < sum(widths)
    index = view.model.index(0, 3)
    assert view.model.data(index, Role.ToolTipRole) == long


def test_a_column_of_states_has_room_for_each_though_all_are_blank(qtbot):
    view = MetaTableView()
    qtbot.addWidget(view)
    view.model.set_frame(pd.DataFrame({"status": ["", ""]}))
    view.show()
    metrics = view.table.fontMetrics()
    assert view.table.columnWidth(0) > metrics.horizontalAdvance("loading") + metrics.height()


def test_only_cells_that_are_cut_off_or_failed_have_a_tooltip(view):
    view.model.set_frame(
        pd.DataFrame(
            {"a": ["short", "short"], "status": ["", "failed"], "error": "torn", "wide": "x" * 300}
        )
    )
    delegate = view.table.itemDelegate()
    shown = []
    view.model._tooltip = lambda row, column: shown.append((row, column)) or "text"
    for row in range(2):
        for place in (0, 3):
            index = view.model.index(row, place)
            option = QStyleOptionViewItem()
            option.rect = view.table.visualRect(index)
            spot = option.rect.center()
            event = QHelpEvent(QEvent.Type.ToolTip, spot, view.table.viewport().mapToGlobal(spot))
            delegate.helpEvent(event, view.table, option, index)
    assert shown == [(0, 3), (1, 0), (1, 3)]


# --- keys, menu, clipboard
# ---------------------------------------------------------------------------------------


def test_ctrl_c_copies_the_selected_row(qtbot, view):
    view.model.set_frame(pd.DataFrame({"name": ["a\tb\nc"], "value": [1 / 3], "none": [np.nan]}))
    QGuiApplication.clipboard().setText("before")
    qtbot.keyClick(view.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == "before"  # nothing is selected
    view.select_source_row(0)
    override = QKeyEvent(
        QEvent.Type.ShortcutOverride, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier
    )
    override.ignore()
    assert view.table.event(override)
    assert override.isAccepted()  # napari's own Ctrl+C stands back
    qtbot.keyClick(view.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == f"a b c\t{1 / 3!r}\t"


def test_the_menu_sorts_copies_and_restores(qtbot, view, settle):
    view.select_source_row(2)

    def choose(text):
        place = view.table.visualRect(view.model.index(0, 3)).center()
        view.table.customContextMenuRequested.emit(place)
        menu = view.findChildren(QMenu)[-1]
        actions = {action.text(): action for action in menu.actions()}
        enabled = actions[text].isEnabled()
        actions[text].trigger()
        menu.close()
        qtbot.waitUntil(lambda: not view.findChildren(QMenu))
        return enabled

    assert not choose("Slider order")
    assert choose("Sort by label, descending")
    settle(view.model)
    assert source_rows(view.model)[0] == frame()["label"].argmax()
    assert choose("Sort by label")
    settle(view.model)
    assert source_rows(view.model)[0] == 0
    assert choose("Copy row")
    assert QGuiApplication.clipboard().text().startswith("img2.png\t")
    assert choose("Slider order")
    assert view.model.sort_key is None


def test_tab_goes_from_the_filter_to_the_table_and_on(qtbot, view):
    view.filter_edit.setFocus()
    qtbot.waitUntil(view.filter_edit.hasFocus)
    qtbot.keyClick(view.filter_edit, Qt.Key.Key_Tab)
    assert view.table.hasFocus()
    qtbot.keyClick(view.table, Qt.Key.Key_Tab)
    assert not view.table.hasFocus()
    assert all(part.accessibleName() for part in (view.filter_edit, view.table, view.count_label))


# --- themes and ends
# ---------------------------------------------------------------------------------------------


def test_marks_follow_the_theme(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    view = MetaTableView(parent=window)
    QVBoxLayout(window).addWidget(view)
    view.model.set_frame(pd.DataFrame({"status": ["failed"]}))
    window.show()
    shades = []
    for text, ground in (("white", "#262930"), ("black", "#dddad8")):
        window.setStyleSheet(f"QTableView {{ color: {text}; background-color: {ground}; }}")
        brush = view.model.data(view.model.index(0, 0), Role.ForegroundRole)
        shades.append(luminance(brush.color()))
    assert shades[0] > 0.25 > shades[1]


def test_closing_calls_off_the_work_and_drops_its_result(qtbot, view, monkeypatch):
    gate, started = threading.Event(), threading.Event()
    original = table_model.arrange

    def slow(*arguments):
        started.set()
        assert gate.wait(20)
        return original(*arguments)

    monkeypatch.setattr(table_model, "arrange", slow)
    view.sort_by(3)
    assert started.wait(20)
    assert view.close()
    assert not view.model.busy
    assert not view.model._poll.isActive()
    gate.set()
    qtbot.waitUntil(lambda: not threads("napari-lazyload-table"))
    qtbot.wait(50)
    assert source_rows(view.model).tolist() == list(range(200))


def test_a_table_deleted_in_the_middle_of_a_sort_leaves_nothing(qtbot, monkeypatch):
    started = threading.Event()

    def endless(*arguments):
        started.set()
        while True:
            arguments[-1]()  # the checkpoint

    monkeypatch.setattr(table_model, "arrange", endless)
    view = MetaTableView()
    view.model.set_frame(frame())
    view.show()
    gone = []
    view.destroyed.connect(lambda: gone.append(True))
    view.sort_by(0)
    assert started.wait(20)
    view.deleteLater()
    del view
    qtbot.waitUntil(lambda: bool(gone))
    qtbot.waitUntil(lambda: not threads("napari-lazyload-table"), timeout=20_000)
    gc.collect()


def test_it_works_in_naparis_window_in_both_themes(make_napari_viewer_proxy, qtbot, settle):
    viewer = make_napari_viewer_proxy()
    view = MetaTableView()
    view.model.set_frame(frame())
    viewer.window.add_dock_widget(view, name="Dataset", area="bottom")
    view.model.update_rows([0], {"status": ["failed"]})
    shades = []
    for theme in ("dark", "light"):
        viewer.theme = theme
        brush = view.model.data(view.model.index(0, 1), Role.ForegroundRole)
        base = view.table.palette().color(view.table.palette().ColorRole.Base)
        dark, light = sorted((luminance(brush.color()), luminance(base)))
        assert (light + 0.05) / (dark + 0.05) >= 4.4
        shades.append(luminance(base))
    assert shades[0] < 0.1 < shades[1]
    view.sort_by(3)
    settle(view.model)
