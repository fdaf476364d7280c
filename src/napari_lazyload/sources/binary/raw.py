"""Raw files that describe themselves: by a sidecar in JSON, or by their name."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import UnknownFormatError
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import MOST_HEADER, reading_header
from napari_lazyload.sources.binary.raw_description import (
    Description,
    described_source,
    description,
)
from napari_lazyload.sources.binary.raw_guesses import guesses
from napari_lazyload.sources.files import (
    BadOptionError,
    FileStamp,
    check_options,
    file_name,
    open_error,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.sources.binary.strided import StridedSource
    from napari_lazyload.sources.opened import OpenResult

RAW = "raw"
RAW_SUFFIXES = (".raw", ".bin", ".dat", ".vol")
SIDECAR_KEYS = (
    *(
        "dtype",
        "shape",
        "offset",
        "order",
        "byte_order",
        "key",
        "axes",
        "scale",
        "translate",
        "units",
        "trailing",
    ),
)
"""What a sidecar says: ``dtype`` and ``shape`` at least. The options of the format have the same
names."""

_PLACE = ("scale", "translate", "units")
_SIZES = re.compile(r"(?<![0-9A-Za-z])([0-9]+(?:[xX\u00d7][0-9]+)+)(?![0-9A-Za-z])")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*|[0-9]+[- ]?bits?", re.IGNORECASE)
_TYPE_AND_ORDER = re.compile(r"([a-z]+[0-9]+)(le|be)")
_TYPES = {
    **{f"{kind}{bits}": f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{
        f"{letter}{bits}": f"{kind}{bits}"
        for letter, kind in (("u", "uint"), ("i", "int"))
        for bits in (16, 32, 64)
    },
    **{"f32": "float32", "f64": "float64", "complex64": "complex64", "complex128": "complex128"},
    **{"uchar": "uint8", "ushort": "uint16", "short": "int16"},
    **{"float": "float32", "double": "float64", "bool": "bool"},
}
_BITS = {"8bit": "int8", "16bit": "int16"}
_ORDERS = {
    "le": "<",
    "little": "<",
    "lsb": "<",
    "be": ">",
    "big": ">",
    "msb": ">",
    "<": "<",
    ">": ">",
}


class UndescribedError(UnknownFormatError):
    """A raw file that nothing describes: no option, no sidecar, no telling name."""


def takes_raw(path: str) -> bool:
    """Return whether a name ends like a raw file's."""
    return path.lower().endswith(RAW_SUFFIXES)


def open_raw(path: str, **options: Any) -> OpenResult:
    """Open a raw file by the options, by a sidecar, or by its name.

    Parameters
    ----------
    path : str
        The file. Its sidecar is ``<path>.json``, or the same name with the suffix ``.json``.
    **options
        `SIDECAR_KEYS`; they go before what sidecar and name say.

    Raises
    ------
    UndescribedError
        If nothing describes the file; a `ValueError` too, with guesses that fit its size.
    SourceOpenError
        If it is not there, or not as long as described.
    """
    check_options(options, SIDECAR_KEYS, "raw files")
    path = os.path.abspath(path)
    size = FileStamp.at_open(path, "a raw file").size
    if size == 0:
        raise open_error(path, "pixels", "an empty file (0 bytes)", "copy it again")
    beside = sidecar_of(path)
    said, by = (read_sidecar(beside), file_name(beside)) if beside else (from_name(path), "name")
    known = {**said, **options}
    if "dtype" not in known or ("shape" not in known and beside is None):
        raise _undescribed(path, size, known)
    what, source = raw_source(path, known)
    header = {
        "described_by": "options" if options else by,
        "data_offset": what.offset,
        "stored_dtype": str(what.dtype),
        "order": what.order,
    }
    return binary_result(
        path, RAW, [source], [header], notes=_notes(path, what, by if not options else "")
    )


