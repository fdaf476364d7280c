"""What the modules of binary formats share: from a source to `Opened`, default axes, safe names of data files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import LazyLoadError, MissingDependencyError
from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.sources.opened import IMAGE, Opened
from napari_lazyload.sources.raw import RawSource
from napari_lazyload.sources.raw_read import item_count, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from napari_lazyload.sources.opened import RowSource

KINDS = "biufc"
"""Kinds of NumPy's types whose values are pixels."""

MOST_HEADER = 1 << 20
"""No header of text is longer than so many bytes."""

LONG_TEXT = 1000
"""Texts of a header are cut to so many characters in the table."""


class BadOptionError(LazyLoadError, ValueError):
    """An option whose value does not suit the file: the caller's to mend, not the file's."""


def file_name(path: str) -> str:
    """Return what an image of `path` is called."""
    return os.path.basename(os.path.normpath(path)) or path


def check_options(options: Mapping[str, Any], known: Sequence[str], title: str) -> None:
    """Refuse an option that a format does not have.

    Raises
    ------
    TypeError
        With those that it has.
    """
    for name in options:
        if name not in known:
            msg = f"{name!r} is not an option of {title}; there are: {', '.join(known) or 'none'}"
            raise TypeError(msg)


@contextmanager
def reading_header(path: str, title: str) -> Iterator[None]:
    """Turn whatever a parser trips over into the package's error: it is a damaged file.

    Parameters
    ----------
    path : str
        The file.
    title : str
        What it should be: "a NumPy array".
    """
    try:
        yield
    except LazyLoadError:
        raise
    except ImportError as err:
        name = (err.name or str(err)).split(".")[0]
        msg = f"{path}: {title} needs the package {name!r}: pip install 'napari-lazyload[formats]'"
        raise MissingDependencyError(msg) from err
    except MemoryError as err:
        raise refusal(path, title, "one whose header asks for more memory than there is", "it is damaged") from err
    except OSError as err:
        if err.errno is None:
            raise refusal(path, title, _said(err), "it is damaged or of another format: export it again") from err
        found = f"an error of the system: {err.strerror}"
        raise refusal(path, title, found, "check the path, the permissions and the disk") from err
    except Exception as err:
        raise refusal(path, title, _said(err), "it is damaged or of another format: export it again") from err


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"one whose header cannot be read ({type(error).__name__}: {text})"


def check_image(path: str, shape: Sequence[int], dtype: np.dtype[Any], *, least: int = 2) -> None:
    """Refuse what is no image: too few axes, no pixels, values that are no numbers.

    Raises
    ------
    SourceOpenError
        With what it is.
    """
    said = f"shape {tuple(shape)} of {dtype}"
    if dtype.hasobject:
        raise refusal(path, "numbers", said, "Python objects are never loaded: save the numbers alone")
    if dtype.kind not in KINDS:
        raise refusal(path, "numbers", said, "this type of value cannot be shown as pixels")
    if len(shape) < least:
        hint = "a series of numbers is no image: read it with its own library"
        raise refusal(path, f"an image of at least {least} axes", said, hint)
    if any(size < 1 for size in shape) or len(shape) > 32:
        raise refusal(path, "an image with at least one pixel along each of at most 32 axes", said, "it is damaged")
    if item_count(shape) * dtype.itemsize >= 1 << 63:
        raise refusal(path, "an image of less than 8 EiB", said, "it is damaged")


