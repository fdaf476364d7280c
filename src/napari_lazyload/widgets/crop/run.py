"""A crop beside the window, into memory or into files: its thread, and what shows and ends it.

The thread never touches a Qt object, so that it cannot call one that is gone: the runner polls the
run from a timer. A late result is dropped by forgetting the run.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, QTimer

from napari_lazyload.core.errors import CancelledError, ChunkReadError, LazyLoadError, RegionError
from napari_lazyload.core.text import plain_text
from napari_lazyload.cropping.crop import crop
from napari_lazyload.layers.crop.crop_layer import CROP_KEY, crop_layer
from napari_lazyload.layers.crop.export_source import to_write
from napari_lazyload.layers.crop.mask import inside
from napari_lazyload.widgets.crop.plan import sentence
from napari_lazyload.widgets.open_dialogs import open_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qtpy.QtWidgets import QWidget

    from napari_lazyload.cropping.failures import Failures
    from napari_lazyload.widgets.crop.form import CropForm
    from napari_lazyload.widgets.crop.plan import CropPlan


_POLL_MS = 40
"""Milliseconds between two looks at a run."""


@dataclass(frozen=True, slots=True)
class FileTarget:
    """Files instead of layers.

    Parameters
    ----------
    paths : tuple of Path
        One for each crop; the suffix says the format.
    pyramid : bool
        Whether OME files get coarser levels, too.
    sharded : bool
        Whether the chunks of an OME-Zarr are put together in few files.
    overwrite : bool
        Whether what is there may be replaced: the user was asked.
    """

    paths: tuple[Path, ...]
    pyramid: bool = True
    sharded: bool = False
    overwrite: bool = False


class CropRun:
    """Crops in a thread that ends with them. Everything here may be asked from any thread.

    Parameters
    ----------
    *plans : CropPlan
        What to crop.
    target : FileTarget, optional
        Files to write instead of keeping the pixels.

    Attributes
    ----------
    done, total : int
        Chunks done so far, and all of them.
    results : list
        The pixels of each plan, or the path that they were written to; all of them once `finished`
        without an error.
    error : BaseException or None
        What went wrong, once `finished`.
    failures : dict
        What is blank or left out, by the number of its plan.
    """

    def __init__(self, *plans: CropPlan, target: FileTarget | None = None) -> None:
        self.plans = plans
        self.target = target
        self.done = 0
        self.total = sum(plan.cost.touched_chunks for plan in plans)
        self.results: list[Any] = []
        self.error: BaseException | None = None
        self.failures: dict[int, Failures] = {}
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        # Made here: napari's layers belong to the main thread.
        writes: list[tuple[Any, Any, int]] = []
        if target is not None:
            writes = [to_write(plan.layer, plan.region, plan.level, plan.mask) for plan in plans]
        thread = threading.Thread(
            target=self._work, args=(writes,), name="lazyload-crop", daemon=True
        )
        thread.start()

    @property
    def finished(self) -> bool:
        """Whether the crop has ended, with or without an error."""
        return self._ended.is_set()

    @property
    def failure(self) -> str:
        """Why it ended early, and what was written all the same, as text."""
        written = else_ = ""
        if self.target is not None and self.results:
            written, else_ = f"\nWritten before: {', '.join(map(str, self.results))}", "else "
        if isinstance(self.error, CancelledError):
            return f"Cancelled, nothing {else_}was written.{written}"
        return ("" if self.error is None else failure_text(self.error)) + written

    @property
    def left_out(self) -> str:
        """What is blank or left out, as lines of text: how many, and which."""
        lines = []
        for number, found in sorted(self.failures.items()):
            plan = self.plans[number]
            # A masked crop is written as a layer of its own, whose positions begin with it.
            cut = self.target is not None and plan.mask is not None and found.axis is not None
            first = plan.box[found.axis or 0][0] if cut else 0
            name = f"{plan.layer.name}: " * (len(self.plans) > 1)
            lines.append(f"\n{name}{found.text(first)}")
        return "".join(lines)

    def cancel(self) -> None:
        """Read no further chunk; one that is being read is not waited for."""
        self._cancelled.set()

    def _work(self, writes: list[tuple[Any, Any, int]]) -> None:
        try:
            for number in range(len(self.plans)):
                progress = self._progress_after(number)
                if self.target is None:
                    result = self._read(number, progress)
                else:
                    result = self._write(number, writes[number], progress)
                self.results.append(result)
        except BaseException as err:  # noqa: BLE001 - the window reports it
            self.error = err
        finally:
            self._ended.set()

    def _progress_after(self, number: int) -> Callable[[int, int], None]:
        """Return what counts the progress of one of the crops, the others being done or to come."""
        before = self.done
        after = sum(plan.cost.touched_chunks for plan in self.plans[number + 1 :])

        def progress(done: int, total: int) -> None:
            self.done, self.total = before + done, before + total + after

        return progress

    def _read(self, number: int, progress: Callable[[int, int], None]) -> Any:
        plan = self.plans[number]
        pixels = crop(
            plan.layer,
            plan.region,
            level=plan.level,
            dtype=plan.dtype,
            progress=progress,
            cancel=self._cancelled,
            on_error=plan.on_error,
            failures=partial(self.failures.__setitem__, number),
        )
        if plan.mask is not None:
            kept = inside(plan.mask, plan.target, plan.level, plan.box)
            found = self.failures.get(number)
            axis = None if found is None else found.axis
            if found is not None and axis is not None and kept.shape[axis] > 1:
                kept = np.delete(kept, found.left_out, axis)
            np.copyto(pixels, 0, where=~kept)
        return pixels

    def _write(
        self, number: int, source: tuple[Any, Any, int], progress: Callable[[int, int], None]
    ) -> Path:
        from napari_lazyload.exporting.export import export

        target = self.target
        assert target is not None  # asked by the caller
        plan, path = self.plans[number], target.paths[number]
        image, region, level = source
        return export(
            image,
            path,
            region,
            level=level,
            dtype=plan.dtype,
            pyramid=target.pyramid,
            shards=target.sharded and path.suffix == ".zarr",
            overwrite=target.overwrite,
            progress=progress,
            cancel=self._cancelled,
            on_error=plan.on_error,
            failures=partial(self.failures.__setitem__, number),
        )


class CurrentRun:
    """The run of a dock, if there is one. It outlives the dock, whose end so ends the run."""

    __slots__ = ("run",)

    def __init__(self) -> None:
        self.run: CropRun | None = None

    def drop(self) -> None:
        """Cancel the run and forget it, so that a late result goes nowhere."""
        if self.run is not None:
            self.run.cancel()
            self.run = None


def failure_text(error: BaseException) -> str:
    """Return what went wrong: the message of the error where it is meant for people."""
    if isinstance(error, ChunkReadError):
        return str(error)  # begins with a path
    if isinstance(error, (RegionError, MemoryError, CancelledError)):
        return sentence(str(error))
    if isinstance(error, (LazyLoadError, OSError)):
        return str(error)
    return f"The crop failed: {type(error).__name__}: {error}"


class CropRunner:
    """Runs one crop at a time beside the window, and adds or opens what comes of it.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the new layers.
    form : CropForm
        Shows how far the run is.
    report : callable
        Called with what happened, as text for the user.
    parent : QWidget
        The dock.

    Attributes
    ----------
    current : CurrentRun
        The run, if there is one.
    adding : bool
        Whether crops are being added at this moment, which selects them.
    """

    def __init__(
        self, viewer: Any, form: CropForm, report: Callable[[str], None], parent: QWidget
    ) -> None:
        self._viewer = viewer
        self._form = form
        self._report = report
        self.current = CurrentRun()
        self.adding = False
        self._polling = make_timer(parent, _POLL_MS, self._poll)

    def start(self, plans: Sequence[CropPlan], target: FileTarget | None) -> None:
        """Begin to crop into memory, or into files."""
        try:
            run = CropRun(*plans, target=target)
        except RegionError as err:
            self._report(sentence(str(err)))
            return
        self.current.run = run
        self._form.show_progress(0, run.total, in_chunks=target is None)
        self._form.set_running(True)
        self._polling.start()
        self._report("")

    def cancel(self) -> None:
        """Stop the crop; nothing is added, and no file is left half-written."""
        run = self.current.run
        if run is None:
            return
        if run.target is None:
            self.end("Cancelled, nothing was added.")
            return
        run.cancel()  # its files are settled once it has ended
        self._form.cancel.enabled = False
        self._report("Stopping…")

    def end(self, outcome: str) -> None:
        """Forget the run, and say what came of it."""
        self._polling.stop()
        self.current.drop()
        self._form.set_running(False)
        self._report(outcome)

    def end_without_layers(self) -> None:
        """End the run of a layer that is gone from the viewer."""
        run = self.current.run
        for plan in run.plans if run is not None else ():
            if plan.layer not in self._viewer.layers:
                self.end(f"Stopped: {plan.layer.name!r} was removed.")
                return

    def _poll(self) -> None:
        """Show how far the run is; take its result."""
        run = self.current.run
        if run is None:
            self._polling.stop()
            return
        self._form.show_progress(run.done, run.total, in_chunks=run.target is None)
        if not run.finished:
            return
        if run.error is not None:
            self._fail(run, run.error)
        elif run.target is not None:
            self._open_files(run)
        else:
            self.end("")
            found = map(run.failures.get, range(len(run.plans)))
            results = zip(run.plans, run.results, found, strict=True)
            self.add([plan_layer(*result) for result in results], run.plans, run.left_out)

    def _fail(self, run: CropRun, error: BaseException) -> None:
        way_out = ""
        if isinstance(error, ChunkReadError) and run.plans[0].on_error is None:
            self._form.more.header.setChecked(True)
            way_out = "\nTo go on without it, choose Leave blank or Leave out under More."
        self.end(run.failure + way_out)
        if not isinstance(error, (RegionError, MemoryError, CancelledError)):
            show_error(plain_text(f"Crop of {run.plans[0].layer.name}: {failure_text(error)}"))

    def _open_files(self, run: CropRun) -> None:
        self.end(f"Wrote {', '.join(map(str, run.results))}.{run.left_out}")
        if self._form.output.reopen.value:
            for path in run.results:
                open_path(self._viewer, str(path))

    def add(self, new: Sequence[Any], plans: Sequence[CropPlan], left_out: str = "") -> None:
        """Add crops to the viewer, each above its layer, and say what is left out of them."""
        layers = self._viewer.layers
        self.adding = True
        try:
            for layer, plan in zip(new, plans, strict=True):
                layers.insert(layers.index(plan.layer) + 1, layer)
            if new:
                layers.selection.active = new[0]
                layers.selection.update(new)
        finally:
            self.adding = False
        if new:
            self._report(f"Added {', '.join(repr(layer.name) for layer in new)}.{left_out}")


def plan_layer(plan: CropPlan, pixels: Any, found: Failures | None = None) -> Any:
    """Return the new layer of the pixels of a crop, whose metadata say what is left out."""
    region = list(plan.region)
    if found is not None and found.axis is not None and found.left_out:
        lead = next(place for place in count() if place not in found.left_out)
        factor = plan.target.level_factors(plan.level)[found.axis]
        start = round((plan.box[found.axis][0] + lead) * factor)
        region[found.axis] = slice(start, region[found.axis].stop)
    made = crop_layer(plan.layer, pixels, tuple(region), plan.level, plan.mask)
    if found is not None:
        made.metadata[CROP_KEY]["failures"] = found.facts()
    return made


def make_timer(
    parent: QWidget, milliseconds: int, slot: Callable[[], None], *, single: bool = False
) -> QTimer:
    """Return a timer that has not started."""
    timer = QTimer(parent)
    timer.setTimerType(Qt.TimerType.CoarseTimer)
    timer.setSingleShot(single)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer
