"""What the tests of the crop dock type and show."""

from __future__ import annotations

from typing import Any

from helpers.pixels import pixels
from napari_lazyload.widgets.crop.region_source import NUMBERS

__all__ = ["pixels", "take_box"]


def take_box(dock: Any, *ranges: tuple[int, int]) -> None:
    """Type a region."""
    dock.form.region.value = NUMBERS
    dock.form.rows.set_ranges(ranges)
    dock.refresh()
