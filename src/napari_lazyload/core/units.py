"""Units: how files write them, the one name each has here, and lengths of one unit in another.

The names are those of pint, of napari and of OME-Zarr: "micrometer", "second".
"""

from __future__ import annotations

import re
from typing import NamedTuple


class _Unit(NamedTuple):
    """A unit: its symbol, its size in meters or seconds (degrees for an angle), and other words."""

    symbol: str
    size: float
    words: str = ""


_LENGTHS = {
    "picometer": _Unit("pm", 1e-12, "picometre"),
    "angstrom": _Unit("Å", 1e-10, "ångström"),
    "nanometer": _Unit("nm", 1e-9, "nanometre"),
    # U+00B5 is the micro sign, U+03BC the Greek letter.
    "micrometer": _Unit(
        "µm", 1e-6, "um μm micron micrometre µ μ mikrometer mikron micrón micrómetro мкм 微米"
    ),
    "millimeter": _Unit("mm", 1e-3, "millimetre"),
    "centimeter": _Unit("cm", 1e-2, "centimetre"),
    "meter": _Unit("m", 1.0, "metre"),
    "kilometer": _Unit("km", 1e3, "kilometre"),
    "inch": _Unit("in", 0.0254, "inches"),
    "foot": _Unit("ft", 0.3048, "feet"),
}
_TIMES = {
    "nanosecond": _Unit("ns", 1e-9, "nsec"),
    "microsecond": _Unit("µs", 1e-6, "us μs usec"),
    "millisecond": _Unit("ms", 1e-3, "msec"),
    "second": _Unit("s", 1.0, "sec"),
    "minute": _Unit("min", 60.0),
    "hour": _Unit("h", 3600.0, "hr"),
    "day": _Unit("d", 86400.0),
}
_UNITS = {**_LENGTHS, **_TIMES, "degree": _Unit("°", 1.0, "deg")}
_NAMES = {
    word: name
    for name, unit in _UNITS.items()
    for word in (name, unit.symbol.lower(), *unit.words.split())
}
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_METRIC = re.compile(
    "(atto|centi|deci|exa|femto|giga|hecto|kilo|mega|micro|milli|nano|peta|pico|tera|yocto|yotta|"
    "zepto|zetta)?(meter|second)"
)
_OTHERS = frozenset(("angstrom", "foot", "inch", "mile", "parsec", "yard", "day", "hour", "minute"))


def unit_of(text: str | None) -> str | None:
    r"""Return the name of a unit as files write it: "µm", "microns"; None for what is none.

    Java's programs write letters beyond ASCII as escapes: ``\u00B5m``.
    """
    plain = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text or "")
    word = plain.strip().lower()
    return _NAMES.get(word) or _NAMES.get(word.removesuffix("s"))


def length_unit(text: str | None) -> str | None:
    """Return the name of a unit of length, None for what is none (pixels among them)."""
    name = unit_of(text)
    return name if name in _LENGTHS else None


def time_unit(text: str | None) -> str | None:
    """Return the name of a unit of time, None for what is none."""
    name = unit_of(text)
    return name if name in _TIMES else None


def unit_symbol(name: str | None) -> str | None:
    """Return the symbol of a unit of length or time, as OME-XML writes it; None for any other."""
    unit = _LENGTHS.get(name or "") or _TIMES.get(name or "")
    return unit and unit.symbol


def is_unit_name(text: str) -> bool:
    """Whether a text names a unit as OME-Zarr spells it."""
    return text in _OTHERS or _METRIC.fullmatch(text) is not None


def pint_name(text: str) -> str | None:
    """Return a unit as pint and napari spell it, None where pint does not know it."""
    if text in _UNITS or text == "pixel":
        return text  # pint reads its table of units, which takes a second, when it is first asked
    import pint

    try:
        return str(pint.application_registry.Unit(text))
    except Exception:  # noqa: BLE001 - a file may call a unit anything, and pint may raise anything
        return None


def in_unit(length: float, unit: str, other: str) -> float:
    """Return a length of one unit in another; exactly the same number where they are one."""
    if unit == other:
        return length
    return length * _UNITS[unit].size / _UNITS[other].size
