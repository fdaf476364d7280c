"""What a crop would do and cost, for one layer or several. Nothing is read."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from operator import sub
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped] # ships no types
from napari.layers import Labels

from napari_lazyload.core import settings
from napari_lazyload.core.chunks import box_shape
from napari_lazyload.core.errors import RegionError
from napari_lazyload.core.text import size_text
from napari_lazyload.cropping.cast_loss import cast_loss
from napari_lazyload.cropping.crop import estimate_level
from napari_lazyload.layers.crop import geometry
from napari_lazyload.widgets.crop.region_source import resolve_on_other_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.core.region import Estimate
    from napari_lazyload.cropping.failures import OnFailure
    from napari_lazyload.cropping.target import LayerTarget
    from napari_lazyload.layers.crop.mask import Mask
    from napari_lazyload.widgets.crop.region_source import RegionChoice, ResolvedRegion


LAZY_WAY_OUT = "add it as a lazy layer, which reads nothing yet"


@dataclass(frozen=True, slots=True)
class CropPlan:
    """What a crop would do, settled before anything is read.

    Parameters
    ----------
    target : LayerTarget
        The layer that is cropped.
    region : tuple of slice
        Within the layer, in level-0 pixels, for each axis without the color axis.
    level : int
        From which level.
    dtype : str or None
        Of the result; the layer's own where None.
    box : tuple of (int, int)
        The region in pixels of the level, along all axes of the data.
    cost : Estimate
        What it needs and reads.
    mask : Mask or None
        What is drawn; pixels outside of it are 0.
    on_error : {"blank", "skip"} or None
        What becomes of chunks that cannot be read, as :func:`napari_lazyload.crop` takes it.
    """

    target: LayerTarget
    region: tuple[slice, ...]
    level: int
    dtype: str | None
    box: Box
    cost: Estimate
    mask: Mask | None = None
    on_error: OnFailure | None = None

    @property
    def layer(self) -> Any:
        """The layer that is cropped."""
        return self.target.layer

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of the result along each axis."""
        return box_shape(self.box)

    @property
    def peak_nbytes(self) -> int:
        """Memory that the crop takes at most: its result, and a chunk for each thread."""
        workers = settings.current().workers
        in_flight = self.cost.touched_nbytes * min(1.0, workers / max(1, self.cost.touched_chunks))
        return self.cost.result_nbytes + int(in_flight)

    @property
    def cast_warning(self) -> str:
        """What the wanted type would lose; "" where it keeps every value."""
        return "" if self.dtype is None else cast_loss(self.layer.dtype, self.dtype)


def peak_nbytes(plans: Sequence[CropPlan]) -> int:
    """Return the memory that several crops take at most.

    These are all results, and the chunks in flight of one crop.
    """
    results = [plan.cost.result_nbytes for plan in plans]
    peaks = [plan.peak_nbytes for plan in plans]
    in_flight = map(sub, peaks, results)
    return sum(results) + max(in_flight, default=0)


def too_large_text(peak: int, ways_out: Sequence[str]) -> str:
    """Return what to say where a crop does not fit memory."""
    instead = f", or {' or '.join(ways_out)}" if ways_out else ""
    return (
        f"This needs {size_text(peak)} of memory, {size_text(free_memory())} are free. "
        f"Take a smaller region or a coarser level{instead}."
    )


def costs_text(plans: Sequence[CropPlan]) -> str:
    """Return sizes and costs of some crops together, as text of three lines."""
    first = plans[0]
    shape = " x ".join(map("{:,}".format, first.shape))
    head = f"Level {first.level}, {first.dtype or first.layer.dtype}: {shape}"
    if len(plans) > 1:
        same_shape = len({plan.shape for plan in plans}) == 1
        head = f"{len(plans)} layers. {head}{' and others' * (not same_shape)}"
    costs = [astuple(plan.cost) for plan in plans]
    result, touched, count, full = map(sum, zip(*costs, strict=True))
    return (
        f"{head}\nResult {size_text(result)}\n"
        f"Reads {size_text(touched)} in {count:,} chunk{'s'[: count != 1]}, of {size_text(full)}"
    )


def free_memory() -> int:
    """Return the bytes of memory that can be had without swapping."""
    return int(psutil.virtual_memory().available)


def fits(plans: Sequence[CropPlan]) -> bool:
    """Return whether there is memory now for several crops together."""
    return peak_nbytes(plans) <= free_memory()


def plan_crops(
    viewer: Any,
    targets: Sequence[LayerTarget],
    resolved: ResolvedRegion,
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
    targets : sequence of LayerTarget
        The first one is the layer whose region was resolved.
    resolved : ResolvedRegion
        Its region.
    choice : RegionChoice
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
    first, *others = targets
    region = geometry.clipped(resolved.ranges, first)
    plans = [plan_crop(first, region, level, dtype, resolved.mask)]
    for target in others:
        _check_settings(target, level, dtype)
        there = resolve_on_other_layer(viewer, first.layer, region, target, choice)
        clipped = geometry.clipped(there.ranges, target)
        plans.append(plan_crop(target, clipped, level, dtype, there.mask))
    return tuple(plans)


def _check_settings(target: LayerTarget, level: int, dtype: str | None) -> None:
    """Raise `RegionError` where a layer has no such level, or cannot become such a type."""
    name, count = target.layer.name, len(target.arrays)
    if level >= count:
        raise RegionError(
            f"{name!r} has no level {level}, only {count}: choose one that all selected layers have"
        )
    if isinstance(target.layer, Labels) and dtype is not None and dtype.startswith("float"):
        raise RegionError(
            f"{name!r} holds labels, which are whole numbers: they cannot become {dtype}"
        )


def plan_crop(
    target: LayerTarget,
    region: tuple[slice, ...],
    level: int,
    dtype: str | None = None,
    mask: Mask | None = None,
) -> CropPlan:
    """Return what a crop of a layer would do and cost; see `CropPlan`."""
    box = target.box(region, level)
    cost = estimate_level(target, box, level, dtype)
    return CropPlan(target, region, level, dtype, box, cost, mask)


def level_costs(plan: CropPlan) -> list[tuple[str, str]]:
    """Return what the crop would cost at each level, in a few words and in full."""
    target, levels = plan.target, range(len(plan.target.arrays))
    plans = [plan_crop(target, plan.region, level, plan.dtype) for level in levels]
    return [(size_text(plan.cost.result_nbytes), costs_text([plan])) for plan in plans]


def sentence(text: str) -> str:
    """Return the message of an error as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."
