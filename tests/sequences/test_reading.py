"""From a path to a sequence: which files, in which order, and that none is opened."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from helpers.pictures import COUNT, PIXELS, write_png
from napari_lazyload.core.errors import (
    ChunkReadError,
    SourceOpenError,
)
from napari_lazyload.sequences import reading
from napari_lazyload.sequences.reading import read_images


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
        assert seq.meta["original_filename"].tolist() == [
            "a2/9.png",
            "a2/10.png",
            "a10/1.png",
            "b/1.png",
            "z.png",
        ]
        assert seq.path == str(tmp_path)
        np.testing.assert_array_equal(seq[1].data, PIXELS[0])

    def test_glob(self, folder):
        seq = read_images(str(folder / "img1*.png"))
        assert seq.meta["original_filename"].tolist() == ["img1.png", "img10.png", "img11.png"]

    def test_list_keeps_its_order_and_may_hold_paths(self, folder):
        seq = read_images([folder / "img3.png", str(folder / "img1.png")])
        np.testing.assert_array_equal(seq.stack(), PIXELS[[3, 1]])

    @pytest.mark.parametrize("form", [str, Path])
    def test_a_list_of_one_folder_is_that_folder_as_for_a_dataset(self, folder, names, form):
        (folder / "empty.png").touch()
        seq = read_images([form(folder)])
        assert seq.meta["original_filename"].tolist() == names
        assert seq.skipped == {"empty file": 1}

    def test_single_file(self, folder):
        seq = read_images(folder / "img7.png")
        assert len(seq) == 1
        np.testing.assert_array_equal(seq[0].data, PIXELS[7])

    @pytest.mark.parametrize("form", ["folder", "glob", "list"])
    def test_pattern(self, folder, form):
        write_png(folder / "other.png", PIXELS[0])
        path = {"folder": folder, "glob": str(folder / "*.png"), "list": sorted(folder.iterdir())}[
            form
        ]
        seq = read_images(path, pattern="img?.png")
        assert len(seq) == 10
        assert seq.skipped == {"does not match 'img?.png'": 3}

    @pytest.mark.parametrize(
        ("limit", "expected"), [(0, 0), (1, 1), (np.int64(3), 3), (100, COUNT), (None, COUNT)]
    )
    def test_limit(self, folder, names, limit, expected):
        seq = read_images(folder, limit=limit)
        assert seq.meta["original_filename"].tolist() == names[:expected]

    @pytest.mark.parametrize(
        ("limit", "error"),
        [(-1, ValueError), (2.5, TypeError), (True, TypeError), ("3", TypeError)],
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

    def test_empty_files_of_a_list_or_a_huge_folder_fail_when_they_are_read(
        self, folder, monkeypatch
    ):
        (folder / "img0.png").write_bytes(b"")
        with pytest.raises(ChunkReadError, match="empty"):
            _ = read_images([folder / "img0.png"])[0].data
        monkeypatch.setattr(reading, "MOST_SIZES_CHECKED", COUNT - 1)
        seq = read_images(folder)
        assert len(seq) == COUNT
        with pytest.raises(ChunkReadError, match="empty"):
            _ = seq[0].data

    def test_names_with_odd_characters(self, tmp_path):
        odd = [
            "ä b#1.png",
            "%41.png",
            "img[1].png",
            "x" * 240 + ".png",
            os.fsdecode(b"\xff\xfe.png"),
        ]
        for name in odd:
            write_png(tmp_path / name, PIXELS[1])
        seq = read_images(tmp_path)
        assert sorted(seq.meta["original_filename"]) == sorted(odd)
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(seq)).stack(), PIXELS[[1] * len(odd)]
        )

    def test_real_folders_equal_their_references(self, realdata):
        cases = json.loads((realdata / "catalogue.json").read_text())
        folders = [
            case for case in cases if case["kind"] in ("folder", "mm-folder") and not case["lossy"]
        ]
        assert folders
        for case in folders:
            seq = read_images(realdata / case["path"])
            frames = case["ref"]["frames"]
            assert seq.meta["original_filename"].tolist() == [frame[0] for frame in frames], case[
                "name"
            ]
            found = [hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in seq.load()]
            assert found == [frame[3] for frame in frames], case["name"]
