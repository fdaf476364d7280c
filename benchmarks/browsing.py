"""Browsing a pyramid whose chunks take 300 ms each: pauses of the window, and the first pixels.

Each action is done in turn on lazy layers and on arrays in memory of the same shape, in one real
window; the longest time that the event loop did not come round is held against that of the arrays.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import Row, child, finish, parser

if TYPE_CHECKING:
    from collections.abc import Callable

READ_SECONDS = 0.3
WORKERS = 4
SHAPE, LEVELS, TILE = (200, 8, 512, 512), 4, 128
ACTIONS = (
    "add",
    "step",
    "burst of 10",
    "drag of 12",
    "zoom in",
    "zoom out",
    "to 3-D",
    "to 2-D",
    "four channels",
)


class SlowGate:
    """Stands in for the gate of a source: each chunk waits."""

    def wait(self, _timeout: float) -> bool:
        time.sleep(READ_SECONDS)
        return True


def pyramid(frames: int = 24) -> list[Any]:
    """Return levels in memory, halved in the plane."""
    rng = np.random.default_rng(0)
    finest = rng.integers(0, 4000, (frames, *SHAPE[1:]), dtype=np.uint16)
    return [finest[:, :, :: 1 << level, :: 1 << level].copy() for level in range(LEVELS)]


class Window:
    """A viewer, and a meter of the longest time between two turns of its event loop."""

    def __init__(self) -> None:
        import napari
        from qtpy.QtCore import QTimer

        from napari_lazyload.widgets.attach import attach_open_viewers

        self.viewer = napari.Viewer()
        self.viewer.window.resize(1000, 800)
        attach_open_viewers()
        self.gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        for _ in range(2):
            self.viewer.add_image(np.zeros((3, 4, 64, 64), np.uint16))
            self.viewer.dims.ndisplay = 3
            self.spin(0.3)
            self.viewer.dims.ndisplay = 2
            self.viewer.layers.clear()
            self.spin(0.3)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._last)
        self._last = now

    def spin(self, seconds: float = 10.0, until: Callable[[], bool] | None = None) -> None:
        """Run the event loop."""
        from qtpy.QtWidgets import QApplication

        end = time.perf_counter() + seconds
        while time.perf_counter() < end and not (until is not None and until()):
            QApplication.processEvents()
            time.sleep(0.001)

    def begin(self) -> None:
        self.gaps.clear()
        self._last = time.perf_counter()


def run(lazy: bool) -> dict[str, dict[str, float]]:
    """Do every action; return what was measured of each."""
    import napari_lazyload as nl

    nl.configure(workers=WORKERS)
    window, levels = Window(), pyramid()
    measured: dict[str, dict[str, float]] = {}

    def act(name: str, action: Callable[[], Any], source: Any = None) -> None:
        settle(window)
        window.begin()
        before, started = 0 if source is None else len(source.loads), time.perf_counter()
        action()
        coarse = None
        end = started + 20
        while time.perf_counter() < end:
            window.spin(0.002)
            notices = [display.notice for display in shown(window)]
            if coarse is None and not any(
                "previous" in note or note == "loading" for note in notices
            ):
                coarse = time.perf_counter() - started
            if all(display.settled for display in shown(window)):
                break
        done = time.perf_counter() - started
        reads = 0 if source is None else len(source.loads) - before
        window.spin(0.3)
        measured[name] = {
            "pause": max(window.gaps),
            "coarse": coarse or 0,
            "done": done,
            "reads": reads,
        }

    viewer = window.viewer
    source, layer = make(levels, lazy=lazy)
    act("add", lambda: viewer.add_layer(layer), source)
    viewer.dims.set_current_step(1, 3)
    act("step", lambda: viewer.dims.set_current_step(0, 5), source)
    act(
        "burst of 10",
        lambda: [viewer.dims.set_current_step(0, 6 + step) for step in range(10)],
        source,
    )

    def drag() -> None:
        for step in range(12):
            viewer.dims.set_current_step(0, 20 - step)
            window.spin(0.016)

    act("drag of 12", drag, source)
    camera = viewer.scene.camera
    act("zoom in", lambda: setattr(camera, "zoom", camera.zoom * 6), source)
    act("zoom out", lambda: setattr(camera, "zoom", camera.zoom / 6), source)
    act("to 3-D", lambda: setattr(viewer.dims, "ndisplay", 3), source)
    act("to 2-D", lambda: setattr(viewer.dims, "ndisplay", 2), source)
    viewer.layers.clear()
    small = [
        make([level[:, :, :100, :100] for level in levels[:1]], lazy=lazy, tile=128)[1]
        for _ in range(4)
    ]
    for one in small:
        viewer.add_layer(one)
    act("four channels", lambda: viewer.dims.set_current_step(0, 9))
    viewer.close()
    return measured


def shown(window: Window) -> list[Any]:
    from napari_lazyload.layers.viewer import displays_of

    found = [(layer, displays_of(layer)) for layer in window.viewer.layers]
    return [displays.display(layer) for layer, displays in found if displays is not None]


def settle(window: Window) -> None:
    window.spin(15, until=lambda: all(display.settled for display in shown(window)))
    window.spin(0.4)


def make(levels: list[Any], *, lazy: bool, tile: int = TILE) -> tuple[Any, Any]:
    """Return a source and its layer, or None and a layer in memory."""
    from napari.layers import Image as Layer
    from napari.layers import Layer as Base

    from napari_lazyload.arrays.image import Image
    from napari_lazyload.arrays.layer_link import METADATA_KEY
    from napari_lazyload.dataset.layer_data import layer_data
    from napari_lazyload.testing.sources import RecordingSource

    if not lazy:
        data = levels if len(levels) > 1 else levels[0]
        return None, Layer(data, multiscale=len(levels) > 1, contrast_limits=(0, 4000))
    source = RecordingSource(
        levels, (1, 1, tile, tile), axes="tzyx", gate=SlowGate(), contrast_limits=(0, 4000)
    )
    ((data, keywords, kind),) = layer_data(Image(source))
    keywords["visible"] = False
    keywords["metadata"][METADATA_KEY].hidden = True
    return source, Base.create(data, keywords, kind)


def rows(repeats: int) -> list[Row]:
    """Return the measurements."""
    turns = [
        [child([__file__, "--run", way], screen=True) for way in ("lazy", "memory")]
        for _ in range(repeats)
    ]
    made = []
    for name in ACTIONS:
        ours, peer = (
            sorted(turn[side][name]["pause"] for turn in turns)[repeats // 2] for side in (0, 1)
        )
        made.append(
            Row(
                f"longest pause: {name}",
                ours * 1e3,
                peer * 1e3,
                "ms",
                (ours - peer) * 1e3,
                50,
                kind="more",
            )
        )
    lazies = [turn[0] for turn in turns]
    for name in ("step", "zoom in"):
        coarse = min(turn[name]["coarse"] for turn in lazies)
        # A step needs a coarse chunk that nobody has: one read.
        target = 100 if name == "zoom in" else None
        made.append(
            Row(f"coarse pixels: {name}", coarse * 1e3, 0, "ms", coarse * 1e3, target, kind="value")
        )
    tiles = (SHAPE[2] // TILE) ** 2
    needed = -(-(tiles + 1) // WORKERS) * READ_SECONDS
    for name in ("step", "burst of 10", "drag of 12"):
        extra = 12 * 0.016 if name.startswith("drag") else 0
        done = min(turn[name]["done"] for turn in lazies) - extra
        made.append(Row(f"all there: {name}", done * 1e3, needed * 1e3, "ms", done / needed, 1.3))
    channels = min(turn["four channels"]["done"] for turn in lazies)
    made.append(
        Row(
            "four channels of one chunk",
            channels * 1e3,
            READ_SECONDS * 1e3,
            "ms",
            channels / READ_SECONDS,
            1.3,
        )
    )
    return made


def main() -> int:
    made = parser(__doc__, 3)
    made.add_argument("--run", choices=("lazy", "memory"), help="measure one side in this process")
    options = made.parse_args()
    if options.run:
        print(json.dumps(run(options.run == "lazy")))
        return 0
    return finish(rows(1 if options.quick else options.repeats), options)


if __name__ == "__main__":
    sys.exit(main())
