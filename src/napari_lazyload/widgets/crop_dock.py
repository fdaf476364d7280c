"""The crop dock: choose a region of a layer, see what it costs, compute it into a new layer."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Shapes
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_lazyload.core.errors import RegionError
from napari_lazyload.cropping import estimate
from napari_lazyload.layers import crop_geometry as geometry
from napari_lazyload.layers.crop_layers import can_be_lazy, crop_layer, drawing_layer, lazy_crop
from napari_lazyload.widgets._crop_form import CropForm, offer
from napari_lazyload.widgets._crop_run import CropPlan, CropRun, CurrentRun, failure_text, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer
    from qtpy.QtGui import QCloseEvent, QShowEvent

VIEW, NUMBERS = "view", "numbers"
"""Regions that are no Shapes layer."""

SHOWN, WHOLE, TYPED = "shown", "whole", "typed"
"""What is taken along the axes that a rectangle or the view says nothing about."""

_TYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float16", "float32", "float64")
_SETTLE = 30
_LOOK = 40
"""Milliseconds until a changed region is worked out, and between two looks at a run."""

_MOVED = ("scale", "translate", "rotate", "shear", "affine", "units")
"""Events of a layer that comes to lie elsewhere."""


class CropDock(QWidget):
    """Crops a region of an Image or Labels layer into a new layer that lies over it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer, or npe2's proxy of it.
    parent : QWidget, optional
        The Qt parent.

    Attributes
    ----------
    plan : CropPlan or None
        What *Crop* would do now; None where there is no region.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # The proxy guards private names, of which none is used here; layers are told apart by identity.
        self.viewer = getattr(viewer, "__wrapped__", viewer)
        self.form = CropForm(self)
        self.plan: CropPlan | None = None
        self._current = CurrentRun()
        self._outlined: set[int] = set()
        self._outcome = ""
        self._drawn: Any = None
        self._links: list[tuple[Any, str]] = []
        self._watched: list[tuple[Any, str]] = []
        self._settling = self._timer(_SETTLE, self.refresh, single=True)
        self._after_drawing = self._timer(0, self._finish_drawing, single=True)
        self._looking = self._timer(_LOOK, self._look)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form)
        self._connect_form()
        self._attach()
        # Qt may delete the dock, or Python forget it: whichever comes first ends the run.
        self.destroyed.connect(partial(_destroyed, weakref.ref(self), self._current))
        weakref.finalize(self, self._current.drop).atexit = False

    # --- what the user does ------------------------------------------------------------------------------------

    @property
    def layer(self) -> Any:
        """The layer to be cropped, None where there is none."""
        return self.form.layer.value

    @property
    def running(self) -> bool:
        """Whether a crop is being computed."""
        return self._current.run is not None

    def crop(self) -> None:
        """Compute the region as it is now, beside the window, into a new layer."""
        self.refresh()
        if self.plan is None or self.running or not self.plan.fits:
            return
        self._outcome = ""
        self._current.run = CropRun(self.plan)
        self.form.progress.max = max(1, self.plan.cost.touched_chunks)
        self.form.progress.value = 0
        self.form.set_running(True)
        self._looking.start()
        self._show_plan()

    def cancel(self) -> None:
        """Stop the crop; nothing is added."""
        if self.running:
            self._end("Cancelled, nothing was added.")

    def add_lazy(self) -> None:
        """Add the region as a layer that reads what is looked at, and nothing now."""
        self.refresh()
        plan = self.plan
        if plan is not None:
            self._add(plan, lazy_crop(plan.layer, plan.region, plan.level, plan.dtype))

    def draw_rectangle(self) -> None:
        """Let the user drag a rectangle over the image; it becomes the region."""
        if self.layer is None or self.viewer.dims.ndisplay != 2:
            self._tell("Rectangles are drawn on an image in 2-D.")
            return
        self._drawn = shapes = drawing_layer(self.viewer, self.layer, self._drawn)
        self.form.region.value = shapes
        self.viewer.layers.selection.active = shapes
        shapes.visible = True
        shapes.mode = "add_rectangle"
        self._tell("Drag a rectangle over the image.")

    def refresh(self) -> None:
        """Work out the region and what it costs; reads nothing."""
        self._settling.stop()
        layer, problem, self.plan = self.layer, "", None
        if layer is None:
            problem = "Open an image first."
        else:
            try:
                self.plan = self._planned(layer)
            except RegionError as err:
                problem = sentence(str(err))
        others = layer is not None and self.form.region.value != NUMBERS and len(self._outlined) < layer.ndim
        self.form.set_row_visible(self.form.frames, others)
        self._show_plan(problem)

    # --- the region and its cost -------------------------------------------------------------------------------

    def _planned(self, layer: Any) -> CropPlan:
        ranges = self._ranges(layer)
        level, dtype = self.form.level.value or 0, self.form.dtype.value or None
        region = geometry.clipped(ranges, layer)
        self.form.rows.set_ranges([(part.start, part.stop) for part in region])
        box = geometry.level_box(layer, region, level)
        shape = tuple(stop - start for start, stop in box)
        return CropPlan(layer, region, level, dtype, shape, estimate(layer, region, level, dtype))

    def _ranges(self, layer: Any) -> list[tuple[int, int]]:
        """Return the region for each axis, not clipped."""
        typed, source = self.form.rows.ranges(), self.form.region.value
        if source == NUMBERS:
            self._outlined = set(range(layer.ndim))
            return typed
        if source == VIEW:
            found = geometry.view_ranges(self.viewer, layer)
        else:
            found = geometry.rectangle_ranges(self.viewer, source, layer)
        self._outlined = set(found)
        if self.form.frames.value == SHOWN:
            found = {**geometry.shown_ranges(self.viewer, layer), **found}
        elif self.form.frames.value == TYPED:
            found = {**dict(enumerate(typed)), **found}
        return [found.get(axis, (0, size)) for axis, size in enumerate(geometry.axis_sizes(layer))]

    def _show_plan(self, problem: str = "") -> None:
        """Say what the crop would cost, and what is in its way."""
        plan, form = self.plan, self.form
        form.cost.setText("" if plan is None else plan.text)
        form.cost.setVisible(plan is not None)
        fits = plan is not None and plan.fits
        lazy = plan is not None and not fits and can_be_lazy(plan.layer, plan.level)
        if plan is not None and not fits:
            problem = f"{self._outcome}\n{plan.refusal(lazy=lazy)}".strip()
        form.message.setText(problem or self._outcome)
        form.message.setVisible(bool(problem or self._outcome))
        form.crop.enabled = fits and not self.running
        form.lazy.native.setVisible(lazy)

    def _tell(self, outcome: str) -> None:
        self._outcome = outcome
        self.refresh()

    # --- a crop under way --------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See how far the run is; take its result."""
        run = self._current.run
        if run is None:
            self._looking.stop()
            return
        self.form.progress.value = run.done
        if not run.finished:
            return
        if run.error is None:
            self._end("")
            self._add(run.plan, run.result)
            return
        self._end(failure_text(run.error))
        if not isinstance(run.error, (RegionError, MemoryError)):
            show_error(f"Crop of {run.plan.layer.name}: {failure_text(run.error)}")

    def _end(self, outcome: str) -> None:
        self._looking.stop()
        self._current.drop()
        self.form.set_running(False)
        self._tell(outcome)

    def _add(self, plan: CropPlan, data: Any) -> None:
        layers = self.viewer.layers
        new = crop_layer(plan.layer, data, plan.region, plan.level)
        layers.insert(layers.index(plan.layer) + 1, new)
        layers.selection.active = new
        self._tell(f"Added {new.name!r}.")

    # --- drawing -----------------------------------------------------------------------------------------------

    def _on_shapes(self, event: Any) -> None:
        """Once a rectangle is drawn, let the next drag move it instead of drawing another."""
        drawn = event.source is self._drawn and str(getattr(event, "action", "")) == "added"
        if drawn and self._drawn.mode == "add_rectangle":
            self._after_drawing.start()  # napari is still in its own mouse callback
        self._schedule()

    def _finish_drawing(self) -> None:
        if self._drawn in self.viewer.layers:
            self._drawn.mode = "select"
        self._tell("")

    # --- following the viewer ----------------------------------------------------------------------------------

    def _connect_form(self) -> None:
        form = self.form
        offer(form.frames, [("Shown position", SHOWN), ("All of them", WHOLE), ("Numbers below", TYPED)])
        form.layer.changed.connect(self._on_layer)
        form.region.changed.connect(self._on_region)
        for field in (form.frames, form.level, form.dtype):
            field.changed.connect(self._schedule)
        form.rows.edited.connect(self._on_typed)
        form.draw.changed.connect(self.draw_rectangle)
        form.crop.changed.connect(self.crop)
        form.lazy.changed.connect(self.add_lazy)
        form.cancel.changed.connect(self.cancel)

    def _attach(self) -> None:
        """Follow the viewer; again after the dock was taken out and put back."""
        if self._links:
            return
        viewer = self.viewer
        layers, dims, camera = viewer.layers.events, viewer.dims.events, viewer.scene.camera.events
        self._links = [(emitter, "_on_layers") for emitter in (layers.inserted, layers.removed, layers.reordered)]
        self._links.append((layers.renamed, "_on_layers"))
        moved = (dims.point, dims.order, dims.ndisplay, camera.center, camera.zoom, viewer.canvas.events.size)
        self._links += [(emitter, "_schedule") for emitter in moved]
        self._connect(self._links)
        self._on_layers()

    def _detach(self) -> None:
        """Follow nothing any more, and drop the run."""
        self._current.drop()
        self._disconnect(self._links)
        self._disconnect(self._watched)

    def _connect(self, links: list[tuple[Any, str]]) -> None:
        for emitter, name in links:
            emitter.connect(getattr(self, name))

    def _disconnect(self, links: list[tuple[Any, str]]) -> None:
        for emitter, name in links:
            emitter.disconnect(getattr(self, name))
        links.clear()

    def _on_layers(self, _event: Any = None) -> None:
        """Offer the layers that there are; end the run of one that is gone."""
        run = self._current.run
        layers = list(reversed(self.viewer.layers))  # the top one first, as napari lists them
        images = [(layer.name, layer) for layer in layers if isinstance(layer, (Image, Labels))]
        offer(self.form.layer, images, self.viewer.layers.selection.active)
        self._take_layer()
        shapes = [layer for layer in layers if isinstance(layer, Shapes)]
        regions = [(f"Rectangle in {layer.name}", layer) for layer in shapes]
        drawn = next((layer for layer in shapes if layer.data), VIEW)
        offer(self.form.region, [*regions, ("Current view", VIEW), ("Numbers", NUMBERS)], drawn)
        self._watch()
        self._schedule()
        if run is not None and run.plan.layer not in layers:
            self._end(f"Stopped: {run.plan.layer.name!r} was removed.")

    def _on_layer(self) -> None:
        self._take_layer()
        self._outcome = ""
        self._watch()
        self._schedule()

    def _on_data(self, _event: Any = None) -> None:
        self._take_layer()
        self._schedule()

    def _on_region(self) -> None:
        self._watch()
        self._schedule()

    def _on_typed(self, axis: int) -> None:
        """Make the region what was typed."""
        if axis not in self._outlined:
            self.form.frames.value = TYPED
        elif self.form.region.value != NUMBERS:
            self.form.region.value = NUMBERS
        self._schedule()

    def _take_layer(self) -> None:
        """Show the axes, levels and types of the chosen layer."""
        layer = self.layer
        if layer is None:
            self.form.show_layer(())
            return
        own = str(layer.dtype)
        whole = isinstance(layer, Labels)
        types = [name for name in _TYPES if name != own and not (whole and name.startswith("float"))]
        axes = list(zip(geometry.axis_names(layer), geometry.axis_sizes(layer), strict=True))
        levels = layer.data if layer.multiscale else [layer.data]
        self.form.show_layer(axes, [data.shape[: layer.ndim] for data in levels], own, types)

    def _watch(self) -> None:
        """Follow the two layers that the region hangs on."""
        self._disconnect(self._watched)
        source = self.form.region.value
        if self.layer is not None:
            self._watched += [(getattr(self.layer.events, name), "_schedule") for name in _MOVED]
            self._watched += [(getattr(self.layer.events, name), "_on_data") for name in ("data", "axis_labels")]
        if isinstance(source, Shapes):
            self._watched += [(getattr(source.events, name), "_on_shapes") for name in (*_MOVED, "data", "set_data")]
            self._watched.append((source.selected_data.events.items_changed, "_schedule"))
        self._connect(self._watched)

    def _schedule(self, _event: Any = None) -> None:
        """Work out the region soon, once for all that happens till then; not while nobody sees it."""
        if self.isVisible() and not self._settling.isActive():
            self._settling.start()

    # --- Qt's events -------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        """Follow the viewer, and catch up with it."""
        super().showEvent(event)
        self._attach()
        self.refresh()

    def changeEvent(self, event: QEvent | None) -> None:
        """Let go of the viewer when the dock is taken out of the window."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is None:
                self._leave()
            else:
                self._attach()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Let go of the viewer."""
        self._leave()
        super().closeEvent(event)

    def _leave(self) -> None:
        if self.running:
            self._end("")
        self._detach()

    def _timer(self, milliseconds: int, slot: Callable[[], None], *, single: bool = False) -> QTimer:
        timer = QTimer(self)
        timer.setTimerType(Qt.TimerType.CoarseTimer)
        timer.setSingleShot(single)
        timer.setInterval(milliseconds)
        timer.timeout.connect(slot)
        return timer


def _destroyed(dock: weakref.ref[CropDock], current: CurrentRun) -> None:
    """End the run of a dock that Qt has deleted, and its connections where Python still has it."""
    current.drop()
    found = dock()
    if found is not None:
        found._detach()  # noqa: SLF001 - same module
