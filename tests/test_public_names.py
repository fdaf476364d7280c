"""The names that scripts use: lazy, typed, and is_lazy, configure, status and compute."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import threading
import weakref
from importlib import resources
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest

import napari_lazyload as nl
from napari_lazyload.arrays.image import Image
from napari_lazyload.arrays.lazy_array import level_array
from napari_lazyload.core import settings
from napari_lazyload.core.metadata import ImageMeta
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.loading.jobs import Tier
from napari_lazyload.sequences.sequence import LazyImage
from napari_lazyload.testing.sources import RecordingSource

PIXELS = np.arange(5 * 17 * 23, dtype="u2").reshape(5, 17, 23)
CHUNKS = (1, 8, (10, 4, 9))


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.current())
    monkeypatch.setattr(settings, "_chosen", dict(settings._chosen))
    cache.shared.drop()
    yield
    cache.shared.drop()
    status.shared._reset()


@pytest.fixture
def source():
    return RecordingSource(PIXELS, CHUNKS)


@pytest.fixture
def image(source):
    return Image(source)


# --- names


def stub_names():
    """Each public name and the module that the stub says it comes from."""
    tree = ast.parse((resources.files("napari_lazyload") / "__init__.pyi").read_text())
    return {
        alias.asname or alias.name: f"napari_lazyload.{node.module}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_stub_says_what_is_there():
    names = stub_names()
    assert sorted(nl.__all__) == sorted(names)
    assert set(names) <= set(dir(nl))
    tree = ast.parse((resources.files("napari_lazyload") / "__init__.pyi").read_text())
    (listed,) = (ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    assert listed == sorted(names)


@pytest.mark.parametrize(("name", "module"), stub_names().items(), ids=stub_names())
def test_a_name_is_the_one_of_its_module_and_documented(name, module):
    found = getattr(nl, name)
    assert found is getattr(importlib.import_module(module), name)
    assert found.__doc__
    assert found.__module__ == module


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="open_everything"):
        nl.open_everything  # noqa: B018


LOADS = """
import sys
import napari_lazyload as nl
assert not {heavy} & set(sys.modules), "import"
assert "napari_lazyload.dataset.dataset" not in sys.modules
dir(nl)
assert not {heavy} & set(sys.modules), "dir"
nl.import_status(), nl.RegionError, nl.ChunkReadError
assert not {heavy} & set(sys.modules), sorted({heavy} & set(sys.modules))
from napari_lazyload import open_dataset, is_lazy, crop
assert not {gui} & set(sys.modules), sorted({gui} & set(sys.modules))
assert nl.open_dataset is open_dataset
"""
HEAVY = {"numpy", "dask", "zarr", "pandas", "napari", "qtpy", "skimage"}
GUI = {"napari", "qtpy", "magicgui", "superqt", "skimage", "zarr"}


def test_names_load_on_first_use_and_none_of_them_napari():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADS.format(heavy=HEAVY, gui=GUI)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_names_load_once_from_many_threads():
    code = (
        "import threading, napari_lazyload as nl\n"
        "gate, found = threading.Barrier(8), []\n"
        "def work():\n"
        "    gate.wait(); found.append((nl.open_dataset, nl.ImageSequence, nl.crop))\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "assert len(set(found)) == 1 and len(found) == 8, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


# --- is_lazy


def layer(data, multiscale=False):
    """What a napari layer of images has in common with this."""
    return SimpleNamespace(data=data, multiscale=multiscale, axis_labels=("y", "x"))


def reads_all():
    pytest.fail("was read")


class Reader:
    """An object of another library whose data are all read when looked at."""

    @property
    def data(self):
        reads_all()


LAZY = {
    "dask": lambda source: da.zeros(4),
    "image": Image,
    "level": level_array,
    "sliced level": lambda source: level_array(source)[1],
    "lazy image": lambda source: LazyImage(reads_all),
    "layer": lambda source: layer(level_array(source)),
    "layer of plain dask": lambda source: layer(da.zeros(4)),
    "multiscale layer": lambda source: layer([level_array(source)], multiscale=True),
    "multiscale layer, coarse in memory": lambda source: layer(
        [da.zeros(8), np.zeros(4)], multiscale=True
    ),
}
NOT_LAZY = {
    "numpy": lambda source: PIXELS,
    "scalar": lambda source: PIXELS[0, 0, 0],
    "layer of numpy": lambda source: layer(PIXELS),
    "multiscale layer of numpy": lambda source: layer([PIXELS, PIXELS[::2]], multiscale=True),
    "other layer": lambda source: SimpleNamespace(data=PIXELS),
    "list": lambda source: [da.zeros(4)],
    "none": lambda source: None,
    "number": lambda source: 3,
    "text": lambda source: "img.png",
    "bytes": lambda source: memoryview(b"abc"),
    "foreign reader": lambda source: Reader(),
    "type": lambda source: Image,
}


@pytest.mark.parametrize("make", LAZY.values(), ids=LAZY)
def test_is_lazy(source, make):
    assert nl.is_lazy(make(source)) is True
    assert not source.loads


@pytest.mark.parametrize("make", NOT_LAZY.values(), ids=NOT_LAZY)
def test_is_not_lazy(source, make):
    assert nl.is_lazy(make(source)) is False


def test_napari_layers(source):
    layers = pytest.importorskip("napari.layers")
    level = level_array(source)
    assert nl.is_lazy(layers.Image(level, contrast_limits=(0, 1), cache=False))
    assert not nl.is_lazy(layers.Image(PIXELS, contrast_limits=(0, 1)))
    assert not nl.is_lazy(layers.Points(np.zeros((3, 2))))
    assert not nl.is_lazy(layers.Shapes())


# --- configure


def test_configure_changes_and_tells():
    before = nl.configure()
    assert set(before) == {
        "cache_budget",
        "workers",
        "header_seconds",
        "look_ahead",
        "remote_workers",
        "coarse_first",
    }
    after = nl.configure(cache_budget=10_000_000, workers=3)
    assert after == {**before, "cache_budget": 10_000_000, "workers": 3}
    assert nl.configure() == after
    json.dumps(after)


def test_a_smaller_budget_is_kept_at_once(image):
    nl.configure(cache_budget=1 << 20)
    np.asarray(image.data)
    assert nl.status()["cache"]["nbytes"] == PIXELS.nbytes
    nl.configure(cache_budget=200)
    assert 0 < nl.status()["cache"]["nbytes"] <= 200
    np.testing.assert_array_equal(image.data, PIXELS)
    nl.configure(cache_budget=0)
    assert nl.status()["cache"]["nbytes"] == 0
    np.testing.assert_array_equal(image.data, PIXELS)


def test_configure_refuses():
    before = nl.configure()
    with pytest.raises(TypeError, match="'cache' is not a setting; there are: cache_budget"):
        nl.configure(cache=3)
    for value in (0, -1, 2.5, "2", True, float("nan")):
        with pytest.raises(ValueError, match="workers must be a whole number of at least 1, got"):
            nl.configure(workers=value)
    assert nl.configure() == before


# --- status


def test_status_is_json_and_counts(tmp_path, write_folder):
    expected = write_folder(tmp_path / "folder", 3)
    (tmp_path / "folder" / "img_1.png").write_bytes(b"no picture")
    with nl.open_dataset(tmp_path / "folder") as dataset:
        before = nl.status()
        assert json.loads(json.dumps(before)) == before
        assert set(before) == {"datasets", "queue", "cache", "errors", "imports"}
        (entry,) = (one for one in before["datasets"] if one["path"] == dataset.path)
        assert set(entry) == {"path", "kind", "images", "problems"}
        np.testing.assert_array_equal(dataset.images[0].data[0], expected[0])
        np.testing.assert_array_equal(dataset.images[0].data[0], expected[0])
        after = nl.status()
        assert after["cache"]["reads"] == before["cache"]["reads"] + 1
        assert after["cache"]["hits"] == before["cache"]["hits"] + 1
        status.shared.fail(dataset.images[0].source.token, 0, (1, 0, 0), "no picture")
        assert nl.status()["errors"] == before["errors"] + 1
    assert dataset.path not in [one["path"] for one in nl.status()["datasets"]]
    assert nl.status()["errors"] == before["errors"]


def test_status_may_be_asked_while_another_thread_opens(tmp_path, write_folder, monkeypatch):
    write_folder(tmp_path / "folder", 2)
    meanwhile = []

    class Busy(weakref.WeakSet):
        def __iter__(self):
            for one in super().__iter__():
                while len(meanwhile) < 3:  # so many data sets are opened once the walk has begun
                    meanwhile.append(nl.open_dataset(tmp_path / "folder"))
                yield one

    with nl.open_dataset(tmp_path / "folder") as dataset:
        monkeypatch.setattr("napari_lazyload.dataset.dataset._open", Busy([dataset]))
        assert [one["path"] for one in nl.status()["datasets"]] == [dataset.path] * 4
        for one in meanwhile:
            one.close()
        assert len(nl.status()["datasets"]) == 1


def test_status_tells_of_what_waits():
    let, began = threading.Event(), threading.Event()
    nl.configure(workers=1)
    job = scheduler.shared.submit(lambda _job: [began.set(), let.wait(20)], owner="test")
    try:
        assert began.wait(20)
        scheduler.shared.submit(lambda _job: None, tier=Tier.PREFETCH, owner="test")
        queue = nl.status()["queue"]
        assert (queue["running"], queue["queued_prefetch"], queue["queued_visible"]) == (1, 1, 0)
    finally:
        let.set()
        assert job.done.wait(20)


# --- compute


def test_compute_turns_lazy_values_into_arrays_and_keeps_the_rest(source, image):
    label = np.ones(3)
    sample = {
        "image": image,
        "part": image.data[1:3, 4],
        "sum": image.data.sum(),
        "one": LazyImage(lambda: PIXELS[0]),
        "layer": layer([level_array(source), PIXELS], multiscale=True),
        "label": label,
        "name": "a.png",
        3: None,
    }
    found = nl.compute(sample)
    assert list(found) == list(sample)
    for key, expected in {
        "image": PIXELS,
        "part": PIXELS[1:3, 4],
        "sum": PIXELS.sum(),
        "one": PIXELS[0],
        "layer": PIXELS,
    }.items():
        assert type(found[key]) is np.ndarray
        assert found[key].flags.writeable
        np.testing.assert_array_equal(found[key], expected)
    assert found["label"] is label
    assert (found["name"], found[3]) == ("a.png", None)
    assert sample["image"] is image
    assert len(source.loads) == len(set(source.loads))


def test_compute_of_some_keys_and_a_dtype(source, image):
    sample = {"image": image, "mask": image.data > 5, "label": np.ones(3)}
    found = nl.compute(sample, keys=["mask", "label"], dtype="f4")
    assert found["image"] is image
    assert (found["mask"].dtype, found["label"].dtype) == (np.dtype("f4"), np.dtype("f8"))
    found = nl.compute(sample, keys="image", dtype=np.float64)
    np.testing.assert_array_equal(found["image"], PIXELS.astype("f8"))
    assert found["mask"] is sample["mask"]
    assert nl.compute({}) == {}


def test_compute_of_keys_that_are_not_there(image):
    with pytest.raises(KeyError, match="'nope' not in the mapping; it has 'image'"):
        nl.compute({"image": image}, keys=["image", "nope"])
    found = nl.compute({"image": image}, keys=["image", "nope"], allow_missing=True)
    assert set(found) == {"image"}
    np.testing.assert_array_equal(found["image"], PIXELS)


def test_compute_of_a_chunk_that_cannot_be_read(source, image):
    source.failing = {(3, 1, 1)}
    with pytest.raises(nl.ChunkReadError, match=r"recorded/0/3\.1\.1: fails"):
        nl.compute({"image": image})
    with pytest.raises(OSError, match="fails"):
        nl.compute({"image": image.data[3]})
    blank = nl.compute({"image": Image(source, on_error="blank")})["image"]
    assert (blank[3, 8:16, 10:14] == 0).all()


def test_crop_first_and_compute_last_reads_what_is_left(source, image):
    """As dictionary crops of training libraries do: one slice for each axis after the channel."""
    sample = {"image": image.data, "label": 1}
    for slices in ((slice(2, 17), slice(0, 20)), (slice(0, 4), slice(11, 14))):
        lazy = sample["image"]
        assert len(lazy.shape[1:]) == len(slices)
        sample = {**sample, "image": lazy[(slice(None), *slices)]}
        assert nl.is_lazy(sample["image"])
    assert not source.loads
    found = nl.compute(sample, dtype="f4")
    np.testing.assert_array_equal(found["image"], PIXELS[:, 2:6, 11:14].astype("f4"))
    assert sorted(source.loads) == [(0, (frame, 0, 1)) for frame in range(5)]


def test_errors_and_types_are_exported_once():
    assert ImageMeta.__module__ == "napari_lazyload.core.metadata"
    for name in nl.__all__:
        found = getattr(nl, name)
        if isinstance(found, type) and issubclass(found, Exception) and name != "LazyLoadWarning":
            assert issubclass(found, nl.LazyLoadError)
