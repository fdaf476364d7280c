"""How a lazy layer is shown: unreadable frames blank and marked, views too big for memory sampled.

``layer.data`` stays exact: all of this happens in the request that napari makes for each view. The class of that
request is the one private thing of napari that is touched; where a version of napari lacks it, unreadable frames are
blank all the same (`arrays`), but nothing is marked or sampled.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_lazyload.arrays import LazyArray
from napari_lazyload.core import settings
from napari_lazyload.layer_data import METADATA_KEY, LayerLink
from napari_lazyload.layers.sampling import marked, read_view, steps_for
from napari_lazyload.loading import status

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.errors import ChunkReadError
    from napari_lazyload.core.source import Source

    Post = Callable[[Callable[[], Any]], Any]


def link_of(layer: Any) -> LayerLink | None:
    """Return what ties a layer to a lazy image, or None for any other layer."""
    link = getattr(layer, "metadata", {}).get(METADATA_KEY)
    return link if isinstance(link, LayerLink) else None


class LayerDisplay:
    """What one layer shows, for as long as it is in a viewer.

    Parameters
    ----------
    layer : napari layer
        An Image or Labels layer with lazy data.
    post : callable
        Runs a function in the main thread, later.
    changed : callable
        Called in the main thread when the marks of the layer's view changed.

    Attributes
    ----------
    hooked : bool
        Whether napari has the request class that this needs.
    failures : list of ChunkReadError
        What could not be read of the view that is shown.
    steps : tuple of int or None
        Every how many pixels of each axis are shown, where not all are.
    closed : bool
        Whether the layer has left the viewer.
    allowance : float
        How many memory budgets a view of this layer may read; more where the user asked for a finer one.
    """

    def __init__(self, layer: Any, post: Post, changed: Callable[[LayerDisplay], Any]) -> None:
        self.layer = layer
        self.link: LayerLink | None = link_of(layer)
        self.failures: list[ChunkReadError] = []
        self.steps: tuple[int, ...] | None = None
        self.allowance = 1.0
        self._post = post
        self._changed = changed
        self.closed = False
        self._original = _request_class(layer)
        self.hooked = self._original is not None
        if self.hooked:
            layer._slicing_state._slice_request_class = _request_for(self._original, self)  # noqa: SLF001 - see module

    def close(self) -> None:
        """Give the layer back as it was."""
        if self.hooked and not self.closed:
            del self.layer._slicing_state._slice_request_class  # noqa: SLF001 - uncovers the class's own
        self.closed = True

    def view(self, request: Any, source: Source, data: LazyArray, project: Callable[[Any], Any]) -> Any:
        """Return the pixels of one request; runs in the thread that napari slices in.

        Parameters
        ----------
        request : napari slice request
            Only asked whether it is the main picture or the thumbnail.
        source : Source
            Where the pixels come from.
        data : LazyArray
            What napari would slice.
        project : callable
            napari's own slicing and projection.
        """
        shown = _Shown(self, source, data)
        pixels = project(shown)
        main = data.level == request.data_level
        if main:
            self._found(shown)
            self._learn_limits(pixels, shown)
        return pixels if shown.steps is None else marked(pixels, tuple(shown.steps[axis] for axis in data.kept_axes))

    def _found(self, shown: _Shown) -> None:
        """Take over what the view told, and say so in the main thread if it is news."""
        failures = list(shown.failures.values())
        if list(map(str, failures)) != list(map(str, self.failures)) or shown.steps != self.steps:
            self.failures, self.steps = failures, shown.steps
            self._tell()

    def _tell(self) -> None:
        def tell() -> None:
            if not self.closed:
                self._changed(self)

        self._post(tell)

    def _learn_limits(self, pixels: np.ndarray[Any, Any], shown: _Shown) -> None:
        """Set the contrast limits from the first pixels that are seen: no read of its own."""
        link = self.link
        if link is None or not link.needs_limits or shown.failures:
            return
        limits = limits_of(pixels)
        if limits is None:
            return
        link.needs_limits = False
        before = tuple(self.layer.contrast_limits)

        def set_limits() -> None:
            if not self.closed and tuple(self.layer.contrast_limits) == before:
                self.layer.contrast_limits = limits

        self._post(set_limits)


def limits_of(pixels: np.ndarray[Any, Any]) -> tuple[float, float] | None:
    """Return the smallest and the largest finite value of some pixels; None where there is no contrast."""
    if pixels.dtype.kind == "f":
        pixels = pixels[np.isfinite(pixels)]
    if not pixels.size:
        return None
    low, high = float(np.min(pixels)), float(np.max(pixels))
    return (low, high) if low < high else None


class _Shown:
    """Lazy data as napari's slicing sees it: unreadable chunks are blank, too big a view is sampled."""

    def __init__(self, display: LayerDisplay, source: Source, data: LazyArray) -> None:
        self._display = display
        self._source = source
        self._data = data
        self.failures: dict[BlockIndex, ChunkReadError] = {}
        self.steps: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return cast("np.dtype[Any]", self._data.dtype)

    @property
    def ndim(self) -> int:
        return len(self._data.shape)

    def __getitem__(self, index: Any) -> _Shown:
        self._data = self._data[index]
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        data, source = self._data, self._source
        if not isinstance(data, LazyArray) or data.source is not source:
            return np.asarray(data, dtype)
        before = status.shared.failures(source.token)
        budget = int(settings.current().cache_budget * self._display.allowance)
        self.steps = steps_for(source, data, budget)
        steps = self.steps
        pixels = data.read_tolerant(self._failed) if steps is None else read_view(source, data, steps, self._failed)
        if before:
            self._clear(before)
        return pixels if dtype is None else pixels.astype(dtype, copy=False)

    def _failed(self, index: BlockIndex, error: ChunkReadError) -> None:
        self.failures[index] = error
        if not self._display.closed:  # a late read of a layer that is gone
            status.shared.fail(self._source.token, self._data.level, index, str(error))

    def _clear(self, before: dict[tuple[int, BlockIndex], str]) -> None:
        """Note the chunks of this view that had failed and are there now."""
        grid = self._source.meta.levels[self._data.level].grid
        ranges = grid.block_ranges(self._data.box)
        for level, index in before:
            inside = all(block in blocks for block, blocks in zip(index, ranges, strict=True))
            if level == self._data.level and inside and index not in self.failures and self.steps is None:
                status.shared.clear(self._source.token, level, index)


