"""What a view takes from memory is still in its files: of many, looked up once it is shown."""

from __future__ import annotations

import shutil
import threading
import time

import numpy as np
import pytest
import zarr

import napari_lazyload as nl
from helpers.displays import WAIT, display_of, shown, turn, until
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.layers.display import chunk_requests
from napari_lazyload.layers.display.chunk_requests import ChunkRequests
from napari_lazyload.layers.display.frame import Frame
from napari_lazyload.layers.display.time_budget import FrameBudget
from napari_lazyload.loading import scheduler
from napari_lazyload.loading.read_box import read_block, read_box
from napari_lazyload.sources.zarr.store import LocalStore

SIDE = 40


@pytest.fixture
def array(tmp_path):
    """Chunks of eight planes, 25 side by side."""
    return zarr.create_array(
        tmp_path / "thick.zarr",
        shape=(8, SIDE, SIDE),
        chunks=(8, 8, 8),
        dtype="u2",
        compressors=None,
    )


@pytest.fixture
def looks(monkeypatch):
    """Record at which files was looked, and in which thread."""
    seen, original = [], LocalStore.stamp

    def stamp(store, key):
        seen.append((key, threading.current_thread() is threading.main_thread()))
        return original(store, key)

    monkeypatch.setattr(LocalStore, "stamp", stamp)
    return seen


@pytest.fixture
def dataset(array):
    array[...] = 1
    with nl.open_dataset(str(array.store_path.store.root)) as opened:
        yield opened


@pytest.fixture
def source(dataset, looks):
    source = dataset.images[0].source
    read_box(source, 0, source.meta.levels[0].grid.full_box)
    looks.clear()
    return source


@pytest.fixture
def read():
    """Which chunks were read because their file was replaced, and how: pixels or an error."""
    return {}


@pytest.fixture
def reader(source, read, monkeypatch):
    monkeypatch.setattr(chunk_requests, "COPY_SECONDS", 60)

    def on_chunk(_level, index, pixels, error):
        read[index] = error if pixels is None else pixels

    made = ChunkRequests(source, on_chunk, FrameBudget(lambda *_: None))
    yield made
    made.cancel()


def plane(number, side=SIDE):
    return ((number, number + 1), (0, side), (0, side))


def filled(reader, source, box):
    frame = Frame(source, 0, box)
    reader.fill(frame)
    return frame


def looked(reader, *frames):
    """Have a thread look at the files of some frames, and wait until it has."""
    reader.revalidator.revalidate(frames)
    until_so(lambda: not reader.revalidator.busy)