def raw_source(path: str, known: Mapping[str, Any]) -> tuple[Description, StridedSource]:
    """Return what a file holds, and its source, by what is known of it: `SIDECAR_KEYS`, ``dtype`` at least.

    Raises
    ------
    SourceOpenError
        If it is not there, or not as long as described.
    ValueError
        If a value is none that it can be; the message says why.
    """
    what = _description(path, known)
    place = {
        name: _along_axes(path, name, known[name]) for name in _PLACE if known.get(name) is not None
    }
    source = described_source(path, what, axes=known.get("axes"), least=2, **place)
    _check_placement(path, place, source.meta.axes)
    return what, source


def _along_axes(path: str, name: str, values: Any) -> tuple[Any, ...]:
    """Return a value for each axis, after a look at what they are."""
    if isinstance(values, (list, tuple, np.ndarray)):
        found = tuple(values)
        if name == "units" and all(one is None or isinstance(one, str) for one in found):
            return found
        if name != "units" and all(
            isinstance(one, Real) and np.isfinite(float(one)) for one in found
        ):
            return found
    msg = f"{path}: {name} must be a list of {'texts' if name == 'units' else 'finite numbers'}, got {values!r}"
    raise BadOptionError(msg)


def _notes(path: str, what: Description, by: str) -> list[str]:
    """Return what to say of a name that may count the fastest axis first: ``512x512x100``, ``1920x1080``."""
    shape = what.shape or ()
    first, *rest = shape or (0,)
    usual = first <= min(rest, default=0) or (
        first >= max(rest, default=0) and len(rest) > 1 and rest == sorted(rest)
    )
    if (
        by != "name" or shape == shape[::-1] or usual
    ):  # few planes, or very many of them that are wider than high
        return []
    said = " x ".join(map(str, shape))
    return [
        f"{path}: read as {said}, slowest axis first, as its name says; order='F' if the first is the fastest"
    ]


def _check_placement(
    path: str, place: Mapping[str, tuple[Any, ...]], axes: tuple[str, ...]
) -> None:
    spatial = [axis for axis in axes if axis != "s"]
    for name, values in place.items():
        if len(values) != len(spatial):
            msg = f"{path}: {name} must have a value for each of the axes {', '.join(spatial)}, got {values}"
            raise BadOptionError(msg)


def _description(path: str, known: Mapping[str, Any]) -> Description:
    """Return a description, where what is wrong with it is the file's fault."""
    order, byte_order = (
        str(known.get("order", "C")),
        str(known.get("byte_order", "")).lower().split("-")[0],
    )
    if byte_order and byte_order not in _ORDERS:
        msg = f"{path}: byte_order must be 'little' or 'big', got {known['byte_order']!r}"
        raise BadOptionError(msg)
    try:
        shape = known.get("shape")
        if order == "F" and shape is not None and known.get("axes") is None:
            # The last axis shown is the fastest one: the plane that is looked at lies together.
            shape, order = tuple(shape)[::-1], "C"
        exact = not known.get("trailing", False)
        what = description(
            known["dtype"], shape, known.get("offset", 0), order, known.get("key"), exact=exact
        )
    except (ValueError, TypeError) as err:
        msg = f"{path}: {err}"
        raise BadOptionError(msg) from err
    if not byte_order:
        return what
    sign: Any = _ORDERS[byte_order]
    swapped = what.dtype.newbyteorder(sign)
    return replace(what, dtype=swapped)


def sidecar_of(path: str) -> str | None:
    """Return the path of a raw file's sidecar, or None where there is none."""
    for beside in (f"{path}.json", f"{os.path.splitext(path)[0]}.json"):
        if os.path.isfile(beside):
            return beside
    return None


def read_sidecar(path: str) -> dict[str, Any]:
    """Read a sidecar.

    Raises
    ------
    SourceOpenError
        If it is no JSON object, or has no ``dtype``.
    """
    with reading_header(path, "a sidecar in JSON"), open(path, encoding="utf-8-sig") as file:
        known = json.loads(file.read(MOST_HEADER))
    if not isinstance(known, dict) or "dtype" not in known:
        found = (
            ", ".join(map(str, known))[:200]
            if isinstance(known, dict)
            else f"a {type(known).__name__}"
        )
        raise open_error(
            path,
            "a JSON object with dtype and shape",
            found or "an empty one",
            "describe the raw file in it",
        )
    dtype = known["dtype"]
    if isinstance(dtype, list):  # fields, as JSON writes tuples
        known["dtype"] = [
            tuple(tuple(part) if isinstance(part, list) else part for part in field)
            for field in dtype
        ]
    return {name: known[name] for name in SIDECAR_KEYS if name in known}


