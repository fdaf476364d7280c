"""TIFF: header and pixels, through `tifffile`.

A file is shown as `tifffile`'s series 0 gives it: palettes are indices, MINISWHITE is not inverted, orientation is not
applied. Pages are decoded alone: from one block of the file where the whole series is contiguous (ImageJ stacks of a
single directory too), else from their own directories, found without a walk along the chain.
"""

from __future__ import annotations

import functools
import math
import os
from array import array
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.picture_files import Head
from napari_lazyload.sources.picture_info import (
    Header,
    PictureError,
    PictureInfo,
    TruncatedError,
    check_size,
)
from napari_lazyload.sources.picture_tiff_ifd import Plain, check_chain, read_plain
from napari_lazyload.sources.picture_tiff_meta import plain_metadata, quiet_tifffile, series_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tifffile

    from napari_lazyload.sources.picture_tiff_ifd import ByteOrder

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
    data_offset : int or None
        Where the planes begin, one behind the other, or None where they are not stored like that.
    directories : sequence of int or None
        Where the directory of each page is (0: the page is missing), or None where the series cannot be decoded page by
        page.
    files : tuple of str
        The file that holds each page, for a set of files; empty where this one holds all.
    """

    info: PictureInfo
    order: ByteOrder
    data_offset: int | None
    directories: Sequence[int] | None
    files: tuple[str, ...] = ()


def read_header(head: Head) -> Header:
    """Describe a TIFF file: by its only directory where it is plain, else by tifffile."""
    plain = read_plain(head)
    if plain is not None:
        layout = _plain_layout(head, plain)
    else:
        stat = os.stat(head.path)
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        path = os.path.abspath(head.path)
        layout = _series_layout(path, stamp)
        if layout.files or 0 in (layout.directories or ()):  # a set of files: the others may have come or gone
            layout = _series_layout.__wrapped__(path, stamp)
    return Header(layout.info, layout.info.page_nbytes, detail=layout)


def _plain_layout(head: Head, plain: Plain) -> TiffLayout:
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
def _series_layout(path: str, stamp: tuple[int, ...]) -> TiffLayout:
    """Describe a file through tifffile; `stamp` is part of the key, so that a replaced file is looked at anew."""
    with Head(path) as head:
        check_chain(head)
    with _open(path) as tif:
        if not len(tif.pages):
            raise PictureError(
                "a TIFF file without a page", "at least one page", "the file is damaged: export it again"
            )
        series = tif.series[0]
        _check_kind(tif, series)
        return _describe(tif, series, stamp[0])


@contextmanager
def _open(path: str) -> Iterator[tifffile.TiffFile]:
    """Open a file with tifffile, without its log messages."""
    import tifffile

    with quiet_tifffile(), tifffile.TiffFile(path) as tif:
        yield tif


def _check_kind(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise where an ImageJ stack is cut short: tifffile then shows its first plane, as if there were no others."""
    if tif.is_imagej and series.kind in ("generic", "uniform"):
        raise TruncatedError("an ImageJ stack with less data than it describes", "all planes of its description")


def _describe(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, size: int) -> TiffLayout:
    """Describe a series."""
    keyframe = series.keyframe
    shape = tuple(int(n) for n in series.shape)
    if series.dtype is None or not shape or math.prod(shape) == 0:
        raise PictureError(f"an image of shape {shape}", "an image with pixels", "the file is damaged: export it again")
    dtype = np.dtype(series.dtype).newbyteorder("=")
    page_ndim, data_offset, directories, files = _pages(tif, series, shape)
    axes, rgb = _axes(series.axes, shape, keyframe)
    pages = math.prod(shape[:page_ndim])
    metadata = series_metadata(tif, series, axes)
    if keyframe.dtype != series.dtype:
        data_offset = None
    info = PictureInfo(shape, dtype, "tiff", axes, rgb, pages, page_ndim, metadata)
    if data_offset is not None:
        _check_extent(size, data_offset, info.nbytes)
    return TiffLayout(info, tif.byteorder, data_offset, directories, files)


