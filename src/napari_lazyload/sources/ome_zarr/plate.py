"""Plates and wells: the metadata of a few wells tell what all are taken to be; a mosaic shows them."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from math import ceil, isqrt
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.ome_zarr.batched_metadata import (
    MetadataRead,
    metadata_fetcher,
    run_together,
)
from napari_lazyload.sources.ome_zarr.images import read_image
from napari_lazyload.sources.ome_zarr.mosaic import Look, MosaicSource, Tile
from napari_lazyload.sources.ome_zarr.options import SOME, Options, place, where_is
from napari_lazyload.sources.ome_zarr.source import OpenedNode, ZarrImage
from napari_lazyload.sources.ome_zarr.tolerant import as_count, as_dict, as_dicts, as_text, ome_of
from napari_lazyload.sources.ome_zarr.well_registry import (
    Acquisition,
    Field,
    Well,
    WellRegistry,
    as_acquisition,
    fields_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.core.metadata import ImageMeta
    from napari_lazyload.sources.zarr.node import Node

MOST_PLACES = 1000
"""No plate has so many rows, columns or fields of a well: a larger number is a mistake."""

TRIED = 16
"""Of so many wells the metadata are read, at most, to find one that tells what a field is."""


@dataclass(slots=True)
class OpenedPlate:
    """What a plate or a well gives.

    Parameters
    ----------
    images : list of ZarrImage
        The mosaics; each shows all rows of the table.
    notes : list of str
        What the user should know.
    book : WellRegistry
        Knows the wells.
    template : ZarrImage
        One field, which the others are taken to be like.
    fields : list of Field or None
        The rows of the table of a well alone; None where the rows are wells.
    """

    images: list[ZarrImage]
    notes: list[str]
    book: WellRegistry
    template: ZarrImage
    fields: list[Field] | None = None


def read_plate(node: Node, name: str, options: Options) -> MetadataRead:
    """Read a plate: each acquisition as one mosaic, and its labels as others; returns a `OpenedPlate`.

    Raises
    ------
    SourceOpenError
        If it lists no wells, or none of those that were tried holds an image.
    """
    plate = as_dict(ome_of(node.attributes).get("plate"))
    notes: list[str] = []
    wells = _wells(node, plate, notes)
    if not wells:
        msg = f"{where_is(node)}: the plate lists no wells; expected a list 'wells' with the path of each"
        raise SourceOpenError(msg, where_is(node))
    book = WellRegistry(node.store, wells, metadata_fetcher(node))
    wanted, names = _acquisitions(plate, options, notes)
    templates = yield from _templates(node, book, wanted, options, notes)
    images: list[ZarrImage] = []
    for acquisition, finding in templates.items():
        said = as_count(plate.get("field_count")) if acquisition is None else None
        count = max(said or 1, *(len(_of(book, well, acquisition)) for well in range(len(wells))))
        count = min(count, MOST_PLACES)
        book.capacity[acquisition] = count
        called = " ".join(
            filter(None, (name, names.get(acquisition) if len(templates) > 1 else None))
        )
        tiles = _plate_tiles(wells, count)
        images += _mosaics(book, tiles, acquisition, finding, called)
        notes += finding.notes
    template = next(iter(templates.values())).images[0]
    return OpenedPlate(images, notes, book, template)


def read_well(node: Node, name: str, options: Options) -> MetadataRead:
    """Read a well alone: its fields side by side, each acquisition as one mosaic; returns a `OpenedPlate`.

    Raises
    ------
    SourceOpenError
        If it has no fields, or none that can be opened.
    """
    notes: list[str] = []
    book = WellRegistry(node.store, (Well(node.path),), metadata_fetcher(node))
    fields = fields_of(node)
    book.record(0, fields)
    if not fields:
        msg = f"{where_is(node)}: the well has no fields; expected a list 'images' with the path of each"
        raise SourceOpenError(msg, where_is(node))
    present = list(dict.fromkeys(field.acquisition for field in fields))
    plate = {} if None in present else {"acquisitions": [{"id": one} for one in present]}
    wanted, names = _acquisitions(plate, options, notes)
    templates = yield from _templates(node, book, wanted, options, notes)
    images: list[ZarrImage] = []
    for acquisition, finding in templates.items():
        mine = [
            field for field in fields if acquisition is None or field.acquisition == acquisition
        ]
        tiles = {
            slot: Tile(0, number, fields.index(field))
            for slot, (number, field) in zip(_slots(len(mine)), enumerate(mine), strict=False)
        }
        called = " ".join(
            filter(None, (name, names.get(acquisition) if len(templates) > 1 else None))
        )
        images += _mosaics(book, tiles, acquisition, finding, called)
        notes += finding.notes
    return OpenedPlate(images, notes, book, next(iter(templates.values())).images[0], fields)


def _names(plate: Mapping[str, Any], side: str) -> list[str]:
    return [as_text(one.get("name")) or "" for one in as_dicts(plate.get(side))]


def _index(names: list[str], name: str) -> int | None:
    return names.index(name) if name in names else None


def _wells(node: Node, plate: Mapping[str, Any], notes: list[str]) -> tuple[Well, ...]:
    """Return the wells that a plate lists, in the order of rows and columns."""
    rows, columns = _names(plate, "rows"), _names(plate, "columns")
    found: dict[tuple[int, int], Well] = {}
    moved = 0
    for said in as_dicts(plate.get("wells")):
        path = as_text(said.get("path"))
        if path is None:
            continue
        try:
            inside = place(node, path)
        except SourceOpenError as err:
            notes.append(str(err))
            continue
        names = path.strip("/").split("/")
        row_name, column_name = (names[-2], names[-1]) if len(names) > 1 else ("", names[-1])
        by_name = (_index(rows, row_name), _index(columns, column_name))
        by_number = as_count(said.get("rowIndex")), as_count(said.get("columnIndex"))
        row, column = by_number if None in by_name else by_name
        if (
            row is None or column is None
        ):  # a plate without rows and columns: they come as they are met
            for side, one in ((rows, row_name), (columns, column_name)):
                if one not in side:
                    side.append(one)
            row, column = rows.index(row_name), columns.index(column_name)
        elif None not in by_number and by_number != (row, column):
            moved += 1
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
    return tuple(found[key] for key in sorted(found))


def _acquisitions(
    plate: Mapping[str, Any], options: Options, notes: list[str]
) -> tuple[list[Acquisition], dict[Acquisition, str]]:
    """Return the acquisitions to show (None: all fields as one), and what they are called."""
    listed = as_dicts(plate.get("acquisitions"))
    names: dict[Acquisition, str] = {
        number: as_text(one.get("name")) or f"acquisition {number}"
        for one in listed
        if (number := as_acquisition(one.get("id"))) is not None
    }
    wanted = options.acquisition
    if wanted is not None:
        chosen: list[Acquisition] = [
            key for key, name in names.items() if wanted in (key, str(key), name)
        ]
        if chosen:
            return [chosen[0]], names
        known = ", ".join(f"{number} ({name})" for number, name in names.items()) or "none"
        notes.append(f"there is no acquisition {wanted!r}; all are shown. There are: {known}")
    return (list(names) if len(names) > 1 else [None]), names


def _of(book: WellRegistry, well: int, acquisition: Acquisition) -> list[Field]:
    """Return the fields of a well as far as they are known."""
    fields = book.known_fields(well) or []
    return [field for field in fields if acquisition is None or field.acquisition == acquisition]


def _templates(
    node: Node,
    book: WellRegistry,
    wanted: Sequence[Acquisition],
    options: Options,
    notes: list[str],
) -> MetadataRead:
    """Return for each acquisition what a field of it is, from a few wells."""
    count = len(book.wells)
    spread = list(
        dict.fromkeys((0, count - 1, count // 2, *range(0, count, max(1, count // TRIED))))
    )[:TRIED]
    errors: list[str] = []
    found: dict[Acquisition, OpenedNode] = {}
    for some in (spread[:3], spread[3:]):
        yield from _look_up(book, some, errors)
        for acquisition in wanted:
            fields = [field for well in some for field in _of(book, well, acquisition)[:2]]
            if acquisition not in found and fields:
                alike = yield from _most_alike(fields, options, errors)
                found.update({} if alike is None else {acquisition: alike})
        if len(found) == len(wanted):
            break
    if not found and None not in wanted and any(_of(book, well, None) for well in range(count)):
        notes.append("the fields do not say which acquisition they are of; all are shown as one")
        return (yield from _templates(node, book, [None], options, notes))
    if not found:
        said = "; ".join(list(dict.fromkeys(errors))[:SOME]) or "none of them is there"
        msg = f"{where_is(node)}: expected wells with images; tried {min(count, TRIED)} of {count}: {said}"
        raise SourceOpenError(msg, where_is(node))
    missing = [str(acquisition) for acquisition in wanted if acquisition not in found]
    if missing:
        notes.append(f"no field was found of acquisition {', '.join(missing)}; it is left out")
    return found


def _look_up(book: WellRegistry, wells: Sequence[int], errors: list[str]) -> MetadataRead:
    """Read the metadata of some wells, in one round trip."""
    new = [well for well in wells if book.known_fields(well) is None]
    nodes = yield [book.wells[well].path for well in new]
    for well in new:
        found = nodes.get(book.wells[well].path)
        try:
            if isinstance(found, SourceOpenError):
                raise found
            book.record(well, None if found is None else fields_of(found))
        except SourceOpenError as err:
            errors.append(str(err))


def _most_alike(fields: Sequence[Field], options: Options, errors: list[str]) -> MetadataRead:
    """Return the finding of the first field that is as most of some fields are; None where none can be opened."""
    nodes = yield [field.path for field in fields]
    readings = []
    for field in fields:
        one = nodes.get(field.path)
        if isinstance(one, SourceOpenError):
            errors.append(str(one))
        elif one is not None:
            readings.append(read_image(one, field.path, options))
    forms: dict[Any, list[OpenedNode]] = {}
    for result in (yield from run_together(readings)):
        if isinstance(result, SourceOpenError):
            errors.append(str(result))
        else:
            meta: ImageMeta = result.images[0].source.meta
            forms.setdefault((tuple(level.shape for level in meta.levels), meta.dtype), []).append(
                result
            )
    return max(forms.values(), key=len)[0] if forms else None


def _slots(count: int) -> list[tuple[int, int]]:
    """Return the places of so many fields: a square as near as can be, row by row."""
    columns = max(1, isqrt(count - 1) + 1) if count else 1
    return [divmod(number, columns) for number in range(count)]


def _plate_tiles(wells: Sequence[Well], fields: int) -> dict[tuple[int, int], Tile]:
    slots = _slots(fields)
    columns = 1 + max(column for _, column in slots)
    rows = ceil(fields / columns)
    return {
        (well.row * rows + row, well.column * columns + column): Tile(number, field, number)
        for number, well in enumerate(wells)
        for field, (row, column) in enumerate(slots)
    }


def _mosaics(
    book: WellRegistry,
    tiles: Mapping[tuple[int, int], Tile],
    acquisition: Acquisition,
    finding: OpenedNode,
    name: str,
) -> list[ZarrImage]:
    """Return the mosaic of the field's image, and one of each of its labels."""
    images = []
    for one in finding.images[:1] + [
        other for other in finding.images if other.source.meta.kind == "labels"
    ]:
        meta: ImageMeta = one.source.meta
        label = posixpath.basename(one.path) if meta.kind == "labels" else ""
        shapes = tuple(level.shape for level in meta.levels)
        look = Look(acquisition, label, shapes, meta.dtype)
        called = f"{name} {label}".strip()
        images.append(ZarrImage(MosaicSource(book, tiles, look, meta, called), one.path))
    return images
