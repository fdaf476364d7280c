"""TIFF files of instruments: sizes of pixels that the tags of a maker hold, not the usual ones."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.channel_colors import MOST_CHANNELS, default_color
from napari_lazyload.core.metadata import ChannelMeta
from napari_lazyload.core.units import length_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import tifffile

_MPP = re.compile(r"\bMPP\s*=\s*([0-9.eE+-]+)")


def instrument_metadata(
    tif: tifffile.TiffFile, axes: Sequence[str], shape: Sequence[int]
) -> dict[str, Any]:
    """Return what the maker's own tags say of the first image of a file.

    Parameters
    ----------
    tif : TiffFile
        The file.
    axes : sequence of str
        Of the image.
    shape : sequence of int
        Of the image.

    Returns
    -------
    dict
        ``scale`` (y, x), ``unit``, ``axis_scale``, ``axis_units`` and ``channels``, as far as
        known.
    """
    readers = [read for name, read in _READERS.items() if getattr(tif, f"is_{name}", False)]
    if 65009 in tif.pages.first.tags:
        readers.append(_gatan)
    try:
        return readers[0](tif, axes, shape) if readers else {}
    except Exception:  # noqa: BLE001 - a maker's tags may hold anything; the pixels are fine
        return {}


def _number(value: Any) -> float:
    """Return a finite number above zero, 0 for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if number > 0 and math.isfinite(number) else 0.0


def _sizes(
    x: Any, y: Any, z: Any = 0, unit: str = "micrometer", *, seconds: Any = 0
) -> dict[str, Any]:
    """Return sizes of pixels, and of steps in time, as far as they are numbers."""
    found: dict[str, Any] = {}
    steps: dict[str, float] = {}
    if _number(x) and _number(y):
        found = {"scale": (_number(y), _number(x)), "unit": unit}
        if _number(z):
            steps["z"] = _number(z)
    if _number(seconds):
        steps["t"] = _number(seconds)
        found["axis_units"] = {"t": "second"}
    if steps:
        found["axis_scale"] = steps
    return found


