"""Plates and wells: a mosaic shows all fields, which are taken to be like those of a few wells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, metadata_fetcher
from napari_lazyload.sources.ome_zarr.fields import (
    Slots,
    Template,
    list_slots,
    read_fields,
    read_slots,
    read_wells,
    shapes_of,
    template_of,
)
from napari_lazyload.sources.ome_zarr.mosaic import FieldImage, MosaicSource, Tile, free_axes
from napari_lazyload.sources.ome_zarr.source import (
    SOME,
    OpenedNode,
    Options,
    ZarrImage,
    columns_of,
    place,
    where_is,
)
from napari_lazyload.sources.ome_zarr.tolerant import as_count, as_dict, as_dicts, as_text, ome_of
from napari_lazyload.sources.ome_zarr.well_registry import (
    Acquisition,
    Field,
    Well,
    WellRegistry,
    as_acquisition,
    fields_of,
    of_acquisition,
)
from napari_lazyload.sources.zarr.store import open_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.opened import Columns
    from napari_lazyload.sources.zarr.node import Node

MOST_PLACES = 1000
"""Most rows, columns, or fields of a well; a larger number in the metadata is a mistake."""

_OF_FIELDS = ("axes", "shape", "chunks", "shards", "levels", "dtype", "codec", "channels")
TRIED = 16
"""Most wells that are read at opening, to find a field that the others are like."""


@dataclass(slots=True)
class OpenedPlate:
    """The images of a plate or a well.

    Parameters
    ----------
    images : list of ZarrImage
        The mosaics; each shows all rows of the table.
    notes : list of str
        Remarks for the user.
    registry : WellRegistry
        The wells.
    template : ZarrImage
        One field, which the others are taken to be like.
    fields : list of Field or None
        The rows of the table of a well alone; None where the rows are wells.
    """

    images: list[ZarrImage]
    notes: list[str]
    registry: WellRegistry
    template: ZarrImage
    fields: list[Field] | None = None


def read_plate(node: Node, name: str, options: Options) -> MetadataRead:
    """Read a plate; returns an `OpenedPlate` with a mosaic for each acquisition and label image.

    Raises
    ------
    SourceOpenError
        If it lists no wells, or none of those that were tried holds an image.
    """
    plate = as_dict(ome_of(node.attributes).get("plate"))
    notes: list[str] = []
    wells = _wells(node, plate, notes)
    if not wells:
        raise open_error(
            where_is(node),
            "the plate lists no wells; expected a list 'wells' with the path of each",
        )
    registry = WellRegistry(node.store, wells, metadata_fetcher(node))
    wanted, names = _acquisitions(plate, options, notes)
    templates = yield from _templates(node, registry, wanted, options, notes)
    images: list[ZarrImage] = []
    for acquisition, template in templates.items():
        listed = as_count(plate.get("field_count")) if acquisition is None else None
        known = map(registry.known_fields, range(len(wells)))
        most = max((of_acquisition(fields, acquisition) for fields in known), key=len)
        slots = yield from read_slots(most[:MOST_PLACES], template, notes)
        if (listed or 1) > len(slots):
            slots = list_slots(min(listed or 1, MOST_PLACES))
        registry.capacity[acquisition] = len(slots)
        title = f"{name} {names[acquisition]}" if len(templates) > 1 else name
        images += _mosaics(registry, _plate_tiles(wells, slots), acquisition, template, title)
        notes += template.field.notes
    return OpenedPlate(images, notes, registry, next(iter(templates.values())).field.images[0])


def read_well(node: Node, name: str, options: Options) -> MetadataRead:
    """Read one well, its fields side by side; returns an `OpenedPlate`, a mosaic an acquisition.

    Raises
    ------
    SourceOpenError
        If it has no fields, or none that can be opened.
    """
    notes: list[str] = []
    registry = WellRegistry(node.store, (Well(node.path),), metadata_fetcher(node))
    fields = fields_of(node)
    registry.record(0, fields)
    if not fields:
        raise open_error(
            where_is(node), "the well has no fields; expected a list 'images' with the path of each"
        )
    present = dict.fromkeys(field.acquisition for field in fields)
    listed = [{"id": acquisition} for acquisition in present]
    plate = {} if None in present else {"acquisitions": listed}
    wanted, names = _acquisitions(plate, options, notes)
    templates = yield from _templates(node, registry, wanted, options, notes)
    images: list[ZarrImage] = []
    for acquisition, template in templates.items():
        shown = of_acquisition(fields, acquisition)
        slots = enumerate((yield from read_slots(shown, template, notes)))
        tiles = {slot: Tile(0, number, fields.index(shown[number])) for number, slot in slots}
        title = f"{name} {names[acquisition]}" if len(templates) > 1 else name
        images += _mosaics(registry, tiles, acquisition, template, title)
        notes += template.field.notes
    typical = next(iter(templates.values())).field.images[0]
    return OpenedPlate(images, notes, registry, typical, fields)


def _wells(node: Node, plate: Mapping[str, Any], notes: list[str]) -> tuple[Well, ...]:
    """Return the wells that a plate lists, in the order of rows and columns.

    A well is at the place of its names, else at that of its indices. A plate without rows and
    columns has those of its wells, in the order of the list.
    """
    rows, columns = _names(plate, "rows"), _names(plate, "columns")
    found: dict[tuple[int, int], Well] = {}
    moved = 0
    for entry in as_dicts(plate.get("wells")):
        path = as_text(entry.get("path"))
        if path is None:
            continue
        try:
            inside = place(node, path)
        except SourceOpenError as err:
            notes.append(str(err))
            continue
        row_name, column_name = ["", *path.strip("/").split("/")][-2:]
        indices = row, column = as_count(entry.get("rowIndex")), as_count(entry.get("columnIndex"))
        if row_name in rows and column_name in columns:
            row, column = rows.index(row_name), columns.index(column_name)
            moved += None not in indices and indices != (row, column)
        if row is None or column is None:
            row, column = _position(rows, row_name), _position(columns, column_name)
        if max(row, column) >= MOST_PLACES:
            notes.append(
                f"the well {path!r} is left out: row {row}, column {column} is on no plate"
            )
        elif (row, column) in found:
            notes.append(
                f"the plate lists two wells at row {row}, column {column}; {path!r} is left out"
            )
        else:
            found[row, column] = Well(inside, row, column, row_name, column_name)
    if moved:
        notes.append(
            f"the indices of {moved} wells do not agree with their names, which are followed"
        )
    return tuple(map(found.__getitem__, sorted(found)))


def _names(plate: Mapping[str, Any], side: str) -> list[str]:
    return [as_text(entry.get("name")) or "" for entry in as_dicts(plate.get(side))]


def _position(names: list[str], name: str) -> int:
    """Return the position of a name in a list, to which it is added if need be."""
    if name not in names:
        names.append(name)
    return names.index(name)


def _acquisitions(
    plate: Mapping[str, Any], options: Options, notes: list[str]
) -> tuple[list[Acquisition], dict[Acquisition, str]]:
    """Return the acquisitions to show (None: all fields as one), and the names of all."""
    names: dict[Acquisition, str] = {}
    for entry in as_dicts(plate.get("acquisitions")):
        number = as_acquisition(entry.get("id"))
        if number is not None:
            names[number] = as_text(entry.get("name")) or f"acquisition {number}"
    wanted = options.acquisition
    if wanted is not None:
        for number, name in names.items():
            if wanted in (number, str(number), name):
                return [number], names
        notes.append(
            f"there is no acquisition {wanted!r}; all are shown. There are: "
            f"{', '.join(map('{0[0]} ({0[1]})'.format, names.items())) or 'none'}"
        )
    return (list(names) if len(names) > 1 else [None]), names


def _templates(
    node: Node,
    registry: WellRegistry,
    wanted: Sequence[Acquisition],
    options: Options,
    notes: list[str],
) -> MetadataRead:
    """Return the template of each acquisition, from a few wells.

    Where fields may differ in planes or times, more wells are read, so that the longest is known.
    """
    count = len(registry.wells)
    spread = (0, count - 1, count // 2, *range(0, count, max(1, count // TRIED)))
    tried = list(dict.fromkeys(spread))[:TRIED]
    errors: list[str] = []
    read: dict[Acquisition, list[OpenedNode]] = {acquisition: [] for acquisition in wanted}
    for some in (tried[:3], tried[3:]):
        yield from read_wells(registry, some, errors)
        for acquisition in wanted:
            fields: list[Field] = []
            for well in some:
                fields += of_acquisition(registry.known_fields(well), acquisition)[:2]
            read[acquisition] += yield from read_fields(registry, fields, options, errors)
        first = [opened[0].images[0].source.meta for opened in read.values() if opened]
        if len(first) == len(wanted) and not any(map(free_axes, first)):
            break
    found = {acquisition: template_of(opened) for acquisition, opened in read.items() if opened}
    if not found and None not in wanted and any(map(registry.known_fields, range(count))):
        notes.append("the fields do not say which acquisition they are of; all are shown as one")
        return (yield from _templates(node, registry, [None], options, notes))
    if not found:
        reasons = "; ".join(list(dict.fromkeys(errors))[:SOME]) or "none of them is there"
        raise open_error(
            where_is(node),
            f"expected wells with images; tried {min(count, TRIED)} of {count}: {reasons}",
        )
    missing = [str(acquisition) for acquisition in wanted if acquisition not in found]
    if missing:
        notes.append(f"no field was found of acquisition {', '.join(missing)}; it is left out")
    return found


def _plate_tiles(wells: Sequence[Well], slots: Slots) -> dict[tuple[int, int], Tile]:
    """Return the field at each place of a plate; `slots` are those of the fields in a well."""
    rows, columns = np.max(slots, axis=0).tolist()
    tiles = {}
    for number, well in enumerate(wells):
        for field, (row, column) in enumerate(slots):
            spot = (well.row * (rows + 1) + row, well.column * (columns + 1) + column)
            tiles[spot] = Tile(number, field, number)
    return tiles


def _mosaics(
    registry: WellRegistry,
    tiles: Mapping[tuple[int, int], Tile],
    acquisition: Acquisition,
    template: Template,
    name: str,
) -> list[ZarrImage]:
    """Return the mosaic of the field's first image, and one of each of its labels."""
    mosaics = []
    for label, meta in template.metas.items():
        field = FieldImage(acquisition, label, shapes_of(meta), meta.dtype, free_axes(meta))
        source = MosaicSource(registry, tiles, field, meta, f"{name} {label}".strip())
        mosaics.append(ZarrImage(source, template.field.images[0].path))
    return mosaics


