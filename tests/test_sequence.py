"""Sequences: what is read when, that pixels and rows stay together, and what a wrong argument is told."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload import sequence as sequence_module
from napari_lazyload.core import settings
from napari_lazyload.core.errors import (
    ChunkReadError,
    LazyLoadWarning,
    MissingDependencyError,
    SourceOpenError,
    UnknownFormatError,
)
from napari_lazyload.loading import cache
from napari_lazyload.sequence import ImageSequence, LazyImage, LoadedImage, read_images
from napari_lazyload.sources import image_folder

COUNT = 12
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 8), np.uint8)
PICKLED_LIMIT = 2500


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "run"
    for number, pixels in enumerate(PIXELS):
        write_png(root / f"img{number}.png", pixels)
    return root


@pytest.fixture
def names():
    return [f"img{number}.png" for number in range(COUNT)]


@pytest.fixture
def counted():
    """What the cache did since the test began: ``counted("reads")``."""
    cache.shared.drop()
    start = cache.shared.snapshot()
    yield lambda name: cache.shared.snapshot()[name] - start[name]
    cache.shared.drop()


@pytest.fixture
def headers(monkeypatch):
    """The paths whose header was read, in order."""
    paths = []
    for module in ("napari_lazyload.sources.file_set", "napari_lazyload.sequence"):
        original = sys.modules[module].read_info
        monkeypatch.setattr(f"{module}.read_info", lambda path, _read=original: (paths.append(path), _read(path))[1])
    return paths


@pytest.fixture
def budget():
    """Sets the cache's budget for one test."""
    before = settings.current().cache_budget
    yield lambda nbytes: settings.update(cache_budget=nbytes)
    settings.update(cache_budget=before)
    cache.shared.drop()


class TestReadImages:
    def test_folder_in_natural_order_without_opening_a_file(self, folder, names, headers, counted):
        seq = read_images(folder)
        assert len(seq) == COUNT
        assert seq.meta["original_filename"].tolist() == names
        assert not headers
        assert counted("reads") == 0

    def test_subfolders_in_natural_order_of_relative_paths(self, tmp_path):
        for name in ("b/1.png", "a10/1.png", "a2/10.png", "a2/9.png", "z.png"):
            write_png(tmp_path / name, PIXELS[0])
        seq = read_images(tmp_path)
        assert seq.meta["original_filename"].tolist() == ["a2/9.png", "a2/10.png", "a10/1.png", "b/1.png", "z.png"]
        assert seq.path == str(tmp_path)
        np.testing.assert_array_equal(seq[1].data, PIXELS[0])

    def test_glob(self, folder):
        seq = read_images(str(folder / "img1*.png"))
        assert seq.meta["original_filename"].tolist() == ["img1.png", "img10.png", "img11.png"]

    def test_list_keeps_its_order_and_may_hold_paths(self, folder):
        seq = read_images([folder / "img3.png", str(folder / "img1.png")])
        np.testing.assert_array_equal(seq.stack(), PIXELS[[3, 1]])

    def test_single_file(self, folder):
        seq = read_images(folder / "img7.png")
        assert len(seq) == 1
        np.testing.assert_array_equal(seq[0].data, PIXELS[7])

    @pytest.mark.parametrize("form", ["folder", "glob", "list"])
    def test_pattern(self, folder, form):
        write_png(folder / "other.png", PIXELS[0])
        path = {"folder": folder, "glob": str(folder / "*.png"), "list": sorted(folder.iterdir())}[form]
        seq = read_images(path, pattern="img?.png")
        assert len(seq) == 10
        assert seq.skipped == {"does not match 'img?.png'": 3}

    @pytest.mark.parametrize(("limit", "expected"), [(0, 0), (1, 1), (np.int64(3), 3), (100, COUNT), (None, COUNT)])
    def test_limit(self, folder, names, limit, expected):
        seq = read_images(folder, limit=limit)
        assert seq.meta["original_filename"].tolist() == names[:expected]

    @pytest.mark.parametrize(
        ("limit", "error"), [(-1, ValueError), (2.5, TypeError), (True, TypeError), ("3", TypeError)]
    )
    def test_bad_limit(self, folder, limit, error):
        with pytest.raises(error, match="limit must be"):
            read_images(folder, limit=limit)

    def test_nothing_there(self, tmp_path):
        (tmp_path / "notes.txt").write_text("no picture")
        with pytest.raises(SourceOpenError, match=r"expected pictures, found none \(1 x sidecar\)"):
            read_images(tmp_path)
        with pytest.raises(SourceOpenError, match="does not exist"):
            read_images(tmp_path / "nowhere")
        with pytest.raises(SourceOpenError, match="no file matches"):
            read_images(str(tmp_path / "*.png"))
        with pytest.raises(TypeError, match="expected a path"):
            read_images(3)

    def test_empty_files_are_left_out_of_a_folder_and_counted(self, folder):
        (folder / "img0a.png").touch()
        seq = read_images(folder)
        assert len(seq) == COUNT
        assert seq.skipped == {"empty file": 1}
        assert "left out: 1 x empty file" in repr(seq)
        with pytest.raises(SourceOpenError, match="1 x empty file"):
            read_images(str(folder / "img0a*"))

    def test_empty_files_of_a_list_or_a_huge_folder_fail_when_they_are_read(self, folder, monkeypatch):
        (folder / "img0.png").write_bytes(b"")
        with pytest.raises(ChunkReadError, match="empty"):
            _ = read_images([folder / "img0.png"])[0].data
        monkeypatch.setattr(sequence_module, "MOST_SIZES_CHECKED", COUNT - 1)
        seq = read_images(folder)
        assert len(seq) == COUNT
        with pytest.raises(ChunkReadError, match="empty"):
            _ = seq[0].data

    def test_names_with_odd_characters(self, tmp_path):
        odd = ["ä b#1.png", "%41.png", "img[1].png", "x" * 240 + ".png", os.fsdecode(b"\xff\xfe.png")]
        for name in odd:
            write_png(tmp_path / name, PIXELS[1])
        seq = read_images(tmp_path)
        assert sorted(seq.meta["original_filename"]) == sorted(odd)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(seq)).stack(), PIXELS[[1] * len(odd)])

    def test_real_folders_equal_their_references(self, realdata):
        cases = json.loads((realdata / "catalogue.json").read_text())
        folders = [case for case in cases if case["kind"] in ("folder", "mm-folder") and not case["lossy"]]
        assert folders
        for case in folders:
            seq = read_images(realdata / case["path"])
            frames = case["ref"]["frames"]
            assert seq.meta["original_filename"].tolist() == [frame[0] for frame in frames], case["name"]
            found = [hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in seq.load()]
            assert found == [frame[3] for frame in frames], case["name"]


