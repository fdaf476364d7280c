"""How a lazy layer is shown: at once, with what is there, while the rest comes in.

``layer.data`` stays exact: all of this happens in the request that napari makes for each view
(`requests`). A view is a `Plane` or a `Volume`. Its chunks that are in memory are shown at once,
the others are read by the pool; what is missing shows a coarser level, or what was shown before,
and says so. As chunks come in the layer is refreshed, some thirty times a second at most.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from napari_lazyload.arrays.layer_link import METADATA_KEY, LayerLink
from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core import settings
from napari_lazyload.core.finite_range import finite_range
from napari_lazyload.core.text import level_label
from napari_lazyload.layers.display import napari_requests
from napari_lazyload.layers.display.chunk_requests import ChunkRequests
from napari_lazyload.layers.display.plane import Plane
from napari_lazyload.layers.display.volume import Volume
from napari_lazyload.loading import cache

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.errors import ChunkReadError
    from napari_lazyload.core.source import Source
    from napari_lazyload.layers.display.frame import Frame
    from napari_lazyload.layers.display.time_budget import FrameBudget

    Array = np.ndarray[Any, Any]
    Post = Callable[..., Any]

REFRESH_SECONDS, SELDOM_SECONDS = 0.03, 0.15
"""Shortest time between two refreshes, and the longest that a slow view waits for the next one:
drawing takes time that the rest needs to come in. Refreshes that take long are rarer still."""

LOADING = "loading"
"""What the status bar says of a pixel that is not loaded yet."""


_open: weakref.WeakValueDictionary[int, LayerDisplay] = weakref.WeakValueDictionary()
"""The displays of all viewers, which share one memory budget; by their ids."""


def _visible_count() -> int:
    """Return how many displays show something."""
    displays = [reference() for reference in _open.valuerefs()]
    return sum(display is not None and bool(display.layer.visible) for display in displays)


def link_of(layer: Any) -> LayerLink | None:
    """Return the link of a layer to its lazy image, or None for any other layer."""
    link = getattr(layer, "metadata", {}).get(METADATA_KEY)
    return link if isinstance(link, LayerLink) else None


class LayerDisplay:
    """What one layer shows, for as long as it is in a viewer.

    A view is *coming* until all of its chunks were read or failed, then it is complete. What comes
    in is drawn by a *refresh*: it is posted to the main thread (`_refresh_posted`), where napari
    makes the request once more (`_refreshing`). `settled` says that a complete view is drawn. Then,
    once (`_finish_posted`), the files of what came from memory are looked at (`revalidating`), and
    chunks are prefetched. `_last_status` is what the listener heard last.

    Parameters
    ----------
    layer : napari layer
        An Image or Labels layer with lazy data.
    post : callable
        ``post(function, delay=0.0)`` runs a function in the main thread, later.
    changed : callable
        Called in the main thread when the marks of the layer's view changed.
    frame_budget : FrameBudget
        How long the views of one moment may wait for pixels, together.

    Attributes
    ----------
    hooked : bool
        Whether napari has the request class that this needs.
    closed : bool
        Whether the layer has left the viewer.
    budget_factor : float
        How many memory budgets a view may read; more where the user asked for a finer one.
    """

    def __init__(
        self,
        layer: Any,
        post: Post,
        changed: Callable[[LayerDisplay], Any],
        frame_budget: FrameBudget,
    ) -> None:
        self.layer = layer
        self.link: LayerLink | None = link_of(layer)
        self.budget_factor = 1.0
        self.closed = False
        self._post = post
        self._changed = changed
        self._frame_budget = frame_budget
        self._requests: ChunkRequests | None = None
        self._view: Plane | Volume | None = None
        self._response: Any = None
        self._last_status: tuple[Any, ...] = ()
        labels = self.link is not None and self.link.image.kind == "labels"
        self._loading_value = None if labels else LOADING
        self._limits = [tuple(getattr(layer, "contrast_limits", None) or ())]
        self._lock = threading.RLock()
        self._refreshing = False
        self._refresh_posted = False
        self._finish_posted = False
        self._taking: set[int] = set()  # threads that put in a chunk at this moment
        self._asked_at = self._next_refresh = 0.0
        self._last_budget = 0
        _open[id(self)] = self
        original = napari_requests.request_class(layer)
        self.hooked = original is not None
        if self.hooked:
            napari_requests.hook(layer, original, self.respond)

    def close(self) -> None:
        """Give the layer back as it was, and stop its work; late results are dropped."""
        if self.hooked and not self.closed:
            napari_requests.unhook(self.layer)
        self.closed = True
        _open.pop(id(self), None)
        self.cancel()
        self.release()

    def release(self) -> None:
        """Let go of the pixels that the view holds; the next view reads again."""
        self._view = self._response = None
        cache.shared.reserve(id(self), 0)

    def cancel(self) -> None:
        """Stop loading; what is shown stays, and says what it is. The next view reads again."""
        if self._requests is not None:
            self._requests.cancel()
            self._report()

    # --- what it reports

    @property
    def failures(self) -> list[ChunkReadError]:
        """What could not be read of the view."""
        frame = self._frame
        return [] if frame is None else list(frame.failures.values())

    @property
    def _frame(self) -> Frame | None:
        """What is seen."""
        return None if self._view is None else self._view.frame

    @property
    def strides(self) -> tuple[int, ...] | None:
        """Stride of the shown pixels along each axis of the level; None where all are shown."""
        frame = self._frame
        return None if frame is None else frame.sampled

    @property
    def settled(self) -> bool:
        """Whether the view is complete, and on the screen."""
        # In this order: what makes it complete is taking, and posts a refresh before it ends.
        return self._complete and not self._taking and not self._refresh_posted

    @property
    def _complete(self) -> bool:
        """Whether every chunk of the view was read or failed."""
        view, frame = self._view, self._frame
        return (view is None or view.coming is None) and (frame is None or frame.complete)

    @property
    def revalidating(self) -> bool:
        """Whether files of a complete view may still turn out to be replaced."""
        return self._finish_posted or (
            self._requests is not None and self._requests.revalidator.busy
        )

    @property
    def progress(self) -> tuple[int, int]:
        """How many chunks of the view that comes in are there, and how many it has."""
        view = self._view
        if view is None or (frame := view.coming or view.frame) is None:
            return 0, 0
        return frame.total - len(frame.missing()), frame.total

    @property
    def notice(self) -> str:
        """What is shown instead of the exact view, in words; "" where it is exact."""
        lines = []
        view, requests = self._view, self._requests
        if view is None or requests is None:
            return ""
        if (coming := view.coming) is not None:  # once: a thread may end it at any moment
            loading = requests.busy or coming.complete
            lines.append(LOADING if loading else "not loaded")
            if shown := view.placeholder_text:
                lines[0] += f" (showing {shown})"
        lines += self._subsampled()
        return "\n".join(lines)

    def _subsampled(self) -> list[str]:
        """Return a line that says which pixels are shown, where not all fit the budget."""
        strides = self.strides
        if strides is None or self.link is None or self.finer_nbytes is None:
            return []
        by_axis = zip(self.link.image.axes, strides, strict=False)
        parts = [f"1 of {stride} along {axis}" for axis, stride in by_axis if stride > 1]
        return [f"to fit the memory budget: {', '.join(parts)}"]

    @property
    def level_text(self) -> str:
        """Which level of a pyramid is shown, in words; in 2-D "" unless it is computed."""
        view, frame = self._view, self._frame
        if frame is None:
            return ""
        meta = frame.source.meta
        label = level_label(frame.level, meta.levels[frame.level], meta.axes)
        if not isinstance(view, Volume):
            return f"shows {label}" if "(" in label else ""
        if len(view.levels) == 1:
            return ""
        name, *note = label.partition(" (")
        return f"3-D shows {name} of 0 to {view.levels[-1].level}{''.join(note)}"

    @property
    def finer_nbytes(self) -> int | None:
        """Bytes that a finer view would need; None where the view is the finest there is."""
        return None if self._view is None else self._view.finer_nbytes

    # --- memory

    @property
    def budget(self) -> int:
        """Bytes that a view may read and hold: all layers that are shown have equal shares."""
        share = settings.current().cache_budget // max(1, _visible_count())
        return int(share * self.budget_factor)

    @property
    def outgrown(self) -> bool:
        """Whether the view would be another one with the share that it has now."""
        held = sum(frame.nbytes for frame in set(self._frames()))
        return held > self.budget or (
            self.finer_nbytes is not None and self.budget > self._last_budget
        )

    # --- answering napari

    def respond(self, request: Any, answer: napari_requests.Answer) -> Any:
        """Answer a request with the pixels that are there; runs in napari's slicing thread."""
        data = request.data_at_data_level
        if self.closed or not isinstance(data, LazyArray) or data.source is None:
            return answer(request)
        budget = self._last_budget = self.budget
        with self._lock:
            refreshing = self._refreshing
            if not refreshing:
                self._asked_at = time.monotonic()
            requests = self._requests_of(data.source)
            if request.slice_input.ndisplay == 3:
                response = self._in_3d(request, answer, budget, requests, refreshing=refreshing)
            else:
                view = self._view
                if not isinstance(view, Plane):
                    view = self._view = Plane(requests, self._loading_value)
                finest = self.layer.data[0] if self.layer.multiscale else None
                response = view.respond(
                    request, answer, budget, refreshing=refreshing, finest=finest
                )
            if not response.empty:
                self._response = response
            # The cache makes room for the pixels that the view holds itself.
            cache.shared.reserve(id(self), sum(frame.nbytes for frame in set(self._frames())))
        if not refreshing:
            for frame in self._frames():
                self._learn_limits(frame)
            self._finish_soon()
        self._report()
        return response

    def _frames(self) -> list[Frame]:
        """Return all that holds pixels."""
        return [] if self._view is None else self._view.frames

    def _in_3d(
        self,
        request: Any,
        answer: napari_requests.Answer,
        budget: int,
        requests: ChunkRequests,
        *,
        refreshing: bool,
    ) -> Any:
        layer, view = self.layer, self._view
        levels = list(layer.data) if layer.multiscale else [layer.data]
        if not isinstance(view, Volume) or len(levels) != len(view.levels):
            view = self._view = Volume(requests, levels, self._frame)
        view.finer = self.budget_factor > 1
        locked = layer.locked_data_level if layer.multiscale else None
        return view.respond(
            request, answer, budget, refreshing=refreshing, before=self._response, locked=locked
        )

    def _requests_of(self, source: Source) -> ChunkRequests:
        """Return the requests of a source; those of another one end."""
        if self._requests is None or self._requests.source is not source:
            self.cancel()
            self._requests = ChunkRequests(source, self._delivered, self._frame_budget)
            self._view = self._response = None
        return self._requests

    # --- what comes in

    def _delivered(
        self, level: int, index: BlockIndex, pixels: Array | None, error: ChunkReadError | None
    ) -> None:
        """Take a chunk in; runs in the thread that read it."""
        view = self._view
        if self.closed or view is None:
            return
        self._taking.add(threading.get_ident())
        try:
            taken = view.take(level, index, pixels, error)
            for frame in taken:
                self._learn_limits(frame, pixels)
            if taken:
                coming = view.coming
                self._refresh_soon(finished=coming is None or coming.complete)
        finally:
            self._taking.discard(threading.get_ident())

    def _refresh_soon(self, *, finished: bool) -> None:
        """Show what came in, in the main thread, once the last time is long enough ago."""
        if self._refresh_posted or self.closed:
            return
        self._refresh_posted = True
        delay = max(0.0, self._next_refresh - time.monotonic())
        self._post(self._refresh, min(delay, REFRESH_SECONDS) if finished else delay)

    def _refresh(self) -> None:
        self._refresh_posted = False
        view, began = self._view, time.monotonic()
        if self.closed or view is None:
            return
        with self._lock:
            if isinstance(view, Volume):
                view.resume()
            news = view.state() != view.shown_state
        if news:
            self._refreshing = True
            try:
                self.layer.refresh(extent=False, highlight=False, thumbnail=view.coming is None)
            finally:
                self._refreshing = False
            now = time.monotonic()
            seldom = min(SELDOM_SECONDS, (now - self._asked_at) / 4)
            self._next_refresh = now + max(REFRESH_SECONDS, seldom, 2 * (now - began))
        view.after_refresh()
        self._report()

    def _finish_soon(self) -> None:
        """Finish a view that was complete at once, after it is drawn; others do in a refresh."""
        if self._complete and not self._refresh_posted and not self._finish_posted:
            self._finish_posted = True
            self._post(self._finish)

    def _finish(self) -> None:
        self._finish_posted = False
        view = self._view
        if not self.closed and view is not None:
            view.after_refresh()

    def _report(self) -> None:
        """Call the listener in the main thread if what the view says of itself is new."""
        news = (tuple(map(str, self.failures)), self.notice, self.level_text)
        if news == self._last_status:
            return
        self._last_status = news

        def report() -> None:
            if not self.closed:
                self._changed(self)

        self._post(report)

    def _learn_limits(self, frame: Frame, part: Array | None = None) -> None:
        """Set the contrast limits from the first pixels that are there, without reading for it.

        A computed level takes a while: they are set from the first `part` of it, and again once it
        is complete.
        """
        link = self.link
        if link is None or not link.needs_limits or frame.failures:
            return
        computed = frame.source.meta.levels[frame.level].computed_from is not None
        if not frame.complete and (len(self._limits) > 1 or not computed):
            return
        pixels = frame.pixels if frame.complete else part
        if pixels is None or (limits := finite_range(pixels)) is None or limits[0] == limits[1]:
            return
        link.needs_limits = not frame.complete
        self._limits = [*self._limits, limits]
        self._post(self.show_limits)

    def show_limits(self) -> None:
        """Take over the latest contrast limits, unless the user has set others meanwhile."""
        limits = getattr(self.layer, "contrast_limits", ())
        if not self.closed and tuple(limits) in self._limits[:-1]:
            self.layer.contrast_limits = self._limits[-1]
