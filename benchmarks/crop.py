"""Crops: what they read, and their time by the fastest direct read of the same bytes.

A box of 64 x 64 x 64 out of 100 x 2048 x 2048 says what it costs before it reads, and reads each
touched chunk once. Then 184 MB each out of a Zarr array with zstd (by tensorstore), a folder of PNG
files (by a thread pool over the same decoder) and a raw volume (by positioned reads in as many
threads), the file cache warm. Processor time is what the work costs, also while the machine does
something else.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore as ts
import zarr
import zarr_read
from _common import Row, data_folder, finish, parser, take_turns
from _folders import make_folder

import napari_lazyload as nl
from napari_lazyload.loading import cache
from napari_lazyload.sources.image_files.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]

FRAMES, SIDE, FIRST = 64, 256, 20
MIB = 1 << 20
VOLUME, CHUNKS = (100, 2048, 2048), (16, 256, 256)
BOX = (slice(20, 84), slice(700, 764), slice(1000, 1064))


def counted(call: Callable[[], Array]) -> tuple[Array, int]:
    """Return a result, and how many chunks were read for it."""
    before = cache.shared.counters.reads
    return call(), cache.shared.counters.reads - before


def costs(data: str) -> list[Row]:
    """Return what a small box of a large volume says that it costs, and what it reads."""
    path = Path(data, "volume.zarr")
    if not path.exists():
        array = zarr.create_array(str(path), shape=VOLUME, chunks=CHUNKS, dtype="uint16")
        starts = [part.start // size * size for part, size in zip(BOX, CHUNKS, strict=True)]
        stops = [
            min(-(-part.stop // c) * c, size)
            for part, c, size in zip(BOX, CHUNKS, VOLUME, strict=True)
        ]
        around = tuple(map(slice, starts, stops))
        array[around] = np.random.default_rng(1).integers(0, 4096, array[around].shape, "uint16")
    image = nl.open_dataset(path).images[0]
    cost = nl.estimate(image, BOX)
    pixels, reads = counted(lambda: nl.crop(image, BOX))
    assert pixels.shape == (64, 64, 64)
    assert np.array_equal(pixels, zarr.open_array(str(path), mode="r")[BOX])
    touched = reads * np.prod(CHUNKS) * 2 / MIB
    name = "64 x 64 x 64 of 100 x 2048 x 2048"
    return [
        Row(
            f"{name}: chunks read",
            reads,
            cost.touched_chunks,
            "chunks",
            reads,
            cost.touched_chunks,
            kind="value",
        ),
        Row(
            f"{name}: result",
            cost.result_nbytes / MIB,
            0.5,
            "MiB",
            cost.result_nbytes / MIB,
            0.5,
            kind="value",
        ),
        Row(
            f"{name}: touched",
            cost.touched_nbytes / MIB,
            touched,
            "MiB",
            cost.touched_nbytes / MIB,
            touched,
            kind="value",
        ),
        Row(
            f"{name}: full",
            cost.full_nbytes / MIB,
            800,
            "MiB",
            cost.full_nbytes / MIB,
            800,
            kind="value",
        ),
    ]


def of_zarr(data: str, repeats: int) -> list[Row]:
    path = zarr_read.make(data, "v3 zstd")
    image = nl.open_dataset(path).images[0]
    region = tuple(slice(*pair) for pair in zarr_read.BOX)
    peer = ts.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}, read=True, open=True
    ).result()
    return compared(
        "184 MB of a Zarr array with zstd",
        lambda: nl.crop(image, region),
        lambda: peer[region].read().result(),
        "tensorstore",
        repeats,
    )


def of_folder(data: str, frames: int, repeats: int) -> list[Row]:
    folder = make_folder(data, frames, side=512)
    image = nl.open_dataset(folder).images[0]
    paths = [image.source.chunk(0, (number, 0, 0)).path for number in range(frames)]

    def pool() -> Array:
        result = np.empty(image.shape, image.dtype)

        def fill(number: int) -> None:
            result[number] = decode(paths[number])

        with ThreadPoolExecutor(nl.configure()["workers"]) as threads:
            for _ in threads.map(fill, range(frames)):
                pass
        return result

    name = f"{frames * 512 * 512 / 1e6:.0f} MB of a folder of PNG files"
    return compared(name, lambda: nl.crop(image, ()), pool, "a plain pool", repeats)


def of_raw(data: str, repeats: int) -> list[Row]:
    shape, region = zarr_read.SHAPE, tuple(slice(*pair) for pair in zarr_read.BOX)
    path = Path(data, "volume_{}x{}x{}_uint16.raw".format(*shape))
    if not path.exists():
        np.random.default_rng(2).integers(0, 4096, shape, "uint16").tofile(path)
    image = nl.open_dataset(path).images[0]
    plane = shape[1] * shape[2] * 2
    workers = nl.configure()["workers"]

    def positioned() -> Array:
        planes = region[0].stop - region[0].start
        result = np.empty((planes, *shape[1:]), "uint16")
        file = os.open(path, os.O_RDONLY)

        def fill(number: int) -> None:
            assert os.preadv(file, [result[number]], (region[0].start + number) * plane) == plane

        with ThreadPoolExecutor(workers) as threads:
            for _ in threads.map(fill, range(planes)):
                pass
        os.close(file)
        return result

    return compared(
        "184 MB of a raw volume",
        lambda: nl.crop(image, region),
        positioned,
        "positioned reads in threads",
        repeats,
    )


def compared(
    name: str, ours: Callable[[], Array], peer: Callable[[], Array], what: str, repeats: int
) -> list[Row]:
    """Return a crop's time and its processor time by those of a direct read."""
    assert np.array_equal(ours(), peer())
    wall = take_turns(ours, peer, repeats)
    processor = take_turns(ours, peer, repeats, time.process_time)
    assert len(cache.shared) == 0  # nothing was kept, so each turn read all
    return [
        wall.ratio(f"{name}, by {what}", 1.1),
        processor.ratio(f"{name}, processor time, by {what}", None),
    ]


def small_of_folder(data: str, repeats: int) -> list[Row]:
    """Return what a crop of some frames reads, and its time by a pool."""
    folder = make_folder(data, 200, side=512)
    image = nl.open_dataset(folder).images[0]
    paths = [image.source.chunk(0, (FIRST + number, 0, 0)).path for number in range(FRAMES)]
    region = (slice(FIRST, FIRST + FRAMES), slice(100, 100 + SIDE), slice(150, 150 + SIDE))

    def plain() -> Array:
        result = np.empty((FRAMES, SIDE, SIDE), image.dtype)

        def fill(number: int) -> None:
            result[number] = decode(paths[number])[region[1:]]

        with ThreadPoolExecutor(nl.configure()["workers"]) as pool:
            for _ in pool.map(fill, range(FRAMES)):
                pass
        return result

    _, reads = counted(lambda: nl.crop(image, region))
    name = f"crop {FRAMES} x {SIDE} x {SIDE}"
    return [
        Row(f"{name}: files read", reads, FRAMES, "files", reads, FRAMES, kind="value"),
        *compared(name, lambda: nl.crop(image, region), plain, "a plain pool", repeats),
    ]


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, 15).parse_args(argv)
    repeats = 3 if options.quick else options.repeats
    with data_folder(options) as data:
        rows = [
            *costs(data),
            *small_of_folder(data, repeats),
            *of_zarr(data, repeats),
            *of_folder(data, 60 if options.quick else 704, repeats),
            *of_raw(data, repeats),
        ]
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
