"""TIFF: one page after the other, through `tifffile`.

Pages are decoded alone: from one block of the file where the whole series is contiguous (ImageJ
stacks of a single directory too), else from their own directories, found without a walk along the
chain.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lazyload.sources.image_header import PictureError, TruncatedError
from napari_lazyload.sources.tiff.metadata import quiet_tifffile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import tifffile

    from napari_lazyload.sources.tiff.layout import TiffLayout

#: Lower-case suffixes of TIFF files, slide scanners' and instruments' among them.
# fmt: off
SUFFIXES = (
    ".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".stk", ".gel", ".pcoraw", ".flex", ".svs",
    ".ndpi", ".scn", ".qptiff", ".qpi", ".ptif", ".ptiff", ".bif", ".avs", ".zif", ".eer",
)
# fmt: on

# Above this size of a decoded page, tifffile may use its own threads; below, the caller's pool is
# parallel enough.
_THREADED_BYTES = 2**26

_DAMAGED = "the file is damaged: export it again"


@contextmanager
def open_tifffile(path: str, **options: Any) -> Iterator[tifffile.TiffFile]:
    """Open a file with tifffile, without its log messages."""
    import tifffile

    with quiet_tifffile(), tifffile.TiffFile(path, **options) as tif:
        yield tif


def refuse_elsewhere(own: str, files: Iterable[str]) -> None:
    """Raise for planes in another folder, to which an index can point: no file chooses others."""
    folder = os.path.join(os.path.dirname(own), "")
    away = [file for file in files if file and not os.path.normpath(file).startswith(folder)]
    if away:
        raise PictureError(
            f"planes in a file of another folder ({os.path.basename(away[0])})",
            "planes in the folder of the file",
            "move them beside it",
        )


def in_other_files(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Whether pixels of a series are in other files.

    tifffile would look here for those that just one other file holds.
    """
    return bool(
        series.is_multifile or series.keyframe.parent.filehandle.path != tif.filehandle.path
    )


