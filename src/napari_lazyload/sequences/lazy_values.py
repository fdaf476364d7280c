"""Which values are lazy, and their pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_lazyload.arrays.image import Image
from napari_lazyload.sequences.lazy_image import LazyImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def is_lazy(x: Any) -> bool:
    """Whether the pixels of something are still to be read.

    Parameters
    ----------
    x : Any
        An array, an `Image`, a `LazyImage`, or a napari layer.

    Returns
    -------
    bool
        True for a dask array, an `Image`, a `LazyImage`, and a layer that holds such data; False
        for NumPy.
    """
    if isinstance(x, (da.Array, Image, LazyImage)):
        return True
    return any(isinstance(level, da.Array) for level in layer_levels(x))


def layer_levels(x: Any) -> list[Any]:
    """Return the data of an Image or Labels layer; [] of others, whose `data` may be a read."""
    if not hasattr(x, "multiscale"):
        return []
    return list(x.data) if x.multiscale else [x.data]


def compute(
    mapping: Mapping[Any, Any],
    *,
    keys: Iterable[Any] | None = None,
    dtype: Any = None,
    allow_missing: bool = False,
) -> dict[Any, Any]:
    """Turn the lazy values of a dictionary into arrays and keep the rest.

    So a pipeline crops first and reads last.

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
    if keys is None:
        keys = mapping
    wanted = {keys} if isinstance(keys, str) else set(keys)
    missing = wanted.difference(mapping)
    if missing and not allow_missing:
        present = ", ".join(map(repr, mapping))
        raise KeyError(f"{', '.join(map(repr, missing))} not in the mapping; it has {present}")
    return {
        key: _computed(value, dtype) if key in wanted else value for key, value in mapping.items()
    }


def _computed(value: Any, dtype: Any) -> Any:
    if not is_lazy(value):
        return value
    if isinstance(value, Image):
        lazy: Any = value.boxes[0]
    elif isinstance(value, LazyImage):
        lazy = value.data.copy()  # its own pixels are read-only
    else:
        lazy = value if isinstance(value, da.Array) else layer_levels(value)[0]
    return np.asarray(lazy, dtype)