def until_so(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_plane_of_thick_chunks_is_filled_without_a_look_at_any_file(reader, source, looks):
    frame = filled(reader, source, plane(3))
    assert (frame.complete, looks) == (True, [])
    assert (frame.pixels == 1).all()


def test_a_thread_looks_at_each_file_once_afterwards(reader, source, looks, read):
    frame = filled(reader, source, plane(3))
    looked(reader, frame)
    assert len(looks) == len(set(looks)) == 25
    assert not any(main for _, main in looks)
    looked(reader, frame)
    assert (len(looks), frame.complete, read) == (25, True, {})


def test_views_of_few_files_look_at_them_each_time(reader, source, looks):
    for number in (3, 4):
        assert filled(reader, source, plane(number, side=16)).complete
    assert len(looks) == 8


@pytest.mark.parametrize("other", [False, True])
def test_what_was_replaced_is_missing_and_read(reader, source, array, read, other):
    """Also where somebody else has read the new file meanwhile."""
    frame, whole = filled(reader, source, plane(3)), filled(reader, source, plane(4, side=16))
    array[:, :8, :8] = 7
    if other:
        read_block(source, 0, (0, 0, 0))
    looked(reader, whole, frame)
    assert (frame.missing(), whole.missing()) == ([(0, 0, 0)], [])
    assert not frame.done.is_set()
    until_so(lambda: read)
    assert (list(read), (read[0, 0, 0] == 7).all()) == ([(0, 0, 0)], True)
    assert frame.take((0, 0, 0), read[0, 0, 0], None)
    assert frame.done.is_set()
    assert (frame.pixels[0, :8, :8] == 7).all()
    again = filled(reader, source, plane(4))
    assert (again.missing(), (again.pixels[0, :8, :8] == 7).all()) == ([], True)


def test_a_file_that_is_gone_is_not_shown_from_memory(reader, source, array, read):
    """The chunks of a store that are not there are blank."""
    frame = filled(reader, source, plane(3))
    shutil.rmtree(array.store_path.store.root / "c" / "0" / "0")
    looked(reader, frame)
    assert frame.missing() == [(0, 0, column) for column in range(5)]
    until_so(lambda: len(read) == 5)
    assert not any(pixels.any() for pixels in read.values())


def test_a_chunk_of_which_nothing_can_be_told_is_not_shown_from_memory(
    reader, source, read, monkeypatch
):
    frame = filled(reader, source, plane(3))

    def chunk(_level, index):
        raise ChunkReadError(f"{index}: the disk is away", "")

    monkeypatch.setattr(source, "chunk", chunk)
    looked(reader, frame)
    assert len(frame.missing()) == 25
    until_so(lambda: len(read) == 25)
    assert all("the disk is away" in str(error) for error in read.values())


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_is_passed_is_not_looked_at_to_the_end(reader, source, monkeypatch, goes_on):
    began, gate, seen = threading.Event(), threading.Event(), []
    original = LocalStore.stamp

    def stamp(store, key):
        seen.append(key)
        began.set()
        gate.wait(WAIT)
        return original(store, key)

    frame, after = filled(reader, source, plane(3)), filled(reader, source, plane(4))
    monkeypatch.setattr(LocalStore, "stamp", stamp)
    reader.revalidator.revalidate([frame])
    assert began.wait(WAIT)
    if goes_on:
        reader.revalidator.revalidate([after])
    else:
        reader.cancel()
    gate.set()
    looked(reader)
    assert len(seen) == (26 if goes_on else 1)


def test_what_stays_in_view_is_looked_at_to_the_end_by_the_next_look(
    reader, source, array, monkeypatch
):
    """As a coarse picture does from one view to the next."""
    began, gate, original = threading.Event(), threading.Event(), LocalStore.stamp

    def stamp(store, key):
        began.set()
        gate.wait(WAIT)
        return original(store, key)

    stays, after = filled(reader, source, plane(3)), filled(reader, source, plane(4))
    array[:, -8:, -8:] = 7
    monkeypatch.setattr(LocalStore, "stamp", stamp)
    reader.revalidator.revalidate([stays])
    assert began.wait(WAIT)
    reader.revalidator.revalidate([stays, after])
    gate.set()
    looked(reader)
    assert stays.missing() == after.missing() == [(0, 4, 4)]
    assert (stays.unverified, after.unverified) == ({}, {})


def test_nothing_is_looked_at_while_the_pool_waits(reader, source, looks):
    frame = filled(reader, source, plane(3))
    scheduler.pause()
    try:
        looked(reader, frame)
        assert looks == []
    finally:
        scheduler.pause(paused=False)
    until_so(lambda: not frame.unverified)
    assert len(looks) == 25


def test_chunks_that_memory_has_let_go_of_are_missing(reader, source):
    assert filled(reader, source, plane(3)).complete
    nl.configure(cache_budget=1)
    assert len(filled(reader, source, plane(4)).missing()) == 25


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_a_view_of_many_chunks_shows_the_new_pixels_of_a_replaced_file(
    viewer, add, source, array, looks, ndisplay
):
    """Before `nl.wait` returns; the window's thread looks at no file."""
    nl.configure(look_ahead=0)
    layer = add(source)
    viewer.dims.set_current_step(0, 3)
    assert nl.wait(viewer, WAIT)
    array[:, 8:16, 8:16] = 7
    looks.clear()
    viewer.dims.set_current_step(0, 4)
    viewer.dims.ndisplay = ndisplay
    assert not display_of(layer).settled or display_of(layer).revalidating
    assert nl.wait(viewer, WAIT)
    pixels = shown(layer)
    assert (pixels[..., 8:16, 8:16] == 7).all()
    assert pixels.sum() == pixels.size + 6 * 64 * (pixels.size // SIDE**2)
    assert looks
    assert not any(main for _, main in looks)


def test_a_volume_is_shown_anew_where_a_file_was_replaced_after_it_was_filled(
    viewer, add, source, array, monkeypatch
):
    gate, original = threading.Event(), LocalStore.stamp
    layer = add(source)
    assert nl.wait(viewer, WAIT)
    monkeypatch.setattr(
        LocalStore, "stamp", lambda store, key: (gate.wait(WAIT), original(store, key))[1]
    )
    viewer.dims.ndisplay = 3
    until(lambda: shown(layer).shape == (8, SIDE, SIDE))
    array[...] = 9
    turn()
    assert not nl.wait(viewer, 0.05)
    assert (shown(layer) == 1).all()
    gate.set()
    assert nl.wait(viewer, WAIT)
    assert (shown(layer) == 9).all()


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_what_was_found_to_be_replaced_is_waited_for_and_read_at_the_next_view(
    viewer, add, source, ndisplay
):
    """Also where the read that follows was cancelled, as for a layer that is hidden."""
    layer = add(source)
    viewer.dims.ndisplay = ndisplay
    assert nl.wait(viewer, WAIT)
    display = display_of(layer)
    display._view.frame.mark_missing((0, 0, 0))
    assert not nl.wait(viewer, 0.05)
    layer.refresh()
    assert nl.wait(viewer, WAIT)
    assert display._view.frame.complete


def test_a_view_is_not_settled_before_what_came_in_is_drawn(viewer, add, source):
    layer = add(source)
    assert nl.wait(viewer, WAIT)
    display = display_of(layer)
    display._view.frame.mark_missing((0, 0, 0))
    display._delivered(0, (0, 0, 0), np.full((8, 8, 8), 5, "u2"), None)
    assert not display.settled
    assert nl.wait(viewer, WAIT)
    assert (shown(layer)[:8, :8] == 5).all()
