"""Opening and stepping through an OME-Zarr pyramid, local and over HTTP, against napari-ome-zarr.

Each opening has a fresh process and a real window, in which a small store was opened before by the
same reader: what is imported is paid for. The clock runs from `viewer.open` until a drawing of the
canvas is finished in which pixels are seen. Over HTTP each answer takes 300 ms; the server is a
process of its own. What napari itself takes for two channels is measured with arrays of these
pixels in memory: no reader opens sooner, nor steps with shorter pauses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import Row, child, data_folder, finish, parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OURS, PEER, MEMORY = "napari-lazyload", "napari-ome-zarr", "arrays in memory"
LATENCY = 0.3
LEVELS = 4
SECONDS, STEPS = 120, 30


@dataclass(frozen=True)
class Store:
    """A pyramid: its shape (t, c, z, y, x), its chunks (z, y, x), and whether z is halved, too."""

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, int, int]
    isotropic: bool = False

    def at(self, level: int) -> tuple[int, ...]:
        """Return the shape of a level."""
        t, c, z, y, x = self.shape
        return (t, c, z >> level if self.isotropic else z, y >> level, x >> level)


PLANES = Store("pyramid.zarr", (4, 2, 16, 2048, 2048), (1, 512, 512))
BLOCKS = Store("blocks.zarr", (2, 2, 128, 1024, 1024), (64, 64, 64), isotropic=True)
SMALL = Store("small.zarr", (2, 1, 2, 256, 256), (1, 512, 512))
QUICK_PLANES = Store("quick.zarr", (2, 1, 4, 512, 512), (1, 512, 512))
QUICK_BLOCKS = Store("quick_blocks.zarr", (2, 1, 32, 128, 128), (16, 16, 16), isotropic=True)


def make_store(folder: str, store: Store) -> str:
    """Write a pyramid of noise on a ramp, in zstd, unless it is there; return its path."""
    import zarr

    path, shape = Path(folder, store.name), store.shape
    if (path / "zarr.json").exists():
        return str(path)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    rng = np.random.default_rng(0)
    y, x = np.ogrid[: shape[3], : shape[4]]
    ramp = (2000 + 500 * np.sin(y / 200) * np.cos(x / 200)).astype(np.uint16)
    datasets = []
    for level in range(LEVELS):
        small = store.at(level)
        array = group.create_array(
            str(level),
            shape=small,
            dtype="uint16",
            chunks=(1, 1, *store.chunks),
            dimension_names=list("tczyx"),
        )
        factors = np.divide(shape, small)
        scale = [float(one) for one in factors * (1, 1, 2, 0.5, 0.5)]
        datasets.append(
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
        for frame in np.ndindex(small[:2]):
            array[frame] = ramp[:: 1 << level, :: 1 << level] + rng.integers(
                0, 64, small[2:], dtype=np.uint16
            )
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": axis, "type": kinds.get(axis, "space")} for axis in "tczyx"]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": datasets, "name": path.stem}],
    }
    return str(path)


class Opening:
    """A window, one reader, and how long the window was blocked."""

    def __init__(self, reader: str) -> None:
        import napari
        from browsing import Window

        self.reader = reader
        self.window = Window()
        assert napari.current_viewer() is not None

    def open(self, path: str, seconds: float = SECONDS) -> dict[str, float]:
        """Open a store; return the time of the first pixels and the longest pause."""
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
            if (
                pixels[len(pixels) // 2 - 20 :, pixels.shape[1] // 2 - 20 :][:40, :40, :3].mean()
                > 20
            ):
                seen.append(now)

        canvas.events.draw.connect(drawn, position="last")
        window.begin()
        add = (
            in_memory(viewer, path)
            if self.reader == MEMORY
            else lambda: viewer.open(path, plugin=self.reader)
        )
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
    """Read the first time points of a store, and return a reader that opens them from memory."""
    import zarr
    from npe2 import DynamicPlugin

    group = zarr.open_group(path, mode="r")
    levels = [np.asarray(group[str(level)][:2]) for level in range(LEVELS)]
    more = {
        "multiscale": True,
        "channel_axis": 1,
        "scale": (1.0, 2.0, 0.5, 0.5),
        "axis_labels": tuple("tzyx"),
    }
    layer = (levels, {**more, "contrast_limits": (1400, 2600)}, "image")
    plugin = DynamicPlugin(f"in-memory-{Path(path).stem}")
    plugin.register()

    @plugin.contribute.reader(filename_patterns=["*"], accepts_directories=True)
    def get_reader(path: str) -> Callable[[str], list[Any]]:  # npe2 gives the path by name
        return lambda _path: [layer]

    return lambda: viewer.open(path, plugin=plugin.name)


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
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    from helpers.server import FolderServer

    with FolderServer(folder, latency=LATENCY) as server:
        print(server.url, flush=True)
        sys.stdin.read()


@contextmanager
def served(folder: str) -> Iterator[str]:
    """Yield the address of a server for a folder, in a process of its own."""
    command = [sys.executable, __file__, "--serve", folder]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def middle(values: Iterable[float]) -> float:
    """Return the median, one that was measured."""
    found = sorted(values)
    return found[len(found) // 2]


def local_rows(name: str, turns: list[tuple[dict[str, float], ...]]) -> list[Row]:
    """Return what one store gave; each turn has ours, the peer's and that of arrays in memory."""
    sides = {
        what: [middle(turn[side][what] for turn in turns) for side in range(3)]
        for what in turns[0][0]
    }
    ours, peer, floor = sides["first"]
    best = min(turn[0]["first"] for turn in turns) / min(turn[1]["first"] for turn in turns)
    held, held_peer, held_floor = sides["returned"]
    stepped, theirs, least = sides["step"]
    return [
        Row(
            f"{name}: open to the first pixels",
            ours * 1e3,
            peer * 1e3,
            "ms",
            ours / peer,
            0.25,
            best,
        ),
        Row(f"{name}: the same, by arrays in memory", ours * 1e3, floor * 1e3, "ms", ours / floor),
        Row(
            f"{name}: the same, arrays in memory by the peer",
            floor * 1e3,
            peer * 1e3,
            "ms",
            floor / peer,
        ),
        Row(
            f"{name}: until viewer.open returns",
            held * 1e3,
            held_peer * 1e3,
            "ms",
            held / held_peer,
        ),
        Row(
            f"{name}: the same, beyond arrays in memory",
            held * 1e3,
            held_floor * 1e3,
            "ms",
            (held - held_floor) * 1e3,
            100,
            kind="more",
        ),
        Row(
            f"{name}: longest pause while stepping",
            stepped * 1e3,
            theirs * 1e3,
            "ms",
            stepped * 1e3,
            kind="value",
        ),
        Row(
            f"{name}: the same, beyond arrays in memory",
            stepped * 1e3,
            least * 1e3,
            "ms",
            (stepped - least) * 1e3,
            50,
            kind="more",
        ),
    ]


