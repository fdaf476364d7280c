"""How long the dataset's table blocks the window: the longest pause at 1,000,000 rows.

Run with ``xvfb-run -a python benchmarks/table.py [rows]``. A timer of 0 ms beats as often as the
loop comes round; the longest time between two beats is what a user would feel. ``idle`` is the same
measure with nothing to do: what this machine adds by itself.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from napari_lazyload.widgets.table.view import MetaTableView

if TYPE_CHECKING:
    from collections.abc import Callable


class Heartbeat:
    """Measure the longest time between two turns of the event loop, while the table is painted."""

    def __init__(self, view: MetaTableView, *, paint: bool) -> None:
        self._view = view
        self._paint = paint
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)

    def run(self, action: Callable[[], object], wait: Callable[[], bool]) -> tuple[float, float]:
        """Return the longest pause and the whole time (ms) until ``wait`` is false."""
        app = QApplication.instance()
        app.processEvents()
        self._longest = 0.0
        self._last = started = time.perf_counter()
        self._timer.start(0)
        action()
        while wait():
            app.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        for _ in range(5):
            app.processEvents()
        self._beat()
        self._timer.stop()
        return 1e3 * self._longest, 1e3 * (time.perf_counter() - started)

    def _beat(self) -> None:
        now = time.perf_counter()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        if self._paint:
            self._view.table.viewport().update()


def million(rows: int) -> pd.DataFrame:
    """Return a table of ten columns of every kind, its rows in random order."""
    rng = np.random.default_rng(1)
    shuffled = rng.permutation(rows)
    number = rng.random(rows)
    holed = number.copy()
    holed[::7] = np.nan
    mixed = np.array([k if k % 3 else f"text {k}" for k in shuffled.tolist()], dtype=object)
    mixed[::11] = None
    text = pd.Series([f"experiment_{k % 97}_plate_{k}.tif" for k in shuffled.tolist()])
    return pd.DataFrame(
        {
            "original_filename": text,
            "status": np.array(["", "loaded", "failed"], dtype=object)[shuffled % 3],
            "error": "",
            "number": number,
            "with gaps": holed,
            "whole": shuffled,
            "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(shuffled, unit="s"),
            "mixed": mixed,
            "object": text.astype(object),
            "group": pd.Categorical.from_codes(shuffled % 5, list("abcde")),
        }
    )


def report(label: str, figures: tuple[float, float], limit: str = "") -> None:
    """Print one line."""
    print(
        f"{label:44s} longest pause {figures[0]:7.1f} ms   in all {figures[1]:8.1f} ms   {limit}",
        flush=True,
    )


def main(rows: int = 1_000_000) -> None:
    """Measure and print."""
    app = QApplication.instance() or QApplication([])
    frame = million(rows)
    view = MetaTableView()
    view.resize(1000, 800)
    view.show()
    beat = Heartbeat(view, paint=False)
    stop = time.perf_counter() + 2
    report("idle", beat.run(lambda: None, lambda: time.perf_counter() < stop))

    def first_page() -> None:
        view.model.set_frame(frame)
        view.table.viewport().repaint()

    def end() -> None:
        view.table.scrollToBottom()
        view.table.viewport().repaint()

    report("set the table, paint its first page", beat.run(first_page, lambda: False), "limit 100")
    report("scroll to the end", beat.run(end, lambda: False), "limit 50")
    for paint in (False, True):
        beat = Heartbeat(view, paint=paint)
        meanwhile = "painting at every turn of the loop" if paint else "window idle"
        print(f"\nsorting, {meanwhile} (limit 100)")
        for column, name in enumerate(view.model.columns):
            for ascending in (
                (True, False) if name in {"original_filename", "with gaps"} else (True,)
            ):
                arrow = "up" if ascending else "down"
                figures = beat.run(
                    lambda c=column, a=ascending: view.sort_by(c, ascending=a),
                    lambda: view.model.busy,
                )
                report(f"  sort by {name}, {arrow}", figures)
        report(
            "  back to slider order", beat.run(lambda: view.sort_by(None), lambda: view.model.busy)
        )
        for text in ("plate_12", "nothing like it", "7", "whole:77", "status:failed", ""):
            figures = beat.run(lambda t=text: view.model.filter_by(t), lambda: view.model.busy)
            report(f"  filter {text!r}: {view.model.rowCount():,} rows", figures)

    print("\nslider to table and live states, sorted by name")
    view.sort_by(0)
    while view.model.busy:
        app.processEvents()
    rng = np.random.default_rng(2)
    for label, call in (
        ("select_source_row", view.select_source_row),
        (
            "update_rows, one row",
            lambda k: view.model.update_rows([k], {"status": ["loaded"], "error": [""]}),
        ),
    ):
        spent = []
        for k in rng.integers(0, rows, 300).tolist():
            started = time.perf_counter()
            call(k)
            app.processEvents()
            spent.append(1e3 * (time.perf_counter() - started))
        times = f"median {np.median(spent):6.2f} ms   longest {max(spent):6.2f} ms"
        print(f"  {label:42s} {times} (repaint included)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
