"""What is touched of napari's private parts: the class of the request for each view of a layer.

A request slices ``layer.data`` and projects it. Ours hands it proxies that slice like the lazy
levels, and whose pixels are what a display has of them by now; ``layer.data`` itself stays exact.
Where a version of napari lacks the class,
:func:`request_class` returns None: napari then slices the exact data itself. And of a pyramid of
planes, which napari would read the coarsest level of before it makes a request, that is left out.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.layers.display.placeholder import placeholder_array
from napari_lazyload.layers.display.subsampling import MAX_SIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import Box

    Array = np.ndarray[Any, Any]
    Pixels = Callable[[LazyArray], Array]
    Answer = Callable[[Any], Any]

PROGRESSIVE = "progressive_loader"
"""In the metadata of layers that napari's own progressive loader shows."""


def request_class(layer: Any) -> Any:
    """Return napari's own request class of a layer, or None.

    None where this napari has no such class, or shows the layer progressively itself.
    """
    if getattr(layer, "metadata", {}).get(PROGRESSIVE):
        return None
    found = getattr(type(getattr(layer, "_slicing_state", None)), "_slice_request_class", None)
    fields = getattr(found, "__dataclass_fields__", {})
    needed = ("data_at_data_level", "data_at_thumbnail_level", "data_level", "slice_input", "id")
    return found if callable(found) and set(needed) <= set(fields) else None


def hook(layer: Any, base: Any, respond: Callable[[Any, Answer], Any]) -> None:
    """Let ``respond(request, answer)`` answer the requests of a layer; `answer` is napari's own."""

    class LazySliceRequest(base):  # type: ignore[misc] # napari's, found at run time
        def __call__(self) -> Any:
            return respond(self, base.__call__)

    layer._slicing_state._slice_request_class = LazySliceRequest  # noqa: SLF001 - see module
    if getattr(layer, "_level_materializer", None) is not None:
        layer._level_materializer = None  # noqa: SLF001 - there is no public way


def unhook(layer: Any) -> None:
    """Give a layer back its own class of requests."""
    del layer._slicing_state._slice_request_class  # noqa: SLF001 - uncovers the class's own
    if hasattr(layer, "_reset_thumbnail_level_data"):
        layer._reset_thumbnail_level_data()  # noqa: SLF001 - reads nothing


class _Proxy:
    """Lazy data as napari slices it; its pixels are those that a display has."""

    def __init__(self, data: Any, pixels: Pixels) -> None:
        self._data = data
        self._pixels = pixels

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return cast("np.dtype[Any]", self._data.dtype)

    @property
    def ndim(self) -> int:
        return len(self._data.shape)

    def __getitem__(self, index: Any) -> _Proxy:
        return _Proxy(self._data[index], self._pixels)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        is_box = isinstance(self._data, LazyArray) and self._data.source is not None
        pixels = self._pixels(self._data) if is_box else np.asarray(self._data)
        return pixels if dtype is None else pixels.astype(dtype, copy=False)


def slice_with(
    request: Any,
    answer: Answer,
    pixels: Pixels,
    thumbnail: Pixels,
    *,
    level: int | None = None,
    data: Any = None,
) -> Any:
    """Return napari's answer to a request, made of the pixels that the two functions give.

    Parameters
    ----------
    request, answer
        As :func:`hook` gets them.
    pixels, thumbnail : callable
        Get the box that napari wants of the shown level, and of the thumbnail's, and return its
        pixels.
    level, data : optional
        Show this level instead, whose lazy data is `data`.
    """
    changes: dict[str, Any] = {
        "data_at_data_level": _Proxy(request.data_at_data_level if data is None else data, pixels),
        "data_at_thumbnail_level": _Proxy(request.data_at_thumbnail_level, thumbnail),
    }
    if level is not None:
        changes["data_level"] = level
    return answer(replace(request, **changes))


class _Located(Exception):  # noqa: N818 - no error: the way out of napari's slicing
    def __init__(self, data: LazyArray) -> None:
        self.data = data


def find_box(request: Any, answer: Answer, level: int | None, data: Any) -> LazyArray | None:
    """Return the box of a level that napari would show; None for sliders outside of the layer."""

    def found(lazy: LazyArray) -> Array:
        raise _Located(lazy)

    try:
        slice_with(request, answer, found, found, level=level, data=data)
    except _Located as place:
        return place.data
    return None


