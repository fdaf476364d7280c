"""TIFF: header and pixels, through `tifffile`.

Each image of a file is shown as `tifffile`'s series gives it: palettes are indices, MINISWHITE is
not inverted, orientation is not applied. Pages are decoded alone: from one block of the file where
the whole series is contiguous (ImageJ stacks of a single directory too), else from their own
directories, found without a walk along the chain.
"""

from __future__ import annotations

import functools
import math
import os
from array import array
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.files import FileStamp
from napari_lazyload.sources.image_header import (
    BOMB_FLOOR,
    BOMB_RATIO,
    FileHead,
    PageLocations,
    ParsedHeader,
    PictureError,
    PictureInfo,
    TruncatedError,
    check_size,
)
from napari_lazyload.sources.tiff.ifd import Plain, check_chain, is_imagej, ome_xml, read_plain
from napari_lazyload.sources.tiff.metadata import plain_metadata, quiet_tifffile, series_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import tifffile

    from napari_lazyload.sources.tiff.ifd import ByteOrder

#: Lower-case suffixes of TIFF files, slide scanners' and instruments' among them.
SUFFIXES = (
    *(
        ".tif",
        ".tiff",
        ".btf",
        ".tf2",
        ".tf8",
        ".lsm",
        ".stk",
        ".gel",
        ".pcoraw",
        ".flex",
        ".svs",
        ".ndpi",
        ".scn",
    ),
    *(".qptiff", ".qpi", ".ptif", ".ptiff", ".bif", ".avs", ".zif", ".eer"),
)

#: More images of one file than this are not looked at.
MOST_SERIES = 64

_AXES = {"X": "x", "Y": "y", "Z": "z", "C": "c", "T": "t", "S": "s"}
_RGB, _YCBCR = 2, 6
#: Compressions whose YCbCr pixels tifffile turns into RGB: old and new JPEG, and its two siblings.
_TO_RGB = frozenset((6, 7, 34892, 33007))

#: Above this size of a decoded page, tifffile may use its own threads; below, the caller's pool is parallel enough.
_THREADED_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class TiffLayout:
    """Where the pages of a file are.

    Parameters
    ----------
    info : PictureInfo
        The public part.
    order : {"<", ">"}
        Byte order of the file.
    data_offset : int, sequence of int or None
        Where the planes begin that are stored as they are: the first of them, the others follow; or
        each (0: the plane is missing), where their directories are not known. None where they are
        not stored like that.
    directories : sequence of int or None
        Where the directory of each page is (0: the page is missing), or None where the series
        cannot be decoded page by page.
    files : tuple of str
        The file that holds each page, for a set of files; empty where this one holds all.
    around : tuple
        Of a set of files, and where pages are missing that another file may hold: stamps of the
        folder and the files.
    number : int
        Of the series in the file.
    """

    info: PictureInfo
    order: ByteOrder
    data_offset: int | Sequence[int] | None
    directories: Sequence[int] | None
    files: tuple[str, ...] = ()
    around: tuple[Any, ...] = ()
    number: int = 0


def read_header(head: FileHead) -> ParsedHeader:
    """Describe a TIFF file: by its only directory where it is plain, else by tifffile."""
    plain = read_plain(head)
    if plain is not None:
        layouts: tuple[TiffLayout, ...] = (_plain_layout(head, plain),)
    else:
        stat = os.stat(head.path)
        path = os.path.abspath(head.path)
        stamps = (FileStamp.from_stat(stat), stat.st_ctime_ns, stat.st_ino)
        layouts = _series_layouts(path, *stamps)
        if any(
            layout.around != _around(path, layout.info.files) for layout in layouts if layout.around
        ):
            _series_layouts.cache_clear()
            layouts = _series_layouts(path, *stamps)
    return ParsedHeader(layouts[0].info, layouts[0].info.page_nbytes, detail=layouts)


def _plain_layout(head: FileHead, plain: Plain) -> TiffLayout:
    """Describe a file of one page without tifffile."""
    check_size(plain.height, plain.width)
    rgb = plain.samples > 1
    shape = (plain.height, plain.width, plain.samples) if rgb else (plain.height, plain.width)
    axes = ("y", "x", "s") if rgb else ("y", "x")
    info = PictureInfo(shape, plain.dtype, "tiff", axes, rgb, metadata=plain_metadata(head, plain))
    if plain.data_offset is not None:
        _check_extent(head.size, plain.data_offset, info.nbytes)
    return TiffLayout(info, plain.flavour.order, plain.data_offset, (plain.directory,))