class TestImage:
    def test_each_index_gives_a_new_image(self, folder, counted):
        seq = read_images(folder)
        first, again = seq[0], seq[0]
        assert isinstance(first, LazyImage)
        assert first is not again
        assert counted("reads") == 0

    def test_data_is_read_once_kept_and_read_only(self, folder, counted):
        image = read_images(folder)[2]
        assert not image.loaded
        np.testing.assert_array_equal(image.data, PIXELS[2])
        assert image.data is image.data
        assert image.loaded
        with pytest.raises(ValueError, match="read-only"):
            image.data[0, 0] = 1
        assert counted("reads") == 1

    def test_repeated_use_is_served_from_the_cache_as_copies(self, folder, counted):
        seq = read_images(folder)
        first, second = seq[0].data, seq[0].data
        assert (counted("reads"), counted("hits")) == (1, 1)
        assert not np.shares_memory(first, second)
        for kept in cache.shared._entries.values():
            assert not np.shares_memory(first, kept)

    def test_a_viewer_of_the_folder_shares_the_cache(self, folder, counted):
        from napari_lazyload.sources.open_pictures import open_pictures

        source = open_pictures(str(folder)).sources[0]
        cache.shared.read(source.chunk(0, (4, 0, 0)))
        np.testing.assert_array_equal(read_images(folder)[4].data, PIXELS[4])
        assert (counted("reads"), counted("hits")) == (1, 1)

    def test_shape_and_dtype_come_from_the_header(self, folder, counted, headers):
        image = read_images(folder)[3]
        assert (image.shape, image.dtype, image.ndim) == ((6, 8), np.uint8, 2)
        assert len(headers) == 1
        assert counted("reads") == 0

    def test_meta_is_the_row_and_a_copy(self, folder):
        seq = read_images(folder, meta={"label": np.arange(COUNT) * 10})
        row = seq[-1].meta
        assert isinstance(row, pd.Series)
        assert row.to_dict() == {"original_filename": "img11.png", "label": 110}
        row["label"] = 0
        assert seq[-1].meta["label"] == 110
        assert seq[5:][0].meta["label"] == 50

    def test_asarray(self, folder):
        image = read_images(folder)[0]
        np.testing.assert_array_equal(np.asarray(image), PIXELS[0])
        assert np.asarray(image, dtype="f4").dtype == np.float32
        np.array(image)[0, 0] = 1
        with pytest.raises(ValueError, match="copy"):
            np.array(image, dtype="f4", copy=False)

    def test_repr_says_whether_it_is_loaded(self, folder):
        image = read_images(folder)[0]
        assert repr(image) == "<LazyImage 'img0.png': not loaded>"
        _ = image.data
        assert repr(image) == "<LazyImage 'img0.png': 6 x 8 uint8>"

    def test_all_pages_of_a_file(self, tmp_path, counted):
        pages = np.random.default_rng(1).integers(0, 65535, (3, 2, 5, 7), np.uint16)
        tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack", metadata={"axes": "TZYX"}, ome=True)
        image = read_images(tmp_path)[0]
        assert image.shape == (3, 2, 5, 7)
        np.testing.assert_array_equal(image.data, pages)
        assert counted("reads") == 6
        (batch,) = next(read_images(tmp_path).batches(1))
        np.testing.assert_array_equal(batch, pages[np.newaxis])
        assert counted("reads") == 6

    def test_colour_is_the_last_axis(self, tmp_path):
        pixels = np.random.default_rng(1).integers(0, 255, (5, 7, 3), np.uint8)
        write_png(tmp_path / "rgb.png", pixels)
        seq = read_images(tmp_path)
        assert seq.shape == (1, 5, 7, 3)
        np.testing.assert_array_equal(seq[0].data, pixels)

    def test_pickles_small_and_reads_again(self, folder):
        image = read_images(folder, meta={"label": range(COUNT)})[3]
        copy = pickle.loads(pickle.dumps(image))
        assert len(pickle.dumps(image)) < PICKLED_LIMIT
        assert copy.meta["label"] == 3
        assert copy.shape == (6, 8)
        np.testing.assert_array_equal(copy.data, PIXELS[3])


