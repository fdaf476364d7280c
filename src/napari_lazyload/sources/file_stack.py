"""Files of one binary format as a stack: a folder, a pattern or a list of NPY, NIfTI and the like.

Pictures have a room of their own, `folder`, which knows their headers by itself. Here each file is
opened by its format, when it is needed.
"""

from __future__ import annotations

import functools
import glob
import os
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.core.natural_sort import natural_key
from napari_lazyload.core.row_map import RowMap
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.core.text import describe_pixels, different_text
from napari_lazyload.sources.files import FileStamp, file_name, open_error
from napari_lazyload.sources.formats import FORMATS, Format, is_pattern
from napari_lazyload.sources.image_files.decode import is_picture
from napari_lazyload.sources.opened import IMAGE, OpenResult
from napari_lazyload.sources.zarr.location import is_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.metadata import ImageMeta
    from napari_lazyload.sources.opened import RowSource

    Array = np.ndarray[Any, Any]

_NAMES = ("npy", "mrc", "nifti", "nrrd", "metaimage", "fits", "pnm")
STACKED = {row.name: row for row in FORMATS if row.name in _NAMES}
SUFFIXES = tuple(suffix for row in STACKED.values() for suffix in row.suffixes)
READ_FIRST = 128
"""So many files are opened first; the others are taken for what most of these are."""
MOST_IMAGES = 64
FRAME = "frame"


def takes_stack(path: str | list[str]) -> bool:
    """Return whether a path is a folder, a pattern or a list of such files, without pictures."""
    if not isinstance(path, str):
        formats = set(map(_format_of, path))
        return len(path) > 1 and len(formats) == 1 and None not in formats
    if os.path.isdir(path):
        return not is_store(path) and _holds_stack(path)
    return is_pattern(path) and path.lower().endswith(SUFFIXES)


def _holds_stack(folder: str) -> bool:
    found = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if is_picture(entry.name) or entry.is_dir():
                    return False
                found |= entry.name.lower().endswith(SUFFIXES)
    except OSError:
        return False
    return found


def open_stack(path: str | list[str], **options: Any) -> OpenResult:
    """Open files of one format as one image for each shape and type, files along the first axis.

    Parameters
    ----------
    path : str or list of str
        A folder, whose files come in natural order; a glob pattern; or files, in their order.
    **options
        Those of the format.

    Raises
    ------
    SourceOpenError
        If no file can be read, or each holds several images.
    """
    names = _listed(path)
    label = path if isinstance(path, str) else os.path.dirname(names[0])
    row, files, skipped = _one_format(names, label)
    opener = _Opener(row.name, tuple((name, _hashable(options[name])) for name in sorted(options)))
    groups, problems = _grouped(opener, files, label)
    sources = [
        StackSource(opener, paths, first, _title(label, first, len(groups)))
        for first, paths in groups
    ]
    order = [path for _, paths in groups for path in paths]
    starts = np.cumsum([0, *(len(paths) for _, paths in groups)]).tolist()
    notes = []
    if len(groups) > 1:
        notes.append(f"{file_name(label)}: files of {len(groups)} shapes or types; one image each")
    places = {path: place for place, path in enumerate(order)}
    return OpenResult(
        path=label,
        kind=f"stack of {row.name} files",
        sources=tuple(sources),
        rows=tuple(range(start, stop) for start, stop in pairwise(starts)),
        columns=lambda: _columns(order, sources, os.path.dirname(names[0])),
        problems=lambda: {places[path]: reason for path, reason in problems.items()},
        recheck=lambda place: problems.pop(order[place], None),
        files=frozenset(order),
        skipped={reason: len(left) for reason, left in skipped.items()},
        left_out=skipped,
        notes=notes,
        where=lambda: path,
    )


def _listed(path: str | list[str]) -> list[str]:
    """Return absolute paths, in natural order where the user gave none."""
    if not isinstance(path, str):
        return [os.path.abspath(name) for name in path]
    if os.path.isdir(path):
        found = [os.path.join(path, name) for name in os.listdir(path) if name[0] != "."]
    else:
        found = glob.glob(path, recursive=True)
    if not found:
        raise SourceOpenError(f"no file matches {path}. Check the folder and the pattern", path)
    return sorted(map(os.path.abspath, found), key=natural_key)


def _one_format(names: list[str], label: str) -> tuple[Format, list[str], dict[str, list[str]]]:
    """Return the format of most files, its files, and what was left out."""
    formats = [_format_of(name) for name in names]
    counts = Counter(filter(None, formats))
    if not counts:
        raise open_error(label, "files of one binary format", "none", "choose another folder")
    main = counts.most_common(1)[0][0]
    kept = [name for name, found in zip(names, formats, strict=True) if found == main]
    left: dict[str, list[str]] = {}
    for name, found in zip(names, formats, strict=True):
        if found != main:
            reason = f"not a {main} file" if found else "no image, or the data of another file"
            left.setdefault(reason, []).append(os.path.basename(name))
    return STACKED[main], kept, left


def _format_of(path: str) -> str | None:
    """Return the name of a file's format; None for the data file of a pair, too."""
    lower = path.lower()
    if lower.endswith(".img") and os.path.exists(path[:-4] + ".hdr"):
        return None
    fitting = (name for name, row in STACKED.items() if lower.endswith(row.suffixes))
    return next(fitting, None)


def _hashable(value: Any) -> Any:
    """Return an option as part of a key: a list of names as a tuple."""
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class _Opener:
    """How each file is opened."""

    format: str
    options: tuple[tuple[str, Any], ...]

    def image(self, path: str) -> RowSource:
        """Return the one image of a file, kept for as long as the file stays as it is."""
        return _image(self, path, FileStamp.at_open(path, f"a {self.format} file"))


