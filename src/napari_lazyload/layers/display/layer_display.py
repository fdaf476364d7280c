"""How a lazy layer is shown: at once, with what is there, while the rest comes in.

``layer.data`` stays exact: all of this happens in the request that napari makes for each view
(`requests`). A view is a `Plane` or a `Volume`. Its chunks that are in memory are shown at once,
the others are read by the pool; what is missing shows a coarser level, or what was shown before,
and says so. As chunks come in the layer is refreshed, some thirty times a second at most.
"""

from __future__ import annotations

import threading
import time
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
    from napari_lazyload.layers.display.frame import Frame
    from napari_lazyload.layers.display.time_budget import FrameBudget

    Array = np.ndarray[Any, Any]
    Post = Callable[..., Any]

REFRESH_SECONDS, SELDOM_SECONDS = 0.03, 0.15
"""What comes in is shown no more often than the first; refreshes that take long are made less often
still. A view that takes long gets less often new, up to the second: the drawing takes the time that
the rest needs to come in."""

LOADING = "loading"
"""What the status bar says of a pixel that is not there yet."""


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
        ``post(function, delay=0.0)`` runs a function in the main thread, later.
    changed : callable
        Called in the main thread when the marks of the layer's view changed.
    patience : FrameBudget
        How long the views of one moment may wait for pixels, together.

    Attributes
    ----------
    hooked : bool
        Whether napari has the request class that this needs.
    closed : bool
        Whether the layer has left the viewer.
    allowance : float
        How many memory budgets a view of this layer may read; more where the user asked for a finer
        one.
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
        self._patience = frame_budget
        self._requests: ChunkRequests | None = None
        self._view: Plane | Volume | None = None
        self._response: Any = None
        self._last_status: tuple[Any, ...] = ()
        self._limits = (
            [tuple(layer.contrast_limits)]
            if self.link is not None and self.link.needs_limits
            else []
        )
        self._lock = threading.RLock()
        self._refreshing = False
        self._refresh_posted = False
        self._follow_posted = self._anew_posted = False
        self._asked = self._next_refresh = 0.0
        original = napari_requests.request_class(layer)
        self.hooked = original is not None
        if self.hooked:
            napari_requests.hook(layer, original, self.respond)

    def close(self) -> None:
        """Give the layer back as it was, and stop its work; late results are dropped."""
        if self.hooked and not self.closed:
            napari_requests.unhook(self.layer)
        self.closed = True
        self.cancel()
        self._view = self._response = None
        cache.shared.reserve(id(self), 0)

    def cancel(self) -> None:
        """Stop loading; what is shown stays, and says what it is. The next view reads again."""
        if self._requests is not None:
            self._requests.cancel()
            self._tell()

    # --- what is told of it
    # -------------------------------------------------------------------------------------------

    @property
    def failures(self) -> list[ChunkReadError]:
        """What could not be read of the view."""
        frame = None if self._view is None else self._view.frame
        return [] if frame is None else list(frame.failures.values())

    @property
    def steps(self) -> tuple[int, ...] | None:
        """Every how many pixels of each axis of the level are shown, where not all are."""
        frame = None if self._view is None else self._view.frame
        return None if frame is None else frame.sampled

    @property
    def settled(self) -> bool:
        """Whether the view is all there, and on the screen."""
        return not self._refresh_posted and (self._view is None or self._view.coming is None)

    @property
    def revalidating(self) -> bool:
        """Whether the files of a view that is all there may still turn out to be others; see `second_look`."""
        busy = (
            self._requests is not None and self._requests.second_look.busy
        )  # asked first: what ends now has posted
        return busy or self._follow_posted or self._anew_posted

    @property
    def progress(self) -> tuple[int, int]:
        """How many chunks of the view that comes in are there, and how many it has."""
        view = self._view
        frame = None if view is None else view.coming or view.frame
        return (0, 0) if frame is None else (frame.total - len(frame.missing()), frame.total)

    @property
    def notice(self) -> str:
        """What is shown instead of the exact view, in words; "" where it is exact."""
        lines = []
        view, requests = self._view, self._requests
        coming = None if view is None else view.coming  # once: a thread may end it at any moment
        if view is not None and requests is not None and coming is not None:
            doing, said = LOADING if requests.busy or coming.complete else "not loaded", view.said
            lines.append(f"{doing} (showing {said})" if said else doing)
        if (thinned := self._thinned_out()) != "":
            lines.append(thinned)
        return "\n".join(lines)

    def _thinned_out(self) -> str:
        """Return which pixels of a layer are shown where not all can be, "" otherwise."""
        steps = self.steps
        if steps is None or self.link is None or self.finer_nbytes is None:
            return ""
        axes = self.link.image.axes
        parts = [
            f"1 of {step} along {axis}" for axis, step in zip(axes, steps, strict=False) if step > 1
        ]
        return f"to fit the memory budget: {', '.join(parts)}"

    @property
    def level_text(self) -> str:
        """Which level of a pyramid the view shows, in words: in 3-D, and where that level is computed; else ""."""
        view = self._view
        frame = None if view is None else view.frame
        if view is None or frame is None:
            return ""
        said = level_label(
            frame.level, frame.source.meta.levels[frame.level], frame.source.meta.axes
        )
        if isinstance(view, Volume):
            name, *note = said.partition(" (")
            return (
                ""
                if len(view.levels) == 1
                else f"3-D shows {name} of 0 to {view.levels[-1].level}{''.join(note)}"
            )
        return f"shows {said}" if "(" in said else ""

    @property
    def finer_nbytes(self) -> int | None:
        """Bytes that a finer view would need; None where the view is the finest there is."""
        return None if self._view is None else self._view.finer_nbytes

    # --- answering napari
    # ---------------------------------------------------------------------------------------------

    def respond(self, request: Any, answer: napari_requests.Answer) -> Any:
        """Answer a request with the pixels that are there; runs in the thread that napari slices in."""
        data = request.data_at_data_level
        if self.closed or not isinstance(data, LazyArray) or data.source is None:
            return answer(request)
        budget = int(settings.current().cache_budget * self.budget_factor)
        with self._lock:
            again = self._refreshing
            self._asked = self._asked if again else time.monotonic()
            requests = self._requests_of(data)
            if request.slice_input.ndisplay == 3:
                response = self._in_3d(request, answer, budget, requests, again=again)
            else:
                view = self._view
                if not isinstance(view, Plane):
                    view = self._view = Plane(requests, None if self._is_labels() else LOADING)
                finest = self.layer.data[0] if self.layer.multiscale else None
                response = view.respond(request, answer, budget, again=again, finest=finest)
            if not response.empty:
                self._response = response
            self._reserve()
        if not again:
            for frame in self._view.frames if self._view is not None else ():
                self._learn_limits(frame)
            self._follow_soon()
        self._tell()
        return response

    def _is_labels(self) -> bool:
        return self.link is not None and self.link.image.kind == "labels"

    def _in_3d(
        self,
        request: Any,
        answer: napari_requests.Answer,
        budget: int,
        requests: ChunkRequests,
        *,
        again: bool,
    ) -> Any:
        layer, view = self.layer, self._view
        levels = list(layer.data) if layer.multiscale else [layer.data]
        if not isinstance(view, Volume) or len(levels) != len(view.levels):
            view = self._view = Volume(requests, levels, None if view is None else view.frame)
        locked = layer.locked_data_level if layer.multiscale else None
        return view.respond(
            request, answer, budget, again=again, before=self._response, locked=locked
        )

    def _requests_of(self, data: LazyArray) -> ChunkRequests:
        """Return what reads from the source of some data; what was read from another one is let go."""
        source = data.source
        if source is None:
            msg = "expected lazy data with a source"
            raise TypeError(msg)
        if self._requests is None or self._requests.source is not source:
            self.cancel()
            self._requests = ChunkRequests(source, self._delivered, self._patience, self._replaced)
            self._view = self._response = None
        return self._requests

    def _reserve(self) -> None:
        """Have the cache make room for the pixels that the view holds itself."""
        frames = (
            {} if self._view is None else {id(frame): frame.nbytes for frame in self._view.frames}
        )
        cache.shared.reserve(id(self), sum(frames.values()))

    # --- what comes in
    # ------------------------------------------------------------------------------------------------

    def _delivered(
        self, level: int, index: BlockIndex, pixels: Array | None, error: ChunkReadError | None
    ) -> None:
        """Take a chunk in; runs in the thread that read it."""
        view = self._view
        if self.closed or view is None:
            return
        taken = view.take(level, index, pixels, error)
        for frame in taken:
            self._learn_limits(frame, pixels)
        if taken:
            coming = view.coming
            self._refresh_soon(finished=coming is None or coming.complete)

    def _replaced(self) -> None:
        """Show anew what its files no longer have, in the main thread; runs in the thread that found that."""
        self._anew_posted = True
        self._post(self._refresh_after_replace)

    def _refresh_after_replace(self) -> None:
        self._anew_posted = False
        view = self._view
        if not self.closed and view is not None and any(frame.stale for frame in view.frames):
            self.layer.refresh(extent=False, highlight=False)

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
            news = view.state() != view.seen
        if news:
            self._refreshing = True
            try:
                self.layer.refresh(extent=False, highlight=False, thumbnail=view.coming is None)
            finally:
                self._refreshing = False
            now = time.monotonic()
            seldom = min(SELDOM_SECONDS, (now - self._asked) / 4)
            self._next_refresh = now + max(REFRESH_SECONDS, seldom, 2 * (now - began))
        view.refreshed()
        self._tell()

    def _follow_soon(self) -> None:
        """Read ahead of a view that was there at once, after it is drawn; of others once they are all there."""
        if self.settled and not self._follow_posted:
            self._follow_posted = True
            self._post(self._follow)

    def _follow(self) -> None:
        self._follow_posted = False
        view = self._view
        if not self.closed and view is not None:
            view.refreshed()

    def _tell(self) -> None:
        """Say in the main thread what the view is, if that is news."""
        news = (tuple(map(str, self.failures)), self.notice, self.level_text)
        if news == self._last_status:
            return
        self._last_status = news

        def tell() -> None:
            if not self.closed:
                self._changed(self)

        self._post(tell)

    def _learn_limits(self, frame: Frame, part: Array | None = None) -> None:
        """Set the contrast limits from the first pixels that are there: no read of its own.

        A computed level takes a while: they are set from the first `part` of it, and again once it
        is all there.
        """
        link = self.link
        if link is None or not link.needs_limits or frame.failures:
            return
        if not frame.complete and (
            len(self._limits) > 1 or frame.source.meta.levels[frame.level].computed_from is None
        ):
            return
        pixels = frame.pixels if frame.complete else part
        limits = None if pixels is None else finite_range(pixels)
        if limits is None or limits[0] == limits[1]:
            return
        link.needs_limits = not frame.complete
        self._limits = [*self._limits, limits]
        self._post(self.show_limits)

    def show_limits(self) -> None:
        """Take over the contrast limits that were learnt last, unless the user has set others meanwhile."""
        if (
            not self.closed
            and tuple(getattr(self.layer, "contrast_limits", ())) in self._limits[:-1]
        ):
            self.layer.contrast_limits = self._limits[-1]
