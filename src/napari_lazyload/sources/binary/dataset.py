"""What the modules of binary formats share: from a source to `OpenResult`, default axes, safe names of data files."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.source import paths_of
from napari_lazyload.sources.binary.strided import StridedFileSource
from napari_lazyload.sources.files import file_name, in_table
from napari_lazyload.sources.opened import IMAGE, OpenResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.opened import RowSource


def binary_result(
    path: str,
    kind: str,
    sources: Sequence[RowSource],
    headers: Sequence[Mapping[str, Any]],
    *,
    names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    skipped: Mapping[str, Sequence[str]] | None = None,
) -> OpenResult:
    """Return what opening a binary gives.

    Parameters
    ----------
    path : str
        Absolute path of what was opened.
    kind : str
        What it is, for people.
    sources : sequence of RowSource
        One for each image.
    headers : sequence of mapping
        For each image what its header says; a NumPy array or list as long as the rows of the image
        has a value for each of them, anything else is repeated.
    names : sequence of str, optional
        The file of each image; the one that was opened by default.
    notes : sequence of str
        What the user should be told.
    skipped : mapping of str to sequence of str, optional
        What was left out, by reason.
    """
    sources = [
        source.with_strided_levels() if isinstance(source, StridedFileSource) else source
        for source in sources
    ]
    headers = [
        {**header, **_overview(source)} for header, source in zip(headers, sources, strict=True)
    ]
    counts = [_rows(source) for source in sources]
    starts = np.cumsum([0, *counts])
    skipped = dict(skipped or {})

    def columns() -> dict[str, Any]:
        return _columns(path, kind, sources, headers, names or [file_name(path)] * len(sources))

    return OpenResult(
        path=path,
        kind=kind,
        sources=tuple(sources),
        rows=tuple(
            range(int(start), int(start) + count)
            for start, count in zip(starts, counts, strict=False)
        ),
        columns=columns,
        files={path, *chain.from_iterable(map(paths_of, sources))},
        skipped={reason: len(found) for reason, found in skipped.items()},
        left_out={reason: list(found) for reason, found in skipped.items()},
        notes=list(notes),
        row_name="frame" if any(source.row_map.axes for source in sources) else "image",
        where=lambda: path,
    )


def _overview(source: RowSource) -> dict[str, str]:
    """Return which pixels the coarse levels of an image have, for its table."""
    meta = source.meta
    if not isinstance(source, StridedFileSource) or len(meta.levels) == 1:
        return {}
    said = (
        ", ".join(
            f"{axis} {factor:g}"
            for axis, factor in zip(meta.axes, level.factors, strict=True)
            if factor > 1
        )
        for level in meta.levels[1:]
    )
    return {"coarse_levels": "; ".join(f"every k-th pixel: {one}" for one in said)}


def _rows(source: RowSource) -> int:
    return source.row_map.count


def _columns(
    path: str,
    kind: str,
    sources: Sequence[RowSource],
    headers: Sequence[Mapping[str, Any]],
    names: Sequence[str],
) -> dict[str, Any]:
    """Return the columns of the meta table, image after image."""
    try:
        found = os.stat(path)
        size, changed = float(found.st_size), _moment(found.st_mtime_ns)
    except OSError:
        size, changed = np.nan, _moment("NaT")
    table: dict[str, list[Any]] = {}
    done = 0
    for number, (source, header, name) in enumerate(zip(sources, headers, names, strict=True)):
        count, meta = _rows(source), source.meta
        fields: dict[str, Any] = {"original_filename": name}
        if len(sources) > 1:
            fields |= {IMAGE: number, "name": meta.name}
        fields |= {axis: _along(source, place) for place, axis in enumerate(source.row_map.axes)}
        fields |= {
            "shape": " x ".join(map(str, meta.shape)),
            "dtype": str(meta.dtype),
            "format": kind,
        }
        fields |= {"size_bytes": size, "modified": changed} | dict(header)
        for field in dict.fromkeys([*table, *fields]):
            cells = _cells(fields.get(field, ""), count)
            table.setdefault(field, [""] * done).extend(cells)
        done += count
    return {field: _as_column(cells) for field, cells in table.items()}


def _moment(value: Any) -> Any:
    return np.datetime64(value, "ns")


def _along(source: RowSource, axis: int) -> list[int]:
    return [source.row_map.index_of(row)[axis] for row in range(_rows(source))]


def _cells(value: Any, count: int) -> list[Any]:
    if (
        isinstance(value, (list, np.ndarray))
        and np.shape(value)[:1] == (count,)
        and np.ndim(value) == 1
    ):
        return [one if isinstance(one, np.datetime64) else in_table(one) for one in value]
    return [value if isinstance(value, np.datetime64) else in_table(value)] * count


def _as_column(cells: list[Any]) -> np.ndarray[Any, Any]:
    kinds = {type(cell) for cell in cells}
    if kinds <= {bool} or kinds <= {int, float} or kinds == {np.datetime64}:
        try:
            return np.array(cells)
        except OverflowError:
            pass
    column = np.empty(len(cells), object)
    column[:] = cells
    return column
