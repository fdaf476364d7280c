"""From a path to images: a folder, a glob pattern, a list of files or one image file."""

from __future__ import annotations

import os
import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core import settings
from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.files import not_there
from napari_lazyload.sources.folder.file_set import UNREADABLE, FileSet
from napari_lazyload.sources.folder.grouping import (
    FolderOptions,
    Group,
    group_files,
    grouping_notes,
    single,
)
from napari_lazyload.sources.folder.image_stack import CoverageSource, PictureSource, file_name
from napari_lazyload.sources.folder.listing import (
    FOREIGN,
    Listing,
    keep_matching,
    list_files,
    list_folder,
    list_glob,
)
from napari_lazyload.sources.folder.table import FolderTable
from napari_lazyload.sources.image_files.foreign import foreign_folder
from napari_lazyload.sources.opened import Below, OpenResult
from napari_lazyload.sources.tiff.description import tag_columns
from napari_lazyload.sources.tiff.tiled import tiled_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.core.metadata import ImageMeta
    from napari_lazyload.sources.opened import RowSource
    from napari_lazyload.sources.tiff.layout import TiffLayout

__all__ = ["FolderOptions", "list_pictures", "nothing_here", "open_pictures"]

PATTERN_SIGNS = "*?["
FOLDER, GLOB, LIST, PICTURE = "image folder", "image glob", "image list", "picture"


def open_pictures(path: str | Sequence[str], **options: Any) -> OpenResult:
    """Open a folder, a glob pattern, a list of files or one image file.

    Parameters
    ----------
    path : str or sequence of str
        What to open.
    **options
        See :class:`FolderOptions`.

    Raises
    ------
    SourceOpenError
        If there is no image file, or none that can be read.
    TypeError
        If an option is not one of them.
    ValueError
        If an option is not one of its choices.
    """
    chosen = _options(options)
    start = time.perf_counter()
    listing, label, kind = list_pictures(path, chosen)
    listed = time.perf_counter() - start
    if not len(listing.names):
        raise SourceOpenError(nothing_here(label, listing), label)
    files = FileSet(listing)
    if kind == PICTURE:
        return _open_file(label, files)
    files.read_deciding()
    if chosen.headers == "all":
        files.read_for(float("inf"))
    if files.main_kind() == UNREADABLE:
        raise SourceOpenError(_nothing_readable(label, files), label)
    files.drop_empty()
    files.drop_members()
    if kind == LIST and chosen.subfolders == "axis":
        chosen = replace(chosen, subfolders="stack")  # the order of a list is its user's
    notes: list[str] = []
    groups = group_files(files, file_name(label), chosen, notes)
    notes += grouping_notes(files, file_name(label), groups)
    files.read_for(header_seconds(listed))  # for the table alone: the images are decided
    whole_folder = kind == FOLDER and chosen.pattern is None
    return _opened(label, kind, files, groups, notes, whole_folder=whole_folder)


def _open_file(path: str, files: FileSet) -> OpenResult:
    """Open one image file; its header is read once."""
    header = files.read_parsed(0)
    if header is None:
        raise SourceOpenError(files.problems[0], path)
    groups = [single(files, file_name(path))]
    notes = grouping_notes(files, file_name(path), groups)
    opened = _opened(path, PICTURE, files, groups, notes, whole_folder=False)
    if header.info.format == "tiff":
        opened.columns = tag_columns(opened.columns, path)
        _show_tiff(opened, files, header.detail.images)
    return opened


def _show_tiff(opened: OpenResult, files: FileSet, layouts: Sequence[TiffLayout]) -> None:
    """Show each image of a TIFF file: in place or by tiles where it is large, else by pages.

    Those behind the first show the same row of the table, and are hidden at first.
    """
    sources = [opened.sources[0]]
    name = sources[0].meta.name
    for number, layout in enumerate(layouts[1:], 1):
        title = f"{name} {layout.info.metadata.get('series') or number}"
        if any(title == source.meta.name for source in sources):
            title = f"{title} ({number})"
        source = PictureSource(files, np.arange(1), {}, layout.info, title, series=number)
        meta = _in_units_of(sources[0].meta, source.meta)
        source.meta = replace(meta, display={**meta.display, "visible": False})
        sources.append(source)
    stamp = files.probed(0)
    assert stamp is not None
    file = (files.path(0), stamp)
    opened.sources = tuple(
        tiled_source(file, layout, source.meta) or source
        for layout, source in zip(layouts, sources, strict=True)
    )
    opened.rows = (range(1),) * len(layouts)
    images = layouts[0].info.metadata.get("images", 1)
    if images > len(layouts):
        shown = f"{name}: {len(layouts)} of {images} images are opened"
        opened.notes.append(f"{shown}; more are too many, or damaged")


