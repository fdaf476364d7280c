"""Exports that fail or are cancelled: the target is as it was, and nothing is left beside it."""

from __future__ import annotations

import errno
import os
import shutil
import threading

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

import napari_lazyload as nl
from napari_lazyload.arrays.image import Image
from napari_lazyload.exporting import atomic_write
from napari_lazyload.testing.sources import RecordingSource

NAMES = {"ome-zarr": "out.ome.zarr", "ome-tiff": "out.ome.tif", "npy": "out.npy"}
PIXELS = np.arange(6 * 600 * 530, dtype="u2").reshape(6, 600, 530)
kinds = pytest.mark.parametrize("kind", NAMES)


@pytest.fixture
def source():
    return RecordingSource(PIXELS, (2, 200, 200), axes="zyx")


@pytest.fixture
def image(source):
    return Image(source)


@pytest.fixture
def folder(tmp_path):
    """Where exports go: a folder of their own."""
    made = tmp_path / "out"
    made.mkdir()
    return made


def names(folder):
    return sorted(os.listdir(folder))


def old_target(folder, kind):
    """Something that was written before."""
    return nl.export(np.full((20, 30), 7, "u1"), folder / NAMES[kind])


def is_old(path):
    if path.suffix == ".zarr":
        return (zarr.open_group(path, mode="r")["0"][...] == 7).all()
    return ((np.load if path.suffix == ".npy" else tifffile.imread)(path) == 7).all()


# --- names and places

SUFFIXES = {
    "a.zarr": "zarr",
    "a.ome.zarr": "zarr",
    "a.OME.ZARR": "zarr",
    "a.tif": "tiff",
    "a.TIFF": "tiff",
    "a.ome.tiff": "tiff",
    "a.npy": "npy",
}


@pytest.mark.parametrize(("name", "kind"), SUFFIXES.items())
def test_the_suffix_says_what_is_written(folder, name, kind):
    path = nl.export(np.zeros((20, 30), "u1"), str(folder / name))
    if kind == "zarr":
        assert (path / "zarr.json").exists()
    else:
        start = path.read_bytes()[:6]
        assert start == b"\x93NUMPY" if kind == "npy" else start[:2] == b"II"


def test_another_suffix_needs_a_format(folder, image, source):
    for name in ("out.png", "out", ".zarr"):
        with pytest.raises(nl.ExportError, match=r"\.ome\.zarr.*\.ome\.tif.*\.npy"):
            nl.export(image, folder / name)
    with pytest.raises(ValueError, match="'ome-zarr', 'ome-tiff', 'npy'"):
        nl.export(image, folder / "out.npy", format="zip")
    assert source.loads == []
    assert nl.export(image, folder / "out.bin", format="npy").read_bytes().startswith(b"\x93NUMPY")


@kinds
def test_an_existing_target_is_refused_before_anything_is_read(folder, image, source, kind):
    path = old_target(folder, kind)
    with pytest.raises(nl.ExportError, match=r"exists already.*overwrite=True") as caught:
        nl.export(image, path)
    assert caught.value.path == str(path)
    assert isinstance(caught.value, OSError)
    assert source.loads == []
    assert is_old(path)


@kinds
def test_overwrite_replaces_it_when_the_new_one_is_complete(folder, kind):
    path = old_target(folder, kind)
    gate = threading.Event()
    source = RecordingSource(PIXELS, (2, 200, 200), axes="zyx", gate=gate)
    thread = threading.Thread(
        target=nl.export, args=(Image(source), path), kwargs={"overwrite": True}
    )
    thread.start()
    assert source.started.wait(10)
    assert is_old(path)
    gate.set()
    thread.join(30)
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, PIXELS)
    assert names(folder) == [NAMES[kind]]


def test_a_folder_that_is_no_store_is_never_replaced(folder, image):
    for name in NAMES.values():
        (folder / name).mkdir()
        (folder / name / "thesis.txt").write_text("years of work")
        with pytest.raises(nl.ExportError, match="is a folder that is no Zarr store"):
            nl.export(image, folder / name, overwrite=True)
        assert names(folder / name) == ["thesis.txt"]


def test_an_empty_folder_and_a_file_give_way_to_a_store(folder, image):
    (folder / "a.zarr").mkdir()
    (folder / "b.zarr").write_text("")
    for name in ("a.zarr", "b.zarr"):
        assert (nl.export(image, folder / name, overwrite=True) / "zarr.json").exists()


@kinds
def test_a_missing_folder_is_told(folder, image, source, kind):
    with pytest.raises(nl.ExportError, match=r"the folder .*nowhere does not exist"):
        nl.export(image, folder / "nowhere" / NAMES[kind])
    (folder / "file").write_text("")
    with pytest.raises(nl.ExportError, match="is a file"):
        nl.export(image, folder / "file" / NAMES[kind])
    assert source.loads == []


