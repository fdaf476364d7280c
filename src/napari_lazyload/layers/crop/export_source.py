"""What a file of a crop is made of: the image as it was opened, or the layer that shows another."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_lazyload.arrays.layer_link import METADATA_KEY, LayerLink
from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.affine import matrix_from
from napari_lazyload.core.metadata import CHANNEL_AXIS
from napari_lazyload.cropping.target import LayerTarget, layer_transform
from napari_lazyload.dataset.layer_data import layer_data
from napari_lazyload.layers.crop.crop_layer import crop_layer, lazy_crop
from napari_lazyload.layers.crop.mask import inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.arrays.image import Image
    from napari_lazyload.layers.crop.mask import Mask


@dataclass(frozen=True, slots=True)
class Origin:
    """The image that a layer shows, as it was opened.

    Parameters
    ----------
    image : Image
        The image.
    link : LayerLink
        What ties the layer to it.
    starts : tuple of int
        Where the layer begins within the image, in pixels of its finest level, along all axes of
        the image.
    """

    image: Image
    link: LayerLink
    starts: tuple[int, ...]

    def region(self, region: Sequence[slice]) -> tuple[slice, ...]:
        """Return a region of the layer as a region of the image, whose channel it is."""
        parts = list(region)
        if self.link.channel is not None:  # which `starts` knows
            parts.insert(self.image.axes.index(CHANNEL_AXIS), slice(0, 1))
        return tuple(
            slice(start + part.start, start + part.stop)
            for part, start in zip(parts, self.starts, strict=False)
        )


def origin(layer: Any) -> Origin | None:
    """Return the image that a layer shows, or a part of, or None where it shows something else."""
    link = layer.metadata.get(METADATA_KEY)
    arrays = list(layer.data) if layer.multiscale else [layer.data]
    if not isinstance(link, LayerLink):
        return None
    for array in arrays:
        source = array.source if isinstance(array, LazyArray) else None
        if source is None or source.token != link.image.source.token:
            return None
    return Origin(link.image, link, tuple(start for start, _ in arrays[0].box))


def whole_levels(layer: Any, found: Origin) -> bool:
    """Whether a layer has all levels of its image: a lazy crop of a pyramid has one of them."""
    return (len(layer.data) if layer.multiscale else 1) == len(found.image.boxes)


def to_write(
    layer: Any, region: tuple[slice, ...], level: int, mask: Mask | None
) -> tuple[Any, Any, int]:
    """Return what `export` takes for a crop: image or layer, region, level. Nothing is read.

    A layer that still lies where its file puts it gives the image of the file, so that all that the
    file says of it goes along; one that was moved gives the layer as it is now.

    Parameters
    ----------
    layer : napari layer
        What is cropped.
    region : tuple of slice
        In level-0 pixels, for each axis without the color axis.
    level : int
        From which level.
    mask : Mask, optional
        What is left out: zeros.
    """
    if mask is not None:
        return masked_layer(layer, region, level, mask), None, 0
    found = origin(layer)
    if found is not None and whole_levels(layer, found) and as_opened(layer, found):
        return found.image, found.region(region), level
    return layer, region, level


def as_opened(layer: Any, found: Origin) -> bool:
    """Whether a layer lies where its file says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were given when the layer was made
        _, made, _ = layer_data(found.image)[found.link.channel or 0]
    ndim = layer.ndim
    scale = made.get("scale", np.ones(ndim))
    matrix = matrix_from(scale, made.get("translate"), made.get("affine"))
    units = tuple(made.get("units") or ("pixel",) * ndim)
    return (
        np.allclose(layer_transform(layer), matrix, rtol=1e-9)
        and tuple(map(str, layer.units)) == units
    )


def masked_layer(
    layer: Any, region: tuple[slice, ...], level: int, mask: Mask, dtype: Any = None
) -> Any:
    """Return the crop as a lazy layer whose pixels outside of what is drawn are 0. Nothing is read.

    Parameters
    ----------
    layer, region, level, mask
        As :func:`to_write` takes them.
    dtype : dtype, optional
        Of the result.
    """
    pixels = lazy_crop(layer, region, level, dtype)
    if not isinstance(pixels, da.Array):
        pixels = da.from_array(pixels, chunks="auto")
    target = LayerTarget(layer)
    kept = inside(mask, target, level, target.box(region, level))
    chunks = list(pixels.chunks)
    for axis, size in enumerate(kept.shape):
        if size == 1:
            chunks[axis] = 1
    wanted = da.from_array(kept, chunks=tuple(chunks))
    data = da.where(wanted, pixels, np.zeros((), pixels.dtype))
    return crop_layer(layer, data, region, level, mask)
