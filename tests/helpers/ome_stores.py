"""Write OME-Zarr stores for tests: any version, valid or broken."""

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
        if unit is not None and axis["type"] == "space":
            axis["unit"] = unit
        axes.append(axis)
    return axes


def scaled(
    scale: Sequence[float], translation: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """Return the transformations of a dataset."""
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": list(scale)}]
    if translation is not None:
        transforms.append({"type": "translation", "translation": list(translation)})
    return transforms


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
    """Write an image of one or more levels.

    Parameters
    ----------
    path : Path
        The folder of the image.
    levels : sequence of numpy.ndarray
        The pixels, finest first.
    axes : str
        One letter for each axis.
    version : str
        The version of OME-Zarr.
    chunks : tuple of int, optional
        The chunk sizes of every level. By default a level is one chunk.
    scale : sequence of float, optional
        The scale of the finest level.
    entry : mapping, optional
        Fields of the entry in ``multiscales``, added or replaced.
    **attributes
        More attributes of the group, such as ``omero``.
    """
    base = np.array(scale or (1.0,) * len(axes), float)
    datasets = []
    for number, level in enumerate(levels):
        factors = np.array(levels[0].shape) / level.shape
        write_array(path / str(number), level, chunks, version, axes)
        dataset: dict[str, Any] = {"path": str(number)}
        if version >= "0.4":
            dataset["coordinateTransformations"] = scaled((base * factors).tolist())
        datasets.append(dataset)
    image: dict[str, Any] = {"datasets": datasets}
    if version >= "0.4":
        image["axes"] = axes_of(axes)
    elif version == "0.3":
        image["axes"] = list(axes)
    if version < "0.5":
        image["version"] = version
    image.update(entry or {})
    return write_group(path, {"multiscales": [image], **attributes}, version)


def pyramid(
    shape: tuple[int, ...], count: int = 2, dtype: str = "uint16", seed: int = 0
) -> list[Array]:
    """Return random pixels, then every second, then every fourth pixel along the last two axes."""
    pixels = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
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
        The folder of the plate.
    wells : mapping of str to sequence of numpy.ndarray
        The fields of each well, by a path such as ``"A/1"``.
    listed : sequence of str
        More wells that the plate lists and that are missing.
    acquisitions : sequence of int
        The acquisition of each field, the same in every well.
    version, chunks, axes
        As in :func:`write_image`.
    **plate
        More metadata of the plate.
    """
    places = [well.split("/") for well in (*wells, *listed)]
    rows = sorted({row for row, _ in places}, key=natural_key)
    columns = sorted({column for _, column in places}, key=natural_key)
    metadata: dict[str, Any] = {
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {
                "path": f"{row}/{column}",
                "rowIndex": rows.index(row),
                "columnIndex": columns.index(column),
            }
            for row, column in places
        ],
    }
    if acquisitions:
        metadata["acquisitions"] = [{"id": number} for number in sorted(set(acquisitions))]
    write_group(path, {"plate": metadata | plate}, version)
    for row in {well.split("/")[0] for well in wells}:
        write_group(path / row, {}, version)
    for well, fields in wells.items():
        images: list[dict[str, Any]] = [{"path": str(number)} for number in range(len(fields))]
        for image, acquisition in zip(images, acquisitions, strict=False):
            image["acquisition"] = acquisition
        write_group(path / well, {"well": {"images": images}}, version)
        for number, pixels in enumerate(fields):
            write_image(path / well / str(number), [pixels], axes, version=version, chunks=chunks)
    return path
