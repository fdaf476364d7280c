"""Make the viewers of this process ready for lazy layers."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import napari

from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.layers.display.layer_display import link_of
from napari_lazyload.layers.preferences import follow_preferences
from napari_lazyload.layers.viewer import attach
from napari_lazyload.widgets.qt.first_frame import after_first_frame
from napari_lazyload.widgets.qt.idle_imports import import_when_idle
from napari_lazyload.widgets.qt.main_thread import post_to_main

if TYPE_CHECKING:
    from qtpy.QtWidgets import QMainWindow

    from napari_lazyload.dataset.dataset import Dataset


def attach_open_viewers() -> bool:
    """Bind displays in every open viewer, and return whether there is one.

    A reader does not know which viewer asks.
    """
    viewers = set(getattr(napari.Viewer, "_instances", ()))
    current = napari.current_viewer()
    if current is not None:
        viewers.add(current)
    for viewer in viewers:
        _attach(viewer)
        after_first_frame(viewer, partial(_finish_setup, weakref.ref(viewer)))
    return bool(viewers)


def hide_until_bound(layers: list[Any]) -> None:
    """Hide layer data until a display is bound to it, so that adding it reads nothing.

    Layers that the file hides (a channel that is off, the label of a slide) stay hidden.
    """
    for _, keywords, _ in layers:
        keywords["metadata"][METADATA_KEY].hidden = keywords.get("visible", True)
        keywords["visible"] = False


def _finish_setup(viewer: weakref.ref[napari.Viewer]) -> None:
    """Do what takes time: for one plugin's preferences napari reads all plugins' manifests."""
    still = viewer()  # the window may be gone before it has drawn
    if still is not None:
        _select_visible_layer(still)
        follow_preferences()
        import_when_idle(window_of(still))


def _select_visible_layer(viewer: napari.Viewer) -> None:
    """Select a visible layer of the data set if napari selected its last one, a hidden one."""
    active = viewer.layers.selection.active
    dataset = dataset_of(active)
    if dataset is None or active.visible:
        return
    for layer in reversed(viewer.layers):
        if layer.visible and dataset_of(layer) is dataset:
            viewer.layers.selection.active = layer
            return


def _attach(viewer: napari.Viewer) -> None:
    displays = attach(viewer, post_to_main)
    if displays.followed:
        return
    displays.followed = True
    window = window_of(viewer)
    if window is not None:  # one that the user closes does not remove its layers first
        window.destroyed.connect(displays.close)


def dataset_of(layer: Any) -> Dataset | None:
    """Return the data set that a layer shows, None where it shows none."""
    link = link_of(layer)
    return None if link is None else link.dataset


def window_of(viewer: napari.Viewer) -> QMainWindow | None:
    """Return the window of a viewer; napari has no public name for it."""
    return getattr(viewer.window, "_qt_window", None)
