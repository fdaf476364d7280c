"""What the measurements share: pairs of timings, folders of pictures, peak memory, child processes, the table.

A measurement is a row: ours, a peer in the same run, and a figure made of both that is held against a target. Ours and
the peer take turns, so that whatever else the machine does meets both; the figure is the median over the turns.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MS = 1e3
MB = 1 << 20
FILES = 2624
SIDE = 300


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
    kind: str = "ratio"  # or "more" (ours - peer), "count"
    at_least: bool = False

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        return self.figure >= self.target if self.at_least else self.figure <= self.target

    def cells(self) -> tuple[str, ...]:
        def said(figure: float | None) -> str:
            if figure is None:
                return ""
            return {"ratio": f"{figure:.3g}", "more": f"{figure:+.3g} {self.unit}", "count": f"{figure:.0f}"}[self.kind]

        target = "" if self.target is None else f"{'>=' if self.at_least else '<='} {said(self.target).lstrip('+')}"
        met = "" if self.target is None else "yes" if self.met else "NO"
        return (
            self.name,
            _said(self.ours, self.unit),
            _said(self.peer, self.unit),
            said(self.figure),
            said(self.best),
            target,
            met,
        )


def _said(value: float, unit: str) -> str:
    if value != value:  # noqa: PLR0124 - not a number: there is none
        return ""
    return f"{value:.0f} {unit}".strip() if value >= 1000 or unit in ("", "files") else f"{value:.3g} {unit}"


def timed(call: Callable[[], Any]) -> float:
    """Return the seconds of one call; its result is dropped after the clock has stopped."""
    started = time.perf_counter()
    result = call()
    spent = time.perf_counter() - started
    del result
    return spent


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds of ours and of the peer, turn by turn."""

    ours: list[float]
    peer: list[float]

    def ratio(self, name: str, target: float | None, *, per: tuple[int, int] = (1, 1), **more: Any) -> Row:
        """Return the row of the median ratio; `per` divides both sides, such as by their number of files."""
        a, b = ([spent / count for spent in side] for side, count in zip((self.ours, self.peer), per, strict=True))
        ratio = statistics.median(x / y for x, y in zip(a, b, strict=True))
        ours, peer = statistics.median(self.ours), statistics.median(self.peer)
        return Row(name, ours * MS, peer * MS, "ms", ratio, target, min(a) / min(b), **more)

    def more(self, name: str, target: float | None) -> Row:
        """Return the row of the median difference."""
        extra = statistics.median(a - b for a, b in zip(self.ours, self.peer, strict=True))
        best = (min(self.ours) - min(self.peer)) * MS
        ours, peer = statistics.median(self.ours), statistics.median(self.peer)
        return Row(name, ours * MS, peer * MS, "ms", extra * MS, target, best, "more")


def take_turns(ours: Callable[[], Any], peer: Callable[[], Any], repeats: int, *, warm: bool = True) -> Pairs:
    """Time both in turn, beginning with the other one each time; `warm` calls each once before."""
    if warm:
        ours(), peer()
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats):
        for side in (0, 1) if turn % 2 else (1, 0):
            gc.collect()
            spent[side].append(timed((ours, peer)[side]))
    return Pairs(*spent)


# --- Folders ---------------------------------------------------------------------------------------------------------


def picture(seed: int, side: int = SIDE, dtype: Any = np.uint8, samples: int = 0) -> np.ndarray[Any, Any]:
    """Return something like a micrograph: smooth blobs and camera noise, that compresses as such pictures do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    smooth = sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) * 90) for a, b in rng.random((12, 2)))
    full = np.iinfo(dtype).max
    shape = (side, side, samples) if samples else (side, side)
    values = 0.2 * full + 0.3 * full * (smooth[..., None] if samples else smooth) + rng.normal(0, full / 80, shape)
    return np.clip(values, 0, full).astype(dtype)


def picture_bytes(pixels: np.ndarray[Any, Any], kind: str) -> bytes:
    """Return a picture as a file of a usual kind, written by Pillow (TIFF: uncompressed)."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 90} if kind == "jpeg" else {}))
    return file.getvalue()


def make_folder(data: str, count: int, *, side: int = SIDE, dtype: Any = np.uint8) -> str:
    """Return a folder of PNG files, made once; 32 pictures take turns, each file has bytes of its own."""
    folder = Path(data, f"{count}-{side}-{np.dtype(dtype).name}")
    if not folder.exists():
        files = [picture_bytes(picture(seed, side, dtype), "png") for seed in range(min(count, 32))]
        with _filling(folder) as unfinished:
            for number in range(count):
                unfinished.joinpath(f"frame_{number:07d}.png").write_bytes(files[number % len(files)])
    return str(folder)


def link_folder(data: str, count: int) -> str | None:
    """Return a folder of hard links to the files of `make_folder`, or None where the file system has none."""
    folder = Path(data, f"{count}-links")
    if not folder.exists():
        targets = [entry.path for entry in os.scandir(make_folder(data, min(count, FILES)))]
        try:
            with _filling(folder) as unfinished:
                for number in range(count):
                    os.link(targets[number % len(targets)], f"{unfinished}/frame_{number:07d}.png")
        except OSError as err:
            print(f"skipped: no {count:,} hard links here ({err.strerror})", flush=True)
            return None
    return str(folder)


@contextmanager
def _filling(folder: Path) -> Iterator[Path]:
    """Give a folder its name once it is full: a run that was stopped leaves no half of one."""
    import shutil

    unfinished = folder.with_name(f"{folder.name}-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.rename(folder)


# --- Memory and processes --------------------------------------------------------------------------------------------


def resident() -> dict[str, float]:
    """Return the resident memory of this process now ("VmRSS") and at its peak ("VmHWM"), in MB. Linux."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return {name: int(kb) / 1024 for name, kb in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.MULTILINE)}


def forget_peak() -> None:
    """Let the peak start again from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def child(arguments: Sequence[str], *, screen: bool = False) -> Any:
    """Run a Python script in a fresh process, where wanted on a screen; return what its last line of output says."""
    command = [sys.executable, *arguments]
    if screen:
        command = [sys.executable, str(Path(__file__).parents[1] / "tools" / "with_screen.py"), *command]
    with tempfile.TemporaryDirectory() as folder:  # the user's settings of napari stay as they are
        environment = {**os.environ, "NAPARI_CONFIG": str(Path(folder, "napari.yaml"))}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        msg = f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        raise RuntimeError(msg)
    return json.loads(lines[-1])


# --- Command line and table ------------------------------------------------------------------------------------------


def parser(doc: str | None, repeats: int) -> argparse.ArgumentParser:
    """Return the options that all scripts have."""
    made = argparse.ArgumentParser(description=(doc or "").split("\n", 1)[0])
    made.add_argument("--data", help="where the folders of pictures are made and stay; by default they are removed")
    made.add_argument("--repeats", type=int, default=repeats, help="turns of each pair (%(default)s)")
    made.add_argument("--quick", action="store_true", help="small folders and few turns: does the script run?")
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
    table = [("name", "ours", "peer", "figure", "of the best", "target", "met"), *(row.cells() for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    for number, cells in enumerate(table):
        print(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |", flush=True
        )
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def remove_layers(viewer: Any) -> None:
    """Empty a viewer."""
    with suppress(IndexError):
        while True:
            viewer.layers.pop()
