"""Plates and wells: a mosaic shows all fields, which are taken to be like those of a few wells."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from math import ceil, isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.batched_metadata import (
    MetadataRead,
    metadata_fetcher,
    run_together,
)
from napari_lazyload.sources.ome_zarr.images import read_image
from napari_lazyload.sources.ome_zarr.mosaic import FieldImage, MosaicSource, Tile
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

    from napari_lazyload.core.metadata import ImageMeta
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
    for acquisition, field in templates.items():
        listed = as_count(plate.get("field_count")) if acquisition is None else None
        known = map(registry.known_fields, range(len(wells)))
        most = max(len(of_acquisition(fields, acquisition)) for fields in known)
        count = min(max(listed or 1, most), MOST_PLACES)
        registry.capacity[acquisition] = count
        title = f"{name} {names[acquisition]}" if len(templates) > 1 else name
        images += _mosaics(registry, _plate_tiles(wells, count), acquisition, field, title)
        notes += field.notes
    return OpenedPlate(images, notes, registry, next(iter(templates.values())).images[0])


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
    for acquisition, field in templates.items():
        shown = of_acquisition(fields, acquisition)
        slots = enumerate(_slots(len(shown)))
        tiles = {slot: Tile(0, number, fields.index(shown[number])) for number, slot in slots}
        title = f"{name} {names[acquisition]}" if len(templates) > 1 else name
        images += _mosaics(registry, tiles, acquisition, field, title)
        notes += field.notes
    return OpenedPlate(images, notes, registry, next(iter(templates.values())).images[0], fields)


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
    """Return a typical field of each acquisition, from a few wells."""
    count = len(registry.wells)
    spread = (0, count - 1, count // 2, *range(0, count, max(1, count // TRIED)))
    tried = list(dict.fromkeys(spread))[:TRIED]
    errors: list[str] = []
    found: dict[Acquisition, OpenedNode] = {}
    for some in (tried[:3], tried[3:]):
        yield from _read_wells(registry, some, errors)
        for acquisition in [one for one in wanted if one not in found]:
            fields: list[Field] = []
            for well in some:
                fields += of_acquisition(registry.known_fields(well), acquisition)[:2]
            typical = yield from _typical_field(fields, options, errors)
            if typical is not None:
                found[acquisition] = typical
        if len(found) == len(wanted):
            break
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


def _read_wells(registry: WellRegistry, wells: Sequence[int], errors: list[str]) -> MetadataRead:
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


def _typical_field(fields: Sequence[Field], options: Options, errors: list[str]) -> MetadataRead:
    """Return the first field with the most frequent shape; None where none can be opened."""
    nodes = yield [field.path for field in fields]
    reads = []
    for field in fields:
        found = nodes.get(field.path)
        if isinstance(found, SourceOpenError):
            errors.append(str(found))
        elif found is not None:
            reads.append(read_image(found, field.path, options))
    alike: dict[Any, list[OpenedNode]] = {}
    for result in (yield from run_together(reads)):
        if isinstance(result, SourceOpenError):
            errors.append(str(result))
        else:
            meta: ImageMeta = result.images[0].source.meta
            alike.setdefault((_shapes(meta), meta.dtype), []).append(result)
    return max(alike.values(), key=len)[0] if alike else None


def _shapes(meta: ImageMeta) -> tuple[tuple[int, ...], ...]:
    return tuple(level.shape for level in meta.levels)


def _columns(count: int) -> int:
    """Return the columns of the smallest square that has `count` places."""
    return 1 + isqrt(count - 1)


def _slots(count: int) -> list[tuple[int, int]]:
    """Return the places of fields: a square as near as can be, row by row."""
    return [divmod(number, _columns(count)) for number in range(count)]


def _plate_tiles(wells: Sequence[Well], count: int) -> dict[tuple[int, int], Tile]:
    """Return the field at each place of a plate, `count` fields a well."""
    columns = _columns(count)
    rows = ceil(count / columns)
    tiles = {}
    for number, well in enumerate(wells):
        for field, (row, column) in enumerate(_slots(count)):
            spot = (well.row * rows + row, well.column * columns + column)
            tiles[spot] = Tile(number, field, number)
    return tiles


def _mosaics(
    registry: WellRegistry,
    tiles: Mapping[tuple[int, int], Tile],
    acquisition: Acquisition,
    field: OpenedNode,
    name: str,
) -> list[ZarrImage]:
    """Return the mosaic of the field's first image, and one of each of its labels."""
    mosaics = []
    for number, image in enumerate(field.images):
        meta: ImageMeta = image.source.meta
        if number and meta.kind != "labels":
            continue
        label = posixpath.basename(image.path) if meta.kind == "labels" else ""
        mosaics.append(
            ZarrImage(
                MosaicSource(
                    registry,
                    tiles,
                    FieldImage(acquisition, label, _shapes(meta), meta.dtype),
                    meta,
                    f"{name} {label}".strip(),
                ),
                image.path,
            )
        )
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
        if fields is not None:
            row |= {"fields": len(fields), "size_bytes": len(fields) * size}
        rows.append({**row, **alike} if fields else row)
    columns = columns_of(rows)
    for name in ("fields", *alike, "size_bytes"):
        columns[name] = np.array(columns[name], object)
    return columns