@functools.lru_cache(maxsize=256)
def _series_layouts(
    path: str, stamp: FileStamp, _ctime_ns: int, _inode: int
) -> tuple[TiffLayout, ...]:
    """Describe the images by tifffile; a replaced file has another key, so it is read again."""
    with FileHead(path) as head:
        directories = 0 if _tells_all(path, head) else check_chain(head)
        xml = ome_xml(head)
    more: dict[str, Any] = {"omexml": xml} if xml else {}
    with _open(path) as tif:
        # Of ScanImage's files, tifffile works out where the pages are, and is sometimes one short.
        if tif.is_scanimage and len(tif.pages) < directories:
            more["is_scanimage"] = False
    with _open(path, **more) as tif:
        if not len(tif.pages):
            raise PictureError(
                "a TIFF file without a page",
                "at least one page",
                "the file is damaged: export it again",
            )
        own = [number for number, series in enumerate(tif.series) if _is_held(tif, series)]
        # What a file holds itself comes first: the files of a set all describe all of its images.
        numbers = [*own, *sorted({*range(len(tif.series))}.difference(own))][:MOST_SERIES]
        _check_kind(tif, tif.series[numbers[0]])
        first = _describe(tif, numbers[0], stamp.size)
        said = dict(first.info.metadata)
        if len(tif.series) > 1:
            said["images"] = len(tif.series)
        if len(own) > 1:
            said["note"] = f"{len(own)} series of images; the first is shown"
        first = replace(first, info=replace(first.info, metadata=said))
        return (
            first,
            *filter(None, (_described(tif, number, stamp.size) for number in numbers[1:])),
        )


def _tells_all(path: str, head: FileHead) -> bool:
    """Return whether the first directory says where all pixels are, as ImageJ's do: the others need not be walked."""
    if not is_imagej(head):
        return False
    with _open(path) as tif:
        return contiguous_from(tif, tif.series[0]) is not None


