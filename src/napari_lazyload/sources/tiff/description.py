"""TIFF: one description of a file, made once and used by pages, tiles and the table.

A file of one plain page is described from its only directory, any other by `tifffile`. Each image
of a file is shown as `tifffile`'s series gives it: palettes are indices, MINISWHITE is not
inverted, orientation is not applied.
"""

from __future__ import annotations

import math
import os
import threading
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_lazyload.sources.files import FileStamp
from napari_lazyload.sources.image_header import (
    BOMB_FLOOR,
    BOMB_RATIO,
    PageLocations,
    ParsedHeader,
    PictureError,
    PictureInfo,
    TruncatedError,
    check_size,
)
from napari_lazyload.sources.tiff.ifd import check_chain, companion_xml, first_text, read_plain
from napari_lazyload.sources.tiff.layout import TiffLayout
from napari_lazyload.sources.tiff.metadata import plain_metadata, series_metadata
from napari_lazyload.sources.tiff.pages import (
    check_extent,
    contiguous_from,
    in_other_files,
    open_tifffile,
    refuse_elsewhere,
)
from napari_lazyload.sources.tiff.tag_table import tag_fields
from napari_lazyload.sources.tiff.tiled import is_large, plain_grid, series_grids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import tifffile

    from napari_lazyload.sources.image_header import FileHead
    from napari_lazyload.sources.opened import Columns
    from napari_lazyload.sources.tiff.ifd import Plain

#: More images of one file than this are not described.
MOST_SERIES = 64

_MOST_KEPT = 256
_AXES = {"R": "position", "Q": "page", "I": "page"}
_RGB, _YCBCR = 2, 6
#: Compressions whose YCbCr pixels tifffile turns into RGB: old and new JPEG, and its two siblings.
_TO_RGB = frozenset((6, 7, 34892, 33007))

_Key: TypeAlias = "tuple[Any, ...]"


@dataclass(frozen=True, slots=True)
class TiffDescription:
    """What a TIFF file holds.

    Parameters
    ----------
    images : tuple of TiffLayout
        The first is one that the file holds itself; the files of a set describe all of its images.
    fields : dict or None
        Cells of the table; None of a plain file, whose tags are read when the table is asked for.
    """

    images: tuple[TiffLayout, ...]
    fields: dict[str, Any] | None = None


_kept: dict[_Key, TiffDescription] = {}
_keeping = threading.Lock()


def read_header(head: FileHead) -> ParsedHeader:
    """Describe a TIFF file: by its only directory where it is plain, else by tifffile."""
    plain = read_plain(head)
    if plain is None:
        description = _described(head)
    else:
        description = TiffDescription((_plain_layout(head, plain),))
    info = description.images[0].info
    return ParsedHeader(info, info.page_nbytes, detail=description)


def tag_columns(columns: Callable[[], Columns], path: str) -> Callable[[], Columns]:
    """Return what makes the columns of a table, with those of a TIFF file's header behind them."""

    def more() -> Columns:
        known = columns()
        count = max(map(len, known.values()), default=0)
        added: dict[str, Any] = {}
        for name, value in header_fields(path).items():
            if name not in known:
                kind = type(value) if isinstance(value, (bool, float)) else object
                added[name] = np.full(count, value, kind)
        return {**known, **added}

    return more


def header_fields(path: str) -> dict[str, Any]:
    """Return the header of a TIFF file's first image as cells of a table.

    They are empty where the file cannot be read.

    Parameters
    ----------
    path : str
        The file.
    """
    try:
        known = _kept.get(_key(path))
        if known is not None and known.fields is not None:
            return known.fields
        with open_tifffile(path) as tif:
            return tag_fields(tif)
    except Exception:  # noqa: BLE001 - the pixels were found; without its tags the table does well
        return {}


def _key(path: str) -> _Key:
    """Return what a description is kept by: another one where the file was replaced."""
    stat = os.stat(path)
    return os.path.abspath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _described(head: FileHead) -> TiffDescription:
    """Return the description of a file that is not plain: the kept one, or a new one."""
    key = _key(head.path)
    description = _kept.get(key)
    if description is None or not _holds(key[0], description):
        description = _describe_file(head, key[0])
    with _keeping:
        _kept.pop(key, None)
        _kept[key] = description  # the one used last stands at the end
        if len(_kept) > _MOST_KEPT:
            del _kept[next(iter(_kept))]
    return description


