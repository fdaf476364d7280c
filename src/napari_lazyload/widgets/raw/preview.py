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
from napari_lazyload.widgets.qt.plain_text import plain_label

if TYPE_CHECKING:
    from napari_lazyload.loading.jobs import Job
    from napari_lazyload.sources.binary.strided import StridedFileSource

    Array = np.ndarray[Any, Any]

SIDE = 320
"""Most pixels along each axis of the picture."""

MOST_PLANES = (1 << 31) - 1
"""The largest number of a slider of Qt."""


class RawPreview(QWidget):
    """Shows a plane in gray between its darkest and its brightest value, or in its colors.

    Attributes
    ----------
    picture : QLabel
        The plane.
    slider : QSlider
        The number of the plane.
    caption : QLabel
        The number of the plane and its range of values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.caption = QLabel(), plain_label(QLabel())
        self.picture.setFixedSize(SIDE, SIDE)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setAccessibleName("Preview of one plane")
        self.caption.setFixedWidth(SIDE)
        self.caption.setWordWrap(True)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Plane")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.picture, self.slider, self.caption):
            layout.addWidget(part)
        layout.addStretch(1)
        self._source: StridedFileSource | None = None
        self._request = 0
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
        """Drop the read that is under way: the window is closed."""
        self._source = None
        self._request += 1
        scheduler.shared.cancel(self._owner)

    def _read(self) -> None:
        """Read the plane that the slider is at; earlier requests are dropped."""
        self._request += 1
        scheduler.shared.cancel(self._owner)
        request, source, preview = self._request, self._source, weakref.ref(self)
        number = self.slider.value()
        if source is None:
            self.picture.clear()
            self.caption.clear()
            return

        def read(_job: Job) -> None:
            result: Array | str
            try:
                result = plane_sketch(source, number, SIDE)
            except LazyLoadError as err:
                result = str(err)
            post_to_main(lambda: _deliver(preview, request, result))

        scheduler.shared.submit(read, owner=self._owner)

    def take(self, request: int, result: Array | str) -> None:
        """Show the plane, or why it could not be read; late results are dropped."""
        if request != self._request:
            return
        if isinstance(result, str):
            self.picture.clear()
            self.caption.setText(result)
            return
        shown, low, high = _as_shown(result)
        self.picture.setPixmap(_pixmap(shown))
        count = self.slider.maximum() + 1
        which = f"plane {self.slider.value() + 1:,} of {count:,}; " if count > 1 else ""
        self.caption.setText(f"{which}values {low:.6g} to {high:.6g}")


def _deliver(preview_ref: weakref.ref[RawPreview], request: int, result: Array | str) -> None:
    preview = preview_ref()
    # A window that is deleted deletes its dialogs too.
    if preview is not None and isalive(preview):  # type: ignore[no-untyped-call] # qtpy's
        preview.take(request, result)


def _as_shown(pixels: Array) -> tuple[Array, float, float]:
    """Return pixels as 8-bit grays or colors, and the range of their finite values."""
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels), float(pixels.min()), float(pixels.max())
    with np.errstate(over="ignore", invalid="ignore"):
        values = (np.abs(pixels) if pixels.dtype.kind == "c" else pixels).astype("f8")
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        half = high / 2 - low / 2  # halves, for the range of floats may be more than a float holds
        gray = (values / 2 - low / 2) / (half or 1.0)
    gray = np.nan_to_num(gray, nan=0.0, posinf=1.0, neginf=0.0)
    return (gray.clip(0, 1) * 255).astype("u1"), low, high


def _pixmap(pixels: Array) -> QPixmap:
    high, wide = pixels.shape[:2]
    formats = {
        2: QImage.Format.Format_Grayscale8,
        3: QImage.Format.Format_RGB888,
        4: QImage.Format.Format_RGBA8888,
    }
    kind = formats[2 if pixels.ndim == 2 else pixels.shape[2]]
    image = QImage(pixels.tobytes(), wide, high, pixels.strides[0], kind)
    image = image.copy()  # else Qt keeps a bare pointer
    return QPixmap.fromImage(image).scaled(SIDE, SIDE, Qt.AspectRatioMode.KeepAspectRatio)
