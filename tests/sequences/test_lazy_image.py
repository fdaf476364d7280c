"""Single images: read once, read-only, and what is known of them before; also ``lazy=False``."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import tifffile

from helpers.pictures import COUNT, PIXELS, write_png
from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.loading import cache
from napari_lazyload.sequences.lazy_image import LazyImage, LoadedImage
from napari_lazyload.sequences.reading import read_images

PICKLED_LIMIT = 2500


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
        from napari_lazyload.sources.folder.open_folder import open_pictures

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
        tifffile.imwrite(
            tmp_path / "stack.tif",
            pages,
            photometric="minisblack",
            metadata={"axes": "TZYX"},
            ome=True,
        )
        image = read_images(tmp_path)[0]
        assert image.shape == (3, 2, 5, 7)
        np.testing.assert_array_equal(image.data, pages)
        assert counted("reads") == 6
        (batch,) = next(read_images(tmp_path).batches(1))
        np.testing.assert_array_equal(batch, pages[np.newaxis])
        assert counted("reads") == 6

    def test_color_is_the_last_axis(self, tmp_path):
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
