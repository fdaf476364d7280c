"""A folder of ten pictures full of their numbers, and no thread or process left behind."""

from __future__ import annotations

import gc
import multiprocessing
from pathlib import Path

import pytest

from helpers.pictures import NUMBERED, number_image, write_png
from helpers.waiting import eventually, threads
from napari_lazyload.loading import cache
from napari_lazyload.sequences.reading import read_images
from napari_lazyload.sources.image_files import decode as pictures


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "run"
    for number in range(NUMBERED):
        write_png(root / f"{number}.png", number_image(number))
    return root


@pytest.fixture
def seq(folder):
    """Ten images whose pixels are their number."""
    cache.shared.drop()
    yield read_images(
        folder,
        meta={"number": range(NUMBERED), "name": [f"n{number}" for number in range(NUMBERED)]},
    )
    cache.shared.drop()


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that were decoded, in order."""
    decoded = []
    original = pictures.decode

    def decode(path, *args, **kwargs):
        decoded.append(Path(path).name)
        return original(path, *args, **kwargs)

    monkeypatch.setattr(pictures, "decode", decode)
    return decoded


@pytest.fixture(autouse=True)
def _no_thread_left():
    yield
    gc.collect()
    eventually(lambda: not threads("lazyload-batches"))
    assert not multiprocessing.active_children()
