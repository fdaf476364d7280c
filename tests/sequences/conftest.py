"""A folder of twelve pictures, and what is counted while a sequence reads it."""

from __future__ import annotations

import pytest

from helpers.pictures import COUNT, PIXELS, write_png
from napari_lazyload.loading import cache
from napari_lazyload.sources.image_files import decode


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "run"
    for number, pixels in enumerate(PIXELS):
        write_png(root / f"img{number}.png", pixels)
    return root


@pytest.fixture
def names():
    return [f"img{number}.png" for number in range(COUNT)]


@pytest.fixture
def counted():
    """What the cache did since the test began: ``counted("reads")``."""
    cache.shared.drop()
    start = cache.shared.snapshot()
    yield lambda name: cache.shared.snapshot()[name] - start[name]
    cache.shared.drop()


@pytest.fixture
def headers(monkeypatch):
    """The paths whose header was read, in order."""
    paths, original = [], decode.parse_header
    monkeypatch.setattr(
        decode,
        "parse_header",
        lambda path, head=None: (paths.append(path), original(path, head))[1],
    )
    return paths
