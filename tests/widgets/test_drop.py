"""A folder dropped on the window, as Qt delivers it."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

import napari_lazyload as nl


def test_a_dropped_folder_opens_with_the_reader_that_the_preferences_name(
    make_napari_viewer, tmp_path, write_folder
):
    from napari.settings import get_settings

    stack = write_folder(tmp_path / "a", 7)
    viewer = make_napari_viewer()
    get_settings().plugins.extension2reader = {"*/": "napari-lazyload"}
    dropped = QMimeData()
    dropped.setUrls([QUrl.fromLocalFile(str(tmp_path / "a"))])
    event = QDropEvent(
        QPointF(10, 10),
        Qt.DropAction.CopyAction,
        dropped,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    viewer.window._qt_viewer.dropEvent(event)
    get_settings().plugins.extension2reader = {}
    (layer,) = viewer.layers
    assert nl.is_lazy(layer)
    nl.wait(viewer, 10)
    np.testing.assert_array_equal(np.asarray(layer._data_view), stack[viewer.dims.current_step[0]])
