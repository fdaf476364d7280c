"""Data types and fill values of Zarr metadata, versions 2 and 3, as NumPy's.

Types that hold no numbers are refused by name. Dates and durations are read as the whole numbers
that they are stored as.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    DType = np.dtype[Any]

_WHOLE = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_V3_NAMES = frozenset((*_WHOLE, "float16", "float32", "float64", "complex64", "complex128"))
_DATES = ("numpy.datetime64", "numpy.timedelta64")
_NOT_A_TIME = np.iinfo(np.int64).min
_OTHER = {"S": "bytes", "a": "bytes", "U": "text", "O": "objects", "V": "raw bytes"}


def named(found: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the name ("" for none) and configuration ({} for none) of a part of version 3."""
    part = found if isinstance(found, dict) else {"name": found}
    name, config = part.get("name"), part.get("configuration")
    name = name if isinstance(name, str) else ""
    return name, config if isinstance(config, dict) else {}


def dtype_v2(stored: Any) -> tuple[DType, str]:
    """Return the type of a version 2 array, in the byte order of the file, and its name there.

    Raises
    ------
    ValueError
        If it is unknown, or holds no numbers.
    """
    if isinstance(stored, list):
        raise ValueError("it holds records of several fields; expected one number for each pixel")  # noqa: TRY004 - a value in a file
    text = str(stored)
    if text[1:2] in _OTHER:
        raise ValueError(f"it holds {_OTHER[text[1]]} (type {text!r}); expected numbers")
    if re.fullmatch(r"[<>|=][mM]8(\[\d*\w+\])?", text):
        return np.dtype(f"{text[0]}i8"), text
    # Longer floats differ from machine to machine.
    if not re.fullmatch(r"[<>|=]?([biu]\d+|f[248]|c8|c16)", text):
        raise ValueError(f"its type {stored!r} is not known; expected one such as '<u2'")
    try:
        return np.dtype(text), text
    except TypeError as err:
        raise ValueError(f"its type {stored!r} is not known to NumPy ({err})") from err


def dtype_v3(stored: Any) -> tuple[DType, str]:
    """Return the type of a version 3 array, native, and its name; raises as :func:`dtype_v2`."""
    name, config = named(stored)
    if name in _V3_NAMES:
        return np.dtype(name), name
    if name in _DATES:
        return np.dtype(np.int64), f"{name.removeprefix('numpy.')}[{config.get('unit', 'generic')}]"
    raise ValueError(
        f"it holds values of type {name or stored!r}; expected numbers of a type such as 'uint16'"
    )


def fill_value(value: Any, dtype: DType) -> Any:
    """Return a fill value of the metadata as a number of a type; zero where there is none.

    Raises
    ------
    ValueError
        If the type cannot hold it.
    """
    native = dtype.newbyteorder("=")
    value = 0 if value is None else value
    try:
        with np.errstate(over="ignore"):
            if native.kind == "c":
                real, imaginary = value if isinstance(value, list) else (value, 0)
                part = np.dtype(f"f{native.itemsize // 2}")
                return native.type(complex(_real(real, part), _real(imaginary, part)))
            return native.type(_real(value, native))
    except (TypeError, ValueError, OverflowError) as err:
        raise ValueError(f"its fill value {value!r} is no number of type {native} ({err})") from err


def _real(value: Any, dtype: DType) -> Any:
    if dtype.kind == "f":
        return _float(value, dtype)
    if value == "NaT":
        return _NOT_A_TIME
    if isinstance(value, str):
        value = {"true": 1, "false": 0}.get(value.lower(), value)
    number = int(value)
    if number != float(value) and not isinstance(value, (int, str)):
        raise ValueError("not a whole number")
    if dtype.kind == "b":
        return bool(number)
    limits = np.iinfo(dtype)
    if not limits.min <= number <= limits.max:
        raise OverflowError(f"expected {limits.min} to {limits.max}")
    return number


def _float(value: Any, dtype: DType) -> Any:
    """Return a float; its text may be "NaN", "Infinity" or, in version 3, its bits as "0x..."."""
    if isinstance(value, str) and value.startswith("0x"):
        bits = int(value, 16).to_bytes(dtype.itemsize, "big")
        return np.frombuffer(bits, dtype.newbyteorder(">"))[0]
    return float(value)