def in_other_files(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Return whether pixels of a series are in other files; tifffile would look for those of just one here."""
    return bool(
        series.is_multifile or series.keyframe.parent.filehandle.path != tif.filehandle.path
    )


def _is_held(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Return whether a file holds pixels of a series."""
    if not series.is_multifile:
        return not in_other_files(tif, series)
    return any(
        page is not None and page.parent.filehandle.path == tif.filehandle.path for page in series
    )


def _described(tif: tifffile.TiffFile, number: int, size: int) -> TiffLayout | None:
    """Describe a series behind the first, or return None where it is damaged or promises too much: the others open."""
    try:
        layout = _describe(tif, number, size)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the others are fine
        return None
    packed = layout.info.page_nbytes
    return layout if packed <= BOMB_FLOOR or packed <= BOMB_RATIO * size else None


@contextmanager
def _open(path: str, **options: Any) -> Iterator[tifffile.TiffFile]:
    """Open a file with tifffile, without its log messages."""
    import tifffile

    with quiet_tifffile(), tifffile.TiffFile(path, **options) as tif:
        yield tif


def _check_kind(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise where an ImageJ stack is cut short: tifffile then shows its first plane, as if there were no others.

    ImageJ writes the directory before the pixels. Behind them it is that of a program that took the
    description over from a longer stack: what is there is all.
    """
    page = tif.pages.first
    foreign = len(page.dataoffsets) > 0 and page.dataoffsets[0] < page.offset
    if tif.is_imagej and series.kind in ("generic", "uniform") and not foreign:
        raise TruncatedError(
            "an ImageJ stack with less data than it describes", "all planes of its description"
        )


def _describe(tif: tifffile.TiffFile, number: int, size: int) -> TiffLayout:
    """Describe a series."""
    series = tif.series[number]
    keyframe = series.keyframe
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
            "the file is damaged: export it again",
        )
    shape = tuple(int(n) for n in series.shape)
    if series.dtype is None or not shape or math.prod(shape) == 0:
        raise PictureError(
            f"an image of shape {shape}",
            "an image with pixels",
            "the file is damaged: export it again",
        )
    dtype = np.dtype(series.dtype).newbyteorder("=")
    page_ndim, data_offset, directories, files = _pages(tif, series, shape)
    axes, rgb = _axes(series.axes, shape, keyframe)
    pages = math.prod(shape[:page_ndim])
    metadata = series_metadata(tif, number, axes)
    if keyframe.dtype != series.dtype:
        data_offset = None
    offsets = directories if isinstance(data_offset, int) or data_offset is None else data_offset
    missing = sum(not offset for offset in offsets) if offsets is not None else 0
    if missing:
        metadata["missing"] = missing
    held = frozenset(filter(None, files))
    places = None
    if offsets is not None and (held or missing):
        own = tif.filehandle.path
        places = PageLocations(
            [path if path != own else "" for path in files] or [""] * len(offsets), offsets
        )
    info = PictureInfo(
        shape,
        dtype,
        "tiff",
        axes,
        rgb,
        pages,
        page_ndim,
        metadata,
        len(series.levels),
        held,
        places,
    )
    if isinstance(data_offset, int):
        _check_extent(size, data_offset, info.nbytes)
    around = _around(tif.filehandle.path, held) if held or missing else ()
    return TiffLayout(info, tif.byteorder, data_offset, directories, files, around, number)


def _around(path: str, files: Iterable[str]) -> tuple[Any, ...]:
    """Return what changes where files of a set come, go or are replaced."""
    return tuple(map(FileStamp.or_none, (os.path.dirname(path), *sorted(files))))


def _pages(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, shape: tuple[int, ...]
) -> tuple[int, int | Sequence[int] | None, Sequence[int] | None, tuple[str, ...]]:
    """Return the number of page axes, where plain planes begin, each page's directory, and each page's file."""
    plane = tuple(int(n) for n in series.keyframe.shape)
    while len(plane) > 2 and plane[-1] == 1 and plane != shape[-len(plane) :]:
        plane = plane[:-1]  # tifffile squeezes a single sample out of a series
    page_ndim = len(shape) - len(plane)
    if (
        page_ndim < 0
        or shape[page_ndim:] != plane
        or getattr(series, "transform", None) is not None
    ):
        return 0, None, None, ()
    start = contiguous_from(tif, series)
    if start is not None:
        return page_ndim, start, None, ()
    count = math.prod(shape[:page_ndim])
    # Of ImageJ, tifffile takes the pages of the file or none: neither are those of a stack that
    # others wrote anew.
    members = tif.pages[:count] if tif.is_imagej and len(tif.series) == 1 else series[:]
    if len(members) != count:
        return 0, None, None, ()
    files = tuple("" if page is None else page.parent.filehandle.path for page in members)
    files = files if in_other_files(tif, series) else ()
    if all(page is None or page.offset > 0 for page in members):
        return (
            page_ndim,
            None,
            array("Q", (0 if page is None else page.offset for page in members)),
            files,
        )
    # Frames that an index names, as that of NDTiff does.
    if not all(page is None or _is_plain_plane(page, plane, tif.byteorder) for page in members):
        return 0, None, None, ()
    return (
        page_ndim,
        array("Q", (0 if page is None else page.dataoffsets[0] for page in members)),
        None,
        files,
    )


def _is_plain_plane(
    page: tifffile.TiffPage | tifffile.TiffFrame, shape: tuple[int, ...], order: str
) -> bool:
    """Return whether a page of a series is stored as it is, in the byte order of the file."""
    keyframe = page.keyframe
    plain = keyframe is not None and keyframe.is_contiguous and keyframe.shape == shape
    return bool(plain and page.parent.byteorder == order)


def contiguous_from(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> int | None:
    """Return where the pixels of a series begin that lie together, or None where they do not.

    tifffile takes ImageJ at its word that all planes follow the first, as they do in stacks beyond
    4 GiB; other programs keep the description and put each plane elsewhere.
    """
    if not series.dataoffset or in_other_files(
        tif, series
    ):  # nothing is at 0: the plane was left out
        return None
    start, nbytes = int(series.dataoffset), int(series.keyframe.nbytes)
    if tif.is_imagej and series.nbytes > nbytes and tif.pages.is_multipage:
        second = tif.pages[1].dataoffsets
        return start if second and second[0] == start + nbytes else None
    return start


def _axes(
    names: str, shape: tuple[int, ...], keyframe: tifffile.TiffPage
) -> tuple[tuple[str, ...], bool]:
    """Return axis names, unique, and whether the last one is colour."""
    color = keyframe.photometric == _RGB or (
        keyframe.photometric == _YCBCR and keyframe.compression in _TO_RGB
    )
    rgb = color and names.endswith("S") and shape[-1] in (3, 4)
    result: list[str] = []
    for index, letter in enumerate(names):
        name = _AXES.get(letter, "page" if letter in "QI" else letter.lower())
        if name == "s" and not (rgb and index == len(names) - 1):
            name = "c"
        base, number = name, 2
        while name in result:
            name, number = f"{base}{number}", number + 1
        result.append(name)
    return tuple(result), rgb


def decode_page(path: str, layout: TiffLayout, page: int) -> npt.NDArray[Any]:
    """Decode one page."""
    if layout.data_offset is not None:
        return _read_plane(path, layout, page)
    threads = None if layout.info.page_nbytes > _THREADED_BYTES else 1
    if layout.directories is None:
        return _read_series(path, layout.number, threads)
    offset = layout.directories[page]
    if not offset:
        raise _not_there(layout, page)
    with _open(layout.files[page] if layout.files else path) as tif:
        found = page_at(tif, offset, page)
        if _is_left_out(found):
            result = np.full(found.shape, found.nodata, layout.info.dtype)
        else:
            _check_segments(found, tif.filehandle.size)
            result = _native(found.asarray(maxworkers=threads))
    shape = layout.info.page_shape
    return result.reshape(shape) if result.size == math.prod(shape) else result


def _not_there(layout: TiffLayout, page: int) -> PictureError:
    hint = "add the missing files of this set, if it is one; else the plane was not recorded"
    return PictureError(
        f"no plane {page}", f"{layout.info.pages} planes, as its metadata says", hint
    )


def _read_series(path: str, number: int, threads: int | None) -> npt.NDArray[Any]:
    """Decode a series that has no pages of its own, as one."""
    with _open(path) as tif:
        series = tif.series[number]
        if in_other_files(tif, series) and not series.is_multifile:
            held = series.keyframe.parent.filehandle.name
            raise PictureError(
                f"an image that another file holds ({held})", "one of its own", "open that file"
            )
        for page in series:
            if page is None:
                raise PictureError(
                    "a series with missing planes",
                    "all planes",
                    "add the missing files of this set",
                )
            _check_segments(page, page.parent.filehandle.size)
        return _native(series.asarray(maxworkers=threads))


def page_at(tif: tifffile.TiffFile, offset: int, index: int) -> tifffile.TiffPage:
    """Return the page of a directory without the ones before it.

    The directories of Zeiss and Hamamatsu say wrong things, which tifffile mends in its list of all
    pages.
    """
    import tifffile

    first = tif.pages.first
    if first.offset == offset:
        return first
    mended = (
        next(page for page in tif.pages if page.offset == offset)
        if tif.is_lsm or tif.is_ndpi
        else None
    )
    if isinstance(mended, tifffile.TiffPage):
        return mended
    tif.filehandle.seek(offset)
    page = tifffile.TiffPage(tif, index)
    if mended is not None:
        page.dataoffsets, page.databytecounts = mended.dataoffsets, mended.databytecounts
    return page


def _read_plane(path: str, layout: TiffLayout, page: int) -> npt.NDArray[Any]:
    """Read one plane that is stored as it is."""
    info, start = layout.info, layout.data_offset
    assert start is not None
    offset = start + page * info.page_nbytes if isinstance(start, int) else start[page]
    if not offset:
        raise _not_there(layout, page)
    with open(layout.files[page] if layout.files else path, "rb", buffering=0) as file:
        _check_extent(os.fstat(file.fileno()).st_size, offset, info.page_nbytes)
        file.seek(offset)
        result = np.empty(info.page_shape, info.dtype.newbyteorder(layout.order))
        view = (result if result.dtype.isnative else result.view(np.uint8)).data.cast("B")
        done = 0
        while done < len(view):
            count = file.readinto(view[done:])
            if not count:
                raise TruncatedError(f"a file that ends inside plane {page}")
            done += count
    return _native(result)


def _native(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values in native byte order, swapped in place where they are not."""
    if not values.dtype.isnative:
        values = values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))
    return np.ascontiguousarray(values)


