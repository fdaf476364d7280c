"""What the tests of the crop dock type and show."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_lazyload.widgets.crop.region_source import NUMBERS


def pixels(shape: tuple[int, ...] = (6, 40, 50), dtype: str = "u2") -> np.ndarray[Any, Any]:
    """Return pixels that all differ, as far as the type allows."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def take_box(dock: Any, *ranges: tuple[int, int]) -> None:
    """Type a region."""
    dock.form.region.value = NUMBERS
    dock.form.rows.set_ranges(ranges)
    dock.refresh()
