"""A copy in memory of the view of a lazy Labels layer, in which labels can be painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, QTimer

from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.text import plain_text
from napari_lazyload.cropping.target import LayerTarget
from napari_lazyload.layers.crop import geometry
from napari_lazyload.layers.crop.crop_layer import crop_layer
from napari_lazyload.layers.display.layer_display import link_of
from napari_lazyload.widgets.crop.plan import fits, plan_crop, sentence, too_large_text
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
        """Copy what the canvas shows of a layer, where the sliders stand, from the finest level."""
        if self._current.run is not None:
            return
        try:
            found = {
                **geometry.shown_ranges(self._viewer, layer),
                **geometry.view_ranges(self._viewer, layer),
            }
            target = LayerTarget(layer)
            region = geometry.clipped([found[axis] for axis in range(layer.ndim)], target)
        except RegionError as err:
            self._report(sentence(str(err)))
            return
        plan = plan_crop(target, region, 0)
        if not fits([plan]):
            self._report(too_large_text(plan.peak_nbytes, []))
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
            text = f"Copy of {run.plans[0].layer.name}: {failure_text(run.error)}"
            show_error(plain_text(text))
            return
        plan, layers = run.plans[0], self._viewer.layers
        new = crop_layer(plan.layer, run.results[0], plan.region, plan.level)
        layers.insert(layers.index(plan.layer) + 1 if plan.layer in layers else len(layers), new)
        layers.selection.active = new
        self._report("")

    def stop(self) -> None:
        """End the copy that is under way; nothing is added."""
        self._timer.stop()
        self._current.drop()
