"""FITS images that are compressed tile by tile, as `astropy` unpacks them.

Format: FITS Standard 4.0, section 10 (representations of compressed data).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.sources.binary.chunk_sizes import BAND
from napari_lazyload.sources.binary.compressed import MOST_PACKED
from napari_lazyload.sources.binary.fits_cards import is_whole
from napari_lazyload.sources.files import refuse_if

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.sources.binary.read_strided import Array


@dataclass(frozen=True, slots=True)
class CompressedTiles:
    """Reads boxes of a compressed image; of the file, only the tiles that they touch.

    Parameters
    ----------
    path : str
        Absolute path.
    number : int
        Of the header-and-data unit.
    scaled : bool
        Whether stored values are scaled as the header says.
    """

    path: str
    number: int
    scaled: bool

    def __call__(self, box: Box) -> Array:
        """Return the pixels of a box."""
        from astropy.io import fits

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about cards that astropy mends
            with fits.open(self.path, do_not_scale_image_data=not self.scaled) as units:
                part = units[self.number].section[tuple(slice(*bounds) for bounds in box)]
                return np.asarray(part)


def tile_grid(
    path: str, shape: Sequence[int], itemsize: int, cards: Mapping[str, Any], *, count: int
) -> ChunkGrid:
    """Return chunks of whole tiles: several small ones together.

    Parameters
    ----------
    path : str
        The file, for messages.
    shape : sequence of int
        Of the image, the fastest axis last.
    itemsize : int
        Bytes of a pixel.
    cards : mapping
        The header. Without sizes of tiles, a tile is a row.
    count : int
        Rows of the table, each of which is a tile.

    Raises
    ------
    SourceOpenError
        If a tile is no part of the image, or too large to be unpacked in one piece, or there are
        not as many tiles as cover the image.
    """
    ndim = len(shape)
    rows = [shape[-1], *[1] * (ndim - 1)]
    tile = [cards.get(f"ZTILE{number}", rows[number - 1]) for number in range(ndim, 0, -1)]
    refuse_if(
        not all(is_whole(size) and size > 0 for size in tile),
        path,
        f"sizes of tiles along {ndim} axes",
        repr(tile),
        "its header is damaged",
    )
    chunk = list(map(min, tile, shape))
    refuse_if(
        prod(chunk) * itemsize > MOST_PACKED,
        path,
        f"at most {MOST_PACKED >> 30} GiB in one compressed tile",
        f"tiles of {tuple(chunk)} pixels",
        "unpack it (funpack) to read it in place",
    )
    needed = prod(-(-size // step) for size, step in zip(shape, chunk, strict=True))
    refuse_if(
        needed != count,
        path,
        f"{needed:,} compressed tiles, which cover the image",
        f"{count:,}",
        "its header is damaged",
    )
    for axis in reversed(range(ndim)):
        count = max(1, BAND // (prod(chunk) * itemsize))
        chunk[axis] = min(chunk[axis] * count, shape[axis])
        if chunk[axis] < shape[axis]:
            break
    return ChunkGrid(tuple(shape), tuple(chunk))
