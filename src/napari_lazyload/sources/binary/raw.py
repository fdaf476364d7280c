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
    refuse_if,
    refuse_option_if,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.sources.binary.strided import StridedFileSource
    from napari_lazyload.sources.opened import OpenResult

RAW = "raw"
SIDECAR_KEYS = (
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
)
"""What a sidecar says: ``dtype`` and ``shape`` at least. The options of the format have the same
names."""

_PLACE = ("scale", "translate", "units")
_SIZES = re.compile(r"(?<![0-9A-Za-z])([0-9]+(?:[xX\u00d7][0-9]+)+)(?![0-9A-Za-z])")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*|[0-9]+[- ]?bits?", re.IGNORECASE)
_TYPE_AND_ORDER = re.compile(r"([a-z]+[0-9]+)(le|be)")
_NAMES = (
    "uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 complex64 complex128"
)
_TYPES = {
    **dict(zip(_NAMES.split(), _NAMES.split(), strict=True)),
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "f32": "float32",
    "f64": "float64",
    "uchar": "uint8",
    "ushort": "uint16",
    "short": "int16",
    "float": "float32",
    "double": "float64",
    "bool": "bool",
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
    """A raw file that nothing describes: no option, no sidecar, and not its name."""


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
    refuse_if(size == 0, path, "pixels", "an empty file (0 bytes)", "copy it again")
    beside = sidecar_of(path)
    if beside is None:
        by, described = "name", from_name(path)
    else:
        by, described = file_name(beside), read_sidecar(beside)
    if options:
        by = "options"
    known = {**described, **options}
    if "dtype" not in known or ("shape" not in known and beside is None):
        raise _undescribed(path, size, known)
    what, source = raw_source(path, known)
    header = {
        "described_by": by,
        "data_offset": what.offset,
        "stored_dtype": str(what.dtype),
        "order": what.order,
    }
    notes = _order_notes(path, what) if by == "name" else []
    return binary_result(path, RAW, [source], [header], notes=notes)


def raw_source(path: str, known: Mapping[str, Any]) -> tuple[Description, StridedFileSource]:
    """Return the description of a file, and its source.

    Parameters
    ----------
    path : str
        The file.
    known : mapping
        `SIDECAR_KEYS` with their values, ``dtype`` at least.

    Raises
    ------
    SourceOpenError
        If it is not there, or not as long as described.
    ValueError
        If a value is none that it can be; the message says why.
    """
    what = _description(path, known)
    given = [name for name in _PLACE if known.get(name) is not None]
    place = {name: _along_axes(path, name, known[name]) for name in given}
    source = described_source(path, what, axes=known.get("axes"), least=2, **place)
    _check_placement(path, place, source.meta.axes)
    return what, source


def _along_axes(path: str, name: str, values: Any) -> tuple[Any, ...]:
    """Return the values of an option, one for each axis, after a check of their kind."""
    is_valid, expected = _is_number, "finite numbers"
    if name == "units":
        is_valid, expected = _is_text, "texts"
    refuse_option_if(
        not isinstance(values, (list, tuple, np.ndarray)) or not all(map(is_valid, values)),
        f"{path}: {name} must be a list of {expected}, got {values!r}",
    )
    return tuple(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and bool(np.isfinite(float(value)))


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _order_notes(path: str, what: Description) -> list[str]:
    """Return what to say of a name that may count the fastest axis first: ``512x512x100``."""
    shape = what.shape or ()
    first, *rest = shape or (0,)
    few_planes = first <= min(rest, default=0)
    many_wide_planes = first >= max(rest, default=0) and len(rest) > 1 and rest == sorted(rest)
    if shape == shape[::-1] or few_planes or many_wide_planes:
        return []
    found = " x ".join(map(str, shape))
    order = "slowest axis first, as its name says; order='F' if the first is the fastest"
    return [f"{path}: read as {found}, {order}"]


def _check_placement(
    path: str, place: Mapping[str, tuple[Any, ...]], axes: tuple[str, ...]
) -> None:
    spatial = [axis for axis in axes if axis != "s"]
    for name, values in place.items():
        refuse_option_if(
            len(values) != len(spatial),
            f"{path}: {name} must have a value for each of the axes {', '.join(spatial)}, "
            f"got {values}",
        )


def _description(path: str, known: Mapping[str, Any]) -> Description:
    """Return the description of a file; an error names the file."""
    order = str(known.get("order", "C"))
    byte_order = str(known.get("byte_order", "")).lower().split("-")[0]
    refuse_option_if(
        byte_order and byte_order not in _ORDERS,
        f"{path}: byte_order must be 'little' or 'big', got {known.get('byte_order')!r}",
    )
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
        raise BadOptionError(f"{path}: {err}") from err
    sign: Any = _ORDERS.get(byte_order)
    return replace(what, dtype=what.dtype.newbyteorder(sign)) if sign else what


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
        found = f"a {type(known).__name__}"
        if isinstance(known, dict):
            found = ", ".join(map(str, known))[:200] or "an empty one"
        raise open_error(
            path, "a JSON object with dtype and shape", found, "describe the raw file in it"
        )
    if isinstance(known["dtype"], list):
        known["dtype"] = [tuple(map(_as_tuple, field)) for field in known["dtype"]]
    return {name: known[name] for name in SIDECAR_KEYS if name in known}


def _as_tuple(part: Any) -> Any:
    """Return a part of a field of a type, whose shape JSON writes as a list."""
    return tuple(part) if isinstance(part, list) else part


def write_sidecar(path: str, known: Mapping[str, Any]) -> str:
    """Write what is known of a raw file beside it, never over another file; return the new path.

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
        raise open_error(
            beside,
            "a new sidecar",
            f"an error of the system: {err.strerror}",
            "allow writing into the folder, or move the file there",
        ) from err
    return beside


def from_name(path: str) -> dict[str, Any]:
    """Return what the name of a raw file says: ``vol_100x2048x2048_uint16_be.raw``."""
    stem = os.path.splitext(file_name(path))[0]
    known: dict[str, Any] = {}
    sizes = _SIZES.findall(stem.replace("_", " "))
    if len(sizes) == 1 and len(sizes[0]) < 100:
        known["shape"] = tuple(map(int, re.split("[xX\u00d7]", sizes[0])))
    words = _words(stem)
    return known | _type_of(words) | _order_of(words)


def _words(stem: str) -> list[str]:
    """Return the words of a name in lower case: "uint16le" is two, "16 bits" is "16bit"."""
    words: list[str] = []
    for word in _WORD.findall(_SIZES.sub(" ", stem.replace("_", " ")).lower()):
        both = _TYPE_AND_ORDER.fullmatch(word)
        if word[0].isdigit():
            words.append(re.sub("[- ]|s$", "", word))
        elif both is not None and both[1] in _TYPES:
            words += both.groups()
        else:
            words.append(word)
    return words


def _type_of(words: list[str]) -> dict[str, str]:
    """Return the one type that words name; bits alone are of whole numbers, mostly unsigned."""
    sign = "" if "signed" in words and "unsigned" not in words else "u"
    types = {_TYPES[word] for word in words if word in _TYPES}
    bits = {_BITS[word] for word in words if word in _BITS}
    if not types:
        types = {f"{sign}{name}" for name in bits}
    elif bits and any("int" in name and name.removeprefix("u") not in bits for name in types):
        return {}
    return {"dtype": types.pop()} if len(types) == 1 else {}


def _order_of(words: list[str]) -> dict[str, str]:
    """Return the byte order that words name; none where "big" may be said of the image itself."""
    found = {}
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        follows_type = before in _TYPES or before in _BITS
        abbreviated = before and word not in ("big", "little")
        if word in _ORDERS and (follows_type or abbreviated or after == "endian"):
            found = {"byte_order": word}
    return found


def _undescribed(path: str, size: int, known: Mapping[str, Any]) -> UndescribedError:
    fitting = "; ".join(map(str, guesses(size, known.get("dtype")))) or "none of the usual ones"
    partly = ""
    if known:
        partly = f" (known so far: {', '.join(f'{name}={known[name]}' for name in known)})"
    msg = (
        f"cannot open {path!r}: expected a description of its {size:,} bytes, found no sidecar "
        f"and no telling name{partly}; give open_dataset dtype= and shape=, write them into "
        f"{file_name(path)}.json, or name it like 'vol_100x512x512_uint16.raw'. "
        f"What fits the size: {fitting}"
    )
    return UndescribedError(msg, path)
