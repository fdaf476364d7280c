"""Crops on the cluster of a dask.distributed client: the same bits, bounded, cancellable."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from dask.delayed import delayed
from hypothesis import given
from hypothesis import strategies as st

import napari_lazyload as nl
from napari_lazyload import sample_data
from napari_lazyload.arrays import cluster
from napari_lazyload.core.chunks import ChunkGrid
from napari_lazyload.exporting import ome_zarr
from napari_lazyload.testing.sources import RecordingSource

distributed = pytest.importorskip("distributed")

PIXELS = np.arange(5 * 17 * 23, dtype="u2").reshape(5, 17, 23)
CHUNKS = (1, 8, (10, 4, 9))


@pytest.fixture(scope="module")
def local_cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as made:
        yield made


@pytest.fixture
def client(local_cluster):
    with distributed.Client(local_cluster) as connected:
        yield connected


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, write_pictures):
    """An image of each kind: paths that any process opens for itself."""
    folder = tmp_path_factory.mktemp("kinds")
    write_pictures(folder / "pictures")
    sample_data.make_ome_zarr(folder / "cells.ome.zarr", size=64)
    PIXELS.tofile(folder / "raw_5x17x23_uint16.raw")
    return folder


@pytest.fixture(scope="module")
def write_pictures():
    imagecodecs = pytest.importorskip("imagecodecs")

    def write(folder):
        folder.mkdir()
        for number, pixels in enumerate(PIXELS):
            (folder / f"img_{number}.png").write_bytes(
                imagecodecs.png_encode(np.ascontiguousarray(pixels))
            )

    return write


KINDS = {"folder": "pictures", "ome-zarr": "cells.ome.zarr", "raw": "raw_5x17x23_uint16.raw"}


@pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler")  # so it shall
@pytest.mark.parametrize("name", KINDS.values(), ids=KINDS)
def test_every_scheduler_gives_the_same_bits(client, kinds, name):
    with nl.open_dataset(kinds / name) as dataset:
        whole = [level for image in dataset.images for level in image.levels]
    expected = [np.asarray(level) for level in whole]
    derived = [(level[..., 2:9, 3:20] + 1).max(axis=0) for level in whole]
    for scheduler in ("sync", "threads", "processes", client):
        with dask.config.set(scheduler=scheduler):
            found = dask.compute(*whole, *derived)
        for pixels, part, right in zip(found, found[len(whole) :], expected, strict=False):
            np.testing.assert_array_equal(pixels, right, strict=True)
            np.testing.assert_array_equal(
                part, (right[..., 2:9, 3:20] + 1).max(axis=0), strict=True
            )


@pytest.mark.parametrize("name", KINDS.values(), ids=KINDS)
@pytest.mark.usefixtures("client")
def test_a_crop_of_each_kind_is_the_same_on_the_cluster(kinds, name, monkeypatch):
    region = {"y": (2, 15), "x": (3, 21)}
    with nl.open_dataset(kinds / name) as dataset:
        image = dataset.images[0]
        for level in range(len(image.levels)):
            with monkeypatch.context() as alone:
                alone.setattr(cluster, "cluster_client", lambda: None)
                expected = nl.crop(image, region, level=level, dtype="f4")
            before = nl.status()["cache"]["reads"]
            np.testing.assert_array_equal(
                nl.crop(image, region, level=level, dtype="f4"), expected, strict=True
            )
            assert nl.status()["cache"]["reads"] == before  # not here


@pytest.mark.usefixtures("client")
def test_a_crop_on_the_cluster_leaves_the_reading_to_it():
    source = RecordingSource(PIXELS, CHUNKS)
    seen = []
    out = np.zeros((3, 17, 20), "f8")
    result = nl.crop(
        nl.Image(source),
        np.s_[1:4, :, 2:22],
        out=out,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert result is out
    np.testing.assert_array_equal(out, PIXELS[1:4, :, 2:22])
    assert source.loads == []
    assert seen[-1] == (27, 27)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("name", ["b.ome.zarr", "b.ome.tif", "b.npy"])
def test_an_export_reads_on_the_cluster_and_writes_here(tmp_path, name):
    source = RecordingSource(PIXELS, CHUNKS, axes="zyx")
    with nl.open_dataset(nl.export(nl.Image(source), tmp_path / name)) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, PIXELS, strict=True)
    assert source.loads == []


LARGE = np.random.default_rng(3).integers(0, 65536, (5, 300, 700), "u2")


def levels_of(path):
    group = zarr.open_group(path, mode="r")
    return [group[name][...] for name in sorted(group.array_keys())]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("shards", [None, True], ids=["chunks", "shards"])
def test_levels_of_an_export_are_made_on_the_cluster(tmp_path, shards, monkeypatch):
    image, seen = nl.Image(RecordingSource(LARGE, (1, 128, 700), axes="zyx")), []
    here = levels_of(_without(lambda: nl.export(image, tmp_path / "here.ome.zarr", shards=shards)))
    monkeypatch.setattr(ome_zarr, "reduced", None)  # in this process
    made = nl.export(
        image,
        tmp_path / "there.ome.zarr",
        shards=shards,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(here) == 3
    for level, expected in zip(levels_of(made), here, strict=True):
        np.testing.assert_array_equal(level, expected, strict=True)
    assert seen[-1] == (seen[-1][1], seen[-1][1])


def _without(call):
    """Call where no cluster is connected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "cluster_client", lambda: None)
        return call()


