"""Regions and whole images into files: what the commands ``crop`` and ``convert`` do."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import typer

from napari_lazyload.cli.common import (
    choose_image,
    counted,
    image_region,
    interruptible,
    print_message,
    print_warnings,
    progress_bar,
    reporting_errors,
)
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.core.text import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_lazyload.arrays.image import Image
    from napari_lazyload.cli.common import Range
    from napari_lazyload.cropping.failures import OnFailure


def check_dtype(name: str | None) -> None:
    """Refuse a name that is no type of pixels.

    Raises
    ------
    typer.BadParameter
        If it is none.
    """
    import numpy as np

    try:
        known = name is None or np.dtype(name).kind in "biufc"
    except TypeError:
        known = False
    if not known:
        raise typer.BadParameter(
            f"{name!r} is no type of pixels; there are uint8, int16, float32, ...",
            param_hint="'--dtype'",
        )


def check_target(target: Path) -> None:
    """Refuse a name that does not say what to write.

    Raises
    ------
    typer.BadParameter
        If its suffix is none of those that can be written.
    """
    from napari_lazyload.exporting.export import SUFFIXES

    if not target.name.lower().endswith(tuple(SUFFIXES)):
        suffixes = ", ".join(SUFFIXES)
        raise typer.BadParameter(
            f"{target}: expected a name that ends with {suffixes}, which says what to write",
            param_hint="'OUT'",
        )


def write(
    path: str,
    target: Path,
    *,
    image: str | None,
    ranges: Mapping[str, Range],
    options: Mapping[str, Any],
    overwrite: bool,
    quiet: bool,
    level: int = 0,
    dtype: str | None = None,
    shards: bool = False,
    on_error: str | None = None,
) -> None:
    """Write one image, or a region of it, and print where.

    Parameters
    ----------
    path : str
        What to open.
    target : Path
        Where to write; the suffix says what.
    image : str or None
        Name or number of the image.
    ranges : mapping
        The region as :func:`parse_region` gives it; empty for all.
    options : mapping
        More arguments of :func:`napari_lazyload.open_dataset`.
    overwrite : bool
        Whether to replace what is there.
    quiet : bool
        Whether to show neither costs nor progress.
    level, dtype, shards, on_error
        See :func:`napari_lazyload.export`.
    """
    with reporting_errors() as notes, _naming_the_option(on_error):
        check_target(target)
        check_dtype(dtype)
        if os.path.lexists(target) and not overwrite:
            raise FileExistsError(f"{target}: exists already; --overwrite replaces it")
        import napari_lazyload as nl
        from napari_lazyload.cropping.cast_loss import cast_loss

        with nl.open_dataset(path, **options) as dataset:
            chosen = choose_image(dataset, image)
            region = image_region(chosen, dict(ranges)) if ranges else ()
            count = len(dataset.images)
            if image is None and count > 1:
                first = f"taking the first, {chosen.name!r}"
                notes.append(f"{count} images: {first}; --image takes another")
            notes.append(cast_loss(chosen.dtype, dtype or chosen.dtype))
            print_warnings(notes)
            if not quiet:
                print_message(_cost(chosen, region, level, dtype))
            with interruptible() as stop, progress_bar(target.name, quiet=quiet) as progress:
                made = nl.export(
                    chosen,
                    target,
                    region,
                    level=level,
                    dtype=dtype,
                    shards=shards or None,
                    overwrite=overwrite,
                    progress=progress,
                    cancel=stop,
                    on_error=cast("OnFailure | None", on_error),
                )
    typer.echo(str(made))


@contextmanager
def _naming_the_option(on_error: str | None) -> Iterator[None]:
    """Add to the error of a chunk how to go on without it."""
    try:
        yield
    except ChunkReadError as err:
        if on_error in ("blank", "skip"):
            raise
        text = f"{str(err).rstrip('.')}. --on-error blank writes zeros there, skip leaves it out"
        raise ChunkReadError(text, err.path) from err


def _cost(image: Image, region: Any, level: int, dtype: str | None) -> str:
    """Return what will be written and how much is read for it."""
    import numpy as np

    from napari_lazyload.core.chunks import box_shape
    from napari_lazyload.core.text import describe_pixels
    from napari_lazyload.cropping.crop import estimate_level
    from napari_lazyload.cropping.target import target_of

    target = target_of(image)
    box = target.box(region, level)
    shape, cost = box_shape(box), estimate_level(target, box, level, dtype)
    pixels = describe_pixels(shape, np.dtype(dtype or image.dtype))
    return (
        f"{pixels}: result {size_text(cost.result_nbytes)}, "
        f"reads {size_text(cost.touched_nbytes)} in {counted(cost.touched_chunks, 'chunk')}, "
        f"of {size_text(cost.full_nbytes)}"
    )