def _holds(path: str, description: TiffDescription) -> bool:
    """Whether the files of a set are still those that were described."""
    sets = (layout for layout in description.images if layout.around)
    return all(layout.around == _around(path, layout.info.files) for layout in sets)


def _plain_layout(head: FileHead, plain: Plain) -> TiffLayout:
    """Describe a file of one page without tifffile."""
    check_size(plain.height, plain.width)
    rgb = plain.samples > 1
    ndim = 2 + rgb
    shape, axes = (plain.height, plain.width, plain.samples)[:ndim], ("y", "x", "s")[:ndim]
    info = PictureInfo(shape, plain.dtype, "tiff", axes, rgb, metadata=plain_metadata(head, plain))
    offset = plain.data_offset
    if offset is not None:
        check_extent(head.size, offset, info.nbytes)
    layout = TiffLayout(info, plain.flavour.order, offset, (plain.directory,))
    if not is_large(info):
        return layout
    if offset is not None:
        return replace(layout, in_place=offset)
    return replace(layout, tiles=plain_grid(head, plain))


def _describe_file(head: FileHead, path: str) -> TiffDescription:
    """Describe a file by tifffile, which opens it once; twice where it is one page short."""
    text = first_text(head)
    imagej = text.startswith(b"ImageJ=")
    directories = 0 if imagej else check_chain(head)
    xml = companion_xml(path, text)
    options: dict[str, Any] = {"omexml": xml} if xml else {}
    with open_tifffile(path, **options) as tif:
        # Where the first directory says where all pixels are, the others need not be walked.
        if imagej and contiguous_from(tif, tif.series[0]) is None:
            directories = check_chain(head)
        # Of ScanImage's files, tifffile works out where the pages are, and is sometimes one short.
        if not tif.is_scanimage or len(tif.pages) >= directories:
            return _describe_images(tif, head.size)
    with open_tifffile(path, is_scanimage=False, **options) as tif:
        return _describe_images(tif, head.size)


def _describe_images(tif: tifffile.TiffFile, size: int) -> TiffDescription:
    """Describe all images of a file, those first that it holds itself."""
    if not len(tif.pages):
        raise PictureError(
            "a TIFF file without a page",
            "at least one page",
            "the file is damaged: export it again",
        )
    own = [number for number, series in enumerate(tif.series) if _is_held(tif, series)]
    others = sorted(set(range(len(tif.series))).difference(own))
    numbers = [*own, *others][:MOST_SERIES]
    _check_kind(tif, tif.series[numbers[0]])
    first = _describe(tif, numbers[0], size)
    metadata = dict(first.info.metadata)
    if len(tif.series) > 1:
        metadata["images"] = len(tif.series)
    if _is_shorter(tif, tif.series[numbers[0]]) and len(tif.pages) > 1:
        described = (tif.imagej_metadata or {}).get("images", "more")
        metadata["note"] = f"{len(tif.pages)} planes are there, {described} are described"
    elif len(own) > 1:
        metadata["note"] = f"{len(own)} series of images; the first is shown"
    first = replace(first, info=replace(first.info, metadata=metadata))
    further = (_describe_further(tif, number, size) for number in numbers[1:])
    return TiffDescription((first, *filter(None, further)), tag_fields(tif))


