"""Decoding one PNG, JPEG or TIFF frame against Pillow, and two threads against one.

The file cache is warm; both read the file, decode it, and give an array. Threads are those of
`ImageSequence.load` and of `read_box`; what a plain pool gains with the same decoder in the same
run says what the machine has to give.
"""

from __future__ import annotations

import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import Pairs, Row, data_folder, finish, parser, take_turns
from _folders import FILES, make_folder, picture, picture_bytes
from PIL import Image

import napari_lazyload as nl
from napari_lazyload.loading import cache
from napari_lazyload.loading.read_box import read_box
from napari_lazyload.sources.image_files.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = (
    ("png", 300, np.uint8, 0),
    ("jpeg", 300, np.uint8, 3),
    ("tiff", 300, np.uint8, 0),
    ("png", 2048, np.uint16, 0),
    ("jpeg", 2048, np.uint8, 3),
    ("tiff", 2048, np.uint16, 0),
)


def by_pillow(path: str) -> np.ndarray[Any, Any]:
    with Image.open(path) as file:
        return np.asarray(file)


def decode_row(data: str, kind: str, side: int, dtype: Any, samples: int, repeats: int) -> Row:
    pixels = picture(side, side, dtype, samples)
    path = Path(data, f"{side}.{kind}")
    path.write_bytes(picture_bytes(pixels, kind))
    assert np.array_equal(decode(str(path)), by_pillow(str(path)))
    inner = max(1, 50 * 300**2 // pixels.size)  # one call of a small frame is too short for a clock

    def ours() -> None:
        for _ in range(inner):
            decode(str(path))

    def peer() -> None:
        for _ in range(inner):
            by_pillow(str(path))

    pairs = take_turns(ours, peer, repeats)
    pairs = Pairs([spent / inner for spent in pairs.ours], [spent / inner for spent in pairs.peer])
    colors = " x 3" if samples else ""
    return pairs.ratio(
        f"decode {kind.upper()} {side} x {side}{colors} {np.dtype(dtype)}, by Pillow", 1.0
    )


def scaling_row(name: str, work: Callable[[int], Any], repeats: int, target: float | None) -> Row:
    """Return how many times faster `work` is with two threads than with one."""
    two, one = (lambda threads=threads: work(threads) for threads in (2, 1))
    pairs = take_turns(two, one, repeats)
    gain = statistics.median(b / a for a, b in zip(pairs.ours, pairs.peer, strict=True))
    ours, peer = statistics.median(pairs.ours), statistics.median(pairs.peer)
    best = min(pairs.peer) / min(pairs.ours)
    return Row(name, 1e3 * ours, 1e3 * peer, "ms", gain, target, best, at_least=True)


def scaling_rows(
    folder: str, count: int, repeats: int, name: str, target: float | None
) -> list[Row]:
    sequence = nl.read_images(folder)[:count]
    source = nl.open_dataset(folder).images[0].source
    _, height, width = source.meta.shape
    paths = [source.chunk(0, (number, 0, 0)).path for number in range(count)]

    def with_workers(threads: int, call: Callable[[], Any]) -> Any:
        nl.configure(workers=threads)
        cache.shared.drop()
        return call()

    def plain(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(decode, paths):
                pass

    box = ((0, count), (0, height), (0, width))
    rows = [
        scaling_row(f"two threads, by one: plain pool, {name}", plain, repeats, None),
        scaling_row(
            f"two threads, by one: sequence.load, {name}",
            lambda n: with_workers(n, sequence.load),
            repeats,
            target,
        ),
        scaling_row(
            f"two threads, by one: read_box, {name}",
            lambda n: with_workers(n, lambda: read_box(source, 0, box)),
            repeats,
            target,
        ),
    ]
    nl.configure(workers=2)
    return rows


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, 25).parse_args(argv)
    repeats = 5 if options.quick else options.repeats
    few = max(3, repeats // 2)
    with data_folder(options) as data:
        small = make_folder(data, FILES)
        rows = [decode_row(data, *frame, repeats) for frame in FRAMES]
        rows += scaling_rows(small, 100 if options.quick else 600, few, "300 x 300", 1.7)
        large = make_folder(data, 16, side=2048, dtype=np.uint16)
        rows += scaling_rows(large, 16, few, "2048 x 2048", 1.7)
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