def _lsm(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """Zeiss: metres, and seconds between frames."""
    fields: Any = tif.lsm_metadata
    x, y, z = (_number(fields.get(f"VoxelSize{axis}")) * 1e6 for axis in "XYZ")
    return _sizes(x, y, z, seconds=fields.get("TimeIntervall", fields.get("TimeInterval")))


def _stk(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """MetaMorph: a calibration that may be off, and the distance of each plane from the last."""
    fields: Any = tif.stk_metadata
    unit = length_unit(fields.get("CalibrationUnits"))
    if not fields.get("SpatialCalibration", 1) or unit is None:
        return {}
    z = next(iter(fields.get("ZDistance", ())), 0)
    return _sizes(fields.get("XCalibration"), fields.get("YCalibration"), z, unit)


def _svs(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """Aperio: micrometres per pixel in the description."""
    match = _MPP.search(tif.pages.first.description)
    return _sizes(match[1], match[1]) if match else {}


def _sis(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """Olympus: metres."""
    fields: Any = tif.sis_metadata
    return _sizes(_number(fields.get("pixelsizex")) * 1e6, _number(fields.get("pixelsizey")) * 1e6)


def _fluoview(
    tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]
) -> dict[str, Any]:
    """Olympus FluoView: each axis with its step and unit."""
    fields: Any = tif.fluoview_metadata
    steps: dict[str, tuple[Any, str | None]] = {}
    for name, _, _, step, unit in fields["Dimensions"]:
        steps[str(name).strip().lower()] = (step, length_unit(str(unit)))
    (x, unit), (y, _), (z, z_unit) = (steps.get(axis, (0, None)) for axis in "xyz")
    if unit is None:
        return {}
    return _sizes(x, y, z if z_unit == unit else 0, unit)


def _sem(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """Zeiss electron microscopes: a value with its unit, else metres in the fourth unnamed one."""
    fields: Any = tif.sem_metadata
    for name in ("ap_image_pixel_size", "ap_pixel_size"):
        _, size, unit = (*fields.get(name, ()), None, None, None)[:3]
        if _number(size) and length_unit(str(unit)):
            return _sizes(size, size, unit=length_unit(str(unit)) or "")
    size = _number(fields[""][3]) * 1e6
    return _sizes(size, size)


def _fei(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """Thermo Fisher, once FEI: metres of the scan."""
    fields: Any = tif.fei_metadata
    scan = fields.get("Scan") or fields["EScan"]
    return _sizes(_number(scan["PixelWidth"]) * 1e6, _number(scan["PixelHeight"]) * 1e6)


def _tvips(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """TVIPS: nanometres in the specimen."""
    fields: Any = tif.tvips_metadata
    return _sizes(fields.get("PixelSizeX"), fields.get("PixelSizeY"), unit="nanometer")


def _gatan(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """Gatan's DigitalMicrograph: units and scales of x and y in tags of their own."""
    tags = tif.pages.first.tags
    names = (tags.valueof(tag) for tag in (65003, 65004))
    units = [length_unit(_text(name)) for name in names]
    if units[0] is None or units[0] != units[1]:
        return {}
    return _sizes(tags.valueof(65009), tags.valueof(65010), unit=units[0])


def _text(value: Any) -> str:
    """Return a text of a tag, which some write as bytes of UTF-16."""
    data = bytes(value) if isinstance(value, (bytes, tuple)) else str(value or "").encode()
    coding = "utf-16-le" if data[1:2] == b"\0" else "utf-8"
    return data.decode(coding, "replace").strip("\0 ")


def _metaseries(
    tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]
) -> dict[str, Any]:
    """MetaXpress and MetaMorph: a calibration of each plane that may be off."""
    metadata: Any = tif.metaseries_metadata
    fields = metadata["PlaneInfo"]
    unit = length_unit(str(fields.get("spatial-calibration-units")))
    if not fields.get("spatial-calibration-state") or unit is None:
        return {}
    x, y = (fields.get(f"spatial-calibration-{axis}") for axis in "xy")
    return _sizes(x, y, unit=unit)


def _micromanager(
    tif: tifffile.TiffFile, axes: Sequence[str], shape: Sequence[int]
) -> dict[str, Any]:
    """Micro-Manager: the summary of its settings, with names and colors of channels."""
    fields: Any = (tif.micromanager_metadata or {}).get("Summary", {})
    size, seconds = fields.get("PixelSize_um"), _number(fields.get("Interval_ms")) / 1000
    found = _sizes(size, size, fields.get("z-step_um"), seconds=seconds)
    names, colors = fields.get("ChNames"), fields.get("ChColors")
    own = _ndtiff_channels(tif) if tif.is_ndtiff else []
    if own:
        known: dict[Any, Any] = {}
        if isinstance(names, list) and isinstance(colors, list) and len(names) == len(colors):
            known = dict(zip(names, colors, strict=True))
        names, colors = own, [*map(known.get, own)]
    count = shape[axes.index("c")] if "c" in axes else 1
    if isinstance(names, list) and 1 < count == len(names) <= MOST_CHANNELS:
        # What differs in no channel says nothing.
        if not isinstance(colors, list) or not len(colors) == len(set(colors)) == count:
            colors = [None] * count
        found["channels"] = tuple(map(_channel, range(count), names, colors, [count] * count))
    return found


def _channel(number: int, name: Any, color: Any, count: int) -> ChannelMeta:
    """Return how one channel of several is shown."""
    shown = default_color(number, count) if color is None else f"#{int(color) & 0xFFFFFF:06x}"
    return ChannelMeta(str(name) or f"channel {number}", shown)


def _ndtiff_channels(tif: tifffile.TiffFile) -> list[str]:
    """Return the channels that have names, in the order in which the index names them.

    tifffile counts them like this.
    """
    import tifffile

    index = tifffile.read_ndtiff_index(os.path.join(tif.filehandle.dirname, "NDTiff.index"))
    names = dict.fromkeys(axes.get("channel") for axes, *_ in index)
    return [name for name in names if isinstance(name, str)]


_READERS: dict[str, Callable[..., dict[str, Any]]] = {
    "lsm": _lsm,
    "stk": _stk,
    "svs": _svs,
    "sis": _sis,
    "fluoview": _fluoview,
    "sem": _sem,
    "fei": _fei,
    "tvips": _tvips,
    "metaseries": _metaseries,
    "micromanager": _micromanager,
}
