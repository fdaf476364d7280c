"""Images that are spread over many data sets of an HDF5 file: BigDataViewer's and Imaris'."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.files import file_name
from napari_lazyload.sources.hdf5.bdv_xml import voxel_sizes
from napari_lazyload.sources.hdf5.source import Hdf5Level, Hdf5Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_lazyload.sources.files import FileStamp
    from napari_lazyload.sources.hdf5.dataset_info import Hdf5Dataset

_NUMBERS = re.compile(r"[0-9]+")
_MOST_PLACES = 1 << 20


def bdv_sources(
    path: str, stamp: FileStamp, found: Sequence[Hdf5Dataset], sizes: Mapping[str, Any]
) -> Iterator[Hdf5Source]:
    """Yield an image for each set-up of a BigDataViewer file: time points as an axis, resolutions as levels.

    The size of a voxel stands in an XML file beside it.
    """
    setups = sorted({one.name.split("/")[1] for one in found})
    known = voxel_sizes(path) if setups else {}
    for setup in setups:
        members = [one for one in found if one.name.split("/")[1] == setup]
        by_level: dict[int, dict[tuple[int, ...], Hdf5Dataset]] = {}
        for one in members:
            time, _, level = map(int, _NUMBERS.findall(one.name))
            by_level.setdefault(level, {})[time,] = one
        factors = _bdv_factors(sizes.get(setup), len(by_level))
        levels = _levels(by_level, factors, None)
        name = f"{file_name(path)} {setup}" if len(setups) > 1 else file_name(path)
        placed: dict[str, Any] = {}
        if int(setup[1:]) in known:
            steps, unit = known[int(setup[1:])]
            placed = {"scale": (1.0, *steps), "units": (None, *(unit,) * 3)}
        yield from _source(path, stamp, name, ("t",), levels, dtype=members[0].dtype, **placed)


def _bdv_factors(sizes: Any, count: int) -> list[tuple[float, ...]]:
    """Return the level-0 pixels that a pixel of each level spans, z first; ones where the file does not tell."""
    if sizes is None or sizes.shape != (count, 3) or not (np.isfinite(sizes) & (sizes > 0)).all():
        return [(float(2**level),) * 3 for level in range(count)]
    return [tuple(map(float, row[::-1] / sizes[0][::-1])) for row in sizes]


def ims_sources(
    path: str, stamp: FileStamp, found: Sequence[Hdf5Dataset], sizes: Mapping[str, Any]
) -> Iterator[Hdf5Source]:
    """Yield the image of an Imaris file: time points and channels as axes, resolutions as levels."""
    by_level: dict[int, dict[tuple[int, ...], Hdf5Dataset]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for one in found:
        level, time, channel = map(int, _NUMBERS.findall(one.name))
        by_level.setdefault(level, {})[time, channel] = one
        said = sizes.get(one.name, ())
        known = [int(size) if np.isfinite(size) else 0 for size in said]
        if len(known) == 3 and all(
            0 < size <= stored for size, stored in zip(known, one.shape, strict=True)
        ):
            shapes.setdefault(level, tuple(known))
    if not by_level:
        return
    levels = _levels(by_level, None, shapes)
    placed = _ims_placed(sizes.get("extent"), levels[0].shape)
    yield from _source(
        path, stamp, file_name(path), ("t", "c"), levels, dtype=found[0].dtype, **placed
    )


def _ims_placed(extent: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return size and position of a pixel, from the box that the image fills, in micrometers."""
    if extent is None or not np.isfinite(extent).all():
        return {}
    low, high = np.array(extent)
    steps = (high - low) / np.array(shape)
    if not (steps > 0).all():
        return {}
    return {
        "scale": (1.0, 1.0, *map(float, steps)),
        "translate": (0.0, 0.0, *map(float, low + steps / 2)),
        "units": (None, None, *("micrometer",) * 3),
    }


def _levels(
    by_level: Mapping[int, Mapping[tuple[int, ...], Hdf5Dataset]],
    factors: Sequence[tuple[float, ...]] | None,
    shapes: Mapping[int, tuple[int, ...]] | None,
) -> list[Hdf5Level]:
    """Return the levels whose data sets are alike; the finest tells how many there are."""
    numbers = sorted(by_level)
    lead = tuple(1 + max(place) for place in zip(*by_level[numbers[0]], strict=True))
    if np.prod(lead, dtype=object) > _MOST_PLACES:
        msg = f"time points and channels up to {lead}"
        raise ValueError(msg)
    levels: list[Hdf5Level] = []
    for place, number in enumerate(numbers):
        members = by_level[number]
        first = next(iter(members.values()))
        if any((one.shape, one.dtype) != (first.shape, first.dtype) for one in members.values()):
            if not levels:
                msg = "data sets of several shapes or types in one level"
                raise ValueError(msg)
            continue
        shape = (shapes or {}).get(number, first.shape)
        names = tuple(
            members[index].name if index in members else ""
            for index in product(*(range(size) for size in lead))
        )
        if factors is not None:
            spans = factors[place]
        else:
            finest = levels[0].shape if levels else shape
            spans = tuple(a / b for a, b in zip(finest, shape, strict=True))
        levels.append(Hdf5Level(names, lead, shape, tuple(range(len(shape))), first.chunks, spans))
    return levels


def _source(
    path: str,
    stamp: FileStamp,
    name: str,
    lead: tuple[str, ...],
    levels: list[Hdf5Level],
    *,
    dtype: Any,
    **placed: Any,
) -> Iterator[Hdf5Source]:
    """Yield the source, without leading axes of one."""
    if levels[0].lead == (1,):
        placed = {field: values[1:] for field, values in placed.items()}
        levels = [
            Hdf5Level(one.datasets, (), one.shape, one.order, one.stored, one.factors)
            for one in levels
        ]
        lead = ()
    axes = (*lead, "z", "y", "x")
    yield Hdf5Source((path, stamp), levels, name, axes, dtype, **placed)
