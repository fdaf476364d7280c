"""Run all measurements, each script in a process of its own, and print one table.

``python benchmarks/run.py`` takes about 15 minutes on two cores; ``--large`` adds folders of a million files, which are
hard links. Nothing else should run meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from _common import Row, data_folder, parser, print_table

HERE = Path(__file__).parent
SCREEN = [sys.executable, str(HERE.parent / "tools" / "with_screen.py")]
SCRIPTS = ("import_time", "open_folder", "slider_step", "decode", "crop", "memory", "first_frame")
WITH_LARGE = ("open_folder", "slider_step")
MOST_PAUSE_MS = 100


def run_script(name: str, flags: list[str]) -> list[Row]:
    """Run one script, which prints a table of its own, and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "rows.json")
        done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), "--json", str(answer), *flags], check=False)
        if done.returncode:
            return [_failed(name)]
        return [Row(**row) for row in json.loads(answer.read_text(encoding="utf-8"))]


def run_table(rows: int) -> list[Row]:
    """Run the table's script, which prints its pauses line by line; the longest but the idle one is what counts."""
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
    return [Row(title, max(pauses), idle, "ms", max(pauses), MOST_PAUSE_MS, kind="count")]


def _failed(name: str) -> Row:
    return Row(f"{name}.py failed", 0, 0, "", float("inf"), 0, kind="more")


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__, 0)
    arguments.add_argument("--large", action="store_true", help="folders of a million files too")
    arguments.add_argument("only", nargs="*", help=f"of: {', '.join(SCRIPTS)}, table (all)")
    options = arguments.parse_args(argv)
    wanted = options.only or [*SCRIPTS, *(["table"] if (HERE / "table.py").exists() else [])]
    rows: list[Row] = []
    with data_folder(options) as data:
        flags = ["--data", data, *(["--quick"] if options.quick else [])]
        flags += ["--repeats", str(options.repeats)] if options.repeats else []
        for name in wanted:
            print(f"\n{name}", flush=True)
            if name == "table":
                rows += run_table(100_000 if options.quick else 1_000_000)
            else:
                rows += run_script(name, [*flags, *(["--large"] if options.large and name in WITH_LARGE else [])])
    print(f"\nall, on {os.cpu_count()} cores, {sys.platform}, Python {sys.version.split()[0]}", flush=True)
    print_table(rows)
    return int(options.check and not all(row.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())
