"""Sequences as a whole: shapes, pickling, maps, stacks, memory, and reads, each once."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from helpers.pictures import COUNT, PIXELS, write_png
from napari_lazyload.core import settings
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading import cache
from napari_lazyload.sequences.lazy_image import LazyImage
from napari_lazyload.sequences.reading import read_images
from napari_lazyload.sources.image_files import decode as pictures

PICKLED_LIMIT = 2500


@pytest.fixture
def budget():
    """Sets the cache's budget for one test."""
    yield lambda nbytes: settings.update(cache_budget=nbytes)
    settings.update(cache_budget=None)
    cache.shared.drop()


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
        for part in (
            "12 lazy images",
            repr(str(folder)),
            "the first 6 x 8 uint8",
            "2 maps",
            "plate",
        ):
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
            read_images(folder, meta={"label": range(COUNT)})
            .sort("label", ascending=False)
            .astype("f4")
            .map(np.fliplr)
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
            "flipped = [p[::-1] for p in eval(sys.argv[2])];"
            "print(seq.meta.label.tolist(), seq.stack().tolist() == flipped)"
        )
        arguments = [str(tmp_path / "seq.pickle"), repr(PIXELS[9:].tolist())]
        out = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
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
        np.testing.assert_allclose(
            read_images(folder).map(np.mean).stack(), PIXELS.mean(axis=(1, 2))
        )

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
        original = pictures.decode

        def decode(path, *args, **kwargs):
            if path.endswith("img0.png"):
                assert first_done.wait(10), "nothing was read beside the first file"
            else:
                first_done.set()
            return original(path, *args, **kwargs)

        monkeypatch.setattr(pictures, "decode", decode)
        np.testing.assert_array_equal(read_images(folder).stack(), PIXELS)
        assert counted("reads") == COUNT

    @pytest.mark.parametrize(
        "indices", [None, [3, 1, -1], slice(2, 9, 3), np.arange(COUNT) % 2 == 0, range(4)]
    )
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
        with pytest.raises(
            ValueError, match=r"img0\.png is 6 x 8 uint8, img20\.png is 3 x 4 uint8.*load\(\)"
        ):
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
        read_images(folder, meta={"file": names, "label": range(COUNT)}).query("label > 3").sort(
            "label"
        ).stack()
