"""A group with ``multiscales`` as images: one of each entry, and their labels.

The door of this room is `open`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.affine import Placement, linear, placement_of
from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS, ImageMeta, Kind
from napari_lazyload.sources.ome_zarr.axes import SPACE, axis_names
from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, run_together
from napari_lazyload.sources.ome_zarr.label_axes import aligned, crossed_axes
from napari_lazyload.sources.ome_zarr.multiscales import (
    Placements,
    Resolution,
    dataset_paths,
    is_shifted,
    level_metas,
    named_datasets,
    ordered,
    read_placements,
)
from napari_lazyload.sources.ome_zarr.omero import channel_count, labels_display, read_channels
from napari_lazyload.sources.ome_zarr.source import (
    LABELS,
    SOME,
    OpenedNode,
    Options,
    ZarrImage,
    ZarrSource,
    array_at,
    place,
    where_is,
)
from napari_lazyload.sources.ome_zarr.tolerant import (
    as_text,
    as_texts,
    multiscales_of,
    ome_of,
    version_note,
)
from napari_lazyload.sources.zarr.node import Node
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.ome_zarr.batched_metadata import Nodes
    from napari_lazyload.sources.zarr.array import ZarrArray


def read_image(
    node: Node,
    name: str,
    options: Options,
    *,
    kind: Kind = "image",
    over: ImageMeta | None = None,
    align: bool = True,
) -> MetadataRead:
    """Read the images of a group with ``multiscales``, and their labels; returns an `OpenedNode`.

    Labels without a place of their own are laid over the image `over`, where one is given. With
    `align`, labels of fewer axes get those of the image.

    Raises
    ------
    SourceOpenError
        If not one of them can be opened.
    """
    entries = multiscales_of(node.attributes)
    if not entries:
        raise open_error(
            where_is(node),
            "its 'multiscales' are empty; expected a list of images with their arrays",
        )
    wanted = level_places(node)
    labels_path = place(node, LABELS)
    with_labels = options.labels and kind == "image"
    if with_labels:
        wanted.append(labels_path)
    nodes = yield wanted
    opened = OpenedNode(notes=options.too_many(len(entries)))
    if (note := version_note(node.attributes)) is not None:
        opened.notes.append(f"{name}: {note}")
    errors = []
    entries = entries[: options.max_images]
    for number, entry in enumerate(entries):
        own = as_text(entry.get("name")) or number
        title = f"{name} {own}" if len(entries) > 1 else name
        try:
            opened.take(ImageBuilder(node, entry, title, kind, options, over).build(nodes))
        except SourceOpenError as err:
            errors.append(err)
    if not opened.images:
        raise errors[0]
    opened.notes += map(str, errors)
    labels_node = nodes.get(labels_path)
    if with_labels and isinstance(labels_node, SourceOpenError):
        opened.notes.append(f"{name}: its labels are left out: {labels_node}")
    if with_labels and isinstance(labels_node, Node):
        image = opened.images[0].source.meta
        labels: OpenedNode = yield from read_labels(labels_node, name, options, over=image)
        if align:
            labels.images = [aligned(one, image) for one in labels.images]
        opened.take(labels)
        for label_image in labels.images:
            opened.notes += crossed_axes(label_image.source.meta, image)
    return opened


def level_places(node: Node) -> list[str]:
    """Return the paths, within the store, of the levels of all images of a group."""
    places = []
    for entry in multiscales_of(node.attributes):
        for path in dataset_paths(entry):
            # A path out of the store is reported where its level is opened.
            with suppress(SourceOpenError):
                places.append(place(node, path))
    return places


def read_labels(
    node: Node, name: str, options: Options, over: ImageMeta | None = None
) -> MetadataRead:
    """Read every label image of a ``labels`` group; returns an `OpenedNode`, which may be empty.

    Labels are named after the image, where it has a name.
    """
    listed = as_texts(ome_of(node.attributes).get("labels"))
    names = listed or [name for name in node.children() or () if not name.startswith(".")]
    opened = OpenedNode(notes=options.too_many(len(names)))
    paths: dict[str, str] = {}
    for label in names[: options.max_images]:
        try:
            paths[label] = place(node, label)
        except SourceOpenError as err:
            opened.notes.append(str(err))
    nodes = yield list(paths.values())
    reads = []
    for label, path in paths.items():
        found = nodes.get(path)
        if isinstance(found, SourceOpenError):
            opened.notes.append(f"labels {label!r} are left out: {found}")
        elif found is not None and multiscales_of(found.attributes):
            reads.append(
                read_image(found, f"{name} {label}".strip(), options, kind="labels", over=over)
            )
        elif listed:
            opened.notes.append(
                f"{name}: labels {label!r} are left out: there is no label image at {path!r}"
            )
    opened.notes += map(
        "labels are left out: {}".format, opened.take_all((yield from run_together(reads)))
    )
    return opened


@dataclass(slots=True)
class ImageBuilder:
    """Builds one image of a group.

    Parameters
    ----------
    node : Node
        The group.
    entry : mapping
        The entry of ``multiscales``.
    name : str
        Of the image.
    kind : {"image", "labels"}
        Of the image.
    options : Options
        The choices of the user.
    over : ImageMeta, optional
        Of the image that it labels.
    """

    node: Node
    entry: Mapping[str, Any]
    name: str
    kind: Kind
    options: Options
    over: ImageMeta | None = None
    _notes: list[str] = field(default_factory=list, init=False)

    def build(self, nodes: Nodes) -> OpenedNode:
        """Return the image, made of those of its arrays that are among `nodes`.

        Raises
        ------
        SourceOpenError
            If none of them can be opened, or there is not one axis for each dimension.
        """
        opened = self._arrays(nodes)
        finest = max(opened.values(), key=lambda array: prod(array.shape))
        if len(finest.shape) < 2 or 0 in finest.shape:
            raise open_error(
                where_is(self.node),
                "expected an image with two dimensions or more and pixels in them, found shape "
                f"{finest.shape}",
            )
        placements = read_placements(
            self._with_axes(finest), finest.shape, where_is(self.node), self.options.system
        )
        self._notes += placements.notes
        pyramid = []
        for number, dataset in enumerate(named_datasets(self.entry)):
            if number in opened:
                path, shifted = str(dataset["path"]), is_shifted(dataset)
                pyramid.append(
                    Resolution(path, opened[number], placements.matrices[number], shifted)
                )
        levels = ordered(pyramid, self._notes)
        meta = self._meta(placements, levels)
        kept = self._of_all_channels(meta)
        meta = replace(meta, levels=tuple(map(meta.levels.__getitem__, kept)))
        return OpenedNode(
            [
                ZarrImage(
                    ZarrSource([levels[number].array for number in kept], meta), self.node.path
                )
            ],
            [f"{self.name}: {note}" for note in self._notes],
        )

    def _of_all_channels(self, meta: ImageMeta) -> list[int]:
        """Return the numbers of the levels that have every channel and every color."""
        kept = []
        whole = np.isin(meta.axes, (CHANNEL_AXIS, RGB_AXIS))
        for number, level in enumerate(meta.levels):
            if np.all(np.equal(level.shape, meta.shape)[whole]):
                kept.append(number)
            else:
                self._notes.append(
                    f"level {number} is left out: its shape {level.shape} lacks channels"
                )
        return kept

    def _with_axes(self, array: ZarrArray) -> Mapping[str, Any]:
        """Return the entry; without axes, with those that its array names, or of the image below.

        Names that the image does not have are of no use for labels.
        """
        if self.entry.get("axes") or "coordinateSystems" in self.entry:
            return self.entry
        own = array.dimension_names or ()
        if own and all(own) and (self.over is None or {*own} <= {*self.over.axes}):
            return {**self.entry, "axes": list(own)}
        if self.over is None:
            return self.entry
        for left_out in ((RGB_AXIS,), (RGB_AXIS, CHANNEL_AXIS)):
            names = [axis for axis in self.over.axes if axis not in left_out]
            if len(names) == len(array.shape):
                return {**self.entry, "axes": names}
        return self.entry

    def _arrays(self, nodes: Nodes) -> dict[int, ZarrArray]:
        """Return the arrays that are there, by their number among the datasets."""
        found: dict[int, ZarrArray] = {}
        missing: dict[str, str] = {}
        for number, path in enumerate(dataset_paths(self.entry)):
            try:
                found[number] = array_at(nodes, place(self.node, path))
            except SourceOpenError as err:
                missing[path] = str(err)
        if not found:
            raise open_error(
                where_is(self.node),
                f"expected an image, found none of its levels ({len(missing)}) that can be opened: "
                f"{('; '.join(list(missing.values())[:SOME]) or 'it names no arrays')}",
            )
        self._notes += [f"level {path!r} is left out: {why}" for path, why in missing.items()]
        return found

    def _meta(self, placements: Placements, levels: Sequence[Resolution]) -> ImageMeta:
        finest = levels[0].array
        if self.kind == "labels" and finest.dtype.kind not in "iub":
            self._notes.append(
                f"labels of type {finest.dtype} are shown as an image; expected whole numbers"
            )
            self.kind = "image"
        matrix = levels[0].matrix
        units: dict[str, str | None] = {}
        if matrix is None:
            matrix = self._matrix_over(placements, finest.shape)
            if self.over is not None:
                units = dict(zip(self.over.axes, self.over.units or (), strict=False))
        placed = placement_of(matrix, reorder=placements.reorder)
        axes = [placements.axes[world] for world in placed.order]
        if placed.order != tuple(range(len(axes))):
            self._notes.append(
                f"its axes are stored in the order {', '.join(map(attrgetter('name'), axes))}, "
                "and shown so"
            )
        names = axis_names(axes, finest.shape)
        count = len(names) - (names[-1] == RGB_AXIS)  # no other axis has colors
        named = zip(axes[:count], names, strict=False)
        return ImageMeta(
            name=self.name,
            axes=names,
            dtype=finest.dtype,
            levels=level_metas(levels, self._notes),
            kind=self.kind,
            scale=placed.scale[:count],
            translate=placed.translate[:count],
            units=tuple(axis.unit or units.get(name) for axis, name in named),
            affine=_affine_of_first(count, placed),
            metadata=self._extra_metadata(placements),
            **self._display_settings(names, finest.shape),
        )

    def _matrix_over(self, placements: Placements, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """Return the matrix of labels without a place of their own: over the image they label."""
        if self.over is None:
            return np.eye(len(shape) + 1)
        places = stretched(self.over, axis_names(placements.axes, shape), shape)
        if set(places) != {(1.0, 0.0)}:
            self._notes.append("does not say where it lies; it is laid over the image")
        sizes, starts = zip(*places, strict=True)
        return linear(np.diag(sizes), starts)

    def _extra_metadata(self, placements: Placements) -> dict[str, Any]:
        own, system = as_text(self.entry.get("name")), placements.system
        extras: dict[str, Any] = {"ome_name": own} if own else {}
        if system:
            extras |= {"coordinate_system": system, "coordinate_systems": list(placements.systems)}
        return extras

    def _display_settings(self, names: Sequence[str], shape: Sequence[int]) -> dict[str, Any]:
        """Return the fields of `ImageMeta` that say how an image is shown."""
        ome = ome_of(self.node.attributes)
        count = channel_count(names, shape)
        if CHANNEL_AXIS in names and not count:
            self._notes.append(
                f"its {shape[names.index(CHANNEL_AXIS)]} channels are one layer with a slider "
                "for them"
            )
        if self.kind == "labels":
            # Split as the image that they lie over: viewers count axes from the last.
            split = self.over is None or CHANNEL_AXIS not in self.over.axes or self.over.channels
            return {
                "display": labels_display(ome.get("image-label")),
                "channels": read_channels(None, count if split else 0),
            }
        if CHANNEL_AXIS in names:
            return {"channels": read_channels(ome.get("omero"), count)}
        if names[-1] == RGB_AXIS:
            return {}
        (only,) = read_channels(ome.get("omero"), 1)
        return {"contrast_limits": only.contrast_limits, "colormap": only.colormap}


def stretched(
    over: ImageMeta, names: Sequence[str], shape: Sequence[int]
) -> list[tuple[float, float]]:
    """Return scale and translation for each axis of an array, so that it covers an image."""
    places = []
    for name, size in zip(names, shape, strict=True):
        scale, start = 1.0, 0.0
        shared = name in over.axes and name != CHANNEL_AXIS
        if shared and over.scale is not None and over.translate is not None:
            axis = over.axes.index(name)
            factor = over.shape[axis] / size if name in SPACE or size == 1 else 1.0
            start = over.translate[axis] + over.scale[axis] * (factor - 1) / 2
            scale = over.scale[axis] * factor
        places.append((scale, start))
    return places


def _affine_of_first(count: int, placed: Placement) -> tuple[tuple[float, ...], ...] | None:
    """Return the affine matrix of the first `count` axes."""
    if placed.affine is None:
        return None
    chosen = [*range(count), -1]
    return tuple(map(tuple, np.array(placed.affine)[np.ix_(chosen, chosen)].tolist()))
