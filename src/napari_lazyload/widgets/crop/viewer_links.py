"""A dock that follows its viewer for as long as it is in the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QCloseEvent, QShowEvent

_SETTLE = 30
"""Milliseconds until a change is worked out."""

_MOVED = ("scale", "translate", "rotate", "shear", "affine", "units")
"""Events of a layer that comes to lie elsewhere."""


class Connections:
    """Callbacks of an object that are connected together, and disconnected together."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, str]] = []

    def __bool__(self) -> bool:
        return bool(self._made)

    def connect(self, owner: Any, links: list[tuple[Any, str]]) -> None:
        """Connect emitters to methods of `owner`, in place of the ones before."""
        self.disconnect(owner)
        self._made = links
        for emitter, name in links:
            emitter.connect(getattr(owner, name))

    def disconnect(self, owner: Any) -> None:
        """Connect nothing any more."""
        for emitter, name in self._made:
            emitter.disconnect(getattr(owner, name))
        self._made = []


def viewer_links(viewer: Any) -> list[tuple[Any, str]]:
    """Return what tells of layers that come and go, and of a view that moves."""
    layers, dims, camera = viewer.layers.events, viewer.dims.events, viewer.scene.camera.events
    listed = (layers.inserted, layers.removed, layers.reordered, layers.renamed)
    moved = (
        dims.point,
        dims.order,
        dims.ndisplay,
        camera.center,
        camera.zoom,
        viewer.canvas.events.size,
    )
    links = [(emitter, "_on_layers") for emitter in listed] + [
        (emitter, "_schedule") for emitter in moved
    ]
    return [*links, (viewer.layers.selection.events.changed, "_schedule")]


def layer_links(layer: Any, source: Any) -> list[tuple[Any, str]]:
    """Return what tells of changes in the layer to be cropped, and in the one that the region is drawn on."""
    links = []
    if layer is not None:
        links += [
            (getattr(layer.events, name), "_on_data") for name in (*_MOVED, "data", "axis_labels")
        ]
    if isinstance(source, Shapes):
        links += [
            (getattr(source.events, name), "_on_shapes") for name in (*_MOVED, "data", "set_data")
        ]
        links.append((source.selected_data.events.items_changed, "_schedule"))
    return links


class FollowingDock(QWidget):
    """Follows a viewer while it is in the window, and works out what changed once things have settled.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    parent : QWidget, optional
        The Qt parent.
    """

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._links, self._watched = Connections(), Connections()
        self._settling = self._timer(_SETTLE, self.refresh, single=True)

    def refresh(self) -> None:
        """Work out what changed."""
        raise NotImplementedError

    def _on_layers(self, _event: Any = None) -> None:
        """Take in layers that came or went."""
        raise NotImplementedError

    def _leave(self) -> None:
        """End what goes on, and follow nothing any more."""
        raise NotImplementedError

    def _attach(self) -> None:
        """Follow the viewer; again after the dock was taken out and put back."""
        if not self._links:
            self._links.connect(self, viewer_links(self.viewer))
            self._on_layers()

    def _detach(self) -> None:
        """Follow nothing any more."""
        self._links.disconnect(self)
        self._watched.disconnect(self)

    def _schedule(self, _event: Any = None) -> None:
        """Work out the change soon, once for all that happens till then; not while nobody sees it."""
        if self.isVisible() and not self._settling.isActive():
            self._settling.start()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Follow the viewer, and catch up with it."""
        super().showEvent(event)
        self._attach()
        self.refresh()

    def changeEvent(self, event: QEvent | None) -> None:
        """Let go of the viewer when the dock is taken out of the window."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is None:
                self._leave()
            else:
                self._attach()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Let go of the viewer."""
        self._leave()
        super().closeEvent(event)

    def _timer(
        self, milliseconds: int, slot: Callable[[], None], *, single: bool = False
    ) -> QTimer:
        timer = QTimer(self)
        timer.setTimerType(Qt.TimerType.CoarseTimer)
        timer.setSingleShot(single)
        timer.setInterval(milliseconds)
        timer.timeout.connect(slot)
        return timer
