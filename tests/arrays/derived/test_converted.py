"""Values that a viewer cannot show, converted chunk by chunk."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from napari_lazyload.arrays.derived.converted import ConvertedSource, displayable
from napari_lazyload.testing.sources import RecordingSource

CASES = {
    "complex64": ("c8", "f4", "complex64 values are shown as their magnitude"),
    "complex128": ("c16", "f8", "complex128 values are shown as their magnitude"),
    "long complex": ("G", "f8", "values are shown as their magnitude"),
    "long double": ("g", "f8", "is shown as float64"),
}


@pytest.mark.parametrize(("stored", "shown", "note"), CASES.values(), ids=CASES)
def test_what_cannot_be_shown_is_converted(stored, shown, note):
    if stored == "g" and np.dtype(stored).itemsize == 8:
        pytest.skip("here a long double is a double")
    pixels = (
        np.arange(12).reshape(3, 2, 2) * (3 + 4j if np.dtype(stored).kind == "c" else 1)
    ).astype(stored)
    source = RecordingSource(pixels, (1, 2, 2))
    found, message = displayable(source)
    assert found.meta.dtype == np.dtype(shown)
    assert note in message
    chunk = found.chunk(0, (2, 0, 0))
    assert (chunk.load().dtype, chunk.load().shape) == (np.dtype(shown), (1, 2, 2))
    np.testing.assert_allclose(chunk.load(), np.abs(pixels[2:]).astype(shown))
    assert found.token != source.token
    assert chunk.key != source.chunk(0, (2, 0, 0)).key
    assert chunk.key.part[-1] == source.chunk(0, (2, 0, 0)).key.part
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(found)).chunk(0, (2, 0, 0)).load(), chunk.load()
    )


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "f4", "f8"])
def test_what_can_be_shown_is_left_alone(dtype):
    source = RecordingSource(np.zeros((3, 2, 2), dtype), (1, 2, 2))
    assert displayable(source) == (source, None)


def test_limits_of_the_original_do_not_hold_for_what_it_became():
    source = RecordingSource(np.zeros((3, 2, 2), "c8"), (1, 2, 2), contrast_limits=(0.0, 1.0))
    assert ConvertedSource(source, np.abs, np.dtype("f4")).meta.contrast_limits is None
