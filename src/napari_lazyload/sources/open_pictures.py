"""From a path to images: groups of like pictures, sub-folders as axes, what was left out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_lazyload.core import settings
from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.sources.file_listing import Listing, list_files, list_folder, list_glob
from napari_lazyload.sources.file_set import UNKNOWN, UNREADABLE, FileSet
from napari_lazyload.sources.image_folder import CoverageSource, PictureSource, file_name
from napari_lazyload.sources.opened import Columns, Opened
from napari_lazyload.sources.pictures import PictureInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_lazyload.core.source import Source

    Array = np.ndarray[Any, Any]

MAX_IMAGES = 64

Subfolders = Literal["axis", "stack", "separate", "ignore"]
Mixed = Literal["groups", "pad"]
Headers = Literal["budget", "all"]


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """How a folder is opened.

    Parameters
    ----------
    subfolders : {"axis", "stack", "separate", "ignore"}
        Sub-folders become an axis where they agree in number and shape (else one stack), always one stack, one image
        each, or are left out.
    mixed : {"groups", "pad"}
        Pictures of several shapes or dtypes become one image for each group, or one image filled up to the largest.
    headers : {"budget", "all"}
        Read headers for a short time and leave the rest to the background, or read all before opening.
    pattern : str or None
        A glob pattern that names must match.
    max_images : int
        More images than this are not made from one path: more groups are padded, more sub-folders refused.
    """

    subfolders: Subfolders = "axis"
    mixed: Mixed = "groups"
    headers: Headers = "budget"
    pattern: str | None = None
    max_images: int = MAX_IMAGES

    def __post_init__(self) -> None:
        """Refuse what is not a choice."""
        choices = {
            "subfolders": ("axis", "stack", "separate", "ignore"),
            "mixed": ("groups", "pad"),
            "headers": ("budget", "all"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                msg = f"{name} must be one of {', '.join(map(repr, allowed))}, got {getattr(self, name)!r}"
                raise ValueError(msg)


@dataclass(slots=True)
class _Group:
    """Files that become one image."""

    name: str
    rows: Array
    kind: int
    lead: dict[str, int]
    padded: bool = False


def open_pictures(path: str | Sequence[str], **options: Any) -> Opened:
    """Open a folder, a glob pattern, a list of files or one picture file.

    Parameters
    ----------
    path : str or sequence of str
        What to open.
    **options
        See :class:`FolderOptions`.

    Raises
    ------
    SourceOpenError
        If there is no picture, or none that can be read.
    """
    chosen = FolderOptions(**options)
    listing, label, kind = list_pictures(path, chosen)
    files = FileSet(listing)
    if not len(files):
        raise SourceOpenError(nothing_here(label, listing), label)
    files.probe_for(float("inf") if chosen.headers == "all" else settings.current().header_seconds)
    files.drop_empty()
    if not len(files) or files.main_kind() == UNREADABLE:
        raise SourceOpenError(_nothing_readable(label, files), label)
    notes: list[str] = []
    if kind == "picture":
        groups = [_Group(file_name(label), np.arange(1), files.main_kind(), {})]
    else:
        groups = _groups(files, file_name(label), chosen, notes)
    return _opened(label, kind, files, groups, notes)


def list_pictures(path: str | Sequence[str], options: FolderOptions) -> tuple[Listing, str, str]:
    """Return the pictures of a path, what it is called in messages, and what kind of path it is."""
    if not isinstance(path, str):
        listing = list_files(path)
        return listing, listing.root, "image list"
    if os.path.isdir(path):  # noqa: PTH112
        listing = list_folder(path, pattern=options.pattern, recurse=options.subfolders != "ignore")
        return listing, listing.root, "image folder"
    if os.path.exists(path):  # noqa: PTH110
        listing = list_files([path])
        return listing, os.path.abspath(path), "picture"  # noqa: PTH100
    if any(sign in path for sign in "*?["):
        listing = list_glob(path)
        return listing, os.path.abspath(path), "image glob"  # noqa: PTH100
    msg = f"{path} does not exist. Check the path"
    raise SourceOpenError(msg, path)


def nothing_here(label: str, listing: Listing) -> str:
    """Return the message for a path without a picture: what was left out, what to choose instead."""
    left = ", ".join(f"{count} x {reason}" for reason, count in listing.skipped_counts().items())
    return (
        f"{label}: expected pictures, found {f'none ({left})' if left else 'an empty folder'}. "
        "Choose a folder with TIFF, PNG, JPEG or other pictures; napari_lazyload.supported_formats() lists all"
    )


def _nothing_readable(label: str, files: FileSet) -> str:
    if not len(files):
        count = files.listing.skipped_counts()
        left = ", ".join(f"{number} x {reason}" for reason, number in count.items())
        return f"{label}: expected pictures, found only files without one ({left}). Copy the pictures again"
    first = files.problems[min(files.problems)]
    more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
    return f"no picture can be read: {first}{more}"


def _groups(files: FileSet, name: str, options: FolderOptions, notes: list[str]) -> list[_Group]:
    """Return which files become which image."""
    if options.subfolders == "separate":
        by_folder = _by_folder(files)
        if len(by_folder) > options.max_images:
            msg = (
                f"{name}: {len(by_folder)} sub-folders would become as many images; {options.max_images} is the most. "
                "Open with subfolders='stack', or set max_images"
            )
            raise SourceOpenError(msg, files.listing.root)
        parts = [(f"{name}/{folder}" if folder else name, rows) for folder, rows in by_folder.items()]
    else:
        parts = [(name, np.arange(len(files)))]
    groups = [group for part, rows in parts for group in _split(files, part, rows, options, notes)]
    if options.subfolders == "axis" and len(groups) == 1:
        groups[0].lead = _folder_axes(files.listing.names) or groups[0].lead
    return groups


def _split(files: FileSet, name: str, rows: Array, options: FolderOptions, notes: list[str]) -> list[_Group]:
    """Split some files by shape and dtype; what cannot be read or is not known goes with the most."""
    kinds = files.kind[rows]
    readable = kinds[kinds >= 0]
    present, first = np.unique(readable, return_index=True) if readable.size else (np.array([files.main_kind()]), [0])
    present = present[np.argsort(first)]
    if len(present) == 1:
        return [_Group(name, rows, int(present[0]), {"frame": len(rows)})]
    too_many = len(present) > options.max_images
    if options.mixed == "pad" or too_many:
        if too_many and options.mixed != "pad":
            notes.append(f"{name}: {len(present)} different shapes; opened as one stack filled up to the largest")
        return [_Group(name, rows, -1, {"frame": len(rows)}, padded=True)]
    main = present[np.argmax([np.count_nonzero(kinds == kind) for kind in present])]
    groups = []
    for kind in present.tolist():
        here = (kinds == kind) | ((kinds < 0) & (kind == main))
        label = f"{name} [{_said(files.infos[kind])}]"
        groups.append(_Group(label, rows[here], kind, {"frame": int(here.sum())}))
    notes.append(f"{name}: pictures of {len(present)} shapes or types; one image for each")
    return groups


def _said(info: PictureInfo) -> str:
    return f"{'x'.join(map(str, info.shape))} {info.dtype}"


def _by_folder(files: FileSet) -> dict[str, Array]:
    folders: dict[str, list[int]] = {}
    for row, name in enumerate(files.listing.names):
        folders.setdefault(name.rpartition("/")[0], []).append(row)
    return {folder: np.array(rows) for folder, rows in folders.items()}


def _folder_axes(names: Array) -> dict[str, int] | None:
    """Return the axes of a regular tree of sub-folders, or None where the tree is not regular or flat."""
    depth = names[0].count("/")
    if depth == 0 or any(name.count("/") != depth for name in names):
        return None
    shape: list[int] = []
    children: list[str] = names.tolist()
    while children != [""]:
        counts: dict[str, int] = {}
        for folder in (child.rpartition("/")[0] for child in children):
            counts[folder] = counts.get(folder, 0) + 1
        if len(set(counts.values())) != 1:
            return None
        shape.insert(0, next(iter(counts.values())))
        children = list(counts)
    counted = [size for size in shape[:-1] if size > 1]
    labels = ["folder"] if len(counted) == 1 else [f"folder_{number + 1}" for number in range(len(counted))]
    return {**dict(zip(labels, counted, strict=True)), "frame": shape[-1]}


def _opened(label: str, kind: str, files: FileSet, groups: list[_Group], notes: list[str]) -> Opened:
    pictures = [_source(files, group) for group in groups]
    sources: list[Source] = []
    rows: list[range] = []
    for source in pictures:
        start = rows[-1].stop if rows else 0
        sources.append(source)
        rows.append(range(start, start + len(source.rows)))
        if source.padded and source.meta.dtype.kind not in "fc":
            sources.append(CoverageSource(source))
            rows.append(rows[-1])
    return Opened(
        path=label,
        kind=kind,
        sources=tuple(sources),
        rows=tuple(rows),
        columns=lambda: _columns(files, pictures, sources),
        problems=lambda: _problems(files, groups, pictures),
        recheck=lambda row: files.forget(_file_row(pictures, row)),
        owns=_owner_of(files),
        skipped=files.listing.skipped_counts(),
        notes=notes,
        background=None if files.all_known() else lambda cancelled, found: _scan_rest(files, pictures, cancelled, found),
    )


def _owner_of(files: FileSet) -> Callable[[Any], bool]:
    root = os.path.join(files.listing.root, "")  # noqa: PTH118 - with the separator, so that a/b does not own a/bc
    return lambda key: _path_in(key).startswith(root)


def _path_in(key: Any) -> Any:
    """Return the path within a picture's key, also where a conversion wrapped it; "" for keys of other formats."""
    if key[0] == "converted":
        return _path_in(key[-1])
    return key[1] if key[0].startswith("picture") else ""


