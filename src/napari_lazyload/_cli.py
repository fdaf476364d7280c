"""The command ``napari-lazyload``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Browse images bigger than memory in napari.")


@app.callback()
def _commands() -> None:
    """Browse images bigger than memory in napari."""


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Argument(help="A folder of images; by default sample data, made now.")] = None,
    *,
    screenshot: Annotated[
        Path | None, typer.Option(help="Render the window to this picture and end, instead of showing it.")
    ] = None,
) -> None:
    """Open napari on a folder of images, with the dataset table and the crop widget."""
    import napari

    from napari_lazyload import wait
    from napari_lazyload.sample import make_folder

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
