"""ITK-Wasm images: a folder ``.iwi`` with ``index.json`` and raw data.

Format: https://docs.itk.org/projects/wasm
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.affine import placement
from napari_lazyload.sources.binary.dataset import binary_result, file_source
from napari_lazyload.sources.binary.header_checks import (
    MOST_HEADER,
    check_image,
    data_file,
    reading_header,
)
from napari_lazyload.sources.binary.strided import (
    StridedLayout,
    dense,
    samples_first,
)
from napari_lazyload.sources.files import FileStamp, check_options, file_name, refuse_if

if TYPE_CHECKING:
    from napari_lazyload.sources.opened import OpenResult

IWI = "ITK-Wasm"
_ADDRESS = "data:application/vnd.itk.path,"
_TYPES = (
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
)


def takes_iwi(path: str) -> bool:
    """Whether a path is such a folder."""
    index = os.path.join(path, "index.json")
    return path.rstrip("/\\").lower().endswith(".iwi") and os.path.isfile(index)


def open_iwi(path: str, **options: Any) -> OpenResult:
    """Open an ITK-Wasm folder; axes are reversed to z, y, x, colors come last.

    Raises
    ------
    SourceOpenError
        If it is described wrongly, or its data is missing, too short or too long.
    """
    check_options(options, (), "ITK-Wasm folders")
    path = os.path.abspath(path)
    index = os.path.join(path, "index.json")
    FileStamp.at_open(index, header=path)
    with reading_header(path, "an ITK-Wasm image"), open(index, encoding="utf-8") as file:
        known = json.loads(file.read(MOST_HEADER))
        kind = known["imageType"]
        dtype, components = str(kind["componentType"]), int(kind.get("components", 1))
        refuse_if(
            dtype not in _TYPES,
            path,
            "a componentType of numbers",
            repr(dtype),
            "save it with another type",
        )
        sizes = tuple(map(int, known["size"]))[::-1]
        check_image(path, sizes, np.dtype(dtype))
        layout, axes = _layout(sizes, components, dtype, str(kind.get("pixelType", "")))
        check_image(path, layout.shape, layout.dtype)
        address = str(known["data"])
        refuse_if(
            not address.startswith(_ADDRESS),
            path,
            f"data at {_ADDRESS}...",
            repr(address[:60]),
            "save it with its data in a file",
        )
        data = data_file(index, address.removeprefix(_ADDRESS))
        spatial = tuple(axis for axis in axes if axis not in ("c", "s"))
        steps = np.array(known["spacing"], float)[::-1]
        origin = np.array(known["origin"], float)[::-1]
        direction = _direction(index, known.get("direction"), len(sizes))[::-1, ::-1]
        names = [axis for axis in axes if axis != "s"]
        placed: dict[str, Any] = placement(direction * steps, origin, names, spatial)
    stamp = FileStamp.at_open(data, header=path)
    source = file_source(layout, (data, stamp), "", file_name(path), axes, **placed)
    fields = {
        "componentType": dtype,
        "pixelType": kind.get("pixelType", ""),
        "components": components,
    }
    return binary_result(path, IWI, [source], [fields])


def _direction(index: str, value: Any, ndim: int) -> np.ndarray[Any, Any]:
    """Return the matrix whose column k is the direction of axis k, in the order of ITK."""
    if isinstance(value, str) and value.startswith(_ADDRESS):
        with open(data_file(index, value.removeprefix(_ADDRESS)), "rb") as file:
            value = np.frombuffer(file.read(8 * ndim * ndim + 1), "<f8")
    if value is None or not np.size(value):
        return np.eye(ndim)
    return np.asarray(value, float).reshape(ndim, ndim)


def _layout(
    sizes: tuple[int, ...], components: int, dtype: str, pixel: str
) -> tuple[StridedLayout, tuple[str, ...]]:
    stored = np.dtype(dtype).newbyteorder("<")
    names = ("t", "z", "y", "x")[-len(sizes) :]
    if components == 1:
        return dense(sizes, stored), names
    whole = dense((*sizes, components), stored)
    if pixel in ("RGB", "RGBA"):
        return whole, (*names, "s")
    return samples_first(whole), ("c", *names)
