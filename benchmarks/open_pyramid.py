"""Opening and stepping through an OME-Zarr pyramid, on this machine and over HTTP, against napari-ome-zarr.

Each opening has a fresh process and a real window, in which a small store was opened before by the same reader: what
is imported is paid for. The clock runs from `viewer.open` until a drawing of the canvas is finished in which pixels are
seen. Over HTTP each answer takes 300 ms; the server is a process of its own. What napari itself takes for two channels
is measured with arrays of these pixels in memory: no reader opens sooner, nor steps with shorter pauses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import Row, child, data_folder, finish, parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS, PEER, MEMORY = "napari-lazyload", "napari-ome-zarr", "arrays in memory"
LATENCY = 0.3
SHAPE, QUICK, SMALL = (4, 2, 16, 2048, 2048), (2, 1, 4, 512, 512), (2, 1, 2, 256, 256)
TILE, LEVELS = 512, 4
SECONDS, STEPS = 120, 30


def make_store(folder: str, name: str, shape: tuple[int, ...]) -> str:
    """Write a pyramid of noise on a ramp, zstd in chunks of one tile, unless it is there; return its path."""
    import zarr

    path = Path(folder, name)
    if (path / "zarr.json").exists():
        return str(path)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    rng = np.random.default_rng(0)
    y, x = np.ogrid[: shape[3], : shape[4]]
    ramp = (2000 + 500 * np.sin(y / 200) * np.cos(x / 200)).astype(np.uint16)
    datasets = []
    for level in range(LEVELS):
        small = (*shape[:3], shape[3] >> level, shape[4] >> level)
        array = group.create_array(
            str(level), shape=small, dtype="uint16", chunks=(1, 1, 1, TILE, TILE), dimension_names=list("tczyx")
        )
        scale = [1.0, 1.0, 2.0, 0.5 * 2**level, 0.5 * 2**level]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        for frame in np.ndindex(shape[:3]):
            array[frame] = ramp[:: 1 << level, :: 1 << level] + rng.integers(0, 64, small[3:], dtype=np.uint16)
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": axis, "type": kinds.get(axis, "space")} for axis in "tczyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets, "name": name}]}
    return str(path)


class Opening:
    """A window, one reader, and what the window was held up for."""

    def __init__(self, reader: str) -> None:
        import napari
        from browsing import Window

        self.reader = reader
        self.window = Window()
        assert napari.current_viewer() is not None

    def open(self, path: str, seconds: float = SECONDS) -> dict[str, float]:
        """Open a store; return when its first pixels were seen, and how long the window was held up meanwhile."""
        from vispy import gloo

        window, viewer = self.window, self.window.viewer
        canvas = viewer.window._qt_viewer.canvas._scene_canvas
        seen: list[float] = []

        def drawn(_event: Any) -> None:
            if seen or not viewer.layers:
                return
            gloo.gl.glFinish()
            now = time.perf_counter()
            pixels = gloo.read_pixels()
            if pixels[len(pixels) // 2 - 20 :, pixels.shape[1] // 2 - 20 :][:40, :40, :3].mean() > 20:
                seen.append(now)

        canvas.events.draw.connect(drawn, position="last")
        window.begin()
        add = in_memory(viewer, path) if self.reader == MEMORY else lambda: viewer.open(path, plugin=self.reader)
        started = time.perf_counter()
        add()
        returned = time.perf_counter() - started
        window.spin(seconds, until=lambda: bool(seen))
        canvas.events.draw.disconnect(drawn)
        first = (seen[0] if seen else time.perf_counter()) - started
        return {"first": first, "returned": returned, "pause": max(window.gaps, default=returned)}

    def step(self, count: int) -> float:
        """Step along z and t; return the longest time that the window was held up."""
        window, viewer = self.window, self.window.viewer
        nsteps = viewer.dims.nsteps
        viewer.dims.set_current_step(2, 0)
        window.spin(2)
        window.begin()
        for number in range(count):
            axis = 0 if number % 5 == 4 else 2
            viewer.dims.set_current_step(axis, (viewer.dims.current_step[axis] + 1) % nsteps[axis])
            window.spin(0.1)
        window.spin(1)
        return max(window.gaps)


def in_memory(viewer: Any, path: str) -> Callable[[], Any]:
    """Read the first time points of a store, and return what adds them as the readers do."""
    import zarr

    group = zarr.open_group(path, mode="r")
    levels = [np.asarray(group[str(level)][:2]) for level in range(LEVELS)]
    scale = (1.0, 2.0, 0.5, 0.5)
    return lambda: viewer.add_image(
        levels, multiscale=True, channel_axis=1, scale=scale, contrast_limits=(1400, 2600), axis_labels=tuple("tzyx")
    )


def measure(reader: str, path: str, small: str, steps: int) -> dict[str, float]:
    """Open a small store, then the one that counts, and step through it."""
    opening = Opening(reader)
    opening.open(small)
    opening.window.spin(2)
    opening.window.viewer.layers.clear()
    opening.window.spin(0.5)
    found = opening.open(path)
    opening.window.spin(5)
    found["step"] = opening.step(steps) if steps else 0.0
    opening.window.viewer.close()
    return found


def serve(folder: str) -> None:
    """Serve a folder until standard input ends."""
    from napari_lazyload.testing.server import FolderServer

    with FolderServer(folder, latency=LATENCY) as server:
        print(server.url, flush=True)
        sys.stdin.read()


@contextmanager
def served(folder: str) -> Iterator[str]:
    """Yield the address of a server for a folder, in a process of its own."""
    command = [sys.executable, __file__, "--serve", folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def rows(data: str, quick: bool, repeats: int) -> list[Row]:
    """Return the measurements."""
    store = make_store(data, "quick.zarr" if quick else "pyramid.zarr", QUICK if quick else SHAPE)
    small = make_store(data, "small.zarr", SMALL)
    steps = 6 if quick else STEPS

    def run(reader: str, path: str, count: int) -> dict[str, float]:
        return child([__file__, "--run", json.dumps([reader, path, small, count])], screen=True)

    turns = [tuple(run(reader, store, steps) for reader in (OURS, PEER, MEMORY)) for _ in range(repeats)]
    with served(os.path.dirname(store)) as url:
        address = f"{url}/{os.path.basename(store)}"
        remote = [run(OURS, address, steps) for _ in range(repeats)]
        other = run(PEER, address, 0)

    def middle(values: Any) -> float:
        return sorted(values)[repeats // 2]

    ours, peer, floor = (middle(turn[side]["first"] for turn in turns) for side in (0, 1, 2))
    best = min(turn[0]["first"] for turn in turns) / min(turn[1]["first"] for turn in turns)
    stepped, theirs, least = (middle(turn[side]["step"] for turn in turns) for side in (0, 1, 2))
    beyond = stepped - least
    frozen, first = middle(one["pause"] for one in remote), middle(one["first"] for one in remote)
    after = middle(one["first"] - one["returned"] for one in remote)
    stepping = middle(one["step"] for one in remote)
    return [
        Row("open a local pyramid to the first frame", ours * 1e3, peer * 1e3, "ms", ours / peer, 0.25, best),
        Row("the same, by adding arrays in memory", ours * 1e3, floor * 1e3, "ms", ours / floor),
        Row("longest pause while stepping", stepped * 1e3, theirs * 1e3, "ms", stepped * 1e3, kind="value"),
        Row(
            "the same, beyond arrays in memory",
            stepped * 1e3,
            least * 1e3,
            "ms",
            beyond * 1e3,
            50,
            kind="more",
        ),
        Row("over HTTP: window held up, in round trips", frozen / LATENCY, 0, "", frozen / LATENCY, 4, kind="value"),
        Row(
            "over HTTP: first pixels after that, in round trips",
            after / LATENCY,
            1,
            "",
            after / LATENCY,
            2,
            kind="value",
        ),
        Row("over HTTP: open to the first pixels", first * 1e3, other["first"] * 1e3, "ms", first / other["first"]),
        Row(
            "over HTTP: longest pause while stepping, beyond arrays in memory",
            stepping * 1e3,
            least * 1e3,
            "ms",
            (stepping - least) * 1e3,
            50,
            kind="more",
        ),
    ]


def main() -> int:
    made = parser(__doc__, 3)
    made.add_argument("--run", help="measure one opening in this process")
    made.add_argument("--serve", help="serve a folder")
    options = made.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    if options.run:
        reader, path, small, steps = json.loads(options.run)
        print(json.dumps(measure(reader, path, small, steps)))
        return 0
    with data_folder(options) as data:
        return finish(rows(data, options.quick, 1 if options.quick else options.repeats), options)


if __name__ == "__main__":
    sys.exit(main())
