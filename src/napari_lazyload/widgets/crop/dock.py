"""The crop dock: choose a region of a layer, see what it costs, compute it into a new layer or a file."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtWidgets import QApplication

from napari_lazyload.core.errors import CancelledError, RegionError
from napari_lazyload.layers.crop.crop_layer import crop_layer, lazy_crop
from napari_lazyload.layers.crop.export_source import masked_layer
from napari_lazyload.widgets.crop.output import LAZY, may_replace
from napari_lazyload.widgets.crop.plan import CropPlan, fits, sentence
from napari_lazyload.widgets.crop.region_dock import RegionDock
from napari_lazyload.widgets.crop.run import CropRun, CurrentRun, FileTarget, failure_text
from napari_lazyload.widgets.crop.script import script
from napari_lazyload.widgets.open_dialogs import open_path

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtWidgets import QWidget

_LOOK = 40
"""Milliseconds between two looks at a run."""


class CropDock(RegionDock):
    """Crops a region of Image or Labels layers into new layers that lie over them, or into files.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer, or npe2's proxy of it.
    parent : QWidget, optional
        The Qt parent.

    Attributes
    ----------
    plans : tuple of CropPlan
        What *Crop* would do now, for each layer; none where there is no region.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        # The proxy guards private names, of which none is used here; layers are told apart by
        # identity.
        super().__init__(getattr(viewer, "__wrapped__", viewer), parent)
        self._current = CurrentRun()
        self._looking = self._timer(_LOOK, self._look)
        form = self.form
        form.crop.changed.connect(self.crop)
        form.lazy.changed.connect(self.add_lazy)
        form.to_file.changed.connect(form.take_file)
        form.copy.changed.connect(self.copy_script)
        form.cancel.changed.connect(self.cancel)
        self._attach()
        # Qt may delete the dock, or Python forget it: whichever comes first ends the run.
        self.destroyed.connect(partial(_destroyed, weakref.ref(self), self._current))
        weakref.finalize(self, self._current.drop).atexit = False

    # --- what the user does
    # ------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a crop is being computed."""
        return self._current.run is not None

    def crop(self) -> None:
        """Make of the region as it is now what *Result* says: beside the window, where anything must be read."""
        self.refresh()
        if not self.plans or self.running:
            return
        if self.form.output.kind.value == LAZY:
            self.add_lazy()
        elif self.form.output.is_file:
            self._write()
        elif fits(self.plans):
            self._start(None)

    def cancel(self) -> None:
        """Stop the crop; nothing is added, and no file is left half-written."""
        run = self._current.run
        if run is None:
            return
        if run.target is None:
            self._end("Cancelled, nothing was added.")
            return
        run.cancel()  # its files are settled once it has ended
        self.form.cancel.enabled = False
        self._tell("Stopping…")

    def add_lazy(self) -> None:
        """Add the region as a layer that reads what is looked at, and nothing now."""
        self.refresh()
        self._add([self._lazy_layer(plan) for plan in self.plans], self.plans)

    def copy_script(self) -> None:
        """Put a Python script that does what *Crop* would do on the clipboard."""
        self.refresh()
        clipboard = QApplication.clipboard()
        if not self.plans or clipboard is None:
            return
        output = self.form.output
        try:
            target = self._target(overwrite=False) if output.is_file else None
        except ValueError as err:
            self._tell(str(err))
            return
        clipboard.setText(script(self.plans, target))
        self._tell("The script is on the clipboard.")

    # --- a crop under way
    # --------------------------------------------------------------------------------------

    def _target(self, *, overwrite: bool) -> FileTarget:
        output = self.form.output
        paths = output.paths([plan.layer.name for plan in self.plans])
        return FileTarget(paths, bool(output.pyramid.value), bool(output.sharded.value), overwrite)

    def _write(self) -> None:
        try:
            target = self._target(overwrite=False)
        except ValueError as err:
            self._tell(str(err))
            self.form.output.path.native.setFocus()
            return
        replace = may_replace(self, target.paths)
        if replace is None:
            self._tell("Nothing was written.")
        elif self.plans:  # the window went on while it asked
            self._start(self._target(overwrite=replace))

    def _start(self, target: FileTarget | None) -> None:
        self._outcome = ""
        try:
            self._current.run = run = CropRun(*self.plans, target=target)
        except RegionError as err:
            self._tell(sentence(str(err)))
            return
        self.form.show_progress(0, run.total, in_chunks=target is None)
        self.form.set_running(True)
        self._looking.start()
        self._show_plan()

    def _look(self) -> None:
        """See how far the run is; take its result."""
        run = self._current.run
        if run is None:
            self._looking.stop()
            return
        self.form.show_progress(run.done, run.total, in_chunks=run.target is None)
        if not run.finished:
            return
        if run.error is not None:
            self._failed(run, run.error)
        elif run.target is not None:
            self._end(f"Wrote {', '.join(map(str, run.results))}.")
            if self.form.output.reopen.value:
                for path in run.results:
                    open_path(self.viewer, str(path))
        else:
            self._end("")
            new = [
                crop_layer(plan.layer, pixels, plan.region, plan.level, plan.mask)
                for plan, pixels in zip(run.plans, run.results, strict=True)
            ]
            self._add(new, run.plans)

    def _failed(self, run: CropRun, error: BaseException) -> None:
        self._end(run.failure)
        if not isinstance(error, (RegionError, MemoryError, CancelledError)):
            show_error(f"Crop of {run.plan.layer.name}: {failure_text(error)}")

    def _end(self, outcome: str) -> None:
        self._looking.stop()
        self._current.drop()
        self.form.set_running(False)
        self._tell(outcome)

    def _lazy_layer(self, plan: CropPlan) -> Any:
        if plan.mask is not None:
            return masked_layer(plan.layer, plan.region, plan.level, plan.mask, plan.dtype)
        pixels = lazy_crop(plan.layer, plan.region, plan.level, plan.dtype)
        return crop_layer(plan.layer, pixels, plan.region, plan.level)

    def _add(self, new: list[Any], plans: tuple[CropPlan, ...]) -> None:
        layers = self.viewer.layers
        for layer, plan in zip(new, plans, strict=True):
            layers.insert(layers.index(plan.layer) + 1, layer)
        if new:
            layers.selection.active = new[0]
            layers.selection.update(new)
            self._tell(f"Added {', '.join(repr(layer.name) for layer in new)}.")

    # --- following the viewer
    # ----------------------------------------------------------------------------------

    def _detach(self) -> None:
        """Follow nothing any more, and drop the run."""
        self._current.drop()
        super()._detach()

    def _leave(self) -> None:
        if self.running:
            self._end("")
        super()._leave()

    def _on_layers(self, event: Any = None) -> None:
        """Offer the layers that there are; end the run of one that is gone."""
        super()._on_layers(event)
        run = self._current.run
        gone = (
            []
            if run is None
            else [plan.layer.name for plan in run.plans if plan.layer not in self.viewer.layers]
        )
        if gone:
            self._end(f"Stopped: {gone[0]!r} was removed.")


def _destroyed(dock: weakref.ref[CropDock], current: CurrentRun) -> None:
    """End the run of a dock that Qt has deleted, and its connections where Python still has it."""
    current.drop()
    found = dock()
    if found is not None:
        found._detach()  # noqa: SLF001 - same module
