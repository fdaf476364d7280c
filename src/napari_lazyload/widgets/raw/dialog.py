"""A dialog that asks what a raw file holds, with a live preview."""

from __future__ import annotations

import os
import re
import weakref
from functools import partial
from typing import Any

import numpy as np
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_lazyload.core.errors import LazyLoadError
from napari_lazyload.core.text import plain_text
from napari_lazyload.sources.binary.raw import from_name, raw_source, write_sidecar
from napari_lazyload.sources.binary.raw_guesses import Guess, guesses
from napari_lazyload.widgets.attach import attach_open_viewers, hide_until_bound
from napari_lazyload.widgets.qt.plain_text import plain_label
from napari_lazyload.widgets.raw.preview import RawPreview

DTYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
)
MOST_HEADER = (1 << 31) - 1
"""The largest number of a spin box of Qt."""

BYTE_ORDERS = {"little-endian (most computers)": "<", "big-endian": ">"}
ORDERS = {"last size is the fastest (C)": "C", "first size is the fastest (Fortran)": "F"}


def ask_for_raw(viewer: Any, path: str, parent: QWidget | None = None) -> RawDialog:
    """Show the dialog for a file beside the live window; accepting it adds the layers."""
    dialog = RawDialog(path, parent)
    dialog.accepted.connect(partial(_open, weakref.ref(viewer), weakref.ref(dialog)))
    dialog.show()
    dialog.raise_()
    dialog.activateWindow()
    return dialog


def _open(viewer_ref: weakref.ref[Any], dialog_ref: weakref.ref[RawDialog]) -> None:
    """Open the file as described, and write a sidecar if the user chose so."""
    from napari.layers import Layer

    from napari_lazyload.dataset.opening import open_dataset

    viewer, dialog = viewer_ref(), dialog_ref()
    if viewer is None or dialog is None:
        return
    try:
        layers = open_dataset(dialog.path, **dialog.description()).to_layer_data()
        attach_open_viewers()
        hide_until_bound(layers)
        for layer in layers:
            viewer.add_layer(Layer.create(*layer))
        if dialog.keep.isChecked():
            write_sidecar(dialog.path, dialog.description())
    except (LazyLoadError, OSError, ValueError) as err:
        show_error(plain_text(str(err)))