def write_sidecar(path: str, known: Mapping[str, Any]) -> str:
    """Write what is known of a raw file beside it, never over a file that is there; return the sidecar's path.

    Parameters
    ----------
    path : str
        The raw file.
    known : mapping
        `SIDECAR_KEYS`, as JSON takes them.

    Raises
    ------
    SourceOpenError
        If it cannot be written.
    """
    beside = f"{path}.json"
    try:
        with open(beside, "x", encoding="utf-8") as file:
            json.dump(known, file, indent=2)
            file.write("\n")
    except OSError as err:
        found = f"an error of the system: {err.strerror}"
        raise open_error(
            beside, "a new sidecar", found, "allow writing into the folder, or move the file there"
        ) from err
    return beside


def from_name(path: str) -> dict[str, Any]:
    """Return what the name of a raw file tells: ``vol_100x2048x2048_uint16.raw`` shape and type, ``_be`` the order."""
    stem = os.path.splitext(file_name(path))[0]
    known: dict[str, Any] = {}
    sizes = _SIZES.findall(stem.replace("_", " "))
    if len(sizes) == 1 and len(sizes[0]) < 100:
        known["shape"] = tuple(int(size) for size in re.split("[xX\u00d7]", sizes[0]))
    words = [
        re.sub("[- ]|s$", "", one.lower()) if one[0].isdigit() else one.lower()
        for one in _words(stem)
    ]
    known |= _type_of(words) | _order_of(words)
    return known


def _words(stem: str) -> list[str]:
    """Return the words of a name, types and byte orders that are written as one taken apart."""
    words: list[str] = []
    for word in _WORD.findall(_SIZES.sub(" ", stem.replace("_", " "))):
        both = _TYPE_AND_ORDER.fullmatch(word.lower())
        words += both.groups() if both is not None and both[1] in _TYPES else [word]
    return words


def _type_of(words: list[str]) -> dict[str, str]:
    """Return the one type that words name; bits alone are of whole numbers, without a sign unless that is said."""
    sign = "" if "signed" in words and "unsigned" not in words else "u"
    types = {_TYPES[word] for word in words if word in _TYPES}
    bits = {_BITS[word] for word in words if word in _BITS}
    if not types:
        types = {f"{sign}{one}" for one in bits}
    elif any(one.removeprefix("u") not in bits for one in types if bits and "int" in one):
        return {}
    return {"dtype": types.pop()} if len(types) == 1 else {}


def _order_of(words: list[str]) -> dict[str, str]:
    """Return the byte order that words name; where "big" may be meant of the thing itself, none."""
    found = ""
    for place, word in enumerate(words):
        behind = words[place - 1] in {*_TYPES, *_BITS} if place else False
        plain = word in ("big", "little")
        if word in _ORDERS and (
            behind or (not plain and place > 0) or words[place + 1 : place + 2] == ["endian"]
        ):
            found = word
    return {"byte_order": found} if found else {}


def _undescribed(path: str, size: int, known: Mapping[str, Any]) -> UndescribedError:
    fitting = "; ".join(map(str, guesses(size, known.get("dtype")))) or "none of the usual ones"
    partly = (
        f" (known so far: {', '.join(f'{name}={value}' for name, value in known.items())})"
        if known
        else ""
    )
    msg = (
        f"cannot open {path!r}: expected a description of its {size:,} bytes, found no sidecar and no telling name"
        f"{partly}; give open_dataset dtype= and shape=, write them into {file_name(path)}.json, or name it like "
        f"'vol_100x512x512_uint16.raw'. What fits the size: {fitting}"
    )
    return UndescribedError(msg, path)
