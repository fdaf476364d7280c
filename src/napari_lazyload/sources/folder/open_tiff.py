"""A large TIFF, opened by tiles or in place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import LazyLoadError
from napari_lazyload.sources.files import FileStamp, read_error
from napari_lazyload.sources.folder.image_stack import PictureSource
from napari_lazyload.sources.folder.open_folder import open_pictures
from napari_lazyload.sources.image_header import FileHead
from napari_lazyload.sources.tiff.ifd import SIGNATURES, read_plain
from napari_lazyload.sources.tiff.metadata import quiet_tifffile
from napari_lazyload.sources.tiff.ome_xml import COMPANION, described_file
from napari_lazyload.sources.tiff.pages import read_header
from napari_lazyload.sources.tiff.tiled import _tiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.sources.opened import OpenResult, RowSource
    from napari_lazyload.sources.tiff.ifd import Plain


LARGE = 16 << 20
"""Pages of fewer bytes are chunks of their own, as in a folder of pictures."""


def takes_large_tiff(path: str) -> bool:
    """Return whether a path is a TIFF file that may hold more than one small page, or describes such files."""
    if not os.path.isfile(path):
        return False
    if path.lower().endswith(COMPANION):
        return True
    try:
        with FileHead(path) as head:
            plain = read_plain(head) if head.data.startswith(SIGNATURES) else None
            return head.data.startswith(SIGNATURES) and (
                plain is None or page_nbytes(plain) > LARGE
            )
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the reader of pictures says so
        return False


def page_nbytes(plain: Plain) -> int:
    """Return the bytes of one page."""
    return plain.height * plain.width * plain.samples * plain.dtype.itemsize


def open_large_tiff(path: str, **options: Any) -> OpenResult:
    """Open one TIFF file as `open_pictures` does; large images and pyramids in chunks of tiles or strips, with levels.

    Raises
    ------
    SourceOpenError
        If it cannot be read.
    """
    if path.lower().endswith(COMPANION):
        path = described_file(path)
    opened = open_pictures(path, **options)
    cut = [number for number, source in enumerate(opened.sources) if _to_be_cut(source)]
    if cut:
        sources = list(opened.sources)
        try:
            _cut(os.path.abspath(path), sources, cut)
        except LazyLoadError:
            raise
        except Exception as err:
            found = f"directories that cannot be read ({type(err).__name__}: {err})"
            raise read_error(path, "a TIFF file", found, "it is damaged: copy it again") from err
        opened.sources = tuple(sources)
    return opened


def _to_be_cut(source: RowSource) -> bool:
    """Return whether an image has large pages, or levels."""
    return (
        isinstance(source, PictureSource)
        and source.info.format == "tiff"
        and (source.info.page_nbytes > LARGE or source.info.levels > 1)
    )


def _cut(path: str, sources: list[RowSource], numbers: Sequence[int]) -> None:
    """Replace some sources by such that read smaller pieces, where the file has any."""
    import tifffile

    stamp = FileStamp.at_open(path, "a TIFF file")
    with FileHead(path) as head:
        layouts = read_header(head).detail
    with quiet_tifffile(), tifffile.TiffFile(path) as tif:
        for number in numbers:
            source = sources[number]
            assert isinstance(source, PictureSource)
            series = tif.series[layouts[source.series].number]
            sources[number] = _tiled(tif, series, source.meta, (path, stamp)) or source