def default_axes(shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Return names for axes that nothing names: the end of ``t c z y x``, of four ``t z y x``.

    8-bit pictures whose last axis has 3 or 4 samples are taken for colours.
    """
    ndim = len(shape)
    if ndim >= 3 and dtype == np.uint8 and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4:
        return (*default_axes(shape[:-1], np.dtype(bool)), RGB_AXIS)
    if ndim == 4:
        return ("t", "z", "y", "x")
    return (*(f"axis{number}" for number in range(max(0, ndim - 5))), *"tczyx"[max(0, 5 - ndim) :])


def named_axes(path: str, axes: Any, shape: Sequence[int]) -> tuple[str, ...] | None:
    """Return the names that a user gave as an option.

    Raises
    ------
    ValueError
        If there is not one for each axis, one comes twice, or ``"s"`` is not that of 3 or 4 colours, the last one.
    """
    if axes is None:
        return None
    names = tuple(map(str, axes)) if isinstance(axes, Iterable) else ()
    if len(names) != len(shape) or len(set(names)) != len(names):
        msg = (
            f"axes={axes!r}: {path} has {len(shape)} axes of {tuple(shape)} pixels: name each of them, each differently"
        )
        raise BadOptionError(msg)
    if RGB_AXIS in names and (names[-1] != RGB_AXIS or shape[-1] not in (3, 4)):
        msg = f"axes={axes!r}: {path} has {tuple(shape)} pixels; {RGB_AXIS!r} names 3 or 4 colours along the last axis"
        raise BadOptionError(msg)
    return names


def data_file(header: str, name: str, *, outside: bool = False) -> str:
    """Return the absolute path of a data file that a header names.

    Parameters
    ----------
    header : str
        Absolute path of the header.
    name : str
        As written there; relative to the folder of the header.
    outside : bool
        Whether it may lie outside that folder: a header from elsewhere could point at any file of the user.

    Raises
    ------
    SourceOpenError
        If it lies outside.
    """
    name = name.strip()
    plain = name.replace("\\", "/")
    absolute = PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).drive) or "\0" in name
    climbs = ".." in PurePosixPath(plain).parts
    if not name or ((absolute or climbs) and not outside):
        found = f"{name!r}" if name else "no name"
        hint = "move the data beside the header, or trust the header and open it with outside=True"
        raise refusal(header, "the name of a data file in the header's own folder", found, hint)
    folder = os.path.dirname(header)
    found = os.path.normpath(os.path.join(folder, name))
    # As written on Windows, and read elsewhere.
    return found if plain == name or os.path.exists(found) else os.path.normpath(os.path.join(folder, plain))


def header_text(block: bytes) -> str:
    """Return the text of a header, which may name files in any script: UTF-8, or Latin-1 where it is none."""
    try:
        return block.decode("utf-8-sig")
    except UnicodeDecodeError:
        return block.decode("latin-1")


def in_table(value: Any) -> Any:
    """Return a header's value as a cell of the table: a number or a short text."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.split(b"\0")[0].decode("latin-1")
    if isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else str(value)
    return text.strip()[:LONG_TEXT]


def opened_binary(
    path: str,
    kind: str,
    sources: Sequence[RowSource],
    headers: Sequence[Mapping[str, Any]],
    *,
    names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    skipped: Mapping[str, Sequence[str]] | None = None,
) -> Opened:
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
        For each image what its header says; a NumPy array or list as long as the rows of the image has a value for
        each of them, anything else is repeated.
    names : sequence of str, optional
        The file of each image; the one that was opened by default.
    notes : sequence of str
        What the user should be told.
    skipped : mapping of str to sequence of str, optional
        What was left out, by reason.
    """
    sources = [source.with_overview() if isinstance(source, RawSource) else source for source in sources]
    headers = [{**header, **_overview(source)} for header, source in zip(headers, sources, strict=True)]
    counts = [_rows(source) for source in sources]
    starts = np.cumsum([0, *counts])
    skipped = dict(skipped or {})

    def columns() -> dict[str, Any]:
        return _columns(path, kind, sources, headers, names or [file_name(path)] * len(sources))

    return Opened(
        path=path,
        kind=kind,
        sources=tuple(sources),
        rows=tuple(range(int(start), int(start) + count) for start, count in zip(starts, counts, strict=False)),
        columns=columns,
        owns=_owner(sources, path),
        skipped={reason: len(found) for reason, found in skipped.items()},
        left_out={reason: list(found) for reason, found in skipped.items()},
        notes=list(notes),
        row_name="frame" if any(source.lead_axes for source in sources) else "image",
        where=lambda: path,
    )


def _overview(source: RowSource) -> dict[str, str]:
    """Return which pixels the coarse levels of an image have, for its table."""
    meta = source.meta
    if not isinstance(source, RawSource) or len(meta.levels) == 1:
        return {}
    said = (
        ", ".join(f"{axis} {factor:g}" for axis, factor in zip(meta.axes, level.factors, strict=True) if factor > 1)
        for level in meta.levels[1:]
    )
    return {"coarse_levels": "; ".join(f"every k-th pixel: {one}" for one in said)}


def _rows(source: RowSource) -> int:
    return item_count(tuple(source.lead_axes.values()))


def _columns(
    path: str, kind: str, sources: Sequence[RowSource], headers: Sequence[Mapping[str, Any]], names: Sequence[str]
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
        fields |= {axis: _along(source, place) for place, axis in enumerate(source.lead_axes)}
        fields |= {"shape": " x ".join(map(str, meta.shape)), "dtype": str(meta.dtype), "format": kind}
        fields |= {"size_bytes": size, "modified": changed} | dict(header)
        for field in dict.fromkeys([*table, *fields]):
            cells = _cells(fields.get(field, ""), count)
            table.setdefault(field, [""] * done).extend(cells)
        done += count
    return {field: _as_column(cells) for field, cells in table.items()}


def _moment(value: Any) -> Any:
    return np.datetime64(value, "ns")


def _along(source: RowSource, axis: int) -> list[int]:
    return [source.frame_index(row)[axis] for row in range(_rows(source))]


def _cells(value: Any, count: int) -> list[Any]:
    if isinstance(value, (list, np.ndarray)) and np.shape(value)[:1] == (count,) and np.ndim(value) == 1:
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


def _owner(sources: Sequence[RowSource], path: str) -> Callable[[Hashable], bool]:
    """Return a function that tells whether the key of a chunk belongs to the files of some images."""
    paths = {path}
    for source in sources:
        paths.update(name for name, _ in getattr(source, "files", ()))

    def owns(key: Any) -> bool:
        if not isinstance(key, tuple) or len(key) < 2:
            return False
        if key[0] in ("converted", "raw-group"):
            return any(owns(part) for part in key[1:])
        return key[0] in ("raw", "packed", "hdf5") and key[1] in paths

    return owns
