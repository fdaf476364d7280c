"""A view in 3-D: the coarsest level at once, then finer ones as memory and graphics card allow.

A volume is shown a level at a time, each once it is there as a whole: the window never copies it,
worker threads fill it while the one before is seen. Data without a pyramid is subsampled in the
same way: every k-th plane, then all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.layers.display import napari_requests
from napari_lazyload.layers.display.chunk_requests import places
from napari_lazyload.layers.display.frame import Frame
from napari_lazyload.layers.display.plane import PREVIOUS_FRAME, as_seen
from napari_lazyload.layers.display.subsampling import first_strides, strides_for
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
    requests : ChunkRequests
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
    finer : bool
        Whether the user asked for a finer view.
    finer_nbytes : int or None
        Bytes that the next finer choice would need; None where the finest is shown.
    shown_state : tuple
        The :meth:`state` that was handed to napari last.
    """

    def __init__(
        self, requests: ChunkRequests, levels: list[LazyArray], before: Frame | None
    ) -> None:
        self.levels = levels
        self.frame: Frame | None = None
        self.coming: Frame | None = None
        self.finer = False
        self.finer_nbytes: int | None = None
        self.shown_state: tuple[Any, ...] = ()
        self._requests = requests
        self._before = before
        self._response: Any = None
        self._level_steps: list[LevelStep] = []
        self._next = 0
        self._target: tuple[Any, ...] = ()

    @property
    def frames(self) -> list[Frame]:
        """All that holds pixels."""
        return [frame for frame in (self.frame, self.coming) if frame is not None]

    @property
    def placeholder_text(self) -> str:
        """What is shown meanwhile, in words."""
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
        refreshing: bool,
        before: Any,
        locked: int | None,
    ) -> Any:
        """Answer a request.

        `before` is napari's last response, `locked` the level that the user chose.
        """
        if not refreshing and not self._select_levels(request, answer, budget, locked):
            return answer(request)  # the sliders lie outside: napari's empty answer
        self.resume()
        if (
            self.coming is not None
            and not refreshing
            and self._requests.expected_within_budget(self.coming)
        ):
            self._requests.wait(self.coming)
            self.resume()
        frame, self.shown_state = self._level_step_seen(), self.state()
        if frame is None and before is not None:
            held = napari_requests.plane_as_volume(before, request, self._plane())
            if held is not None:
                return napari_requests.mark_inexact(held, None, None, exact=False)
        return self._respond_with(frame, request, answer)

    def _respond_with(
        self, frame: Frame | None, request: Any, answer: napari_requests.Answer
    ) -> Any:
        """Return napari's answer with the pixels of a frame, or with one blank pixel."""
        first = self._level_steps[0]
        if frame is not None:
            first = next(step for step in self._level_steps if _key(*step) == frame.key)
        level, shown, strides = first
        axes = self.levels[0].kept_axes

        def pixels(lazy: LazyArray) -> Array:
            if frame is not None:
                return as_seen(frame.pixels, lazy)
            if len(axes) > request.slice_input.ndim:  # colors come last, and are always seen
                return np.zeros((*(1,) * (lazy.ndim - 1), lazy.shape[-1]), lazy.dtype)
            return np.zeros((1,) * lazy.ndim, lazy.dtype)

        def thumbnail(lazy: LazyArray) -> Array:
            if frame is not None and frame.key == _key(lazy.level, lazy, None):
                return pixels(lazy)
            return np.broadcast_to(np.zeros((), lazy.dtype), lazy.shape)

        number = [data.level for data in self.levels].index(level)
        chosen = number if len(self.levels) > 1 else None
        response = napari_requests.slice_with(
            request, answer, pixels, thumbnail, level=chosen, data=self.levels[number]
        )
        exact = frame is not None and strides is None and frame.complete and self.coming is None
        if request.multiscale:
            sampled = None if frame is None else frame.sampled
            response = napari_requests.fix_offset(
                response, request, self.levels[0], level, shown.box, strides=sampled
            )
            return napari_requests.mark_inexact(response, None, None, exact=exact)
        along = None if strides is None or frame is None else tuple(strides[axis] for axis in axes)
        return napari_requests.mark_inexact(response, None, along, exact=exact)

    def _plane(self) -> float:
        """Return where the plane seen before lies along the new axis, in pixels of level 0."""
        frame, lazy = self._before, self._level_steps[0][1]
        if frame is None:
            return 0.0
        pairs = enumerate(zip(frame.box, lazy.box, strict=True))
        grown = [axis for axis, ((a, b), now) in pairs if b - a == 1 and now != (a, b)]
        axis = (grown or [0])[0]
        meta = frame.source.meta.levels[frame.level]
        return float(meta.first_center[axis] + frame.box[axis][0] * meta.factors[axis])

    # --- which levels

    def _select_levels(
        self, request: Any, answer: napari_requests.Answer, budget: int, locked: int | None
    ) -> bool:
        """Choose the levels to show, coarsest first, for a new request; False outside the layer."""
        slices, shown = request.data_slice, request.slice_input
        target = (repr(slices), tuple(shown.order), str(request.projection_mode), locked, budget)
        failed = self.coming is None and self.frame is not None and len(self.frame.failures) > 0
        if target == self._target and self._level_steps and not failed:
            for frame in self.frames:
                self._requests.resume(frame)
            return True
        lazies = []
        for number in range(len(self.levels) - 1, -1, -1) if locked is None else [locked]:
            chosen = number if len(self.levels) > 1 else None
            lazy = napari_requests.find_box(request, answer, chosen, self.levels[number])
            if lazy is None:
                return False
            lazies.append(lazy)
        self._level_steps, self._target = self._choose_steps(lazies, budget), target
        self._next, self.coming = 0, None
        keys = [_key(*step) for step in self._level_steps]
        if self.frame is not None and self.frame.key in keys and not failed:
            self._next = keys.index(self.frame.key) + 1
        return True

    def _choose_steps(self, lazies: list[LazyArray], budget: int) -> list[LevelStep]:
        """Return the levels that fit budget and card, coarsest first; a subsampled one if none."""
        fitting: list[LevelStep] = []
        self.finer_nbytes = None
        for lazy in lazies:
            strides = strides_for(self._requests.source, lazy, budget, texture=True)
            read = (
                plan.decoded(self._requests.source.meta, lazy.level, lazy.box)[1]
                * lazy.dtype.itemsize
            )
            held = plan.nbytes(lazy.box, lazy.dtype.itemsize)
            if strides is not None or (
                fitting
                and (read > budget or self._needs_confirmation(fitting[-1][0], held, budget))
            ):
                self.finer_nbytes = max(read, held)
                if not fitting:
                    fitting.append((lazy.level, lazy, strides))
                break
            fitting.append((lazy.level, lazy, None))
        level, lazy, strides = fitting[0]
        coarse = first_strides(self._requests.source, lazy, strides)
        if coarse is not None:
            fitting.insert(0, (level, lazy, coarse))
        return fitting

    def _needs_confirmation(self, level: int, held: int, budget: int) -> bool:
        """Whether a large level that follows a computed one waits for another click.

        The first click showed what is read, of which a computed level keeps little.
        """
        computed = self._requests.source.meta.levels[level].computed_from is not None
        return computed and self.finer and held > budget // 2

    def state(self) -> tuple[Any, ...]:
        """Return a value that changes with what the view shows."""
        frame = self._level_step_seen()
        return (id(frame), frame and frame.changes, self.coming is None)

    def _level_step_seen(self) -> Frame | None:
        """Return the frame that is seen, where it is of a level that the request may show."""
        frame = self.frame
        if frame is None or frame.key not in [_key(*step) for step in self._level_steps]:
            return None
        return frame

    # --- reading

    def resume(self) -> None:
        """Show a level that has come in as a whole, and begin with the next."""
        while self.coming is None or self.coming.complete:
            if self.coming is not None:
                self.frame, self.coming = self.coming, None
                self._next += 1
            if self._next >= len(self._level_steps):
                return
            level, lazy, strides = self._level_steps[self._next]
            self.coming = Frame(self._requests.source, level, lazy.box, strides)
            self._requests.fill(self.coming)
            tier = Tier.COARSE if self._level_step_seen() is None else Tier.VISIBLE
            self._requests.request(places(self.coming), [], tier)
            self._requests.prefetch(level, [])

    def take(
        self, level: int, index: BlockIndex, pixels: Array | None, error: ChunkReadError | None
    ) -> list[Frame]:
        """Take a chunk in; return the frames that it completes."""
        frames = [frame for frame in self.frames if frame.level == level]
        taken = [frame for frame in frames if frame.take(index, pixels, error)]
        return [frame for frame in taken if frame.complete]

    def after_refresh(self) -> None:
        """Have the files looked at once the last level is on the screen."""
        if self.coming is None:
            self._requests.revalidator.revalidate(self.frames)


def _key(level: int, lazy: LazyArray, strides: tuple[int, ...] | None) -> tuple[Any, ...]:
    return (None if lazy.source is None else lazy.source.token, level, lazy.box, strides)