@kinds
def test_a_place_where_nothing_may_be_written_is_told(folder, image, source, kind, monkeypatch):
    def refuse(path, *_args, **_keywords):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(nl.ExportError, match="not allowed to write there"):
        nl.export(image, folder / NAMES[kind])
    assert source.loads == []
    assert names(folder) == []


def test_types_that_a_format_lacks_are_told(folder):
    refused = {
        "out.tif": ("?", "f2", "i8", "u8", "c8", "c16"),
        "out.zarr": (np.longdouble, "M8[s]", "U3", object),
        "out.npy": ("M8[s]", "U3", object, [("a", "u1")]),
    }
    for name, dtypes in refused.items():
        for dtype in dtypes:
            with pytest.raises(nl.ExportError, match="type"):
                nl.export(np.zeros((20, 30), dtype), folder / name)
    assert names(folder) == []
    nl.export(np.zeros((20, 30), "?"), folder / "out.tif", dtype="uint8")


# --- the source itself


def test_what_is_read_is_never_written_over(folder):
    array = PIXELS[:2]
    for name in NAMES.values():
        path = nl.export(array, folder / name)
        with nl.open_dataset(path) as dataset:
            for target in (
                path,
                *([path / "part.ome.zarr", path / "0" / "part.npy"] if path.is_dir() else []),
            ):
                with pytest.raises(nl.ExportError, match="is part of what is read"):
                    nl.export(dataset.images[0], target, overwrite=True)
            np.testing.assert_array_equal(dataset.images[0].data, array)
    link = folder / "link.zarr"
    link.symlink_to(folder / NAMES["ome-zarr"])
    with (
        nl.open_dataset(link) as dataset,
        pytest.raises(nl.ExportError, match="is part of what is read"),
    ):
        nl.export(dataset.images[0], folder / NAMES["ome-zarr"], overwrite=True)
    with pytest.raises(nl.ExportError, match="is part of what is read"):
        nl.export(np.load(folder / "out.npy", mmap_mode="r"), folder / "out.npy", overwrite=True)
    with pytest.raises(nl.ExportError, match="is part of what is read"):
        nl.export(
            zarr.open_group(folder / NAMES["ome-zarr"], mode="r")["0"],
            folder / NAMES["ome-zarr"],
            overwrite=True,
        )


def test_a_folder_of_pictures_takes_an_export_but_keeps_its_pictures(tmp_path, write_folder):
    stack = write_folder(tmp_path / "pictures", 3)
    with nl.open_dataset(tmp_path / "pictures") as dataset:
        path = nl.export(dataset.images[0], tmp_path / "pictures" / "all.npy")
        np.testing.assert_array_equal(np.load(path), stack)
        png = tmp_path / "pictures" / "img_1.png"
        with pytest.raises(nl.ExportError, match="is part of what is read"):
            nl.export(dataset.images[0], png, format="npy", overwrite=True)


# --- failures


@kinds
@pytest.mark.parametrize("old", [False, True], ids=["new", "overwrite"])
def test_a_source_that_fails_in_the_middle_leaves_nothing(folder, image, source, kind, old):
    if old:
        old_target(folder, kind)
    source.failing.add((2, 1, 1))
    with pytest.raises(nl.ChunkReadError, match=r"2\.1\.1"):
        nl.export(image, folder / NAMES[kind], overwrite=old)
    assert names(folder) == [NAMES[kind]] * old
    assert not old or is_old(folder / NAMES[kind])
    source.failing.clear()
    path = nl.export(image, folder / NAMES[kind], overwrite=old)
    with nl.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.images[0].data, PIXELS)


def test_blanks_are_written_where_the_image_was_opened_so(folder, source):
    source.failing.add((2, 1, 1))
    path = nl.export(Image(source, on_error="blank"), folder / "out.npy")
    expected = PIXELS.copy()
    expected[4:6, 200:400, 200:400] = 0
    np.testing.assert_array_equal(np.load(path), expected)