@pytest.mark.usefixtures("client")
def test_levels_are_made_here_where_the_cluster_has_another_disk(tmp_path, monkeypatch):
    image, met = nl.Image(RecordingSource(LARGE, (1, 128, 700), axes="zyx")), []
    reduced = ome_zarr.reduced
    monkeypatch.setattr(
        ome_zarr, "reduced", lambda *args, **keys: met.append(1) or reduced(*args, **keys)
    )
    monkeypatch.setattr(cluster, "sees", lambda _client, _folder: False)
    assert len(levels_of(nl.export(image, tmp_path / "b.ome.zarr"))) == 3
    assert met


def test_a_cluster_sees_what_its_workers_may_write(client, tmp_path):
    assert cluster.sees(client, str(tmp_path))
    assert not cluster.sees(client, str(tmp_path / "elsewhere"))


@pytest.mark.usefixtures("client")
def test_levels_that_fail_or_are_cancelled_there_leave_nothing(tmp_path, monkeypatch):
    image, stop = nl.Image(RecordingSource(LARGE, (1, 128, 700), axes="zyx")), threading.Event()
    write = ome_zarr._Level.write_coarser

    def spoil(level, course):
        os.remove(os.path.join(level.path, str(level.number - 1), "zarr.json"))
        write(level, course)

    def cancel(level, course):
        stop.set()
        write(level, course)

    for change, error in ((spoil, nl.ExportError), (cancel, nl.CancelledError)):
        monkeypatch.setattr(ome_zarr._Level, "write_coarser", change)
        with pytest.raises(error):
            nl.export(image, tmp_path / "b.ome.zarr", cancel=stop)
        assert list(tmp_path.iterdir()) == []


def test_tasks_that_write_are_waited_for(client, tmp_path):
    def write_slowly(path):  # goes to the workers as a whole: they do not have this module
        Path(path).write_text("begun")
        time.sleep(0.3)
        Path(path).write_text("done")

    tasks = [(number, delayed(write_slowly)(str(tmp_path / str(number)))) for number in range(3)]
    running = threading.Event()
    with pytest.raises(nl.CancelledError):
        cluster.compute_each(
            client, iter(tasks), lambda *_: running.set(), cancel=running.is_set, writes=True
        )
    left = sorted(entry.name for entry in tmp_path.iterdir())
    assert len(left) == 3
    assert all((tmp_path / name).read_text() == "done" for name in left)


def test_a_dask_array_of_other_origin_is_computed_there_and_numpy_here(client, monkeypatch):
    lazy = da.from_array(PIXELS, chunks=(2, 8, (10, 4, 9))) * 2
    np.testing.assert_array_equal(nl.crop(lazy, np.s_[1:4, 3:]), PIXELS[1:4, 3:] * 2, strict=True)
    monkeypatch.setattr(
        type(client), "compute", lambda *_args, **_keywords: pytest.fail("sent to the cluster")
    )
    np.testing.assert_array_equal(nl.crop(PIXELS, np.s_[1:4, 3:]), PIXELS[1:4, 3:])


@pytest.mark.usefixtures("client")
def test_a_chunk_that_fails_there_is_the_packages_error_here():
    image = nl.Image(RecordingSource(PIXELS, CHUNKS, failing=[(2, 1, 1)]))
    with pytest.raises(nl.ChunkReadError, match=r"recorded/0/2\.1\.1: fails") as caught:
        nl.crop(image, ())
    assert caught.value.path == "recorded/0/2.1.1"
    blank = nl.crop(nl.Image(image.source, on_error="blank"), np.s_[2:3])
    assert (blank[0, 8:16, 10:14] == 0).all()
    np.testing.assert_array_equal(nl.crop(image, np.s_[:2]), PIXELS[:2])


