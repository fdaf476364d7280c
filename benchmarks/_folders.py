"""Folders of pictures to measure on: made once for a run, a million files by hard links."""

from __future__ import annotations

import io
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = 2624
SIDE = 300


def picture(
    seed: int, side: int = SIDE, dtype: Any = np.uint8, samples: int = 0
) -> np.ndarray[Any, Any]:
    """Return smooth blobs with camera noise, which compress as a micrograph does."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    smooth = sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) * 90) for a, b in rng.random((12, 2)))
    full = np.iinfo(dtype).max
    shape = (side, side, samples) if samples else (side, side)
    values = (
        0.2 * full
        + 0.3 * full * (smooth[..., None] if samples else smooth)
        + rng.normal(0, full / 80, shape)
    )
    return np.clip(values, 0, full).astype(dtype)


def picture_bytes(pixels: np.ndarray[Any, Any], kind: str) -> bytes:
    """Return a picture as a file of a usual kind, written by Pillow (TIFF: uncompressed)."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 90} if kind == "jpeg" else {}))
    return file.getvalue()


def make_folder(data: str, count: int, *, side: int = SIDE, dtype: Any = np.uint8) -> str:
    """Return a folder of PNG files, made once: 32 images by turns, no two files alike."""
    folder = Path(data, f"{count}-{side}-{np.dtype(dtype).name}")
    if not folder.exists():
        files = [picture_bytes(picture(seed, side, dtype), "png") for seed in range(min(count, 32))]
        with _filling(folder) as unfinished:
            for number in range(count):
                unfinished.joinpath(f"frame_{number:07d}.png").write_bytes(
                    files[number % len(files)]
                )
    return str(folder)


def link_folder(data: str, count: int) -> str | None:
    """Return a folder of hard links to the files of `make_folder`, or None without links."""
    folder = Path(data, f"{count}-links")
    if not folder.exists():
        targets = [entry.path for entry in os.scandir(make_folder(data, min(count, FILES)))]
        try:
            with _filling(folder) as unfinished:
                for number in range(count):
                    os.link(targets[number % len(targets)], f"{unfinished}/frame_{number:07d}.png")
        except OSError as err:
            print(f"skipped: no {count:,} hard links here ({err.strerror})", flush=True)
            return None
    return str(folder)


@contextmanager
def _filling(folder: Path) -> Iterator[Path]:
    """Give a folder its name once it is full: a run that was stopped leaves no half of one."""
    unfinished = folder.with_name(f"{folder.name}-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.rename(folder)
