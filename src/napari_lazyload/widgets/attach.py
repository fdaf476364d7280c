"""Make the viewers of this process ready for lazy layers."""

from __future__ import annotations

import napari

from napari_lazyload.layers.preferences import follow_preferences
from napari_lazyload.layers.viewer import attach
from napari_lazyload.widgets.post import post_to_main


def attach_open_viewers() -> bool:
    """Bind displays in every open viewer: a reader is not told which one asks. Return whether there is one."""
    viewers = set(getattr(napari.Viewer, "_instances", ()))
    current = napari.current_viewer()
    if current is not None:
        viewers.add(current)
    if viewers:
        post_to_main(follow_preferences)  # napari reads the manifests of all plugins for them: after the first frame
    for viewer in viewers:
        _attach(viewer)
    return bool(viewers)


def _attach(viewer: napari.Viewer) -> None:
    displays = attach(viewer, post_to_main)
    if displays.followed:
        return
    displays.followed = True
    # A window that the user closes does not remove its layers first; napari has no public name for the window.
    window = getattr(viewer.window, "_qt_window", None)
    if window is not None:
        window.destroyed.connect(displays.close)
