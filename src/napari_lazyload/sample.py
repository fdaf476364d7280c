"""Sample data, made on the spot from scikit-image's own pictures."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

COUNT = 300
SIZE = 256


def make_folder(target: Path | None = None, count: int = COUNT) -> Path:
    """Write a folder of PNG pictures: a window that wanders over a photograph of gravel, with a spot now and then.

    Parameters
    ----------
    target : Path, optional
        Where to; by default a folder in the system's temporary one, which is used again if it is complete.
    count : int
        How many pictures.

    Returns
    -------
    Path
        The folder: ``frame_0.png`` and so on, 256 x 256 uint8, and ``frames.csv`` with where the window was.
    """
    import imagecodecs
    from skimage import data, draw

    folder = target or Path(tempfile.gettempdir()) / "napari-lazyload-sample"
    names = [f"frame_{number}.png" for number in range(count)]
    if (folder / "frames.csv").exists() and all((folder / name).exists() for name in names):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    photograph: np.ndarray[Any, Any] = data.gravel()  # type: ignore[no-untyped-call] # has no annotations
    room = photograph.shape[0] - SIZE
    rows = []
    for number, name in enumerate(names):
        angle = 2 * np.pi * number / count
        top, left = (int(room * (1 + wave) / 2) for wave in (np.sin(angle), np.cos(2 * angle)))
        frame = photograph[top : top + SIZE, left : left + SIZE].copy()
        if number % 7 == 0:
            spot = draw.disk((SIZE / 2, (number * 5) % SIZE), 12, shape=frame.shape)  # type: ignore[no-untyped-call] # same
            frame[spot] = 255
        (folder / name).write_bytes(imagecodecs.png_encode(frame))
        rows.append((name, top, left, int(frame.mean())))
    with (folder / "frames.csv").open("w", newline="") as file:  # last, so that a folder without it is incomplete
        csv.writer(file).writerows([("original_filename", "top", "left", "mean"), *rows])
    return folder
