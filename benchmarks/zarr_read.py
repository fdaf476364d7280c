"""Reading Zarr chunks against tensorstore: one plane, and a box of 184 MB, the file cache warm.

Version 2 with blosc, version 3 with zstd, and version 3 with zstd in shards, as zarr writes them;
noise over a slope, in uint16, which zstd packs to about two thirds. The chunk cache keeps nothing
between turns.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore as ts
import zarr
from _common import Row, data_folder, finish, parser, take_turns
from numcodecs import Blosc
from zarr.codecs import ZstdCodec

from napari_lazyload.core.metadata import ImageMeta, LevelMeta
from napari_lazyload.loading.read_box import read_box
from napari_lazyload.sources.zarr.array import open_array
from napari_lazyload.sources.zarr.node import read_node
from napari_lazyload.sources.zarr.open_store import open_store

if TYPE_CHECKING:
    from napari_lazyload.core.chunks import BlockIndex, Box
    from napari_lazyload.sources.zarr.array import ZarrChunk

SHAPE, CHUNKS, SHARDS = (96, 1024, 1024), (16, 256, 256), (32, 1024, 1024)
STORES: dict[str, dict[str, Any]] = {
    "v2 blosc": {"zarr_format": 2, "compressors": Blosc("lz4", 5, Blosc.SHUFFLE)},
    "v3 zstd": {"zarr_format": 3, "compressors": ZstdCodec(level=3)},
    "v3 zstd sharded": {"zarr_format": 3, "compressors": ZstdCodec(level=3), "shards": SHARDS},
}
PLANE: Box = ((40, 41), (0, 1024), (0, 1024))
BOX: Box = ((4, 92), (0, 1024), (0, 1024))


class OneArray:
    """An array as a source: all that `read_box` asks for."""

    def __init__(self, path: str) -> None:
        store = open_store(path)
        node = read_node(store)
        assert node is not None
        self.array = open_array(store, node)
        self.token = path
        self.meta = ImageMeta(
            "array", tuple("zyx"), self.array.dtype, (LevelMeta(self.array.grid, (1.0,) * 3),)
        )

    def chunk(self, _level: int, index: BlockIndex) -> ZarrChunk:
        return self.array.chunk(index)


def make(data: str, name: str) -> str:
    """Write an array, if it is not there yet."""
    path = os.path.join(data, f"{name.replace(' ', '-')}.zarr")
    if not Path(path).exists():
        rng = np.random.default_rng(7)
        slope = np.linspace(200, 900, SHAPE[2])
        array = zarr.create_array(path, shape=SHAPE, chunks=CHUNKS, dtype="uint16", **STORES[name])
        for start in range(0, SHAPE[0], SHARDS[0]):
            part = (SHARDS[0], *SHAPE[1:])
            array[start : start + SHARDS[0]] = (
                (rng.normal(0, 60, part) + slope).clip(0, None).astype("uint16")
            )
    return path


def rows(data: str, name: str, repeats: int) -> list[Row]:
    path = make(data, name)
    source = OneArray(path)
    driver = "zarr" if "v2" in name else "zarr3"
    peer = ts.open(
        {"driver": driver, "kvstore": {"driver": "file", "path": path}}, read=True, open=True
    ).result()
    found = []
    for what, box, turns in (("plane", PLANE, 5 * repeats), ("184 MB", BOX, repeats)):
        place = tuple(slice(*pair) for pair in box)

        def ours(box: Box = box) -> np.ndarray[Any, Any]:
            return read_box(source, 0, box, keep=False)

        def theirs(place: tuple[slice, ...] = place) -> np.ndarray[Any, Any]:
            return peer[place].read().result()

        assert np.array_equal(ours(), theirs())
        found.append(
            take_turns(ours, theirs, turns).ratio(f"{what} of {name}, by tensorstore", 1.1)
        )
    return found


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, 15).parse_args(argv)
    repeats = 3 if options.quick else options.repeats
    with data_folder(options) as data:
        table = [row for name in STORES for row in rows(data, name, repeats)]
    return finish(table, options)


if __name__ == "__main__":
    sys.exit(main())
