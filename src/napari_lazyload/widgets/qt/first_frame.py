"""Delay work until the window shows a new layer: drawing it needs the interpreter."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget

from napari_lazyload.layers.display.layer_display import link_of
from napari_lazyload.loading import background
from napari_lazyload.widgets.qt.main_thread import post_to_main

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari


def after_first_frame(viewer: napari.Viewer, function: Callable[[], Any]) -> None:
    """Call `function` in the main thread once the window has drawn a new lazy layer.

    Background work waits until then. Where no window is on the screen, or none draws within
    `napari_lazyload.loading.background.PATIENCE_SECONDS`, the function is called all the same.
    """
    canvas = canvas_of(viewer)
    if canvas is None or not canvas.isVisible():
        post_to_main(function)
    else:
        _Waiting(viewer, canvas, function)


def canvas_of(viewer: napari.Viewer) -> QOpenGLWidget | None:
    """Return the canvas of a viewer, or None where it has no window."""
    window = getattr(viewer.window, "_qt_window", None)  # napari has no public name for it
    return None if window is None else window.centralWidget().findChild(QOpenGLWidget)


class _Waiting(QObject):
    """Listens to the frames of a canvas until one shows a new lazy layer."""

    def __init__(
        self, viewer: napari.Viewer, canvas: QOpenGLWidget, function: Callable[[], Any]
    ) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        # This object lives until Qt deletes the canvas.
        self._layers = weakref.ref(viewer.layers)
        self._before = {id(layer) for layer in viewer.layers}
        self._function = function
        background.drawing.begin()
        canvas.frameSwapped.connect(self._on_frame)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._end)
        self._timer.start(int(1000 * background.PATIENCE_SECONDS))

    def _on_frame(self) -> None:
        new = (layer for layer in self._layers() or () if id(layer) not in self._before)
        if any(layer.visible and link_of(layer) is not None for layer in new):
            self._end()

    def _end(self) -> None:
        self._canvas.frameSwapped.disconnect(self._on_frame)
        self._timer.stop()
        background.drawing.end()
        post_to_main(self._function)
        self.deleteLater()