def test_cancel_takes_back_what_was_submitted(client, monkeypatch):
    monkeypatch.setattr(cluster, "MOST_PIECE", 0)
    submitted, stop = [], threading.Event()
    compute = client.compute
    monkeypatch.setattr(
        client, "compute", lambda array: submitted.append(compute(array)) or submitted[-1]
    )

    def progress(done, _total):
        if done >= 3:
            stop.set()

    with pytest.raises(nl.CancelledError):
        nl.crop(nl.Image(RecordingSource(PIXELS, CHUNKS)), (), progress=progress, cancel=stop)
    assert len(submitted) < 45 / 2
    assert all(future.status in ("finished", "cancelled") for future in submitted)


def test_so_many_pieces_are_under_way_and_no_more(client):
    given_out, most = [], []

    def arrays():
        for number in range(20):
            given_out.append(number)
            most.append(len(given_out) - len(taken))
            yield number, da.full(3, number)

    taken = {}
    cluster.compute_each(
        client, arrays(), lambda number, pixels: taken.update({number: pixels.tolist()})
    )
    assert taken == {number: [number] * 3 for number in range(20)}
    assert max(most) <= 2 * 2


@pytest.mark.usefixtures("client")
def test_a_task_that_hangs_does_not_keep_anybody_from_cancelling():
    lazy = da.zeros(3, chunks=3).map_blocks(
        lambda block: __import__("time").sleep(1) or block, dtype="f8"
    )
    stop = threading.Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    with pytest.raises(nl.CancelledError):
        nl.crop(lazy, (), cancel=stop)
    timer.join()


def test_a_client_that_is_closed_in_the_middle_is_the_packages_error(local_cluster):
    connected = distributed.Client(local_cluster)
    lazy = da.zeros((20, 3), chunks=(1, 3)).map_blocks(
        lambda block: __import__("time").sleep(0.1) or block, dtype="f8"
    )
    with pytest.raises(
        nl.ChunkReadError, match=r"the cluster stopped in the middle .* Connect again"
    ):
        nl.crop(lazy, (), progress=lambda _done, _total: connected.close())


def test_a_crop_within_a_task_waits_for_nobody(client):
    """One thread, which cannot wait for itself."""

    def crops(image):
        import napari_lazyload as nl
        from napari_lazyload.arrays.cluster import cluster_client

        with distributed.worker_client():  # makes this process one with a client
            pass
        return cluster_client() is None, nl.crop(image, ())

    image = nl.Image(RecordingSource(PIXELS, CHUNKS))
    alone, pixels = client.submit(crops, image).result(timeout=30)
    assert alone
    np.testing.assert_array_equal(pixels, PIXELS)


def test_a_closed_client_and_none_at_all_do_not_count(local_cluster):
    assert cluster.cluster_client() is None
    connected = distributed.Client(local_cluster)
    assert cluster.cluster_client() is connected
    connected.close()
    assert cluster.cluster_client() is None


def test_a_client_in_its_own_event_loop_does_not_count(local_cluster):
    async def crops():
        async with distributed.Client(local_cluster.scheduler_address, asynchronous=True):
            return cluster.cluster_client(), nl.crop(
                nl.Image(RecordingSource(PIXELS, CHUNKS)), np.s_[1:2]
            )

    found, pixels = asyncio.run(crops())
    assert found is None
    np.testing.assert_array_equal(pixels, PIXELS[1:2])


def test_distributed_is_never_imported():
    code = (
        "import sys, numpy, napari_lazyload as nl\n"
        "from napari_lazyload.arrays.cluster import cluster_client\n"
        "assert nl.crop(numpy.ones((4, 5)), ()).all() and cluster_client() is None\n"
        "assert 'distributed' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


# --- pieces

AXES = st.one_of(
    st.integers(1, 6),
    st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any).map(tuple),
)


@given(st.lists(AXES, min_size=1, max_size=3), st.integers(0, 200), st.data())
def test_pieces_divide_a_box_along_its_chunks(chunks, most, data):
    shape = [
        data.draw(st.integers(one, 20)) if isinstance(one, int) else sum(one) for one in chunks
    ]
    grid = ChunkGrid(tuple(shape), tuple(chunks))
    box = tuple(
        data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda p: p[0] < p[1]))
        for n in shape
    )
    count = np.zeros(shape, int)
    for piece in cluster.pieces(grid, box, most):
        count[tuple(slice(*pair) for pair in piece)] += 1
        cut = [sum(map(bool, grid.block_sizes(axis, *pair))) > 1 for axis, pair in enumerate(piece)]
        assert grid.touched_pixels(piece) <= most or not any(cut)
        assert all(
            edge
            in (
                *box[axis],
                *(end for block in range(grid.numblocks[axis]) for end in grid.span(axis, block)),
            )
            for axis, pair in enumerate(piece)
            for edge in pair
        )
    inside = np.zeros(shape, int)
    inside[tuple(slice(*pair) for pair in box)] = 1
    np.testing.assert_array_equal(count, inside)
