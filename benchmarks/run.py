"""Run all measurements, each script in a process of its own, and print one table.

``python benchmarks/run.py`` takes about 15 minutes on two cores; ``--large`` adds folders of a
million files, which are hard links. Nothing else should run meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import Row, data_folder, parser, print_table

HERE = Path(__file__).parent
SCREEN = [sys.executable, str(HERE.parent / "tools" / "with_screen.py")]
SCRIPTS = (
    "import_time",
    "open_folder",
    "slider_step",
    "decode",
    "crop",
    "export",
    "raw_read",
    "zarr_read",
    "open_pyramid",
    "overview",
    "memory",
    "first_frame",
    "browsing",
    "window",
)
WITH_LARGE = ("open_folder", "slider_step")
MOST_PAUSE_MS = 100


def run_script(name: str, flags: list[str]) -> list[Row]:
    """Run one script, which prints a table of its own, and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "rows.json")
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), "--json", str(answer), *flags], check=False
        )
        if done.returncode:
            return [_failed(name)]
        return [Row(**row) for row in json.loads(answer.read_text(encoding="utf-8"))]


def run_table(rows: int) -> list[Row]:
    """Run the table's script; return the longest pause that it prints, idle ones left out."""
    command = [*SCREEN, sys.executable, str(HERE / "table.py"), str(rows)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    idle, pauses = 0.0, []
    for line in done.stdout.splitlines():
        found = re.search(r"longest pause +([\d.]+) ms", line)
        if found and line.startswith("idle"):
            idle = float(found[1])
        elif found:
            pauses.append(float(found[1]))
    if done.returncode or not pauses:
        return [_failed("table")]
    title = f"longest pause of the table, {rows:,} rows, by an idle window"
    return [Row(title, max(pauses), idle, "ms", max(pauses), MOST_PAUSE_MS, kind="value")]


def wait_for_quiet(seconds: float) -> None:
    """Return once the processors were idle for two seconds, or the time is up (Linux)."""
    end, idle_since = time.monotonic() + seconds, time.monotonic()
    before = _processor_ticks()
    while time.monotonic() < end and time.monotonic() - idle_since < 2:
        time.sleep(0.5)
        now = _processor_ticks()
        if now[0] - before[0] < 0.9 * (now[1] - before[1]):
            idle_since = time.monotonic()
        before = now


def _processor_ticks() -> tuple[int, int]:
    """Return how long all processors were idle, and how long they have been on."""
    ticks = [
        int(count)
        for count in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    ]
    return ticks[3] + ticks[4], sum(ticks)


def _failed(name: str) -> Row:
    return Row(f"{name}.py failed", 0, 0, "", 1, 0, kind="value")


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__, 0)
    arguments.add_argument("--large", action="store_true", help="folders of a million files too")
    arguments.add_argument(
        "--quiet", type=float, default=0, help="wait up to so many seconds for idle processors"
    )
    arguments.add_argument("only", nargs="*", help=f"of: {', '.join(SCRIPTS)}, table (all)")
    options = arguments.parse_args(argv)
    wanted = options.only or [*SCRIPTS, *(["table"] if (HERE / "table.py").exists() else [])]
    rows: list[Row] = []
    with data_folder(options) as data:
        flags = ["--data", data, *(["--quick"] if options.quick else [])]
        flags += ["--repeats", str(options.repeats)] if options.repeats else []
        for name in wanted:
            wait_for_quiet(options.quiet)
            print(f"\n{name}, load {os.getloadavg()[0]:.1f}", flush=True)
            if name == "table":
                rows += run_table(100_000 if options.quick else 1_000_000)
            else:
                rows += run_script(
                    name, [*flags, *(["--large"] if options.large and name in WITH_LARGE else [])]
                )
    print(
        f"\nall, on {os.cpu_count()} cores, {sys.platform}, Python {sys.version.split()[0]}",
        flush=True,
    )
    print_table(rows)
    return int(options.check and not all(row.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())
