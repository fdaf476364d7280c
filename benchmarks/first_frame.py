"""Opening a folder of 2,624 PNG files to its first frame, against napari's own reader.

Each opening has a fresh process, with napari imported and a viewer that has shown a picture before.
The clock runs from `viewer.open` until a drawing of the canvas is finished in which the frame is
seen. What either reader imports by then is imported before, and its time is a row of its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from _common import Pairs, child, data_folder, finish, parser
from _folders import FILES, SIDE, make_folder, picture

LAZY, BUILTIN, MEMORY = "napari-lazyload", "napari", "an array in memory"
SECONDS = 60


def modules(reader: str, folder: str) -> list[str]:
    """Return what opening imports."""
    viewer = warmed_viewer()
    before = set(sys.modules)
    to_first_frame(viewer, reader, folder)
    viewer.close()
    return [name for name in sys.modules if name not in before and not name.startswith("__")]


def measure(reader: str, folder: str, imports: list[str]) -> dict[str, float]:
    """Return the seconds of the imports and of opening."""
    viewer = warmed_viewer()
    started = time.perf_counter()
    for name in imports:
        with suppress(Exception):  # a few modules only exist inside others
            importlib.import_module(name)
    imported = time.perf_counter() - started
    opened = to_first_frame(viewer, reader, folder)
    viewer.close()
    return {"imports": imported, "open": opened}


def warmed_viewer() -> Any:
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    for _ in range(3):
        viewer.add_image(np.zeros((3, 64, 64), np.uint8))
        QApplication.processEvents()
        viewer.layers.clear()
        QApplication.processEvents()
    return viewer


def to_first_frame(viewer: Any, reader: str, folder: str) -> float:
    """Return the seconds until the canvas shows the folder's first frame."""
    from qtpy.QtWidgets import QApplication
    from vispy import gloo

    canvas = viewer.window._qt_viewer.canvas._scene_canvas
    seen: list[float] = []

    def drawn(_event: Any) -> None:
        if seen or not viewer.layers:
            return
        gloo.gl.glFinish()
        now = time.perf_counter()
        pixels = gloo.read_pixels()
        center = pixels[len(pixels) // 2 - 20 :, pixels.shape[1] // 2 - 20 :][:40, :40, :3]
        if center.mean() > 20:  # the canvas is black, a frame is not
            seen.append(now)

    canvas.events.draw.connect(drawn, position="last")
    files = sorted(str(path) for path in Path(folder).iterdir())
    frames = np.broadcast_to(picture(0), (len(files), SIDE, SIDE))
    started = time.perf_counter()
    if reader == MEMORY:
        viewer.add_image(frames, contrast_limits=(0, 255))
    elif reader == BUILTIN:
        viewer.open(files, stack=True, plugin=BUILTIN)
    else:
        viewer.open(folder, plugin=LAZY)
    while not seen and time.perf_counter() - started < SECONDS:
        QApplication.processEvents()
    assert viewer.layers[0].data.shape == frames.shape
    return seen[0] - started


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__, 7)
    arguments.add_argument("--open", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args(argv)
    if options.open:
        reader, folder, imports = options.open
        found = measure(reader, folder, json.loads(imports)) if imports else modules(reader, folder)
        print(json.dumps(found))
        return 0
    repeats = 1 if options.quick else options.repeats
    with data_folder(options) as data:
        folder = make_folder(data, FILES)
        few = make_folder(data, 3)
        readers = (LAZY, BUILTIN, MEMORY)
        needed = {
            name: json.dumps(child([__file__, "--open", name, few, ""], screen=True))
            for name in readers
        }
        spent: dict[str, list[dict[str, float]]] = {name: [] for name in readers}
        for turn in range(repeats):
            for name in readers[:: -1 if turn % 2 else 1]:
                spent[name].append(
                    child([__file__, "--open", name, folder, needed[name]], screen=True)
                )

    def pairs(what: str, peer: str) -> Pairs:
        return Pairs(*([one[what] for one in spent[name]] for name in (LAZY, peer)))

    title = f"open {FILES:,} files to the first frame"
    rows = [
        pairs("open", BUILTIN).ratio(f"{title}, by napari's reader", 0.2),
        pairs("open", MEMORY).more(f"{title}, beyond {MEMORY}", None),
        pairs("imports", BUILTIN).ratio("what that imports, once a process", None),
    ]
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
