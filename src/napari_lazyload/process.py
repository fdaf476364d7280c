"""What scripts ask of the whole process: settings, status, and small tools on lazy values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_lazyload import dataset
from napari_lazyload.core import settings
from napari_lazyload.image import Image
from napari_lazyload.imports import import_status
from napari_lazyload.loading import cache, scheduler
from napari_lazyload.loading import status as load_status
from napari_lazyload.sequence import LazyImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def is_lazy(x: Any) -> bool:
    """Return whether the pixels of something are still to be read.

    Parameters
    ----------
    x : Any
        An array, an `Image`, a `LazyImage`, or a napari layer.

    Returns
    -------
    bool
        True for a dask array, an `Image`, a `LazyImage`, and a layer that holds such data; False for NumPy.
    """
    if isinstance(x, (da.Array, Image, LazyImage)):
        return True
    return any(isinstance(level, da.Array) for level in _layer_levels(x))


def _layer_levels(x: Any) -> list[Any]:
    """Return the data of an Image or Labels layer; of no other object, for whom `data` may mean to read it all."""
    if not hasattr(x, "multiscale"):
        return []
    return list(x.data) if x.multiscale else [x.data]


def configure(**changes: Any) -> dict[str, Any]:
    """Change settings of this process; the same ones as in napari's preferences.

    Parameters
    ----------
    **changes
        ``cache_budget`` (bytes of decoded chunks to keep), ``workers`` (threads that read and decode),
        ``remote_workers`` (threads that wait for servers, beside those),
        ``header_seconds`` (how long opening a folder may read headers), ``look_ahead`` (frames that are read ahead of a
        moving slider, 0 to 64), ``coarse_first`` (whether a new view shows a coarser level while the exact one is
        loading). None goes back to the automatic choice.

    Returns
    -------
    dict
        All settings now in force.

    Raises
    ------
    TypeError
        If a name is not a setting.
    ValueError
        If a value is out of range.
    """
    now = settings.update(**changes) if changes else settings.current()
    cache.shared.trim()
    return {name: getattr(now, name) for name in now.__dataclass_fields__}


def status() -> dict[str, Any]:
    """Return what the package is doing, JSON-ready.

    Returns
    -------
    dict
        ``datasets`` (path, kind, names of images and number of problems of each open one), ``queue`` (jobs by tier),
        ``cache`` (budget, bytes, counters), ``errors`` (failed chunks now), ``imports`` (see :func:`import_status`).
    """
    return {
        "datasets": [
            {
                "path": one.path,
                "kind": one.kind,
                "images": [image.name for image in one.images],
                "problems": len(one.problems()),
            }
            for one in dataset.open_datasets()
        ],
        "queue": scheduler.snapshot(),
        "cache": cache.shared.snapshot(),
        "errors": load_status.shared.total(),
        "imports": import_status(),
    }


def compute(
    mapping: Mapping[Any, Any],
    *,
    keys: Iterable[Any] | None = None,
    dtype: Any = None,
    allow_missing: bool = False,
) -> dict[Any, Any]:
    """Turn the lazy values of a dictionary into arrays and keep the rest, so that a pipeline crops first, reads last.

    Parameters
    ----------
    mapping : mapping
        A sample, such as a training pipeline passes along.
    keys : iterable or str, optional
        Which values; all by default. Those that are not lazy are kept as they are.
    dtype : dtype, optional
        Of the arrays that are made.
    allow_missing : bool
        Whether keys that are not there are passed over.

    Returns
    -------
    dict
        A new dictionary.

    Raises
    ------
    KeyError
        If a key is not there.
    ChunkReadError
        If a chunk cannot be read.
    """
    wanted = set(mapping) if keys is None else {keys} if isinstance(keys, str) else set(keys)
    missing = [key for key in wanted if key not in mapping]
    if missing and not allow_missing:
        msg = f"{', '.join(map(repr, missing))} not in the mapping; it has {', '.join(map(repr, mapping))}"
        raise KeyError(msg)
    return {key: _computed(value, dtype) if key in wanted else value for key, value in mapping.items()}


def _computed(value: Any, dtype: Any) -> Any:
    if not is_lazy(value):
        return value
    if isinstance(value, Image):
        lazy: Any = value.boxes[0]
    elif isinstance(value, LazyImage):
        lazy = value.data.copy()  # its own pixels are read-only
    else:
        lazy = value if isinstance(value, da.Array) else _layer_levels(value)[0]
    pixels = np.asarray(lazy)
    return pixels if dtype is None else pixels.astype(dtype, copy=False)