def _source(files: FileSet, group: _Group) -> PictureSource:
    info = _padded_info(files, group.rows) if group.padded else files.infos[group.kind]
    return PictureSource(files, group.rows, group.lead, info, group.name, padded=group.padded)


def _padded_info(files: FileSet, rows: Array) -> PictureInfo:
    """Return a picture that holds every frame of some files: largest sides, most channels, a dtype for all values."""
    infos = [files.infos[kind] for kind in np.unique(files.kind[rows]) if kind >= 0]
    plain = [info for info in infos if info.page_ndim == 0 and info.axes[:2] == ("y", "x")]
    if len(plain) != len(infos):
        msg = "pictures with several pages cannot be padded together; open with mixed='groups'"
        raise SourceOpenError(msg, files.listing.root)
    channels = max((info.shape[2] if info.rgb else 0) for info in plain)
    shape = (max(info.shape[0] for info in plain), max(info.shape[1] for info in plain))
    return PictureInfo(
        shape=(*shape, channels) if channels else shape,
        dtype=np.result_type(*(info.dtype for info in plain)),
        format="mixed",
        axes=("y", "x", RGB_AXIS) if channels else ("y", "x"),
        rgb=bool(channels),
        pages=1,
        page_ndim=0,
        metadata={},
    )


def _scan_rest(files: FileSet, pictures: list[PictureSource], cancelled: Any, found: Any) -> None:
    places = {int(row): place for place, row in enumerate(np.concatenate([source.rows for source in pictures]))}
    files.probe_rest(cancelled, lambda row: found(places[row]))