def mark_inexact(
    response: Any, value: str | None, strides: tuple[int, ...] | None, *, exact: bool
) -> Any:
    """Return an answer whose pixels know that they are not exact, and lie where they belong.

    Parameters
    ----------
    response : napari slice response
        What napari made of the pixels.
    value : str or None
        What the status bar says of a pixel that is not exact.
    strides : tuple of int or None
        Stride of the pixels along each axis of the layer.
    exact : bool
        Whether the pixels are those of the data.
    """
    changes: dict[str, Any] = {}
    if not exact:
        same = response.thumbnail is response.image
        image = type(response.image).from_view(placeholder_array(response.image.raw, value))
        changes["image"] = image
        if same:
            changes["thumbnail"] = image
    if strides is not None:
        displayed = response.slice_input.displayed
        tile = response.tile_to_data
        scale, translate = np.array(tile.scale, float), np.array(tile.translate, float)
        for axis in displayed:
            scale[axis] *= strides[axis]
        changes["tile_to_data"] = type(tile)(name="tile2data", scale=scale, translate=translate)
    return replace(response, **changes) if changes else response


def fix_offset(
    response: Any,
    request: Any,
    finest: LazyArray,
    level: int,
    box: Box,
    *,
    strides: tuple[int, ...] | None = None,
) -> Any:
    """Return an answer whose pixels lie where their level says.

    napari places levels by their shapes alone, as if all began at the same corner. Factors and
    first centers are in pixels of the source's level 0, napari's transforms in pixels of `finest`.

    Parameters
    ----------
    response : napari slice response
        What napari made of the pixels.
    request : napari slice request
        The one that napari made itself, of a layer with levels.
    finest : LazyArray
        The layer's finest level.
    level : int
        Which level of its source is shown.
    box : tuple of (int, int)
        Which pixels of that.
    strides : tuple of int, optional
        Stride of the pixels along each axis of the level; all by default.
    """
    if finest.source is None or response.empty:
        return response
    shown, base = (finest.source.meta.levels[number] for number in (level, finest.level))
    tile = response.tile_to_data
    scale, translate = np.array(tile.scale, float), np.array(tile.translate, float)
    displayed = request.slice_input.displayed
    strides = strides or (1,) * len(box)
    for number in displayed:
        axis = finest.kept_axes[number]
        # From the center of the first pixel of `finest` to that of the first pixel shown.
        center = shown.first_center[axis] + box[axis][0] * shown.factors[axis]
        offset = (center - base.first_center[axis]) / base.factors[axis]
        scale[number] = shown.factors[axis] / base.factors[axis] * strides[axis]
        # napari takes `translate` for the center of a pixel of the finest level, at the corner of
        # the first one shown: it adds (size - 1) / 2 itself when it draws. In 2-D the size is the
        # scale, in 3-D the factor of the level that napari takes to be shown.
        size = scale[number]
        if len(displayed) == 3:
            size = request.downsample_factors[request.data_level][number]
        translate[number] = offset - (size - 1) / 2
    return replace(
        response, tile_to_data=type(tile)(name="tile2data", scale=scale, translate=translate)
    )


def plane_as_volume(response: Any, request: Any, plane: float) -> Any | None:
    """Return what was shown before as the answer to a request, if it can stand in for it.

    A plane that was seen becomes a volume of one plane, where the switch to 3-D keeps its axes;
    `plane` is its place along the axis that comes in, in pixels of level 0.
    """
    now, before = request.slice_input, response.slice_input
    shown, seen = list(now.displayed), list(before.displayed)
    if shown == seen:
        return replace(response, slice_input=now, request_id=request.id)
    if len(shown) != 3 or shown[1:] != seen:
        return None
    raw = response.image.raw
    step = max(1, ceil(max(raw.shape[:2]) / MAX_SIDE))  # a graphics card takes no larger texture
    image = type(response.image).from_view(raw[None, ::step, ::step])
    tile = response.tile_to_data
    scale, translate = np.array(tile.scale, float), np.array(tile.translate, float)
    scale[seen] *= step
    scale[shown[0]], translate[shown[0]] = 1, plane
    transform = type(tile)(name="tile2data", scale=scale, translate=translate)
    return replace(
        response,
        image=image,
        thumbnail=image,
        tile_to_data=transform,
        slice_input=now,
        request_id=request.id,
    )


def points_somewhere(viewer: Any) -> bool:
    """Whether napari knows what is under the pointer: in 3-D not before its first move."""
    return viewer.dims.ndisplay == 2 or getattr(viewer.cursor, "_view_direction", None) is not None
