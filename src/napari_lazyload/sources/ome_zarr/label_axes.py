"""The axes of labels and those of the image below them: viewers count axes from the last."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS
from napari_lazyload.sources.ome_zarr.source import ZarrImage, ZarrSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.metadata import ImageMeta


def crossed_axes(labels: ImageMeta, image: ImageMeta) -> list[str]:
    """Return the note, as a list, on labels whose sliders would move other axes of the image."""
    mine, others = _layer_axes(labels), _layer_axes(image)
    common = min(len(mine), len(others))
    if mine[-common:] == others[-common:]:
        return []
    return [
        f"{labels.name}: it has the axes {', '.join(mine)}, and the image {', '.join(others)}; "
        "viewers count axes from the last, so that they do not lie over each other on all of them"
    ]


def _layer_axes(meta: ImageMeta) -> list[str]:
    left_out = (RGB_AXIS, CHANNEL_AXIS) if meta.channels else (RGB_AXIS,)
    return [axis.lower() for axis in meta.axes if axis not in left_out]


def aligned(labels: ZarrImage, image: ImageMeta) -> ZarrImage:
    """Return labels of fewer axes with those that lack, of one pixel as long as the image.

    Labels ``tyx`` over an image ``tzyx`` would follow its z slider.
    """
    source, meta = labels.source, labels.source.meta
    added = _missing(meta, image)
    if not added or not isinstance(source, ZarrSource) or meta.affine is not None:
        return labels

    def widened(values: Sequence[Any] | None, news: Sequence[Any]) -> Any:
        whole = list(values or ())
        for number, value in zip(added, news, strict=True):
            whole.insert(number, value)
        return tuple(whole) if values is not None else None

    ones = (1,) * len(added)
    levels = []
    for level in meta.levels:
        grid = ChunkGrid(widened(level.grid.shape, ones), widened(level.grid.chunks, ones))
        offsets = widened(level.offsets, (0.0,) * len(added))
        factors = widened(level.factors, ones)
        levels.append(replace(level, grid=grid, factors=factors, offsets=offsets))
    scale = image.scale or (1.0,) * len(image.axes)
    translate = image.translate or (0.0,) * len(image.axes)
    sizes = [scale[axis] * image.shape[axis] for axis in added.values()]
    starts = [
        translate[axis] + scale[axis] * (image.shape[axis] - 1) / 2 for axis in added.values()
    ]
    wide = replace(
        meta,
        axes=widened(meta.axes, [image.axes[axis] for axis in added.values()]),
        levels=tuple(levels),
        scale=widened(meta.scale or (1.0,) * len(meta.axes), sizes),
        translate=widened(meta.translate or (0.0,) * len(meta.axes), starts),
        units=widened(meta.units, [image.units and image.units[axis] for axis in added.values()]),
    )
    return replace(labels, source=ZarrSource(source.arrays, wide, tuple(added)))


def _missing(labels: ImageMeta, image: ImageMeta) -> dict[int, int]:
    """Return the axes of the image that labels lack behind one that they share.

    They are the numbers in the image, by the number that each gets in the labels; none where the
    shared axes are in another order.
    """
    mine, others = [axis.lower() for axis in labels.axes], _layer_axes(image)
    names = list(mine)
    shared = [axis for axis in others if axis in mine]
    wanted = others[others.index(shared[0]) :] if shared else []
    for before, axis in pairwise(wanted):
        if axis not in names:
            names.insert(names.index(before) + 1, axis)
    if [name for name in names if name in wanted] != wanted:
        return {}
    numbers = {axis.lower(): number for number, axis in enumerate(image.axes)}
    return {at: numbers[name] for at, name in enumerate(names) if name not in mine}
