"""The reading of a group with ``multiscales``: its images and their labels.

The door of this room is `open`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.metadata import CHANNEL_AXIS, RGB_AXIS
from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, run_together
from napari_lazyload.sources.ome_zarr.image_builder import ImageBuilder
from napari_lazyload.sources.ome_zarr.multiscales import dataset_paths
from napari_lazyload.sources.ome_zarr.options import LABELS, Options, place, where_is
from napari_lazyload.sources.ome_zarr.source import OpenedNode
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
    from napari_lazyload.core.metadata import ImageMeta, Kind


def read_image(
    node: Node, name: str, options: Options, *, kind: Kind = "image", over: ImageMeta | None = None
) -> MetadataRead:
    """Read the images of a group with ``multiscales``, and their labels; returns an `OpenedNode`.

    Labels without a place of their own are laid over the image `over`, where one is given.

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
    if with_labels and isinstance(labels_node, Node):
        image = opened.images[0].source.meta
        labels: OpenedNode = yield from read_labels(labels_node, name, options, over=image)
        opened.take(labels)
        for label_image in labels.images:
            opened.notes += _crossed_axes(label_image.source.meta, image)
    return opened


def _crossed_axes(labels: ImageMeta, image: ImageMeta) -> list[str]:
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
            title = f"{name} {label}".strip()
            reads.append(read_image(found, title, options, kind="labels", over=over))
        elif listed:
            opened.notes.append(
                f"{name}: labels {label!r} are left out: there is no label image at {path!r}"
            )
    errors = opened.take_all((yield from run_together(reads)))
    opened.notes += map("labels are left out: {}".format, errors)
    return opened