def _check_extent(size: int, offset: int, nbytes: int) -> None:
    """Raise TruncatedError where a file ends before its data does."""
    if offset + nbytes > size:
        msg = f"a file of {size:,} bytes"
        raise TruncatedError(msg, f"pixels up to byte {offset + nbytes:,}, as its header says")


def _is_left_out(page: tifffile.TiffPage) -> bool:
    """Return whether no pixel is stored, as in sparse files of GDAL; tifffile knows it of strips and tiles alone."""
    return page.is_contiguous and not page.dataoffsets[0] and page.dtype is not None


def _check_segments(page: tifffile.TiffPage | tifffile.TiffFrame, size: int) -> None:
    """Raise where strips or tiles are missing or cut short: tifffile would leave their pixels undefined."""
    keyframe = page.keyframe
    if keyframe is None or keyframe.dtype is None:
        raise PictureError(
            "a page without a data type",
            "one that is known",
            "the file is damaged: export it again",
        )
    offsets, counts = page.dataoffsets, page.databytecounts
    if keyframe.is_contiguous:
        if not offsets[0]:
            raise PictureError(
                "a page without pixels", "one with them", "the file is damaged: export it again"
            )
        _check_extent(size, offsets[0], math.prod(keyframe.shape) * keyframe.dtype.itemsize)
        return
    if not len(offsets) or len(offsets) < math.prod(keyframe.chunked) or len(counts) < len(offsets):
        msg = f"a page with {len(offsets)} of {math.prod(keyframe.chunked)} strips or tiles"
        raise PictureError(msg, "all of them", "the file is damaged: export it again")
    for offset, count in zip(offsets, counts, strict=False):
        if offset and offset + count > size:
            _check_extent(size, offset, count)
