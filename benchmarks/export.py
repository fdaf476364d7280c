"""Writing a large volume: an export against zarr's own writing, and its peak memory.

The volume is noise over a slope in uint16, which zstd packs to about two thirds, in an NPY file.
zarr alone gets the pixels from memory, as many at once as it takes, and writes the same chunks with
the same codec; it reads nothing. Memory is the increase of the peak resident memory (Linux) in a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from _common import MS, Row, child, data_folder, finish, parser, take_turns
from memory import forget_peak, resident
from zarr.codecs import ZstdCodec

import napari_lazyload as nl

PLANES, SIDE, SLAB = 1024, 1448, 64
QUICK_PLANES = 128
LEAST_SPEED, MOST_MB = 0.8, 1024
WAYS: dict[str, dict[str, Any]] = {
    "OME-Zarr": {"name": "out.ome.zarr", "pyramid": False},
    "OME-Zarr, shards": {"name": "out.ome.zarr", "pyramid": False, "shards": True},
    "OME-Zarr, pyramid": {"name": "out.ome.zarr"},
    "OME-TIFF, pyramid": {"name": "out.ome.tif"},
    "NPY": {"name": "out.npy"},
}


def slab(number: int = 0) -> np.ndarray[Any, Any]:
    """Return some planes of the volume."""
    rng = np.random.default_rng(number)
    noise = rng.normal(0, 60, (SLAB, SIDE, SIDE)).astype(np.float32)
    return (noise + np.linspace(200, 900, SIDE, dtype=np.float32)).clip(0, None).astype(np.uint16)


def make(data: str, planes: int) -> str:
    """Write the volume, if it is not there yet."""
    path = os.path.join(data, f"volume-{planes}.npy")
    if not Path(path).exists():
        volume = np.lib.format.open_memmap(path, "w+", np.uint16, (planes, SIDE, SIDE))
        for start in range(0, planes, SLAB):
            volume[start : start + SLAB] = slab(start)
    return path


def export(path: str, out: str, way: str) -> None:
    keywords = dict(WAYS[way])
    with nl.open_dataset(path) as dataset:
        nl.export(
            dataset.images[0], os.path.join(out, keywords.pop("name")), overwrite=True, **keywords
        )


def peak(path: str, out: str, way: str) -> float:
    """Export once and return by how many megabytes the peak of the resident memory rose."""
    # The first export imports what it needs.
    nl.export(
        np.zeros((2, 600, 600), np.uint16), os.path.join(out, "first.ome.zarr"), overwrite=True
    )
    before = resident()["VmRSS"]
    forget_peak()
    export(path, out, way)
    return resident()["VmHWM"] - before


def speed(path: str, out: str, way: str, repeats: int) -> Row:
    export(path, out, way)
    written = zarr.open_group(os.path.join(out, str(WAYS[way]["name"])), mode="r")["0"]
    like = {
        "shape": written.shape,
        "chunks": written.chunks,
        "shards": written.shards,
        "dtype": written.dtype,
    }
    pixels = slab()
    alone = os.path.join(out, "alone.zarr")

    def zarr_alone() -> None:
        shutil.rmtree(alone, ignore_errors=True)
        array = zarr.create_array(alone, compressors=ZstdCodec(level=1), **like)
        for start in range(0, like["shape"][0], SLAB):
            array[start : start + SLAB] = pixels

    pairs = take_turns(lambda: export(path, out, way), zarr_alone, repeats)
    ratio = statistics.median(
        peer / ours for ours, peer in zip(pairs.ours, pairs.peer, strict=True)
    )
    ours, peer, best = (
        statistics.median(pairs.ours),
        statistics.median(pairs.peer),
        min(pairs.peer) / min(pairs.ours),
    )
    name = f"speed of {way}, {os.path.getsize(path) / 1e9:.1f} GB, by zarr alone"
    return Row(name, ours * MS, peer * MS, "ms", ratio, LEAST_SPEED, best, at_least=True)


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__, 3)
    arguments.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args(argv)
    if options.peak:
        print(json.dumps(peak(*options.peak)))
        return 0
    rows = []
    with data_folder(options) as data:
        path = make(data, QUICK_PLANES if options.quick else PLANES)
        out = os.path.join(data, "export")
        os.makedirs(out, exist_ok=True)
        megabytes = os.path.getsize(path) / 2**20
        repeats = 1 if options.quick else options.repeats
        rows += [speed(path, out, way, repeats) for way in ("OME-Zarr", "OME-Zarr, shards")]
        for way in WAYS:
            found = child([__file__, "--peak", path, out, way])
            rows.append(
                Row(f"peak memory of {way}", found, megabytes, "MB", found, MOST_MB, kind="value")
            )
        shutil.rmtree(out)
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
