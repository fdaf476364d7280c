"""Files that other libraries read: `bioio` for light, `rosettasciio` for electron microscopes.

Both are optional. Each gives lazy arrays, of which a chunk computes its own block.
`rosettasciio` is under the GPL: it is used where a user has installed it, never required.
"""

from __future__ import annotations

import functools
import os
import zipfile
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.core.errors import MissingDependencyError
from napari_lazyload.core.metadata import CHANNEL_AXIS, ChannelMeta
from napari_lazyload.sources.binary.boxes import BoxSource
from napari_lazyload.sources.binary.chunk_sizes import auto_chunks
from napari_lazyload.sources.binary.dataset import binary_result
from napari_lazyload.sources.binary.header_checks import (
    KINDS,
    check_image,
    gray_axes,
    reading_header,
)
from napari_lazyload.sources.binary.read_strided import Array, dense_strides
from napari_lazyload.sources.files import (
    FileStamp,
    check_options,
    file_name,
    in_table,
    open_error,
    refuse_if,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_lazyload.core.chunks import Box
    from napari_lazyload.sources.opened import OpenResult

BIOIO, ROSETTASCIIO = "bioio", "rosettasciio"
_MOST_IMAGES = 64


@dataclass(frozen=True, slots=True)
class Scene:
    """One image as a library gives it: a lazy array (of dask, or a memory map), and its metadata.

    Parameters
    ----------
    name : str
        Of the scene.
    array : Any
        Has a shape, a dtype, and computes or reads what is sliced out of it.
    axes : tuple of str
        Names, slowest first.
    meta : dict
        Fields of `ImageMeta`: scale, translate, units, channels.
    header : dict
        For the table.
    """

    name: str
    array: Any
    axes: tuple[str, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)


def open_bioio(path: str, **options: Any) -> OpenResult:
    """Open a file by the reader of bioio that is installed for it: every scene is an image.

    Raises
    ------
    SourceOpenError
        If no installed reader can open it.
    MissingDependencyError
        If bioio is not installed.
    """
    return _open(BIOIO, path, options)


def open_rosettasciio(path: str, **options: Any) -> OpenResult:
    """Open a file by rosettasciio: every signal of two axes or more is an image.

    Raises
    ------
    SourceOpenError
        If it cannot be opened, or holds no image.
    MissingDependencyError
        If rosettasciio is not installed.
    """
    return _open(ROSETTASCIIO, path, options)


def _open(library: str, path: str, options: dict[str, Any]) -> OpenResult:
    check_options(options, (), f"files that {library} reads")
    path = os.path.abspath(path)
    stamp = FileStamp.at_open(path, f"a file that {library} reads")
    _check_installed(library, path)
    with reading_header(path, f"a file that {library} can read"):
        scenes = _scenes(library, path, stamp)
        refuse_if(
            not scenes, path, "an image of two axes or more", "none", f"look into it with {library}"
        )
        sources, headers = [], []
        for number, scene in enumerate(scenes):
            array = scene.array
            shape, dtype = tuple(map(int, array.shape)), np.dtype(array.dtype)
            check_image(path, shape, dtype)
            source = BoxSource(
                library,
                (path, stamp),
                _SceneReader(library, path, number, stamp),
                grid=ChunkGrid(shape, _chunks(array, shape, dtype.itemsize)),
                dtype=dtype,
                name=file_name(path) + (f" {in_table(scene.name)}" if len(scenes) > 1 else ""),
                axes=scene.axes,
                **scene.meta,
            )
            sources.append(source)
            headers.append({"scene": scene.name, **scene.header})
    return binary_result(path, library, sources, headers)


def _check_installed(library: str, path: str) -> None:
    """Raise where the library is missing, with the extra that brings it."""
    try:
        import_module({BIOIO: "bioio", ROSETTASCIIO: "rsciio"}[library])
    except ImportError as err:
        more = "and bioio's plugin for the format" if library == BIOIO else "(under the GPL-3)"
        how = f"pip install 'napari-lazyload[{library}]' {more}"
        raise MissingDependencyError(
            f"{path}: this format is read by {library}, which is not installed: {how}"
        ) from err


@functools.lru_cache(maxsize=8)
def _scenes(library: str, path: str, stamp: FileStamp) -> tuple[Scene, ...]:
    """Return the images of a file; a replaced file has another stamp, so it is read again."""
    found = _by_bioio(path) if library == BIOIO else _by_rosettasciio(path)
    return tuple(islice(found, _MOST_IMAGES))


def _by_bioio(path: str) -> Iterator[Scene]:
    from bioio import BioImage

    for number, name in enumerate(BioImage(path).scenes):
        image = BioImage(path)  # of its own: the scene is a state of the object
        image.set_scene(number)
        array, names = image.dask_data, str(image.dims.order).lower()
        axes: tuple[str, ...] = ()
        index: tuple[Any, ...] = ()
        for axis, size in zip(names, array.shape, strict=True):
            if size == 1 and axis in ("t", "c", "z"):
                index += (0,)
            else:
                axes, index = (*axes, axis), (*index, slice(None))
        header = {"reader": type(image.reader).__module__}
        shown = _ColorPixels(image, array[index], axes) if "s" in axes else array[index]
        yield Scene(str(name), shown, axes, _bioio_meta(image, axes), header)


class _ColorPixels:
    """A color image of bioio, read box by box without dask.

    Some of its readers repeat the first sample in their dask arrays; what they read at once is
    right.

    Parameters
    ----------
    image : bioio.BioImage
        At its scene.
    lazy : dask.array.Array
        For the shape and the type alone.
    axes : tuple of str
        Those that are shown; of the others the first place is.
    """

    def __init__(self, image: Any, lazy: Any, axes: tuple[str, ...]) -> None:
        self.shape, self.dtype = lazy.shape, lazy.dtype
        self._image = image
        self._order = "".join(axes).upper()

    def __getitem__(self, box: tuple[slice, ...]) -> Array:
        wanted = dict(zip(self._order, box, strict=True))
        others = set(self._image.dims.order) - wanted.keys()
        return np.asarray(
            self._image.get_image_data(self._order, **dict.fromkeys(others, 0), **wanted)
        )


def _bioio_meta(image: Any, axes: tuple[str, ...]) -> dict[str, Any]:
    """Return sizes in micrometers and the names of channels."""
    spatial = tuple(axis for axis in axes if axis != "s")
    scale: dict[str, float] = {}
    for axis in ("z", "y", "x"):
        size = getattr(image.physical_pixel_sizes, axis.upper(), None)
        if size is not None and np.isfinite(size) and size > 0:
            scale[axis] = float(size)
    meta: dict[str, Any] = {}
    if scale:
        meta["scale"] = tuple(scale.get(axis, 1.0) for axis in spatial)
        meta["units"] = tuple(map(dict.fromkeys(scale, "micrometer").get, spatial))
    names = image.channel_names
    if CHANNEL_AXIS in axes and names:
        meta["channels"] = tuple(map(ChannelMeta, map(str, names)))
    return meta


def _by_rosettasciio(path: str) -> Iterator[Scene]:
    from rsciio import IO_PLUGINS

    suffix = os.path.splitext(path)[1].lower().lstrip(".")
    fitting = (
        plugin for plugin in IO_PLUGINS if suffix in map(str.lower, plugin["file_extensions"])
    )
    reader = next(fitting, None)
    if reader is None:
        raise open_error(
            path,
            "a suffix that rosettasciio knows",
            repr(suffix),
            "rename the file as its software does",
        )
    for number, signal in enumerate(_signals(import_module(reader["api"]), path)):
        array = signal["data"]
        axes = sorted(signal["axes"], key=lambda axis: int(axis.get("index_in_array", 0)))
        colors = _color_samples(array.dtype)
        if len(array.shape) < 2 or not (colors or np.dtype(array.dtype).kind in KINDS):
            continue
        title = signal.get("metadata", {}).get("General", {}).get("title") or f"signal {number}"
        names = _unique([str(axis.get("name") or "").lower() for axis in axes], array.shape)
        meta, header = _rosettasciio_meta(axes), {"reader": reader["name"]}
        if colors:
            pixels = np.ascontiguousarray(array)
            array = pixels.view(colors[0]).reshape(*array.shape, len(colors))
            names = (*names, "s")
        yield Scene(str(title), array, names, meta, header)


def _signals(reader: Any, path: str) -> list[dict[str, Any]]:
    """Return the signals of a file: lazily where the reader can, and is right then.

    Colors are read at once: in a lazy array rosettasciio refuses them.
    """
    if _is_mapped(path):
        try:
            signals: list[dict[str, Any]] = reader.file_reader(path, lazy=True)
        except (NotImplementedError, ValueError) as err:
            if "lazy" not in str(err).lower():
                raise
        else:
            if not any(_color_samples(signal["data"].dtype) for signal in signals):
                return signals
    found: list[dict[str, Any]] = reader.file_reader(path, lazy=False)
    return found


def _is_mapped(path: str) -> bool:
    """Whether pixels may be mapped from a file: not those of a packed archive (Panta Rhei's)."""
    if not zipfile.is_zipfile(path):
        return True
    with zipfile.ZipFile(path) as archive:
        return all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())


