"""A copy in memory of the view of a lazy Labels layer, in which labels can be painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, QTimer

from napari_lazyload.core.errors import RegionError
from napari_lazyload.cropping.crop import estimate
from napari_lazyload.layers.crop import geometry
from napari_lazyload.layers.crop.crop_layer import crop_layer
from napari_lazyload.layers.display.layer_display import link_of
from napari_lazyload.widgets.crop.plan import CropPlan, sentence
from napari_lazyload.widgets.crop.run import CropRun, CurrentRun, failure_text

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_MS = 40


def can_be_copied(layer: Any) -> bool:
    """Whether a layer holds lazy labels, in which nothing can be painted."""
    return isinstance(layer, Labels) and link_of(layer) is not None


class EditableCopy(QObject):
    """Crops the view of a Labels layer beside the window.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the copy is added.
    report : callable
        Called with a text on the state of the copy, "" once it is over.
    parent : QObject
        The Qt parent.
    """

    def __init__(self, viewer: Any, report: Callable[[str], Any], parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._report = report
        self._current = CurrentRun()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._poll)

    def start(self, layer: Any) -> None:
        """Copy the part of a layer in view, at the sliders' place, from the finest level."""
        if self._current.run is not None:
            return
        try:
            ranges = geometry.shown_ranges(self._viewer, layer)
            ranges |= geometry.view_ranges(self._viewer, layer)
            region = geometry.clipped([ranges[axis] for axis in range(layer.ndim)], layer)
        except RegionError as err:
            self._report(sentence(str(err)))
            return
        shape = tuple(part.stop - part.start for part in region)
        plan = CropPlan(layer, region, 0, None, shape, estimate(layer, region, 0))
        if not plan.fits:
            self._report(plan.open_error(lazy=False))
            return
        self._report("Copying the labels in view…")
        self._current.run = CropRun(plan)
        self._timer.start(_POLL_MS)

    def _poll(self) -> None:
        run = self._current.run
        if run is None or not run.finished:
            return
        self.stop()
        if run.error is not None:
            self._report(failure_text(run.error))
            show_error(f"Copy of {run.plan.layer.name}: {failure_text(run.error)}")
            return
        plan, layers = run.plan, self._viewer.layers
        new = crop_layer(plan.layer, run.result, plan.region, plan.level)
        layers.insert(layers.index(plan.layer) + 1 if plan.layer in layers else len(layers), new)
        layers.selection.active = new
        self._report("")

    def stop(self) -> None:
        """End the copy that is under way; nothing is added."""
        self._timer.stop()
        self._current.drop()
