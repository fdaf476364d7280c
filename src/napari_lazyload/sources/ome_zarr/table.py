"""The columns of the meta table for Zarr stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.opened import IMAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.sources.ome_zarr.plate import OpenedPlate
    from napari_lazyload.sources.ome_zarr.source import ZarrImage
    from napari_lazyload.sources.opened import Columns

_OF_FIELDS = ("axes", "shape", "chunks", "shards", "levels", "dtype", "codec", "channels")


def image_columns(images: Sequence[ZarrImage]) -> Columns:
    """Return a row for each image, series or label image."""
    rows = [one.row for one in images]
    numbers = {IMAGE: list(range(len(rows)))} if len(rows) > 1 else {}
    return {**numbers, **{name: [row[name] for row in rows] for name in rows[0]}}


def plate_columns(finding: OpenedPlate) -> Columns:
    """Return a row for each well of a plate, or for each field of a well.

    What a field is like is told of wells that were read; ``fields`` of the others is not known.
    """
    about, book = finding.template.row, finding.book
    if finding.fields is not None:
        size = about["size_bytes"]
        rows = [
            {"path": one.path, "acquisition": one.acquisition, **_like(about), "size_bytes": size}
            for one in finding.fields
        ]
        return {name: [row[name] for row in rows] for name in rows[0]}
    columns: dict[str, Any] = {
        "well": [f"{well.row_name}{well.column_name}" for well in book.wells],
        "row": [well.row_name for well in book.wells],
        "column": [well.column_name for well in book.wells],
        "path": [well.path for well in book.wells],
    }
    known = [book.known_fields(number) for number in range(len(book.wells))]
    columns["fields"] = np.array(
        [None if fields is None else len(fields) for fields in known], object
    )
    for name, value in _like(about).items():
        columns[name] = np.array([value if fields else None for fields in known], object)
    sizes = [None if fields is None else len(fields) * about["size_bytes"] for fields in known]
    columns["size_bytes"] = np.array(sizes, object)
    return columns


def _like(about: dict[str, Any]) -> dict[str, Any]:
    return {name: about[name] for name in _OF_FIELDS}
