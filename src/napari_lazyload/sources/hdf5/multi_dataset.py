"""Images that are spread over many data sets of an HDF5 file: BigDataViewer's and Imaris'."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.files import file_name
from napari_lazyload.sources.hdf5.bdv_xml import voxel_sizes
from napari_lazyload.sources.hdf5.source import Hdf5Level, Hdf5Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_lazyload.sources.files import FileStamp
    from napari_lazyload.sources.hdf5.dataset_info import Hdf5Dataset
    from napari_lazyload.sources.hdf5.imaris import ImarisInfo

_NUMBERS = re.compile(r"[0-9]+")
_MOST_PLACES = 1 << 20


def bdv_sources(
    path: str,
    stamp: FileStamp,
    found: Sequence[Hdf5Dataset],
    sizes: Mapping[str, Any],
    *,
    outside: bool,
) -> Iterator[Hdf5Source]:
    """Yield an image for each set-up of a BigDataViewer file.

    Time points are an axis, resolutions are levels. The size of a voxel stands in an XML file
    beside it.
    """
    setups: dict[str, dict[int, dict[tuple[int, ...], Hdf5Dataset]]] = {}
    for dataset in found:
        time, _, level = map(int, _NUMBERS.findall(dataset.name))
        by_level = setups.setdefault(dataset.name.split("/")[1], {})
        by_level.setdefault(level, {})[time,] = dataset
    known = voxel_sizes(path) if setups else {}
    for setup, by_level in sorted(setups.items()):
        factors = _bdv_factors(sizes.get(setup), len(by_level))
        levels = _levels(by_level, factors, {})
        name = f"{file_name(path)} {setup}" if len(setups) > 1 else file_name(path)
        placed: dict[str, Any] = {}
        if int(setup[1:]) in known:
            steps, unit = known[int(setup[1:])]
            placed = {"scale": (1.0, *steps), "units": (None, *(unit,) * 3)}
        dtype = next(iter(by_level[min(by_level)].values())).dtype
        file = (path, stamp)
        yield from _source(file, name, ("t",), levels, dtype=dtype, outside=outside, **placed)


def _bdv_factors(sizes: Any, count: int) -> list[tuple[float, ...]]:
    """Return the level-0 pixels that a pixel of each level spans, z first.

    Where the file does not say, they double from level to level.
    """
    if sizes is None or sizes.shape != (count, 3) or not (np.isfinite(sizes) & (sizes > 0)).all():
        return [(float(2**level),) * 3 for level in range(count)]
    return [tuple(map(float, row[::-1] / sizes[0][::-1])) for row in sizes]


def ims_sources(
    path: str,
    stamp: FileStamp,
    found: Sequence[Hdf5Dataset],
    sizes: Mapping[str, Any],
    *,
    outside: bool,
) -> Iterator[Hdf5Source]:
    """Yield the image of an Imaris file.

    Time points and channels are axes, resolutions are levels.
    """
    by_level: dict[int, dict[tuple[int, ...], Hdf5Dataset]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for dataset in found:
        level, time, channel = map(int, _NUMBERS.findall(dataset.name))
        by_level.setdefault(level, {})[time, channel] = dataset
        shape = np.clip(np.nan_to_num(sizes.get(dataset.name, ())), 0, 1 << 62).astype(int)
        if shape.size == 3 == len(dataset.shape) and ((shape > 0) & (shape <= dataset.shape)).all():
            shapes.setdefault(level, tuple(shape.tolist()))
    if not by_level:
        return
    levels = _levels(by_level, None, shapes)
    info = sizes.get("imaris")
    placed: dict[str, Any] = {}
    if info is not None:
        placed = _ims_placement(info, levels[0].shape)
        placed["channels"] = info.channels_of(levels[0].lead[1])
    dtype, name, file = found[0].dtype, file_name(path), (path, stamp)
    yield from _source(file, name, ("t", "c"), levels, dtype=dtype, outside=outside, **placed)


def _ims_placement(info: ImarisInfo, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return size and position of a pixel, from the box that the image fills, and steps of time."""
    time = (info.seconds or 1.0, "second" if info.seconds else None)
    low, high = np.array(info.extent)
    steps = (high - low) / np.array(shape)
    first = low + steps / 2
    unit: str | None = info.unit
    if not (np.isfinite(info.extent).all() and (steps > 0).all()):
        first, steps, unit = np.zeros(3), np.ones(3), None
    return {
        "scale": (time[0], 1.0, *map(float, steps)),
        "translate": (0.0, 0.0, *map(float, first)),
        "units": (time[1], None, *(unit,) * 3),
    }


def _levels(
    by_level: Mapping[int, Mapping[tuple[int, ...], Hdf5Dataset]],
    factors: Sequence[tuple[float, ...]] | None,
    shapes: Mapping[int, tuple[int, ...]],
) -> list[Hdf5Level]:
    """Return the levels whose data sets are alike; the finest says how many each has."""
    numbers = sorted(by_level)
    lead = tuple(1 + max(place) for place in zip(*by_level[numbers[0]], strict=True))
    if np.prod(lead, dtype=object) > _MOST_PLACES:
        raise ValueError(f"time points and channels up to {lead}")
    levels: list[Hdf5Level] = []
    for place, number in enumerate(numbers):
        members = by_level[number]
        first = next(iter(members.values()))
        if len({(dataset.shape, dataset.dtype) for dataset in members.values()}) > 1:
            if not levels:
                raise ValueError("data sets of several shapes or types in one level")
            continue
        shape = shapes.get(number, first.shape)
        names = {index: dataset.name for index, dataset in members.items()}
        if factors is not None:
            spans = factors[place]
        else:
            finest = levels[0].shape if levels else shape
            spans = tuple(np.divide(finest, shape).tolist())
        datasets = tuple(names.get(index, "") for index in np.ndindex(lead))
        order = tuple(range(len(shape)))
        levels.append(Hdf5Level(datasets, lead, shape, order, first.chunks, spans))
    return levels


def _source(
    file: tuple[str, FileStamp],
    name: str,
    lead: tuple[str, ...],
    levels: list[Hdf5Level],
    *,
    dtype: Any,
    outside: bool,
    **placed: Any,
) -> Iterator[Hdf5Source]:
    """Yield the source, without leading axes of one."""
    if levels[0].lead == (1,):
        placed = {field: values[1:] for field, values in placed.items()}
        levels = [replace(level, lead=()) for level in levels]
        lead = ()
    axes = (*lead, "z", "y", "x")
    yield Hdf5Source(file, levels, name, axes, dtype, outside=outside, **placed)
