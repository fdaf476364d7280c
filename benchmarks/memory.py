"""Peak memory of three passes over a folder four times the cache budget.

The increase of the peak resident memory (Linux) over what is resident after the imports may be the
budget and 64 MB. Each way through the folder has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import Row, child, data_folder, finish, parser
from _folders import FILES, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable

ALLOWED_MB = 64
MB = 1 << 20


def resident() -> dict[str, float]:
    """Return the resident memory in MB, now ("VmRSS") or at its peak ("VmHWM"). Linux."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return {
        name: int(kb) / 1024
        for name, kb in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.MULTILINE)
    }


def forget_peak() -> None:
    """Let the peak start again from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def steps(data: Any, _folder: str) -> None:
    for number in range(len(data)):
        np.asarray(data[(number, slice(None), slice(None))])


def boxes(data: Any, _folder: str) -> None:
    """Read windows through many frames: each touches as many chunks as the result has frames."""
    frames = max(1, len(data) // 20)
    for start in range(0, len(data), frames):
        np.asarray(data[start : start + frames, :64, :64])


def by_dask(data: Any, _folder: str) -> None:
    (data.max(axis=(1, 2)) + 0).compute(scheduler="threads")


def batches(data: Any, folder: str) -> None:
    import napari_lazyload as nl

    # The package cannot save what a batch holds.
    size = max(1, 2 * MB // (data[0].size * data.dtype.itemsize))
    with nl.read_images(folder).batches(size, shuffle=True) as all_batches:
        for _ in all_batches:
            pass


WAYS: dict[str, Callable[[Any, str], None]] = {
    "slider steps": steps,
    "boxes": boxes,
    "dask": by_dask,
    "batches": batches,
}


def passes(way: str, folder: str, times: int) -> dict[str, float]:
    """Go through a folder and return megabytes: the budget and the increase of the peak."""
    import napari_lazyload as nl
    from napari_lazyload.loading import cache

    if way == "dask":
        import dask.threaded  # noqa: F401 - an import of the measured pass otherwise
    data = nl.open_dataset(folder).images[0].data
    np.asarray(data[0])  # decoders load their libraries with the first frame
    budget = prod(data.shape) * data.dtype.itemsize // 4
    cache.shared.drop()
    nl.configure(cache_budget=budget)
    before = resident()["VmRSS"]
    forget_peak()
    for _ in range(times):
        WAYS[way](data, folder)
    assert cache.shared.nbytes <= budget
    assert cache.shared.counters.evictions > 0
    return {"budget": budget / MB, "increase": resident()["VmHWM"] - before}


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__, 3)
    arguments.add_argument("--passes", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args(argv)
    if options.passes:
        way, folder, times = options.passes
        print(json.dumps(passes(way, folder, int(times))))
        return 0
    times = 1 if options.quick else options.repeats
    rows = []
    with data_folder(options) as data:
        for name, folder in (
            (f"{FILES:,} x 300 x 300", make_folder(data, FILES)),
            ("192 x 1024 x 1024 uint16", make_folder(data, 192, side=1024, dtype=np.uint16)),
        ):
            for way in WAYS:
                found = child([__file__, "--passes", way, folder, str(times)])
                over = found["increase"] - found["budget"]
                title = f"peak beyond the budget, {way}, {name}"
                rows.append(
                    Row(
                        title,
                        found["increase"],
                        found["budget"],
                        "MB",
                        over,
                        ALLOWED_MB,
                        kind="more",
                    )
                )
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
