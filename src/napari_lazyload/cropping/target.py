"""An image, a layer or an array: its levels, named axes, place in the world, display settings.

Coordinates. *Data* coordinates count pixels of the finest level, whole numbers being pixel centers:
pixel ``i`` covers ``i - 0.5`` to ``i + 0.5``. The world transform takes them to the world of the
image or layer, in its units.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.image import Image
from napari_lazyload.arrays.layer_link import METADATA_KEY
from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core.affine import linear, matrix_from, shear_matrix
from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.metadata import RGB_AXIS, ImageMeta, LevelMeta
from napari_lazyload.core.region import level_box, region_box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.core.metadata import ChannelMeta, Kind

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class DisplaySettings:
    """How an image is shown.

    Parameters
    ----------
    name : str
        What a layer of it is called.
    kind : {"image", "labels"}
        Which layer shows it.
    channels : tuple of ChannelMeta
        One for each index of axis ``"c"``; empty where nothing is known of them.
    contrast_limits : tuple of float or None
        Of an image without channels.
    colormap : Any
        Of an image without channels, or of labels: a mapping from label to color.
    features : mapping
        Of labels: columns, of which ``index`` holds the label.
    """

    name: str = ""
    kind: Kind = "image"
    channels: tuple[ChannelMeta, ...] = ()
    contrast_limits: tuple[float, float] | None = None
    colormap: Any = None
    features: Mapping[str, Sequence[Any]] = field(default_factory=dict)


class Target:
    """Anything that can be cropped. This class is for arrays, which have no place in the world.

    Tuples have one entry for each axis but the color axis, unless they say otherwise.

    Parameters
    ----------
    arrays : sequence
        The levels, finest first.
    axes : tuple of str
        Names, with ``"s"`` last for colors.

    units : tuple of (str or None)
        Unit of each axis, None where it has none.

    Attributes
    ----------
    meta : ImageMeta
        Axes, shapes and chunk grids of the levels, with all axes. Factors and offsets are in pixels
        of the finest of them.
    axis_names : tuple of str
        Name of each axis.
    sizes : tuple of int
        Pixels of the finest level along each axis.
    """

    def __init__(
        self, arrays: Sequence[Any], axes: tuple[str, ...], units: tuple[str | None, ...]
    ) -> None:
        self.arrays = list(arrays)
        finest = self.arrays[0]
        levels = tuple(level_meta(array, finest) for array in self.arrays)
        self.meta = ImageMeta("", axes, np.dtype(finest.dtype), levels)
        self.units = units
        self.ndim = len(units)
        self.axis_names = axes[: self.ndim]
        self.sizes = tuple(map(int, self.meta.shape[: self.ndim]))

    def world_transform(self) -> Array:
        """Return the homogeneous matrix from data to the world."""
        return np.eye(self.ndim + 1)

    def display_settings(self, channels: tuple[int, int] | None) -> DisplaySettings:
        """Return how it is shown.

        Parameters
        ----------
        channels : (int, int) or None
            The range of its channels that counts; None where it has no axis of channels.
        """
        name = str(getattr(self.arrays[0], "name", None) or "")
        return DisplaySettings(name.strip("/").rpartition("/")[2])

    def box(self, region: Any, level: int) -> Box:
        """Return the pixels of a level that a region in level-0 pixels covers, along all axes.

        Raises
        ------
        RegionError
            If the region is malformed or empty, or there is no such level.
        """
        if not -len(self.arrays) <= level < len(self.arrays):
            raise RegionError(f"level must be 0 to {len(self.arrays) - 1}, got {level}")
        box = region_box(region, self.meta.axes, self.meta.shape)
        return level_box(box, self.meta.levels[level])

    def level_factors(self, level: int) -> tuple[float, ...]:
        """Return how many pixels of the finest level a pixel of a level spans along each axis."""
        return self.meta.levels[level].factors[: self.ndim]

    def first_center(self, level: int, box: Box | None = None) -> Array:
        """Return where the center of the first pixel of a level lies, in data coordinates.

        Parameters
        ----------
        level : int
            Which level.
        box : tuple of (int, int), optional
            Pixels of the level, along all axes; the first pixel of this box then counts.
        """
        center = np.asarray(self.meta.levels[level].first_center[: self.ndim])
        if box is not None:
            center = center + np.array(box)[: self.ndim, 0] * self.level_factors(level)
        return center


class _ImageTarget(Target):
    """An image of a dataset."""

    def __init__(self, image: Image) -> None:
        super().__init__(image.boxes, image.axes, image.units)
        self._image = image

    def world_transform(self) -> Array:
        image = self._image
        return matrix_from(image.scale, image.translate, image.affine.tolist())

    def display_settings(self, channels: tuple[int, int] | None) -> DisplaySettings:
        return _image_settings(self._image.meta, channels)


class LayerTarget(Target):
    """An Image or Labels layer of napari, single- or multiscale.

    Its place in the world is that of the layer now, also where the layer was moved since.

    Parameters
    ----------
    layer : napari layer
        The layer.

    Attributes
    ----------
    slider_names : tuple of str
        Name of each axis as napari's sliders have it. Of a volume that lies turned in the world it
        is not that of the image's axis.
    """

    def __init__(self, layer: Any) -> None:
        arrays = list(layer.data) if layer.multiscale else [layer.data]
        # What is like a layer may have no units.
        units = tuple(map(str, getattr(layer, "units", ()))) or (None,) * len(layer.axis_labels)
        super().__init__(arrays, _layer_axes(layer, arrays[0].ndim), units)
        self.layer = layer
        self.slider_names = tuple(layer.axis_labels)

    def world_transform(self) -> Array:
        """Return the homogeneous matrix from data to the layer's own world."""
        return layer_transform(self.layer)

    def display_settings(self, channels: tuple[int, int] | None) -> DisplaySettings:
        """Return how the layer is shown."""
        return _layer_settings(self.layer)

    def placement(self, level: int, box: Box) -> dict[str, Any]:
        """Return the transform with which a crop lies over the layer.

        A level-0 crop lies pixel upon pixel. A pixel ``j`` of a coarser level covers ``f`` level-0
        pixels from ``j * f`` on, so that its center lies at ``j * f + (f - 1) / 2``: there napari
        draws it, too. A level of ours that lies elsewhere says so itself, and its crop goes there.

        Parameters
        ----------
        level : int
            Which level.
        box : tuple of (int, int)
            The crop, in pixels of the level, along all axes.

        Returns
        -------
        dict
            ``scale`` and ``translate``; with the layer's own ``rotate``, ``shear`` and ``affine``
            they place the crop.
        """
        layer = self.layer
        return {
            "scale": np.asarray(layer.scale) * self.level_factors(level),
            "translate": layer.translate + _linear_part(layer) @ self.first_center(level, box),
        }