def _pages(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, shape: tuple[int, ...]
) -> tuple[int, int | None, Sequence[int] | None, tuple[str, ...]]:
    """Return the number of page axes, where contiguous planes begin, each page's directory, and each page's file."""
    plane = tuple(int(n) for n in series.keyframe.shape)
    while len(plane) > 2 and plane[-1] == 1 and plane != shape[-len(plane) :]:
        plane = plane[:-1]  # tifffile squeezes a single sample out of a series
    page_ndim = len(shape) - len(plane)
    if page_ndim < 0 or shape[page_ndim:] != plane or getattr(series, "transform", None) is not None:
        return 0, None, None, ()
    if series.dataoffset is not None and not series.is_multifile:
        return page_ndim, int(series.dataoffset), None, ()
    if len(series) != math.prod(shape[:page_ndim]):
        return 0, None, None, ()
    directories = array("Q")
    files = []
    for page in series:
        directories.append(0 if page is None else page.offset)
        files.append("" if page is None else page.parent.filehandle.path)
        if page is not None and page.offset <= 0:  # a virtual frame
            return 0, None, None, ()
    return page_ndim, None, directories, tuple(files) if series.is_multifile else ()


def _axes(names: str, shape: tuple[int, ...], keyframe: tifffile.TiffPage) -> tuple[tuple[str, ...], bool]:
    """Return axis names, unique, and whether the last one is colour."""
    colour = keyframe.photometric == _RGB or (keyframe.photometric == _YCBCR and keyframe.compression in _TO_RGB)
    rgb = colour and names.endswith("S") and shape[-1] in (3, 4)
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
        return _read_series(path, threads)
    offset = layout.directories[page]
    if not offset:
        msg = f"no plane {page}"
        raise PictureError(
            msg, f"{layout.info.pages} planes, as its metadata says", "add the missing files of this set"
        )
    with _open(layout.files[page] if layout.files else path) as tif:
        found = _page_at(tif, offset, page)
        _check_segments(found, tif.filehandle.size)
        result = _native(found.asarray(maxworkers=threads))
    shape = layout.info.page_shape
    return result.reshape(shape) if result.size == math.prod(shape) else result


def _read_series(path: str, threads: int | None) -> npt.NDArray[Any]:
    """Decode a series that has no pages of its own, as one."""
    with _open(path) as tif:
        series = tif.series[0]
        for page in series:
            if page is None:
                raise PictureError("a series with missing planes", "all planes", "add the missing files of this set")
            _check_segments(page, page.parent.filehandle.size)
        return _native(series.asarray(maxworkers=threads))


def _page_at(tif: tifffile.TiffFile, offset: int, index: int) -> tifffile.TiffPage:
    """Return the page of a directory without the ones before it."""
    import tifffile

    first = tif.pages.first
    if first.offset == offset:
        return first
    tif.filehandle.seek(offset)
    return tifffile.TiffPage(tif, index)


def _read_plane(path: str, layout: TiffLayout, page: int) -> npt.NDArray[Any]:
    """Read one plane of contiguous data."""
    info = layout.info
    assert layout.data_offset is not None
    offset = layout.data_offset + page * info.page_nbytes
    with open(path, "rb", buffering=0) as file:
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


def _check_segments(page: tifffile.TiffPage | tifffile.TiffFrame, size: int) -> None:
    """Raise where strips or tiles are missing or cut short: tifffile would leave their pixels undefined."""
    keyframe = page.keyframe
    if keyframe is None or keyframe.dtype is None:
        raise PictureError("a page without a data type", "one that is known", "the file is damaged: export it again")
    offsets, counts = page.dataoffsets, page.databytecounts
    if keyframe.is_contiguous:
        _check_extent(size, offsets[0], math.prod(keyframe.shape) * keyframe.dtype.itemsize)
        return
    if not len(offsets) or len(offsets) < math.prod(keyframe.chunked) or len(counts) < len(offsets):
        msg = f"a page with {len(offsets)} of {math.prod(keyframe.chunked)} strips or tiles"
        raise PictureError(msg, "all of them", "the file is damaged: export it again")
    for offset, count in zip(offsets, counts, strict=False):
        if offset and offset + count > size:
            _check_extent(size, offset, count)
