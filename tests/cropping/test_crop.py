"""nl.crop and nl.estimate: exact on every region and array, each touched chunk read once."""

from __future__ import annotations

import pickle
import threading
import time
from functools import partial
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.arrays.image import Image
from napari_lazyload.core.errors import CancelledError, ChunkReadError, RegionError
from napari_lazyload.core.region import Estimate
from napari_lazyload.cropping.crop import crop, estimate
from napari_lazyload.loading import cache
from napari_lazyload.testing.sources import RecordingSource

SHAPE = (5, 17, 23)
CHUNKS = (1, 8, (10, 4, 9))


def pixels(shape=SHAPE, dtype="u2"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.fixture
def source():
    return RecordingSource(pixels(), CHUNKS, axes="tyx")


@pytest.fixture
def image(source):
    return Image(source)


class H5Like:
    """What h5py's datasets have in common with arrays: basic slices, `chunks`, no operations."""

    def __init__(self, array, chunks=None):
        self._array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, chunks

    def __getitem__(self, key):
        assert all(isinstance(part, slice) for part in key)
        return self._array[key]


# --- regions

REGIONS = {
    "whole": ((), np.s_[:]),
    "ellipsis": (..., np.s_[:]),
    "one slice": (slice(1, 3), np.s_[1:3]),
    "slices": (np.s_[1:3, 2:9, 3:20], np.s_[1:3, 2:9, 3:20]),
    "one pixel": (np.s_[4:5, 16:17, 22:23], np.s_[4:5, 16:17, 22:23]),
    "ellipsis first": (np.s_[..., 3:5], np.s_[..., 3:5]),
    "ellipsis between": (np.s_[1:2, ..., 3:5], np.s_[1:2, :, 3:5]),
    "open ends": (np.s_[:2, 5:, :], np.s_[:2, 5:, :]),
    "negative counts from the end": (np.s_[-2:, :-4, -7:-1], np.s_[-2:, :-4, -7:-1]),
    "beyond the end is clipped": (np.s_[3:99, 0:99, 20:24], np.s_[3:, :, 20:]),
    "numpy integers": ((slice(np.int64(1), np.uint8(3)),), np.s_[1:3]),
    "step one": (np.s_[1:3:1], np.s_[1:3]),
    "mapping": ({"y": (2, 9), "x": (3, 20)}, np.s_[:, 2:9, 3:20]),
    "mapping of slices": ({"t": slice(-1, None)}, np.s_[-1:]),
    "mapping, pairs outside are clipped": ({"y": (-5, 4), "x": (20, 30)}, np.s_[:, :4, 20:]),
    "mapping, open pair": ({"x": (None, 4)}, np.s_[..., :4]),
    "mapping, whole floats": ({"x": (2.0, np.float64(4))}, np.s_[..., 2:4]),
    "empty mapping": ({}, np.s_[:]),
}


@pytest.mark.parametrize(("region", "index"), REGIONS.values(), ids=REGIONS)
def test_equals_numpy(image, source, region, index):
    expected = source.arrays[0][index]
    result = crop(image, region)
    assert type(result) is np.ndarray
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected, strict=True)


BAD = {
    "integer": (np.s_[1, :], "slice\\(i, i \\+ 1\\)"),
    "array": (([1, 2],), "tuple of slices or a mapping"),
    "string": ("all", "got 'all'"),
    "two ellipses": ((..., ...), "at most one Ellipsis"),
    "too many": (np.s_[:, :, :, :], "4 slices; the image has 3 axes"),
    "step": (np.s_[::2], "step 1, got 2"),
    "backwards": (np.s_[::-1], "step 1, got -1"),
    "unknown axis": ({"z": (0, 1)}, "axis 'z'.*'t', 'y', 'x'"),
    "half a pixel": ({"x": (0.5, 3)}, "whole pixels"),
    "not a number": ({"x": (float("nan"), 3)}, "whole pixels"),
    "a word": ({"x": ("a", 3)}, "whole pixels"),
    "one number": ({"x": 3}, "\\(start, stop\\) pair"),
    "three numbers": ({"x": (1, 2, 3)}, "\\(start, stop\\) pair"),
    "empty": (np.s_[2:2], "empty along axis 't'"),
    "reversed": ({"y": (9, 2)}, "empty along axis 'y'"),
    "before the image": ({"x": (-9, -2)}, "empty along axis 'x'"),
    "behind the image": (np.s_[:, 40:50], "empty along axis 'y'"),
}