class TestLazyImage:
    def test_function_is_called_at_first_use_and_once(self):
        calls = []

        def load():
            calls.append(threading.current_thread())
            return PIXELS[0]

        image = LazyImage(load)
        assert not calls
        assert image.meta is None
        barrier = threading.Barrier(8)
        seen = []

        def use():
            barrier.wait()
            seen.append(image.data)

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(calls) == 1
        assert all(one is seen[0] for one in seen)

    def test_the_functions_own_array_stays_writable(self):
        own = np.zeros((2, 3))
        image = LazyImage(lambda: own)
        assert image.shape == (2, 3)
        assert not image.data.flags.writeable
        assert own.flags.writeable

    def test_anything_array_like(self):
        assert LazyImage(lambda: [[1, 2], [3, 4]]).shape == (2, 2)

    def test_an_error_comes_out_and_the_next_use_tries_again(self):
        answers = iter([OSError("first"), PIXELS[0]])

        def load():
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        image = LazyImage(load)
        with pytest.raises(OSError, match="first"):
            _ = image.data
        np.testing.assert_array_equal(image.data, PIXELS[0])

    def test_meta_from_a_mapping_or_a_series(self):
        assert LazyImage(list, {"a": 1}).meta["a"] == 1
        series = pd.Series({"a": 1})
        image = LazyImage(list, series)
        row = image.meta
        row["a"] = 2
        assert image.meta["a"] == 1

    def test_refuses_what_cannot_be_called(self):
        with pytest.raises(TypeError, match="load_fn must be a function"):
            LazyImage(PIXELS[0])


