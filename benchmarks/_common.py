"""What the measurements share: pairs of timings, child processes, the command line, the table.

A measurement is a row: ours, a peer in the same run, and a figure made of both that is held against
a target. Ours and the peer take turns, so that whatever else the machine does meets both; the
figure is the median over the turns.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MS = 1e3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `target` None means: for comparison alone."""

    name: str
    ours: float
    peer: float
    unit: str
    figure: float
    target: float | None = None
    best: float | None = None  # the figure made of the best of each, which noise touches least
    kind: str = "ratio"  # or "more" (ours - peer), "value" (ours)
    at_least: bool = False

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        return self.figure >= self.target if self.at_least else self.figure <= self.target

    def cells(self) -> tuple[str, ...]:
        target = met = ""
        if self.target is not None:
            sign = ">=" if self.at_least else "<="
            target = f"{sign} {self._figure_text(self.target).lstrip('+')}"
            met = "yes" if self.met else "NO"
        return (
            self.name,
            _with_unit(self.ours, self.unit),
            _with_unit(self.peer, self.unit),
            self._figure_text(self.figure),
            self._figure_text(self.best),
            target,
            met,
        )

    def _figure_text(self, figure: float | None) -> str:
        if figure is None:
            return ""
        texts = {
            "ratio": f"{figure:.3g}",
            "more": f"{figure:+.3g} {self.unit}",
            "value": _with_unit(figure, self.unit),
        }
        return texts[self.kind]


def _with_unit(value: float, unit: str) -> str:
    if value >= 1000 or value == int(value):
        return f"{value:.0f} {unit}".strip()
    return f"{value:.3g} {unit}"


def timed(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of one call; its result is dropped after the clock has stopped."""
    started = clock()
    result = call()
    spent = clock() - started
    del result
    return spent


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds of ours and of the peer, turn by turn."""

    ours: list[float]
    peer: list[float]

    def ratio(
        self, name: str, target: float | None, *, per: tuple[int, int] = (1, 1), **more: Any
    ) -> Row:
        """Return the row of the median ratio; `per` divides both sides, say by a file count."""
        a, b = (
            [spent / count for spent in side]
            for side, count in zip((self.ours, self.peer), per, strict=True)
        )
        ratio = statistics.median(x / y for x, y in zip(a, b, strict=True))
        ours, peer = statistics.median(self.ours), statistics.median(self.peer)
        return Row(name, ours * MS, peer * MS, "ms", ratio, target, min(a) / min(b), **more)

    def more(self, name: str, target: float | None) -> Row:
        """Return the row of the median difference."""
        extra = statistics.median(a - b for a, b in zip(self.ours, self.peer, strict=True))
        best = (min(self.ours) - min(self.peer)) * MS
        ours, peer = statistics.median(self.ours), statistics.median(self.peer)
        return Row(name, ours * MS, peer * MS, "ms", extra * MS, target, best, "more")


def take_turns(
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Pairs:
    """Time both in turns that begin with either, after one call of each that is not counted."""
    ours(), peer()
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats):
        for side in (0, 1) if turn % 2 else (1, 0):
            gc.collect()
            spent[side].append(timed((ours, peer)[side], clock))
    return Pairs(*spent)


def child(arguments: Sequence[str], *, screen: bool = False) -> Any:
    """Run a Python script in a fresh process, or on a screen; return its last line, parsed."""
    command = [sys.executable, *arguments]
    if screen:
        with_screen = Path(__file__).parents[1] / "tools" / "with_screen.py"
        command = [sys.executable, str(with_screen), *command]
    with tempfile.TemporaryDirectory() as folder:  # the user's settings of napari stay as they are
        environment = {**os.environ, "NAPARI_CONFIG": str(Path(folder, "napari.yaml"))}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        output = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        msg = f"{' '.join(command)} ended with {done.returncode}:\n{output}"
        raise RuntimeError(msg)
    return json.loads(lines[-1])


# --- Command line and table
# --------------------------------------------------------------------------------------------------


def parser(doc: str | None, repeats: int) -> argparse.ArgumentParser:
    """Return the options that all scripts have."""
    made = argparse.ArgumentParser(description=(doc or "").split("\n", 1)[0])
    made.add_argument(
        "--data",
        help="where the folders of pictures are made and stay; by default they are removed",
    )
    made.add_argument(
        "--repeats", type=int, default=repeats, help="turns of each pair (%(default)s)"
    )
    made.add_argument(
        "--quick", action="store_true", help="small folders and few turns: does the script run?"
    )
    made.add_argument("--check", action="store_true", help="end with 1 if a target is missed")
    made.add_argument("--json", help=argparse.SUPPRESS)
    return made


@contextmanager
def data_folder(options: argparse.Namespace) -> Iterator[str]:
    """Yield where the folders of pictures are."""
    if options.data:
        yield os.path.abspath(options.data)
    else:
        with tempfile.TemporaryDirectory(prefix="lazyload-benchmark-") as folder:
            yield folder


def finish(rows: Iterable[Row], options: argparse.Namespace) -> int:
    """Print the table; return the exit code."""
    rows = list(rows)
    print_table(rows)
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
    return int(options.check and not all(row.met for row in rows))


def print_table(rows: Sequence[Row]) -> None:
    """Print rows in columns that a Markdown page takes as they are."""
    table = [
        ("name", "ours", "peer", "figure", "of the best", "target", "met"),
        *(row.cells() for row in rows),
    ]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    for number, cells in enumerate(table):
        print(
            "| "
            + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            + " |",
            flush=True,
        )
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
