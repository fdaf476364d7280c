"""What is known of many files' headers, and when it is found out."""

from __future__ import annotations

import os
import pickle
import time

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_lazyload.core.errors import ChunkReadError, MissingDependencyError
from napari_lazyload.sources.files import FileStamp
from napari_lazyload.sources.folder import file_set
from napari_lazyload.sources.folder.file_set import UNREAD, UNREADABLE, FileSet
from napari_lazyload.sources.folder.listing import list_folder
from napari_lazyload.sources.image_files import decode


@pytest.fixture
def folder(tmp_path, write_folder):
    write_folder(tmp_path, 6)
    return tmp_path


def files_of(folder):
    return FileSet(list_folder(str(folder)))


def write(path, width=3):
    path.write_bytes(imagecodecs.png_encode(np.zeros((2, width), "u1")))


def count_headers(monkeypatch):
    rows = []
    parse_header = file_set.parse_header

    def counted(path):
        rows.append(os.path.basename(path))
        return parse_header(path)

    monkeypatch.setattr(file_set, "parse_header", counted)
    return rows


def test_a_header_is_read_once(folder, monkeypatch):
    files, read = files_of(folder), count_headers(monkeypatch)
    assert (files.read_header(2), files.read_header(2)) == (0, 0)
    assert read == ["img_2.png"]
    assert files.kind.tolist() == [UNREAD, UNREAD, 0, UNREAD, UNREAD, UNREAD]
    assert files.probed(2) == (files.changed_ns[2], files.sizes[2], 0, 0)
    assert files.probed(2).same_content(FileStamp.of(files.path(2)))
    assert files.probed(1) is None


def test_files_of_one_shape_type_and_axes_are_of_one_kind(folder):
    (folder / "img_1.png").write_bytes(imagecodecs.png_encode(np.zeros((24, 32), "u2")))
    (folder / "img_3.png").write_bytes(imagecodecs.png_encode(np.zeros((24, 32, 3), "u1")))
    files = files_of(folder)
    files.read_for(np.inf)
    assert files.all_known()
    assert files.kind.tolist() == [0, 1, 0, 2, 0, 0]
    assert [(info.shape, str(info.dtype)) for info in files.header_classes] == [
        ((24, 32), "uint8"),
        ((24, 32), "uint16"),
        ((24, 32, 3), "uint8"),
    ]
    assert files.main_kind() == 0


def test_the_extras_of_a_kind_are_those_that_all_its_files_share(tmp_path):
    for number, resolution in enumerate(((5e4, 5e4), (5e4, 5e4), (2e4, 2e4))):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(
            path, np.zeros((4, 5), "u1"), resolution=resolution, resolutionunit="CENTIMETER"
        )
    files = files_of(tmp_path)
    files.read_header(0)
    assert files.header_classes[0].metadata["scale"] == pytest.approx((0.2, 0.2))
    files.read_header(1)
    assert "scale" in files.header_classes[0].metadata
    files.read_header(2)
    assert "scale" not in files.header_classes[0].metadata
    assert files.differing == {"scale"}


def test_what_cannot_be_read_is_noted_with_the_reason(folder, monkeypatch):
    (folder / "img_1.png").write_bytes(b"")
    (folder / "img_2.png").write_text("no picture")
    (folder / "img_3.png").write_bytes((folder / "img_3.png").read_bytes()[:30])
    files = files_of(folder)
    (folder / "img_4.png").unlink()
    files.read_for(np.inf)
    assert files.all_known()
    assert files.kind.tolist() == [0, UNREADABLE, UNREADABLE, UNREADABLE, UNREADABLE, 0]
    reasons = [
        "is empty (0 bytes)",
        "found text that begins",
        "expected a complete file",
        "cannot be found any more",
    ]
    for row, reason in enumerate(reasons, 1):
        assert reason in files.problems[row]

    def missing(path):
        raise MissingDependencyError("install the extra")

    monkeypatch.setattr(decode, "parse_header", missing)
    files.forget(0)
    assert files.read_header(0) == UNREADABLE
    assert files.problems[0] == "install the extra"


def test_a_file_that_was_mended_is_read_again_once_forgotten(folder):
    good = (folder / "img_2.png").read_bytes()
    (folder / "img_2.png").write_bytes(b"")
    files = files_of(folder)
    assert files.read_header(2) == UNREADABLE
    (folder / "img_2.png").write_bytes(good)
    assert files.read_header(2) == UNREADABLE
    files.forget(2)
    assert (files.kind[2], files.problems) == (UNREAD, {})
    assert files.read_header(2) == 0


def test_a_stamp_tells_of_the_file_that_is_gone(tmp_path):
    with pytest.raises(
        ChunkReadError, match=r"cannot be found any more \(No such file.*retry"
    ) as info:
        FileStamp.of(str(tmp_path / "a.png"))
    assert info.value.path == str(tmp_path / "a.png")