@kinds
def test_a_full_disk_is_told_and_the_target_stays(folder, image, kind, monkeypatch):
    old_target(folder, kind)

    def full(*_args, **_keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if kind == "ome-zarr":
        from zarr.storage import LocalStore

        real = LocalStore.set

        async def store_set(self, key, *args, **keywords):
            return full() if "/c/" in key else await real(self, key, *args, **keywords)

        monkeypatch.setattr(LocalStore, "set", store_set)
    elif kind == "ome-tiff":
        monkeypatch.setattr(tifffile.FileHandle, "write", full)
    else:
        from napari_lazyload.exporting import npy

        monkeypatch.setattr(npy, "_put", full)
    with pytest.raises(nl.ExportError, match="not enough space"):
        nl.export(image, folder / NAMES[kind], overwrite=True)
    assert names(folder) == [NAMES[kind]]
    assert is_old(folder / NAMES[kind])


def test_an_array_that_cannot_fit_the_disk_is_refused_before_anything_is_read(
    folder, image, source, monkeypatch
):
    free = shutil.disk_usage(folder)._replace(free=PIXELS.nbytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    with pytest.raises(nl.ExportError, match=r"it needs 3\.6 MiB, 3\.6 MiB are free"):
        nl.export(image, folder / "out.npy")
    assert source.loads == []


def test_a_target_that_cannot_be_moved_brings_the_old_one_back(folder, image, monkeypatch):
    path = old_target(folder, "ome-zarr")
    real = os.replace

    def replace(source, target):
        if (
            ".partial-" in str(source)
            and "replaced" not in str(source)
            and str(target) == str(path)
        ):
            raise OSError(errno.EBUSY, "busy")
        real(source, target)

    monkeypatch.setattr(atomic_write.os, "replace", replace)
    monkeypatch.setattr(atomic_write, "_exchange", lambda *_: False)
    with pytest.raises(nl.ExportError, match=r"cannot be written \(OSError.*busy"):
        nl.export(image, path, overwrite=True)
    assert is_old(path)
    assert names(folder) == [NAMES["ome-zarr"]]


@kinds
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_interruptions_leave_nothing(folder, image, kind, error):
    def progress(done, total):
        if done > total // 2:
            raise error

    with pytest.raises(error):
        nl.export(image, folder / NAMES[kind], progress=progress)
    assert names(folder) == []


def test_errors_of_the_progress_and_of_foreign_arrays_are_not_taken_for_the_disks(folder):
    def pipe(_done, _total):
        raise BrokenPipeError

    for name in NAMES.values():
        with pytest.raises(BrokenPipeError):
            nl.export(PIXELS, folder / name, progress=pipe)

    def gone(_block):
        raise FileNotFoundError(errno.ENOENT, "gone", "part.bin")

    with pytest.raises(nl.ChunkReadError, match=r"cannot be read .*gone"):
        nl.export(da.zeros((9, 9), chunks=3).map_blocks(gone, dtype=float), folder / "out.zarr")
    assert names(folder) == []


def test_a_target_that_appears_meanwhile_is_replaced_only_when_asked(folder, image):
    def progress(_done, _total):
        (folder / "out.npy").write_text("another's")

    with pytest.raises(nl.ExportError, match="exists already"):
        nl.export(image, folder / "out.npy", progress=progress)
    assert (folder / "out.npy").read_text() == "another's"
    assert names(folder) == ["out.npy"]


# --- progress and cancel


@kinds
def test_progress_rises_to_its_total(folder, image, kind):
    seen = []
    nl.export(
        image, folder / NAMES[kind], {"y": (3, 590)}, progress=lambda *counts: seen.append(counts)
    )
    totals = {total for _, total in seen}
    assert len(totals) == 1
    done = [one for one, _ in seen]
    assert done == sorted(done)
    assert done[-1] == totals.pop()
    assert len(set(done)) > 20


@kinds
def test_cancelled_beforehand_reads_nothing(folder, image, source, kind):
    event = threading.Event()
    event.set()
    for cancel in (event, lambda: True):
        with pytest.raises(nl.CancelledError):
            nl.export(image, folder / NAMES[kind], cancel=cancel)
    assert source.loads == []
    assert names(folder) == []


@kinds
def test_cancel_at_any_moment_leaves_nothing(folder, image, kind):
    """Cancelled after each count of questions, as long as the export asks."""
    asked = [0]

    def count():
        asked[0] += 1
        return False

    nl.export(image, folder / NAMES[kind], cancel=count)
    shutil.rmtree(folder)
    folder.mkdir()
    moments = asked[0] * 3 // 4  # threads that find no more work ask, too: how often differs
    assert moments > 10
    for moment in range(0, moments, max(1, moments // 12)):
        left = [moment]

        def cancel(left=left):
            left[0] -= 1
            return left[0] < 0

        with pytest.raises(nl.CancelledError):
            nl.export(image, folder / NAMES[kind], cancel=cancel)
        assert names(folder) == []


@kinds
def test_cancel_before_the_last_step_leaves_nothing(folder, image, kind):
    event = threading.Event()

    def progress(done, total):
        if done == total:
            event.set()

    with pytest.raises(nl.CancelledError):
        nl.export(image, folder / NAMES[kind], progress=progress, cancel=event)
    assert names(folder) == []


@kinds
def test_cancel_from_elsewhere_while_a_chunk_is_read(folder, kind):
    gate, event, caught = threading.Event(), threading.Event(), []
    source = RecordingSource(PIXELS, (2, 200, 200), axes="zyx", gate=gate)

    def work():
        try:
            nl.export(Image(source), folder / NAMES[kind], cancel=event)
        except nl.CancelledError as err:
            caught.append(err)

    thread = threading.Thread(target=work)
    thread.start()
    assert source.started.wait(10)
    event.set()
    gate.set()
    thread.join(20)
    assert len(caught) == 1
    assert len(source.loads) < 27
    assert names(folder) == []
