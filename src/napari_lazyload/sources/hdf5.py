"""HDF5 files: every data set that is an image; those without chunks are read in place, others through `h5py`.

BigDataViewer's and Imaris' files are put together: their resolutions as levels, their time points and channels as axes.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.sources.hdf5_source import Hdf5Level, Hdf5Source, open_file
from napari_lazyload.sources.raw import Layout, RawSource, dense
from napari_lazyload.sources.raw_opened import (
    KINDS,
    BadOptionError,
    check_options,
    default_axes,
    file_name,
    opened_binary,
    reading_header,
)
from napari_lazyload.sources.raw_read import check_extent, refusal, stamp_at_opening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.sources.opened import Opened
    from napari_lazyload.sources.raw_read import Stamp

HDF5 = "HDF5"
_MOST_OBJECTS = 100_000
_MOST_IMAGES = 64
_BDV = re.compile(r"t([0-9]{5,})/s([0-9]{2,})/([0-9]+)/cells")
_IMS = re.compile(r"DataSet/ResolutionLevel ([0-9]+)/TimePoint ([0-9]+)/Channel ([0-9]+)/Data")
_HELPERS = re.compile(r"(s[0-9]{2,}/(resolutions|subdivisions)|__DATA_TYPES__/.*|Thumbnail/.*)")


@dataclass(frozen=True, slots=True)
class Found:
    """A data set that may be an image: its name, form, place in the file, and what it says of its axes."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    offset: int | None
    attributes: Mapping[str, Any]
    labels: tuple[str, ...]


def open_hdf5(path: str, **options: Any) -> Opened:
    """Open the images of an HDF5 file.

    Axes are named by ``axistags`` (ilastik) or dimension labels, sizes by ``element_size_um``.

    Parameters
    ----------
    path : str
        The file.
    **options
        ``dataset`` (open this one alone).

    Raises
    ------
    SourceOpenError
        If it is no HDF5 file, is damaged, or holds no image.
    """
    check_options(options, ("dataset",), "HDF5 files")
    path = os.path.abspath(path)
    stamp = stamp_at_opening(path, "an HDF5 file")
    with reading_header(path, "an HDF5 file"):
        found, skipped, sizes = _look(path)
        wanted = _wanted(path, found, options.get("dataset"))
        sources, headers = _sources(path, stamp, wanted, sizes)
    if not sources:
        raise refusal(path, "a data set with an image of two axes or more", "none", "look into it with h5py")
    notes = []
    if len(sources) > _MOST_IMAGES:
        notes = [f"{path}: {len(sources)} images; the first {_MOST_IMAGES} are opened, name another with dataset="]
        skipped["image"] = [source.meta.name for source in sources[_MOST_IMAGES:]]
        sources, headers = sources[:_MOST_IMAGES], headers[:_MOST_IMAGES]
    return opened_binary(path, HDF5, sources, headers, notes=notes, skipped=skipped)


def _look(path: str) -> tuple[list[Found], dict[str, list[str]], dict[str, Any]]:
    """Return the data sets, what was left out, and what BigDataViewer and Imaris say of sizes."""
    import h5py

    found: list[Found] = []
    skipped: dict[str, list[str]] = {}
    sizes: dict[str, Any] = {}
    count = 0

    def visit(name: str, thing: Any) -> bool | None:
        nonlocal count
        count += 1
        if isinstance(thing, h5py.Dataset):
            if re.fullmatch(r"s[0-9]{2,}/resolutions", name) and thing.size and thing.size < 1000:
                sizes[name.split("/", maxsplit=1)[0]] = np.array(thing[()], float)
            why = _why_not(name, thing)
            if why is None:
                found.append(_describe(name, thing))
            else:
                skipped.setdefault(why, []).append(name)
        elif _is_ims_channel(name):
            sizes[f"{name}/Data"] = [_ims_number(thing, f"ImageSize{axis}") for axis in "ZYX"]
        return True if count >= _MOST_OBJECTS else None

    with open_file(path) as file:
        file.visititems(visit)
        if "DataSetInfo/Image" in file:
            image = file["DataSetInfo/Image"]
            sizes["extent"] = [[_ims_number(image, f"Ext{end}{axis}") for axis in (2, 1, 0)] for end in ("Min", "Max")]
    return found, skipped, sizes


def _is_ims_channel(name: str) -> bool:
    return _IMS.fullmatch(f"{name}/Data") is not None


def _ims_number(group: Any, name: str) -> float:
    """Return a number that Imaris writes as an array of characters, NaN where it is not there."""
    try:
        value = group.attrs[name]
        return float(b"".join(value) if isinstance(value, np.ndarray) else value)
    except (KeyError, ValueError, TypeError):
        return float("nan")


def _why_not(name: str, dataset: Any) -> str | None:
    """Return why a data set is no image."""
    shape, dtype = dataset.shape, dataset.dtype
    if _HELPERS.fullmatch(name):
        return "description of other data sets"
    if shape is None or dtype.kind not in KINDS or dtype.subdtype is not None:
        return "data set without numbers"
    if len(shape) < 2 or prod(shape) == 0 or sorted(shape)[-2] < 2:
        return "data set of less than two axes"
    return None


