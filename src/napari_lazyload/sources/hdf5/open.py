"""HDF5 files: every data set that is an image.

Those without chunks are read in place, others through `h5py`. The data sets of BigDataViewer and
Imaris are put together: their resolutions as levels, their time points and channels as axes.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import MOST_BLOCKS
from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import KINDS, reading_header
from napari_lazyload.sources.binary.read_strided import check_extent
from napari_lazyload.sources.binary.strided import StridedFileSource, dense, transposed
from napari_lazyload.sources.files import (
    BadOptionError,
    FileStamp,
    check_options,
    file_name,
    open_error,
)
from napari_lazyload.sources.hdf5.axes import (
    axis_labels,
    axis_scales,
    place_of,
    placement_of,
    stored_axes,
)
from napari_lazyload.sources.hdf5.dataset_info import Hdf5Dataset
from napari_lazyload.sources.hdf5.imaris import imaris_info, imaris_number
from napari_lazyload.sources.hdf5.other_files import (
    ElsewhereError,
    check_sources,
    follow,
    open_file,
    other_files,
)
from napari_lazyload.sources.hdf5.source import (
    UNREADABLE,
    Hdf5Level,
    Hdf5Source,
    attribute,
    grown_chunks,
    lacks_filter,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_lazyload.sources.opened import OpenResult

HDF5 = "HDF5"
_MOST_OBJECTS = 100_000
_MOST_IMAGES = 64
_MOST_LINKS = 10_000
_CANNOT_READ = "object that h5py cannot read"
_BDV = re.compile(r"t([0-9]{5,})/s([0-9]{2,})/([0-9]+)/cells")
_IMS = re.compile(r"DataSet/ResolutionLevel ([0-9]+)/TimePoint ([0-9]+)/Channel ([0-9]+)/Data")
_HELPERS = re.compile(
    r"s[0-9]{2,}/(resolutions|subdivisions)|__DATA_TYPES__/.*|Thumbnail/.*|#(refs|subsystem)#/.*|"
    r"Data/[^/]+/[0-9a-f]{32}/(?!Data$).*"
)


@dataclass(frozen=True, slots=True)
class _Found:
    """A data set that is an image: of this file, or in the file `linked` under the name `inner`."""

    name: str
    nbytes: int
    others: tuple[str, ...]
    linked: str | None
    inner: str

    @property
    def is_part(self) -> bool:
        """Whether a format puts it together with others."""
        return bool(_BDV.fullmatch(self.name) or _IMS.fullmatch(self.name))


@dataclass(slots=True)
class _Contents:
    """What a file holds: images, what is left out, sizes by BigDataViewer and Imaris, and notes."""

    path: str
    outside: bool = False
    found: list[_Found] = field(default_factory=list)
    images: list[Hdf5Dataset] = field(default_factory=list)
    unopened: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    sizes: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def skip(self, why: str, name: str | bytes) -> None:
        """Note what is left out; h5py gives a name that is not UTF-8 as bytes."""
        if isinstance(name, bytes):
            name = name.decode("utf-8", "replace")
        self.skipped.setdefault(why, []).append(name)

    def add(
        self, name: str | bytes, dataset: Any, linked: str | None = None, inner: str = ""
    ) -> None:
        """Add a data set, of this file or a linked one, as an image, or note why it is none."""
        if isinstance(name, bytes):
            self.skip("data set whose name is not UTF-8", name)
            return
        try:
            self._add(name, dataset, linked, inner)
        except UNREADABLE:  # a part of its header that is damaged
            self.skip(_CANNOT_READ, name)

    def _add(self, name: str, dataset: Any, linked: str | None, inner: str) -> None:
        if re.fullmatch(r"s[0-9]{2,}/resolutions", name) and _is_small(dataset):
            self.sizes[name.split("/", maxsplit=1)[0]] = np.array(dataset[()], float)
        real = linked or self.path
        try:
            others = other_files(real, dataset, outside=self.outside)
            check_sources(real, dataset, (), outside=self.outside)
        except ElsewhereError as err:
            self.skip(f"data set whose pixels are {err}", name)
            return
        why = _why_not(name, dataset)
        if why is not None:
            self.skip(why, name)
            return
        missing = [file_name(other) for other in others if not os.path.exists(other)]
        if dataset.external and missing:
            self.skip("data set whose pixels are in a file that is not there", name)
            return
        others = (linked, *others) if linked else others
        nbytes = prod(dataset.shape) * dataset.dtype.itemsize
        self.found.append(_Found(name, nbytes, others, linked, inner or name))
        if missing:
            found = f"{len(missing)} of the files that {name!r} is put together from are not there"
            hint = "their part is shown as the fill value"
            self.notes.append(f"{self.path}: {found} ({missing[0]!r}, ...): {hint}")

    def describe(self, file: Any, wanted: str | None) -> None:
        """Read the headers of what is opened: parts of larger images, and the largest others.

        Raises
        ------
        BadOptionError
            If there is no data set of the name that is wanted.
        """
        chosen = self.found
        if wanted is not None:
            chosen = [found for found in chosen if found.name == wanted.strip("/")]
            if not chosen:
                names = ", ".join(repr(found.name) for found in self.found[:10]) or "none"
                problem = f"dataset={wanted!r} names no image; there are {names}"
                raise BadOptionError(f"{self.path}: {problem}")
        parts = [found for found in chosen if found.is_part]
        others = [found for found in chosen if not found.is_part]
        others.sort(key=lambda found: -found.nbytes)
        self.unopened = [found.name for found in others[_MOST_IMAGES:]]
        for found in (*parts, *others[:_MOST_IMAGES]):
            with suppress(*UNREADABLE):
                self.images.append(self._described(file, found))

    def _described(self, file: Any, found: _Found) -> Hdf5Dataset:
        if found.linked is None:
            return _describe(found.name, file[found.inner], found.others, linked=False)
        with open_file(found.linked) as other:
            return _describe(found.name, other[found.inner], found.others, linked=True)


def open_hdf5(path: str, **options: Any) -> OpenResult:
    """Open the images of an HDF5 file.

    Axes are named by ``axistags`` (ilastik) or dimension labels, sizes by ``element_size_um``; both
    by dimension scales (netCDF), EMD and NeXus. Links to data sets of other files in the same
    folder are followed.

    Parameters
    ----------
    path : str
        The file.
    **options
        ``dataset`` (open this one alone), ``outside`` (whether other files with its pixels may
        lie outside its folder).

    Raises
    ------
    SourceOpenError
        If it is no HDF5 file, is damaged, or holds no image.
    """
    check_options(options, ("dataset", "outside"), "HDF5 files")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, "an HDF5 file")
    with reading_header(path, "an HDF5 file"):
        outside = options.get("outside", False)
        contents = _read_contents(path, options.get("dataset"), outside=outside)
        sources, headers = _sources(path, stamp, contents.images, contents.sizes, outside=outside)
    notes, skipped = contents.notes, contents.skipped
    if not sources:
        left = "; ".join(f"{len(names)} x {why}" for why, names in skipped.items())
        raise open_error(
            path,
            "a data set with an image of two axes or more",
            f"none ({left})" if left else "none",
            "look into it with h5py",
        )
    unopened = [source.meta.name for source in sources[_MOST_IMAGES:]]
    unopened += [f"{file_name(path)} {name}" for name in contents.unopened]
    if unopened:
        opened = f"the first {_MOST_IMAGES} are opened, name another with dataset="
        notes.append(f"{path}: {_MOST_IMAGES + len(unopened):,} images; {opened}")
        skipped["image"] = unopened
        sources, headers = sources[:_MOST_IMAGES], headers[:_MOST_IMAGES]
    return binary_result(path, HDF5, sources, headers, notes=notes, skipped=skipped)


def _read_contents(path: str, wanted: str | None, *, outside: bool) -> _Contents:
    """Return what a file holds."""
    import h5py

    contents = _Contents(path, outside)
    count = 0

    def visit(name: str | bytes) -> bool | None:
        nonlocal count
        count += 1
        thing = _find(file, name)
        if thing is None:
            contents.skip(_CANNOT_READ, name)
        elif isinstance(thing, h5py.Dataset):
            contents.add(name, thing)
        elif isinstance(name, str) and _is_ims_channel(name):
            contents.sizes[f"{name}/Data"] = [
                imaris_number(thing, f"ImageSize{axis}") for axis in "ZYX"
            ]
        return count >= _MOST_OBJECTS or None  # anything but None ends the visit

    with open_file(path) as file:
        try:
            file.visit(visit)
        except RuntimeError:  # HDF5 goes no further than a damaged object
            contents.skip(_CANNOT_READ, "and all that follow it")
        with suppress(*UNREADABLE):  # the image is fine without
            contents.sizes["imaris"] = imaris_info(file)
        _follow_links(file, contents)
        contents.describe(file, wanted)
    return contents


def _follow_links(file: Any, contents: _Contents) -> None:
    """Add the data sets of other files that links point to, as in master files of detectors."""
    import h5py

    links: list[bytes] = []

    def visit(name: bytes, info: Any) -> bool | None:
        if info.type == h5py.h5l.TYPE_EXTERNAL:
            links.append(name)
        return len(links) >= _MOST_LINKS or None

    with suppress(RuntimeError):  # a damaged object, which was noted
        file.id.links.visit(visit, info=True)
    for raw in links:
        try:
            name = raw.decode()
        except UnicodeDecodeError:  # h5py finds no link by such a name
            contents.skip("link whose name is not UTF-8", raw)
            continue
        try:
            target, inner = follow(file, contents.path, name, outside=contents.outside)
            with open_file(target) as other:
                contents.add(name, other[inner], target, inner)
        except ElsewhereError as err:
            contents.skip(f"link to a data set {err}", name)
        except UNREADABLE:
            contents.skip("link to a file, or a data set in it, that is not there", name)


def _is_small(dataset: Any) -> bool:
    """Whether the values of a data set are few, and in the file itself."""
    own = not dataset.is_virtual and not dataset.external
    return own and 0 < (dataset.size or 0) < 1000


def _is_ims_channel(name: str) -> bool:
    return _IMS.fullmatch(f"{name}/Data") is not None


def _find(file: Any, name: str | bytes) -> Any:
    """Return an object of a file, None where h5py cannot read it."""
    with suppress(*UNREADABLE):
        return file[name]
    return None


def _why_not(name: str, dataset: Any) -> str | None:
    """Return why a data set is no image."""
    try:
        shape, dtype = dataset.shape, dataset.dtype
    except (TypeError, ValueError):
        return "data set of a type that NumPy does not have"
    if _HELPERS.fullmatch(name):
        return "description of other data sets"
    if shape is None or dtype.kind not in KINDS or dtype.subdtype is not None:
        return "data set without numbers"
    if len(shape) < 2 or prod(shape) == 0 or sorted(shape)[-2] < 2:
        return "data set of less than two axes"
    grid = zip(shape, grown_chunks(shape, dataset.chunks, dtype.itemsize), strict=True)
    most = max(size // chunk for size, chunk in grid)
    if prod(shape) * dtype.itemsize >= 1 << 63 or most >= MOST_BLOCKS:
        return "data set of too many pixels"
    if lacks_filter(dataset):
        return "data set packed by a filter that is not installed (pip install hdf5plugin)"
    return None


def _describe(name: str, dataset: Any, others: tuple[str, ...], *, linked: bool) -> Hdf5Dataset:
    names = filter(_is_text, list(dataset.attrs)[:100])
    attributes = {key: attribute(dataset, key) for key in names}
    offset = None
    if dataset.chunks is None and not dataset.is_virtual and not linked and _is_plain(dataset):
        if not others:
            offset = dataset.id.get_offset()
        elif dataset.external and len(dataset.external) == 1:
            offset = int(dataset.external[0][1])
    shape, labels, scales = tuple(dataset.shape), axis_labels(dataset), axis_scales(dataset)
    return Hdf5Dataset(
        name, shape, dataset.dtype, dataset.chunks, offset, attributes, labels, scales, others
    )


def _is_text(name: str | bytes) -> bool:
    return isinstance(name, str)


def _is_plain(dataset: Any) -> bool:
    """Whether the stored bytes are NumPy's: not of fewer bits, with gaps, or in another order."""
    from h5py import h5t

    return bool(h5t.py_create(dataset.dtype, logical=True).equal(dataset.id.get_type()))


