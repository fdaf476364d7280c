"""What is known of one HDF5 data set before its pixels are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from napari_lazyload.sources.hdf5.axes import AxisScale


@dataclass(frozen=True, slots=True)
class Hdf5Dataset:
    """A data set that may be an image.

    Parameters
    ----------
    name : str
        In the file.
    shape, dtype, chunks
        As h5py has them.
    offset : int or None
        Where its pixels begin, if they lie in the file as they are.
    attributes : mapping
        Of the data set.
    labels : tuple of str
        Of the axes.
    scales : tuple of AxisScale
        Of the axes.
    others : tuple of str
        Other files that have pixels of it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    offset: int | None
    attributes: Mapping[str, Any]
    labels: tuple[str, ...]
    scales: tuple[AxisScale, ...]
    others: tuple[str, ...] = ()
