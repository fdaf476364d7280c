"""Raw files that a script describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from napari_lazyload.arrays.image import Image
from napari_lazyload.sources.binary.raw_description import absolute, described_source, description

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence


def open_memmap(
    path: str | os.PathLike[str],
    *,
    dtype: Any,
    shape: int | Sequence[int] | None = None,
    offset: int = 0,
    order: Literal["C", "F"] = "C",
    chunks: Any = "auto",
    key: str | None = None,
    positions: Any = None,
) -> Image:
    """Open a raw file lazily; nothing is read, and nothing stays mapped or open.

    Like ``numpy.memmap`` in what it describes. Each chunk opens the file, reads its own bytes and
    closes it, so that the file may grow, be replaced (its new pixels are shown) or cut short (reads
    then raise `ChunkReadError`).

    Parameters
    ----------
    path : str or path
        The file.
    dtype : dtype-like
        Of a pixel as stored, byte order included; or a structured type, such as frames with a
        header before each: ``[("header", "V64"), ("pixels", "<u2", (512, 512))]``.
    shape : int or tuple of int, optional
        Slowest axis first; one size may be -1. By default as many as the file holds behind
        `offset`. The axes of a field come after these.
    offset : int
        Bytes before the first pixel.
    order : {"C", "F"}
        Whether the last axis or the first one is stored fastest.
    chunks : "auto", str, int, tuple or mapping
        In which pieces to read: ``"auto"`` (planes, large ones in bands of rows, small ones several
        together), bytes such as ``"16 MiB"``, one size for all axes (-1: all of it), one for each
        axis (a number, None, or a tuple of sizes), or a mapping from axis name or number.
    key : str, optional
        The field of a structured type to show.
    positions : array-like of int, optional
        Where each frame of the file belongs on a grid: (frames,) or (frames, grid axes). `shape`
        then begins with the sizes of the grid (by default as far as the positions reach); places
        without a frame are 0.

    Returns
    -------
    Image
        With axes named after the end of ``t c z y x``.

    Raises
    ------
    SourceOpenError
        If the file is not there, may not be read, or is too short.
    ValueError
        If an argument does not make sense, or chunks do not suit the shape; the message says why.

    Examples
    --------
    >>> import napari_lazyload as nl
    >>> image = nl.open_memmap("camera.raw", dtype=">u2", shape=(-1, 2048, 2048))  # doctest: +SKIP
    """
    what = description(dtype, shape, offset, order, key, positions=positions)
    return Image(described_source(absolute(path), what, chunks=chunks))
