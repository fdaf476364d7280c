"""One step of the slider: its cost beyond decoding the frame, at 2,624 and at a million files.

The array's part is what napari does in the GUI thread, ``np.asarray(data[number, :, :])``, less
`pictures.decode` of the same file alone. The window's part is `viewer.dims.set_current_step` less
the same on an array in memory and the decode. Without ``--large`` the larger folder has 100,000
files.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import Pairs, Row, child, data_folder, finish, parser, timed
from _folders import FILES, link_folder, make_folder

import napari_lazyload as nl
from napari_lazyload.loading import cache, scheduler
from napari_lazyload.sources.image_files.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TARGET_MS = 0.5
FRAMES_IN_MEMORY = 1000
MOST_STEPS_OF_A_SMALL_FOLDER = 20  # whose headers are read before that many
ALL = slice(None)


def step(data: Any, number: int) -> np.ndarray[Any, Any]:
    return np.asarray(data[(number, ALL, ALL)])


def zoomed_step(data: Any, number: int) -> np.ndarray[Any, Any]:
    """Slice as napari slices a level of a pyramid: what the window shows first, the point after."""
    return np.asarray(data[(ALL, slice(0, 200, 1), slice(50, 250, 1))][(number, ALL, ALL)])


def by_turns(numbers: list[int], *calls: Callable[[int], Any]) -> list[list[float]]:
    """Time the calls on each frame by turns, because a file that was just read is read faster."""
    spent: list[list[float]] = [[] for _ in calls]
    for turn, number in enumerate(numbers):
        for place in range(len(calls)):
            which = (turn + place) % len(calls)
            spent[which].append(timed(lambda which=which, number=number: calls[which](number)))
    return spent


def chosen(data: Any, count: int) -> tuple[list[int], dict[int, str]]:
    """Return some frames from all over, and their files."""
    random.seed(len(data))
    numbers = random.sample(range(len(data)), min(count, len(data)))
    return numbers, {number: data.source.chunk(0, (number, 0, 0)).path for number in numbers}


def array_rows(folder: str, steps: int, title: str) -> list[Row]:
    data = nl.open_dataset(folder).images[0].data
    numbers, files = chosen(data, steps)
    rows = []
    for name, slicing in (("step", step), ("zoomed step", zoomed_step)):
        for number in numbers:  # warms the file cache and the interpreter
            slicing(data, number)
        cache.shared.drop()
        fresh = by_turns(
            numbers,
            lambda number, call=slicing: call(data, number),
            lambda number: decode(files[number]),
        )
        rows.append(Pairs(*fresh).more(f"{name}, {title}, beyond decoding", TARGET_MS))
        cached = by_turns(numbers, lambda number, call=slicing: call(data, number), lambda _: None)
        rows.append(Pairs(*cached).more(f"{name}, {title}, cached", TARGET_MS))
    return rows


def in_window(folder: str, steps: int, *, first: bool) -> dict[str, Any]:
    """Time steps in two windows: the folder, and some of its frames in memory."""
    import napari
    from qtpy.QtWidgets import QApplication

    windows = [napari.Viewer(), napari.Viewer()]
    lazy, plain = windows if first else windows[::-1]
    lazy.open(folder, plugin="napari-lazyload")
    data = lazy.layers[0].data
    memory = np.asarray(data[:FRAMES_IN_MEMORY])
    cache.shared.drop()
    plain.add_image(memory, contrast_limits=(0, 255), cache=False)
    numbers, files = chosen(data, 2 * steps + 20)
    warm, early, numbers = numbers[:20], numbers[20 : 20 + steps], numbers[20 + steps :]

    def turns(calls: Sequence[Callable[[int], Any]], numbers: list[int]) -> list[list[float]]:
        """Time the calls, and let both windows be drawn between the steps."""
        spent: list[list[float]] = [[] for _ in calls]
        for turn, number in enumerate(numbers):
            QApplication.processEvents()
            gc.collect(0)
            for side in range(len(calls)):
                which = (turn + side) % len(calls)
                spent[which].append(timed(lambda which=which, number=number: calls[which](number)))
        return spent

    calls = (
        lambda number: lazy.dims.set_current_step(0, number),
        lambda number: plain.dims.set_current_step(0, number % FRAMES_IN_MEMORY),
        lambda number: decode(files[number]),
    )
    turns(calls, warm)
    scanned = [turns(calls[:1], [number])[0][0] for number in early if scanning()]
    while scanning():
        QApplication.processEvents()
        time.sleep(0.05)
    found = {
        "scanned": scanned,
        "fresh": turns(calls, numbers),
        "cached": turns(calls[:2], numbers),
    }
    for viewer in windows:
        viewer.close()
    return found


def window_rows(folder: str, steps: int, name: str) -> list[Row]:
    """Measure twice, with the folder in either window, because the two differ; return the means."""
    runs = [
        child([__file__, "--window", folder, str(steps), first], screen=True)
        for first in ("yes", "")
    ]
    fresh, cached = (np.mean([run[kind] for run in runs], axis=0) for kind in ("fresh", "cached"))
    alone = list(fresh[1] + fresh[2])
    rows = [
        Pairs(list(fresh[0]), alone).more(
            f"window's step, {name}, beyond memory, decoding", TARGET_MS
        ),
        Pairs(*map(list, cached)).more(f"window's step, {name}, cached, beyond memory", TARGET_MS),
    ]
    count = min(len(run["scanned"]) for run in runs)
    if count > MOST_STEPS_OF_A_SMALL_FOLDER:
        scanned = np.mean([run["scanned"][:count] for run in runs], axis=0)
        rows.append(
            Pairs(list(scanned), alone[:count]).more(
                f"the same while headers are read, {name}", TARGET_MS
            )
        )
    return rows


def scanning() -> bool:
    return scheduler.shared.snapshot()["running"] > 0


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__, 300)
    arguments.add_argument(
        "--large", action="store_true", help="a million files instead of 100,000"
    )
    arguments.add_argument("--window", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args(argv)
    if options.window:
        folder, steps, first = options.window
        print(json.dumps(in_window(folder, int(steps), first=bool(first))))
        return 0
    steps = 40 if options.quick else options.repeats
    many = 10_000 if options.quick else 1_000_000 if options.large else 100_000
    rows = []
    with data_folder(options) as data:
        for folder in (make_folder(data, FILES), link_folder(data, many)):
            if folder:
                name = f"{FILES if not rows else many:,} files"
                rows += [*array_rows(folder, steps, name), *window_rows(folder, steps, name)]
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
