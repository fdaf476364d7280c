"""Derived sources read boxes where their original does: its own pixels alone are read."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lazyload.arrays.derived.channels import ChannelSource
from napari_lazyload.arrays.derived.converted import displayable
from napari_lazyload.core.source import box_reader
from napari_lazyload.sources.binary import read_strided
from napari_lazyload.sources.registry import open_path

PIXELS = (np.arange(4 * 30 * 40) * (3 + 4j)).reshape(4, 30, 40).astype("c8")
BOX = ((1, 3), (5, 15), (10, 30))


@pytest.fixture
def source(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS)
    return open_path(tmp_path / "a.npy").sources[0]


@pytest.fixture
def sizes(monkeypatch):
    """The bytes of each piece that is read."""
    found = []
    original = read_strided._read_into

    def read_into(file, offset, target):
        found.append(target.nbytes)
        original(file, offset, target)

    monkeypatch.setattr(read_strided, "_read_into", read_into)
    return found


def test_a_converted_box_reads_its_own_rows(source, sizes):
    reader = box_reader(displayable(source)[0], 0, BOX)
    found = np.empty((2, 10, 20), "f4")
    reader.load_into(found)
    np.testing.assert_array_equal(found, np.abs(PIXELS[1:3, 5:15, 10:30]))
    assert not reader.is_raw_layout
    assert sum(sizes) < PIXELS.nbytes / 4


@pytest.mark.parametrize(
    ("channels", "box", "expected"),
    [
        ([3, 1, 2], ((1, 3), *BOX[1:]), [1, 2]),
        ([3, 1, 2], ((0, 2), *BOX[1:]), None),
        ([3, 1, 2], ((1, 1), *BOX[1:]), None),
    ],
    ids=["neighbors", "apart", "none"],
)
def test_channels_that_lie_together_are_one_box(source, channels, box, expected):
    source.meta = source.meta.__class__("c", ("c", "y", "x"), source.meta.dtype, source.meta.levels)
    reader = box_reader(ChannelSource(source, channels), 0, box)
    if expected is None:
        assert reader is None
        return
    found = np.empty((2, 10, 20), "c8")
    reader.load_into(found)
    np.testing.assert_array_equal(found, PIXELS[expected, 5:15, 10:30])
