"""What a view takes from memory: only what its file still is, looked at once in a while where there are many files."""

from __future__ import annotations

import pytest
import zarr

import napari_lazyload as nl
from napari_lazyload.layers import reading
from napari_lazyload.layers.frames import Frame
from napari_lazyload.layers.patience import Patience
from napari_lazyload.layers.reading import Reading
from napari_lazyload.loading.box import read_box
from napari_lazyload.sources.zarr_store import LocalStore

SIDE = 40


@pytest.fixture
def array(tmp_path):
    """Chunks of eight planes, 25 side by side."""
    return zarr.create_array(
        tmp_path / "thick.zarr", shape=(8, SIDE, SIDE), chunks=(8, 8, 8), dtype="u2", compressors=None
    )


@pytest.fixture
def looks(monkeypatch):
    """Record at which files was looked."""
    seen, original = [], LocalStore.stamp
    monkeypatch.setattr(LocalStore, "stamp", lambda store, key: (seen.append(key), original(store, key))[1])
    return seen


@pytest.fixture
def source(array, looks):
    array[...] = 1
    with nl.open_dataset(str(array.store_path.store.root)) as dataset:
        source = dataset.images[0].source
        read_box(source, 0, source.meta.levels[0].grid.full_box)
        looks.clear()
        yield source


def plane(number, side=SIDE):
    return ((number, number + 1), (0, side), (0, side))


def filled(reader, source, box):
    frame = Frame(source, 0, box)
    reader.fill(frame)
    return frame


@pytest.fixture
def reader(source, monkeypatch):
    monkeypatch.setattr(reading, "COPY_SECONDS", 60)
    return Reading(source, lambda *_: None, Patience(lambda *_: None))


def test_the_next_plane_of_thick_chunks_looks_at_no_file(reader, source, looks):
    assert filled(reader, source, plane(3)).complete
    assert len(looks) == 25
    frame = filled(reader, source, plane(4))
    assert (frame.complete, len(looks)) == (True, 25)
    assert (frame.pixels == 1).all()


def test_views_of_few_files_look_at_them_each_time(reader, source, looks):
    for number in (3, 4):
        assert filled(reader, source, plane(number, side=16)).complete
    assert len(looks) == 8


def test_files_that_were_replaced_are_not_shown_after_the_next_look(reader, source, array, monkeypatch):
    assert filled(reader, source, plane(3)).complete
    array[:, :8, :8] = 7
    monkeypatch.setattr(reading, "LOOK_SECONDS", 0)
    assert filled(reader, source, plane(4)).missing() == [(0, 0, 0)]
    monkeypatch.setattr(reading, "LOOK_SECONDS", 60)  # and not a moment later either
    assert filled(reader, source, plane(5)).missing() == [(0, 0, 0)]


def test_chunks_that_memory_has_let_go_of_are_missing(reader, source):
    assert filled(reader, source, plane(3)).complete
    nl.configure(cache_budget=1)
    assert len(filled(reader, source, plane(4)).missing()) == 25