def contiguous_from(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> int | None:
    """Return where the pixels of a series begin that lie together, else None.

    tifffile takes ImageJ at its word that all planes follow the first, as they do in stacks beyond
    4 GiB; other programs keep the description and put each plane elsewhere.
    """
    # Nothing is at 0: the plane was left out.
    if not series.dataoffset or in_other_files(tif, series):
        return None
    start, nbytes = int(series.dataoffset), int(series.keyframe.nbytes)
    if tif.is_imagej and series.nbytes > nbytes and tif.pages.is_multipage:
        second = tif.pages[1].dataoffsets
        return start if second and second[0] == start + nbytes else None
    return start


def decode_page(path: str, layout: TiffLayout, page: int) -> npt.NDArray[Any]:
    """Decode one page."""
    pixels = _stored_page(path, layout, page)
    shape = layout.stored_page_shape
    if pixels.size != math.prod(shape):
        return pixels
    pixels = pixels.reshape(shape)
    if layout.axes_order:
        pixels = np.ascontiguousarray(pixels.transpose(layout.axes_order))
    return pixels


def _stored_page(path: str, layout: TiffLayout, page: int) -> npt.NDArray[Any]:
    """Return the pixels of one page as they are stored; zeros where no file holds it."""
    if _is_missing(layout, page):
        return np.zeros(layout.stored_page_shape, layout.info.dtype)
    if layout.data_offset is not None:
        return _read_plane(path, layout, page)
    threads = None if layout.info.page_nbytes > _THREADED_BYTES else 1
    if layout.directories is None:
        return _read_series(path, layout.number, threads)
    offset = layout.directories[page]
    with open_tifffile(_file_of(path, layout, page)) as tif:
        found = page_at(tif, offset, page)
        if _is_left_out(found):
            return np.full(found.shape, found.nodata, layout.info.dtype)
        check_segments(found, tif.filehandle.size)
        return _native(found.asarray(maxworkers=threads))


def _file_of(path: str, layout: TiffLayout, page: int) -> str:
    """Return the file that holds a page."""
    return layout.files[page] if layout.files else path


def _is_missing(layout: TiffLayout, page: int) -> bool:
    """Whether a page is described that no file holds: it was not recorded, or its file is gone."""
    offsets = layout.directories if layout.data_offset is None else layout.data_offset
    return offsets is not None and not isinstance(offsets, int) and not offsets[page]


def _read_series(path: str, number: int, threads: int | None) -> npt.NDArray[Any]:
    """Decode a series that has no pages of its own, as one."""
    with open_tifffile(path) as tif:
        series = tif.series[number]
        if in_other_files(tif, series) and not series.is_multifile:
            found = f"an image that another file holds ({series.keyframe.parent.filehandle.name})"
            raise PictureError(found, "one of its own", "open that file")
        for page in series:
            if page is not None:  # tifffile fills up with zeros
                check_segments(page, page.parent.filehandle.size)
        return _native(series.asarray(maxworkers=threads))


def page_at(tif: tifffile.TiffFile, offset: int, index: int) -> tifffile.TiffPage:
    """Return the page of a directory without the ones before it.

    The directories of Zeiss and Hamamatsu say wrong things. tifffile mends them in its list of all
    pages.
    """
    import tifffile

    first = tif.pages.first
    if first.offset == offset:
        return first
    mended: Any = None
    if tif.is_lsm or tif.is_ndpi:
        mended = next(page for page in tif.pages if page.offset == offset)
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
    with open(_file_of(path, layout, page), "rb", buffering=0) as file:
        check_extent(os.fstat(file.fileno()).st_size, offset, info.page_nbytes)
        file.seek(offset)
        result = np.empty(layout.stored_page_shape, info.dtype.newbyteorder(layout.order))
        view = result.view(np.uint8).data.cast("B")
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


def check_extent(size: int, offset: int, nbytes: int) -> None:
    """Raise TruncatedError where a file ends before its data does."""
    if offset + nbytes > size:
        found = f"a file of {size:,} bytes"
        raise TruncatedError(found, f"pixels up to byte {offset + nbytes:,}, as its header says")


def _is_left_out(page: tifffile.TiffPage) -> bool:
    """Whether no pixel is stored, as in sparse files of GDAL.

    tifffile knows it of strips and tiles alone.
    """
    return page.is_contiguous and not page.dataoffsets[0] and page.dtype is not None


def check_segments(page: tifffile.TiffPage | tifffile.TiffFrame, size: int) -> None:
    """Raise where strips or tiles are missing or cut short: their pixels would be undefined.

    Parameters
    ----------
    page : TiffPage or TiffFrame
        The page.
    size : int
        Bytes of its file.
    """
    keyframe = page.keyframe
    if keyframe is None or keyframe.dtype is None:
        raise PictureError("a page without a data type", "one that is known", _DAMAGED)
    offsets, counts = page.dataoffsets, page.databytecounts
    if keyframe.is_contiguous:
        if not offsets[0]:
            raise PictureError("a page without pixels", "one with them", _DAMAGED)
        check_extent(size, offsets[0], math.prod(keyframe.shape) * keyframe.dtype.itemsize)
        return
    check_count(page, keyframe)
    for offset, count in zip(offsets, counts, strict=False):
        if offset and offset + count > size:
            check_extent(size, offset, count)


def check_count(page: tifffile.TiffPage | tifffile.TiffFrame, keyframe: Any) -> None:
    """Raise where a page has fewer strips or tiles than its keyframe is cut into."""
    count, expected = len(page.dataoffsets), math.prod(keyframe.chunked)
    if not count or count < expected or len(page.databytecounts) < count:
        found = f"a page with {count} of {expected} strips or tiles"
        raise PictureError(found, "all of them", _DAMAGED)
