"""A window in use: a movie of a folder, a long random walk, a zoomed window on many and few times.

- A movie at 20 frames a second: the time from a step to its exact frame; 95 % within 33 ms.
- A random walk (steps, zooms, 2-D and 3-D, layers added and removed): the peak of memory beyond the
  budget, and what is left when the viewer is closed (Linux).
- A step in a zoomed window of a 16-tile level of 200 times, against the same of 2 times.
- What snapshots of the status cost, as a share of the loading.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import threading
import time
from typing import Any

import numpy as np
from _common import Row, child, data_folder, finish, parser
from _folders import make_folder
from browsing import Window, make, settle, shown
from memory import MB, forget_peak, resident

FRAMES, FPS = 300, 20
BUDGET = 128 * MB


def movie(folder: str, frames: int) -> dict[str, float]:
    """Step through a folder at a fixed rate; return the delays, and how many frames were missed."""
    window = Window()
    window.viewer.open(folder, plugin="napari-lazyload")
    settle(window)
    display = shown(window)[0]
    late, missed = [], 0
    window.viewer.dims.set_current_step(0, 0)
    settle(window)
    for step in range(1, frames):
        due = time.perf_counter() + 1 / FPS
        started = time.perf_counter()
        window.viewer.dims.set_current_step(0, step)
        window.spin(1 / FPS, until=lambda: display.settled)
        late.append(time.perf_counter() - started)
        missed += not display.settled
        window.spin(due - time.perf_counter())
    window.viewer.close()
    late.sort()
    return {
        "p95": late[int(len(late) * 0.95)],
        "median": statistics.median(late),
        "missed": missed,
    }


def walk(folder: str, seconds: float, lazy: int = 1) -> dict[str, float]:
    """Do one thing after the other, at random; return megabytes, and what is left after closing.

    Without `lazy`, on arrays in memory that are as large as what the budget lets a 3-D view show:
    what that grows by is napari's, and the textures', which lie in memory where software draws
    them.
    """
    import napari_lazyload as nl

    nl.configure(cache_budget=BUDGET)
    window = Window()
    viewer = window.viewer
    rng = np.random.default_rng(0)
    memory = None if lazy else np.asarray(nl.open_dataset(folder).images[0].data[::2])

    def open_one() -> list[Any]:
        if memory is not None:
            return [viewer.add_image(memory, contrast_limits=(0, 255), cache=False)]
        return viewer.open(folder, plugin="napari-lazyload")

    layers = open_one()
    settle(window)
    files = len(os.listdir("/proc/self/fd"))
    gc.collect()
    forget_peak()
    start = resident()["VmRSS"]
    end, steps = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        what = rng.random()
        if what < 0.9:
            viewer.dims.set_current_step(0, int(rng.integers(viewer.dims.nsteps[0])))
        elif what < 0.95:
            viewer.scene.camera.zoom *= float(rng.choice([0.5, 2]))
        elif what < 0.97:
            viewer.dims.ndisplay = 5 - viewer.dims.ndisplay
            viewer.scene.camera.zoom = 1
        elif len(layers) > 1:
            viewer.layers.remove(layers.pop())
        else:
            layers += open_one()
        window.spin(0.05)
        steps += 1
    peak = resident()["VmHWM"]
    viewer.close()
    window.spin(3)  # idle threads end
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("lazyload")]
    return {
        "start": start,
        "peak": peak - start,
        "steps": steps,
        "threads": len(left),
        "files": len(os.listdir("/proc/self/fd")) - files,
    }


def zoomed(times: int) -> dict[str, float]:
    """Return the median time of a step in a zoomed window of a level of 16 tiles, all in memory."""
    window = Window()
    rng = np.random.default_rng(0)
    finest = np.broadcast_to(
        rng.integers(0, 4000, (1, 2, 512, 512), dtype=np.uint16), (times, 2, 512, 512)
    )
    _, layer = make([finest, finest[:, :, ::4, ::4]], lazy=True, tile=128)
    layer.metadata["napari_lazyload"].image.source.gate = None
    window.viewer.add_layer(layer)
    window.viewer.scene.camera.zoom *= 4
    settle(window)
    spent = []
    for step in range(200):
        at = step % 2
        started = time.perf_counter()
        window.viewer.dims.set_current_step(0, at)
        spent.append(time.perf_counter() - started)
        window.spin(0.01)
    window.viewer.close()
    return {"step": statistics.median(spent[20:])}


def snapshots(folder: str) -> dict[str, float]:
    """Return the cost of ten snapshots a second while a folder is read, as a share of the time."""
    import napari_lazyload as nl
    from napari_lazyload.loading import status

    with nl.open_dataset(folder) as dataset:
        data = dataset.images[0].data
        token = data.source.token
        started = time.perf_counter()
        np.asarray(data)
        loading = time.perf_counter() - started
        started = time.perf_counter()
        for _ in range(1000):
            status.shared.summary([token])
        return {"share": (time.perf_counter() - started) / 1000 * 10, "loading": loading}


def main() -> int:
    made = parser(__doc__, 1)
    made.add_argument(
        "--run",
        help="measure one thing in this process: its name and its arguments, comma-separated",
    )
    made.add_argument(
        "--walk", type=float, default=600, help="seconds of the random walk (%(default)s)"
    )
    options = made.parse_args()
    if options.run:
        name, *arguments = options.run.split(",")
        call: Any = {"movie": movie, "walk": walk, "zoomed": zoomed, "snapshots": snapshots}[name]
        print(json.dumps(call(*(int(one) if one.isdigit() else one for one in arguments))))
        return 0
    frames = 60 if options.quick else FRAMES
    seconds = 10 if options.quick else int(options.walk)

    def measured(*arguments: Any) -> Any:
        return child([__file__, "--run", ",".join(map(str, arguments))], screen=True)

    with data_folder(options) as data:
        folder = make_folder(data, 600, side=512)
        played, walked = measured("movie", folder, frames), measured("walk", folder, seconds)
        grown = measured("walk", folder, seconds, 0)["peak"]
        share = measured("snapshots", folder)
    many, few = measured("zoomed", 200)["step"], measured("zoomed", 2)["step"]
    budget, late, snapshot = BUDGET / MB, played["p95"] * 1e3, share["share"] * 100
    over = walked["peak"] - budget - grown
    rows = [
        Row("movie, 95 % of the frames within", late, 1e3 / FPS, "ms", late, 33, kind="value"),
        Row("movie, frames missed", played["missed"], 0, "", played["missed"], 0, kind="value"),
        Row(
            "random walk beyond the budget",
            walked["peak"],
            budget,
            "MB",
            walked["peak"] - budget,
            None,
            kind="more",
        ),
        Row(
            "the same beyond arrays in memory",
            walked["peak"] - budget,
            grown,
            "MB",
            over,
            64,
            kind="more",
        ),
        Row(
            "random walk, threads left",
            walked["threads"],
            0,
            "",
            walked["threads"],
            0,
            kind="value",
        ),
        Row(
            "random walk, files left open",
            walked["files"],
            0,
            "",
            max(0, walked["files"]),
            0,
            kind="value",
        ),
        Row("a zoomed step, 200 times of 2", many * 1e3, few * 1e3, "ms", many / few, 1.2),
        Row("ten snapshots a second, of the loading", snapshot, 0, "%", snapshot, 1, kind="value"),
    ]
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
