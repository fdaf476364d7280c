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
    """A data set that may be an image: its name, form, place in the file, axes, and other files with its pixels."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    offset: int | None
    attributes: Mapping[str, Any]
    labels: tuple[str, ...]
    scales: tuple[AxisScale | None, ...]
    others: tuple[str, ...] = ()
