"""What a crop would do and cost, for one layer or several. Nothing is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped] # ships no types
from napari.layers import Labels

from napari_lazyload.core import settings
from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.text import size_text
from napari_lazyload.cropping.cast_loss import cast_loss
from napari_lazyload.cropping.crop import estimate
from napari_lazyload.layers.crop import geometry
from napari_lazyload.widgets.crop.region_source import resolve_on_other_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.region import Estimate
    from napari_lazyload.layers.crop.mask import Mask
    from napari_lazyload.widgets.crop.region_source import RegionChoice, ResolvedRegion


@dataclass(frozen=True, slots=True)
class CropPlan:
    """What a crop would do, settled before anything is read.

    Parameters
    ----------
    layer : napari layer
        What is cropped.
    region : tuple of slice
        Within the layer, in level-0 pixels, for each axis without the colour axis.
    level : int
        From which level.
    dtype : str or None
        Of the result; the layer's own where None.
    shape : tuple of int
        Of the result.
    cost : Estimate
        What it needs and reads.
    mask : Mask or None
        What is drawn; pixels outside of it are 0.
    """

    layer: Any
    region: tuple[slice, ...]
    level: int
    dtype: str | None
    shape: tuple[int, ...]
    cost: Estimate
    mask: Mask | None = None

    @property
    def peak_nbytes(self) -> int:
        """Memory that the crop takes at most: its result, and a chunk for each thread."""
        workers = settings.current().workers
        in_flight = self.cost.touched_nbytes * min(1.0, workers / max(1, self.cost.touched_chunks))
        return self.cost.result_nbytes + int(in_flight)

    @property
    def fits(self) -> bool:
        """Whether there is memory for it now."""
        return self.peak_nbytes <= free_memory()

    def open_error(self, *, lazy: bool) -> str:
        """Return what to tell where it does not fit; `lazy` says whether a lazy layer is a way out."""
        return open_error(
            self.peak_nbytes, ["add it as a lazy layer, which reads nothing yet"] * lazy
        )

    @property
    def text(self) -> str:
        """Size and cost, for people, in three lines."""
        return costs_text([self])

    @property
    def cast_warning(self) -> str:
        """What the wanted type would lose; "" where it keeps every value."""
        return "" if self.dtype is None else cast_loss(self.layer.dtype, self.dtype)


def peak_nbytes(plans: Sequence[CropPlan]) -> int:
    """Return the memory that several crops take at most: all results, and the chunks in flight of one of them."""
    results = sum(plan.cost.result_nbytes for plan in plans)
    return results + max((plan.peak_nbytes - plan.cost.result_nbytes for plan in plans), default=0)


def open_error(peak: int, ways_out: Sequence[str]) -> str:
    """Return what to tell where a crop does not fit memory."""
    instead = f", or {' or '.join(ways_out)}" if ways_out else ""
    return (
        f"This needs {size_text(peak)} of memory, {size_text(free_memory())} are free. "
        f"Take a smaller region or a coarser level{instead}."
    )


def costs_text(plans: Sequence[CropPlan]) -> str:
    """Return sizes and costs of some crops together, for people, in three lines."""
    first = plans[0]
    shape = " x ".join(f"{size:,}" for size in first.shape)
    head = f"Level {first.level}, {first.dtype or first.layer.dtype}: {shape}"
    if len(plans) > 1:
        head = f"{len(plans)} layers. {head}{'' if len({plan.shape for plan in plans}) == 1 else ' and others'}"
    costs = [plan.cost for plan in plans]
    count = sum(cost.touched_chunks for cost in costs)
    return (
        f"{head}\n"
        f"Result {size_text(sum(cost.result_nbytes for cost in costs))}\n"
        f"Reads {size_text(sum(cost.touched_nbytes for cost in costs))} in {count:,} chunk{'s'[: count != 1]}, "
        f"of {size_text(sum(cost.full_nbytes for cost in costs))}"
    )


def free_memory() -> int:
    """Return the bytes of memory that can be had without swapping."""
    return int(psutil.virtual_memory().available)


def fits(plans: Sequence[CropPlan]) -> bool:
    """Return whether there is memory now for several crops together."""
    return peak_nbytes(plans) <= free_memory()


def planned(
    viewer: Any,
    layers: Sequence[Any],
    found: ResolvedRegion,
    choice: RegionChoice,
    *,
    level: int,
    dtype: str | None,
) -> tuple[CropPlan, ...]:
    """Return what to crop of some layers.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they lie.
    layers : sequence of napari layer
        The first one is the one whose region was found.
    found : ResolvedRegion
        Its region.
    wish : RegionChoice
        What was chosen.
    level : int
        Which level, of all layers that are not coarser than that.
    dtype : str or None
        Of the results.

    Raises
    ------
    RegionError
        If the region is empty, or cannot be cropped from one of them.
    """
    first, *others = layers
    region = geometry.clipped(found.ranges, first)
    plans = [_plan(first, region, level, dtype, found.mask)]
    for layer in others:
        there = resolve_on_other_layer(viewer, first, region, layer, choice)
        count = len(layer.data) if layer.multiscale else 1
        if level >= count:
            msg = f"{layer.name!r} has no level {level}, only {count}: choose one that all selected layers have"
            raise RegionError(msg)
        if isinstance(layer, Labels) and dtype is not None and dtype.startswith("float"):
            msg = (
                f"{layer.name!r} holds labels, which are whole numbers: they cannot become {dtype}"
            )
            raise RegionError(msg)
        plans.append(_plan(layer, geometry.clipped(there.ranges, layer), level, dtype, there.mask))
    return tuple(plans)


def _plan(
    layer: Any, region: tuple[slice, ...], level: int, dtype: str | None, mask: Mask | None
) -> CropPlan:
    box = geometry.level_box(layer, region, level)
    shape = tuple(stop - start for start, stop in box)
    return CropPlan(layer, region, level, dtype, shape, estimate(layer, region, level, dtype), mask)


def level_costs(plan: CropPlan) -> list[tuple[str, str]]:
    """Return what the crop would cost at each level, in a few words and in full."""
    count = len(plan.layer.data) if plan.layer.multiscale else 1
    costs = [_plan(plan.layer, plan.region, level, plan.dtype, None) for level in range(count)]
    return [(size_text(one.cost.result_nbytes), one.text) for one in costs]


def sentence(text: str) -> str:
    """Return the message of an error as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."
