"""Units as files write them: one name for each, and lengths of one unit in another."""

from __future__ import annotations

_NAMES = {
    "picometer": "pm picometre",
    "angstrom": "å ångström",
    "nanometer": "nm nanometre",
    "micrometer": "um µm μm \\u00b5m micron micrometre µ μ",  # U+00B5 the micro sign, U+03BC the Greek letter
    "millimeter": "mm millimetre",
    "centimeter": "cm centimetre",
    "meter": "m metre",
    "kilometer": "km kilometre",
    "inch": "in",
    "nanosecond": "ns nsec",
    "microsecond": "us µs μs usec",
    "millisecond": "ms msec",
    "second": "s sec",
    "minute": "min",
    "hour": "h hr",
    "day": "d",
}
_KNOWN = {word: name for name, words in _NAMES.items() for word in (name, *words.split())}

_METRES = {
    "picometer": 1e-12,
    "angstrom": 1e-10,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "meter": 1.0,
    "kilometer": 1e3,
    "inch": 0.0254,
}
_TIMES = frozenset(("nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day"))


def length_unit(said: str | None) -> str | None:
    """Return the name of a unit of length, None for what is none (pixels among them)."""
    name = _unit(said)
    return name if name in _METRES else None


def time_unit(said: str | None) -> str | None:
    """Return the name of a unit of time, None for what is none."""
    name = _unit(said)
    return name if name in _TIMES else None


def _unit(said: str | None) -> str | None:
    word = (said or "").strip().lower()
    return _KNOWN.get(word) or _KNOWN.get(word.removesuffix("s"))


def in_unit(length: float, unit: str, wanted: str) -> float:
    """Return a length of one unit in another; exactly the same number where they are one."""
    return length if unit == wanted else length * _METRES[unit] / _METRES[wanted]
