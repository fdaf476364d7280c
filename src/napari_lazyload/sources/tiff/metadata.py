"""TIFF: scale, units and palette of an image, and silence while tifffile reads a file.

Resolution tags of plain files are mostly the leftovers of a print setting. So only three things
become a scale: ImageJ's calibration, OME-XML's physical sizes, and resolutions finer than any
printer's.
"""

from __future__ import annotations

import logging
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.tiff.ifd import (
    PHOTOMETRIC,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Plain,
    value_bytes,
    values,
)
from napari_lazyload.sources.tiff.imagej import imagej_limits, imagej_metadata, imagej_scale
from napari_lazyload.sources.tiff.instruments import instrument_metadata
from napari_lazyload.sources.tiff.ome_xml import ome_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import tifffile

    from napari_lazyload.sources.image_header import FileHead

# Size of a pixel in micrometers from which on a resolution is that of a screen or a printer (1200
# dots per inch).
_PRINT_PIXEL = 21.0
_MICROMETERS = {2: 25_400.0, 3: 10_000.0}


class _Silence(threading.local, logging.Filter):
    """A log filter that drops what is logged by the threads that ask for it."""

    depth = 0

    def __init__(self) -> None:
        logging.Filter.__init__(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record may pass."""
        return self.depth == 0


_SILENCE = _Silence()


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Drop tifffile's log messages of this thread; what matters in them is raised here."""
    logging.getLogger("tifffile").addFilter(_SILENCE)  # adding it again changes nothing
    _SILENCE.depth += 1
    try:
        yield
    finally:
        _SILENCE.depth -= 1


def plain_metadata(head: FileHead, plain: Plain) -> dict[str, Any]:
    """Return the extras of a plain file."""
    metadata: dict[str, Any] = {"bits": plain.dtype.itemsize * 8}
    if values(head, plain.flavour, plain.entries[PHOTOMETRIC])[0] == 0:
        metadata["white_is_zero"] = True
    entry = plain.entries.get(RESOLUTION_UNIT)
    unit = values(head, plain.flavour, entry)[0] if entry is not None else 2
    fields = _description(plain.description)
    per_unit = _rational(head, plain, Y_RESOLUTION), _rational(head, plain, X_RESOLUTION)
    metadata.update(_scale(per_unit, unit, fields))
    metadata.update(imagej_limits(fields))
    return metadata


def _rational(head: FileHead, plain: Plain, tag: int) -> float:
    """Return a rational field as a number, 0 where there is none."""
    entry = plain.entries.get(tag)
    if entry is None or entry.kind != 5 or entry.number != 1:
        return 0.0
    data = value_bytes(head, plain.flavour, entry)
    numerator, denominator = struct.unpack(plain.flavour.order + "II", data)
    return numerator / denominator if denominator else 0.0


def _description(description: bytes) -> dict[str, str]:
    """Return the lines of ImageJ's description."""
    if not description.startswith(b"ImageJ="):
        return {}
    lines = description.decode("latin-1").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def series_metadata(tif: tifffile.TiffFile, number: int, axes: tuple[str, ...]) -> dict[str, Any]:
    """Return the extras of a series."""
    series = tif.series[number]
    keyframe, shape = series.keyframe, tuple(map(int, series.shape))
    metadata: dict[str, Any] = {"bits": keyframe.bitspersample}
    if keyframe.photometric == 0:
        metadata["white_is_zero"] = True
    if keyframe.photometric == 3 and keyframe.colormap is not None:
        metadata["colormap"] = keyframe.colormap.T
    if len(tif.series) > 1 and series.name:
        metadata["series"] = str(series.name)
    if tif.is_ome and tif.ome_metadata:
        metadata.update(ome_metadata(tif.ome_metadata, number, axes, shape, str(series.name)))
        return metadata
    tags = keyframe.tags
    per_unit = _ratio(tags.get(Y_RESOLUTION)), _ratio(tags.get(X_RESOLUTION))
    tag = tags.get(RESOLUTION_UNIT)
    unit = int(tag.value) if tag is not None else 2
    fields: Mapping[str, Any] = {}
    if tif.is_imagej:
        fields = tif.imagej_metadata or {}
        metadata.update(imagej_metadata(fields, axes, shape))
    scale = _scale(per_unit, unit, fields)
    if "axis_units" in scale:
        metadata["axis_units"] = {**metadata.get("axis_units", {}), **scale.pop("axis_units")}
    metadata.update(scale)
    if not number:
        metadata.update(instrument_metadata(tif, axes, shape))
    return metadata


def _ratio(tag: Any) -> float:
    """Return the number in a rational tag, 0 where there is none."""
    try:
        numerator, denominator = tag.value
        return float(numerator / denominator)
    except (AttributeError, TypeError, ValueError, ZeroDivisionError):
        return 0.0


def _scale(per_unit: tuple[float, float], unit: int, imagej: Mapping[str, Any]) -> dict[str, Any]:
    """Return the size of a pixel (y, x) and its unit, where they can be trusted."""
    if imagej:
        return imagej_scale(per_unit, unit, imagej)
    if min(per_unit) <= 0:
        return {}
    size = (1 / per_unit[0], 1 / per_unit[1])
    factor = _MICROMETERS.get(unit)
    if factor and max(size) * factor < _PRINT_PIXEL:
        return {"scale": (size[0] * factor, size[1] * factor), "unit": "micrometer"}
    return {}