def plate_columns(opened: OpenedPlate) -> Columns:
    """Return a row for each well of a plate, or for each field of a well.

    The columns of fields are known only for wells that were read.
    """
    template, registry = opened.template.row, opened.registry
    alike = {name: template[name] for name in _OF_FIELDS}
    size = template["size_bytes"]
    if opened.fields is not None:
        return columns_of(
            [
                {"path": one.path, "acquisition": one.acquisition, **alike, "size_bytes": size}
                for one in opened.fields
            ]
        )
    rows: list[dict[str, Any]] = []
    for number, well in enumerate(registry.wells):
        fields = registry.known_fields(number)
        row: dict[str, Any] = {
            "well": f"{well.row_name}{well.column_name}",
            "row": well.row_name,
            "column": well.column_name,
            "path": well.path,
        }
        row |= {"fields": None, **dict.fromkeys(alike), "size_bytes": None}
        if fields:
            row |= alike
            arrays = registry.known_arrays(fields[0], "")
            if arrays:
                row["shape"] = " x ".join(map(str, arrays[0].shape))
        if fields is not None:
            row |= {"fields": len(fields), "size_bytes": len(fields) * size}
        rows.append(row)
    columns = columns_of(rows)
    for name in ("fields", *alike, "size_bytes"):
        columns[name] = np.array(columns[name], object)
    return columns
