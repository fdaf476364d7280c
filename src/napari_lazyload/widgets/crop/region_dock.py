"""The half of the crop dock in which a region is chosen: where it comes from, what it would cost. Reads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtWidgets import QVBoxLayout

from napari_lazyload.core.errors import RegionError
from napari_lazyload.layers.crop.crop_layer import can_be_lazy
from napari_lazyload.layers.crop.named_regions import forget, keep, kept_names
from napari_lazyload.layers.crop.outline import Outline, drawing_layer
from napari_lazyload.widgets.crop import choices
from napari_lazyload.widgets.crop.costs_view import show_costs
from napari_lazyload.widgets.crop.fields import set_choices
from napari_lazyload.widgets.crop.form import CropForm
from napari_lazyload.widgets.crop.output import LAZY
from napari_lazyload.widgets.crop.plan import CropPlan, planned, sentence
from napari_lazyload.widgets.crop.region_source import (
    CENTER,
    KEPT,
    NUMBERS,
    RANDOM,
    SHOWN,
    TYPED,
    VIEW,
    WHOLE,
    RegionChoice,
    ResolvedRegion,
    resolve,
)
from napari_lazyload.widgets.crop.viewer_links import FollowingDock, layer_links

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


class RegionDock(FollowingDock):
    """Says which region of which layers is meant, shows it on the canvas, and what a crop of it would cost.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    parent : QWidget, optional
        The Qt parent.

    Attributes
    ----------
    plans : tuple of CropPlan
        What *Crop* would do now, for each layer; none where there is no region.
    """

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.form = CropForm(self)
        self.plans: tuple[CropPlan, ...] = ()
        self._found: ResolvedRegion | None = None
        self._outline = Outline(self.viewer)
        self._outcome = ""
        self._drawn: Any = None
        self._after_drawing = self._timer(0, self._finish_drawing, single=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.form)
        self._connect_form()

    @property
    def running(self) -> bool:
        """Whether a crop is being computed."""
        return False

    # --- what the user does
    # ------------------------------------------------------------------------------------

    @property
    def layer(self) -> Any:
        """The layer to be cropped, None where there is none."""
        return self.form.layer.value

    @property
    def plan(self) -> CropPlan | None:
        """What *Crop* would do to the layer; None where there is no region."""
        return self.plans[0] if self.plans else None

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
        self._tell(f"Kept {name!r} with {layer.name!r}.")

    def forget_region(self) -> None:
        """Take the region that is chosen, or whose name was typed, off the list."""
        source = self.form.region.value
        picked = isinstance(source, str) and source.startswith(KEPT)
        name = source.removeprefix(KEPT) if picked else self.form.name.value.strip()
        if self.layer is None or name not in kept_names(self.layer):
            self._tell("Pick a kept region, or type its name.")
            return
        forget(self.layer, name)
        if picked:
            self.form.region.value = NUMBERS
        choices.offer_regions(self.form, self.viewer)
        self._tell(f"Forgot {name!r}.")

    def refresh(self) -> None:
        """Work out the region and what it costs; reads nothing."""
        self._settling.stop()
        layer, problem = self.layer, ""
        self.plans, self._found = (), None
        if layer is None:
            problem = "Open an image first."
        else:
            try:
                self._plan(layer)
            except RegionError as err:
                problem = sentence(str(err))
        self._show_fields()
        self._show_outline()
        self._show_plan(problem)

    # --- the region and its cost
    # -------------------------------------------------------------------------------

    def _wish(self) -> RegionChoice:
        form = self.form
        return RegionChoice(
            form.region.value,
            form.frames.value,
            tuple(form.rows.ranges()),
            form.box_size.value,
            form.seed.value,
            bool(form.masked.value),
        )

    def _plan(self, layer: Any) -> None:
        choice, form = self._wish(), self.form
        self._found = resolve(self.viewer, layer, choice)
        chosen = choices.selected_layers(self.viewer, layer) if form.several.value else [layer]
        level, dtype = form.level.value or 0, form.dtype.value or None
        self.plans = planned(self.viewer, chosen, self._found, choice, level=level, dtype=dtype)
        form.rows.set_ranges([(part.start, part.stop) for part in self.plans[0].region])

    def _show_fields(self) -> None:
        """Show what the choice of region and layers asks for, and nothing else."""
        form, layer, source = self.form, self.layer, self.form.region.value
        outlined = len(self._found.outlined) if self._found is not None else 0
        form.set_row_visible(
            form.frames, layer is not None and source != NUMBERS and outlined < layer.ndim
        )
        form.set_row_visible(form.box_size, source in (CENTER, RANDOM))
        form.set_row_visible(form.seed, source == RANDOM)
        form.masked.native.setVisible(
            isinstance(source, Shapes)
            and (self._found is None or not self._found.upright)
            and bool(source.data)
        )
        form.crop.text = form.output.verb
        several = 0 if layer is None else len(choices.selected_layers(self.viewer, layer))
        form.several.native.setVisible(several > 1)
        form.several.native.setText(f"All {several} selected layers")

    def _show_outline(self) -> None:
        plan, found = self.plan, self._found
        drawn_already = found is None or found.upright or self.form.region.value == VIEW
        if plan is None or drawn_already or not self.form.outline.value:
            self._outline.hide()
        else:
            self._outline.show(plan.layer, plan.region)

    def _show_plan(self, problem: str = "") -> None:
        """Say what the crop would cost, and what is in its way."""
        memory = not (self.form.output.is_file or self.form.output.kind.value == LAZY)
        lazy = all(can_be_lazy(plan.layer, plan.level) for plan in self.plans)
        show_costs(
            self.form,
            self.plans,
            problem,
            self._outcome,
            in_memory=memory,
            lazy=lazy,
            running=self.running,
        )

    def _tell(self, outcome: str) -> None:
        self._outcome = outcome
        self.refresh()

    # --- drawing
    # -----------------------------------------------------------------------------------------------

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

    # --- following the viewer
    # ----------------------------------------------------------------------------------

    def _connect_form(self) -> None:
        form = self.form
        set_choices(
            form.frames,
            [("Shown position", SHOWN), ("All of them", WHOLE), ("Numbers below", TYPED)],
        )
        form.layer.changed.connect(self._on_layer)
        form.region.changed.connect(self._on_region)
        output = form.output
        changed = (
            form.frames,
            form.level,
            form.dtype,
            form.several,
            form.masked,
            form.box_size,
            form.seed,
            form.outline,
        )
        for field in (*changed, output.kind, output.path):
            field.changed.connect(self._schedule)
        form.in_world.changed.connect(self._on_data)
        form.rows.edited.connect(self._on_typed)
        form.draw.changed.connect(self.draw_rectangle)
        form.keep.changed.connect(self.keep_region)
        form.forget.changed.connect(self.forget_region)

    def _leave(self) -> None:
        self._detach()
        self._outline.hide()

    def _on_layers(self, _event: Any = None) -> None:
        """Offer the layers that there are."""
        choices.offer_layers(self.form, self.viewer)
        if self._outline.lost and self.layer is not None:
            self.form.outline.value = False  # the user took it away
        self._on_layer_offered()

    def _on_layer(self) -> None:
        self._outcome = ""
        self._on_layer_offered()

    def _on_layer_offered(self) -> None:
        choices.show_layer(self.form)
        choices.offer_regions(self.form, self.viewer)
        self._on_region()

    def _on_data(self, _event: Any = None) -> None:
        choices.show_layer(self.form)
        self._schedule()

    def _on_region(self) -> None:
        """Follow the two layers that the region hangs on."""
        self._watched.connect(self, layer_links(self.layer, self.form.region.value))
        self._schedule()

    def _on_typed(self, axis: int) -> None:
        """Make the region what was typed."""
        outlined = frozenset() if self._found is None else self._found.outlined
        if axis not in outlined:
            self.form.frames.value = TYPED
        elif self.form.region.value != NUMBERS:
            self.form.region.value = NUMBERS
        self._schedule()
