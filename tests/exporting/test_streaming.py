"""How an export reads: in slabs that fit the memory, each source chunk once, in parallel."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import pairwise
from math import prod

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import napari_lazyload as nl
from napari_lazyload.arrays.image import Image
from napari_lazyload.core import settings
from napari_lazyload.core.chunks import ChunkGrid, box_shape, box_slices
from napari_lazyload.exporting import ome_zarr, streaming
from napari_lazyload.exporting.streaming import plan_slabs, reads_once
from napari_lazyload.loading import cache, status
from napari_lazyload.testing.sources import RecordingSource

NAMES = {"ome-zarr": "out.ome.zarr", "ome-tiff": "out.ome.tif", "npy": "out.npy"}
kinds = pytest.mark.parametrize("kind", NAMES)

sizes = st.integers(1, 12)


@st.composite
def grids(draw):
    """Units of a target and chunks of a source over the same pixels, the latter cut to a region."""
    shape = draw(st.lists(st.integers(1, 30), min_size=1, max_size=3))
    units, source = [], []
    for size in shape:
        units.append(draw(sizes))
        chunk, first = draw(sizes), draw(sizes)
        cuts = [0, *range(min(first, chunk), size, chunk), size]
        source.append(tuple(b - a for a, b in pairwise(cuts) if b > a))
    return ChunkGrid(tuple(shape), tuple(units)), ChunkGrid(tuple(shape), tuple(source))


@given(grids(), st.integers(1, 3000))
def test_bands_cover_the_target_in_whole_units_and_hold_what_they_read(both, budget):
    units, source = both
    written = np.zeros(units.shape, int)
    reads = Counter()
    held = None
    for band in plan_slabs(units, source, 1, budget):
        written[box_slices(band.box)] += 1
        for axis, (start, stop) in enumerate(band.box):
            assert start == units.span(axis, units.block_range(axis, start, start + 1)[0])[0]
            assert stop == units.span(axis, units.block_range(axis, stop - 1, stop)[0])[1]
        new = np.zeros(units.shape, bool)
        if band.read is not None:
            new[box_slices(band.read)] = True
            reads.update(source.touched(band.read))
        if band.read != band.held:
            assert held is not None
            new[box_slices(held)] = True
        assert new[box_slices(band.held)].all()
        assert new[box_slices(band.box)].all()
        held = band.held
    assert (written == 1).all()
    if reads_once(units, source, 1, budget):
        assert set(reads.values()) == {1}
        assert len(reads) == prod(source.numblocks)


@given(grids(), st.integers(1, 3000))
def test_ordered_bands_give_rows_of_a_page_one_after_the_other(both, budget):
    units, source = both
    units = ChunkGrid(units.shape, (*(1,) * (len(units.shape) - 1), units.chunks[-1]))
    seen = []
    for band in plan_slabs(units, source, 1, budget, ordered=True):
        seen += list(units.touched(band.box))
    assert seen == list(np.ndindex(*units.numblocks))


@given(grids(), st.integers(1, 3000))
def test_a_band_is_no_larger_than_the_budget_unless_a_unit_is(both, budget):
    units, source = both
    least = prod(min(unit, size) for unit, size in zip(units.chunks, units.shape, strict=True))
    for band in plan_slabs(units, source, 1, budget):
        assert prod(box_shape(band.held)) <= max(budget, least)


def test_chunks_of_a_few_planes_are_read_once_where_planes_are_large():
    # Chunks of 64 planes, units of 16, planes of 800 MB: bands of 64 planes and some rows.
    source = ChunkGrid((256, 20000, 20000), (64, 64, 64))
    units = ChunkGrid(source.shape, (16, 256, 256))
    assert reads_once(units, source, 2)
    first = next(plan_slabs(units, source, 2))
    assert first.box[0] == (0, 64)
    assert not reads_once(units, source, 2, budget=1 << 20)


CASES = {
    "aligned": ((4, 64, 64), ()),
    "across": ((3, 50, 70), np.s_[2:, 7:, 9:]),
    "frames": ((1, 600, 530), np.s_[1:, 13:580]),
    "columns": ((9, 90, 90), np.s_[:, 3:]),
}


@kinds
@pytest.mark.parametrize(("chunks", "region"), CASES.values(), ids=CASES)
def test_each_chunk_is_read_once_also_in_little_memory(tmp_path, kind, chunks, region, monkeypatch):
    # Room for about two thirds of the image: several bands.
    array = np.random.default_rng(0).integers(0, 65536, (9, 600, 530), "u2")
    monkeypatch.setattr(streaming, "BUDGET", array.nbytes * 2 // 3)
    source = RecordingSource(array, chunks, axes="zyx")
    before = cache.shared.snapshot()
    keywords = {} if kind == "npy" else {"chunks": (2, 128, 128)}
    path = nl.export(Image(source), tmp_path / NAMES[kind], region, **keywords)
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, array[region])
    slices = [
        part.indices(n)[:2]
        for part, n in zip((*region, *(slice(None),) * 3)[:3], array.shape, strict=True)
    ]
    touched = set(source.meta.levels[0].grid.touched(tuple(slices)))
    assert Counter(source.loads) == Counter((0, index) for index in touched)
    assert cache.shared.snapshot()["chunks"] >= before["chunks"]


def test_thick_chunks_of_large_planes_are_read_once_for_a_tiff(tmp_path, monkeypatch):
    """Each chunk has rows of many pages, and no band holds them all: they go through a file."""
    array = np.random.default_rng(0).integers(0, 65536, (8, 600, 530), "u2")
    monkeypatch.setattr(streaming, "BUDGET", 1 << 20)
    source = RecordingSource(array, (8, 100, 100), axes="zyx")
    path = nl.export(Image(source), tmp_path / "out.ome.tif")
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, array)
    assert set(Counter(source.loads).values()) == {1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.ome.tif"]
    assert not reads_once(
        ChunkGrid(array.shape, (1, 256, 530)), ChunkGrid(array.shape, (8, 100, 100)), 2
    )


@kinds
def test_memory_is_a_band_and_what_is_under_way(tmp_path, kind, monkeypatch):
    """Counted, not measured: bytes of all slabs that are alive, and of units written at once."""
    array = np.zeros((32, 512, 512), "u2")
    array[:, ::7] = 3
    budget = 2 << 20
    monkeypatch.setattr(streaming, "BUDGET", budget)
    monkeypatch.setattr(ome_zarr, "BUDGET", budget)
    settings.update(workers=4)
    held, most, lock, inside = [], [0], threading.Lock(), [0]
    real = streaming.fill

    def fill(level, grid, box, result, **keywords):
        base = result
        while base.base is not None:
            base = base.base
        held.append(base.nbytes)
        real(level, grid, box, result, **keywords)

    def put(self, box, pixels, progress, real=ome_zarr._Level._put):
        with lock:
            inside[0] += pixels.nbytes
            most[0] = max(most[0], inside[0])
        real(self, box, pixels, progress)
        with lock:
            inside[0] -= pixels.nbytes

    monkeypatch.setattr(streaming, "fill", fill)
    monkeypatch.setattr(ome_zarr._Level, "_put", put)
    nl.export(Image(RecordingSource(array, (3, 100, 100), axes="zyx")), tmp_path / NAMES[kind])
    assert len(held) > 5
    assert max(held) <= budget
    assert most[0] <= budget


def test_what_is_browsed_stays_in_the_cache(tmp_path):
    array = np.zeros((40, 100, 100), "u2")
    settings.update(cache_budget=4 * array[0].nbytes)
    browsed = RecordingSource(array, (1, 100, 100), axes="zyx")
    np.asarray(Image(browsed).data[:4])
    nl.export(Image(RecordingSource(array, (1, 100, 100), axes="zyx")), tmp_path / "out.zarr")
    browsed.loads.clear()
    np.asarray(Image(browsed).data[:4])
    assert browsed.loads == []
    assert not [token for token in status.shared._sources if token.startswith("export-")]


def test_several_threads_read_and_write(tmp_path, monkeypatch):
    settings.update(workers=2)
    meeting = threading.Barrier(2, timeout=20)
    met = []

    def put(self, box, pixels, progress, real=ome_zarr._Level._put):
        if not met:
            meeting.wait()
            met.append(True)
        real(self, box, pixels, progress)

    monkeypatch.setattr(ome_zarr._Level, "_put", put)
    nl.export(np.ones((8, 64, 64), "u1"), tmp_path / "out.zarr", chunks=(1, 64, 64))
    assert met


def test_small_chunks_are_written_many_by_a_call(tmp_path, monkeypatch):
    calls, put = [], ome_zarr._Level._put
    monkeypatch.setattr(ome_zarr._Level, "_put", lambda *args: calls.append(args[1]) or put(*args))
    array = np.arange(64 * 32 * 48, dtype="u2").reshape(64, 32, 48)
    settings.update(workers=2)
    path = nl.export(array, tmp_path / "out.zarr", chunks=(1, 16, 16))  # 384 chunks
    assert len(calls) == 4
    np.testing.assert_array_equal(zarr.open_group(path, mode="r")["0"][...], array)


# --- on a cluster


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            dashboard_address=":0",
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster) as connected,
    ):
        yield connected


@kinds
def test_a_cluster_computes_what_is_written(tmp_path, kind, client):
    array = np.random.default_rng(0).integers(0, 65536, (9, 300, 200), "u2")
    np.save(tmp_path / "source.npy", array)
    seen, events = (
        [],
        len(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.transition_log))),
    )
    with nl.open_dataset(tmp_path / "source.npy") as dataset:
        image = dataset.images[0]
        path = nl.export(
            image,
            tmp_path / NAMES[kind],
            np.s_[1:, 7:],
            progress=lambda done, total: seen.append(done / total),
        )
        with nl.open_dataset(path) as written:
            np.testing.assert_array_equal(written.images[0].boxes[0]._view.read(), array[1:, 7:])
        assert seen[-1] == 1
        assert (
            len(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.transition_log)))
            > events
        )
        event = threading.Event()
        with pytest.raises(nl.CancelledError):
            nl.export(
                image, tmp_path / f"b-{NAMES[kind]}", progress=lambda *_: event.set(), cancel=event
            )
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["source.npy", NAMES[kind]])