def _sources(
    path: str,
    stamp: FileStamp,
    images: list[Hdf5Dataset],
    sizes: Mapping[str, Any],
    *,
    outside: bool,
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the images: put together where a format says so, the largest first."""
    bdv: list[Hdf5Dataset] = []
    ims: list[Hdf5Dataset] = []
    others: list[Hdf5Dataset] = []
    for image in images:
        if _BDV.fullmatch(image.name):
            bdv.append(image)
        elif _IMS.fullmatch(image.name):
            ims.append(image)
        else:
            others.append(image)
    sources: list[Any] = []
    if len(images) > 1:
        from napari_lazyload.sources.hdf5.multi_dataset import bdv_sources, ims_sources

        sources += bdv_sources(path, stamp, bdv, sizes, outside=outside)
        sources += ims_sources(path, stamp, ims, sizes, outside=outside)
    else:
        others = images
    headers: list[dict[str, Any]] = [{"data_set": "several, put together"} for _ in sources]
    if ims and sources and sizes.get("imaris"):
        headers[-1] |= sizes["imaris"].header
    alone = len(others) == 1 and not sources
    for image in sorted(others, key=lambda image: -prod(image.shape)):
        sources.append(_single(path, stamp, image, alone=alone, outside=outside))
        known = {"data_set": image.name, "chunks": str(image.chunks)}
        known["stored_dtype"] = str(image.dtype)
        scalars = {
            name: value
            for name, value in image.attributes.items()
            if value is not None and np.ndim(value) == 0
        }
        headers.append(known | scalars)
    return sources, headers


def _single(
    path: str, stamp: FileStamp, image: Hdf5Dataset, *, alone: bool, outside: bool
) -> StridedFileSource | Hdf5Source:
    """Return the source of one data set."""
    name = file_name(path) if alone else f"{file_name(path)} {image.name}"
    stored = stored_axes(image.shape, image.attributes, image.labels, image.scales, image.dtype)
    order = sorted(range(len(stored)), key=lambda axis: place_of(stored[axis]))
    in_order = itemgetter(*order)
    axes = in_order(stored)
    place = placement_of(axes, order, image.attributes, image.scales)
    if axes[-1] == RGB_AXIS:
        place = {field: values[:-1] for field, values in place.items()}
    if image.offset is not None:
        layout = dense(image.shape, image.dtype, image.offset)
        if image.others:
            path, stamp = image.others[0], FileStamp.at_open(image.others[0], header=path)
        check_extent(path, stamp.size, layout.end, exact=False)
        return StridedFileSource(transposed(layout, order), [(path, stamp)], name, axes, **place)
    shape, chunks = in_order(image.shape), image.chunks and in_order(image.chunks)
    if chunks and axes[-1] == RGB_AXIS:
        chunks = (*chunks[:-1], shape[-1])
    level = Hdf5Level((image.name,), (), shape, tuple(order), chunks, (1.0,) * len(shape))
    state = hash(tuple(map(FileStamp.or_none, image.others)))
    return Hdf5Source(
        (path, stamp), [level], name, axes, image.dtype, state=state, outside=outside, **place
    )