def _color_samples(dtype: Any) -> list[np.dtype[Any]]:
    """Return the types of the samples of a color pixel, red first; nothing of any other pixel."""
    fields = np.dtype(dtype).fields or {}
    is_color = tuple(fields) in (("R", "G", "B"), ("R", "G", "B", "A"))
    types = [field[0] for field in fields.values()]
    return types if is_color and len(set(types)) == 1 else []


def _unique(names: list[str], shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return names of axes; the usual ones where some are missing or come twice."""
    alike = {"height": "y", "width": "x"}
    found = tuple(alike.get(name, name) for name in names)
    if len(found) == len(shape) == len(set(found)) and not {"", "s"} & set(found):
        return found
    return gray_axes(shape)


def _rosettasciio_meta(axes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return scale, translation and units of the axes."""
    scale, first, units = [], [], []
    for axis in axes:
        values = axis.get("axis")
        step, start = axis.get("scale", 1.0), axis.get("offset", 0.0)
        if values is not None and len(values) > 1:
            step, start = values[1] - values[0], values[0]
        scale.append(float(step) if np.isfinite(step) and step else 1.0)
        first.append(float(start) if np.isfinite(start) else 0.0)
        unit = axis.get("units")
        is_known = isinstance(unit, str) and unit not in ("", "<undefined>")
        units.append(str(unit) if is_known else None)
    return {"scale": tuple(scale), "translate": tuple(first), "units": tuple(units)}


@dataclass(frozen=True, slots=True)
class _SceneReader:
    """What reads boxes of one image of a file.

    Parameters
    ----------
    library : str
        Which.
    path : str
        Absolute path.
    number : int
        Of the image in the file.
    opened : FileStamp
        The stamp of the file when it was opened.
    """

    library: str
    path: str
    number: int
    opened: FileStamp

    def __call__(self, box: Box) -> Array:
        """Return the pixels of a box."""
        array = _scenes(self.library, self.path, self.opened)[self.number].array
        part = array[tuple(slice(*bounds) for bounds in box)]
        # In this thread: a pool of the library's own would wait for those that wait for it.
        if hasattr(part, "compute"):
            part = part.compute(scheduler="synchronous")
        return np.array(part, order="C")


def _chunks(array: Any, shape: tuple[int, ...], itemsize: int) -> tuple[Any, ...]:
    """Return the chunks of a dask array as they are; of any other array, chunks that fit a view."""
    chunks = getattr(array, "chunks", None)
    if (
        isinstance(chunks, tuple)
        and len(chunks) == len(shape)
        and set(map(type, chunks)) == {tuple}
    ):
        return tuple(tuple(map(int, sizes)) for sizes in chunks)
    return auto_chunks(shape, dense_strides(shape, itemsize), itemsize)
