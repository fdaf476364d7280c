"""Binaries read in place: a terabyte, a plane against a positioned read, 10^7 chunks.

The terabyte is a sparse file. The plane is read from a file that the system has cached, past the
chunk cache, and held against ``os.preadv`` of the same bytes into a new array. What opening adds to
memory is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
from _common import Row, child, data_folder, finish, parser, take_turns

import napari_lazyload as nl
from napari_lazyload.loading import cache
from napari_lazyload.sources.binary import read_strided

MS, MIB = 1e3, 1 << 20
TERABYTE, PAGE = 1 << 40, 4096
PLANE = (2048, 4096)


def resident() -> float:
    """Return the resident memory of this process, in MiB. Linux."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def sparse(folder: str) -> str:
    path = os.path.join(folder, "terabyte_65536x2048x4096_uint16.raw")
    with open(path, "wb") as file:
        file.truncate(TERABYTE)
    return path


def opening(path: str) -> dict[str, float]:
    """In a fresh process, open once to import all, then time another opening and a slice."""
    small = os.path.join(os.path.dirname(path), "small_4x8x8_uint8.raw")
    Path(small).write_bytes(bytes(256))
    np.asarray(nl.open_dataset(small).images[0].data)
    before = resident()
    started = time.perf_counter()
    with nl.open_dataset(path) as dataset:
        image = dataset.images[0]
        spent = time.perf_counter() - started
        added = resident() - before
        assert image.nbytes == TERABYTE
    return {"spent": spent * MS, "added": added}


def plane_rows(folder: str, repeats: int) -> list[Row]:
    path = os.path.join(folder, "planes.raw")
    planes = 8
    np.random.default_rng(0).integers(0, 4096, (planes, *PLANE), np.uint16).tofile(path)
    data = nl.open_memmap(path, dtype="u2", shape=(planes, *PLANE)).data
    nbytes = PLANE[0] * PLANE[1] * 2
    file = os.open(path, os.O_RDONLY)
    # Each side by itself: the system keeps some planes in larger pieces than others, which are
    # read faster.
    turns = {side: itertools.cycle(range(planes)) for side in ("ours", "dask", "peer")}

    def ours() -> np.ndarray:
        return np.asarray(data[next(turns["ours"])])

    def by_dask() -> np.ndarray:
        return data[next(turns["dask"])].compute()

    def peer() -> np.ndarray:
        pixels = np.empty(PLANE, np.uint16)
        assert os.preadv(file, [pixels], next(turns["peer"]) * nbytes) == nbytes
        return pixels

    assert np.array_equal(
        np.asarray(data[3]),
        np.fromfile(path, np.uint16, PLANE[0] * PLANE[1], offset=3 * nbytes).reshape(PLANE),
    )
    rows = [
        take_turns(ours, peer, repeats).ratio(
            "one plane of 4096 x 2048 uint16, by a plain positioned read", 1.2
        ),
        take_turns(by_dask, peer, repeats).ratio("the same plane, as dask's compute()", 1.2),
    ]
    os.close(file)
    assert len(cache.shared) == 0, "planes that are read in place are read again each time"
    return rows


def box_row(folder: str) -> Row:
    """Return the bytes that a crop reads, by those of the pages that the rows of its box lie on."""
    path = os.path.join(folder, "volume.raw")
    shape = (6104, *PLANE)
    nbytes = shape[0] * shape[1] * shape[2] * 2
    with open(path, "wb") as file:
        file.truncate(nbytes)
    image = nl.open_memmap(path, dtype="u2", shape=shape)
    region = (slice(1000, 1064), slice(300, 1324), slice(700, 1724))
    sizes: list[int] = []
    original = read_strided._read_into

    def counted(file: object, offset: int, target: np.ndarray) -> None:
        sizes.append(target.nbytes)
        original(file, offset, target)

    read_strided._read_into = counted
    try:
        result = nl.crop(image, region)
    finally:
        read_strided._read_into = original
    assert result.shape == (64, 1024, 1024)
    starts = (
        np.add.outer(np.arange(1000, 1064) * PLANE[0], np.arange(300, 1324)).ravel() * PLANE[1] * 2
        + 1400
    )
    pages = ((starts + 2048 - 1) // PAGE - starts // PAGE + 1).sum() * PAGE
    read = sum(sizes)
    return Row(
        "bytes read for 64 x 1024 x 1024 of 100 GB, by the pages of its rows",
        read / MIB,
        pages / MIB,
        "MiB",
        read / pages,
        1.1,
    )


def many_chunks(path: str) -> list[Row]:
    count = 10_000_000
    started = time.perf_counter()
    data = nl.open_memmap(path, dtype="u1", shape=(count, 256, 256), chunks=(1, 256, 256)).data
    assert data.npartitions == count
    made = (time.perf_counter() - started) * MS
    spent = []
    for number in range(50):
        started = time.perf_counter()
        plane = data[number * 1000 + 7]
        assert len(dict(plane.__dask_graph__())) >= 1
        spent.append((time.perf_counter() - started) * MS)
    slices = float(np.median(spent))
    return [
        Row("an array of 10,000,000 chunks", made, 0, "ms", made, 1000, kind="value"),
        Row("a slice of it, with its graph", slices, 0, "ms", slices, 5, kind="value"),
    ]


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__, 41)
    arguments.add_argument("--opening", help=argparse.SUPPRESS)
    options = arguments.parse_args(argv)
    if options.opening:
        print(json.dumps(opening(options.opening)))
        return 0
    with data_folder(options) as folder:
        path = sparse(folder)
        found = [child([__file__, "--opening", path]) for _ in range(3)]
        spent, added = (min(one[name] for one in found) for name in ("spent", "added"))
        rows = [
            Row("opening a terabyte, beyond imports", spent, 0, "ms", spent, 100, kind="value"),
            Row("what that adds to memory", added, 0, "MiB", added, 20, kind="value"),
            box_row(folder),
            *plane_rows(folder, 5 if options.quick else options.repeats),
            *many_chunks(path),
        ]
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