def rows(data: str, quick: bool, repeats: int) -> list[Row]:
    """Return the measurements."""
    store, blocks = (
        make_store(data, one)
        for one in ((QUICK_PLANES, QUICK_BLOCKS) if quick else (PLANES, BLOCKS))
    )
    small = make_store(data, SMALL)
    steps = 6 if quick else STEPS

    def run(reader: str, path: str, count: int) -> dict[str, float]:
        return child([__file__, "--run", json.dumps([reader, path, small, count])], screen=True)

    def take_turns(path: str) -> list[tuple[dict[str, float], ...]]:
        return [
            tuple(run(reader, path, steps) for reader in (OURS, PEER, MEMORY))
            for _ in range(repeats)
        ]

    turns, thick = take_turns(store), take_turns(blocks)
    with served(os.path.dirname(store)) as url:
        address = f"{url}/{os.path.basename(store)}"
        remote = [run(OURS, address, steps) for _ in range(repeats)]
        other = run(PEER, address, 0)

    least = middle(turn[2]["step"] for turn in turns)
    frozen, first = middle(one["pause"] for one in remote), middle(one["first"] for one in remote)
    after = middle(one["first"] - one["returned"] for one in remote)
    stepping = middle(one["step"] for one in remote)
    return [
        *local_rows("planes", turns),
        *local_rows("blocks", thick),
        Row(
            "over HTTP: window held up, in round trips",
            frozen / LATENCY,
            0,
            "",
            frozen / LATENCY,
            4,
            kind="value",
        ),
        Row(
            "over HTTP: first pixels after that, in round trips",
            after / LATENCY,
            1,
            "",
            after / LATENCY,
            2,
            kind="value",
        ),
        Row(
            "over HTTP: open to the first pixels",
            first * 1e3,
            other["first"] * 1e3,
            "ms",
            first / other["first"],
        ),
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
