"""The states of rows: summed up from those of their chunks."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.core.chunk_states import ChunkState
from napari_lazyload.core.row_map import RowMap
from napari_lazyload.dataset import row_states
from napari_lazyload.loading import cache, status
from napari_lazyload.loading.read_box import read_block
from napari_lazyload.sources.opened import OpenResult
from napari_lazyload.testing.sources import RecordingSource


class Frames(RecordingSource):
    """Its first axes count rows."""

    def __init__(self, levels, chunks, lead, **keywords):
        super().__init__(levels, chunks, **keywords)
        lengths = self.arrays[0].shape[:lead]
        self.row_map = RowMap(dict(zip(self.meta.axes[:lead], lengths, strict=True)))


@pytest.fixture
def open_frames():
    """A function that makes a data set of some sources, a row for each of their frames."""
    made = []

    def open_sources(*sources):
        counts = [source.row_map.count for source in sources]
        starts = np.cumsum([0, *counts]).tolist()
        rows = tuple(range(*pair) for pair in pairwise(starts))
        made.append(nl.Dataset(OpenResult("", "test", sources, rows)))
        return made[-1]

    yield open_sources
    for dataset in made:
        dataset.close()


def test_a_row_of_one_chunk_goes_through_all_states(open_frames):
    gate = threading.Event()
    source = Frames(np.zeros((3, 4, 5), "u1"), (1, 4, 5), 1, gate=gate, failing=[(2, 0, 0)])
    dataset = open_frames(source)
    assert [dataset.row_state(row) for row in range(3)] == ["", "", ""]
    status.shared.queue(source.token, 0, [(1, 0, 0)])
    assert dataset.row_state(1) == "queued"
    thread = threading.Thread(target=read_block, args=(source, 0, (1, 0, 0)))
    thread.start()
    assert source.started.wait(10)
    assert dataset.row_state(1) == "loading"
    gate.set()
    thread.join(10)
    assert dataset.row_state(1) == "loaded"
    cache.shared.drop()
    assert dataset.row_state(1) == "evicted"
    with pytest.raises(nl.ChunkReadError):
        read_block(source, 0, (2, 0, 0))
    assert dataset.row_states([2, 1, 0]) == {2: "failed", 1: "evicted", 0: ""}
    assert dataset.row_states() == {1: "evicted", 2: "failed"}
    dataset.retry(2)
    assert dataset.row_state(2) == ""


def put(source, level, index, state):
    """Bring a chunk into a state by what readers tell."""
    reporter = status.shared.reporter(source.token, level, index)
    key = (source.token, level, index)
    if state == ChunkState.QUEUED:
        status.shared.queue(source.token, level, [index])
    elif state == ChunkState.LOADING:
        reporter.begin()
    elif state == ChunkState.FAILED:
        reporter.fail(OSError("no"))
    else:
        reporter.loaded(key, kept=True)
        if state == ChunkState.EVICTED:
            status.shared.evicted(key)


@pytest.mark.parametrize("looked_up", [True, False])
@pytest.mark.parametrize(
    ("states", "row"),
    [
        (["loaded", "loaded"], "loaded"),
        (["loaded", "evicted"], "evicted"),
        (["evicted", "queued"], "queued"),
        (["queued", "loading"], "loading"),
        (["loading", "failed", "loaded"], "failed"),
    ],
)
def test_of_several_chunks_the_one_that_tells_most_counts(
    open_frames, monkeypatch, looked_up, states, row
):
    if not looked_up:
        monkeypatch.setattr(row_states, "MOST_LOOKED_UP", 0)
    levels = [np.zeros((2, 3, 8, 8), "u1"), np.zeros((2, 3, 4, 4), "u1")]
    source = Frames(levels, (1, 1, 4, 4), 2, axes="tzyx")
    dataset = open_frames(source)
    places = [(0, (1, 2, 0, 1)), (1, (1, 2, 0, 0)), (0, (1, 2, 1, 1))]
    for (level, index), state in zip(places, states, strict=False):
        put(source, level, index, state)
    assert dataset.row_state(5) == row
    assert [dataset.row_state(other) for other in range(5)] == [""] * 5
    assert dataset.row_states() == {5: row}


def test_the_rows_of_a_chunk_of_several_frames_share_its_state(open_frames):
    source = Frames(np.zeros((6, 4, 4), "u1"), (3, 4, 4), 1)
    dataset = open_frames(source)
    read_block(source, 0, (1, 0, 0))
    assert [dataset.row_state(row) for row in range(6)] == [
        "",
        "",
        "",
        "loaded",
        "loaded",
        "loaded",
    ]


def test_an_image_that_is_one_row_is_summed_up_as_a_whole(open_frames):
    first = Frames(np.zeros((8, 8), "u1"), (2, 2), 0)
    second = Frames(np.zeros((8, 8), "u1"), (2, 2), 0)
    dataset = open_frames(first, second)
    read_block(second, 0, (0, 0))
    assert dataset.row_states(range(2)) == {0: "", 1: "loaded"}
    put(second, 0, (3, 3), ChunkState.QUEUED)
    assert dataset.row_states(range(2)) == {0: "", 1: "queued"}


def test_what_is_shown_converted_counts_too(open_frames):
    source = Frames(np.zeros((2, 4, 4), "c8"), (1, 4, 4), 1)
    dataset = open_frames(source)
    with pytest.warns(nl.LazyLoadWarning, match="magnitude"):
        (layer,) = dataset.to_layer_data()
    np.asarray(layer[0][1])
    assert dataset.row_states(range(2)) == {0: "", 1: "loaded"}


def test_looking_at_rows_reads_nothing_and_costs_the_same_for_many_frames(open_frames):
    pixels = np.broadcast_to(np.zeros((), "u1"), (1_000_000, 4, 4))
    source = Frames(pixels, (1, 4, 4), 1)
    dataset = open_frames(source)
    asked = []
    state = status.shared.state
    try:
        status.shared.state = lambda *place: asked.append(place) or state(*place)
        assert set(dataset.row_states(range(999_960, 1_000_000)).values()) == {""}
    finally:
        del status.shared.state
    assert len(asked) == 40
    assert source.loads == []
