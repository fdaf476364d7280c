"""Sample data, made when needed: from a photograph of scikit-image, or from random numbers."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Array = np.ndarray[Any, Any]

COUNT = 300
SIZE = 256


def make_folder(target: Path | None = None, count: int = COUNT) -> Path:
    """Write a folder of PNG images: a window that moves over a photograph of gravel.

    Every seventh image has a bright spot.

    Parameters
    ----------
    target : Path, optional
        Where to; by default a folder in the system's temporary one, which is used again if it is
        complete.
    count : int
        How many images.

    Returns
    -------
    Path
        The folder: ``frame_0.png`` and so on, 256 x 256 uint8, and ``frames.csv`` with where the
        window was.
    """
    import imagecodecs
    from skimage import data, draw

    folder = target or Path(tempfile.gettempdir()) / "napari-lazyload-sample"
    names = [f"frame_{number}.png" for number in range(count)]
    if (folder / "frames.csv").exists() and all((folder / name).exists() for name in names):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    photograph: Array = data.gravel()  # type: ignore[no-untyped-call] # has no annotations
    room = (photograph.shape[0] - SIZE) / 2
    rows = []
    for number, name in enumerate(names):
        angle = 2 * np.pi * number / count
        top, left = int(room * (1 + np.sin(angle))), int(room * (1 + np.cos(2 * angle)))
        frame = photograph[top : top + SIZE, left : left + SIZE].copy()
        if number % 7 == 0:
            middle = (SIZE / 2, (number * 5) % SIZE)
            spot = draw.disk(middle, 12, shape=frame.shape)  # type: ignore[no-untyped-call] # same
            frame[spot] = 255
        (folder / name).write_bytes(imagecodecs.png_encode(frame))
        rows.append((name, top, left, int(frame.mean())))
    # Written last, so that a folder without it is incomplete.
    with (folder / "frames.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("original_filename", "top", "left", "mean"), *rows])
    return folder


def make_ome_zarr(target: Path | None = None, size: int = SIZE) -> Path:
    """Write an OME-Zarr 0.5 pyramid: a volume of cells in two channels, with labels of the nuclei.

    Parameters
    ----------
    target : Path, optional
        Where to; by default a folder in the system's temporary one, which is used again if it is
        there.
    size : int
        Pixels along y and x, of the finest level.

    Returns
    -------
    Path
        The store: uint16 of 2 x 32 x `size` x `size` (c, z, y, x) with three levels,
        ``labels/nuclei`` with their mean intensity as a property.
    """
    return _ensure_folder(target, "cells.ome.zarr", lambda folder: _write_cells(folder, size))


def make_plate(target: Path | None = None, size: int = 96) -> Path:
    """Write an OME-Zarr 0.5 plate: 3 x 4 wells of four fields, each well with more cells.

    Parameters
    ----------
    target : Path, optional
        Where to; by default a folder in the system's temporary one, which is used again if it is
        there.
    size : int
        Pixels of a field along y and x.

    Returns
    -------
    Path
        The store.
    """
    return _ensure_folder(target, "plate.ome.zarr", lambda folder: _write_plate(folder, size))


def _ensure_folder(target: Path | None, name: str, write: Callable[[Path], None]) -> Path:
    """Return a folder that is there already, or is written as a whole now."""
    folder = target or Path(tempfile.gettempdir()) / f"napari-lazyload-{name}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            write(unfinished)
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _cells(shape: tuple[int, int, int], count: int, seed: int) -> tuple[Array, Array]:
    """Return bright balls in haze, (2, z, y, x), and labels of their middles, (z, y, x)."""
    rng = np.random.default_rng(seed)
    light = np.zeros((2, *shape), np.float32)
    labels = np.zeros(shape, np.uint16)
    for number in range(1, count + 1):
        at, radius, brightness = rng.uniform(0, shape), rng.uniform(7, 12), rng.uniform(0.5, 1)
        # A plane is as thick as two pixels are wide; light ends at twice the radius.
        box = _box_around(at, radius * np.array([1, 2, 2]), shape)
        z, y, x = np.ogrid[box]
        distance = np.sqrt((2 * (z - at[0])) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2) / radius
        light[0][box] += brightness * np.clip(1.3 - distance, 0, 0.6)
        light[1][box] += brightness * np.exp(-(((distance - 1.4) / 0.15) ** 2))
        labels[box][distance < 0.9] = number
    noise = rng.normal(0.05, 0.01, light.shape)
    return np.clip(4000 * (light + noise), 0, 65535).astype(np.uint16), labels


def _box_around(center: Array, reach: Array, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the box within a reach of a center, cut at the edges of an array."""
    starts = np.maximum(center - reach, 0).astype(int)
    stops = np.minimum((center + reach).astype(int) + 1, shape)
    return tuple(map(slice, starts.tolist(), stops.tolist()))


