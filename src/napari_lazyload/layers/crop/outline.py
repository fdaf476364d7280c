"""Regions on the canvas: the layer that the user draws on, and the outline of what is chosen."""

from __future__ import annotations

from contextlib import contextmanager
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.cropping.target import layer_transform
from napari_lazyload.layers.crop.geometry import displayed_axes, shown_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

OUTLINE_KEY = "napari_lazyload_outline"
"""In the metadata of the layer that outlines a region: it is no region itself."""

_EDGE = 2.0
"""Width on the canvas of the edge of a region when its layer is made."""

_ZOOM_STEP = 1.3
"""The edge gets a new width when the camera has zoomed by this factor."""

_BESIDE = 0.35
"""Opacity of an outline where the sliders stand beside the region."""


def drawing_layer(viewer: Any, layer: Any, drawn: Any = None) -> Any:
    """Return a Shapes layer in which an upright rectangle lies along the pixels of a layer.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets a new layer where `drawn` will not do.
    layer : napari layer
        What is to be cropped.
    drawn : napari.layers.Shapes, optional
        What an earlier call made.
    """
    wanted = outline_transform(viewer, layer)
    if drawn in viewer.layers and np.array_equal(drawn.affine.affine_matrix, wanted["affine"]):
        return drawn
    return viewer.add_shapes(
        name="Crop region",
        edge_color="yellow",
        face_color="transparent",
        edge_width=_edge_width(viewer, wanted["affine"]),
        **wanted,
    )


def outline_transform(viewer: Any, layer: Any) -> dict[str, Any]:
    """Return the arguments of a Shapes layer whose upright rectangles lie along a layer's pixels.

    Two-dimensional where the layer's last two axes are displayed and nothing mixes them with the
    others, so that what is drawn at one position of the sliders is seen at all of them.
    """
    ndim, matrix = layer.ndim, layer_transform(layer)
    flat = sorted(displayed_axes(viewer, layer)) == [ndim - 2, ndim - 1]
    flat = flat and not matrix[-3:-1, :-3].any() and not matrix[:-3, -3:-1].any()
    axes = slice(ndim - 2 if flat else 0, ndim)
    kept = [*range(ndim)[axes], ndim]
    return {
        "ndim": len(kept) - 1,
        "affine": matrix[np.ix_(kept, kept)],
        "units": layer.units[axes],
        "axis_labels": layer.axis_labels[axes],
    }


def _edge_width(viewer: Any, affine: Array) -> float:
    return float(_EDGE / viewer.scene.camera.zoom / np.linalg.norm(affine[:-1, -2]))


class Outline:
    """A Shapes layer that outlines the chosen region; it exists while there is a region.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._shown: Any = None
        self._state: Any = None

    @property
    def layer(self) -> Any:
        """The layer, None where there is none in the viewer."""
        return self._shown if self._shown in self._viewer.layers else None

    @property
    def lost(self) -> bool:
        """Whether somebody else took it away."""
        return self._shown is not None and self._shown not in self._viewer.layers

    def show(self, layer: Any, region: tuple[slice, ...]) -> None:
        """Outline a region of a layer, where the sliders stand; the border runs around its pixels.

        Parameters
        ----------
        layer : napari layer
            Whose region it is.
        region : tuple of slice
            In level-0 pixels, for each axis without the color axis.
        """
        viewer = self._viewer
        wanted = outline_transform(viewer, layer)
        lines, opacity = _lines(viewer, layer, region, wanted["ndim"])
        zoom = round(log(max(viewer.scene.camera.zoom, 1e-12), _ZOOM_STEP))
        contents = wanted["affine"].tobytes(), np.array(lines).tobytes()
        state = (zoom, wanted["ndim"], wanted["units"], contents, opacity)
        if self.layer is not None and state == self._state:
            return
        if self.layer is not None and self._shown.ndim != wanted["ndim"]:
            self.hide()
        if self.layer is None:
            self._add(wanted)
        self._state = state
        shown = self._shown
        shown.affine, shown.units, shown.opacity = wanted["affine"], wanted["units"], opacity
        width = _edge_width(viewer, wanted["affine"])
        shown.data = []
        shape_type = "polygon" if len(lines) == 1 else "path"
        shown.add(
            lines,
            shape_type=shape_type,
            edge_color="cyan",
            face_color="transparent",
            edge_width=width,
        )
        shown.selected_data = set()
        shown.editable = False

    def hide(self) -> None:
        """Take the outline away."""
        shown, self._shown, self._state = self.layer, None, None
        if shown is not None:
            with _same_selection(self._viewer):
                self._viewer.layers.remove(shown)

    def _add(self, wanted: dict[str, Any]) -> None:
        from napari.layers import Shapes

        self._shown = Shapes(name="Crop outline", metadata={OUTLINE_KEY: True}, **wanted)
        with _same_selection(self._viewer):
            self._viewer.layers.append(self._shown)


def is_outline(layer: Any) -> bool:
    """Whether a layer is there to outline a region."""
    return OUTLINE_KEY in layer.metadata


@contextmanager
def _same_selection(viewer: Any) -> Iterator[None]:
    """Leave the selected layers as they are while layers come and go."""
    selection = viewer.layers.selection
    chosen = set(selection)
    yield
    kept = chosen & set(viewer.layers)
    if set(selection) != kept:
        selection.difference_update(set(selection) - kept)
        selection.update(kept)


def _lines(
    viewer: Any, layer: Any, region: tuple[slice, ...], ndim: int
) -> tuple[list[Array], float]:
    """Return the corners of one rectangle, or the edges of a box in 3-D, and their opacity."""
    shown = displayed_axes(viewer, layer)
    position = np.zeros(layer.ndim)
    within = True
    for axis, (at, _) in shown_ranges(viewer, layer).items():
        position[axis] = at
        within = within and region[axis].start <= at < region[axis].stop
    edges = [(region[axis].start - 0.5, region[axis].stop - 0.5) for axis in shown]
    paths: list[list[tuple[float, ...]]]
    if len(shown) == 2:
        (y0, y1), (x0, x1) = edges
        paths = [[(y0, x0), (y0, x1), (y1, x1), (y1, x0)]]
    else:
        paths = _box_edges(edges)
    lines = []
    for path in paths:
        line = np.tile(position, (len(path), 1))
        line[:, list(shown)] = path
        lines.append(line[:, layer.ndim - ndim :])
    return lines, 1.0 if within else _BESIDE


def _box_edges(edges: list[tuple[float, float]]) -> list[list[tuple[float, ...]]]:
    """Return the two ends of each edge of a box."""
    found = []
    for along in range(len(edges)):
        others = sorted(set(range(len(edges))) - {along})
        for corner in np.ndindex(*(2,) * len(others)):
            fixed = [edges[axis][end] for axis, end in zip(others, corner, strict=True)]
            found.append([(*fixed[:along], end, *fixed[along:]) for end in edges[along]])
    return found