@pytest.mark.parametrize(("region", "message"), BAD.values(), ids=BAD)
def test_bad_region_is_told_before_anything_is_read(image, source, region, message):
    for function in (crop, estimate):
        with pytest.raises(RegionError, match=message):
            function(image, region)
    assert source.loads == []


bounds = st.none() | st.integers(-30, 30)


@given(st.tuples(*[st.builds(slice, bounds, bounds)] * 3))
def test_any_slices_are_what_numpy_makes_of_them(region):
    source = RecordingSource(pixels(), CHUNKS)
    expected = source.arrays[0][region]
    if expected.size == 0:
        with pytest.raises(RegionError, match="empty"):
            crop(Image(source), region)
        return
    np.testing.assert_array_equal(crop(Image(source), region), expected, strict=True)
    touched = set(
        source.meta.levels[0].grid.touched(
            tuple(part.indices(n)[:2] for part, n in zip(region, SHAPE, strict=True))
        )
    )
    assert sorted(source.loads) == sorted((0, index) for index in touched)


# --- what is read


def test_reads_the_touched_chunks_once_each(image, source):
    before = cache.shared.snapshot()
    crop(image, {"t": (1, 4), "y": (7, 9), "x": (9, 15)})
    assert sorted(source.loads) == [
        (0, (t, y, x)) for t in (1, 2, 3) for y in (0, 1) for x in (0, 1, 2)
    ]
    after = cache.shared.snapshot()
    assert after["reads"] - before["reads"] == 18
    assert after["chunks"] == before["chunks"]
    assert after["nbytes"] == before["nbytes"]


def test_uses_what_is_cached(image, source):
    np.asarray(image.data[1])
    assert len(source.loads) == 9
    before = cache.shared.counters.hits
    crop(image, np.s_[1:2])
    assert len(source.loads) == 9
    assert cache.shared.counters.hits - before == 9


def test_estimate_is_what_is_then_read(image, source):
    region = {"t": (1, 4), "y": (7, 9), "x": (9, 15)}
    before = cache.shared.counters.read_nbytes
    told = estimate(image, region)
    assert source.loads == []
    result = crop(image, region)
    assert told == Estimate(
        result_nbytes=result.nbytes,
        touched_nbytes=cache.shared.counters.read_nbytes - before,
        touched_chunks=len(source.loads),
        full_nbytes=source.arrays[0].nbytes,
    )


def test_estimate_counts_the_results_dtype(image):
    plain, wide = (estimate(image, np.s_[1:2], dtype=dtype) for dtype in (None, "f8"))
    assert wide.result_nbytes == 4 * plain.result_nbytes
    assert wide.touched_nbytes == plain.touched_nbytes


def test_the_three_numbers_of_the_documentation():
    grids = {(1, 2048, 2048): 512, (16, 256, 256): 40, (64, 64, 64): 3.125}
    region = (slice(10, 74), slice(200, 264), slice(200, 264))
    for chunks, mebibytes in grids.items():
        data = da.zeros((100, 2048, 2048), dtype="u2", chunks=chunks)
        told = estimate(data, region)
        assert told.result_nbytes == 2**19
        assert told.full_nbytes == 100 * 2**23
        assert told.touched_nbytes == mebibytes * 2**20


# --- dtype and out


