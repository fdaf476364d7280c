"""One entry of ``multiscales`` as an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS, ImageMeta, Kind
from napari_lazyload.sources.ome_axes import axis_names
from napari_lazyload.sources.ome_display import MOST_CHANNELS, labels_display, read_channels
from napari_lazyload.sources.ome_levels import Resolution, level_metas, ordered
from napari_lazyload.sources.ome_multiscale import Layout, dataset_paths, is_shifted, layout_of, named_datasets
from napari_lazyload.sources.ome_nodes import SOME, Options, array_at, place, where_is
from napari_lazyload.sources.ome_source import Finding, Found, ZarrSource
from napari_lazyload.sources.ome_transforms import Placement, placement_of
from napari_lazyload.sources.ome_values import as_text, ome_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.ome_reading import Nodes
    from napari_lazyload.sources.zarr_array import ZarrArray
    from napari_lazyload.sources.zarr_node import Node


@dataclass(slots=True)
class Entry:
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
    """

    node: Node
    said: Mapping[str, Any]
    name: str
    kind: Kind
    options: Options
    _notes: list[str] = field(default_factory=list, init=False)

    def finding(self, nodes: Nodes) -> Finding:
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
            msg = (
                f"{where}: expected an image with two dimensions or more and pixels in them, found shape {finest.shape}"
            )
            raise SourceOpenError(msg, where)
        layout = layout_of(self.said, finest.shape, where_is(self.node), self.options.system)
        self._notes += layout.notes
        datasets = named_datasets(self.said)
        pyramid = [
            Resolution(str(datasets[number]["path"]), array, layout.matrices[number], is_shifted(datasets[number]))
            for number, array in opened.items()
        ]
        levels = ordered(pyramid, self._notes)
        source = ZarrSource([level.array for level in levels], self._meta(layout, levels))
        return Finding([Found(source, self.node.path)], [f"{self.name}: {note}" for note in self._notes])

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
            where, why = where_is(self.node), "; ".join(list(missing.values())[:SOME]) or "it names no arrays"
            msg = f"{where}: expected an image, found none of its levels ({len(missing)}) that can be opened: {why}"
            raise SourceOpenError(msg, where)
        self._notes += [f"level {path!r} is left out: {why}" for path, why in missing.items()]
        return found

    def _meta(self, layout: Layout, levels: Sequence[Resolution]) -> ImageMeta:
        finest = levels[0].array
        if self.kind == "labels" and finest.dtype.kind not in "iub":
            self._notes.append(f"labels of type {finest.dtype} are shown as an image; expected whole numbers")
            self.kind = "image"
        matrix = np.eye(len(finest.shape) + 1) if levels[0].matrix is None else levels[0].matrix
        placed = placement_of(matrix)
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
            units=tuple(axes[axis].unit for axis in kept),
            affine=_kept_affine(placed, kept),
            metadata=self._extras(layout),
            **self._look(names, finest.shape),
        )

    def _extras(self, layout: Layout) -> dict[str, Any]:
        own = as_text(self.said.get("name"))
        extras: dict[str, Any] = {"ome_name": own} if own else {}
        if layout.system:
            extras.update(coordinate_system=layout.system, coordinate_systems=list(layout.systems))
        return extras

    def _look(self, names: Sequence[str], shape: Sequence[int]) -> dict[str, Any]:
        """Return what `ImageMeta` says of how an image is shown."""
        ome = ome_of(self.node.attributes)
        if self.kind == "labels":
            return {"display": labels_display(ome.get("image-label"))}
        if CHANNEL_AXIS in names:
            count = shape[names.index(CHANNEL_AXIS)]
            if count > MOST_CHANNELS:
                self._notes.append(f"its {count} channels are one layer with a slider for them")
                return {}
            return {"channels": read_channels(ome.get("omero"), count)}
        if names[-1] == RGB_AXIS:
            return {}
        (only,) = read_channels(ome.get("omero"), 1)
        return {"contrast_limits": only.contrast_limits, "colormap": only.colormap}


def _kept_affine(placed: Placement, kept: Sequence[int]) -> tuple[tuple[float, ...], ...] | None:
    if placed.affine is None:
        return None
    chosen = [*kept, len(placed.scale)]
    return tuple(tuple(placed.affine[row][column] for column in chosen) for row in chosen)