@functools.lru_cache(maxsize=READ_FIRST)
def _image(opener: _Opener, path: str, _stamp: FileStamp) -> RowSource:
    found = STACKED[opener.format].open(path, **dict(opener.options)).sources
    if len(found) != 1:
        raise open_error(path, "files of one image each", f"{len(found)} images", "open it alone")
    return found[0]


def _grouped(
    opener: _Opener, files: list[str], label: str
) -> tuple[list[tuple[ImageMeta, list[str]]], dict[str, str]]:
    """Return the files of each form with what the first says, and why others cannot be read."""
    problems: dict[str, str] = {}
    groups: dict[Any, tuple[ImageMeta, list[str]]] = {}
    form: dict[str, Any] = {}
    for path in files[:READ_FIRST]:
        try:
            meta = opener.image(path).meta
        except SourceOpenError as err:
            problems[path] = str(err)
            continue
        form[path] = meta.axes, meta.shape, meta.dtype
        groups.setdefault(form[path], (meta, []))
    if not groups:
        raise SourceOpenError(next(iter(problems.values())), label)
    if len(groups) > MOST_IMAGES:
        found = f"{len(groups)} shapes or types"
        raise open_error(label, f"at most {MOST_IMAGES}", found, "open a part of the files")
    main = Counter(form.values()).most_common(1)[0][0]
    for path in files:
        groups[form.get(path, main)][1].append(path)
    return list(groups.values()), problems


def _title(label: str, meta: ImageMeta, count: int) -> str:
    name = file_name(label)
    return name if count == 1 else f"{name} [{describe_pixels(meta.shape, meta.dtype)}]"


def _columns(order: list[str], sources: Sequence[StackSource], root: str) -> dict[str, Any]:
    """Return the columns of the table: a row for each file."""
    counts = [source.row_map.count for source in sources]
    columns: dict[str, Any] = {"original_filename": [os.path.relpath(p, root) for p in order]}
    if len(sources) > 1:
        columns[IMAGE] = np.repeat(np.arange(len(sources)), counts)
    columns[FRAME] = np.concatenate([np.arange(count) for count in counts])
    shapes = [" x ".join(map(str, source.meta.shape[1:])) for source in sources]
    columns["shape"] = np.repeat(np.array(shapes, object), counts)
    types = [str(source.meta.dtype) for source in sources]
    columns["dtype"] = np.repeat(np.array(types, object), counts)
    stamps = [FileStamp.or_none(path) for path in order]
    columns["size_bytes"] = [np.nan if stamp is None else stamp.size for stamp in stamps]
    return columns


class StackSource:
    """Files of one form as an image whose first axis counts them.

    Parameters
    ----------
    opener : _Opener
        How a file is opened.
    paths : list of str
        The files, in order.
    first : ImageMeta
        What one of them says; the others are expected to be like it.
    name : str
        Of the image.
    """

    def __init__(self, opener: _Opener, paths: list[str], first: ImageMeta, name: str) -> None:
        self.paths = tuple(paths)
        self.row_map = RowMap({FRAME: len(paths)})
        self.token = f"stack-{uuid.uuid4().hex}"
        self._opener = opener
        self._first = first
        levels = []
        for level in first.levels:
            grid = level.grid
            chunks = ChunkGrid((len(paths), *grid.shape), (1, *grid.chunks))
            factors, strides = (1.0, *level.factors), level.strides and (1, *level.strides)
            levels.append(replace(level, grid=chunks, factors=factors, strides=strides))
        spatial = len(first.axes) - first.rgb
        self.meta = replace(
            first,
            name=name,
            axes=(FRAME if FRAME not in first.axes else "file", *first.axes),
            levels=tuple(levels),
            scale=(1.0, *(first.scale or (1.0,) * spatial)),
            translate=first.translate and (0.0, *first.translate),
            units=first.units and (None, *first.units),
            affine=first.affine and _with_frames(first.affine),
        )

    def chunk(self, level: int, index: BlockIndex) -> StackChunk:
        """Return the reference to one chunk of one file."""
        first = self._first
        form = (first.axes, first.shape, first.dtype)
        return StackChunk(self._opener, self.paths[index[0]], form, level, index[1:])


def _with_frames(affine: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    """Return an affine matrix with one more axis before the others, which it leaves as it is."""
    size = len(affine) + 1
    matrix = np.eye(size)
    matrix[1:, 1:] = affine
    return tuple(map(tuple, matrix.tolist()))


@dataclass(frozen=True, slots=True)
class StackChunk:
    """One chunk of one file of a stack.

    Parameters
    ----------
    opener : _Opener
        How its file is opened.
    path : str
        The file.
    form : tuple
        Axes, shape and type that the file is expected to have.
    level : int
        Of the file's image.
    index : tuple of int
        Of the chunk in it.
    """

    opener: _Opener
    path: str
    form: tuple[tuple[str, ...], tuple[int, ...], np.dtype[Any]]
    level: int
    index: BlockIndex

    @property
    def key(self) -> ChunkKey:
        """Its file, and which pixels."""
        part = ("stack", self.opener, self.level, self.index)
        return ChunkKey(self.path, FileStamp.of(self.path), part)

    def load(self) -> Array:
        """Open the file, if it is not yet, and read the chunk."""
        try:
            source = self.opener.image(self.path)
        except SourceOpenError as err:
            raise ChunkReadError(str(err), self.path) from err
        meta = source.meta
        if (meta.axes, meta.shape, meta.dtype) != self.form:
            expected = describe_pixels(*self.form[1:])
            reason = different_text(expected, describe_pixels(meta.shape, meta.dtype))
            raise ChunkReadError(f"{self.path}: {reason}", self.path)
        return source.chunk(self.level, self.index).load()[np.newaxis]
