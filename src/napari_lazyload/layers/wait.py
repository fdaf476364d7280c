"""Wait until what is shown is exact, so that screenshots and animations are."""

from __future__ import annotations

import time
from typing import Any

from napari_lazyload.layers.viewer import displays_of


def wait(target: Any, timeout: float | None = None) -> bool:
    """Return when the view of a layer, or of all visible layers of a viewer, is loaded and exact.

    Runs the event loop meanwhile; call it from the main thread.

    Parameters
    ----------
    target : napari layer or napari.Viewer
        What to wait for.
    timeout : float, optional
        Seconds after which to give up; never by default.

    Returns
    -------
    bool
        False if the time was up.

    Examples
    --------
    >>> import napari_lazyload as nl
    >>> nl.wait(viewer, timeout=30)  # doctest: +SKIP
    >>> viewer.screenshot("frame.png")  # doctest: +SKIP
    """
    layers = list(target.layers) if hasattr(target, "layers") else [target]
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        _run_events()
        if all(layer.loaded and _settled(layer) for layer in layers if layer.visible):
            for _ in range(3):  # what the last slice posted, and what that posted
                _run_events()
            return True
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(0.002)


def _settled(layer: Any) -> bool:
    displays = displays_of(layer)
    display = None if displays is None else displays.display(layer)
    return display is None or (not display.revalidating and display.settled)


def _run_events() -> None:
    from napari.qt import get_qapp

    get_qapp().processEvents()
