"""What the crop dock follows: its viewer, the layer to be cropped, the layer that is drawn on."""

from __future__ import annotations

from typing import Any

from napari.layers import Shapes

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
    """Return the events of layers that come and go, and of a view that moves."""
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
    selected = viewer.layers.selection.events
    return [*links, (selected.changed, "_schedule"), (selected.active, "_on_active")]


def layer_links(layer: Any, source: Any) -> list[tuple[Any, str]]:
    """Return the events of the layer to be cropped, and of the one that the region is drawn on."""
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
