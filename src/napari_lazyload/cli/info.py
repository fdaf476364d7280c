"""What a path opens as, and what the package is doing: as text and as JSON."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from math import prod
from typing import TYPE_CHECKING, Any

from napari_lazyload.cli.common import counted
from napari_lazyload.core.text import is_hidden, level_label, printable, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_lazyload.arrays.image import Image
    from napari_lazyload.core.metadata import LevelMeta
    from napari_lazyload.dataset.dataset import Dataset

_MOST_LINES = 20
"""Images, warnings and problems of one kind that are listed as text; JSON has them all."""


def as_json(value: Any) -> str:
    """Return JSON that every reader takes: numbers that are not finite become null.

    Control characters are escapes, also those that JSON allows as they are.
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, default=str)
    lines = (
        line if line.isprintable() else "".join(map(_escaped, line)) for line in text.split("\n")
    )
    return "\n".join(lines)


def _escaped(sign: str) -> str:
    return json.dumps(sign)[1:-1] if is_hidden(sign) else sign


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(_plain, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def describe(dataset: Dataset, warnings: Iterable[str]) -> dict[str, Any]:
    """Return what a dataset is, JSON-ready. Reads no pixel.

    Parameters
    ----------
    dataset : Dataset
        What was opened.
    warnings : iterable of str
        The warnings of opening it.

    Returns
    -------
    dict
        ``path``, ``kind``, ``summary``, ``skipped``, ``images`` (a dict for each, tuples in the
        order of its ``axes``) and ``warnings``.
    """
    images = [{"index": number, **_image(image)} for number, image in enumerate(dataset.images)]
    problems = [f"row {row}: {reason}" for row, reason in dataset.problems().items()]
    return {
        "path": dataset.path,
        "kind": dataset.kind,
        "summary": dataset.summary,
        "skipped": dataset.skipped,
        "images": images,
        "warnings": list(dict.fromkeys([*dataset.notes, *warnings, *problems])),
    }


def _image(image: Image) -> dict[str, Any]:
    meta = image.meta
    limits = meta.contrast_limits
    levels = [
        _level(number, meta.levels[box.level], image) for number, box in enumerate(image.boxes)
    ]
    return {
        "name": image.name,
        "kind": image.kind,
        "axes": list(image.axes),
        "shape": list(image.shape),
        "dtype": str(image.dtype),
        "nbytes": image.nbytes,
        "rgb": image.rgb,
        "scale": list(image.scale),
        "translate": list(image.translate),
        "units": list(image.units),
        "affine": meta.affine and image.affine.tolist(),
        "contrast_limits": limits and list(map(float, limits)),
        "channels": [channel.name for channel in meta.channels],
        "levels": levels,
    }


def _level(number: int, level: LevelMeta, image: Image) -> dict[str, Any]:
    grid = level.grid
    base = image.meta.scale or (1.0,) * image.spatial_ndim
    return {
        "name": level_label(number, level, image.axes),
        "shape": list(grid.shape),
        "factors": list(map(float, level.factors)),
        "stored": level.strides is None,
        "scale": [size * factor for size, factor in zip(base, level.factors, strict=False)],
        "chunks": list(map(_regular, grid.chunks)),
        "chunk_count": prod(grid.numblocks),
        "nbytes": prod(grid.shape) * image.dtype.itemsize,
    }


def _regular(sizes: int | Sequence[int]) -> int | list[int]:
    """Return one number for chunks of one size but for the last, which may be smaller."""
    if isinstance(sizes, int):
        return sizes
    if len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0] and sizes[0]:
        return sizes[0]
    return list(sizes)


# --- text


def info_text(facts: Mapping[str, Any]) -> str:
    """Return what :func:`describe` found, for people."""
    images = facts["images"]
    lines = [facts["path"], f"{facts['kind']}: {facts['summary']}"]
    for image in images[:_MOST_LINES]:
        lines += ["", *_image_lines(image)]
    lines += _more(len(images), "image")
    warnings = [f"Warning: {text}" for text in facts["warnings"]]
    if warnings:
        lines += ["", *warnings[:_MOST_LINES], *_more(len(warnings), "warning")]
    return "\n".join(map(printable, lines))


def _more(number: int, noun: str) -> list[str]:
    if number <= _MOST_LINES:
        return []
    return [f"... and {counted(number - _MOST_LINES, f'more {noun}')}; --json lists all"]


def _image_lines(image: Mapping[str, Any]) -> list[str]:
    axes, levels, units = image["axes"], image["levels"], image["units"]
    pixels = f"{_by(image['shape'])} {image['dtype']} ({', '.join(axes)})"
    lines = [
        f"{image['kind']} {image['index']}: {image['name']}",
        f"  shape: {pixels}, {size_text(image['nbytes'])}",
        f"  pixel: {_with_units(axes, image['scale'], units)}",
    ]
    if any(image["translate"]):
        lines.append(f"  origin: {_with_units(axes, image['translate'], units)}")
    if image["affine"] is not None:
        lines.append("  affine: rotated or sheared; --json has the matrix")
    if any(image["channels"]):  # one alone may have no name
        lines.append(f"  channel: {', '.join(image['channels'][:_MOST_LINES])}")
    for level in levels:
        shape = f"{_by(level['shape'])}, {size_text(level['nbytes'])}, " if levels[1:] else ""
        chunks = f"{counted(level['chunk_count'], 'chunk')} of {_by(map(_size, level['chunks']))}"
        lines.append(f"  {level['name']}: {shape}{chunks}")
    return lines


def _by(sizes: Iterable[Any]) -> str:
    return " x ".join(map(str, sizes))


def _size(chunk: int | Sequence[int]) -> str:
    return str(chunk) if isinstance(chunk, int) else f"{min(chunk)}..{max(chunk)}"


def _with_units(axes: Sequence[str], values: Sequence[float], units: Sequence[str | None]) -> str:
    each = zip(axes, values, units, strict=False)
    return ", ".join(f"{axis} {value:g} {unit or ''}".rstrip() for axis, value, unit in each)


def status_text(status: Mapping[str, Any]) -> str:
    """Return what `napari_lazyload.status` says, for people."""
    cache, queue, imports = status["cache"], status["queue"], status["imports"]
    waiting = sum(count for name, count in queue.items() if name.startswith("queued_"))
    counts = imports["progress"]
    used = f"{size_text(cache['nbytes'])} of {size_text(cache['budget'])}"
    lines = [
        f"napari-lazyload {version('napari-lazyload')}",
        f"cache     {used}, {counted(cache['chunks'], 'chunk')}",
        f"queue     {queue['running']} running, {waiting} waiting",
        f"errors    {status['errors']}",
        f"datasets  {len(status['datasets'])} open",
        *(f"  {dataset['kind']} {dataset['path']}" for dataset in status["datasets"]),
        f"packages  {counts['loaded_packages']} of {counts['total_packages']} loaded",
    ]
    for name, package in imports["packages"].items():
        took = "" if package["load_time"] is None else f" in {package['load_time']:.2f} s"
        why = f": {package['error']}" if package["error"] else ""
        lines.append(f"  {name:<12}{package['status']}{took}{why}")
    return "\n".join(map(printable, lines))
