"""One entry of ``multiscales`` as an image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.affine import Placement, linear, placement_of
from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS, ImageMeta, Kind
from napari_lazyload.sources.ome_zarr.axes import SPACE, axis_names
from napari_lazyload.sources.ome_zarr.levels import Resolution, level_metas, ordered
from napari_lazyload.sources.ome_zarr.multiscales import (
    Placements,
    dataset_paths,
    is_shifted,
    layout_of,
    named_datasets,
)
from napari_lazyload.sources.ome_zarr.omero import channel_count, labels_display, read_channels
from napari_lazyload.sources.ome_zarr.options import SOME, Options, array_at, place, where_is
from napari_lazyload.sources.ome_zarr.source import OpenedNode, ZarrImage, ZarrSource
from napari_lazyload.sources.ome_zarr.tolerant import as_text, ome_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.ome_zarr.batched_metadata import Nodes
    from napari_lazyload.sources.zarr.array import ZarrArray
    from napari_lazyload.sources.zarr.node import Node


@dataclass(slots=True)
class ImageBuilder:
    """One image of a group.

    Parameters
    ----------
    node : Node
        The group.
    said : mapping
        The entry of ``multiscales``.
    name : str
        What the image is called.
    kind : {"image", "labels"}
        What it is.
    options : Options
        What the user chose.
    over : ImageMeta, optional
        Of the image that it labels.
    """

    node: Node
    said: Mapping[str, Any]
    name: str
    kind: Kind
    options: Options
    over: ImageMeta | None = None
    _notes: list[str] = field(default_factory=list, init=False)

    def finding(self, nodes: Nodes) -> OpenedNode:
        """Return the image, made from those of its arrays that are among `nodes`.

        Raises
        ------
        SourceOpenError
            If none of them can be opened, or there is not one axis for each dimension.
        """
        opened = self._arrays(nodes)
        finest = max(opened.values(), key=lambda array: prod(array.shape))
        if len(finest.shape) < 2 or 0 in finest.shape:
            where = where_is(self.node)
            msg = f"{where}: expected an image with two dimensions or more and pixels in them, found shape {finest.shape}"
            raise SourceOpenError(msg, where)
        layout = layout_of(
            self._with_axes(finest.shape), finest.shape, where_is(self.node), self.options.system
        )
        self._notes += layout.notes
        datasets = named_datasets(self.said)
        pyramid = [
            Resolution(
                str(datasets[number]["path"]),
                array,
                layout.matrices[number],
                is_shifted(datasets[number]),
            )
            for number, array in opened.items()
        ]
        levels = ordered(pyramid, self._notes)
        meta = self._meta(layout, levels)
        kept = self._of_all_channels(meta)
        meta = replace(meta, levels=tuple(meta.levels[number] for number in kept))
        source = ZarrSource([levels[number].array for number in kept], meta)
        return OpenedNode(
            [ZarrImage(source, self.node.path)], [f"{self.name}: {note}" for note in self._notes]
        )

    def _of_all_channels(self, meta: ImageMeta) -> list[int]:
        """Return the numbers of the levels that have every channel and every colour."""
        kept = []
        whole = [
            number for number, axis in enumerate(meta.axes) if axis in (CHANNEL_AXIS, RGB_AXIS)
        ]
        for number, level in enumerate(meta.levels):
            if all(level.shape[axis] == meta.shape[axis] for axis in whole):
                kept.append(number)
            else:
                self._notes.append(
                    f"level {number} is left out: its shape {level.shape} lacks channels"
                )
        return kept

    def _with_axes(self, shape: Sequence[int]) -> Mapping[str, Any]:
        """Return the entry; of labels that name no axes with those of the image, where they have as many."""
        if self.over is None or self.said.get("axes") or "coordinateSystems" in self.said:
            return self.said
        names = [axis for axis in self.over.axes if axis != RGB_AXIS]
        for one in (names, [name for name in names if name != CHANNEL_AXIS]):
            if len(one) == len(shape):
                return {**self.said, "axes": one}
        return self.said

    def _arrays(self, nodes: Nodes) -> dict[int, ZarrArray]:
        """Return the arrays that are there, by their number among the datasets."""
        found: dict[int, ZarrArray] = {}
        missing: dict[str, str] = {}
        for number, path in enumerate(dataset_paths(self.said)):
            try:
                found[number] = array_at(nodes, place(self.node, path))
            except SourceOpenError as err:
                missing[path] = str(err)
        if not found:
            where, why = (
                where_is(self.node),
                "; ".join(list(missing.values())[:SOME]) or "it names no arrays",
            )
            msg = f"{where}: expected an image, found none of its levels ({len(missing)}) that can be opened: {why}"
            raise SourceOpenError(msg, where)
        self._notes += [f"level {path!r} is left out: {why}" for path, why in missing.items()]
        return found

    def _meta(self, layout: Placements, levels: Sequence[Resolution]) -> ImageMeta:
        finest = levels[0].array
        if self.kind == "labels" and finest.dtype.kind not in "iub":
            self._notes.append(
                f"labels of type {finest.dtype} are shown as an image; expected whole numbers"
            )
            self.kind = "image"
        matrix, units = levels[0].matrix, {}
        if matrix is None:
            matrix = self._place_over(layout, finest.shape)
            units = (
                {}
                if self.over is None
                else dict(zip(self.over.axes, self.over.units or (), strict=False))
            )
        placed = placement_of(matrix, reorder=layout.reorder)
        axes = [layout.axes[world] for world in placed.order]
        if placed.order != tuple(range(len(axes))):
            self._notes.append(
                f"its axes are stored in the order {', '.join(axis.name for axis in axes)}, and shown so"
            )
        names = axis_names(axes, finest.shape)
        kept = [number for number, axis in enumerate(names) if axis != RGB_AXIS]
        return ImageMeta(
            name=self.name,
            axes=names,
            dtype=finest.dtype,
            levels=level_metas(levels, self._notes),
            kind=self.kind,
            scale=tuple(placed.scale[axis] for axis in kept),
            translate=tuple(placed.translate[axis] for axis in kept),
            units=tuple(axes[axis].unit or units.get(names[axis]) for axis in kept),
            affine=_kept_affine(placed, kept),
            metadata=self._extras(layout),
            **self._look(names, finest.shape),
        )

    def _place_over(self, layout: Placements, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """Return where labels lie that do not say it: over what they label."""
        if self.over is None:
            return np.eye(len(shape) + 1)
        places = stretched(self.over, axis_names(layout.axes, shape), shape)
        if any(place != (1.0, 0.0) for place in places):
            self._notes.append("does not say where it lies; it is laid over the image")
        sizes, starts = zip(*places, strict=True)
        return linear(np.diag(sizes), starts)

    def _extras(self, layout: Placements) -> dict[str, Any]:
        own = as_text(self.said.get("name"))
        extras: dict[str, Any] = {"ome_name": own} if own else {}
        if layout.system:
            extras.update(coordinate_system=layout.system, coordinate_systems=list(layout.systems))
        return extras

    def _look(self, names: Sequence[str], shape: Sequence[int]) -> dict[str, Any]:
        """Return what `ImageMeta` says of how an image is shown."""
        ome = ome_of(self.node.attributes)
        count = channel_count(names, shape)
        if CHANNEL_AXIS in names and not count:
            self._notes.append(
                f"its {shape[names.index(CHANNEL_AXIS)]} channels are one layer with a slider for them"
            )
        if self.kind == "labels":
            # Split as the image that they lie over: viewers count axes from the last.
            split = self.over is None or CHANNEL_AXIS not in self.over.axes or self.over.channels
            channels = read_channels(None, count if split else 0)
            return {"display": labels_display(ome.get("image-label")), "channels": channels}
        if CHANNEL_AXIS in names:
            return {"channels": read_channels(ome.get("omero"), count)}
        if names[-1] == RGB_AXIS:
            return {}
        (only,) = read_channels(ome.get("omero"), 1)
        return {"contrast_limits": only.contrast_limits, "colormap": only.colormap}


def stretched(
    over: ImageMeta, names: Sequence[str], shape: Sequence[int]
) -> list[tuple[float, float]]:
    """Return scale and translation for each axis of an array, so that its pixels cover those of an image."""
    places = []
    for name, size in zip(names, shape, strict=True):
        if (
            name == CHANNEL_AXIS
            or name not in over.axes
            or over.scale is None
            or over.translate is None
        ):
            places.append((1.0, 0.0))
            continue
        at = over.axes.index(name)
        factor = over.shape[at] / size if name in SPACE else 1.0
        places.append(
            (over.scale[at] * factor, over.translate[at] + over.scale[at] * (factor - 1) / 2)
        )
    return places


def _kept_affine(placed: Placement, kept: Sequence[int]) -> tuple[tuple[float, ...], ...] | None:
    if placed.affine is None:
        return None
    chosen = [*kept, len(placed.scale)]
    return tuple(tuple(placed.affine[row][column] for column in chosen) for row in chosen)
