"""Between the rows of the meta table and the sliders of the viewer, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.source import status_token
from napari_lazyload.layers.display.layer_display import link_of

if TYPE_CHECKING:
    from napari_lazyload.dataset.dataset import Dataset


def image_number(dataset: Dataset, layer: Any) -> int | None:
    """Return the number of the image that a layer shows, or None where it is not of the dataset."""
    link = link_of(layer)
    if link is None or link.dataset is not dataset:
        return None
    tokens = [status_token(image.source) for image in dataset.images]
    token = status_token(link.image.source)  # that of what it shows converted, or with more levels
    return tokens.index(token) if token in tokens else None


def row_in_view(viewer: Any, layer: Any) -> int | None:
    """Return the row of the meta table that the sliders show of a layer.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose sliders.
    layer : napari layer
        A lazy layer.

    Returns
    -------
    int or None
        None where the layer is not of a dataset, several rows are in view, or the sliders lie
        outside the layer.
    """
    link = link_of(layer)
    if link is None or link.dataset is None:
        return None
    number = image_number(link.dataset, layer)
    if number is None:
        return None
    shape = link.dataset.leading_shape(number)
    leading = len(shape)
    if not leading and link.dataset.rows_of(number) > 1:  # a mosaic shows them side by side
        return None
    missing = viewer.dims.ndim - layer.ndim
    if min(viewer.dims.displayed) - missing < leading:
        return None
    point = np.round(layer.world_to_data(viewer.dims.point[missing:])).astype(int)
    index = link.in_image(point.tolist())[:leading]
    if any(not 0 <= place < size for place, size in zip(index, shape, strict=True)):
        return None
    return int(link.dataset.row_of(number, index))


def show_row(viewer: Any, dataset: Dataset, row: int) -> Any | None:
    """Move the sliders to a row of the meta table.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose sliders.
    dataset : Dataset
        Whose table.
    row : int
        Which row.

    Returns
    -------
    napari layer or None
        The layer that shows the row's image, made the selected one; None where it is not in the
        viewer.
    """
    number, index = dataset.locate(row)
    layer = next((layer for layer in viewer.layers if image_number(dataset, layer) == number), None)
    if layer is None:
        return None
    missing = viewer.dims.ndim - layer.ndim
    point = layer.world_to_data(viewer.dims.point[missing:])
    point = np.array([*index, *point[len(index) :]])
    world = layer.data_to_world(point)
    axes = np.setdiff1d(np.arange(len(index)) + missing, viewer.dims.displayed)
    viewer.dims.set_point(axes.tolist(), np.array(world)[axes - missing].tolist())
    if viewer.layers.selection.active is not layer:
        viewer.layers.selection.active = layer
    return layer
