"""A crop of 64 frames x 256 x 256 of a folder of PNG files: the files it reads, and its time by a plain thread pool.

The pool runs the same decoder in as many threads and writes into one result. Processor time is what the work costs,
also while the machine does something else.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from _common import Row, data_folder, finish, parser, take_turns
from _folders import make_folder

import napari_lazyload as nl
from napari_lazyload.loading import cache
from napari_lazyload.sources.pictures import decode

FRAMES, SIDE, FIRST = 64, 256, 20


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, 25).parse_args(argv)
    repeats = 3 if options.quick else options.repeats
    with data_folder(options) as data:
        folder = make_folder(data, 200, side=512)
        image = nl.open_dataset(folder).images[0]
        workers = nl.configure()["workers"]
        paths = [image.source.chunk(0, (FIRST + number, 0, 0)).path for number in range(FRAMES)]
        region = (slice(FIRST, FIRST + FRAMES), slice(100, 100 + SIDE), slice(150, 150 + SIDE))

        def ours() -> np.ndarray[Any, Any]:
            return nl.crop(image, region)

        def plain() -> np.ndarray[Any, Any]:
            result = np.empty((FRAMES, SIDE, SIDE), image.dtype)

            def fill(number: int) -> None:
                result[number] = decode(paths[number])[region[1:]]

            with ThreadPoolExecutor(workers) as pool:
                for _ in pool.map(fill, range(FRAMES)):
                    pass
            return result

        before = cache.shared.counters.reads
        cropped = ours()
        reads = cache.shared.counters.reads - before
        assert np.array_equal(cropped, plain())  # all 64 were read, so 64 reads are each once
        pairs = take_turns(ours, plain, repeats)
        processor = take_turns(ours, plain, repeats, time.process_time)
        assert len(cache.shared) == 0  # nothing was kept, so each turn read all
    name = f"crop {FRAMES} x {SIDE} x {SIDE}"
    rows = [
        Row(f"{name}: files read", reads, FRAMES, "files", reads, FRAMES, kind="value"),
        pairs.ratio(f"{name}, by a plain pool", 1.1),
        processor.ratio(f"{name}, processor time, by a plain pool", None),
    ]
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