def target_of(image: Any) -> Target:
    """Return an image of a dataset, a layer, or an array that slices as a target.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if isinstance(image, Image):
        return _ImageTarget(image)
    if is_layer(image):
        return LayerTarget(image)
    array = _as_array(image)
    count = len(array.shape)
    return Target([array], tuple(f"axis {axis}" for axis in range(count)), (None,) * count)


def _as_array(image: Any) -> Any:
    """Return an array as it is, and whatever NumPy can make one of as such."""
    if hasattr(image, "shape") and hasattr(image, "dtype"):
        return image
    other_layer = hasattr(image, "as_layer_data_tuple")
    if other_layer or np.asarray(image).dtype.kind not in "biufc":
        raise TypeError(
            "expected an image of a dataset, an Image or Labels layer, or an array of numbers, "
            f"got {image!r:.80}"
        )
    return np.asarray(image)


def is_layer(image: Any) -> bool:
    """Whether something is an Image or Labels layer of napari."""
    if hasattr(image, "as_layer_data_tuple") and not hasattr(image, "level_shapes"):
        return False  # points, shapes and the like
    return hasattr(image, "multiscale") and hasattr(image, "axis_labels") and hasattr(image, "data")


def _layer_axes(layer: Any, ndim: int) -> tuple[str, ...]:
    link = layer.metadata.get(METADATA_KEY)
    linked = link is not None and len(link.axes) + link.image.rgb == ndim
    names = tuple(link.axes if linked else layer.axis_labels)
    return (*names, RGB_AXIS)[:ndim]


def level_meta(array: Any, finest: Any) -> LevelMeta:
    """Return the chunk grid of a level, and where it lies in pixels of the finest one.

    What the source says counts. Of arrays that are not ours the corners coincide, as napari has it.
    """
    grid = _grid(array)
    own, base = _source_level(array), _source_level(finest)
    if own is None or base is None:
        # An axis without pixels has the factor 1.
        sizes = np.array(grid.shape)
        ratios = np.where(sizes == 0, 1.0, np.divide(finest.shape, np.maximum(sizes, 1)))
        return LevelMeta(grid, tuple(ratios.tolist()))
    (factors, center), (base_factors, base_center) = own, base
    offsets = (center - base_center) / base_factors
    return LevelMeta(grid, tuple((factors / base_factors).tolist()), tuple(offsets.tolist()))


def _source_level(array: Any) -> tuple[Array, Array] | None:
    """Return factors and first center of a level of ours, for the axes that its array has."""
    if not isinstance(array, LazyArray) or array.source is None:
        return None
    level, kept = array.source.meta.levels[array.level], list(array.kept_axes)
    return np.asarray(level.factors)[kept], np.asarray(level.first_center)[kept]


def _grid(array: Any) -> ChunkGrid:
    """Return the chunks of an array; those of a whole level of ours without a list of a million."""
    shape = tuple(array.shape)
    if isinstance(array, LazyArray) and array.source is not None:
        grid, kept = array.source.meta.levels[array.level].grid, array.kept_axes
        if shape == tuple(grid.shape[axis] for axis in kept):
            return ChunkGrid(shape, tuple(grid.chunks[axis] for axis in kept))
    chunks = getattr(array, "chunks", None)
    if not isinstance(chunks, tuple) or len(chunks) != len(shape):
        chunks = shape
    return ChunkGrid(shape, tuple(_chunk_size(size) for size in chunks))


def _chunk_size(size: Any) -> int | tuple[int, ...]:
    return max(1, size) if isinstance(size, int) else tuple(size)


def _image_settings(meta: ImageMeta, channels: tuple[int, int] | None) -> DisplaySettings:
    """Return how an image of a dataset is shown, with a range of its channels."""
    kept = meta.channels[slice(*channels or (0, 0))]
    colormap = meta.display.get("colormap") if meta.kind == "labels" else meta.colormap
    features = meta.display.get("features", {})
    return DisplaySettings(meta.name, meta.kind, kept, meta.contrast_limits, colormap, features)


def _layer_settings(layer: Any) -> DisplaySettings:
    """Return how an Image or Labels layer is shown."""
    if any(base.__name__ == "Labels" for base in type(layer).__mro__):
        colors = getattr(layer.colormap, "color_dict", None)
        features = {name: list(column) for name, column in layer.features.items() if len(column)}
        return DisplaySettings(layer.name, "labels", colormap=colors, features=features)
    if layer.rgb:
        return DisplaySettings(layer.name)
    low, high = map(float, layer.contrast_limits)
    guessed = getattr(layer.metadata.get(METADATA_KEY), "needs_limits", False)
    limits = None if guessed else (low, high)
    return DisplaySettings(layer.name, contrast_limits=limits, colormap=layer.colormap)


def layer_transform(layer: Any) -> Array:
    """Return the homogeneous matrix from data to the own world of a layer of any type."""
    inner = linear(_linear_part(layer), layer.translate)
    whole: Array = np.asarray(layer.affine.affine_matrix, float) @ inner
    return whole


def _linear_part(layer: Any) -> Array:
    """Return what a layer does without its ``affine``: rotate after shear after scale."""
    rotate, scale = np.asarray(layer.rotate, float), np.asarray(layer.scale, float)
    part: Array = rotate @ shear_matrix(layer.shear, layer.ndim) @ np.diag(scale)
    return part
