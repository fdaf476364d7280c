"""What a view takes from memory: only what its files still are; of many files that is looked up once it is shown."""

from __future__ import annotations

import shutil
import threading
import time

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
def replaced():
    """What is called when a frame shows what is no longer in its file."""
    return []


@pytest.fixture
def reader(source, replaced, monkeypatch):
    monkeypatch.setattr(chunk_requests, "COPY_SECONDS", 60)
    made = ChunkRequests(
        source, lambda *_: None, FrameBudget(lambda *_: None), lambda: replaced.append(True)
    )
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
    reader.second_look.revalidate(frames)
    end = time.monotonic() + WAIT
    while reader.second_look.busy:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_plane_of_thick_chunks_is_filled_without_a_look_at_any_file(reader, source, looks):
    frame = filled(reader, source, plane(3))
    assert (frame.complete, looks) == (True, [])
    assert (frame.pixels == 1).all()


def test_a_thread_looks_at_each_file_once_afterwards(reader, source, looks, replaced):
    frame = filled(reader, source, plane(3))
    looked(reader, frame)
    assert len(looks) == len(set(looks)) == 25
    assert not any(main for _, main in looks)
    looked(reader, frame)
    assert (len(looks), frame.stale, replaced) == (25, False, [])


def test_views_of_few_files_look_at_them_each_time(reader, source, looks):
    for number in (3, 4):
        assert filled(reader, source, plane(number, side=16)).complete
    assert len(looks) == 8


@pytest.mark.parametrize("other", [False, True])
def test_what_was_replaced_is_let_go_of_and_said(reader, source, array, replaced, other):
    """Also where somebody else has read the new file meanwhile."""
    frame, whole = filled(reader, source, plane(3)), filled(reader, source, plane(4, side=16))
    array[:, :8, :8] = 7
    if other:
        read_block(source, 0, (0, 0, 0))
    looked(reader, whole, frame)
    assert (frame.stale, whole.stale, replaced) == (True, False, [True])
    again = filled(reader, source, plane(4))
    assert again.missing() == ([] if other else [(0, 0, 0)])


def test_a_file_that_is_gone_is_not_shown_from_memory(reader, source, array, replaced):
    frame = filled(reader, source, plane(3))
    shutil.rmtree(array.store_path.store.root / "c" / "0" / "0")
    looked(reader, frame)
    assert (frame.stale, replaced) == (True, [True])
    assert len(filled(reader, source, plane(3)).missing()) == 5


def test_a_chunk_of_which_nothing_can_be_told_is_not_shown_from_memory(
    reader, source, replaced, monkeypatch
):
    frame = filled(reader, source, plane(3))

    def chunk(_level, index):
        raise ChunkReadError(f"{index}: the disk is away", "")

    monkeypatch.setattr(source, "chunk", chunk)
    looked(reader, frame)
    assert (frame.stale, replaced) == (True, [True])


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_is_passed_is_not_looked_at_to_the_end(reader, source, monkeypatch, goes_on):
    began, gate, seen = threading.Event(), threading.Event(), []

    def stamp(_store, key):
        seen.append(key)
        began.set()
        gate.wait(WAIT)

    frame, after = filled(reader, source, plane(3)), filled(reader, source, plane(4))
    monkeypatch.setattr(LocalStore, "stamp", stamp)
    reader.second_look.revalidate([frame])
    assert began.wait(WAIT)
    if goes_on:
        reader.second_look.revalidate([after])
    else:
        reader.cancel()
    gate.set()
    looked(reader)
    assert len(seen) == (26 if goes_on else 1)


def test_what_stays_in_view_is_looked_at_to_the_end_by_the_next_look(
    reader, source, array, replaced, monkeypatch
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
    reader.second_look.revalidate([stays])
    assert began.wait(WAIT)
    reader.second_look.revalidate([stays, after])
    gate.set()
    looked(reader)
    assert (stays.stale, after.stale, stays.unverified, after.unverified) == (True, True, {}, {})


def test_nothing_is_looked_at_while_the_pool_waits(reader, source, looks):
    frame = filled(reader, source, plane(3))
    scheduler.pause()
    try:
        looked(reader, frame)
        assert looks == []
    finally:
        scheduler.pause(paused=False)
    end = time.monotonic() + WAIT
    while frame.unverified and time.monotonic() < end:
        time.sleep(0.001)
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


def test_what_was_found_to_be_replaced_is_waited_for_though_no_thread_looks_any_more(
    viewer, add, source, array
):
    layer = add(source)
    assert nl.wait(viewer, WAIT)
    display = display_of(layer)
    display._replaced()
    assert display.revalidating
    turn()
    assert not display.revalidating
