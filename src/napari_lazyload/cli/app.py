"""The command ``napari-lazyload``: its options and help. The work is imported when it is run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Source = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="A folder, a file, a glob pattern, a Zarr store or its address."
    ),
]
ImageChoice = Annotated[
    str | None,
    typer.Option(
        "--image", metavar="NAME", help="Name or number of the image; the first by default."
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="How to open PATH, as in Python: [bold]format=pictures[/], or of a raw file "
        "[bold]dtype=uint16[/] and [bold]shape=100,2048,2048[/]. May come several times.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show neither costs nor progress.")]


class Unreadable(StrEnum):
    """What a frame or chunk that cannot be read gives."""

    RAISE = "raise"
    BLANK = "blank"
    SKIP = "skip"


OnError = Annotated[
    Unreadable | None,
    typer.Option(
        help="What a frame or chunk that cannot be read gives: an error, which is the default; "
        "zeros; or nothing: the frame is left out. How many and which is said at the end.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"napari-lazyload {version('napari-lazyload')}")
        raise typer.Exit


@app.callback()
def _commands(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Look into images bigger than memory, and take out the piece you need.

    Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 an
    error, 2 a command that is written wrongly, 130 cancelled by Ctrl-C.
    """


@app.command()
def info(path: Source, *, json: Json = False, options: Options = None) -> None:
    """Say what PATH opens as: images, axes, levels, chunks, sizes, scale, warnings. Reads no pixel.

    \b
    Examples:
      napari-lazyload info measurements/
      napari-lazyload info cells.ome.zarr --json
      napari-lazyload info camera.raw --set dtype=uint16 --set shape=-1,2048,2048
    """  # noqa: D301 - typer's sign for lines to keep
    from napari_lazyload.cli.common import option_values, reporting_errors
    from napari_lazyload.cli.info import as_json, describe, info_text

    chosen = option_values(options or ())
    with reporting_errors() as warnings:
        from napari_lazyload.dataset.opening import open_dataset

        with open_dataset(path, **chosen) as dataset:
            dataset.scan(wait=True)  # all problems are in the answer
            facts = describe(dataset, warnings)
            warnings.clear()
    typer.echo(as_json(facts) if json else info_text(facts))


@app.command()
def crop(
    path: Source,
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A .npy, .ome.zarr or .ome.tif; its suffix decides."),
    ],
    *,
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS=START:STOP,...",
            help="What to take along each axis, in pixels of level 0: "
            "[bold]z=10:20,y=:512,t=3[/], with the meaning of NumPy's slices; or with a unit, in "
            "world coordinates: [bold]z=10um:20um[/]. Axes that are not named are whole.",
        ),
    ] = None,
    level: Annotated[int, typer.Option(help="Which resolution; 0 is the finest.")] = 0,
    dtype: Annotated[
        str | None,
        typer.Option(help="Type of the result, such as float16; the image's by default."),
    ] = None,
    image: ImageChoice = None,
    on_error: OnError = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    options: Options = None,
) -> None:
    """Write a region of an image, reading only the chunks that it touches.

    \b
    Examples:
      napari-lazyload crop a.ome.zarr b.npy --region z=10:20,y=0:512
      napari-lazyload crop a.ome.zarr b.ome.tif --region z=10um:20um --level 1
      napari-lazyload crop folder/ last.npy --region z=-10: --dtype float16
    """  # noqa: D301 - typer's sign for lines to keep
    from napari_lazyload.cli.common import option_values, parse_region
    from napari_lazyload.cli.write import write

    write(
        path,
        out,
        image=image,
        ranges=parse_region(region or ()),
        options=option_values(options or ()),
        overwrite=overwrite,
        quiet=quiet,
        level=level,
        dtype=dtype,
        on_error=on_error and on_error.value,
    )


@app.command()
def convert(
    path: Source,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.ome.zarr", help="The store to write; .ome.tif and .npy work too."
        ),
    ],
    *,
    image: ImageChoice = None,
    on_error: OnError = None,
    shards: Annotated[
        bool, typer.Option("--shards", help="Many chunks to a file, for file systems and servers.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    options: Options = None,
) -> None:
    """Write an image as OME-Zarr 0.5 with a pyramid, whatever its size.

    \b
    Examples:
      napari-lazyload convert measurements/ measurements.ome.zarr
      napari-lazyload convert volume.mrc volume.ome.zarr --shards
    """  # noqa: D301 - typer's sign for lines to keep
    from napari_lazyload.cli.common import option_values
    from napari_lazyload.cli.write import write

    write(
        path,
        out,
        image=image,
        ranges={},
        options=option_values(options or ()),
        overwrite=overwrite,
        quiet=quiet,
        shards=shards,
        on_error=on_error and on_error.value,
    )


@app.command()
def status(*, json: Json = False) -> None:
    """Say which packages are there, and what the cache and the queue of this process hold."""
    from napari_lazyload.cli.common import reporting_errors
    from napari_lazyload.cli.info import as_json, status_text

    with reporting_errors():
        from napari_lazyload.dataset.runtime import status

        facts = status()
    typer.echo(as_json(facts) if json else status_text(facts))


@app.command()
def view(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Folders, files, glob patterns, Zarr stores."),
    ],
) -> None:
    """Open napari with PATH as lazy layers, whatever reader napari prefers for it.

    \b
    Examples:
      napari-lazyload view measurements/
      napari-lazyload view cells.ome.zarr labels.ome.zarr
    """  # noqa: D301 - typer's sign for lines to keep
    from napari_lazyload.cli.common import reporting_errors

    with reporting_errors():
        import napari

        viewer = napari.Viewer()
        try:
            for path in paths:
                viewer.open(path, plugin="napari-lazyload")
        except BaseException:
            viewer.close()
            raise
    napari.run()


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of images; by default sample data, made now.")
    ] = None,
    *,
    screenshot: Annotated[
        Path | None,
        typer.Option(help="Render the window to this picture and end, instead of showing it."),
    ] = None,
) -> None:
    """Open napari on a folder of images, with the dataset table and the crop widget."""
    import napari

    from napari_lazyload import wait
    from napari_lazyload.sample_data import make_folder

    path = folder or make_folder()
    viewer = napari.Viewer(title="napari-lazyload demo")
    viewer.window.resize(1280, 800)
    viewer.open(str(path), plugin="napari-lazyload")
    viewer.window.add_plugin_dock_widget("napari-lazyload", "Dataset table")
    viewer.window.add_plugin_dock_widget("napari-lazyload", "Crop a region", tabify=True)
    if screenshot is None:
        napari.run()
        return
    wait(viewer, timeout=30)
    viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
    viewer.close()
    typer.echo(f"The demo was rendered to {screenshot.resolve()}")


def main() -> None:
    """Run the command."""
    app()
