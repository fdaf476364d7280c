"""TIFF: what a file says besides its pixels (scale, units, palette), and silence while tifffile reads it.

Resolution tags of plain files are mostly the leftovers of a print setting, so that only three things become a scale:
ImageJ's calibration, OME-XML's physical sizes, and resolutions finer than any printer's.
"""

from __future__ import annotations

import logging
import re
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.picture_tiff_ifd import (
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Plain,
    value_bytes,
    values,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tifffile

    from napari_lazyload.sources.picture_files import Head

#: Size of a pixel in micrometres from which on a resolution is that of a screen or a printer (1200 dots per inch).
_PRINT_PIXEL = 21.0
_MICROMETRES = {2: 25_400.0, 3: 10_000.0}

_UNITS = {
    "micron": "micrometer",
    "microns": "micrometer",
    "um": "micrometer",
    "µm": "micrometer",  # U+00B5, the micro sign
    "μm": "micrometer",  # U+03BC, the Greek letter
    "\\u00b5m": "micrometer",
    "micrometer": "micrometer",
    "nm": "nanometer",
    "nanometer": "nanometer",
    "mm": "millimeter",
    "millimeter": "millimeter",
    "cm": "centimeter",
    "centimeter": "centimeter",
    "m": "meter",
    "meter": "meter",
    "inch": "inch",
    "å": "angstrom",
    "angstrom": "angstrom",
}

PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")


class _Silence(threading.local, logging.Filter):
    """A log filter that drops what is logged by the threads that ask for it."""

    depth = 0

    def __init__(self) -> None:
        logging.Filter.__init__(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record may pass."""
        return self.depth == 0


_SILENCE = _Silence()


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Drop tifffile's log messages of this thread; what matters in them is checked and raised here."""
    logging.getLogger("tifffile").addFilter(_SILENCE)  # adding it again changes nothing
    _SILENCE.depth += 1
    try:
        yield
    finally:
        _SILENCE.depth -= 1


def plain_metadata(head: Head, plain: Plain) -> dict[str, Any]:
    """Return the extras of a plain file."""
    metadata: dict[str, Any] = {"bits": plain.dtype.itemsize * 8}
    entry = plain.entries.get(RESOLUTION_UNIT)
    unit = values(head, plain.flavour, entry)[0] if entry is not None else 2
    calibration = _calibration(plain.description)
    per_unit = _rational(head, plain, Y_RESOLUTION), _rational(head, plain, X_RESOLUTION)
    metadata.update(_scale(per_unit, unit, calibration.get("unit")))
    return metadata


def _rational(head: Head, plain: Plain, tag: int) -> float:
    """Return a rational field as a number, 0 where there is none."""
    entry = plain.entries.get(tag)
    if entry is None or entry.kind != 5 or entry.number != 1:
        return 0.0
    numerator, denominator = struct.unpack(plain.flavour.order + "II", value_bytes(head, plain.flavour, entry))
    return numerator / denominator if denominator else 0.0


def _calibration(description: bytes) -> dict[str, str]:
    """Return the lines of ImageJ's description."""
    if not description.startswith(b"ImageJ="):
        return {}
    return dict(line.split("=", 1) for line in description.decode("latin-1").splitlines() if "=" in line)


def series_metadata(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, axes: tuple[str, ...]) -> dict[str, Any]:
    """Return the extras of a series."""
    keyframe = series.keyframe
    metadata: dict[str, Any] = {"bits": keyframe.bitspersample}
    if keyframe.photometric == 3:
        colormap = keyframe.colormap
        if colormap is not None:
            metadata["colormap"] = colormap.T
    if len(tif.series) > 1:
        metadata["note"] = f"{len(tif.series)} series of images; the first is shown"
    if tif.is_ome and tif.ome_metadata:
        metadata.update(_ome_scale(tif.ome_metadata))
        return metadata
    imagej = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    resolution = [_ratio(keyframe.tags.get(tag)) for tag in (Y_RESOLUTION, X_RESOLUTION)]
    unit = keyframe.tags.get(RESOLUTION_UNIT)
    scale = _scale((resolution[0], resolution[1]), int(unit.value) if unit is not None else 2, imagej.get("unit"))
    metadata.update(scale)
    steps = {"z": imagej.get("spacing"), "t": imagej.get("finterval")}
    axis_scale = {name: float(step) for name, step in steps.items() if name in axes and isinstance(step, (int, float))}
    if axis_scale:
        metadata["axis_scale"] = axis_scale
    return metadata


def _ratio(tag: Any) -> float:
    """Return the number in a rational tag, 0 where there is none."""
    try:
        numerator, denominator = tag.value
        return float(numerator / denominator)
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):
        return 0.0


def _scale(per_unit: tuple[float, float], unit: int, named: str | None) -> dict[str, Any]:
    """Return the size of a pixel (y, x) and its unit, where they can be trusted."""
    if min(per_unit) <= 0:
        return {}
    size = (1 / per_unit[0], 1 / per_unit[1])
    name = _UNITS.get(str(named).strip().lower()) if named else None
    if name:
        return {"scale": size, "unit": name}
    factor = _MICROMETRES.get(unit)
    if factor and max(size) * factor < _PRINT_PIXEL:
        return {"scale": (size[0] * factor, size[1] * factor), "unit": "micrometer"}
    return {}


def _ome_scale(xml: str) -> dict[str, Any]:
    """Return the physical sizes of the first image in OME-XML; its default unit is the micrometre."""
    match = PIXELS.search(xml)
    if match is None:
        return {}
    found = {}
    for axis in "XYZ":
        value = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', match[0])
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', match[0])
        try:
            size = float(value[1]) if value else 0.0
        except ValueError:
            size = 0.0
        name = _UNITS.get(unit[1].strip().lower()) if unit else "micrometer"
        if size > 0 and name:
            found[axis] = (size, name)
    if "X" not in found or "Y" not in found or found["X"][1] != found["Y"][1]:
        return {}
    result: dict[str, Any] = {"scale": (found["Y"][0], found["X"][0]), "unit": found["X"][1]}
    if "Z" in found and found["Z"][1] == found["X"][1]:
        result["axis_scale"] = {"z": found["Z"][0]}
    return result
