"""Names and texts of files are never HTML in a widget of ours, whatever they hold."""

from __future__ import annotations

import os

import pytest
from napari.utils.notifications import notification_manager
from qtpy import QtCore, QtGui
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QLabel, QMessageBox, QTableView, QWidget

from helpers.crops import take_box
from napari_lazyload.core.text import plain_text
from napari_lazyload.widgets import opening
from napari_lazyload.widgets.attach import window_of
from napari_lazyload.widgets.crop.output import may_replace
from napari_lazyload.widgets.raw.dialog import RawDialog

Qt = QtCore.Qt
MIGHT_BE_HTML = getattr(Qt, "mightBeRichText", None) or QtGui.Qt.mightBeRichText
PLUGIN = "napari-lazyload"
TAGS = "<u>x</u><img src='file:///other.png'> &lt;b>"
TAG = "<u>x<img src=other.png>"  # a file's name has no slash

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")


def items_of(view):
    """Yield the tooltips of a table, a list or a tree."""
    model = view.model()
    if model is None:
        return
    columns = model.columnCount() if isinstance(view, QTableView) else 1
    for column in range(columns):
        yield model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
        for row in range(model.rowCount()):
            yield model.data(model.index(row, column), Qt.ItemDataRole.ToolTipRole)


def interpreted(widget):
    """Return the texts in a widget that Qt takes for HTML, and how many might be taken."""
    found, seen = [], 0
    for part in [widget, *widget.findChildren(QWidget)]:
        texts = [part.toolTip(), part.statusTip(), part.whatsThis()]
        if isinstance(part, QLabel):
            plain = part.textFormat() == Qt.TextFormat.PlainText
            shown = QLabel.text(part)
            texts += [] if plain else [shown]
            seen += plain and "<" in shown
        if isinstance(part, QComboBox):
            places = range(part.count())
            texts += [part.itemData(place, Qt.ItemDataRole.ToolTipRole) for place in places]
        if isinstance(part, QAbstractItemView):
            texts += items_of(part)
        texts = [text for text in texts if isinstance(text, str)]
        seen += sum("<" in text for text in texts)
        found += [(type(part).__name__, text) for text in texts if MIGHT_BE_HTML(text)]
    return found, seen


@pytest.mark.parametrize("text", [TAG, TAGS, "&lt;u>x", "a\n<b>b</b>", "<!-- x -->", "<?xml x?>"])
def test_no_text_is_html(text):
    assert not MIGHT_BE_HTML(plain_text(text))
    assert plain_text(text).replace("\N{WORD JOINER}", "") == text


def test_other_texts_stay_as_they_are():
    assert plain_text("a & b > c") == "a & b > c"


@pytest.fixture
def opened(make_napari_viewer, write_folder, tmp_path):
    """A window with a folder whose path, files, layer and axis have names with tags, and docks."""
    folder = tmp_path / TAG
    write_folder(folder, 4)
    for path in folder.iterdir():
        path.rename(path.with_name(f"{TAG}{path.name}"))
    broken = sorted(folder.iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:-20])
    viewer = make_napari_viewer()
    (layer,) = viewer.open(str(folder), plugin=PLUGIN)
    layer.name = TAGS
    _, table = viewer.window.add_plugin_dock_widget(PLUGIN, "Dataset table")
    _, crop = viewer.window.add_plugin_dock_widget(PLUGIN, "Crop a region")
    return viewer, table, crop


def test_both_docks_show_names_as_they_are(opened, qtbot):
    viewer, table, crop = opened
    layer = viewer.layers[0]
    layer.axis_labels = (TAGS, "y", "x")
    qtbot.waitUntil(lambda: table.table.model.total_rows == 4, timeout=20_000)
    viewer.dims.set_current_step(0, 1)
    crop.form.name.value = TAGS
    take_box(crop, (0, 4), (0, 8), (0, 8))
    crop.keep_region()
    notification_manager.records.clear()
    crop.crop()
    qtbot.waitUntil(lambda: not crop.running, timeout=20_000)
    assert "<" in crop.form.message.text()
    for dock, most in ((table, 3), (crop, 2)):
        found, seen = interpreted(dock)
        assert found == []
        assert seen >= most  # there is something to interpret
    records = [record.message for record in notification_manager.records]
    assert any(TAG.split("<")[1] in message for message in records)
    assert not any(map(MIGHT_BE_HTML, records))


def test_the_raw_dialog_shows_names_as_they_are(qtbot, tmp_path):
    path = tmp_path / f"{TAG}.raw"
    path.write_bytes(bytes(4096))
    dialog = RawDialog(str(path))
    qtbot.addWidget(dialog, before_close_func=lambda one: one.preview.stop())
    found, seen = interpreted(dialog)
    assert found == []
    assert seen


def test_the_dialog_of_opening_shows_the_address_as_it_is(make_napari_viewer, monkeypatch):
    window = window_of(make_napari_viewer())
    shown = []

    class Dialog(opening.QProgressDialog):
        def show(self):
            shown.extend([interpreted(self), self.labelText()])
            self.canceled.emit()

    monkeypatch.setattr(opening, "QProgressDialog", Dialog)
    monkeypatch.setattr(opening, "AT_ONCE", 0)
    never = opening.threading.Event()
    opening.open_in_window(lambda: never.wait(0.05), f"https://host/{TAGS}", window)
    assert shown[0][0] == []
    assert "<" in shown[1]


def test_a_question_shows_names_as_they_are(qtbot, tmp_path, monkeypatch):
    path = tmp_path / TAG
    path.write_bytes(b"")
    texts = []
    monkeypatch.setattr(QMessageBox, "question", lambda *given: texts.append(given[2]))
    may_replace(None, [path])
    assert "<" in texts[0]
    assert not MIGHT_BE_HTML(texts[0])
