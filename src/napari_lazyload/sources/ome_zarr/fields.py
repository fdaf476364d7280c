"""The fields of a plate that are read at opening: what the others are like, and where they lie."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, run_together
from napari_lazyload.sources.ome_zarr.images import read_image
from napari_lazyload.sources.ome_zarr.mosaic import free_axes, mosaic_axes
from napari_lazyload.sources.ome_zarr.multiscales import read_placements
from napari_lazyload.sources.ome_zarr.source import OpenedNode, Options, ZarrImage, ZarrSource
from napari_lazyload.sources.ome_zarr.tolerant import multiscales_of
from napari_lazyload.sources.ome_zarr.well_registry import Field, WellRegistry, fields_of
from napari_lazyload.sources.zarr.node import Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.metadata import ImageMeta, LevelMeta

Shapes = tuple[tuple[int, ...], ...]
Slots = list[tuple[int, int]]


def read_wells(registry: WellRegistry, wells: Sequence[int], errors: list[str]) -> MetadataRead:
    """Read some wells, in one round trip."""
    new = [well for well in wells if registry.known_fields(well) is None]
    paths = {well: registry.wells[well].path for well in new}
    nodes = yield list(paths.values())
    for well, path in paths.items():
        found = nodes.get(path)
        try:
            if isinstance(found, SourceOpenError):
                raise found
            registry.record(well, None if found is None else fields_of(found))
        except SourceOpenError as err:
            errors.append(str(err))


def read_fields(
    registry: WellRegistry, fields: Sequence[Field], options: Options, errors: list[str]
) -> MetadataRead:
    """Read some fields, whose arrays the registry keeps; returns an `OpenedNode` of each."""
    nodes = yield [field.path for field in fields]
    reads = []
    for field in fields:
        found = nodes.get(field.path)
        if isinstance(found, SourceOpenError):
            errors.append(str(found))
        elif found is not None:
            reads.append(read_image(found, field.path, options, align=False))
    opened: list[OpenedNode] = []
    for result in (yield from run_together(reads)):
        if isinstance(result, SourceOpenError):
            errors.append(str(result))
            continue
        opened.append(result)
        source = result.images[0].source
        if isinstance(source, ZarrSource):
            registry.record_arrays(result.images[0].path, source.arrays)
    return opened


# --- What the others are like
# --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Template:
    """A field that the others of an acquisition are taken to be like.

    Parameters
    ----------
    field : OpenedNode
        The field.
    metas : dict of str to ImageMeta
        Its image (by ""), and its label images by name; along the axes in which fields may differ
        they are as long as the longest field that was read.
    starts : dict of str to (float, ...) or None
        Where the first pixel of each field that was read lies, by its path.
    """

    field: OpenedNode
    metas: dict[str, ImageMeta]
    starts: dict[str, tuple[float, ...] | None]


def template_of(read: Sequence[OpenedNode]) -> Template:
    """Return the template of fields: the largest one of the most frequent kind."""
    groups: dict[Any, list[OpenedNode]] = {}
    for opened in read:
        groups.setdefault(_kind(opened.images[0].source.meta), []).append(opened)
    alike = max(groups.values(), key=len)
    typical = max(alike, key=lambda opened: prod(opened.images[0].source.meta.shape))
    metas: dict[str, ImageMeta] = {}
    for image in typical.images:
        meta, label = image.source.meta, _label_of(image)
        if label in metas:  # of several images of a field the first is shown
            continue
        others = [one for opened in alike for one in opened.images if _label_of(one) == label]
        same = [one.source.meta for one in others if _kind(one.source.meta) == _kind(meta)]
        longest = np.max(list(map(shapes_of, same)), axis=0).tolist()
        levels = tuple(map(_lengthened, meta.levels, map(tuple, longest)))
        metas[label] = replace(meta, levels=levels)
    first = [opened.images[0] for opened in read]
    return Template(typical, metas, {one.path: one.source.meta.translate for one in first})


def _label_of(image: ZarrImage) -> str:
    return posixpath.basename(image.path) if image.source.meta.kind == "labels" else ""


def shapes_of(meta: ImageMeta) -> Shapes:
    """Return the shape of each level."""
    return tuple(level.shape for level in meta.levels)


def _kind(meta: ImageMeta) -> Any:
    """Return what fields of one mosaic have in common."""
    fixed = np.delete(shapes_of(meta), free_axes(meta), axis=1)
    return fixed.tobytes(), fixed.shape, meta.axes, meta.dtype


def _lengthened(level: LevelMeta, shape: tuple[int, ...]) -> LevelMeta:
    """Return a level of another shape, with further chunks where it is longer."""
    chunks = []
    for edge, old, new in zip(level.grid.chunks, level.shape, shape, strict=True):
        chunks.append((*edge, new - old) if isinstance(edge, tuple) and new > old else edge)
    return replace(level, grid=ChunkGrid(shape, tuple(chunks)))


# --- Where they lie
# --------------------------------------------------------------------------------------------------


def list_slots(count: int) -> Slots:
    """Return the places of fields in the order of the list: rows of a square as near as can be."""
    columns = 1 + isqrt(count - 1)
    return [divmod(number, columns) for number in range(count)]


def read_slots(fields: Sequence[Field], template: Template, notes: list[str]) -> MetadataRead:
    """Return the row and column of each field of a well: by their positions, where they tell them.

    Positions are those of their first pixels. Where they make no grid, the order of the list is
    kept, and a note says so.
    """
    slots, meta = list_slots(len(fields)), template.metas[""]
    if len({template.starts.get(field.path) for field in fields[:2]}) < 2:
        return slots
    nodes = yield [field.path for field in fields]
    starts = [_start(nodes.get(field.path), meta) for field in fields]
    known = [start for start in starts if start is not None]
    along, scale = mosaic_axes(meta), np.array(meta.scale or np.ones(len(meta.shape)))
    sides = (np.array(meta.shape)[list(along)] * scale[list(along)]).tolist()
    ranks = [_ranks(*pair) for pair in zip(np.transpose(known), sides, strict=True)]
    spots = list(zip(*ranks, strict=True))
    area = prod(1 + max(rank) for rank in ranks)
    if len(known) == len(starts) == len(set(spots)) and area <= 2 * len(spots):
        return spots
    notes.append("the positions of its fields make no grid, so they lie in the order of the list")
    return slots


def _start(node: Node | SourceOpenError | None, meta: ImageMeta) -> tuple[float, ...] | None:
    """Return where the first pixel of a field lies along the axes of the mosaic."""
    entries = multiscales_of(node.attributes) if isinstance(node, Node) else []
    try:
        matrices = [read_placements(entry, meta.shape, "").matrices for entry in entries[:1]]
    except SourceOpenError:
        return None
    if not matrices or not matrices[0] or matrices[0][0] is None:
        return None
    return tuple(matrices[0][0][list(mosaic_axes(meta)), -1].tolist())


def _ranks(starts: Sequence[float], side: float) -> list[int]:
    """Return the number of the row (or column) of each start; rows are over half a side apart."""
    order = np.argsort(starts)
    steps = np.diff(np.take(starts, order)) > side / 2
    ranks = np.empty(len(order), int)
    ranks[order] = [0, *np.cumsum(steps)]
    return ranks.tolist()