def _file_row(pictures: list[PictureSource], row: int) -> int:
    for source in pictures:
        if row < len(source.rows):
            return int(source.rows[row])
        row -= len(source.rows)
    msg = f"row {row} is past the end of the table"
    raise IndexError(msg)


def _problems(files: FileSet, groups: list[_Group], pictures: list[PictureSource]) -> dict[int, str]:
    """Return why rows of the table do not load or do not fit their image."""
    problems: dict[int, str] = {}
    start = 0
    for group, source in zip(groups, pictures, strict=True):
        kinds = files.kind[source.rows]
        for place in np.flatnonzero(kinds == UNREADABLE).tolist():
            problems[start + place] = files.problems.get(int(source.rows[place]), "cannot be read")
        if not group.padded:
            odd = np.flatnonzero((kinds >= 0) & (kinds != group.kind))
            expected = _said(files.infos[group.kind])
            for place in odd.tolist():
                found = _said(files.infos[kinds[place]])
                problems[start + place] = f"expected {expected}, found {found}; reopen in groups to see it"
        start += len(source.rows)
    return problems


def _columns(files: FileSet, pictures: list[PictureSource], sources: list[Source]) -> Columns:
    """Return the meta table: names, where each file is on the axes, what its header says."""
    rows = np.concatenate([source.rows for source in pictures])
    columns: dict[str, Any] = {"original_filename": files.listing.names[rows]}
    if len(sources) > 1:
        numbers = [sources.index(source) for source in pictures]
        columns["image"] = np.repeat(numbers, [len(source.rows) for source in pictures])
    columns.update(_axis_columns(pictures))
    texts = np.array([("", "", "")] + [_texts(info) for info in files.infos], dtype=object)
    texts = texts[np.maximum(files.kind[rows], UNKNOWN) + 1]
    columns.update({"shape": texts[:, 0], "dtype": texts[:, 1], "format": texts[:, 2]})
    columns["size_bytes"] = np.where(files.sizes[rows] < 0, np.nan, files.sizes[rows])
    columns["modified"] = np.where(files.changed_ns[rows] < 0, np.datetime64("NaT", "ns"), files.changed_ns[rows].view("M8[ns]"))
    return columns


def _texts(info: PictureInfo) -> tuple[str, str, str]:
    return " x ".join(map(str, info.shape)), str(info.dtype), info.format


def _axis_columns(pictures: list[PictureSource]) -> dict[str, Array]:
    axes = dict.fromkeys(axis for source in pictures for axis in source.lead_axes)
    columns = {}
    for axis in axes:
        parts = []
        for source in pictures:
            shape = tuple(source.lead_axes.values())
            at = list(source.lead_axes).index(axis) if axis in source.lead_axes else None
            count = len(source.rows)
            parts.append(np.zeros(count, np.int64) if at is None else np.unravel_index(np.arange(count), shape)[at])
        columns[axis] = np.concatenate(parts)
    return columns
