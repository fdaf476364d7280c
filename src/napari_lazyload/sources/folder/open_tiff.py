"""One TIFF file, or the companion that describes a set of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.folder.open_folder import open_pictures
from napari_lazyload.sources.image_header import FileHead
from napari_lazyload.sources.tiff.ifd import SIGNATURES, read_plain
from napari_lazyload.sources.tiff.ome_xml import COMPANION, described_file
from napari_lazyload.sources.tiff.tiled import LARGE

if TYPE_CHECKING:
    from napari_lazyload.sources.opened import OpenResult


def takes_listed_tiff(path: str) -> bool:
    """Whether the only path of a list is opened as a file: a small page alone stays a list.

    Parameters
    ----------
    path : str
        The path, which ends like a TIFF file or a companion.
    """
    if path.lower().endswith(COMPANION):
        return os.path.isfile(path)
    try:
        with FileHead(path) as head:
            if not head.data.startswith(SIGNATURES):
                return False
            plain = read_plain(head)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the reader of lists says so
        return False
    if plain is None:
        return True
    return plain.height * plain.width * plain.samples * plain.dtype.itemsize > LARGE


def open_tiff(path: str, **options: Any) -> OpenResult:
    """Open one TIFF file, or the files beside a companion, as `open_pictures` does.

    Raises
    ------
    SourceOpenError
        If it cannot be read.
    """
    if path.lower().endswith(COMPANION):
        path = described_file(path)
    return open_pictures(path, **options)
