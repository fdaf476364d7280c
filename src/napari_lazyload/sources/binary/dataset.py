"""What opening a binary gives: its sources, the table of its headers, and notes."""

from __future__ import annotations

import os
from itertools import accumulate, chain, pairwise, starmap
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.source import paths_of
from napari_lazyload.sources.binary.compressed import PackedSource, packed_notes
from napari_lazyload.sources.binary.read_strided import check_extent
from napari_lazyload.sources.binary.strided import StridedFileSource
from napari_lazyload.sources.files import file_name, in_table
from napari_lazyload.sources.opened import IMAGE, OpenResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.sources.binary.strided import StridedLayout
    from napari_lazyload.sources.files import FileStamp
    from napari_lazyload.sources.opened import RowSource


def binary_result(
    path: str,
    kind: str,
    sources: Sequence[RowSource],
    headers: Sequence[Mapping[str, Any]],
    *,
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
    notes : sequence of str
        What the user should be told.
    skipped : mapping of str to sequence of str, optional
        What was left out, by reason.
    """
    sources = tuple(map(_with_levels, sources))
    headers = [
        {**header, **_overview(source)} for header, source in zip(headers, sources, strict=True)
    ]
    ends = accumulate(source.row_map.count for source in sources)
    left_out = {reason: list(names) for reason, names in (skipped or {}).items()}

    def columns() -> dict[str, Any]:
        return _columns(path, kind, sources, headers)

    return OpenResult(
        path=path,
        kind=kind,
        sources=sources,
        rows=tuple(starmap(range, pairwise((0, *ends)))),
        columns=columns,
        files={path, *chain.from_iterable(map(paths_of, sources))},
        skipped=dict(zip(left_out, map(len, left_out.values()), strict=True)),
        left_out=left_out,
        notes=[*notes, *chain.from_iterable(map(packed_notes, sources))],
        row_name="frame" if any(source.row_map.axes for source in sources) else "image",
        where=lambda: path,
    )


def file_source(
    layout: StridedLayout,
    file: tuple[str, FileStamp],
    codec: str,
    name: str,
    axes: tuple[str, ...],
    *,
    exact: bool = True,
    **meta: Any,
) -> StridedFileSource | PackedSource:
    """Return the source of an image in one file.

    Parameters
    ----------
    layout : StridedLayout
        Of the pixels.
    file : (str, FileStamp)
        Absolute path, and its stamp.
    codec : str
        How the file is compressed, "" if it is not.
    name : str
        Of the image.
    axes : tuple of str
        Names, slowest first.
    exact : bool
        Whether bytes behind the pixels are refused; only where the file is not compressed.
    **meta
        More arguments of the source.

    Raises
    ------
    SourceOpenError
        If the file is too short or too long.
    """
    if codec:
        return PackedSource(layout, file, codec, name, axes, **meta)
    check_extent(file[0], file[1].size, layout.end, exact=exact)
    return StridedFileSource(layout, [file], name, axes, **meta)


def _with_levels(source: RowSource) -> RowSource:
    return source.with_strided_levels() if isinstance(source, StridedFileSource) else source


def _overview(source: RowSource) -> dict[str, str]:
    """Return which pixels the coarse levels of an image have, as a column of its table."""
    meta = source.meta
    if not isinstance(source, StridedFileSource) or len(meta.levels) == 1:
        return {}
    texts = []
    for level in meta.levels[1:]:
        factors = zip(meta.axes, level.factors, strict=True)
        strides = ", ".join(f"{axis} {factor:g}" for axis, factor in factors if factor > 1)
        texts.append(f"every k-th pixel: {strides}")
    return {"coarse_levels": "; ".join(texts)}


def _columns(
    path: str,
    kind: str,
    sources: Sequence[RowSource],
    headers: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the columns of the meta table, image after image."""
    try:
        found = os.stat(path)
        size, changed = float(found.st_size), _moment(found.st_mtime_ns)
    except OSError:
        size, changed = np.nan, _moment("NaT")
    table: dict[str, list[Any]] = {}
    done = 0
    for number, (source, header) in enumerate(zip(sources, headers, strict=True)):
        count, meta = source.row_map.count, source.meta
        fields: dict[str, Any] = {"original_filename": file_name(path)}
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
    return [source.row_map.index_of(row)[axis] for row in range(source.row_map.count)]


def _cells(value: Any, count: int) -> list[Any]:
    if isinstance(value, (list, np.ndarray)) and np.shape(value) == (count,):
        return list(map(_cell, value))
    return [_cell(value)] * count


def _cell(value: Any) -> Any:
    return value if isinstance(value, np.datetime64) else in_table(value)


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