class RawDialog(QDialog):
    """Asks for type, shape, offset and byte order of a raw file, with guesses that fit its size.

    Parameters
    ----------
    path : str
        The file.
    parent : QWidget, optional
        The Qt parent, whose theme it follows.

    Attributes
    ----------
    guesses : QListWidget
        What fits the size, the likeliest first; selecting a guess fills in the fields.
    dtype, byte_order, order : QComboBox
        How numbers are stored, and which axis is the fastest.
    shape : QLineEdit
        Pixels along each axis, slowest first.
    offset : QSpinBox
        Bytes of the header.
    keep : QCheckBox
        Whether a sidecar is written.
    verdict : QLabel
        How the description fits the file, in words.
    preview : RawPreview
        One plane of it.
    buttons : QDialogButtonBox
        Open and cancel.
    """

    def __init__(self, path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.path = os.path.abspath(path)
        self._size = os.path.getsize(self.path)
        self._trailing = False
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"What is in {os.path.basename(self.path)}?")
        self.setModal(False)
        self._make_parts()
        self._lay_out()
        self._fill_in()
        for part in (self.dtype, self.byte_order, self.order):
            part.currentIndexChanged.connect(self._changed)
        self.shape.textChanged.connect(self._changed)
        self.offset.valueChanged.connect(self._changed)
        self.guesses.currentItemChanged.connect(self._chosen)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.finished.connect(self.preview.stop)
        self._changed()

    def _make_parts(self) -> None:
        self.guesses = QListWidget()
        self.guesses.setAccessibleName("Shapes and types that fit the size of the file")
        self.dtype, self.byte_order, self.order = QComboBox(), QComboBox(), QComboBox()
        self.dtype.addItems(DTYPES)
        self.byte_order.addItems(list(BYTE_ORDERS))
        self.order.addItems(list(ORDERS))
        self.shape = QLineEdit()
        self.shape.setPlaceholderText("100 x 512 x 512, slowest axis first")
        self.shape.setToolTip(
            "Sizes along each axis, slowest first; one may be -1: as many as there are"
        )
        self.offset = QSpinBox()
        self.offset.setRange(0, min(self._size, MOST_HEADER))
        self.offset.setSuffix(" bytes")
        self.keep = QCheckBox(f"&Keep this in {os.path.basename(self.path)}.json")
        self.keep.setToolTip(
            "A file beside the data, by which it opens without a question from then on"
        )
        self.verdict = plain_label(QLabel())
        self.verdict.setWordWrap(True)
        self.preview = RawPreview()
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.open_button = QPushButton("&Open")
        self.buttons.addButton(self.open_button, QDialogButtonBox.ButtonRole.AcceptRole)
        self.open_button.setDefault(True)

    def _lay_out(self) -> None:
        form = QFormLayout()
        for label, part in (
            ("&Type", self.dtype),
            ("&Byte order", self.byte_order),
            ("&Shape", self.shape),
            ("&Header", self.offset),
            ("&Axes", self.order),
        ):
            form.addRow(label, part)
        title = plain_label(QLabel("&What fits the size"))
        title.setBuddy(self.guesses)
        left = QVBoxLayout()
        left.addWidget(title)
        left.addWidget(self.guesses, 1)
        left.addLayout(form)
        left.addWidget(self.keep)
        columns = QHBoxLayout()
        columns.addLayout(left, 1)
        columns.addWidget(self.preview)
        text = f"{self.path}: {self._size:,} bytes, and nothing that says what they are"
        where = plain_label(QElidingLabel(text))
        where.setToolTip(plain_text(self.path))
        whole = QVBoxLayout(self)
        whole.addWidget(where)
        whole.addLayout(columns, 1)
        whole.addWidget(self.verdict)
        whole.addWidget(self.buttons)
        self.resize(760, 520)

    def _fill_in(self) -> None:
        """List the guesses, and fill in the first where the file's name says nothing."""
        known = from_name(self.path)
        for guess in guesses(self._size, known.get("dtype")):
            header = f", header of {guess.offset} bytes" if guess.offset else ""
            item = QListWidgetItem(f"{_size_text(guess.shape)}  {guess.dtype}{header}")
            item.setData(Qt.ItemDataRole.UserRole, guess)
            self.guesses.addItem(item)
        if self.guesses.count():
            self.guesses.setCurrentRow(0)
            self._chosen(self.guesses.item(0))
        self.dtype.setCurrentText(known.get("dtype", self.dtype.currentText()))
        if "shape" in known:
            self.shape.setText(_size_text(known["shape"]))
        if str(known.get("byte_order", "")).startswith(("b", "m", ">")):
            self.byte_order.setCurrentIndex(1)

    def _chosen(self, item: QListWidgetItem | None) -> None:
        """Fill in a guess."""
        if item is None:
            return
        guess: Guess = item.data(Qt.ItemDataRole.UserRole)
        self.dtype.setCurrentText(guess.dtype)
        self.shape.setText(_size_text(guess.shape))
        self.offset.setValue(guess.offset)

    def description(self) -> dict[str, Any]:
        """Return the description: options of `open_dataset`, and the content of a sidecar.

        Raises
        ------
        ValueError
            If the text of the shape is no shape.
        """
        byte_order: Any = BYTE_ORDERS[self.byte_order.currentText()]
        dtype = np.dtype(self.dtype.currentText()).newbyteorder(byte_order)
        known: dict[str, Any] = {"dtype": dtype.str, "shape": _sizes(self.shape.text())}
        if self.offset.value():
            known["offset"] = self.offset.value()
        if (order := ORDERS[self.order.currentText()]) != "C":
            known["order"] = order
        if self._trailing:
            known["trailing"] = True
        return known

    def _changed(self) -> None:
        """Show how the description fits, and a plane where it does."""
        try:
            source = raw_source(self.path, {**self.description(), "trailing": True})[1]
        except (LazyLoadError, ValueError) as err:
            text = str(err).removeprefix(f"cannot open {self.path!r}: ")
            reason = text.removeprefix(f"{self.path}: ").partition("; ")[0]
            self.verdict.setText(f"Does not fit: {reason}")
            self.open_button.setEnabled(False)
            self.preview.show_source(None)
            return
        left = self._size - source.layout.end
        self._trailing = left > 0
        more = "That is the whole file."
        if left:
            more = f"{left:,} bytes behind the last pixel are left over."
        self.verdict.setText(f"{_size_text(source.meta.shape)} {source.meta.dtype}. {more}")
        self.open_button.setEnabled(True)
        self.preview.show_source(source)


def _size_text(shape: Any) -> str:
    return " x ".join(map(str, shape))


def _sizes(text: str) -> list[int]:
    """Return the sizes in a text such as ``100 x 512 x 512``."""
    if re.fullmatch(r"[\s(\[]*-?[0-9]+([\s,;xX*\u00d7]+-?[0-9]+)*[\s)\],]*", text) is None:
        raise ValueError(
            f"expected sizes such as 100 x 512 x 512, slowest axis first, found {text!r}"
        )
    return [int(part) for part in re.findall(r"-?[0-9]+", text)]
