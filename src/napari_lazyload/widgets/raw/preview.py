"""One plane of a raw file, read in a worker thread whenever its description changes."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel, QSlider, QVBoxLayout, QWidget

from napari_lazyload.core.errors import LazyLoadError
from napari_lazyload.loading import scheduler
from napari_lazyload.sources.binary.raw_guesses import plane_count, plane_sketch
from napari_lazyload.widgets.qt.main_thread import post_to_main

if TYPE_CHECKING:
    from napari_lazyload.loading.jobs import Job
    from napari_lazyload.sources.binary.strided import StridedFileSource

    Array = np.ndarray[Any, Any]

SIDE = 320
"""Most pixels along each axis of the picture."""

MOST_PLANES = (1 << 31) - 1
"""The slider of Qt counts no further."""


class RawPreview(QWidget):
    """Shows a plane in grey between its darkest and its brightest value, or in its colours.

    Attributes
    ----------
    picture : QLabel
        The plane.
    slider : QSlider
        Which one.
    said : QLabel
        Its number and its range of values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.said = QLabel(), QLabel()
        self.picture.setFixedSize(SIDE, SIDE)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setAccessibleName("Preview of one plane")
        self.said.setFixedWidth(SIDE)
        self.said.setWordWrap(True)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Plane")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.picture, self.slider, self.said):
            layout.addWidget(part)
        layout.addStretch(1)
        self._source: StridedFileSource | None = None
        self._asked = 0
        self._owner = ("raw preview", id(self))
        self.slider.valueChanged.connect(self._read)

    def show_source(self, source: StridedFileSource | None) -> None:
        """Show the middle plane of an image, or nothing."""
        self._source = source
        last = 0 if source is None else min(plane_count(source), MOST_PLANES) - 1
        blocked = self.slider.blockSignals(True)
        self.slider.setRange(0, last)
        self.slider.setValue(last // 2)
        self.slider.blockSignals(blocked)
        self.slider.setEnabled(last > 0)
        self._read()

    def stop(self) -> None:
        """Drop what is being read: the window is closed."""
        self._source = None
        self._asked += 1
        scheduler.shared.cancel(self._owner)

    def _read(self) -> None:
        """Read the plane that the slider is at; what was asked for before is dropped."""
        self._asked += 1
        scheduler.shared.cancel(self._owner)
        asked, source, number, mine = (
            self._asked,
            self._source,
            self.slider.value(),
            weakref.ref(self),
        )
        if source is None:
            self.picture.clear()
            self.said.clear()
            return

        def read(_job: Job) -> None:
            found: Array | str
            try:
                found = plane_sketch(source, number, SIDE)
            except LazyLoadError as err:
                found = str(err)
            post_to_main(lambda: _deliver(mine, asked, found))

        scheduler.shared.submit(read, owner=self._owner)

    def take(self, asked: int, found: Array | str) -> None:
        """Show what was read, or why it could not be; late answers are dropped."""
        if asked != self._asked:
            return
        if isinstance(found, str):
            self.picture.clear()
            self.said.setText(found)
            return
        shown, low, high = _as_shown(found)
        self.picture.setPixmap(_pixmap(shown))
        count = self.slider.maximum() + 1
        which = f"plane {self.slider.value() + 1:,} of {count:,}; " if count > 1 else ""
        self.said.setText(f"{which}values {low:.6g} to {high:.6g}")


def _deliver(preview: weakref.ref[RawPreview], asked: int, found: Array | str) -> None:
    still = preview()
    if still is not None and isalive(still):  # type: ignore[no-untyped-call] # a window takes its dialogs along unasked
        still.take(asked, found)


def _as_shown(pixels: Array) -> tuple[Array, float, float]:
    """Return pixels as 8-bit greys or colours, and the range of their finite values."""
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels), float(pixels.min()), float(pixels.max())
    with np.errstate(over="ignore", invalid="ignore"):
        values = (np.abs(pixels) if pixels.dtype.kind == "c" else pixels).astype("f8")
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        half = high / 2 - low / 2  # halves, for the range of floats may be more than a float holds
        gray = np.nan_to_num(
            (values / 2 - low / 2) / (half or 1.0), nan=0.0, posinf=1.0, neginf=0.0
        )
    return (gray.clip(0, 1) * 255).astype("u1"), low, high


def _pixmap(pixels: Array) -> QPixmap:
    high, wide = pixels.shape[:2]
    formats = {
        2: QImage.Format.Format_Grayscale8,
        3: QImage.Format.Format_RGB888,
        4: QImage.Format.Format_RGBA8888,
    }
    kind = formats[2 if pixels.ndim == 2 else pixels.shape[2]]
    image = QImage(
        pixels.tobytes(), wide, high, pixels.strides[0], kind
    ).copy()  # Qt would keep a bare pointer
    return QPixmap.fromImage(image).scaled(SIDE, SIDE, Qt.AspectRatioMode.KeepAspectRatio)