def _is_held(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Whether a file holds pixels of a series."""
    if not series.is_multifile:
        return not in_other_files(tif, series)
    own = tif.filehandle.path
    return any(page is not None and page.parent.filehandle.path == own for page in series)


def _describe_further(tif: tifffile.TiffFile, number: int, size: int) -> TiffLayout | None:
    """Describe a series behind the first: None where it is damaged or promises too much."""
    try:
        layout = _describe(tif, number, size)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the others are fine
        return None
    packed = layout.info.page_nbytes
    return layout if packed <= max(BOMB_FLOOR, BOMB_RATIO * size) else None


def _check_kind(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise where an ImageJ stack is cut short.

    tifffile then shows its first plane, as if there were no others. ImageJ writes the directory
    before the pixels. Behind them it is that of a program that took the description over from a
    longer stack: what is there is all. So it is where planes have directories of their own.
    """
    page = tif.pages.first
    foreign = len(page.dataoffsets) > 0 and page.dataoffsets[0] < page.offset
    alone = _is_shorter(tif, series) and len(tif.pages) == 1
    if alone and not foreign:
        raise TruncatedError(
            "an ImageJ stack with less data than it describes", "all planes of its description"
        )


def _is_shorter(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Whether ImageJ's description is of more planes than the file has."""
    return bool(tif.is_imagej) and series.kind in ("generic", "uniform")


def _describe(tif: tifffile.TiffFile, number: int, size: int) -> TiffLayout:
    """Describe a series of a file of `size` bytes."""
    series = tif.series[number]
    letters, shape = _axes_with_pixels(series)
    dtype = np.dtype(series.dtype).newbyteorder("=")
    start = contiguous_from(tif, series)
    page_ndim, data_offset, directories, files = _pages(tif, series, shape, start)
    axes, rgb = _named_axes(letters, shape, series.keyframe)
    order = _shown_order(axes, rgb=rgb)
    if order[:page_ndim] != tuple(range(page_ndim)):  # its pages are no planes
        page_ndim, data_offset, directories, files = 0, start, None, ()
    axes = tuple(axes[axis] for axis in order)
    shape = tuple(shape[axis] for axis in order)
    metadata = series_metadata(tif, number, axes)
    if series.keyframe.dtype != series.dtype:
        data_offset = None
    offsets = data_offset if isinstance(data_offset, array) else directories
    missing = sum(not offset for offset in offsets or ())
    if missing:
        metadata["missing"] = missing
    own = tif.filehandle.path
    held = frozenset(filter(None, files))
    places = _places(own, files, offsets or ()) if held or missing else None
    info = PictureInfo(
        shape,
        dtype,
        "tiff",
        axes,
        rgb,
        pages=math.prod(shape[:page_ndim]),
        page_ndim=page_ndim,
        metadata=metadata,
        levels=len(series.levels),
        files=held,
        places=places,
    )
    if isinstance(data_offset, int):
        check_extent(size, data_offset, info.nbytes)
    around = _around(own, held) if held or missing else ()
    inside = tuple(axis - page_ndim for axis in order[page_ndim:])
    layout = TiffLayout(
        info,
        tif.byteorder,
        data_offset,
        directories,
        files,
        around,
        number,
        axes_order=() if inside == tuple(range(len(inside))) else inside,
    )
    return _cut(layout, tif, series, start)


def _places(own: str, files: Sequence[str], offsets: Sequence[int]) -> PageLocations | None:
    """Return where the pages of a set of files are, or of a file that lacks some."""
    paths = ["" if path == own else path for path in files] or [""] * len(offsets)
    return PageLocations(paths, offsets) if offsets else None


def _cut(
    layout: TiffLayout, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, start: int | None
) -> TiffLayout:
    """Return a layout with smaller pieces than pages, where they are large."""
    if not is_large(layout.info) or getattr(series, "transform", None) is not None:
        return layout
    if layout.info.levels == 1 and start is not None:
        return replace(layout, in_place=start)
    if in_other_files(tif, series):  # tiles would be those of one file
        return layout
    return replace(layout, tiles=series_grids(series))


def _axes_with_pixels(series: tifffile.TiffPageSeries) -> tuple[str, tuple[int, ...]]:
    """Return tifffile's letters of the axes, and the shape; raise for pixels of an unknown kind.

    A last axis of length one is left out: else one column would be shown.
    """
    letters, shape = series.axes, tuple(map(int, series.shape))
    _check_pixels(series, shape)
    if len(shape) > 2 and shape[-1] == 1 and letters[-1] not in "YX":
        return letters[:-1], shape[:-1]
    return letters, shape


def _check_pixels(series: tifffile.TiffPageSeries, shape: tuple[int, ...]) -> None:
    """Raise for pixels of an unknown kind, or none."""
    keyframe, damaged = series.keyframe, "the file is damaged: export it again"
    if keyframe.dtype is None and keyframe.shape:
        raise PictureError(
            f"samples of {keyframe.bitspersample} bits and format {keyframe.sampleformat}",
            "whole numbers, or floats of 16, 24, 32 or 64 bits",
            "convert the file to one of these with the program that wrote it",
        )
    if keyframe.samplesperpixel > 1 and keyframe.planarconfig not in (1, 2):
        raise PictureError(
            f"a planar configuration {keyframe.planarconfig!r}",
            "1 (the samples of a pixel side by side) or 2 (in planes of their own)",
            damaged,
        )
    if series.dtype is None or not shape or math.prod(shape) == 0:
        raise PictureError(f"an image of shape {shape}", "an image with pixels", damaged)


def _around(path: str, files: Iterable[str]) -> tuple[Any, ...]:
    """Return stamps that change where files of a set come, go or are replaced."""
    return tuple(map(FileStamp.or_none, (os.path.dirname(path), *sorted(files))))


def _pages(
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    shape: tuple[int, ...],
    start: int | None,
) -> tuple[int, int | Sequence[int] | None, Sequence[int] | None, tuple[str, ...]]:
    """Return where the pages of a series are.

    That is the number of page axes, where plain planes begin, each page's directory, and each
    page's file.
    """
    as_a_whole = 0, None, None, ()
    plane = tuple(map(int, series.keyframe.shape))
    while len(plane) > 2 and plane[-1] == 1 and plane != shape[-len(plane) :]:
        plane = plane[:-1]  # tifffile squeezes a single sample out of a series
    page_ndim = len(shape) - len(plane)
    if page_ndim < 0 or shape[page_ndim:] != plane:
        return as_a_whole
    if getattr(series, "transform", None) is not None:
        return as_a_whole
    if start is not None:
        return page_ndim, start, None, ()
    count = math.prod(shape[:page_ndim])
    # Of ImageJ, tifffile takes the pages of the file or none: neither are those of a stack that
    # others wrote anew.
    members = tif.pages[:count] if series.kind == "imagej" and len(tif.series) == 1 else series[:]
    if len(members) != count:
        return as_a_whole
    files: tuple[str, ...] = ()
    if in_other_files(tif, series):
        files = tuple("" if page is None else page.parent.filehandle.path for page in members)
        refuse_elsewhere(tif.filehandle.path, set(files))
    there = [page for page in members if page is not None]
    if all(page.offset > 0 for page in there):
        return page_ndim, None, _offsets(members, lambda page: page.offset), files
    # Frames that an index names, as that of NDTiff does.
    if not all(_is_plain_plane(page, plane, tif.byteorder) for page in there):
        return as_a_whole
    return page_ndim, _offsets(members, lambda page: page.dataoffsets[0]), None, files


def _offsets(pages: Iterable[Any], offset_of: Callable[[Any], int]) -> array[int]:
    """Return the offset of each page, 0 of one that is missing."""
    return array("Q", (offset_of(page) if page is not None else 0 for page in pages))


def _is_plain_plane(
    page: tifffile.TiffPage | tifffile.TiffFrame, shape: tuple[int, ...], order: str
) -> bool:
    """Whether a page of a series is stored as it is, in the byte order of the file."""
    keyframe = page.keyframe
    plain = keyframe is not None and keyframe.is_contiguous and keyframe.shape == shape
    return bool(plain and page.parent.byteorder == order)


def _shown_order(axes: Sequence[str], *, rgb: bool) -> tuple[int, ...]:
    """Return the order in which axes are shown: rows and columns last, but for colors."""
    last = [name for name in ("y", "x", "s")[: 2 + rgb] if name in axes]
    places = [axes.index(name) for name in last]
    return (*(place for place in range(len(axes)) if place not in places), *places)


def _named_axes(
    letters: str, shape: tuple[int, ...], keyframe: tifffile.TiffPage
) -> tuple[tuple[str, ...], bool]:
    """Return axis names, unique, and whether there are colors: samples that are shown together."""
    photometric = keyframe.photometric
    if photometric == _YCBCR and keyframe.compression in _TO_RGB:
        photometric = _RGB
    colors = letters.endswith(("S", "SYX")) and shape[letters.rindex("S")] in (3, 4)
    rgb = photometric == _RGB and colors
    result: list[str] = []
    for index, letter in enumerate(letters):
        name = _AXES.get(letter, letter.lower())
        if name == "s" and not (rgb and index == letters.rindex("S")):
            name = "c"
        base, number = name, 2
        while name in result:
            name, number = f"{base}{number}", number + 1
        result.append(name)
    return tuple(result), rgb
