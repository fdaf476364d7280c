"""Where a crop goes: a layer, a lazy layer, or a file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import LineEdit, PushButton
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QMessageBox, QWidget

from napari_lazyload.core.text import plain_text
from napari_lazyload.widgets.crop.fields import check, combo, described, set_choices
from napari_lazyload.widgets.qt.plain_text import plain_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QGridLayout

LAYER, LAZY, ZARR, TIFF, NPY = "layer", "lazy", ".ome.zarr", ".ome.tif", ".npy"
"""What a crop becomes; a file is named by its suffix."""

_CHOICES = [
    ("New layer", LAYER),
    ("Lazy layer", LAZY),
    ("OME-Zarr 0.5", ZARR),
    ("OME-TIFF", TIFF),
    ("NPY", NPY),
]

_SUFFIXES = re.compile(r"(\.ome)?\.(zarr|tiff?|npy)$", re.IGNORECASE)


class OutputForm:
    """Fields that say what becomes of a crop."""

    def __init__(self) -> None:
        self.kind = combo(
            "Result", "A layer in memory, a layer that reads what is looked at, or a file"
        )
        set_choices(self.kind, _CHOICES)
        self.path = LineEdit(value="")
        self.path.native.setAccessibleName("File")
        self.path.native.setPlaceholderText("where to write it")
        self.browse = described(PushButton(text="…"), "Choose a file", "Choose a file")
        self.browse.native.setMaximumWidth(32)
        self.pyramid = check("Pyramid", "Write coarser levels, too", checked=True)
        self.sharded = check("Sharded", "Put the chunks together in few files")
        self.reopen = check(
            "Open it afterwards", "Show the file as layers once it is written", checked=True
        )
        self._labels: list[QLabel] = []
        self._file_row, self._option_row = QWidget(), QWidget()
        for row, fields in (
            (self._file_row, (self.path, self.browse)),
            (self._option_row, (self.reopen, self.pyramid, self.sharded)),
        ):
            layout = QHBoxLayout(row)
            layout.setContentsMargins(0, 0, 0, 0)
            for field in fields:
                layout.addWidget(field.native)
            if row is self._option_row:
                layout.addStretch(1)
        self.kind.changed.connect(self._on_kind)
        self.browse.changed.connect(self.ask_path)

    def add_to(self, grid: QGridLayout, row: int) -> None:
        """Put the fields into rows of a grid, from one on."""
        for at, (name, field) in enumerate(
            (("Result", self.kind.native), ("File", self._file_row))
        ):
            label = plain_label(QLabel(name))
            label.setBuddy(self.kind.native if at == 0 else self.path.native)
            self._labels.append(label)
            grid.addWidget(label, row + at, 0)
            grid.addWidget(field, row + at, 1, 1, 2)
        grid.addWidget(self._option_row, row + 2, 0, 1, 3)
        self._on_kind()

    @property
    def verb(self) -> str:
        """The text of the button that makes it."""
        return {LAYER: "Crop", LAZY: "Add lazy layer"}.get(self.kind.value, "Save")

    @property
    def is_file(self) -> bool:
        """Whether the crop is written into a file."""
        return self.kind.value not in (LAYER, LAZY, None)

    @property
    def in_memory(self) -> bool:
        """Whether the crop becomes a layer whose pixels are in memory."""
        return not (self.is_file or self.kind.value == LAZY)

    def _on_kind(self) -> None:
        for widget in (self._labels[1], self._file_row, self._option_row):
            widget.setVisible(self.is_file)
        self.pyramid.native.setVisible(self.kind.value in (ZARR, TIFF))
        self.sharded.native.setVisible(self.kind.value == ZARR)
        if self.is_file and self.path.value:
            self.path.value = _SUFFIXES.sub("", self.path.value) + self.kind.value

    def ask_path(self) -> None:
        """Let the user choose a file; `may_replace` asks about an old one when it is written."""
        chosen, _ = QFileDialog.getSaveFileName(
            self.browse.native.window(),
            "Write the crop to",
            self.path.value,
            f"{self.kind.current_choice} (*{self.kind.value})",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if chosen:
            self.path.value = chosen

    def paths(self, names: Sequence[str]) -> tuple[Path, ...]:
        """Return a path for each of some layers, with the suffix of the format.

        Raises
        ------
        ValueError
            If there is none, or its folder is not there.
        """
        text = os.path.expanduser(self.path.value.strip())
        if not text:
            raise ValueError("Say which file to write.")
        stem = Path(os.path.abspath(_SUFFIXES.sub("", text)))
        if not stem.parent.is_dir():
            raise ValueError(
                f"There is no folder {stem.parent}: make it first, or choose another one."
            )
        if len(names) == 1:
            return (stem.with_name(stem.name + self.kind.value),)
        plain = [re.sub(r"[^\w\-.]+", "_", name) for name in names]
        paths = []
        for number, name in enumerate(plain):
            unique = f"{name}_{number}" if plain.count(name) > 1 else name
            paths.append(stem.with_name(f"{stem.name}_{unique}{self.kind.value}"))
        return tuple(paths)


def may_replace(parent: Any, paths: Sequence[Path]) -> bool | None:
    """Whether what is there may be replaced; None where the user does not want to write at all."""
    there = [path for path in paths if os.path.lexists(path)]
    if not there:
        return False
    names = "\n".join(map(str, there))
    buttons = QMessageBox.StandardButton
    answer = QMessageBox.question(
        parent,
        "Replace it?",
        plain_text(f"This is there already:\n{names}\n\nReplace it?"),
        buttons.Yes | buttons.No,
        buttons.No,
    )
    return True if answer == buttons.Yes else None
