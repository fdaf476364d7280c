"""What the commands share: errors, exit codes, Ctrl-C, progress, the choice of image and region."""

from __future__ import annotations

import math
import re
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from napari_lazyload.core.errors import CancelledError, LazyLoadError, LazyLoadWarning, RegionError
from napari_lazyload.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_lazyload.arrays.image import Image
    from napari_lazyload.dataset.dataset import Dataset

FAILED, CANCELLED = 1, 130
"""Exit codes. 0 is success, 2 a command that was written wrongly."""


def print_message(text: str) -> None:
    """Print a line for people, beside the results; control characters are shown as escapes."""
    typer.echo(printable(text), err=True)


def counted(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number:,} {noun}{'s'[: number != 1]}"


@contextmanager
def reporting_errors() -> Iterator[list[str]]:
    """Report an error in one line and end with its exit code; collect the package's warnings.

    Yields
    ------
    list of str
        The warnings so far. Those that are still in it at the end are printed.
    """
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what NumPy and others say to programmers
        warnings.simplefilter("always", LazyLoadWarning)
        warnings.showwarning = lambda message, *_more, **_named: notes.append(str(message))
        try:
            yield notes
        except (CancelledError, KeyboardInterrupt) as err:
            print_message("Cancelled; nothing was written.")
            raise typer.Exit(CANCELLED) from err
        except BrokenPipeError:  # whoever reads the results has seen enough
            raise
        except (LazyLoadError, OSError, ValueError, TypeError, MemoryError) as err:
            print_message(f"Error: {' '.join(str(err).split()) or type(err).__name__}")
            raise typer.Exit(FAILED) from err
        finally:
            print_warnings(notes)


def print_warnings(notes: list[str]) -> None:
    """Print the warnings that are not empty, and empty the list."""
    for note in filter(None, notes):
        print_message(f"Warning: {note}")
    notes.clear()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Let Ctrl-C stop the work in an orderly way; a second Ctrl-C ends it at once.

    Yields
    ------
    threading.Event
        Set once the user wants to stop.
    """
    stop = threading.Event()

    def on_interrupt(number: int, frame: Any) -> None:
        if stop.is_set():
            signal.default_int_handler(number, frame)
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress_bar(text: str, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar where somebody sees it: on a terminal.

    Yields
    ------
    callable or None
        ``progress(done, total)``, from any thread.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(text), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def option_values(texts: Sequence[str]) -> dict[str, Any]:
    """Return ``NAME=VALUE`` options as Python values; a value that is none stays text."""
    from ast import literal_eval

    values: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise typer.BadParameter(f"expected NAME=VALUE, got {text!r}", param_hint="'--set'")
        try:
            values[name.strip()] = literal_eval(value.strip())
        except (ValueError, SyntaxError):
            values[name.strip()] = value.strip()
    return values


def choose_image(dataset: Dataset, wanted: str | None) -> Image:
    """Return the image with a name or a number, or the first one if none is requested.

    Raises
    ------
    ValueError
        If there is no such image.
    """
    images = dataset.images
    if wanted is None:
        return images[0]
    for number, image in enumerate(images):
        if wanted in (image.name, str(number)):
            return image
    known = [f"{number} ({image.name})" for number, image in enumerate(images[:20])]
    known += ["..."] * bool(images[20:])
    raise ValueError(f"{dataset.path}: there is no image {wanted!r}; there are {', '.join(known)}")


# --- regions


@dataclass(frozen=True, slots=True)
class Position:
    """One end of a range as it was typed.

    Parameters
    ----------
    value : float
        A whole number of pixels where there is no unit.
    unit : str
        Of world coordinates; "" for pixels.
    """

    value: float
    unit: str


Range: TypeAlias = "tuple[Position | None, Position | None]"

_POSITION = re.compile(
    r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s:=,.+-][^\s:=,]*)?\s*"
)


def parse_region(texts: Sequence[str]) -> dict[str, Range]:
    """Return the ranges of a typed region: ``z=10:20,y=:512,t=3,x=10um:20um``.

    Raises
    ------
    typer.BadParameter
        If the text is no region.
    """
    region: dict[str, Range] = {}
    for part in ",".join(texts).split(",") if texts else ():
        axis, sign, text = map(str.strip, part.partition("="))
        start, colon, stop = text.partition(":")
        if not axis or not sign or not text or ":" in stop:
            raise _bad(part, "expected AXIS=START:STOP, such as z=10:20")
        if axis in region:
            raise _bad(part, f"axis {axis!r} comes twice")
        first = _position(start, part)
        region[axis] = (first, _position(stop, part)) if colon else _single(first)
    return region


def _single(position: Position | None) -> Range:
    """Return the range of one pixel: the one with that number, or the one at that position."""
    if position is None:
        return (None, None)
    if position.unit:
        return (position, Position(math.nextafter(position.value, math.inf), position.unit))
    if position.value == -1:
        return (position, None)
    return (position, Position(position.value + 1, ""))


def _position(text: str, part: str) -> Position | None:
    if not text.strip():
        return None
    match = _POSITION.fullmatch(text)
    if match is None:
        raise _bad(part, f"{text.strip()!r} is no position")
    value, unit = float(match[1]), match[2] or ""
    if not unit and not value.is_integer():
        why = "pixels are whole numbers; write a unit after world coordinates, such as z=1.5um:3um"
        raise _bad(part, why)
    return Position(value, unit)


def _bad(part: str, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"{part.strip()!r}: {why}", param_hint="'--region'")


def image_region(image: Image, ranges: dict[str, Range]) -> dict[str, Any]:
    """Return a typed region as :func:`napari_lazyload.crop` takes it.

    Pixels are slices, with NumPy's meaning: a negative number counts from the end.

    Raises
    ------
    RegionError
        If world coordinates mean nothing along an axis of the image.
    """
    from napari_lazyload.core.region import pixels_of_world

    region: dict[str, Any] = {}
    for axis, ends in ranges.items():
        units = {end.unit for end in ends if end is not None}
        if not any(units):
            region[axis] = slice(*(end and int(end.value) for end in ends))
            continue
        if "" in units:
            raise RegionError(
                f"axis {axis!r}: one end of the range has a unit and the other has none; "
                "write it after both"
            )
        start, stop = (_in_unit_of(image, axis, end) for end in ends)
        region |= pixels_of_world({axis: (start, stop)}, image.axes, image.scale, image.translate)
    return region


def _in_unit_of(image: Image, axis: str, end: Position | None) -> float | None:
    """Return a position in the image's own unit; None is an open end."""
    import numpy as np
    import pint

    if end is None:
        return None
    if axis not in image.axes[: image.spatial_ndim]:
        return end.value  # the region is refused in the words of all regions
    own = image.units[image.axes.index(axis)]
    if own is None:
        raise RegionError(
            f"axis {axis!r}: the file names no unit for it; write the region in pixels"
        )
    if not np.array_equal(image.affine, np.eye(len(image.affine))):
        raise RegionError(
            f"axis {axis!r}: the image is rotated or sheared, "
            "so that no axis has coordinates of its own; write pixels"
        )
    registry = pint.application_registry
    try:
        return float(registry.Quantity(end.value, end.unit).to(own).magnitude)
    except Exception as err:
        # What people call a unit may be anything, and so may what pint makes of it.
        raise RegionError(
            f"axis {axis!r}: {end.value:g}{end.unit} cannot be converted to the file's unit, {own}"
        ) from err