class Clock:
    """Time that passes with each header alone."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.rows = 0.0, []
        monkeypatch.setattr(file_set.time, "perf_counter", lambda: self.now)
        probe = FileSet.read_header

        def timed(files, row):
            self.now += seconds
            self.rows.append(row)
            return probe(files, row)

        monkeypatch.setattr(FileSet, "read_header", timed)


def test_more_headers_are_read_until_the_time_is_up(folder, monkeypatch):
    clock = Clock(monkeypatch, 1)
    files = files_of(folder)
    files.read_for(3.5)
    assert clock.rows == [0, 1, 2, 3]
    assert list(files.unknown()) == [4, 5]
    files.read_for(np.inf)
    assert list(files.unknown()) == []


def test_headers_that_decide_are_counted_not_timed(folder, monkeypatch):
    monkeypatch.setattr(file_set, "SAMPLE", 3)
    clock = Clock(monkeypatch, 1000)
    files_of(folder).read_deciding()
    assert clock.rows == [0, 2, 4]


def test_each_family_of_names_has_a_header_read(tmp_path, monkeypatch):
    monkeypatch.setattr(file_set, "SAMPLE", 1)
    for name in ("img_1", "img_1_thumb", "img_2", "img_2_thumb", "img_3", "mask_3"):
        write(tmp_path / f"{name}.png", width=2 + 2 * ("img" in name))
    files = files_of(tmp_path)
    clock = Clock(monkeypatch, 1)
    files.read_deciding()
    assert [files.listing.names[row] for row in clock.rows] == [
        "img_1.png",
        "img_1_thumb.png",
        "mask_3.png",
    ]
    assert files.family.tolist() == [0, 1, 0, 1, 0, 2]
    assert files.expected_kinds().tolist() == [0, 0, 0, 0, 0, 1]


def test_a_family_whose_files_differ_is_read_whole(folder, monkeypatch):
    monkeypatch.setattr(file_set, "SAMPLE", 2)
    write(folder / "img_3.png")
    clock = Clock(monkeypatch, 1)
    files = files_of(folder)
    files.read_deciding()
    assert clock.rows == [0, 3, 1, 2, 4, 5]
    assert files.all_known()


def test_a_family_too_large_to_be_read_is_taken_for_what_most_of_it_are(folder, monkeypatch):
    monkeypatch.setattr(file_set, "SAMPLE", 3)
    monkeypatch.setattr(file_set, "MOST_READ", 5)
    write(folder / "img_4.png")
    clock = Clock(monkeypatch, 1)
    files = files_of(folder)
    files.read_deciding()
    assert clock.rows == [0, 2, 4]
    assert files.expected_kinds().tolist() == [0, 0, 0, 0, 1, 0]


def test_the_search_for_a_file_that_can_be_read_ends(folder, monkeypatch):
    monkeypatch.setattr(file_set, "SAMPLE", 1)
    monkeypatch.setattr(file_set, "MOST_READ", 2)
    for number in range(6):
        (folder / f"img_{number}.png").write_bytes(b"")
    files = files_of(folder)
    files.read_deciding()
    assert np.count_nonzero(files.kind == UNREADABLE) == 3
    assert files.main_kind() == UNREADABLE


def test_empty_files_that_are_known_are_dropped(folder):
    for number in (0, 3):
        (folder / f"img_{number}.png").write_bytes(b"")
    (folder / "img_4.png").write_text("text")
    files = files_of(folder)
    files.read_for(np.inf)
    files.drop_empty()
    assert files.listing.names.tolist() == ["img_1.png", "img_2.png", "img_4.png", "img_5.png"]
    assert files.listing.skipped == {"empty file": ["img_0.png", "img_3.png"]}
    assert files.kind.tolist() == [0, 0, UNREADABLE, 0]
    assert list(files.problems) == [2]
    assert (files.sizes > 0).all()
    assert files.path(1) == str(folder / "img_2.png")


def test_it_pickles_with_what_is_known(folder, monkeypatch):
    files = files_of(folder)
    files.read_for(np.inf)
    files.on_header = print
    copy = pickle.loads(pickle.dumps(files))
    read = count_headers(monkeypatch)
    assert [copy.read_header(row) for row in range(6)] == [0] * 6
    assert (read, copy.token, copy.on_header) == ([], files.token, None)
    copy.forget(1)
    assert copy.read_header(1) == 0


def test_who_watches_hears_of_each_header(folder):
    files, heard = files_of(folder), []
    files.on_header = heard.append
    files.read_header(3)
    files.read_header(3)
    files.read_header(1)
    assert heard == [3, 1]


def test_a_look_at_many_files_costs_no_pass_over_all_for_each(tmp_path, monkeypatch):
    """A million rows, ten of them unknown: found at once, without a list of a million numbers."""
    files = files_of(tmp_path)
    files.listing.names = np.full(1_000_000, "a.png", object)
    files.kind = np.zeros(1_000_000, np.int32)
    files.kind[::100_000] = UNREAD
    start = time.process_time()
    assert list(files.unknown()) == list(range(0, 1_000_000, 100_000))
    assert time.process_time() - start < 1