class TestSequence:
    def test_shape_and_dtype_where_headers_agree(self, folder, headers, counted):
        seq = read_images(folder)
        assert (seq.shape, seq.dtype) == ((COUNT, 6, 8), np.uint8)
        assert len(headers) == COUNT
        assert seq[::2].shape == (COUNT // 2, 6, 8)
        assert len(headers) == COUNT
        assert counted("reads") == 0

    def test_none_where_they_differ(self, folder):
        write_png(folder / "other.png", np.zeros((3, 3), np.uint8))
        seq = read_images(folder)
        assert (seq.shape, seq.dtype) == (None, np.uint8)
        write_png(folder / "x.png", np.zeros((3, 3), np.uint16))
        assert read_images(folder).dtype is None
        assert read_images(folder)[[]].shape is None

    def test_none_while_a_header_cannot_be_read(self, folder):
        good = (folder / "img4.png").read_bytes()
        (folder / "img4.png").write_text("not a picture")
        seq = read_images(folder)
        assert seq.shape is None
        (folder / "img4.png").write_bytes(good)
        assert seq.shape == (COUNT, 6, 8)

    def test_iteration(self, folder):
        images = list(read_images(folder))
        assert all(isinstance(image, LazyImage) for image in images)
        np.testing.assert_array_equal(np.stack([image.data for image in images]), PIXELS)

    def test_asarray_reads_all(self, folder):
        seq = read_images(folder)
        np.testing.assert_array_equal(np.asarray(seq), PIXELS)
        assert np.asarray(seq, dtype=float).dtype == float
        with pytest.raises(ValueError, match="copy"):
            np.array(seq, copy=False)

    def test_repr_reads_one_header_and_no_pixel(self, folder, headers, counted):
        seq = read_images(folder, common_meta={"plate": 1}).map(np.fliplr).astype("f4")
        text = repr(seq)
        for part in ("12 lazy images", repr(str(folder)), "the first 6 x 8 uint8", "2 maps", "plate"):
            assert part in text
        assert len(headers) == 1
        assert counted("reads") == 0
        assert repr(seq[:0]).startswith("<ImageSequence: 0 lazy images of")
        seq = read_images(folder)
        (folder / "img0.png").unlink()
        assert "the first cannot be read" in repr(seq)

    def test_meta_is_a_copy(self, folder):
        seq = read_images(folder)
        table = seq.meta
        table["original_filename"] = "changed"
        assert seq.meta["original_filename"][0] == "img0.png"
        assert seq.meta.index.tolist() == list(range(COUNT))

    def test_survives_a_change_of_folder(self, folder, monkeypatch, tmp_path):
        monkeypatch.chdir(folder.parent)
        from_folder, from_list = read_images("run"), read_images([os.path.join("run", "img5.png")])
        monkeypatch.chdir(tmp_path.parent)
        np.testing.assert_array_equal(from_folder.stack(), PIXELS)
        np.testing.assert_array_equal(from_list[0].data, PIXELS[5])

    def test_pickles_with_its_own_names_alone(self, folder):
        seq = (
            read_images(folder, meta={"label": range(COUNT)}).sort("label", ascending=False).astype("f4").map(np.fliplr)
        )
        part = seq[3:5]
        data = pickle.dumps(part)
        assert len(data) < PICKLED_LIMIT
        assert b"img0.png" not in data
        copy = pickle.loads(data)
        pd.testing.assert_frame_equal(copy.meta, part.meta)
        np.testing.assert_array_equal(copy.stack(), part.stack())
        np.testing.assert_array_equal(copy.stack(), PIXELS[[8, 7]].astype("f4")[:, :, ::-1])

    def test_is_the_same_in_another_process(self, folder, tmp_path):
        seq = read_images(folder, meta={"label": range(COUNT)}).query("label > 8").map(np.flipud)
        (tmp_path / "seq.pickle").write_bytes(pickle.dumps(seq))
        code = (
            "import pickle, sys; seq = pickle.load(open(sys.argv[1], 'rb'));"
            "print(seq.meta.label.tolist(), seq.stack().tolist() == [p[::-1] for p in eval(sys.argv[2])])"
        )
        arguments = [str(tmp_path / "seq.pickle"), repr(PIXELS[9:].tolist())]
        out = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert out.stdout.strip() == "[9, 10, 11] True"

    def test_a_replaced_file_never_shows_old_pixels(self, folder):
        seq = read_images(folder)
        _ = seq.shape, seq[0].data
        other = np.full((4, 5), 7, np.uint16)
        write_png(folder / "img0.png", other)
        assert seq[0].shape == (4, 5)
        np.testing.assert_array_equal(seq[0].data, other)

    def test_a_vanished_file_says_so_and_the_rest_are_read(self, folder):
        seq = read_images(folder)
        (folder / "img3.png").unlink()
        with pytest.raises(ChunkReadError, match=r"img3\.png"):
            _ = seq[3].data
        np.testing.assert_array_equal(seq[4].data, PIXELS[4])
        with pytest.raises(ChunkReadError, match=r"img3\.png"):
            seq.stack()

    def test_a_mended_file_is_read(self, folder):
        good = (folder / "img3.png").read_bytes()
        (folder / "img3.png").write_bytes(good[:40])
        image = read_images(folder)[3]
        with pytest.raises(ChunkReadError, match=r"img3\.png") as caught:
            _ = image.data
        assert caught.value.path == str(folder / "img3.png")
        (folder / "img3.png").write_bytes(good)
        np.testing.assert_array_equal(image.data, PIXELS[3])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A sequence of five images whose pixels are their number."""
    root = tmp_path_factory.mktemp("tiny")
    for number in range(5):
        write_png(root / f"{number}.png", np.full((2, 2), number, np.uint8))
    return read_images(root, meta={"number": range(5)})


def index_forms():
    number = st.integers(-7, 6)
    edge = st.none() | number
    return st.one_of(
        number,
        number.map(np.int32),
        number.map(np.array),
        st.builds(slice, edge, edge, st.sampled_from([None, -3, -1, 1, 2])),
        st.lists(number, max_size=8),
        st.lists(number, max_size=8).map(lambda values: np.array(values, np.int64)),
        st.lists(st.integers(0, 6), max_size=8).map(lambda values: np.array(values, np.uint8)),
        st.lists(number, max_size=8).map(lambda values: pd.Series(values, dtype=int)),
        st.lists(st.booleans(), min_size=5, max_size=5),
        st.lists(st.booleans(), min_size=5, max_size=5).map(np.array),
        st.lists(st.booleans(), min_size=5, max_size=5).map(pd.Series),
    )


class TestIndex:
    @given(index_forms())
    def test_as_numpy(self, tiny, index):
        plain = np.asarray(index) if isinstance(index, pd.Series) else index
        if isinstance(plain, list) and not plain:
            plain = np.empty(0, int)
        try:
            expected = np.arange(5)[plain]
        except IndexError:
            with pytest.raises(IndexError, match="out of range"):
                tiny[index]
            return
        found = tiny[index]
        if np.ndim(expected) == 0:
            assert isinstance(found, LazyImage)
            assert found.meta["number"] == found.data[0, 0] == expected
        else:
            assert isinstance(found, ImageSequence)
            assert found.meta["number"].tolist() == expected.tolist()
            assert found.meta.index.tolist() == list(range(len(expected)))
            assert [image.data[0, 0] for image in found] == expected.tolist()

    @given(st.lists(st.integers(-5, 4), min_size=1), st.lists(st.booleans(), min_size=5, max_size=5))
    def test_one_after_the_other(self, tiny, numbers, mask):
        chosen = np.arange(5)[numbers]
        both = chosen[::-1][: len(mask)]
        keep = np.array(mask)[: len(both)]
        assert tiny[numbers][::-1][:5][keep].meta["number"].tolist() == both[keep].tolist()

    @pytest.mark.parametrize("index", [5, -6, np.int64(5), [0, 5], np.array([-6])])
    def test_out_of_range(self, tiny, index):
        with pytest.raises(IndexError, match=r"index (5|-6) is out of range: there are 5 images, 0 to 4 or -5 to -1"):
            tiny[index]

    def test_of_nothing(self, tiny):
        with pytest.raises(IndexError, match="there is no image"):
            tiny[[]][0]

    @pytest.mark.parametrize("index", [np.zeros((2, 2), int), [[0, 1], [1, 0]], (0, 1), np.ones((5, 1), bool), ()])
    def test_more_than_one_axis(self, tiny, index):
        with pytest.raises(ValueError, match="one axis"):
            tiny[index]

    @pytest.mark.parametrize("mask", [[True] * 4, np.ones(6, bool), pd.Series([True])])
    def test_mask_of_another_length(self, tiny, mask):
        with pytest.raises(ValueError, match=f"one bool for each of the 5 images, got {len(mask)}"):
            tiny[mask]

    @pytest.mark.parametrize(
        ("index", "said"),
        [
            *(("0", "'0'"), (1.0, "1.0"), (None, "None"), (True, "True"), (np.True_, "True"), ({0}, "{0}")),
            *((np.array([1.0]), "float64 array"), (["a"], "'a'"), (Ellipsis, "Ellipsis"), (np.array(1.5), "float64")),
        ],
    )
    def test_another_type(self, tiny, index, said):
        with pytest.raises(TypeError, match=f"an index is a whole number, a slice.*got .*{re.escape(said)}"):
            tiny[index]

    def test_a_mask_in_another_order_goes_by_its_row_numbers(self, tiny):
        mask = (tiny.meta["number"] > 2).sort_values(ascending=False)
        assert tiny[mask].meta["number"].tolist() == [3, 4]

    def test_reads_nothing(self, folder, headers, counted):
        seq = read_images(folder)
        _ = seq[3], seq[2:5][::-1], seq[[1, 2]], seq[np.ones(COUNT, bool)], seq.where(np.ones(COUNT, bool))
        assert not headers
        assert counted("reads") == 0


class TestTable:
    @pytest.fixture
    def labelled(self, folder):
        return read_images(
            folder, meta={"label": [number * 5 % COUNT for number in range(COUNT)], "well": list("abc") * 4}
        )

    def check(self, seq):
        """Pixels and rows belong together."""
        for row, pixels in zip(seq.meta.itertuples(), seq.load(), strict=True):
            np.testing.assert_array_equal(pixels, PIXELS[int(row.original_filename[3:-4])])

    def test_query(self, labelled):
        found = labelled.query("label > 5 and well == 'a'")
        assert isinstance(found, ImageSequence)
        assert (found.meta["label"] > 5).all()
        assert set(found.meta["well"]) == {"a"}
        self.check(found)

    def test_query_sees_local_variables_and_methods(self, labelled):
        least = 9
        assert sorted(labelled.query("label >= @least").meta["label"]) == [least, 10, 11]
        assert len(labelled.query("original_filename.str.startswith('img1')")) == 3

    def test_query_of_missing_values_is_no(self, folder):
        seq = read_images(folder, meta={"label": pd.array([1, None] * 6, dtype="Int64")})
        assert len(seq.query("label == 1")) == 6

    @pytest.mark.parametrize("expression", ["labl > 1", "label >", "label + 1", "1 > 0", "x = label", ""])
    def test_bad_query_names_the_columns(self, labelled, expression):
        with pytest.raises(ValueError, match=r"query.*Columns are 'original_filename', 'label', 'well'"):
            labelled.query(expression)

    def test_query_takes_a_string(self, labelled):
        with pytest.raises(TypeError, match="a query is a string"):
            labelled.query(np.ones(COUNT, bool))

    def test_where(self, labelled):
        found = labelled.where(labelled.meta["label"] < 3)
        assert sorted(found.meta["label"]) == [0, 1, 2]
        self.check(found)
        assert len(labelled.where([True, False] * 6)) == 6

    def test_bad_mask(self, labelled):
        with pytest.raises(ValueError, match="one bool for each of the 12 images, got 3"):
            labelled.where([True] * 3)
        with pytest.raises(TypeError, match="a bool for each image, got int64"):
            labelled.where(np.arange(COUNT))

    def test_sort(self, labelled):
        by_label = labelled.sort("label")
        assert by_label.meta["label"].tolist() == list(range(COUNT))
        self.check(by_label)
        down = labelled.sort(["well", "label"], ascending=False)
        assert down.meta["well"].tolist() == sorted(down.meta["well"], reverse=True)
        self.check(down)
        self.check(labelled.sort("label")[::2].query("label > 2").sort("well"))

    def test_sort_is_stable_natural_and_puts_missing_last(self, labelled, names, folder):
        assert labelled.sort("well").meta["original_filename"].tolist() == [
            names[number] for start in range(3) for number in range(start, COUNT, 3)
        ]
        assert labelled[::-1].sort("original_filename").meta["original_filename"].tolist() == names
        gaps = read_images(folder, meta={"label": [np.nan, *range(COUNT - 1)]})
        assert gaps.sort("label").meta["original_filename"].tolist() == [*names[1:], names[0]]

    def test_sort_by_what_is_not_there(self, labelled):
        with pytest.raises(ValueError, match=r"sort by columns of the meta table, got 'size'; there are 'original_fil"):
            labelled.sort("size")

    def test_reads_nothing(self, labelled, headers, counted):
        _ = labelled.sort("label").query("label > 3").where([True] * 8)
        assert not headers
        assert counted("reads") == 0


def subtract_in_place(pixels):
    pixels -= 1
    return pixels


class TestMap:
    def test_is_lazy_and_leaves_the_original_alone(self, folder, counted):
        calls = []
        seq = read_images(folder)
        mapped = seq.map(lambda pixels: calls.append(1) or pixels + 1)
        image = mapped[2]
        assert not calls
        assert counted("reads") == 0
        np.testing.assert_array_equal(image.data, PIXELS[2] + 1)
        np.testing.assert_array_equal(image.data, PIXELS[2] + 1)
        assert len(calls) == 1
        np.testing.assert_array_equal(seq[2].data, PIXELS[2])

    @pytest.mark.parametrize("lazy", [True, False])
    def test_a_function_may_change_its_array(self, folder, lazy):
        seq = read_images(folder, lazy=lazy)
        mapped = seq.map(subtract_in_place)
        for _ in range(2):
            np.testing.assert_array_equal(mapped.stack(), PIXELS - 1)
            np.testing.assert_array_equal(mapped[0].data, PIXELS[0] - 1)
        np.testing.assert_array_equal(seq.stack(), PIXELS)

    def test_maps_follow_one_another_and_slices(self, folder):
        seq = read_images(folder).map(np.fliplr)[2:6].astype("f8").map(subtract_in_place)[::2]
        np.testing.assert_array_equal(seq.stack(), PIXELS[[2, 4]][:, :, ::-1].astype("f8") - 1)

    def test_astype_keeps_the_shape_known(self, folder, counted):
        seq = read_images(folder).astype("float32")
        assert (seq.shape, seq.dtype) == ((COUNT, 6, 8), np.float32)
        assert (seq[0].shape, seq[0].dtype) == ((6, 8), np.float32)
        assert counted("reads") == 0
        assert seq.stack().dtype == seq[0].data.dtype == np.float32
        assert seq.map(np.fliplr).astype("u2").dtype == np.uint16

    def test_shape_after_a_map_is_not_guessed(self, folder):
        seq = read_images(folder).map(lambda pixels: pixels.mean(axis=0))
        assert seq.shape is None
        assert seq[0].shape == (8,)
        assert seq.stack().shape == (COUNT, 8)

    def test_a_result_may_be_a_number(self, folder):
        np.testing.assert_allclose(read_images(folder).map(np.mean).stack(), PIXELS.mean(axis=(1, 2)))

    def test_an_error_tells_the_file(self, folder):
        with pytest.raises(ZeroDivisionError) as caught:
            _ = read_images(folder).map(lambda _: 1 / 0)[1].data
        assert "img1.png" in caught.value.__notes__[0]

    def test_bad_arguments(self, folder):
        with pytest.raises(TypeError, match=r"map\(\) takes a function"):
            read_images(folder).map("f4")
        with pytest.raises(TypeError):
            read_images(folder).astype("no type")

    def test_a_lambda_works_but_does_not_pickle(self, folder):
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            pickle.dumps(read_images(folder).map(lambda pixels: pixels))


class TestStack:
    def test_in_order_under_parallel_load(self, folder, monkeypatch, counted):
        """The first files are the slowest; their pixels still come first."""
        first_done = threading.Event()
        original = image_folder.decode

        def decode(path, *args, **kwargs):
            if path.endswith("img0.png"):
                assert first_done.wait(10), "nothing was read beside the first file"
            else:
                first_done.set()
            return original(path, *args, **kwargs)

        monkeypatch.setattr(image_folder, "decode", decode)
        np.testing.assert_array_equal(read_images(folder).stack(), PIXELS)
        assert counted("reads") == COUNT

    @pytest.mark.parametrize("indices", [None, [3, 1, -1], slice(2, 9, 3), np.arange(COUNT) % 2 == 0, range(4)])
    def test_indices(self, folder, indices):
        seq = read_images(folder)
        expected = PIXELS if indices is None else PIXELS[indices]
        np.testing.assert_array_equal(seq.stack(indices), expected)
        np.testing.assert_array_equal(np.stack(seq.load(indices)), expected)
        np.testing.assert_array_equal(seq.map(np.fliplr).stack(indices), expected[:, :, ::-1])

    def test_results_are_the_callers_own(self, folder):
        seq = read_images(folder)
        for pixels in (seq.stack(), seq.load()[0]):
            pixels[...] = 0
        np.testing.assert_array_equal(seq.stack(), PIXELS)

    def test_shapes_that_differ(self, folder, counted):
        write_png(folder / "img20.png", np.zeros((3, 4), np.uint8))
        seq = read_images(folder)
        with pytest.raises(ValueError, match=r"img0\.png is 6 x 8 uint8, img20\.png is 3 x 4 uint8.*load\(\)"):
            seq.stack()
        assert counted("reads") == 0
        with pytest.raises(ValueError, match="3 x 4"):
            seq.map(np.flipud).stack()
        loaded = seq.load()
        assert [pixels.shape for pixels in loaded[-2:]] == [(6, 8), (3, 4)]

    def test_dtypes_that_differ_become_one_that_holds_all(self, tmp_path):
        write_png(tmp_path / "1.png", np.array([[255]], np.uint8))
        write_png(tmp_path / "2.png", np.array([[65535]], np.uint16))
        for seq in (read_images(tmp_path), read_images(tmp_path).map(np.fliplr)):
            assert seq.stack().tolist() == [[[255]], [[65535]]]

    def test_nothing_to_stack(self, folder):
        with pytest.raises(ValueError, match="no image to stack"):
            read_images(folder).stack([])
        assert read_images(folder).load([]) == []

    def test_bad_indices(self, folder):
        with pytest.raises(TypeError, match="an index is"):
            read_images(folder).stack("all")
        with pytest.raises(IndexError, match="out of range"):
            read_images(folder).load([99])


class TestLoaded:
    """``lazy=False``."""

    def test_is_numpy_with_the_same_pixels(self, folder, counted):
        seq = read_images(folder, lazy=False)
        assert counted("reads") == COUNT
        assert len(cache.shared) == 0
        for path in folder.iterdir():
            path.unlink()
        assert isinstance(seq[3], np.ndarray)
        assert type(seq[3].data) is np.ndarray
        np.testing.assert_array_equal(seq[3], PIXELS[3])
        np.testing.assert_array_equal(seq[3].data, PIXELS[3])
        np.testing.assert_array_equal(seq.stack(), PIXELS)
        assert counted("reads") == COUNT

    def test_everything_else_is_the_same(self, folder):
        meta = {"label": range(COUNT)}
        lazy, loaded = read_images(folder, meta=meta), read_images(folder, meta=meta, lazy=False)
        pd.testing.assert_frame_equal(loaded.meta, lazy.meta)
        assert (loaded.shape, loaded.dtype) == (lazy.shape, lazy.dtype)
        for change in (
            lambda seq: seq[2:7],
            lambda seq: seq.query("label > 5").sort("label", ascending=False),
            lambda seq: seq.map(np.fliplr).astype("f4"),
        ):
            np.testing.assert_array_equal(change(loaded).stack(), change(lazy).stack())
            np.testing.assert_array_equal(change(loaded)[0], change(lazy)[0].data)
        assert "12 images in memory" in repr(loaded)

    def test_an_image_knows_its_row_and_is_read_only(self, folder):
        image = read_images(folder, lazy=False)[2]
        assert image.meta["original_filename"] == "img2.png"
        with pytest.raises(ValueError, match="read-only"):
            image[0, 0] = 1
        copy = pickle.loads(pickle.dumps(image))
        assert isinstance(copy, LoadedImage)
        assert copy.meta["original_filename"] == "img2.png"
        np.testing.assert_array_equal(copy, PIXELS[2])

    def test_arithmetic_gives_plain_arrays(self, folder):
        image = read_images(folder, lazy=False)[2]
        assert type(image + 1) is np.ndarray
        assert type(np.asarray(image)) is np.ndarray
        assert image.sum() == PIXELS[2].sum()
        assert not isinstance(image.max(), np.ndarray)

    def test_pickles_with_its_pixels(self, folder):
        seq = pickle.loads(pickle.dumps(read_images(folder, lazy=False)[[5, 3]]))
        for path in folder.iterdir():
            path.unlink()
        np.testing.assert_array_equal(seq.stack(), PIXELS[[5, 3]])

    def test_a_bad_file_is_told_at_once(self, folder):
        (folder / "img4.png").write_text("no picture")
        with pytest.raises(ChunkReadError, match=r"img4\.png"):
            read_images(folder, lazy=False)


class TestMemory:
    def test_three_passes_over_more_than_the_budget_stay_within_it(self, tmp_path, budget, counted):
        side, count = 256, 24
        pixels = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
        for number in range(count):
            write_png(tmp_path / f"{number}.png", pixels)
        one = side * side
        budget(6 * one)
        seq = read_images(tmp_path)
        for image in seq[:2]:  # what is imported or set up at first use is no matter of passes
            _ = image.data
        tracemalloc.start()
        try:
            for _ in range(3):
                for image in seq:
                    _ = image.data
                    assert cache.shared.nbytes <= 6 * one
            passes = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            for _images in seq.batches(2, repeats=3, prefetch=1):
                assert cache.shared.nbytes <= 6 * one
            batches = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        in_flight = settings.current().workers * 3 * one  # a file's bytes, its pixels, a copy
        assert passes < 6 * one + 4 * one + in_flight
        assert batches < 6 * one + 3 * 2 * 2 * one + in_flight
        assert counted("evictions") > 0

    def test_sub_sequences_share_what_headers_said(self, folder, headers):
        seq = read_images(folder)
        _ = seq.shape
        _ = seq[::2].sort("original_filename").shape
        assert len(headers) == COUNT


class TestMeta:
    @pytest.fixture
    def table(self, names):
        order = np.random.default_rng(2).permutation(COUNT)
        return pd.DataFrame({"file": np.array(names)[order], "label": order, "kind": "cell"})

    def labels(self, seq):
        return seq.meta["label"].tolist()

    def test_a_frame_is_joined_by_name(self, folder, table):
        seq = read_images(folder, meta=table)
        assert self.labels(seq) == list(range(COUNT))
        assert seq.meta.columns.tolist() == ["original_filename", "file", "label", "kind"]
        assert seq.meta["label"].dtype == table["label"].dtype
        assert seq[4].meta["label"] == 4

    def test_a_mapping(self, folder, table):
        assert self.labels(read_images(folder, meta=table.to_dict("list"))) == list(range(COUNT))

    def test_an_index_of_names(self, folder, table):
        for index in ("file", None):
            seq = read_images(folder, meta=table.set_index("file").rename_axis(index))
            assert self.labels(seq) == list(range(COUNT))

    @pytest.mark.parametrize("form", ["csv", "tsv", "json", "json columns", "json by name", "xlsx"])
    def test_files(self, folder, table, tmp_path, form):
        path = tmp_path / f"meta.{form.split()[0].upper()}"
        if form == "csv":
            table.to_csv(path, index=False)
        elif form == "tsv":
            table.to_csv(path, index=False, sep="\t")
        elif form == "json":
            path.write_text(table.to_json(orient="records"))
        elif form == "json columns":
            table.to_json(path)
        elif form == "json by name":
            path.write_text(table.set_index("file").to_json(orient="index"))
        else:
            pytest.importorskip("openpyxl")
            table.to_excel(tmp_path / "meta.xlsx", index=False)
            path = tmp_path / "meta.xlsx"
        assert self.labels(read_images(folder, meta=path)) == list(range(COUNT))
        assert self.labels(read_images(folder, meta=str(path))) == list(range(COUNT))

    def test_the_column_that_names_most_files_is_joined_by(self, folder, names):
        table = pd.DataFrame(
            {"original_filename": ["x.png"] * 11 + ["img0.png"], "source": names, "label": range(COUNT)}
        )
        seq = read_images(folder, meta=table)
        assert self.labels(seq) == list(range(COUNT))
        assert seq.meta["original_filename"].tolist() == names
        assert seq.meta["original_filename_meta"].tolist() == table["original_filename"].tolist()

    def test_of_equal_columns_the_usual_name_is(self, folder, names):
        table = pd.DataFrame({"other": names[::-1], "File Name": names, "label": range(COUNT)})
        assert self.labels(read_images(folder, meta=table)) == list(range(COUNT))

    def test_relative_absolute_and_windows_paths(self, tmp_path):
        files = ["a/1.png", "a/2.png", "b/1.png"]
        for name in files:
            write_png(tmp_path / name, PIXELS[0])
        for form in (
            files,
            [f"./{n}" for n in files],
            [n.replace("/", "\\") for n in files],
            [tmp_path / n for n in files],
        ):
            seq = read_images(tmp_path, meta=pd.DataFrame({"path": form, "label": [1, 2, 3]}))
            assert self.labels(seq) == [1, 2, 3]

    def test_base_names_in_other_folders(self, folder, names):
        table = pd.DataFrame({"path": [f"D:\\export\\{name}" for name in names], "label": range(COUNT)})
        assert self.labels(read_images(folder, meta=table)) == list(range(COUNT))

    def test_unicode_forms_are_equal(self, tmp_path):
        write_png(tmp_path / "a\u0308.png", PIXELS[0])
        assert self.labels(read_images(tmp_path, meta={"file": ["\u00e4.png"], "label": [3]})) == [3]

    def test_files_without_a_row_are_counted_in_a_warning(self, folder, table):
        with pytest.warns(LazyLoadWarning, match="no row for 2 of 12 files"):
            seq = read_images(folder, meta=table[~table["label"].isin([3, 4])])
        assert seq.meta["label"].isna().tolist() == [number in (3, 4) for number in range(COUNT)]

    def test_rows_without_a_file_are_no_matter(self, folder, table):
        more = pd.concat([table, pd.DataFrame({"file": ["gone.png"] * 2, "label": [-1, -2]})])
        assert self.labels(read_images(folder, meta=more)) == list(range(COUNT))

    def test_only_the_files_within_the_limit_count(self, folder, table):
        seq = read_images(folder, limit=3, meta=table[table["label"] < 3])
        assert self.labels(seq) == [0, 1, 2]
        assert self.labels(read_images(folder, limit=3, meta={"label": range(COUNT)})) == [0, 1, 2]

    def test_a_file_named_twice(self, folder, table):
        with pytest.raises(ValueError, match=r"more than one row for 'img5\.png' in column 'file'"):
            read_images(folder, meta=pd.concat([table, table[table["label"] == 5]]))

    def test_a_base_name_that_two_folders_have(self, tmp_path):
        for name in ("a/1.png", "b/1.png"):
            write_png(tmp_path / name, PIXELS[0])
        with pytest.raises(ValueError, match=r"'1\.png', which is 'a/1\.png' and 'b/1\.png'; give paths"):
            read_images(tmp_path, meta={"file": ["1.png"], "label": [1]})

    def test_a_file_listed_twice_has_one_row(self, folder):
        path = folder / "img1.png"
        seq = read_images([path, path], meta={"file": ["img1.png"], "label": [7]})
        assert self.labels(seq) == [7, 7]

    def test_columns_without_names_go_row_by_row(self, folder):
        assert self.labels(read_images(folder, meta={"label": range(COUNT)})) == list(range(COUNT))
        with pytest.raises(
            ValueError, match="no column of the meta table holds the file names: 12 files such as 'img0"
        ):
            read_images(folder, meta={"label": range(3)})

    def test_a_file_without_names_is_never_taken_row_by_row(self, folder, tmp_path):
        pd.DataFrame({"label": range(COUNT)}).to_csv(tmp_path / "meta.csv", index=False)
        with pytest.raises(ValueError, match="no column of the meta table holds the file names"):
            read_images(folder, meta=tmp_path / "meta.csv")

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            *(("a.csv", b""), ("a.csv", b"\xff\xfe\x00\x01"), ("a.csv", b'a,b\n1,2,3\n1,2,3,4\n"')),
            *(("a.json", b"{"), ("a.json", b'{"exposure": 5, "lens": {"na": 1}}'), ("a.json", b"[1, 2]")),
            *(("a.json", b'{"a": [1], "b": [1, 2]}'), ("a.json", b"\xff\xfe")),
            *(("a.xlsx", b"no workbook"), ("a.tsv", b"")),
        ],
    )
    def test_a_file_that_is_no_table(self, folder, tmp_path, name, content):
        if name.endswith("xlsx"):
            pytest.importorskip("openpyxl")
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(
            UnknownFormatError, match=f"expected a {path.suffix[1:].upper()} table, found something else"
        ):
            read_images(folder, meta=path)

    @pytest.mark.parametrize("name", ["table.pkl", "table.pickle", "table.npy", "table"])
    def test_nothing_is_unpickled(self, folder, tmp_path, name):
        class Bomb:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "unpickled"),))

        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(UnknownFormatError, match=r"a meta table is a \.csv, \.tsv, \.json or \.xlsx file"):
            read_images(folder, meta=tmp_path / name)
        assert not (tmp_path / "unpickled").exists()

    def test_a_table_that_is_not_there(self, folder, tmp_path):
        with pytest.raises(SourceOpenError, match=r"gone\.csv cannot be read"):
            read_images(folder, meta=tmp_path / "gone.csv")

    def test_xlsx_without_openpyxl_names_the_extra(self, folder, tmp_path, monkeypatch):
        (tmp_path / "meta.xlsx").write_bytes(b"PK\x03\x04")
        monkeypatch.setattr(pd, "read_excel", lambda _: (_ for _ in ()).throw(ImportError("Missing openpyxl")))
        with pytest.raises(MissingDependencyError, match=r"napari-lazyload\[xlsx\]"):
            read_images(folder, meta=tmp_path / "meta.xlsx")

    def test_bad_tables(self, folder, names):
        with pytest.raises(TypeError, match="a DataFrame, a mapping of columns, or a path, got int"):
            read_images(folder, meta=3)
        with pytest.raises(ValueError, match="columns of equal length"):
            read_images(folder, meta={"a": [1], "b": [1, 2]})
        with pytest.raises(ValueError, match="more than one column 'a'"):
            read_images(folder, meta=pd.DataFrame([[1, 2]] * COUNT, columns=["a", "a"]))

    def test_the_table_that_was_given_stays_as_it_was(self, folder, table):
        before = table.copy()
        seq = read_images(folder, meta=table, common_meta={"plate": 1})
        table["label"] = 0
        assert self.labels(seq) == list(range(COUNT))
        assert before.columns.tolist() == table.columns.tolist()

    def test_common_meta(self, folder, table):
        seq = read_images(folder, meta=table, common_meta={"plate": "P1", "size": (0.5, 0.5), "dose": None})
        assert set(seq.meta["plate"]) == {"P1"}
        assert seq[3].meta["size"] == (0.5, 0.5)
        assert seq.meta["dose"].isna().all()
        assert pickle.loads(pickle.dumps(seq))[0].meta["size"] == (0.5, 0.5)

    def test_bad_common_meta(self, folder, table):
        with pytest.raises(ValueError, match="common_meta has a column 'label' that the meta table has too"):
            read_images(folder, meta=table, common_meta={"label": 1})
        with pytest.raises(TypeError, match="common_meta must be a mapping"):
            read_images(folder, common_meta=[1])

    def test_json_keeps_names_that_look_like_numbers(self, tmp_path):
        for name in ("001.png", "1.png"):
            write_png(tmp_path / name, PIXELS[0])
        (tmp_path / "meta.json").write_text(
            json.dumps([{"id": "001", "file": "001.png"}, {"id": "1", "file": "1.png"}])
        )
        seq = read_images(tmp_path, meta=tmp_path / "meta.json")
        assert dict(zip(seq.meta["original_filename"], seq.meta["id"], strict=True)) == {"001.png": "001", "1.png": "1"}


def test_threads_may_share_a_sequence(folder, counted):
    seq = read_images(folder)

    def use(_):
        assert seq.shape == (COUNT, 6, 8)
        np.testing.assert_array_equal(seq.stack(), PIXELS)
        np.testing.assert_array_equal(seq[3].data, PIXELS[3])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(16)))
    assert counted("reads") == COUNT


def test_no_warning_in_ordinary_use(folder, names):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_images(folder, meta={"file": names, "label": range(COUNT)}).query("label > 3").sort("label").stack()
