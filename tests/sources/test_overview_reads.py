"""The same bytes cost the same overview, whatever file they lie in."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_lazyload.core import coarse_levels
from napari_lazyload.loading.read_box import read_box
from napari_lazyload.sources.binary import read_strided
from napari_lazyload.sources.registry import open_path
from napari_lazyload.sources.tiff import tiled

PIXELS = np.arange(16 * 128 * 128, dtype="u2").reshape(16, 128, 128)


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch):
    limits = {"VOLUME_NBYTES": 1 << 16, "VOLUME_SIDE": 32, "VOLUME_PLANES": 4}
    for name, value in limits.items():
        monkeypatch.setattr(coarse_levels, name, value)
    monkeypatch.setattr(tiled, "LARGE", 1000)


@pytest.fixture
def pieces(monkeypatch):
    """The bytes of each piece that is read."""
    sizes = []
    original = read_strided._read_into

    def read_into(file, offset, target):
        sizes.append(target.nbytes)
        original(file, offset, target)

    monkeypatch.setattr(read_strided, "_read_into", read_into)
    return sizes


def _overview(path, pieces):
    """Return the coarsest level of a file, and the bytes that were read for it."""
    source = open_path(path).sources[0]
    level = len(source.meta.levels) - 1
    pieces.clear()
    pixels = read_box(source, level, source.meta.levels[level].grid.full_box)
    return pixels, sum(pieces)


@pytest.mark.parametrize("axes", ["ZYX", None], ids=["axes said", "pages alone"])
def test_an_uncompressed_tiff_reads_what_the_same_bytes_as_npy_do(tmp_path, pieces, axes):
    np.save(tmp_path / "a.npy", PIXELS)
    metadata = {"axes": axes} if axes else None
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="minisblack", metadata=metadata)
    expected, nbytes = _overview(tmp_path / "a.npy", pieces)
    np.testing.assert_array_equal(expected, PIXELS[::4, ::4, ::4])
    found, read = _overview(tmp_path / "a.tif", pieces)
    np.testing.assert_array_equal(found, expected)
    assert read == nbytes < PIXELS.nbytes / 3
