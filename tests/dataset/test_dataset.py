"""Datasets: what a path opens as, its table, what becomes of broken files, and how it ends."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref

import imagecodecs
import numpy as np
import pandas as pd
import pytest

import napari_lazyload as nl
from helpers.waiting import eventually
from napari_lazyload.core.row_map import RowMap
from napari_lazyload.core.source import ChunkKey
from napari_lazyload.dataset import dataset as module
from napari_lazyload.loading import cache, scheduler, status
from napari_lazyload.sources.folder import open_folder as pictures_module
from napari_lazyload.sources.image_files import decode as pictures
from napari_lazyload.sources.opened import OpenResult
from napari_lazyload.testing.sources import RecordingSource

WIDE = np.full((24, 40), 9, "u1")


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(pixels))
    os.utime(path, ns=(1, 1 + path.stat().st_mtime_ns))


@pytest.fixture
def folder(tmp_path, write_folder):
    cache.shared.drop()
    write_folder(tmp_path, 6)
    return tmp_path


# --- opening


def test_opening_decodes_nothing_and_a_frame_decodes_its_file_alone(
    tmp_path, write_folder, monkeypatch
):
    stack = write_folder(tmp_path, 40)
    decoded = []
    decode = pictures.decode
    monkeypatch.setattr(
        pictures, "decode", lambda path, page: (decoded.append(path), decode(path, page))[1]
    )
    with nl.open_dataset(tmp_path) as dataset:
        dataset.to_layer_data()
        _ = dataset.meta, dataset.summary, repr(dataset), dataset.images[0].nbytes
        assert decoded == []
        np.testing.assert_array_equal(np.asarray(dataset.images[0].data[7]), stack[7])
        assert decoded == [str(tmp_path / "img_7.png")]


def test_what_a_dataset_says_of_itself(folder):
    (folder / "table.csv").write_text("a,b")
    with nl.open_dataset(folder) as dataset:
        assert (dataset.path, dataset.kind, dataset.notes) == (str(folder), "image folder", ())
        assert repr(dataset) == f"<image folder {str(folder)!r}: 1 image>"
        assert dataset.summary == "6 files, 1 x sidecar left out"
        assert dataset.skipped == {"sidecar": 1}
        assert dataset.left_out.to_dict("list") == {
            "original_filename": ["table.csv"],
            "reason": ["sidecar"],
        }
    assert repr(dataset).endswith("1 image (closed)>")


def test_the_summary_counts_everything(folder):
    write(folder / "img_1.png", WIDE)
    (folder / "img_2.png").write_bytes(b"")
    (folder / "img_3.png").write_text("text")
    with pytest.warns(nl.LazyLoadWarning, match="2 shapes or types; one image for each"):
        data = nl.open_dataset(folder)
    with data:
        assert data.summary == "5 files, 2 images, 1 x empty file left out, 1 with a problem"
        assert list(data.left_out["original_filename"]) == ["img_2.png"]


def test_nothing_left_out_is_an_empty_table(folder):
    with nl.open_dataset(folder) as dataset:
        assert list(dataset.left_out.columns) == ["original_filename", "reason"]
        assert len(dataset.left_out) == 0


def test_a_change_of_the_working_directory_changes_nothing(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    datasets = [
        nl.open_dataset(path)
        for path in (folder.name, f"{folder.name}/*.png", [f"{folder.name}/img_0.png"])
    ]
    monkeypatch.chdir("/")
    for dataset in datasets:
        assert dataset.images[0].data[0].compute().shape == (24, 32)
        assert dataset.reopen().images[0].shape == dataset.images[0].shape
        dataset.close()


# --- the table


def test_the_table_is_in_slider_order(tmp_path):
    values = {f"t{t}/z{z}.png": 10 * t + z for t in (2, 10, 1) for z in (10, 9)}
    for name, value in values.items():
        write(tmp_path / name, np.full((4, 5), value, "u1"))
    with nl.open_dataset(tmp_path) as dataset:
        meta, image = dataset.meta, dataset.images[0]
        assert image.axes == ("folder", "frame", "y", "x")
        assert list(meta.columns) == [
            *("original_filename", "folder", "frame", "shape", "dtype", "format"),
            *("size_bytes", "modified", "status", "error"),
        ]
        pixels = np.asarray(image.data)
        for row, name in enumerate(meta["original_filename"]):
            number, index = dataset.locate(row)
            assert pixels[index][0, 0] == values[name]
            assert index == (meta["folder"][row], meta["frame"][row])
            assert (number, dataset.row_of(number, index)) == (0, row)
            assert dataset.row_of(number, (*index, 3, 4)) == row
        assert dataset.leading_shape(0) == (3, 2)
        assert meta["size_bytes"].tolist() == [
            (tmp_path / name).stat().st_size for name in meta["original_filename"]
        ]
        assert meta["modified"].dtype == np.dtype("M8[ns]")
        assert meta["shape"].unique().tolist() == ["4 x 5"]
        assert meta["original_filename"].dtype == object


def test_the_table_of_several_images(folder):
    write(folder / "img_1.png", WIDE)
    write(folder / "img_4.png", WIDE)
    with pytest.warns(nl.LazyLoadWarning, match="2 shapes"):
        dataset = nl.open_dataset(folder)
    with dataset:
        meta = dataset.meta
        assert meta["image"].tolist() == [0, 0, 0, 0, 1, 1]
        assert meta["frame"].tolist() == [0, 1, 2, 3, 0, 1]
        for row, name in enumerate(meta["original_filename"]):
            number, index = dataset.locate(row)
            assert (number, dataset.row_of(number, index)) == (meta["image"][row], row)
            np.testing.assert_array_equal(
                np.asarray(dataset.images[number].data[index]),
                imagecodecs.imread(str(folder / name)),
            )


def test_an_image_and_its_coverage_share_their_rows(folder):
    write(folder / "img_1.png", WIDE)
    with nl.open_dataset(folder, mixed="pad") as dataset:
        assert [image.kind for image in dataset.images] == ["image", "labels"]
        assert len(dataset.meta) == 6
        assert "image" not in dataset.meta
        assert dataset.locate(3) == (0, (3,))
        assert dataset.row_of(1, (3, 0, 0)) == 3


def test_the_table_is_a_copy(folder):
    with nl.open_dataset(folder) as dataset:
        meta = dataset.meta
        meta.loc[0, "original_filename"] = "changed"
        meta["status"] = "seen"
        assert dataset.meta["original_filename"][0] == "img_0.png"
        assert dataset.meta["status"].tolist() == [""] * 6


def test_a_single_picture_has_a_table_of_one_row(folder):
    with nl.open_dataset(folder / "img_3.png") as dataset:
        assert dataset.meta["original_filename"].tolist() == ["img_3.png"]
        assert (dataset.locate(0), dataset.row_of(0, (2, 3)), dataset.leading_shape(0)) == (
            (0, ()),
            0,
            (),
        )


@pytest.mark.parametrize("row", [6, -1, 10**6])
def test_rows_that_are_not_there(folder, row):
    with nl.open_dataset(folder) as dataset:
        with pytest.raises(IndexError, match=f"row {row} is not in the table of 6 rows"):
            dataset.locate(row)
        with pytest.raises(IndexError, match="not in the table"):
            dataset.retry(row)


def test_a_numpy_row_is_found_at_once_among_a_million():
    opened = OpenResult(
        "", "", (RecordingSource(np.zeros((1, 1, 1)), (1, 1, 1)),), (range(1_000_000),)
    )
    opened.sources[0].row_map = RowMap({"z": 1_000_000})
    dataset = nl.Dataset(opened)
    start = time.process_time()
    for _ in range(100):
        assert dataset.locate(np.int64(999_999)) == (0, (999_999,))
    assert time.process_time() - start < 1
    dataset.close()


# --- files that change or break


def break_file(path, how):
    if how == "corrupt":
        content = bytearray(path.read_bytes())
        content[60:120] = b"\xff" * 60
        path.write_bytes(content)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif how == "vanished":
        path.unlink()
    elif how == "text":
        path.write_text("this is not a picture")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "another shape":
        write(path, WIDE)


HOW = ["corrupt", "truncated", "vanished", "text", "empty", "another shape"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("number", [0, 3, 5], ids=["first", "middle", "last"])
def test_a_file_that_breaks_while_open(tmp_path, write_folder, how, number):
    cache.shared.drop()
    stack = write_folder(tmp_path, 6)
    path = tmp_path / f"img_{number}.png"
    good = path.read_bytes()
    with nl.open_dataset(tmp_path) as dataset, nl.open_dataset(tmp_path, on_error="blank") as blank:
        assert np.asarray(dataset.images[0].data).shape == stack.shape
        break_file(path, how)
        for read in (
            np.asarray,
            lambda data: data.compute(scheduler="sync"),
            lambda data: data.compute(),
        ):
            with pytest.raises(nl.ChunkReadError, match=path.name) as info:
                read(dataset.images[0].data)
            assert info.value.path == str(path)
            expected = stack.copy()
            expected[number] = 0
            np.testing.assert_array_equal(read(blank.images[0].data), expected)
        np.testing.assert_array_equal(np.asarray(dataset.images[0].data[1:3]), stack[1:3])
        path.write_bytes(good)
        np.testing.assert_array_equal(np.asarray(dataset.images[0].data), stack)
        np.testing.assert_array_equal(np.asarray(blank.images[0].data), stack)


@pytest.mark.parametrize("how", ["truncated", "text", "empty"])
@pytest.mark.parametrize("number", [0, 3, 5], ids=["first", "middle", "last"])
def test_a_file_that_is_broken_when_opened(folder, how, number):
    break_file(folder / f"img_{number}.png", how)
    with nl.open_dataset(folder) as dataset:
        if how == "empty":
            assert dataset.skipped == {"empty file": 1}
            assert (dataset.images[0].shape, dataset.problems()) == ((5, 24, 32), {})
            return
        assert dataset.images[0].shape == (6, 24, 32)
        rows = [row for row in range(6) if row != number]
        assert np.asarray(dataset.images[0].data[rows[2]]).shape == (24, 32)
        if how == "text":  # what a header says is reported at once
            assert list(dataset.problems()) == [number]
            meta = dataset.meta
            assert meta["status"].tolist() == [
                "failed" if row == number else "" for row in range(6)
            ]
            assert "found text that begins with 'this is" in meta["error"][number]
        with pytest.raises(nl.ChunkReadError, match=rf"img_{number}\.png"):
            dataset.images[0].data.compute()


def test_a_replaced_file_shows_its_new_pixels(folder):
    with nl.open_dataset(folder) as dataset:
        data = dataset.images[0].data
        before = np.asarray(data[2])
        write(folder / "img_2.png", 255 - before)
        np.testing.assert_array_equal(np.asarray(data[2]), 255 - before)
        np.testing.assert_array_equal(data.compute()[2], 255 - before)


def test_a_replaced_file_of_another_shape_says_what_was_expected_and_found(folder):
    with nl.open_dataset(folder) as dataset:
        write(folder / "img_2.png", WIDE)
        with pytest.raises(
            nl.ChunkReadError,
            match="expected 24 x 32 uint8, found 24 x 40 uint8",
        ):
            np.asarray(dataset.images[0].data[2])
        with pytest.warns(nl.LazyLoadWarning, match="2 shapes"):
            groups = dataset.reopen(headers="all")
        with groups:
            assert [image.shape for image in groups.images] == [(5, 24, 32), (1, 24, 40)]


def test_failures_of_reads_are_rows_and_a_retry_forgets_them(folder):
    with nl.open_dataset(folder) as dataset:
        rows = []
        disconnect = dataset.connect(rows.append)
        token = dataset.images[0].source.token
        status.shared.fail(token, 0, (4, 0, 0), "broken")
        status.shared.fail("of another source", 0, (1, 0, 0), "broken")
        assert (dataset.problems(), rows) == ({4: "broken"}, [4])
        assert dataset.meta["error"][4] == "broken"
        dataset.retry(np.int64(4))
        assert dataset.problems() == {}
        assert set(rows) == {4}
        disconnect()
        disconnect()
        count = len(rows)
        status.shared.fail(token, 0, (1, 0, 0), "broken")
        assert len(rows) == count
        status.shared.forget("of another source")


def test_a_retry_reads_the_header_again(folder):
    good = (folder / "img_2.png").read_bytes()
    (folder / "img_2.png").write_text("text")
    with nl.open_dataset(folder) as dataset:
        assert list(dataset.problems()) == [2]
        dataset.retry(2)
        assert list(dataset.problems()) == [2]
        (folder / "img_2.png").write_bytes(good)
        dataset.retry(2)
        assert dataset.problems() == {}
        assert dataset.meta["status"].tolist() == [""] * 6


def test_a_retry_forgets_failures_of_a_coverage_too(folder):
    write(folder / "img_1.png", WIDE)
    with nl.open_dataset(folder, mixed="pad") as dataset:
        for image in dataset.images:
            status.shared.fail(image.source.token, 0, (3, 0, 0), "broken")
        assert list(dataset.problems()) == [3]
        dataset.retry(3)
        assert dataset.problems() == {}


def test_failures_of_a_layer_that_shows_converted_values_are_rows(tmp_path):
    source = RecordingSource(np.zeros((3, 2, 2), "c8"), (1, 2, 2))
    source.row_map = RowMap({"z": 3})
    dataset = nl.Dataset(OpenResult("", "", (source,), (range(3),)))
    with pytest.warns(nl.LazyLoadWarning, match="magnitude"):
        dataset.to_layer_data()
    status.shared.fail(source.token, 0, (1, 0, 0), "broken")
    assert dataset.problems() == {1: "broken"}
    dataset.retry(1)
    assert dataset.problems() == {}
    dataset.close()


# --- the background


def test_a_scan_finds_in_the_background_what_differs(folder, hurried):
    write(folder / "img_3.png", WIDE)
    with nl.open_dataset(folder) as dataset:
        rows = []
        dataset.connect(rows.append)
        assert dataset.meta["size_bytes"].isna().sum() == 5
        dataset.scan()
        eventually(lambda: None in rows)
        assert rows == [3, None]
        assert dataset.meta["status"].tolist() == ["", "", "", "different", "", ""]
        assert "found 24 x 40 uint8; reopen in groups" in dataset.meta["error"][3]
        assert dataset.meta["size_bytes"].notna().all()
        dataset.scan()
        assert scheduler.shared.snapshot()["queued_background"] == 0


@pytest.mark.filterwarnings("ignore:.*2 shapes or types")
def test_a_scan_of_one_scene_tells_of_its_rows(tmp_path, monkeypatch):
    for number in range(8):
        write(tmp_path / f"{number}.png", WIDE if number in (0, 1) else np.zeros((4, 5), "u1"))
    (tmp_path / "1.png").write_text("text")
    (tmp_path / "6.png").write_text("text")
    probe = pictures_module.FileSet.read_header
    monkeypatch.setattr(
        pictures_module.FileSet,
        "read_deciding",
        lambda files: [probe(files, n) for n in (0, 2, 3)],
    )
    monkeypatch.setattr(pictures_module.FileSet, "read_for", lambda _files, _seconds: None)
    with nl.open_dataset(tmp_path, scene=1) as dataset:
        assert dataset.meta["original_filename"].tolist() == [
            "1.png",
            "2.png",
            "3.png",
            "4.png",
            "5.png",
            "6.png",
            "7.png",
        ]
        rows = []
        dataset.connect(rows.append)
        dataset.scan()
        eventually(lambda: None in rows)
        assert rows == [0, 5, None]
        assert list(dataset.problems()) == [0, 5]
        with nl.open_dataset(tmp_path, scene=0) as other:
            other.connect(rows.append)
            other.scan()
            eventually(lambda: rows.count(None) == 2)
            assert (rows[3:], other.problems()) == ([None], {})


def test_listeners_are_not_flooded(folder, hurried, monkeypatch):
    for number in range(1, 6):
        write(folder / f"img_{number}.png", WIDE)
    monkeypatch.setattr(module, "MOST_NEWS", 2)
    with nl.open_dataset(folder) as dataset:
        rows = []
        dataset.connect(rows.append)
        dataset.scan()
        eventually(lambda: None in rows)
        assert rows == [1, 2, None]
        assert len(dataset.problems()) == 5


def test_closing_stops_the_scan(folder, hurried, monkeypatch):
    gate, entered = threading.Event(), threading.Event()
    probe = pictures_module.FileSet.read_header

    def slow(files, row):
        if row > 1:
            entered.set()
            assert gate.wait(20)
        return probe(files, row)

    dataset = nl.open_dataset(folder)
    rows = []
    dataset.connect(rows.append)
    monkeypatch.setattr(pictures_module.FileSet, "read_header", slow)
    dataset.scan()
    assert entered.wait(20)
    dataset.close()
    gate.set()
    eventually(lambda: scheduler.shared.snapshot()["running"] == 0)
    assert rows == []
    assert dataset.meta["size_bytes"].notna().sum() == 3
    dataset.scan()
    assert scheduler.shared.snapshot()["queued_background"] == 0


# --- one image, some channels, other chunks


@pytest.mark.filterwarnings("ignore:.*2 shapes or types")
@pytest.mark.parametrize("scene", [1, -1, "name", np.int64(1)])
def test_a_scene_by_number_and_name(folder, scene):
    write(folder / "img_1.png", WIDE)
    name = f"{folder.name} [24 x 40 uint8]"
    with nl.open_dataset(folder, scene=name if scene == "name" else scene) as dataset:
        assert [image.name for image in dataset.images] == [name]
        assert dataset.meta["original_filename"].tolist() == ["img_1.png"]
        assert "image" not in dataset.meta
        assert (dataset.locate(0), dataset.row_of(0, (0, 2, 2))) == ((0, (0,)), 0)
        status.shared.fail(dataset.images[0].source.token, 0, (0, 0, 0), "broken")
        assert dataset.problems() == {0: "broken"}
        dataset.retry(0)
        assert dataset.problems() == {}


@pytest.mark.parametrize("scene", [1, -2, "nothing", 0.0, [0], None.__class__])
def test_a_scene_that_is_not_there(folder, scene):
    with pytest.raises(ValueError, match="scene must be a number below 1 or one of"):
        nl.open_dataset(folder, scene=scene)


def test_channels_level_and_chunks_reach_the_images(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pixels = np.arange(3 * 4 * 5, dtype="u2").reshape(3, 4, 5)
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata={"axes": "CYX"})
    with nl.open_dataset(
        tmp_path / "a.ome.tif", channels=[2, 0], level=0, chunks={"y": 2}
    ) as dataset:
        image = dataset.images[0]
        np.testing.assert_array_equal(np.asarray(image.data), pixels[[2, 0]])
        assert image.chunks == ((1, 1), (2, 2), (5,))
        assert dataset.locate(0) == (0, ())
    with pytest.raises(ValueError, match="a channel must be a number below 3"):
        nl.open_dataset(tmp_path / "a.ome.tif", channels=3)


WRONG = {
    "on_error": (
        {"on_error": "ignore"},
        ValueError,
        "on_error must be 'raise' or 'blank', got 'ignore'",
    ),
    "level": ({"level": 1}, ValueError, "level must be a number from 0 to 0"),
    "level by name": ({"level": "0"}, ValueError, "level must be a number"),
    "channels": ({"channels": 0}, ValueError, "needs an image with a channel axis"),
    "chunks": ({"chunks": (1, 2)}, ValueError, "chunks .* do not suit an image of shape"),
    "option": ({"subfolder": "axis"}, TypeError, "'subfolder' is not an option of image folders"),
    "format": ({"format": "png"}, ValueError, "format must be one of"),
    "mixed": ({"mixed": None}, ValueError, "mixed must be one of"),
}


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(folder, arguments, error, message):
    with pytest.raises(error, match=message):
        nl.open_dataset(folder, **arguments)


def test_reopening_keeps_what_was_chosen(folder):
    (folder / "sub").mkdir()
    write(folder / "sub" / "img_9.png", WIDE)
    with nl.open_dataset(
        folder, subfolders="ignore", pattern="img_[135]*", on_error="blank"
    ) as dataset:
        again = dataset.reopen(headers="all")
        assert again.meta["original_filename"].tolist() == ["img_1.png", "img_3.png", "img_5.png"]
        assert again.images[0].on_error == "blank"
        assert again.path == dataset.path
        again.close()
    with nl.open_dataset([folder / "img_4.png", folder / "img_0.png"]) as dataset:
        assert dataset.reopen(mixed="pad").meta["original_filename"].tolist() == [
            "img_4.png",
            "img_0.png",
        ]
    with pytest.raises(TypeError, match="not made by open_dataset"):
        nl.Dataset(OpenResult("", "", (), ())).reopen()


# --- the end


def test_closing_frees_its_own_chunks_and_leaves_the_others(tmp_path, write_folder):
    cache.shared.drop()
    for name in ("a", "ab", "a/sub"):
        write_folder(tmp_path / name, 3)
    one = nl.open_dataset(tmp_path / "a", subfolders="ignore")
    two, three = nl.open_dataset(tmp_path / "ab"), nl.open_dataset(tmp_path / "a" / "sub")
    some = nl.open_dataset([tmp_path / "a" / "img_0.png", tmp_path / "ab" / "img_1.png"])
    for dataset in (one, two, three, some):
        np.asarray(dataset.images[0].data)
    assert cache.shared.snapshot()["chunks"] == 9
    one.close()
    one.close()
    # All but two of its own: one is still shown by the list.
    assert cache.shared.snapshot()["chunks"] == 7
    some.close()
    assert cache.shared.snapshot()["chunks"] == 6
    two.close()
    three.close()
    assert cache.shared.snapshot()["chunks"] == 0


def test_closing_frees_converted_and_padded_chunks(tmp_path, write_folder):
    cache.shared.drop()
    write_folder(tmp_path, 3)
    write(tmp_path / "wide.png", WIDE)
    with nl.open_dataset(tmp_path, mixed="pad") as dataset:
        for image in dataset.images:
            np.asarray(image.data)
        assert cache.shared.snapshot()["chunks"] == 8
    assert cache.shared.snapshot()["chunks"] == 0


def test_chunks_of_other_files_stay(folder):
    source = RecordingSource(np.zeros((2, 2, 2)), (1, 2, 2))
    beside = f"{folder}_2/img_0.png"
    with nl.open_dataset(folder):
        np.asarray(nl.Image(source).data)
        for file in ("", "other", beside, f"{folder.parent}/img_0.png"):
            cache.shared._entries[ChunkKey(file, None, 0)] = np.zeros(1, "u1")
            cache.shared._nbytes += 1
    kept = len(cache.shared._entries)
    cache.shared.drop()
    assert kept == 6


def test_a_closed_dataset_still_reads(folder):
    with nl.open_dataset(folder) as dataset:
        data = dataset.images[0].data
    assert np.asarray(data[1]).shape == (24, 32)
    assert data.compute().shape == (6, 24, 32)
    cache.shared.drop()


def test_closing_ends_listening_and_forgets_failures(folder):
    dataset = nl.open_dataset(folder)
    rows = []
    disconnect = dataset.connect(rows.append)
    token = dataset.images[0].source.token
    status.shared.fail(token, 0, (1, 0, 0), "broken")
    dataset.close()
    assert status.shared.failures(token) == {}
    status.shared.fail(token, 0, (2, 0, 0), "broken")
    disconnect()
    assert rows == [1]
    status.shared.forget(token)


def test_open_datasets_are_known_and_nothing_keeps_a_closed_one(folder):
    dataset = nl.open_dataset(folder)
    assert dataset in module.open_datasets()
    dataset.connect(print)
    dataset.close()
    assert dataset not in module.open_datasets()
    watcher = weakref.ref(dataset)
    del dataset
    gc.collect()
    assert watcher() is None


def test_a_dataset_stays_in_its_process(folder):
    with (
        nl.open_dataset(folder) as dataset,
        pytest.raises(TypeError, match="send one of its images, which pickle"),
    ):
        pickle.dumps(dataset)


READ_ELSEWHERE = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    images = pickle.load(file)
with open(sys.argv[2], "wb") as file:
    pickle.dump([(image.name, image.on_error, np.asarray(image.data)) for image in images], file)
"""


def test_its_images_work_in_another_process(folder, tmp_path):
    write(folder / "img_1.png", WIDE)
    sent, back = tmp_path / "sent", tmp_path / "back"
    with nl.open_dataset(folder, mixed="pad") as dataset:
        sent.write_bytes(pickle.dumps(dataset.images))
        subprocess.run([sys.executable, "-c", READ_ELSEWHERE, sent, back], check=True)
        answers = pickle.loads(back.read_bytes())
        for image, (name, on_error, pixels) in zip(dataset.images, answers, strict=True):
            assert (name, on_error) == (image.name, "raise")
            np.testing.assert_array_equal(pixels, np.asarray(image.data))


def test_tables_of_a_million_rows_hold_no_lists(folder):
    """What the garbage collector visits at a full pass must not grow with the number of files."""
    with nl.open_dataset(folder) as dataset:
        files = dataset.images[0].source.files
        assert isinstance(files.listing.names, np.ndarray)
        assert isinstance(dataset.meta, pd.DataFrame)
        kept = [
            one
            for one in gc.get_referents(files.__dict__, files.listing)
            if isinstance(one, list) and len(one) > 1
        ]
        assert kept == []
