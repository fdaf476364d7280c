"""A view in 2-D: exact chunks as they come in, and placeholders for those that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.arrays.lazy_array import LazyArray
from napari_lazyload.core import settings
from napari_lazyload.core.source import status_token
from napari_lazyload.layers.display import napari_requests
from napari_lazyload.layers.display.chunk_requests import places
from napari_lazyload.layers.display.frame import (
    Frame,
    Placeholder,
    block_indices,
    chunk_placeholder,
)
from napari_lazyload.layers.display.prefetch import SliderMotion
from napari_lazyload.layers.display.subsampling import strides_for
from napari_lazyload.loading import plan, status
from napari_lazyload.loading.read_box import peek_block

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.core.errors import ChunkReadError
    from napari_lazyload.core.metadata import LevelMeta
    from napari_lazyload.layers.display.chunk_requests import ChunkRequests

    Array = np.ndarray[Any, Any]

MOST_COARSE, MOST_COMPUTED = 16, 256
"""A coarser level with more chunks in one view gives no placeholders, and is not read for them.
Computed levels, whose small chunks are made from many, may have more: they are only taken from
memory."""

PREVIOUS_FRAME, COARSE = "the previous frame", "coarser pixels"


class Plane:
    """A view of one plane of a layer, in 2-D.

    Parameters
    ----------
    requests : ChunkRequests
        Reads for it.
    value : str or None
        What the status bar says of a pixel that is not there yet.

    Attributes
    ----------
    frame : Frame or None
        What is shown, or comes in.
    shown_state : tuple
        The :meth:`state` that was handed to napari last.
    """

    def __init__(self, requests: ChunkRequests, value: str | None) -> None:
        self.frame: Frame | None = None
        self.shown_state: tuple[Any, ...] = ()
        self._requests = requests
        self._value = value
        self._coarse: Frame | None = None
        self._displayed: frozenset[int] = frozenset()
        self._motion = SliderMotion()
        self._whole = False

    @property
    def frames(self) -> list[Frame]:
        """All that holds pixels."""
        return [frame for frame in (self.frame, self._coarse) if frame is not None]

    def state(self) -> tuple[Any, ...]:
        """Return a value that changes with what the view shows."""
        return tuple((id(frame), frame.changes, frame.placeholder_kind) for frame in self.frames)

    @property
    def coming(self) -> Frame | None:
        """What is shown, while it is incomplete."""
        frame = self.frame
        return None if frame is None or frame.complete else frame

    @property
    def placeholder_text(self) -> str:
        """What missing pixels show, in words."""
        frame = self.frame
        return "" if frame is None else frame.placeholder_kind

    @property
    def finer_nbytes(self) -> int | None:
        """Bytes that the whole view would read, where it is subsampled."""
        frame = self.frame
        if frame is None or frame.sampled is None:
            return None
        return plan.nbytes(frame.box, frame.source.meta.dtype.itemsize)

    def respond(
        self,
        request: Any,
        answer: napari_requests.Answer,
        budget: int,
        *,
        refreshing: bool,
        finest: Any = None,
    ) -> Any:
        """Answer a request; `refreshing` says that nothing is new but the chunks that came in.

        `finest` is the layer's finest level, where it has several.
        """
        data = request.data_at_data_level
        axes = data.kept_axes
        ndim = request.slice_input.ndim  # without colours, whose axis comes last and is always seen
        displayed = frozenset(
            [*(axes[axis] for axis in request.slice_input.displayed), *axes[ndim:]]
        )

        def pixels(lazy: LazyArray) -> Array:
            frame = self._frame_of(lazy, displayed, budget, refreshing=refreshing)
            # Before the pixels are taken: what comes meanwhile is shown a second time.
            self.shown_state, self._whole = self.state(), frame.complete
            return as_seen(frame.pixels, lazy)

        response = napari_requests.slice_with(request, answer, pixels, self._thumbnail)
        frame = self.frame
        if response.empty or frame is None:
            return response
        strides = None if frame.sampled is None else tuple(frame.sampled[axis] for axis in axes)
        exact = self._whole and frame.sampled is None
        if isinstance(finest, LazyArray) and self._level(frame.level).steps is not None:
            response = napari_requests.fix_offset(
                response, request, finest, frame.level, frame.box, strides=frame.sampled
            )
            strides = None
        return napari_requests.mark_inexact(
            response, None if self._whole else self._value, strides, exact=exact
        )

    def _thumbnail(self, lazy: LazyArray) -> Array:
        """Return the coarsest level once it is complete, nothing before: it is not waited for."""
        coarse = self._coarse
        shape = tuple(stop - start for start, stop in lazy.box)
        if coarse is None or not coarse.complete or coarse.pixels.shape != shape:
            return np.broadcast_to(np.zeros((), lazy.dtype), lazy.shape)
        return as_seen(coarse.pixels, lazy)

    def _frame_of(
        self, lazy: LazyArray, displayed: frozenset[int], budget: int, *, refreshing: bool
    ) -> Frame:
        """Return the frame of the box that napari requests, filled as far as possible at once."""
        source, old = self._requests.source, self.frame
        strides = strides_for(source, lazy, budget)
        same = old is not None and old.key == (source.token, lazy.level, lazy.box, strides)
        # A complete frame that napari requests anew is filled anew: its files may have changed.
        if old is not None and same and (refreshing or not old.complete):
            if not refreshing:
                self._requests.resume(old)
            return old
        frame = self.frame = Frame(source, lazy.level, lazy.box, strides)
        held = old if self._displayed == displayed else None
        self._displayed = displayed
        moved = self._motion.moved(lazy.level, lazy.box, displayed)
        soon = self._requests.expected_within_budget(frame)
        if not soon:  # painted in one piece, before any chunk is there
            self._show_placeholder(frame, held)
        self._requests.fill(frame)
        self._coarse = self._coarse_frame(frame)
        if not soon:  # read after this turn: until it is drawn, no worker takes the interpreter
            self._requests.defer(lambda: self._read(frame, moved))
            return frame
        # What may be read in time for this very view gets no placeholder, which would flash.
        self._read(frame, moved)
        if not self._requests.wait(frame):
            self._show_placeholder(frame, held)
        return frame

    def _read(self, frame: Frame, moved: bool) -> None:
        """Request the missing chunks, after coarse pixels of the place where these are stored."""
        if frame is not self.frame:
            return
        below = self._coarse
        exact, coarse = places(frame), []
        if below not in (None, frame) and self._level(below.level).computed_from is None:
            coarse = places(below)
            if below.level == frame.level or not settings.current().coarse_first:
                exact, coarse = list(dict.fromkeys([*exact, *coarse])), []
        self._requests.request(exact, coarse)
        if moved and not frame.complete:
            self.prefetch()  # of one that is there it can wait until that is on the screen

    def _coarse_frame(self, frame: Frame) -> Frame | None:
        """Return the same place of the coarsest level as a whole, for thumbnail and placeholder."""
        source, last = frame.source, len(frame.source.meta.levels) - 1
        if last == 0 or frame.sampled is not None:
            return None
        level = source.meta.levels[last]
        place = list(plan.same_place(source.meta, frame.level, frame.box, last))
        for axis in self._displayed:
            place[axis] = (0, level.shape[axis])
        box = tuple(place)
        if last == frame.level and box == frame.box:
            return frame
        if level.grid.count(box) > _most(level):
            return None
        old = self._coarse
        if old is not None and (old.level, old.box) == (last, box) and not old.failures:
            return old
        coarse = Frame(source, last, box)
        self._requests.fill(coarse)
        return coarse

    def _level(self, number: int) -> LevelMeta:
        return self._requests.source.meta.levels[number]

    def _show_placeholder(self, frame: Frame, held: Frame | None) -> None:
        """Paint what is missing: the frame before, coarser pixels, or those of another zoom."""
        free = frozenset(range(len(frame.box))) - self._displayed
        if (
            held is not None
            and held.level < len(frame.source.meta.levels)
            and (held.complete or held.placeholder_kind)
        ):
            if not _same_place(held, frame, free):
                frame.paint_placeholder(held.as_placeholder(free), PREVIOUS_FRAME)
                held = None
        else:
            held = None
        for picture in self._coarse_placeholders(frame):
            frame.paint_placeholder(picture, COARSE)
        if held is not None:
            frame.paint_placeholder(held.as_placeholder(free), held.placeholder_kind or COARSE)

    def _coarse_placeholders(self, frame: Frame) -> list[Placeholder]:
        """Return what is in memory of coarser levels, the coarsest first."""
        source = frame.source
        found = []
        for level in range(len(source.meta.levels) - 1, frame.level, -1):
            box = plan.same_place(source.meta, frame.level, frame.box, level)
            if self._level(level).grid.count(box) > _most(self._level(level)):
                continue
            for index in block_indices(source, level, box):
                if status.shared.state(status_token(source), level, index) == "loaded":
                    pixels = peek_block(source, level, index)
                    if pixels is not None:
                        found.append(chunk_placeholder(source, level, index, pixels))
        return found

    def take(
        self, level: int, index: BlockIndex, pixels: Array | None, error: ChunkReadError | None
    ) -> list[Frame]:
        """Take a chunk in; return the frames that it completes or changes."""
        frames = [frame for frame in set(self.frames) if frame.level == level]
        taken = [frame for frame in frames if frame.take(index, pixels, error)]
        shown, coarse = self.frame, self._coarse
        if shown and coarse and coarse is not shown and coarse in taken and coarse.complete:
            shown.paint_placeholder(coarse.as_placeholder(), COARSE)
        return taken

    def prefetch(self) -> None:
        """Read what the slider comes to next, of a complete view or of an even movie."""
        frame = self.frame
        if frame is not None:
            self._requests.prefetch(
                frame.level, self._motion.next_chunks(frame.source, complete=frame.complete)
            )

    def after_refresh(self) -> None:
        """Go on once what came in is on the screen."""
        if self.coming is None:
            self._requests.revalidator.revalidate(self.frames)
            self.prefetch()


def as_seen(pixels: Array, lazy: LazyArray) -> Array:
    """Return the pixels of a whole box without the axes that napari dropped."""
    return pixels.reshape([pixels.shape[axis] for axis in lazy.kept_axes])


def _most(level: LevelMeta) -> int:
    return MOST_COARSE if level.computed_from is None else MOST_COMPUTED


def _same_place(held: Frame, frame: Frame, free: frozenset[int]) -> bool:
    """Whether two frames show the same place of the axes that are not seen."""
    box: Box = plan.same_place(frame.source.meta, frame.level, frame.box, held.level)
    return all(box[axis] == held.box[axis] for axis in free)
