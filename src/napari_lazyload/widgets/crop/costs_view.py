"""How the costs of a crop are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lazyload.widgets.crop.plan import (
    CropPlan,
    costs_text,
    fits,
    level_costs,
    open_error,
    peak_nbytes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.widgets.crop.form import CropForm


def show_costs(
    form: CropForm,
    plans: Sequence[CropPlan],
    problem: str,
    outcome: str,
    *,
    in_memory: bool,
    lazy: bool,
    running: bool,
) -> None:
    """Say in the form what some crops would cost, what the type loses, and what is in the way.

    Parameters
    ----------
    form : CropForm
        Where.
    plans : sequence of CropPlan
        What would be cropped; nothing where there is a problem.
    problem, outcome : str
        Why there is nothing, and how the last crop went.
    in_memory : bool
        Whether the result is to be in memory.
    lazy : bool
        Whether lazy layers could be made of it.
    running : bool
        Whether a crop is under way.
    """
    room = bool(plans) and (not in_memory or fits(plans))
    instead = bool(plans) and not room
    if instead:
        ways_out = ["add it as a lazy layer, which reads nothing yet"] * lazy + [
            "write it into a file"
        ]
        problem = f"{outcome}\n{open_error(peak_nbytes(plans), ways_out)}".strip()
    lost = "\n".join(dict.fromkeys(plan.cast_warning for plan in plans if plan.cast_warning))
    texts = (
        (form.cost, costs_text(plans) if plans else ""),
        (form.warning, lost),
        (form.message, problem or outcome),
    )
    for label, text in texts:
        label.setText(text)
        label.setVisible(bool(text))
    if plans:
        form.show_level_costs(level_costs(plans[0]))
    form.crop.enabled = room and not running
    form.copy.enabled = bool(plans)
    form.keep.enabled = bool(plans)
    form.lazy.native.setVisible(instead and lazy and not running)
    form.to_file.native.setVisible(instead and not running)
