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


def attach_open_viewers() -> bool:
    """Bind displays in every open viewer: a reader is not told which one asks. Return whether there is one."""
    viewers = set(getattr(napari.Viewer, "_instances", ()))
    current = napari.current_viewer()
    if current is not None:
        viewers.add(current)
    for viewer in viewers:
        _attach(viewer)
        after_first_frame(viewer, partial(_settle, weakref.ref(viewer)))
    return bool(viewers)


def hide_until_bound(layers: list[Any]) -> None:
    """Let layer data stay hidden until a display is bound to it, so that adding it reads nothing in vain.

    What is to be hidden at first (a channel that is off, the label of a slide) stays so.
    """
    for _, keywords, _ in layers:
        keywords["metadata"][METADATA_KEY].hidden = keywords.get("visible", True)
        keywords["visible"] = False


def _settle(viewer: weakref.ref[napari.Viewer]) -> None:
    """Do what takes time: napari reads the manifests of all plugins for the preferences of one."""
    still = viewer()  # the window may be gone before it has drawn
    if still is not None:
        _select_what_is_seen(still)
        follow_preferences()
        import_when_idle(window_of(still))


def _select_what_is_seen(viewer: napari.Viewer) -> None:
    """Select a layer that is seen instead of a hidden one of its data set: napari selects the one that came last."""
    active = viewer.layers.selection.active
    link = link_of(active)
    if link is None or link.dataset is None or active.visible:
        return
    for layer in reversed(viewer.layers):
        other = link_of(layer)
        if layer.visible and other is not None and other.dataset is link.dataset:
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


def window_of(viewer: napari.Viewer) -> QMainWindow | None:
    """Return the window of a viewer, for which napari has no public name."""
    return getattr(viewer.window, "_qt_window", None)
