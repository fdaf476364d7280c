"""From a group with ``multiscales`` to images and their labels."""

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
    as_list,
    as_text,
    multiscales_of,
    ome_of,
    version_note,
)

if TYPE_CHECKING:
    from napari_lazyload.core.metadata import ImageMeta, Kind
    from napari_lazyload.sources.zarr.node import Node


def read_image(
    node: Node, name: str, options: Options, *, kind: Kind = "image", over: ImageMeta | None = None
) -> MetadataRead:
    """Read the images of a group with ``multiscales``, and their labels; returns a `OpenedNode`.

    Labels that do not say where they lie are laid over an image, where one is given.

    Raises
    ------
    SourceOpenError
        If not one of them can be opened.
    """
    entries = multiscales_of(node.attributes)
    too_many = options.too_many(len(entries))
    entries = entries[: options.max_images]
    if not entries:
        msg = f"{where_is(node)}: its 'multiscales' are empty; expected a list of images with their arrays"
        raise SourceOpenError(msg, where_is(node))
    group = place(node, LABELS)
    nodes = yield [*level_places(node), *([group] if options.labels and kind == "image" else [])]
    finding = OpenedNode(notes=too_many)
    if (note := version_note(node.attributes)) is not None:
        finding.notes.append(f"{name}: {note}")
    errors = []
    for number, entry in enumerate(entries):
        called = name if len(entries) == 1 else f"{name} {as_text(entry.get('name')) or number}"
        try:
            finding.take(ImageBuilder(node, entry, called, kind, options, over).finding(nodes))
        except SourceOpenError as err:
            errors.append(err)
    if not finding.images:
        raise errors[0]
    finding.notes += [str(err) for err in errors]
    above = nodes.get(group)
    if (
        options.labels
        and kind == "image"
        and above is not None
        and not isinstance(above, SourceOpenError)
    ):
        labelled = finding.images[0].source.meta
        found: OpenedNode = yield from read_labels(above, name, options, over=labelled)
        finding.take(found)
        finding.notes += [
            note for one in found.images if (note := _crossed_axes(one.source.meta, labelled))
        ]
    return finding


def _crossed_axes(labels: ImageMeta, image: ImageMeta) -> str | None:
    """Return what to say of labels whose sliders would move other axes of the image."""
    mine, others = _layer_axes(labels), _layer_axes(image)
    common = min(len(mine), len(others))
    if mine[-common:] == others[-common:]:
        return None
    return (
        f"{labels.name}: it has the axes {', '.join(mine)}, and the image {', '.join(others)}; viewers count axes from "
        "the last, so that they do not lie over each other on all of them"
    )


def _layer_axes(meta: ImageMeta) -> list[str]:
    left_out = (RGB_AXIS, CHANNEL_AXIS) if meta.channels else (RGB_AXIS,)
    return [axis.lower() for axis in meta.axes if axis not in left_out]


def level_places(node: Node) -> list[str]:
    """Return where the levels of all images of a group are, within the store."""
    found = []
    for entry in multiscales_of(node.attributes):
        for path in dataset_paths(entry):
            with suppress(
                SourceOpenError
            ):  # that it leads out of the store is said where the level is made
                found.append(place(node, path))
    return found


def read_labels(
    node: Node, name: str, options: Options, over: ImageMeta | None = None
) -> MetadataRead:
    """Read every label image of a ``labels`` group; returns a `OpenedNode`, empty where there is none.

    Labels are named after the image, where it has a name.
    """
    listed = [one for one in map(as_text, as_list(ome_of(node.attributes).get("labels"))) if one]
    names = listed or [one for one in node.children() or () if not one.startswith(".")]
    finding = OpenedNode(notes=options.too_many(len(names)))
    paths: dict[str, str] = {}
    for one in names[: options.max_images]:
        try:
            paths[one] = place(node, one)
        except SourceOpenError as err:
            finding.notes.append(str(err))
    nodes = yield list(paths.values())
    readings = []
    for one, path in paths.items():
        found = nodes.get(path)
        if isinstance(found, SourceOpenError):
            finding.notes.append(f"labels {one!r} are left out: {found}")
        elif found is None or not multiscales_of(found.attributes):
            if listed:
                finding.notes.append(
                    f"{name}: labels {one!r} are left out: there is no label image at {path!r}"
                )
        else:
            readings.append(
                read_image(found, f"{name} {one}".strip(), options, kind="labels", over=over)
            )
    for result in (yield from run_together(readings)):
        if isinstance(result, SourceOpenError):
            finding.notes.append(f"labels are left out: {result}")
        else:
            finding.take(result)
    return finding