def _describe(name: str, dataset: Any) -> Found:
    attributes = {}
    for key in list(dataset.attrs)[:100]:
        try:
            attributes[key] = dataset.attrs[key]
        except (OSError, TypeError, ValueError):  # a type that h5py cannot turn into one of NumPy's
            continue
    offset = None
    if dataset.chunks is None and not dataset.is_virtual and not dataset.external:
        offset = dataset.id.get_offset()
    labels = tuple(dimension.label for dimension in dataset.dims)
    return Found(name, tuple(dataset.shape), dataset.dtype, dataset.chunks, offset, attributes, labels)


def _wanted(path: str, found: list[Found], name: str | None) -> list[Found]:
    if name is None:
        return found
    wanted = [one for one in found if one.name == name.strip("/")]
    if not wanted:
        names = ", ".join(repr(one.name) for one in found[:10])
        msg = f"{path}: dataset={name!r} names no image; there are {names or 'none'}"
        raise BadOptionError(msg)
    return wanted


def _sources(
    path: str, stamp: Stamp, found: list[Found], sizes: Mapping[str, Any]
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the images: put together where a format says so, the largest first."""
    bdv = [one for one in found if _BDV.fullmatch(one.name)]
    ims = [one for one in found if _IMS.fullmatch(one.name)]
    sources: list[Any] = []
    headers: list[dict[str, Any]] = []
    if len(found) > 1 or not (bdv or ims):
        from napari_lazyload.sources.hdf5_sets import bdv_sources, ims_sources

        for made in (*bdv_sources(path, stamp, bdv, sizes), *ims_sources(path, stamp, ims, sizes)):
            sources.append(made)
            headers.append({"data_set": "several, put together"})
        found = [one for one in found if one not in bdv and one not in ims]
    for one in sorted(found, key=lambda one: -prod(one.shape)):
        sources.append(_single(path, stamp, one, alone=len(found) == 1 and not sources))
        plain = {name: value for name, value in one.attributes.items() if np.ndim(value) == 0}
        headers.append({"data_set": one.name, "chunks": str(one.chunks), "stored_dtype": str(one.dtype)} | plain)
    return sources, headers


def _single(path: str, stamp: Stamp, one: Found, *, alone: bool) -> RawSource | Hdf5Source:
    """Return the source of one data set."""
    name = file_name(path) if alone else f"{file_name(path)} {one.name}"
    stored = _axes(one)
    order = sorted(range(len(stored)), key=lambda axis: _PLACES.get(stored[axis], -1))
    axes = tuple(stored[axis] for axis in order)
    placed = _placed(one, axes)
    if one.offset is not None:
        layout = dense(one.shape, one.dtype, one.offset)
        check_extent(path, stamp[1], layout.end, exact=False)
        shape, strides = (tuple(each[axis] for axis in order) for each in (layout.shape, layout.strides))
        return RawSource(Layout(shape, layout.dtype, layout.offset, strides), [(path, stamp)], name, axes, **placed)
    shape = tuple(one.shape[axis] for axis in order)
    chunks = None if one.chunks is None else tuple(one.chunks[axis] for axis in order)
    level = Hdf5Level((one.name,), (), shape, tuple(order), chunks, (1.0,) * len(shape))
    return Hdf5Source((path, stamp), [level], name, axes, one.dtype, **placed)


_PLACES = {"t": 0, "c": 1, "z": 2, "y": 3, "x": 4}


def _axes(one: Found) -> tuple[str, ...]:
    """Return the names of the axes of a data set, as they are stored."""
    ndim = len(one.shape)
    for names in (_axis_tags(one.attributes.get("axistags")), one.labels):
        if len(names) == ndim and all(names) and len(set(names)) == ndim:
            return tuple(names)
    return tuple("c" if axis == "s" else axis for axis in default_axes(one.shape, np.dtype(bool)))


def _axis_tags(tags: Any) -> tuple[str, ...]:
    """Return the axes that ilastik's tags name."""
    try:
        return tuple(str(axis["key"]) for axis in json.loads(tags)["axes"])
    except (TypeError, ValueError, KeyError):
        return ()


def _placed(one: Found, axes: tuple[str, ...]) -> dict[str, Any]:
    """Return the size of a pixel in micrometers, where the data set tells it."""
    sizes = np.atleast_1d(np.asarray(one.attributes.get("element_size_um", ())))
    spatial = [axis for axis in axes if axis in ("z", "y", "x")]
    if sizes.dtype.kind not in "fiu" or not 0 < len(spatial) <= sizes.size or not (sizes > 0).all():
        return {}
    known = dict(zip("xyz", map(float, sizes.ravel()[::-1]), strict=False))
    return {
        "scale": tuple(known.get(axis, 1.0) if axis in spatial else 1.0 for axis in axes),
        "units": tuple("micrometer" if axis in spatial else None for axis in axes),
    }
