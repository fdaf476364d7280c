"""From a group with ``multiscales`` to images and their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_entry import Entry
from napari_lazyload.sources.ome_multiscale import dataset_paths
from napari_lazyload.sources.ome_nodes import LABELS, Options, place, where_is
from napari_lazyload.sources.ome_reading import Reading, together
from napari_lazyload.sources.ome_source import Finding
from napari_lazyload.sources.ome_values import as_dicts, as_list, as_text, ome_of, version_note

if TYPE_CHECKING:
    from napari_lazyload.core.metadata import Kind
    from napari_lazyload.sources.zarr_node import Node


def read_image(node: Node, name: str, options: Options, *, kind: Kind = "image") -> Reading:
    """Read the images of a group with ``multiscales``, and their labels; returns a `Finding`.

    Raises
    ------
    SourceOpenError
        If not one of them can be opened.
    """
    entries = as_dicts(ome_of(node.attributes).get("multiscales"))
    too_many = options.too_many(len(entries))
    entries = entries[: options.max_images]
    if not entries:
        msg = f"{where_is(node)}: its 'multiscales' are empty; expected a list of images with their arrays"
        raise SourceOpenError(msg, where_is(node))
    group = place(node, LABELS)
    arrays = [_place_or_none(node, path) for entry in entries for path in dataset_paths(entry)]
    nodes = yield [*filter(None, arrays), *([group] if options.labels and kind == "image" else [])]
    finding = Finding(notes=too_many)
    if (note := version_note(node.attributes)) is not None:
        finding.notes.append(f"{name}: {note}")
    errors = []
    for number, entry in enumerate(entries):
        called = name if len(entries) == 1 else f"{name} {as_text(entry.get('name')) or number}"
        try:
            finding.take(Entry(node, entry, called, kind, options).finding(nodes))
        except SourceOpenError as err:
            errors.append(err)
    if not finding.images:
        raise errors[0]
    finding.notes += [str(err) for err in errors]
    above = nodes.get(group)
    if options.labels and kind == "image" and above is not None and not isinstance(above, SourceOpenError):
        finding.take((yield from read_labels(above, name, options)))
    return finding


def _place_or_none(node: Node, path: str) -> str | None:
    try:
        return place(node, path)
    except SourceOpenError:  # said where the level is made
        return None


def read_labels(node: Node, name: str, options: Options) -> Reading:
    """Read every label image of a ``labels`` group; returns a `Finding`, empty where there is none.

    Labels are named after the image, where it has a name.
    """
    listed = [one for one in map(as_text, as_list(ome_of(node.attributes).get("labels"))) if one]
    names = listed or [one for one in node.children() or () if not one.startswith(".")]
    finding = Finding(notes=options.too_many(len(names)))
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
        elif found is None or "multiscales" not in ome_of(found.attributes):
            if listed:
                finding.notes.append(f"{name}: labels {one!r} are left out: there is no label image at {path!r}")
        else:
            readings.append(read_image(found, f"{name} {one}".strip(), options, kind="labels"))
    for result in (yield from together(readings)):
        if isinstance(result, SourceOpenError):
            finding.notes.append(f"labels are left out: {result}")
        else:
            finding.take(result)
    return finding
