"""A view in 3-D: the coarsest level that there is at once, then finer ones as far as memory and the card allow.

A volume is shown a level at a time, each once it is there as a whole: the window never copies it,
worker threads fill it while the one before is seen. Levels without a pyramid are thinned out in the
same way: every k-th plane, then all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core import settings
from napari_lazyload.layers.display import napari_requests
from napari_lazyload.layers.display.chunk_requests import places
from napari_lazyload.layers.display.frame import Frame
from napari_lazyload.layers.display.plane import PREVIOUS_FRAME, as_seen
from napari_lazyload.layers.display.subsampling import first_steps, strides_for
from napari_lazyload.loading import plan
from napari_lazyload.loading.jobs import Tier

if TYPE_CHECKING:
    from napari_lazyload.arrays.lazy_array import LazyArray
    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.errors import ChunkReadError
    from napari_lazyload.layers.display.chunk_requests import ChunkRequests

    Array = np.ndarray[Any, Any]
    LevelStep = tuple[int, LazyArray, tuple[int, ...] | None]


class Volume:
    """The 3-D view of one layer.

    Parameters
    ----------
    reading : ChunkRequests
        Reads for it.
    levels : list of LazyArray
        The layer's data, finest first.
    before : Frame or None
        The plane that was seen before.

    Attributes
    ----------
    frame : Frame or None
        What is seen, once something is.
    coming : Frame or None
        What is being read.
    finer : int or None
        Bytes that the next finer choice would need; None where the finest is shown.
    seen : tuple
        The :meth:`state` that was handed to napari last.
    """

    def __init__(
        self, requests: ChunkRequests, levels: list[LazyArray], before: Frame | None
    ) -> None:
        self.levels = levels
        self.frame: Frame | None = None
        self.coming: Frame | None = None
        self.finer_nbytes: int | None = None
        self.seen: tuple[Any, ...] = ()
        self._requests = requests
        self._before = before
        self._response: Any = None
        self._rungs: list[LevelStep] = []
        self._next = 0
        self._target: tuple[Any, ...] = ()

    @property
    def frames(self) -> list[Frame]:
        """All that holds pixels."""
        return [frame for frame in (self.frame, self.coming) if frame is not None]

    @property
    def said(self) -> str:
        """What is seen meanwhile, in words."""
        frame = self._level_step_seen()
        if frame is None:
            return PREVIOUS_FRAME
        return f"level {frame.level}" if frame.sampled is None else "fewer planes"

    def respond(
        self,
        request: Any,
        answer: napari_requests.Answer,
        budget: int,
        *,
        again: bool,
        before: Any,
        locked: int | None,
    ) -> Any:
        """Answer a request; `before` is what was shown last, `locked` the level that the user holds on to."""
        if not again and not self._select_levels(request, answer, budget, locked):
            return answer(request)  # the sliders lie outside: napari's empty answer
        self.resume()
        if (
            self.coming is not None
            and not again
            and self._requests.expected_within_budget(self.coming)
        ):
            self._requests.wait(self.coming)
            self.resume()
        frame, self.seen = self._level_step_seen(), self.state()
        if frame is None and before is not None:
            held = napari_requests.plane_as_volume(before, request, self._plane())
            if held is not None:
                return napari_requests.mark_inexact(held, None, None, exact=False)
        return self._picture(request, answer, frame)

    def _picture(self, request: Any, answer: napari_requests.Answer, frame: Frame | None) -> Any:
        """Return napari's answer with the pixels of a frame, or with one blank pixel."""
        first = self._rungs[0]
        level, _, steps = (
            first
            if frame is None
            else next(rung for rung in self._rungs if _key(*rung) == frame.key)
        )
        axes = self.levels[0].kept_axes

        def pixels(lazy: LazyArray) -> Array:
            if frame is not None:
                return as_seen(frame.pixels, lazy)
            colors = tuple(lazy.shape[-1:]) if len(axes) > request.slice_input.ndim else ()
            return np.zeros((1,) * (lazy.ndim - len(colors)) + colors, lazy.dtype)

        def thumbnail(lazy: LazyArray) -> Array:
            if frame is not None and frame.key == _key(lazy.level, lazy, None):
                return pixels(lazy)
            return np.broadcast_to(np.zeros((), lazy.dtype), lazy.shape)

        number = next(number for number, data in enumerate(self.levels) if data.level == level)
        chosen = number if len(self.levels) > 1 else None
        response = napari_requests.slice_with(
            request, answer, pixels, thumbnail, level=chosen, data=self.levels[number]
        )
        exact = frame is not None and steps is None and self.coming is None
        if request.multiscale:
            box = next(lazy.box for at, lazy, _ in self._rungs if at == level)
            thinned = None if frame is None else frame.sampled
            response = napari_requests.fix_offset(
                response, request, self.levels[0], level, box, steps=thinned
            )
            return napari_requests.mark_inexact(response, None, None, exact=exact)
        along = None if steps is None or frame is None else tuple(steps[axis] for axis in axes)
        return napari_requests.mark_inexact(response, None, along, exact=exact)

    def _plane(self) -> float:
        """Return where the plane that was seen before lies along the axis that comes in, in pixels of level 0."""
        frame, lazy = self._before, self._rungs[0][1]
        if frame is None:
            return 0.0
        grown = [
            axis for axis, (a, b) in enumerate(frame.box) if b - a == 1 and lazy.box[axis] != (a, b)
        ]
        axis = grown[0] if grown else 0
        meta = frame.source.meta.levels[frame.level]
        return float(meta.first_center[axis] + frame.box[axis][0] * meta.factors[axis])

    # --- which levels
    # -------------------------------------------------------------------------------------------------

    def _select_levels(
        self, request: Any, answer: napari_requests.Answer, budget: int, locked: int | None
    ) -> bool:
        """Work out the levels to show, coarsest first, where the request is another one; False outside of the layer."""
        slices, shown = request.data_slice, request.slice_input
        target = (repr(slices), tuple(shown.order), str(request.projection_mode), locked, budget)
        complete = self.coming is None and any(
            frame.failures or frame.stale for frame in self.frames
        )
        if target == self._target and self._rungs and not complete:
            if self.coming is not None:
                self._requests.resume(self.coming)
            return True
        lazies = []
        for number in range(len(self.levels) - 1, -1, -1) if locked is None else [locked]:
            chosen = number if len(self.levels) > 1 else None
            lazy = napari_requests.find_box(request, answer, chosen, self.levels[number])
            if lazy is None:
                return False
            lazies.append(lazy)
        rungs = self._ladder(lazies, budget)
        if complete or self.frame is None or _key(*rungs[-1]) != self.frame.key:
            there = [
                at
                for at, rung in enumerate(rungs)
                if self.frame is not None and _key(*rung) == self.frame.key
            ]
            self._next, self.coming = (there[0] + 1 if there and not complete else 0), None
        else:
            self._next, self.coming = len(rungs), None
        self._rungs, self._target = rungs, target
        return True

    def _ladder(self, lazies: list[LazyArray], budget: int) -> list[LevelStep]:
        """Return the levels that fit the budget and the card, coarsest first; thinned out where none does."""
        fitting: list[LevelStep] = []
        self.finer_nbytes = None
        for lazy in lazies:
            steps = strides_for(self._requests.source, lazy, budget, texture=True)
            read = (
                plan.decoded(self._requests.source.meta, lazy.level, lazy.box)[1]
                * lazy.dtype.itemsize
            )
            held = plan.nbytes(lazy.box, lazy.dtype.itemsize)
            if steps is not None or (
                fitting
                and (read > budget or self._needs_confirmation(fitting[-1][0], held, budget))
            ):
                self.finer_nbytes = max(read, held)
                if not fitting:
                    fitting.append((lazy.level, lazy, steps))
                break
            fitting.append((lazy.level, lazy, None))
        level, lazy, steps = fitting[0]
        coarse = first_steps(self._requests.source, lazy, steps)
        return fitting if coarse is None else [(level, lazy, coarse), *fitting]

    def _needs_confirmation(self, level: int, held: int, budget: int) -> bool:
        """Return whether a large level behind a computed one, which reads as much, is left for another click.

        The first click showed what is read, of which a computed level keeps little.
        """
        computed = self._requests.source.meta.levels[level].computed_from is not None
        return computed and budget > settings.current().cache_budget and held > budget // 2

    def state(self) -> tuple[Any, ...]:
        """Return what tells one state of the view from the next."""
        return (id(self._level_step_seen()), self.coming is None)

    def _level_step_seen(self) -> Frame | None:
        """Return the level that can be seen of what was asked for."""
        frame = self.frame
        return frame if frame is not None and self._is_level_step(frame) else None

    def _is_level_step(self, frame: Frame) -> bool:
        return any(_key(*rung) == frame.key for rung in self._rungs)

    # --- reading
    # ------------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Take over what is there as a whole, and begin with the next level."""
        while self.coming is None or self.coming.complete:
            if self.coming is not None:
                self.frame, self.coming = self.coming, None
                self._next += 1
            if self._next >= len(self._rungs):
                return
            level, lazy, steps = self._rungs[self._next]
            self.coming = Frame(self._requests.source, level, lazy.box, steps)
            self._requests.fill(self.coming)
            first = self.frame is None or not self._is_level_step(self.frame)
            self._requests.request(places(self.coming), [], Tier.COARSE if first else Tier.VISIBLE)
            self._requests.prefetch(level, [])

    def take(
        self, level: int, index: BlockIndex, pixels: Array | None, error: ChunkReadError | None
    ) -> list[Frame]:
        """Take a chunk in; return the frame that it completes."""
        frame = self.coming
        if frame is None or frame.level != level or not frame.take(index, pixels, error):
            return []
        return [frame] if frame.complete else []

    def refreshed(self) -> None:
        """Have the files looked at once the last level is on the screen."""
        if self.coming is None:
            self._requests.second_look.revalidate(self.frames)


def _key(level: int, lazy: LazyArray, steps: tuple[int, ...] | None) -> tuple[Any, ...]:
    return (None if lazy.source is None else lazy.source.token, level, lazy.box, steps)