@pytest.mark.parametrize("dtype", ["u1", "i4", "f2", "f8", ">u2", bool, complex])
def test_dtype_casts_as_astype_does(image, source, dtype):
    result = crop(image, np.s_[1:3, :, 4:], dtype=dtype)
    np.testing.assert_array_equal(result, source.arrays[0][1:3, :, 4:].astype(dtype), strict=True)


def test_out_is_filled_and_returned(image, source):
    out = np.zeros((2, 17, 3), np.float32)
    assert crop(image, np.s_[1:3, :, 4:7], out=out) is out
    np.testing.assert_array_equal(out, source.arrays[0][1:3, :, 4:7])


def test_out_may_be_a_part_of_something(image, source):
    whole = np.zeros((2, 30, 40), "u2")
    out = whole[:, 3:20, 5:11:2]
    assert crop(image, np.s_[1:3, :, 4:7], out=out) is out
    np.testing.assert_array_equal(whole[:, 3:20, 5:11:2], source.arrays[0][1:3, :, 4:7])
    assert whole.sum() == source.arrays[0][1:3, :, 4:7].sum()


def test_out_of_another_shape_is_refused(image, source):
    with pytest.raises(RegionError, match=r"shape \(2, 17, 23\), got \(2, 17, 22\)"):
        crop(image, np.s_[1:3], out=np.zeros((2, 17, 22)))
    assert source.loads == []


def test_more_than_memory_is_a_memory_error_that_says_how_much():
    data = da.zeros((2**20, 2**20, 2**20), chunks=2**20)
    with pytest.raises(MemoryError, match="GiB of memory; choose a smaller one or a coarser level"):
        crop(data, ())


# --- progress, cancel, errors


def test_progress_counts_the_chunks(image):
    seen = []
    crop(image, np.s_[1:3], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 18) for done in range(1, 19)]


def test_cancelled_beforehand_reads_nothing(image, source):
    event = threading.Event()
    event.set()
    for cancel in (event, lambda: True):
        with pytest.raises(CancelledError):
            crop(image, (), cancel=cancel)
    assert source.loads == []


def test_cancel_stops_between_chunks(image, source):
    event = threading.Event()

    def progress(done, _total):
        if done == 3:
            event.set()

    with pytest.raises(CancelledError):
        crop(image, (), progress=progress, cancel=event)
    assert 3 <= len(source.loads) < 45 / 2


def test_cancel_from_elsewhere_while_a_chunk_is_read():
    gate, event = threading.Event(), threading.Event()
    source = RecordingSource(pixels(), CHUNKS, gate=gate)
    caught = []

    def work():
        try:
            crop(Image(source), (), cancel=event)
        except CancelledError as err:
            caught.append(err)

    thread = threading.Thread(target=work)
    thread.start()
    assert source.started.wait(10)
    event.set()
    gate.set()
    thread.join(10)
    assert len(caught) == 1
    assert len(source.loads) < 45 / 2


def test_error_names_the_chunk_and_ends_the_crop(image, source):
    source.failing.add((1, 0, 0))
    # Slow reads: on a busy machine all others could end before the thread that failed goes on.
    source.gate = SimpleNamespace(wait=lambda _seconds: time.sleep(0.02) or True)
    with pytest.raises(ChunkReadError, match=r"recorded/0/1\.0\.0") as caught:
        crop(image, ())
    source.gate = None
    assert caught.value.path == "recorded/0/1.0.0"
    assert len(source.loads) < 45
    np.testing.assert_array_equal(crop(image, np.s_[2:]), source.arrays[0][2:])
    source.failing.clear()
    np.testing.assert_array_equal(crop(image, ()), source.arrays[0])


def test_blank_where_it_was_opened_so(source):
    source.failing.add((1, 0, 0))
    expected = source.arrays[0].copy()
    expected[1, :8, :10] = 0
    np.testing.assert_array_equal(crop(Image(source, on_error="blank"), ()), expected)


