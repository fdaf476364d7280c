"""Small pictures on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 12
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 8), np.uint8)
"""What the files of a sequence hold."""

NUMBERED = 10
"""How many pictures batches are made of, each full of its number."""


def write_png(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    """Write a picture, and the folders it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))


def number_image(number: int) -> np.ndarray[Any, Any]:
    """Return a picture full of a number."""
    return np.full((3, 4), number, np.uint8)


def numbers(batch: tuple[Any, ...]) -> list[int]:
    """Return the numbers of the images of a batch."""
    return [int(image[0, 0]) for image in batch[0]]
