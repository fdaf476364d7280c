"""The layers that cropping adds to a viewer: the crop, in its layer's place, and the one that a region is drawn on."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_lazyload.arrays import LazyArray
from napari_lazyload.core.chunks import box_slices
from napari_lazyload.layer_data import METADATA_KEY, LayerLink
from napari_lazyload.layers.crop_geometry import axis_names, displayed_axes, level_box, own_world, placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import Box

CROP_KEY = "napari_lazyload_crop"
"""Where the metadata of a cropped layer says what it is a crop of; all of it is JSON-ready."""

_EDGE = 2.0
"""Width on the canvas of the edge of a region when its layer is made."""

_KEPT = (
    "affine",
    "attenuation",
    "axis_labels",
    "blending",
    "colormap",
    "contrast_limits",
    "custom_interpolation_kernel_2d",
    "depiction",
    "features",
    "gamma",
    "interpolation2d",
    "interpolation3d",
    "iso_gradient_mode",
    "iso_threshold",
    "opacity",
    "projection_mode",
    "rendering",
    "rotate",
    "shear",
    "units",
)
"""What a crop takes over from its layer as it is."""


def crop_layer(layer: Any, data: Any, region: tuple[slice, ...], level: int) -> Any:
    """Return a new layer for a crop: in its place, looking like its layer, knowing where it came from.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        What was cropped.
    data : array
        The pixels, or a lazy array of them; with all axes of the layer.
    region : tuple of slice
        What was cropped, in level-0 pixels, for each axis without the colour axis.
    level : int
        From which level.

    Returns
    -------
    napari layer
        Of the same type, not in any viewer.
    """
    from napari.layers import Layer

    box = level_box(layer, region, level)
    _, state, kind = layer.as_layer_data_tuple()
    rgb = bool(state.get("rgb"))
    dropped = ("colormap", "contrast_limits", "gamma") if rgb else ()
    # Deep copies: a colormap that two layers share changes in both.
    kept = {key: copy.deepcopy(state[key]) for key in _KEPT if key in state and key not in dropped}
    keywords = {
        **kept,
        **placement(layer, level, [start for start, _ in box]),
        "name": f"{layer.name} crop",
        "metadata": _metadata(layer, data, region, level, box),
        "multiscale": False,
        "cache": False,
    }
    if kind == "image":
        keywords["rgb"] = rgb
    new = Layer.create(data, keywords, kind)
    if kind == "image" and not rgb:
        new.contrast_limits_range = layer.contrast_limits_range
        new.contrast_limits = layer.contrast_limits
    return new


def lazy_crop(layer: Any, region: tuple[slice, ...], level: int, dtype: Any = None) -> Any:
    """Return the pixels of a region as an array of the kind that the layer holds; dask arrays read nothing.

    Parameters
    ----------
    layer : napari layer
        What to crop.
    region : tuple of slice
        As :func:`clipped` gives it.
    level : int
        From which level.
    dtype : dtype, optional
        Of the result.
    """
    data = (layer.data[level] if layer.multiscale else layer.data)[box_slices(level_box(layer, region, level))]
    return data if dtype is None or data.dtype == dtype else data.astype(dtype)


def can_be_lazy(layer: Any, level: int) -> bool:
    """Return whether :func:`lazy_crop` of a layer reads nothing."""
    data = layer.data[level] if layer.multiscale else layer.data
    return isinstance(data, (da.Array, np.ndarray))


def drawing_layer(viewer: Any, layer: Any, drawn: Any = None) -> Any:
    """Return a Shapes layer of the viewer in which an upright rectangle lies along the pixels of `layer`.

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
    pixel = np.linalg.norm(wanted["affine"][:-1, -2])
    return viewer.add_shapes(
        name="Crop region",
        edge_color="yellow",
        face_color="transparent",
        edge_width=float(_EDGE / viewer.scene.camera.zoom / pixel),
        **wanted,
    )


def outline_transform(viewer: Any, layer: Any) -> dict[str, Any]:
    """Return the arguments of a Shapes layer in which an upright rectangle lies along the pixels of `layer`.

    Two-dimensional where the layer's last two axes are displayed and nothing mixes them with the others, so that what
    is drawn at one position of the sliders is seen at all of them.
    """
    ndim, matrix = layer.ndim, own_world(layer)
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


def _metadata(layer: Any, data: Any, region: Sequence[slice], level: int, box: Box) -> dict[str, Any]:
    link = layer.metadata.get(METADATA_KEY)
    names = axis_names(layer)
    made = {
        "layer": layer.name,
        "path": None if link is None or link.dataset is None else str(link.dataset.path),
        "image": None if link is None else link.image.name,
        "level": level,
        "region": {name: [int(part.start), int(part.stop)] for name, part in zip(names, region, strict=True)},
        "level_box": [list(map(int, pair)) for pair in box],
        "dtype": str(data.dtype),
    }
    if isinstance(data, LazyArray) and link is not None:
        # No dataset: the rows of its table are counted from the start of the whole image.
        return {METADATA_KEY: LayerLink(None, link.image, channel=link.channel), CROP_KEY: made}
    return {CROP_KEY: made}
