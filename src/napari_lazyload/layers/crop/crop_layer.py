"""The layer of a crop: it lies over the cropped layer, looks like it, and says what it is from."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_lazyload.arrays.layer_link import METADATA_KEY, LayerLink
from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.chunks import box_slices
from napari_lazyload.cropping.target import LayerTarget

if TYPE_CHECKING:
    from napari_lazyload.layers.crop.mask import Mask

CROP_KEY = "napari_lazyload_crop"
"""Where the metadata of a cropped layer says what it is a crop of; all of it is JSON-ready."""

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


def crop_layer(
    layer: Any, data: Any, region: tuple[slice, ...], level: int, mask: Mask | None = None
) -> Any:
    """Return a new layer for a crop: in its place, looking like its layer, saying what it is from.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        What was cropped.
    data : array
        The pixels, or a lazy array of them; with all axes of the layer.
    region : tuple of slice
        What was cropped, in level-0 pixels, for each axis without the color axis.
    level : int
        From which level.
    mask : Mask, optional
        What was drawn, where pixels outside of it became 0.

    Returns
    -------
    napari layer
        Of the same type, not in any viewer.
    """
    from napari.layers import Layer

    target = LayerTarget(layer)
    box = target.box(region, level)
    _, state, kind = layer.as_layer_data_tuple()
    rgb = bool(state.get("rgb"))
    dropped = ("colormap", "contrast_limits", "gamma") if rgb else ()
    # Deep copies: a colormap that two layers share changes in both.
    keys = (set(_KEPT) & set(state)).difference(dropped)
    kept = {key: copy.deepcopy(state[key]) for key in keys}
    keywords = {
        **kept,
        **target.placement(level, box),
        "name": f"{layer.name} crop",
        "metadata": _metadata(target, data, region, level, mask),
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
    """Return the pixels of a region as an array of the layer's kind; dask arrays read nothing.

    Parameters
    ----------
    layer : napari layer
        What to crop.
    region : tuple of slice
        As `geometry.clipped` gives it.
    level : int
        From which level.
    dtype : dtype, optional
        Of the result.
    """
    target = LayerTarget(layer)
    data = target.arrays[level][box_slices(target.box(region, level))]
    return data if dtype is None or data.dtype == dtype else data.astype(dtype)


def can_be_lazy(layer: Any, level: int) -> bool:
    """Whether :func:`lazy_crop` of a layer reads nothing."""
    data = layer.data[level] if layer.multiscale else layer.data
    return isinstance(data, (da.Array, np.ndarray))


def _metadata(
    target: LayerTarget, data: Any, region: tuple[slice, ...], level: int, mask: Mask | None
) -> dict[str, Any]:
    link = target.layer.metadata.get(METADATA_KEY)
    names = target.axis_names
    ranges = [[int(part.start), int(part.stop)] for part in region]
    made = {
        "layer": target.layer.name,
        "path": None if link is None or link.dataset is None else str(link.dataset.path),
        "image": None if link is None else link.image.name,
        "level": level,
        "region": dict(zip(names, ranges, strict=True)),
        "level_box": np.array(target.box(region, level)).tolist(),
        "dtype": str(data.dtype),
    }
    if mask is not None:
        made["mask"] = {"axes": [names[axis] for axis in mask.axes], "polygons": mask.polygons}
    if isinstance(data, LazyArray) and link is not None:
        # No dataset: the rows of its table are counted from the start of the whole image.
        return {METADATA_KEY: LayerLink(None, link.image, channel=link.channel), CROP_KEY: made}
    return {CROP_KEY: made}
