"""For a napari without the slice request class that :mod:`.display` uses: public names, and a look at who is asking."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from napari_lazyload import arrays
from napari_lazyload.loading import status

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import BlockIndex
    from napari_lazyload.core.errors import ChunkReadError

_DEPTH = 12


def install() -> None:
    """From now on, unreadable chunks are blank where napari's layers slice, and an error for everyone else."""
    arrays.viewer_asks = _viewer_asks


def _viewer_asks(array: arrays.LazyArray) -> arrays.Failed | None:
    """Return who hears of unreadable chunks where one of napari's layers is slicing; None for any other reader."""
    frame = sys._getframe(2)  # noqa: SLF001 - inspect.stack() would read source files at each view
    for _ in range(_DEPTH):
        # Layer.save() lives in napari.layers too, so the module's name alone does not tell.
        if frame.f_globals.get("__name__", "").startswith("napari.layers.") and "slice" in frame.f_code.co_name:
            return lambda index, error: _note(array, index, error)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None


def _note(array: arrays.LazyArray, index: BlockIndex, error: ChunkReadError) -> None:
    if array.source is not None:
        status.shared.fail(array.source.token, array.level, index, str(error))
