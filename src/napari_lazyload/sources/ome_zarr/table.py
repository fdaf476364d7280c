"""The columns of the meta table for Zarr stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.opened import IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.ome_zarr.plate import OpenedPlate
    from napari_lazyload.sources.ome_zarr.source import ZarrImage
    from napari_lazyload.sources.opened import Columns

    Row = Mapping[str, Any]

_OF_FIELDS = ("axes", "shape", "chunks", "shards", "levels", "dtype", "codec", "channels")


def image_columns(images: Sequence[ZarrImage]) -> Columns:
    """Return a row for each image, series or label image."""
    columns = _columns([image.row for image in images])
    return {IMAGE: list(range(len(images))), **columns} if len(images) > 1 else columns


def plate_columns(opened: OpenedPlate) -> Columns:
    """Return a row for each well of a plate, or for each field of a well.

    The columns of fields are known only for wells that were read.
    """
    template, registry = opened.template.row, opened.registry
    alike = {name: template[name] for name in _OF_FIELDS}
    size = template["size_bytes"]
    if opened.fields is not None:
        known = {**alike, "size_bytes": size}
        return _columns(
            [{"path": one.path, "acquisition": one.acquisition, **known} for one in opened.fields]
        )
    rows: list[Row] = []
    for number, well in enumerate(registry.wells):
        fields = registry.known_fields(number)
        title = f"{well.row_name}{well.column_name}"
        row: dict[str, Any] = {
            "well": title,
            "row": well.row_name,
            "column": well.column_name,
            "path": well.path,
        }
        row |= {"fields": None, **dict.fromkeys(alike), "size_bytes": None}
        if fields is not None:
            row |= {"fields": len(fields), "size_bytes": len(fields) * size}
        rows.append({**row, **alike} if fields else row)
    columns = _columns(rows)
    for name in ("fields", *alike, "size_bytes"):
        columns[name] = np.array(columns[name], object)
    return columns


def _columns(rows: Sequence[Row]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in rows[0]:
        columns[name] = [row[name] for row in rows]
    return columns