def _write_cells(folder: Path, size: int) -> None:
    light, labels = _cells((32, size, size), size // 5, 0)
    numbers = [int(number) for number in np.unique(labels) if number]
    properties = [
        {"label-value": number, "mean": float(light[0][labels == number].mean())}
        for number in numbers
    ]
    window = {"start": 150, "min": 0, "max": 65535}
    channels = [
        {"label": "DNA", "color": "00FFFF", "window": {**window, "end": 3000}},
        {"label": "membranes", "color": "FF00FF", "window": {**window, "end": 4000}},
    ]
    _write_image(folder, _halved(light), "czyx", {"omero": {"channels": channels}})
    _write_group(folder / "labels", {"labels": ["nuclei"]})
    attributes = {"image-label": {"properties": properties}}
    _write_image(folder / "labels" / "nuclei", _halved(labels), "zyx", attributes)


def _write_plate(folder: Path, size: int) -> None:
    rows, columns = "ABC", "1234"
    wells = [
        {"path": f"{row}/{column}", "rowIndex": i, "columnIndex": j}
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]
    names = [{"name": name} for name in rows + columns]
    plate = {
        "rows": names[: len(rows)],
        "columns": names[len(rows) :],
        "wells": wells,
        "field_count": 4,
        "name": "sample",
    }
    _write_group(folder, {"plate": plate})
    for number, entry in enumerate(wells):
        well = folder / str(entry["path"])
        _write_group(well, {"well": {"images": [{"path": name} for name in "0123"]}})
        for field in range(4):
            light, _ = _cells((1, size, size), 1 + number, 4 * number + field)
            _write_image(well / str(field), _halved(light[:, 0])[:2], "cyx", {})


def _halved(pixels: Array) -> list[Array]:
    """Return three levels, each of every second pixel of the one before along y and x."""
    return [pixels[..., ::step, ::step] for step in (1, 2, 4)]


def _write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    import zarr

    zarr.open_group(folder, mode="a", zarr_format=3).attrs["ome"] = {"version": "0.5", **attributes}


def _write_image(
    folder: Path, levels: Sequence[Array], axes: str, attributes: Mapping[str, Any]
) -> None:
    import zarr

    kinds = {"c": {"type": "channel"}}
    space = {"type": "space", "unit": "micrometer"}
    largest, datasets = {"c": 1}, []
    for number, level in enumerate(levels):
        scale = [1.0] * (len(axes) - 2) + [0.5 * 2**number] * 2
        transform = {"type": "scale", "scale": scale}
        datasets.append({"path": str(number), "coordinateTransformations": [transform]})
        array = zarr.create_array(
            folder / str(number),
            shape=level.shape,
            dtype=level.dtype,
            chunks=tuple(map(min, level.shape, (largest.get(axis, 64) for axis in axes))),
            dimension_names=list(axes),
        )
        array[...] = level
    described = [{"name": axis, **kinds.get(axis, space)} for axis in axes]
    multiscale = {"axes": described, "datasets": datasets}
    _write_group(folder, {"multiscales": [multiscale], **attributes})


def make_volume(target: Path | None = None, size: int = SIZE) -> Path:
    """Write a MetaImage volume of grains with voxels of 1 x 0.5 x 0.5 micrometers.

    Parameters
    ----------
    target : Path, optional
        The folder to write into; by default one in the system's temporary folder, which is used
        again if it is there.
    size : int
        Voxels along y and x; a quarter of that along z.

    Returns
    -------
    Path
        The ``.mhd`` header; its raw data lie beside it.
    """
    return (
        _ensure_folder(target, "volume", lambda folder: _write_volume(folder, size)) / "grains.mhd"
    )


def _write_volume(folder: Path, size: int) -> None:
    rng = np.random.default_rng(7)
    deep = max(1, size // 4)
    volume = rng.integers(80, 120, (deep, size, size), np.uint16)
    z, y, x = np.ogrid[:deep, :size, :size]
    for _ in range(60):
        center, radius = rng.uniform(0, 1, 3) * (deep, size, size), rng.uniform(0.02, 0.08) * size
        box = _box_around(center, radius * np.array([0.5, 1, 1]), volume.shape)
        distance = (
            4 * (z[box[0]] - center[0]) ** 2
            + (y[:, box[1]] - center[1]) ** 2
            + (x[..., box[2]] - center[2]) ** 2
        )
        brightness = np.clip(1 - distance / radius**2, 0, 1) * rng.uniform(300, 3000)
        volume[box] += brightness.astype(np.uint16)
    folder.mkdir(parents=True, exist_ok=True)
    volume.astype("<u2").tofile(folder / "grains.raw")
    fields = {
        "ObjectType": "Image",
        "NDims": 3,
        "DimSize": f"{size} {size} {deep}",
        "ElementSpacing": "0.5 0.5 1",
        "DistanceUnits": "um",
        "ElementType": "MET_USHORT",
        "BinaryDataByteOrderMSB": False,
        "ElementDataFile": "grains.raw",
    }
    lines = [f"{name} = {value}\n" for name, value in fields.items()]
    (folder / "grains.mhd").write_text("".join(lines), "ascii")
