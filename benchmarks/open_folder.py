"""Opening a folder of PNG files against dask-image's `imread` on the same one.

Both give a lazy array of all frames. In one process, after imports, the file cache warm, taking
turns. A million files (``--large``) are held against 100,000 by the time for one file.
"""

from __future__ import annotations

import sys
import warnings

from _common import Row, data_folder, finish, parser, take_turns
from _folders import FILES, link_folder, make_folder
from dask_image.imread import imread

import napari_lazyload as nl


def ours(folder: str) -> object:
    return nl.open_dataset(folder).images[0].data


def against_dask_image(folder: str, name: str, repeats: int, target: float | None) -> Row:
    assert ours(folder).shape == imread(f"{folder}/*.png").shape
    pairs = take_turns(lambda: ours(folder), lambda: imread(f"{folder}/*.png"), repeats)
    return pairs.ratio(f"open {name} files, by dask-image", target)


def main(argv: list[str] | None = None) -> int:
    arguments = parser(__doc__, 15)
    arguments.add_argument("--large", action="store_true", help="a million files too")
    options = arguments.parse_args(argv)
    many, most = (10_000, 50_000) if options.quick else (100_000, 1_000_000)
    repeats = 3 if options.quick else options.repeats
    warnings.filterwarnings("ignore", category=FutureWarning, module="pims")
    rows = []
    with data_folder(options) as data:
        rows.append(against_dask_image(make_folder(data, FILES), f"{FILES:,}", repeats, 0.6))
        folder = link_folder(data, many)
        if folder:
            rows.append(
                against_dask_image(
                    folder, f"{many:,}", max(3, repeats // 3), None if options.quick else 0.15
                )
            )
        larger = link_folder(data, most) if options.large else None
        if folder and larger:
            pairs = take_turns(lambda: ours(larger), lambda: ours(folder), max(3, repeats // 3))
            rows.append(
                pairs.ratio(f"open {most:,} files, each by one of {many:,}", 1.5, per=(most, many))
            )
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
