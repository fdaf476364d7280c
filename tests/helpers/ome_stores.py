"""OME-Zarr stores for tests, of any version, right or wrong as a test wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_lazyload.core.natural_sort import natural_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Array = np.ndarray[Any, Any]

_TYPES = {"t": "time", "c": "channel"}


def axes_of(names: str, unit: str | None = "micrometer") -> list[dict[str, str]]:
    """Return axes as since version 0.4, the spatial ones with a unit."""
    axes = []
    for name in names:
        axis = {"name": name, "type": _TYPES.get(name, "space")}
        axes.append(axis if unit is None or axis["type"] != "space" else {**axis, "unit": unit})
    return axes


def scaled(
    scale: Sequence[float], translation: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """Return the transformations of a dataset."""
    found: list[dict[str, Any]] = [{"type": "scale", "scale": list(scale)}]
    return (
        found
        if translation is None
        else [*found, {"type": "translation", "translation": list(translation)}]
    )


def write_group(path: Path, attributes: Mapping[str, Any], version: str = "0.5") -> Path:
    """Write the metadata of a group; since version 0.5 the attributes go under ``ome``."""
    modern = version >= "0.5"
    group = zarr.open_group(path, mode="a", zarr_format=3 if modern else 2)
    group.attrs.update({"ome": {"version": version, **attributes}} if modern else attributes)
    return path


def write_array(
    path: Path,
    pixels: Array,
    chunks: tuple[int, ...] | None = None,
    version: str = "0.5",
    names: Sequence[str] = (),
) -> None:
    """Write one array, in the Zarr version that goes with one of OME-Zarr."""
    modern = version >= "0.5"
    encoding: Any = {"name": "default" if modern else "v2", "separator": "/"}
    array = zarr.create_array(
        path,
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=chunks or pixels.shape,
        zarr_format=3 if modern else 2,
        chunk_key_encoding=encoding,
        dimension_names=list(names) if names and modern else None,
    )
    array[...] = pixels


def write_image(
    path: Path,
    levels: Sequence[Array],
    axes: str = "yx",
    *,
    version: str = "0.5",
    chunks: tuple[int, ...] | None = None,
    scale: Sequence[float] | None = None,
    entry: Mapping[str, Any] | None = None,
    **attributes: Any,
) -> Path:
    """Write an image, each level half as large along y, x and what else halves.

    Parameters
    ----------
    path : Path
        Where to.
    levels : sequence of numpy.ndarray
        Finest first.
    axes : str
        A letter for each.
    version : str
        Of OME-Zarr.
    chunks : tuple of int, optional
        Of every level; a level is one chunk by default.
    scale : sequence of float, optional
        Of the finest level.
    entry : mapping, optional
        More of the entry in ``multiscales``, or other than this writes.
    **attributes
        Of the group, such as ``omero``.
    """
    base = np.array(scale or (1.0,) * len(axes), float)
    datasets = []
    for number, level in enumerate(levels):
        factors = np.array(levels[0].shape) / level.shape
        write_array(path / str(number), level, chunks, version, axes)
        one: dict[str, Any] = {"path": str(number)}
        if version >= "0.4":
            one["coordinateTransformations"] = scaled((base * factors).tolist())
        datasets.append(one)
    said: dict[str, Any] = {"datasets": datasets}
    if version >= "0.4":
        said["axes"] = axes_of(axes)
    elif version == "0.3":
        said["axes"] = list(axes)
    if version < "0.5":
        said["version"] = version
    return write_group(path, {"multiscales": [{**said, **(entry or {})}], **attributes}, version)


def pyramid(
    shape: tuple[int, ...], count: int = 2, dtype: str = "uint16", seed: int = 0
) -> list[Array]:
    """Return random pixels, and every second one of them along the last two axes, and so on."""
    kind = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 200, shape).astype(kind)
    return [np.ascontiguousarray(pixels[..., :: 2**level, :: 2**level]) for level in range(count)]


def write_plate(
    path: Path,
    wells: Mapping[str, Sequence[Array]],
    *,
    version: str = "0.5",
    chunks: tuple[int, ...] | None = None,
    axes: str = "yx",
    listed: Sequence[str] = (),
    acquisitions: Sequence[int] = (),
    **plate: Any,
) -> Path:
    """Write a plate.

    Parameters
    ----------
    path : Path
        Where to.
    wells : mapping of str to sequence of numpy.ndarray
        For each path such as ``"A/1"`` its fields.
    listed : sequence of str
        More wells that the plate tells of and that are not there.
    acquisitions : sequence of int
        Of the fields of each well.
    version, chunks, axes
        As of :func:`write_image`.
    **plate
        More of the plate's metadata.
    """
    paths = [*wells, *listed]
    rows, columns = (
        sorted({one.split("/")[side] for one in paths}, key=natural_key) for side in (0, 1)
    )
    said = [
        {
            "path": one,
            "rowIndex": rows.index(one.split("/")[0]),
            "columnIndex": columns.index(one.split("/")[1]),
        }
        for one in paths
    ]
    about = {
        "rows": [{"name": name} for name in rows],
        "columns": [{"name": name} for name in columns],
        "wells": said,
        **(
            {"acquisitions": [{"id": one} for one in sorted(set(acquisitions))]}
            if acquisitions
            else {}
        ),
        **plate,
    }
    write_group(path, {"plate": about}, version)
    for name in {one.split("/")[0] for one in wells}:
        write_group(path / name, {}, version)
    for one, fields in wells.items():
        images: list[dict[str, Any]] = [{"path": str(number)} for number in range(len(fields))]
        for image, acquisition in zip(images, acquisitions, strict=False):
            image["acquisition"] = acquisition
        write_group(path / one, {"well": {"images": images}}, version)
        for number, pixels in enumerate(fields):
            write_image(path / one / str(number), [pixels], axes, version=version, chunks=chunks)
    return path
