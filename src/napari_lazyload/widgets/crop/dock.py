"""The crop dock: choose a region of a layer, see what it costs, make a new layer or a file of it.

`RegionPlanner` works out the region and its costs, `CropRunner` runs the crop, `CropForm` holds the
fields. The dock connects them with each other, with the viewer and with the user.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QVBoxLayout, QWidget

from napari_lazyload.layers.crop.crop_layer import crop_layer, lazy_crop
from napari_lazyload.layers.crop.export_source import masked_layer
from napari_lazyload.layers.crop.named_regions import forget, keep, kept_names
from napari_lazyload.layers.crop.outline import drawing_layer
from napari_lazyload.widgets.crop import choices
from napari_lazyload.widgets.crop.fields import set_choices
from napari_lazyload.widgets.crop.form import CropForm
from napari_lazyload.widgets.crop.output import LAZY, may_replace
from napari_lazyload.widgets.crop.plan import CropPlan, fits
from napari_lazyload.widgets.crop.region_planner import RegionPlanner
from napari_lazyload.widgets.crop.region_source import KEPT, NUMBERS, SHOWN, TYPED, WHOLE
from napari_lazyload.widgets.crop.run import CropRunner, CurrentRun, FileTarget, make_timer
from napari_lazyload.widgets.crop.script import script
from napari_lazyload.widgets.crop.viewer_links import Connections, layer_links, viewer_links

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtGui import QCloseEvent, QShowEvent

_SETTLE_MS = 30
"""Milliseconds until a change is worked out."""


class CropDock(QWidget):
    """Crops a region of Image or Labels layers into new layers that lie over them, or into files.

    It follows the viewer while it is in the window.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer, or npe2's proxy of it.
    parent : QWidget, optional
        The Qt parent.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # The proxy guards private names, of which none is used here. Layers are compared by
        # identity.
        self.viewer: Any = getattr(viewer, "__wrapped__", viewer)
        self.form = CropForm(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form)
        self._planner = RegionPlanner(self.viewer, self.form)
        self._runner = CropRunner(self.viewer, self.form, self._report, self)
        self._active: Any = None
        self._outcome = ""
        self._drawn: Any = None
        self._links, self._watched = Connections(), Connections()
        self._settling = make_timer(self, _SETTLE_MS, self.refresh, single=True)
        self._after_drawing = make_timer(self, 0, self._finish_drawing, single=True)
        self._connect_form()
        self._attach()
        # Qt may delete the dock, or Python forget it: whichever comes first ends the run.
        current = self._runner.current
        self.destroyed.connect(partial(_destroyed, weakref.ref(self), current))
        weakref.finalize(self, current.drop).atexit = False

    # --- state

    @property
    def layer(self) -> Any:
        """The layer to be cropped, None where there is none."""
        return self.form.layer.value

    @property
    def plans(self) -> tuple[CropPlan, ...]:
        """What *Crop* would do now, for each layer; none where there is no region."""
        return self._planner.plans

    @property
    def plan(self) -> CropPlan | None:
        """What *Crop* would do to the layer; None where there is no region."""
        return self.plans[0] if self.plans else None

    @property
    def running(self) -> bool:
        """Whether a crop is being computed."""
        return self._runner.current.run is not None

    def refresh(self) -> None:
        """Work out the region and what it costs; reads nothing."""
        self._settling.stop()
        self._planner.update()
        self._planner.show_costs(self._outcome, running=self.running)

    def _report(self, outcome: str) -> None:
        """Show what happened."""
        self._outcome = outcome
        self.refresh()

    # --- what the user does: the crop

    def crop(self) -> None:
        """Make what *Result* says of the region as it is now; pixels are read beside the window."""
        self.refresh()
        if not self.plans or self.running:
            return
        if self.form.output.kind.value == LAZY:
            self.add_lazy()
        elif self.form.output.is_file:
            self._write()
        elif fits(self.plans):
            self._runner.start(self.plans, None)

    def add_lazy(self) -> None:
        """Add the region as a layer that reads what is looked at, and nothing now."""
        self.refresh()
        self._runner.add(list(map(_lazy_layer, self.plans)), self.plans)

    def copy_script(self) -> None:
        """Put a Python script that does what *Crop* would do on the clipboard."""
        self.refresh()
        clipboard = QApplication.clipboard()
        if not self.plans or clipboard is None:
            return
        try:
            target = self._target(overwrite=False) if self.form.output.is_file else None
        except ValueError as err:
            self._report(str(err))
            return
        clipboard.setText(script(self.plans, target))
        self._report("The script is on the clipboard.")

    def _target(self, *, overwrite: bool) -> FileTarget:
        output = self.form.output
        paths = output.paths([plan.layer.name for plan in self.plans])
        return FileTarget(paths, bool(output.pyramid.value), bool(output.sharded.value), overwrite)

    def _write(self) -> None:
        try:
            target = self._target(overwrite=False)
        except ValueError as err:
            self._report(str(err))
            self.form.output.path.native.setFocus()
            return
        replace = may_replace(self, target.paths)
        if replace is None:
            self._report("Nothing was written.")
        elif self.plans:  # the window went on while it asked
            self._runner.start(self.plans, self._target(overwrite=replace))

    # --- what the user does: the region

    def draw_rectangle(self) -> None:
        """Let the user drag a rectangle over the image; it becomes the region."""
        if self.layer is None or self.viewer.dims.ndisplay != 2:
            self._report("Rectangles are drawn on an image in 2-D.")
            return
        self._drawn = shapes = drawing_layer(self.viewer, self.layer, self._drawn)
        self.form.region.value = shapes
        self.viewer.layers.selection.active = shapes
        shapes.visible = True
        shapes.mode = "add_rectangle"
        self._report("Drag a rectangle over the image.")

    def _on_shapes(self, event: Any) -> None:
        """Once a rectangle is drawn, let the next drag move it instead of drawing another."""
        drawn = event.source is self._drawn and str(getattr(event, "action", "")) == "added"
        if drawn and self._drawn.mode == "add_rectangle":
            self._after_drawing.start()  # napari is still in its own mouse callback
        self._schedule()

    def _finish_drawing(self) -> None:
        if self._drawn in self.viewer.layers:
            self._drawn.mode = "select"
        self._report("")

    def keep_region(self) -> None:
        """Keep the region under the name that was typed, with its layer."""
        self.refresh()
        layer, plan = self.layer, self.plan
        if plan is None:
            return
        name = self.form.name.value.strip() or f"region {len(kept_names(layer)) + 1}"
        keep(layer, name, plan.region, plan.mask)
        self.form.name.value = name
        choices.offer_regions(self.form, self.viewer)
        self.form.region.value = f"{KEPT}{name}"
        self._report(f"Kept {name!r} with {layer.name!r}.")

    def forget_region(self) -> None:
        """Take the region that is chosen, or whose name was typed, off the list."""
        source, name = self.form.region.value, self.form.name.value.strip()
        picked = isinstance(source, str) and source.startswith(KEPT)
        if picked:
            name = source.removeprefix(KEPT)
        if self.layer is None or name not in kept_names(self.layer):
            self._report("Pick a kept region, or type its name.")
            return
        forget(self.layer, name)
        if picked:
            self.form.region.value = NUMBERS
        choices.offer_regions(self.form, self.viewer)
        self._report(f"Forgot {name!r}.")

    # --- the form

    def _connect_form(self) -> None:
        form, output = self.form, self.form.output
        frames = [("Shown position", SHOWN), ("All of them", WHOLE), ("Numbers below", TYPED)]
        set_choices(form.frames, frames)
        changed = (form.frames, form.level, form.dtype, form.several, form.masked, form.on_error)
        fields: tuple[Any, ...] = (*changed, form.box_size, form.seed, form.outline)
        for field in (*fields, output.kind, output.path):
            field.changed.connect(self._schedule)
        form.rows.edited.connect(self._on_typed)
        for field, slot in (
            (form.layer, self._on_layer),
            (form.region, self._on_region),
            (form.in_world, self._on_data),
            (form.draw, self.draw_rectangle),
            (form.keep, self.keep_region),
            (form.forget, self.forget_region),
            (form.crop, self.crop),
            (form.lazy, self.add_lazy),
            (form.to_file, form.take_file),
            (form.copy, self.copy_script),
            (form.cancel, self._runner.cancel),
        ):
            field.changed.connect(slot)

    def _on_layer(self) -> None:
        self._outcome = ""
        self._offer_choices()

    def _offer_choices(self) -> None:
        choices.show_layer(self.form)
        choices.offer_regions(self.form, self.viewer)
        self._on_region()

    def _on_region(self) -> None:
        """Follow the two layers that the region depends on."""
        self._watched.connect(self, layer_links(self.layer, self.form.region.value))
        self._schedule()

    def _on_typed(self, axis: int) -> None:
        """Make the region what was typed."""
        resolved = self._planner.resolved
        if resolved is None or axis not in resolved.outlined:
            self.form.frames.value = TYPED
        elif self.form.region.value != NUMBERS:
            self.form.region.value = NUMBERS
        self._schedule()

    # --- the viewer

    def _attach(self) -> None:
        """Follow the viewer; again after the dock was taken out and put back."""
        if not self._links:
            self._links.connect(self, viewer_links(self.viewer))
            self._active = self.viewer.layers.selection.active
            self._on_layers()

    def _detach(self) -> None:
        """Follow nothing any more, and drop the run."""
        self._runner.current.drop()
        self._active = None
        self._links.disconnect(self)
        self._watched.disconnect(self)

    def _leave(self) -> None:
        """End what goes on, and follow nothing any more."""
        if self.running:
            self._runner.end("")
        self._detach()
        self._planner.outline.hide()

    def _schedule(self, _event: Any = None) -> None:
        """Work out changes soon, all at once, and not while nobody sees the dock."""
        if self.isVisible() and not self._settling.isActive():
            self._settling.start()

    def _on_layers(self, _event: Any = None) -> None:
        """Offer the layers that there are; end the run of one that is gone."""
        choices.offer_layers(self.form, self.viewer)
        if self._active not in self.viewer.layers:
            self._active = None  # keeps no layer alive that is gone
        if self._planner.outline.lost and self.layer is not None:
            self.form.outline.value = False  # the user took it away
        self._offer_choices()
        self._runner.end_without_layers()

    def _on_active(self, event: Any) -> None:
        """Take the layer that is selected now; not the crop that this dock has just made.

        The outline is selected for a moment when it is added: that is no choice.
        """
        layer = event.value
        if self._runner.adding or layer is self._active or layer not in self.form.layer.choices:
            return
        self._active = self.form.layer.value = layer

    def _on_data(self, _event: Any = None) -> None:
        """Show what a layer has become."""
        choices.show_layer(self.form)
        self._schedule()

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


def _lazy_layer(plan: CropPlan) -> Any:
    if plan.mask is not None:
        return masked_layer(plan.layer, plan.region, plan.level, plan.mask, plan.dtype)
    pixels = lazy_crop(plan.layer, plan.region, plan.level, plan.dtype)
    return crop_layer(plan.layer, pixels, plan.region, plan.level)


def _destroyed(dock: weakref.ref[CropDock], current: CurrentRun) -> None:
    """End the run of a dock that Qt has deleted, and its connections where Python still has it."""
    current.drop()
    found = dock()
    if found is not None:
        found._detach()  # noqa: SLF001 - same module