def _request_class(layer: Any) -> Any:
    """Return napari's own request class of a layer, or None where this napari has none."""
    state = getattr(layer, "_slicing_state", None)
    found = getattr(type(state), "_slice_request_class", None)
    return found if hasattr(found, "_project_thick_slice") and hasattr(found, "_call_single_scale") else None


def _request_for(base: Any, display: LayerDisplay) -> Any:
    """Return a request class that reads through a display."""

    class LazySliceRequest(base):  # type: ignore[misc] # napari's, found at run time
        def _project_thick_slice(self, data: Any, data_slice: Any) -> Any:
            project = super()._project_thick_slice
            source = data.source if isinstance(data, LazyArray) else None
            if source is None:
                return project(data, data_slice)
            return display.view(self, source, data, lambda shown: project(shown, data_slice))

        def _call_single_scale(self) -> Any:
            return _placed(super()._call_single_scale())

    return LazySliceRequest


def _placed(response: Any) -> Any:
    """Return napari's answer with sampled pixels where they belong: pixel j lies at j * step."""
    steps = getattr(response.image.raw, "steps", None)
    if steps is None:
        return response
    ndim = response.slice_input.ndim
    scale = np.ones(ndim)
    for axis in response.slice_input.displayed:
        scale[axis] = steps[axis]
    transform = type(response.tile_to_data)(name="tile2data", scale=scale, translate=np.zeros(ndim))
    return replace(response, tile_to_data=transform)