def test_crops_at_the_same_time_share_their_reads(image, source):
    source.gate = threading.Event()
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(crop(image, np.s_[0:1]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert source.started.wait(10)
    source.gate.set()
    for thread in threads:
        thread.join(10)
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, source.arrays[0][:1])
    assert not np.shares_memory(results[0], results[1])


# --- what can be cropped

ARRAYS = {
    "numpy": lambda a: a,
    "fortran": np.asfortranarray,
    "big endian": lambda a: a.astype(">u2"),
    "list": lambda a: a.tolist(),
    "dask": lambda a: da.from_array(a, chunks=(2, 8, (10, 4, 9))),
    "dask, computed": lambda a: da.from_array(a.astype(float), chunks=5).map_blocks(np.sqrt) ** 2,
    "zarr": partial(zarr.array, chunks=(2, 8, 9)),
    "h5py, chunked": partial(H5Like, chunks=(2, 8, 9)),
    "h5py, contiguous": H5Like,
    "lazy": lambda a: Image(RecordingSource(a, CHUNKS)).data,
    "lazy, sliced": lambda a: Image(RecordingSource(np.pad(a, 3), (2, 9, 9))).data[
        3:-3, 3:-3, 3:-3
    ],
    "lazy, an axis dropped": lambda a: Image(
        RecordingSource(np.stack([a, a + 1]), (1, 2, 9, 9))
    ).data[0],
    "lazy, rechunked": lambda a: Image(RecordingSource(a, CHUNKS), chunks=4).data,
    "dask of lazy": lambda a: Image(RecordingSource(a, CHUNKS)).data + 0,
}


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize(
    "region", [(), np.s_[1:4, 3:12, 8:20], np.s_[-1:, :, -1:]], ids=["whole", "part", "corner"]
)
def test_any_array(make, region):
    array = make(pixels())
    np.testing.assert_allclose(crop(array, region), pixels()[region], rtol=1e-12)
    np.testing.assert_array_equal(
        crop(array, region, dtype="f4"), pixels()[region].astype("f4"), strict=True
    )


def test_arrays_without_names_have_numbered_axes():
    np.testing.assert_array_equal(crop(pixels(), {"axis 1": (2, 5)}), pixels()[:, 2:5])


def test_foreign_chunks_are_counted_and_read_once():
    reads = []

    class Counted(H5Like):
        def __getitem__(self, key):
            reads.append(tuple((part.start, part.stop) for part in key))
            return super().__getitem__(key)

    array = Counted(pixels(), (2, 8, 9))
    region = np.s_[1:4, 3:12, 8:20]
    told = estimate(array, region)
    assert reads == []
    crop(array, region)
    assert len(reads) == len(set(reads)) == told.touched_chunks == 2 * 2 * 3
    assert sorted(reads)[0] == ((1, 2), (3, 8), (8, 9))


def test_colors_are_never_part_of_a_region():
    rgb = pixels((4, 9, 11, 3), "u1")
    source = RecordingSource(rgb, (1, 9, 11, 3), axes="zyxs")
    image = Image(source)
    np.testing.assert_array_equal(crop(image, np.s_[1:2, 3:5]), rgb[1:2, 3:5])
    np.testing.assert_array_equal(crop(image, np.s_[1:2, ..., 3:5]), rgb[1:2, :, 3:5])
    np.testing.assert_array_equal(crop(image, {"x": (2, 4)}), rgb[:, :, 2:4])
    with pytest.raises(RegionError, match="axis 's'"):
        crop(image, {"s": (0, 1)})
    with pytest.raises(RegionError, match="4 slices; the image has 3 axes"):
        crop(image, np.s_[:, :, :, :1])


# --- levels


@pytest.fixture
def pyramid():
    finest = pixels((3, 37, 50))
    levels = [finest, finest[:, ::2, ::2].copy(), finest[:, ::4, ::4].copy()]
    factors = [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    return RecordingSource(levels, (1, 8, 8), axes="zyx", factors=factors)


@given(
    st.integers(0, 2),
    st.tuples(st.integers(0, 36), st.integers(1, 37)),
    st.tuples(st.integers(0, 49), st.integers(1, 50)),
)
def test_a_level_covers_the_region(level, rows, columns):
    finest = pixels((1, 32, 48))
    factor = 2**level
    levels = [finest, finest[:, ::2, ::2].copy(), finest[:, ::4, ::4].copy()]
    source = RecordingSource(levels, (1, 8, 8))
    (y0, y1), (x0, x1) = sorted(min(v, 32) for v in rows), sorted(min(v, 48) for v in columns)
    if y0 == y1 or x0 == x1:
        return
    result = crop(Image(source), {"y": (y0, y1), "x": (x0, x1)}, level=level)
    box = np.s_[:, y0 // factor : -(-y1 // factor), x0 // factor : -(-x1 // factor)]
    np.testing.assert_array_equal(result, levels[level][box], strict=True)
    assert {number for number, _ in source.loads} == {level}


def test_a_level_is_counted_in_its_own_factors(pyramid):
    # 37 rows by 2 are 19: the file says that a coarse pixel spans 2, not 37 / 19.
    result = crop(Image(pyramid), {"y": (0, 16), "x": (38, 40)}, level=1)
    np.testing.assert_array_equal(result, pyramid.arrays[1][:, 0:8, 19:20], strict=True)


def test_estimate_of_a_level(pyramid):
    told = estimate(Image(pyramid), {"z": (0, 1), "y": (0, 16), "x": (0, 16)}, level=1)
    assert told == Estimate(8 * 8 * 2, 8 * 8 * 2, 1, pyramid.arrays[1].nbytes)


@pytest.mark.parametrize("level", [3, -4])
def test_unknown_level(pyramid, level):
    with pytest.raises(RegionError, match=f"level must be 0 to 2, got {level}"):
        crop(Image(pyramid), (), level=level)


def test_an_image_of_one_level_counts_in_its_own_pixels(pyramid):
    image = Image(pyramid, level=1)
    np.testing.assert_array_equal(crop(image, {"y": (2, 5)}), pyramid.arrays[1][:, 2:5])
    assert {number for number, _ in pyramid.loads} == {1}


def test_anything_like_a_layer():
    levels = [pixels((4, 16, 16)), pixels((4, 8, 8))]
    layer = SimpleNamespace(data=levels, multiscale=True, axis_labels=("t", "y", "x"), metadata={})
    np.testing.assert_array_equal(crop(layer, {"x": (3, 9)}, level=1), levels[1][:, :, 1:5])
    rgb = SimpleNamespace(
        data=pixels((8, 9, 3)), multiscale=False, axis_labels=("y", "x"), metadata={}
    )
    np.testing.assert_array_equal(crop(rgb, {"x": (3, 9)}), rgb.data[:, 3:9])


# --- the source that the tests of this package stand on


def test_recording_source_counts_for_itself_after_pickling(source):
    source.gate = threading.Event()
    copied = pickle.loads(pickle.dumps(Image(source)))
    assert copied.source.token == source.token
    np.testing.assert_array_equal(crop(copied, np.s_[1:2, :8, :10]), source.arrays[0][1:2, :8, :10])
    assert copied.source.loads == [(0, (1, 0, 0))]
    assert source.loads == []


def test_recording_source_serves_chunks_as_the_protocol_says(source):
    chunk = source.chunk(0, (4, 2, 1)).load()
    assert chunk.flags.c_contiguous
    assert chunk.base is None
    np.testing.assert_array_equal(chunk, source.arrays[0][4:5, 16:17, 10:14], strict=True)
    assert source.chunk(0, (4, 2, 1)) == source.chunk(0, (4, 2, 1))