def _in_units_of(first: ImageMeta, other: ImageMeta) -> ImageMeta:
    """Return what another image of a file is, with units where the first alone has some.

    napari drops all units where layers have different ones. An image of the same proportions, such
    as a slide's thumbnail, covers the same ground; of others a pixel is one unit.
    """
    if first.units is None or first.scale is None or other.units is not None:
        return other
    if not {"y", "x"} <= set(first.axes) & set(other.axes):
        return other
    sizes = {}
    for axis, unit, size in zip(first.axes, first.units, first.scale, strict=False):
        sizes[axis] = (unit, size * first.shape[first.axes.index(axis)])
    covered = {axis: sizes[axis][1] / other.shape[other.axes.index(axis)] for axis in "yx"}
    if not 0.98 < covered["y"] / covered["x"] < 1.02:
        covered = {}
    axes = other.axes[: len(other.axes) - other.rgb]
    return replace(
        other,
        scale=tuple(covered.get(axis, 1.0) for axis in axes),
        units=tuple(sizes.get(axis, (None, 0.0))[0] for axis in axes),
    )


def header_seconds(listed: float) -> float:
    """Return how long more headers may be read at opening: as set, less where listing was fast.

    Parameters
    ----------
    listed : float
        Seconds that listing took.
    """
    most = settings.current().header_seconds
    return min(most, max(3 * listed, 0.4 * most))


def _options(options: dict[str, Any]) -> FolderOptions:
    known = [field.name for field in fields(FolderOptions)]
    for name in options:
        if name not in known:
            raise TypeError(
                f"{name!r} is not an option of image folders; there are: {', '.join(known)}"
            )
    return FolderOptions(**options)


def list_pictures(path: str | Sequence[str], options: FolderOptions) -> tuple[Listing, str, str]:
    """Return the image files of a path, its name in messages, and what kind of path it is."""
    if not isinstance(path, str):
        listing, kind = list_files(path), LIST
        label = listing.root or "pictures on several drives"
    elif os.path.isdir(path):
        listing = list_folder(path, pattern=options.pattern, recurse=options.subfolders != "ignore")
        return listing, listing.root, FOLDER
    elif os.path.exists(path):
        label, kind = os.path.abspath(path), PICTURE
        listing = Listing(os.path.dirname(label), np.array([os.path.basename(label)], object))
    elif any(sign in path for sign in PATTERN_SIGNS):
        listing, kind = list_glob(path), GLOB
        label = os.path.abspath(path)
    else:
        raise not_there(path)
    if options.pattern is not None:
        keep_matching(listing, options.pattern)
    return listing, label, kind


def nothing_here(label: str, listing: Listing) -> str:
    """Return the message for a path without an image file: what was left out, what to choose."""
    if os.path.isdir(label):
        foreign = foreign_folder(label, listing.skipped.get(FOREIGN, ()))
        if foreign is not None:
            return foreign
    left = ", ".join(f"{count:,} x {reason}" for reason, count in listing.skipped_counts().items())
    return (
        f"{label}: expected pictures, found {f'none ({left})' if left else 'an empty folder'}. "
        "Choose a folder with TIFF, PNG, JPEG or other pictures; "
        "napari_lazyload.supported_formats() lists all"
    )


def _nothing_readable(label: str, files: FileSet) -> str:
    """Return the message for a path whose image files cannot be read."""
    first = files.problems[min(files.problems)]
    if len(files) == 1:
        return first
    tried = f"{len(files.problems):,}"
    if not files.all_known():
        tried = f"the {tried} tried of {len(files):,}"
    return f"{label}: none of {tried} pictures can be read. The first: {first}"


def _opened(
    label: str,
    kind: str,
    files: FileSet,
    groups: list[Group],
    notes: list[str],
    *,
    whole_folder: bool,
) -> OpenResult:
    """Make the images of groups, and the table of their files."""
    pictures: list[PictureSource] = []
    sources: list[RowSource] = []
    rows: list[range] = []
    numbers: list[int] = []
    start = 0
    for group in groups:
        source = PictureSource(
            files, group.rows, group.lead, group.info, group.name, padded=group.padded
        )
        numbers.append(len(sources))
        pictures.append(source)
        images: list[RowSource] = (
            [source, CoverageSource(source)] if group.has_coverage else [source]
        )
        sources += images
        rows += [range(start, start + len(group.rows))] * len(images)
        start += len(group.rows)
    table = FolderTable(files, pictures, numbers)
    listing = files.listing
    return OpenResult(
        path=label,
        kind=kind,
        sources=tuple(sources),
        rows=tuple(rows),
        columns=table.columns,
        problems=table.problems,
        recheck=table.recheck,
        files=Below(listing.root, None if whole_folder else lambda: listing.names),
        skipped=listing.skipped_counts(),
        left_out=listing.skipped,
        notes=notes,
        background=None if files.all_known() else table.scan,
        where=(lambda: list(map(listing.path, range(len(listing.names)))))
        if kind == LIST
        else (lambda: label),
    )
