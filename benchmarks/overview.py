"""A plane of 20,000 x 20,000 in one level: its overview, computed in view, and a zoom into it.

- From `viewer.open` to the first tile and the whole overview, against decoding each chunk once in
  the same threads, which an overview cannot do without.
- How much memory that adds, and how many bytes are decoded, against those of the file.
- A zoom to single pixels, of which nothing was kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from _common import MS, Pairs, Row, child, data_folder, finish, parser
from browsing import Window
from memory import MB, forget_peak, resident

SIDE, CHUNK = 20_000, 512
QUICK_SIDE = 8_000
SECONDS = 120


def make_plane(folder: str, side: int) -> str:
    """Write the plane, zstd in chunks of 512 x 512, unless it is there; return its path."""
    import zarr

    path = os.path.join(folder, f"plane_{side}.zarr")
    if not os.path.isdir(path):
        Path(folder).mkdir(parents=True, exist_ok=True)
        array = zarr.create_array(path, shape=(side, side), chunks=(CHUNK, CHUNK), dtype="uint16")
        noise = np.random.default_rng(0).integers(0, 60, (CHUNK, side), dtype=np.uint16)
        wave = (400 * np.sin(np.arange(side) / 900) ** 2).astype(np.uint16)
        for top in range(0, side, CHUNK):
            rows = min(CHUNK, side - top)
            array[top : top + rows] = noise[:rows] + wave + wave[top : top + rows, None]
    return path


def overview(path: str) -> dict[str, float]:
    """Open the plane in a window; return seconds, bytes, and what was added to memory."""
    from napari_lazyload.layers.viewer import displays_of
    from napari_lazyload.loading import cache

    window = Window()
    window.viewer.open(make_plane(os.path.dirname(path), 600), plugin="napari-lazyload")
    window.spin(0.5)
    window.viewer.layers.clear()
    before = cache.shared.snapshot()["read_nbytes"]
    forget_peak()
    start = resident()["VmRSS"]
    began = time.perf_counter()
    (layer,) = window.viewer.open(path, plugin="napari-lazyload")
    display = displays_of(layer).display(layer)
    window.spin(SECONDS, until=lambda: display.settled or np.asarray(layer._data_view).any())
    first = time.perf_counter() - began
    window.spin(SECONDS, until=lambda: display.settled)
    whole = time.perf_counter() - began
    decoded = cache.shared.snapshot()["read_nbytes"] - before
    added = resident()["VmHWM"] - start
    cache.shared.drop()
    began = time.perf_counter()
    window.viewer.scene.camera.zoom = 2
    window.viewer.window._qt_viewer.canvas.on_draw(None)
    window.spin(SECONDS, until=lambda: display.settled)
    zoomed = time.perf_counter() - began
    window.viewer.close()
    return {"first": first, "whole": whole, "zoomed": zoomed, "decoded": decoded, "added": added}


def decode(path: str) -> dict[str, float]:
    """Decode each chunk once, in the threads that views have; keep nothing."""
    import napari_lazyload as nl
    from napari_lazyload.loading import scheduler
    from napari_lazyload.loading.read_box import read_block

    with nl.open_dataset(path) as dataset:
        source = dataset.images[0].source
        grid = source.meta.levels[0].grid
        indices = list(grid.touched(grid.full_box))
        began = time.perf_counter()
        scheduler.shared.each(lambda index: read_block(source, 0, index, keep=False), indices)
        return {"whole": time.perf_counter() - began, "nbytes": dataset.images[0].nbytes}


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__, 5)
    arguments.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = arguments.parse_args(argv)
    if options.one:
        what, path = options.one
        print(json.dumps(overview(path) if what == "overview" else decode(path)))
        return 0
    repeats = 1 if options.quick else options.repeats
    ours, peer = [], []
    with data_folder(options) as data:
        path = make_plane(data, QUICK_SIDE if options.quick else SIDE)
        for _ in range(repeats):
            ours.append(child([__file__, "--one", "overview", path], screen=True))
            peer.append(child([__file__, "--one", "decode", path]))
    pairs = Pairs([one["whole"] for one in ours], [one["whole"] for one in peer])
    first, zoomed = (
        sorted(one[name] for one in ours)[repeats // 2] * MS for name in ("first", "zoomed")
    )
    nbytes, decoded = peer[0]["nbytes"] / MB, ours[0]["decoded"] / MB
    added = max(one["added"] for one in ours)
    rows = [
        pairs.ratio("overview of a plane in one level, whole, by decoding each chunk once", None),
        Row("its first tile", first, first, "ms", first, None, kind="value"),
        Row(
            "zoom to single pixels, nothing kept", zoomed, zoomed, "ms", zoomed, None, kind="value"
        ),
        Row(
            "decoded and thinned out for the overview, by the plane",
            decoded,
            nbytes,
            "MB",
            decoded / nbytes,
            1.34,
        ),
        Row("memory that the overview adds, by the plane", added, nbytes, "MB", added / nbytes),
    ]
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
