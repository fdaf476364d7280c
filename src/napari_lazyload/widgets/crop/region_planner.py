"""From the form of the crop dock to the region and the plans of the crops. Reads nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes

from napari_lazyload.core.errors import RegionError
from napari_lazyload.cropping.target import LayerTarget
from napari_lazyload.layers.crop.crop_layer import can_be_lazy
from napari_lazyload.layers.crop.outline import Outline
from napari_lazyload.widgets.crop.choices import selected_layers
from napari_lazyload.widgets.crop.plan import (
    LAZY_WAY_OUT,
    CropPlan,
    costs_text,
    fits,
    level_costs,
    peak_nbytes,
    plan_crops,
    sentence,
    too_large_text,
)
from napari_lazyload.widgets.crop.region_source import (
    CENTER,
    NUMBERS,
    RANDOM,
    VIEW,
    RegionChoice,
    ResolvedRegion,
    resolve,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.widgets.crop.form import CropForm


class RegionPlanner:
    """Works out which region of which layers is meant, and shows it in the form and on the canvas.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers lie.
    form : CropForm
        What is chosen.

    Attributes
    ----------
    plans : tuple of CropPlan
        What *Crop* would do, for each layer; none where there is no region.
    resolved : ResolvedRegion or None
        The region of the chosen layer.
    problem : str
        Why there are no plans.
    outline : Outline
        What shows the region on the canvas.
    """

    def __init__(self, viewer: Any, form: CropForm) -> None:
        self._viewer = viewer
        self._form = form
        self.outline = Outline(viewer)
        self.plans: tuple[CropPlan, ...] = ()
        self.resolved: ResolvedRegion | None = None
        self.problem = ""

    def update(self) -> None:
        """Work out the plans, and show the fields and the outline that belong to them."""
        layer = self._form.layer.value
        selected = selected_layers(self._viewer, layer)
        self.plans, self.resolved, self.problem = (), None, ""
        if layer is None:
            self.problem = "Open an image first."
        else:
            try:
                self._plan(selected if self._form.several.value else [layer])
            except RegionError as err:
                self.problem = sentence(str(err))
        self._show_fields(len(selected))
        self._show_outline()

    def _plan(self, layers: Sequence[Any]) -> None:
        form, viewer = self._form, self._viewer
        choice = RegionChoice(
            form.region.value,
            form.frames.value,
            tuple(form.rows.ranges()),
            form.box_size.value,
            form.seed.value,
            bool(form.masked.value),
        )
        targets = list(map(LayerTarget, layers))  # once: their levels may be many
        self.resolved = resolve(viewer, targets[0], choice)
        level, dtype = form.level.value or 0, form.dtype.value or None
        plans = plan_crops(viewer, targets, self.resolved, choice, level=level, dtype=dtype)
        self.plans = tuple(replace(plan, on_error=form.on_error.value or None) for plan in plans)
        form.rows.set_ranges([(part.start, part.stop) for part in self.plans[0].region])

    def _show_fields(self, selected: int) -> None:
        """Show what the choice of region and layers asks for, and nothing else."""
        form, resolved = self._form, self.resolved
        layer, source = form.layer.value, form.region.value
        outlined = resolved.outlined if resolved is not None else ()
        others = layer is not None and source != NUMBERS and len(outlined) < layer.ndim
        form.set_row_visible(form.frames, others)
        form.set_row_visible(form.box_size, source in (CENTER, RANDOM))
        form.set_row_visible(form.seed, source == RANDOM)
        slanted = resolved is None or not resolved.upright
        drawn = isinstance(source, Shapes) and bool(source.data)
        form.masked.native.setVisible(drawn and slanted)
        form.crop.text = form.output.verb
        form.several.native.setVisible(selected > 1)
        form.several.native.setText(f"All {selected} selected layers")

    def _show_outline(self) -> None:
        resolved, form = self.resolved, self._form
        seen_already = resolved is None or resolved.upright or form.region.value == VIEW
        if not self.plans or seen_already or not form.outline.value:
            self.outline.hide()
        else:
            self.outline.show(self.plans[0].layer, self.plans[0].region)

    def show_costs(self, outcome: str, *, running: bool) -> None:
        """Show what the crops would cost, what their type loses, and why one is impossible.

        Parameters
        ----------
        outcome : str
            What happened last.
        running : bool
            Whether a crop is under way.
        """
        form, plans, message = self._form, self.plans, self.problem or outcome
        too_large = bool(plans) and form.output.in_memory and not fits(plans)
        lazy = too_large and all(can_be_lazy(plan.layer, plan.level) for plan in plans)
        if too_large:
            ways_out = [LAZY_WAY_OUT] * lazy + ["write it into a file"]
            message = f"{outcome}\n{too_large_text(peak_nbytes(plans), ways_out)}".strip()
        warnings = dict.fromkeys(plan.cast_warning for plan in plans)
        for label, text in (
            (form.cost, costs_text(plans) if plans else ""),
            (form.warning, "\n".join(filter(None, warnings))),
            (form.message, message),
        ):
            label.setText(text)
            label.setVisible(bool(text))
        if plans:
            form.show_level_costs(level_costs(plans[0]))
        form.crop.enabled = bool(plans) and not too_large and not running
        form.copy.enabled = form.keep.enabled = bool(plans)
        form.lazy.native.setVisible(lazy and not running)
        form.to_file.native.setVisible(too_large and not running)
