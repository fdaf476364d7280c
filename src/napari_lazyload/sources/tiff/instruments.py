"""TIFF files of instruments: how large a pixel is, where the tags of a maker say it instead of the usual ones."""

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
    for name, read in _READERS.items():
        if getattr(tif, f"is_{name}", False):
            try:
                return read(tif, axes, shape)
            except Exception:  # noqa: BLE001 - a maker's tags may hold anything; the pixels are fine without
                return {}
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
    steps = {axis: step for axis, step in (("z", _number(z)), ("t", _number(seconds))) if step}
    if _number(x) and _number(y):
        found = {"scale": (_number(y), _number(x)), "unit": unit}
    else:
        steps.pop("z", None)
    if steps:
        found["axis_scale"] = steps
    if "t" in steps:
        found["axis_units"] = {"t": "second"}
    return found


def _lsm(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """Zeiss: metres, and seconds between frames."""
    said: Any = tif.lsm_metadata
    x, y, z = (_number(said.get(f"VoxelSize{axis}")) * 1e6 for axis in "XYZ")
    return _sizes(x, y, z, seconds=said.get("TimeIntervall", said.get("TimeInterval")))


def _stk(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """MetaMorph: a calibration that may be switched off, and the distance of each plane from the one before."""
    said: Any = tif.stk_metadata
    unit = length_unit(said.get("CalibrationUnits"))
    if not said.get("SpatialCalibration", 1) or unit is None:
        return {}
    distances = [_number(one) for one in said.get("ZDistance", ())]
    return _sizes(
        said.get("XCalibration"), said.get("YCalibration"), distances[0] if distances else 0, unit
    )


def _svs(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """Aperio: micrometres per pixel in the description."""
    match = _MPP.search(tif.pages.first.description)
    return _sizes(match[1], match[1]) if match else {}


def _sis(tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]) -> dict[str, Any]:
    """Olympus: metres."""
    said: Any = tif.sis_metadata
    return _sizes(_number(said.get("pixelsizex")) * 1e6, _number(said.get("pixelsizey")) * 1e6)


def _fluoview(
    tif: tifffile.TiffFile, _axes: Sequence[str], _shape: Sequence[int]
) -> dict[str, Any]:
    """Olympus FluoView: each axis with its step and unit."""
    said: Any = tif.fluoview_metadata
    steps = {
        str(name).strip().lower(): (step, str(unit))
        for name, _, _, step, unit in said["Dimensions"]
    }
    (x, unit), (y, _), (z, z_unit) = (steps.get(axis, (0, "")) for axis in "xyz")
    name = length_unit(unit)
    return _sizes(x, y, z if length_unit(z_unit) == name else 0, name) if name else {}


def _micromanager(
    tif: tifffile.TiffFile, axes: Sequence[str], shape: Sequence[int]
) -> dict[str, Any]:
    """Micro-Manager: the summary of its settings, with names and colours of channels."""
    said: Any = (tif.micromanager_metadata or {}).get("Summary", {})
    size = said.get("PixelSize_um")
    found = _sizes(
        size, size, said.get("z-step_um"), seconds=_number(said.get("Interval_ms")) / 1000
    )
    names, colors = said.get("ChNames"), said.get("ChColors")
    own = _ndtiff_channels(tif) if tif.is_ndtiff else []
    if own:
        paired = isinstance(names, list) and isinstance(colors, list) and len(names) == len(colors)
        known = dict(zip(names, colors, strict=True)) if paired else {}
        names, colors = own, [known.get(name) for name in own]
    count = shape[axes.index("c")] if "c" in axes else 1
    if isinstance(names, list) and 1 < count == len(names) <= MOST_CHANNELS:
        if not (isinstance(colors, list) and len(colors) == count and len(set(colors)) == count):
            colors = [None] * count  # what differs in no channel says nothing
        found["channels"] = tuple(
            ChannelMeta(
                str(name) or f"channel {number}",
                default_color(number, count) if color is None else f"#{int(color) & 0xFFFFFF:06x}",
            )
            for number, (name, color) in enumerate(zip(names, colors, strict=True))
        )
    return found


def _ndtiff_channels(tif: tifffile.TiffFile) -> list[str]:
    """Return the channels that have names, as tifffile counts them: in the order in which the index names them."""
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
    "micromanager": _micromanager,
}
