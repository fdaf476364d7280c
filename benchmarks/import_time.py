"""``import napari_lazyload`` over Python's own start, and what it must not import."""

from __future__ import annotations

import subprocess
import sys

from _common import Row, child, finish, parser, take_turns

HEAVY = (
    "numpy",
    "dask",
    "zarr",
    "pandas",
    "napari",
    "qtpy",
    "skimage",
    "PIL",
    "imagecodecs",
    "tifffile",
    "magicgui",
)


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__, 40).parse_args(argv)
    repeats = 5 if options.quick else options.repeats

    def python(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True)

    pairs = take_turns(lambda: python("import napari_lazyload"), lambda: python("pass"), repeats)
    code = f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    heavy = child(["-c", f"import sys, json, napari_lazyload; {code}"])
    if heavy:
        print(f"imported: {', '.join(heavy)}")
    return finish(
        [
            pairs.more("import napari_lazyload, over Python's start", 15),
            Row(
                "heavy libraries that the import loads",
                len(heavy),
                0,
                "",
                len(heavy),
                0,
                kind="value",
            ),
        ],
        options,
    )


if __name__ == "__main__":
    sys.exit(main())
