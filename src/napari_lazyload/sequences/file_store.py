"""Where the pixels of a sequence come from: files, or arrays in memory."""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_lazyload.loading import scheduler
from napari_lazyload.loading.read_box import read_chunk
from napari_lazyload.sources.files import FileStamp
from napari_lazyload.sources.folder.file_set import UNREAD, UNREADABLE, FileSet
from napari_lazyload.sources.folder.listing import Listing
from napari_lazyload.sources.folder.page_chunk import PictureChunk
from napari_lazyload.sources.image_files import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_lazyload.sources.image_files.decode import PictureInfo

Array: TypeAlias = "np.ndarray[Any, Any]"
Form: TypeAlias = "tuple[tuple[int, ...], np.dtype[Any]]"
"""Shape and type of an image."""
Store: TypeAlias = "Files | Arrays"


def form_of(pixels: Array) -> Form:
    """Return shape and dtype of an array."""
    return pixels.shape, pixels.dtype


def in_parallel(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Return ``work(item)`` for each item, in order; the first error is raised."""
    results: list[Any] = [None] * len(items)

    def put(place: int) -> None:
        results[place] = work(items[place])

    scheduler.shared.each(put, range(len(items)))
    return results


class Files:
    """Pictures on disk.

    Parameters
    ----------
    root : str
        Absolute folder that the names start from.
    names : sequence of str
        Paths from `root` with ``/`` between parts.
    """

    lazy = True

    def __init__(self, root: str, names: Array | Sequence[str]) -> None:
        self.root = root
        self.names = np.empty(len(names), object)
        self.names[:] = names
        self._files = FileSet(Listing(root, self.names))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Files, (self.root, self.names.tolist()))

    def take(self, rows: Array) -> Files:
        """Return a store of some of these pictures."""
        return Files(self.root, self.names[rows])

    def in_memory(self) -> Arrays:
        """Return these pictures, all read; none of them enters the chunk cache."""
        arrays = in_parallel(lambda row: self.read(row, keep=False), range(len(self.names)))
        for pixels in arrays:
            pixels.flags.writeable = False
        return Arrays(self.root, self.names, arrays)

    def path(self, row: int) -> str:
        """Return the absolute path of a picture."""
        return self._files.path(row)

    def _info(self, row: int) -> PictureInfo:
        """Return the header, read again where the file was changed or could not be read."""
        files, path = self._files, self.path(row)
        kind = files.read_header(row)
        probed = files.probed(row)
        if probed is None or not FileStamp.of(path).same_content(probed):
            return decode.read_info(path)
        return files.header_classes[kind]

    def form(self, row: int) -> Form:
        """Return shape and dtype from the header."""
        info = self._info(row)
        return info.shape, info.dtype

    def forms(self, rows: Array) -> set[Form]:
        """Return the distinct forms in the headers of some files; none where one is unreadable."""
        files = self._files
        for row in rows[files.kind[rows] == UNREADABLE].tolist():
            files.forget(row)  # it may have been mended
        scheduler.shared.each(files.read_header, rows[files.kind[rows] == UNREAD].tolist())
        kinds = np.unique(files.kind[rows]).tolist()
        if min(kinds, default=0) < 0:
            return set()
        infos = map(files.header_classes.__getitem__, kinds)
        return {(info.shape, info.dtype) for info in infos}

    def read(self, row: int, *, keep: bool = True, workers: int | None = None) -> Array:
        """Return all pages of a file, through the chunk cache, with which they may be shared.

        Parameters
        ----------
        row : int
            Which file.
        keep : bool
            Whether pages enter the cache.
        workers : int, optional
            Threads that read the pages, this one included; by default the setting.
        """
        info, path = self._info(row), self.path(row)
        pages, frame = info.shape[: info.page_ndim], info.shape[info.page_ndim :]
        # The same keys as those of a stack in the viewer, so that both share what is cached.
        shape = (*(1,) * (1 + len(pages)), *frame)

        def page(number: int) -> Array:
            place = self._files.place(row, number)
            chunk = PictureChunk(path, number, shape, len(frame), info.dtype, place=place)
            return read_chunk(chunk, shape, info.dtype, keep=keep).reshape(frame)

        if not pages:
            return page(0)
        pixels = np.empty((prod(pages), *frame), info.dtype)
        numbers = range(len(pixels))
        scheduler.shared.each(
            lambda number: np.copyto(pixels[number], page(number)), numbers, workers=workers
        )
        return pixels.reshape(info.shape)


class Arrays:
    """Pictures in memory.

    Parameters
    ----------
    root, names
        As of `Files`.
    arrays : list of numpy.ndarray
        Their pixels, read-only.
    """

    lazy = False

    def __init__(self, root: str, names: Array, arrays: list[Array]) -> None:
        self.root = root
        self.names = names
        self._arrays = arrays

    def take(self, rows: Array) -> Arrays:
        """Return a store of some of these pictures."""
        return Arrays(self.root, self.names[rows], [self._arrays[row] for row in rows])

    def path(self, row: int) -> str:
        """Return the absolute path that a picture was read from."""
        return os.path.join(self.root, self.names[row])  # as the listing writes it

    def form(self, row: int) -> Form:
        """Return shape and dtype."""
        return form_of(self._arrays[row])

    def forms(self, rows: Array) -> set[Form]:
        """Return the distinct forms of some pictures."""
        return {form_of(self._arrays[row]) for row in rows}

    def read(self, row: int, *, workers: int | None = None) -> Array:
        """Return the pixels."""
        return self._arrays[row]
