"""From a path to images: what goes together, what is told, what is an error."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_lazyload.core import settings
from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.folder import open_folder as module
from napari_lazyload.sources.folder.open_folder import open_pictures


@pytest.fixture
def folder(tmp_path):
    """A function that writes image files by name; a number stands for a gray one of 4 x 5."""

    def write(pictures):
        for name, content in pictures.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((4, 5), content, "u1") if isinstance(content, int) else content
            if isinstance(pixels, bytes):
                path.write_bytes(pixels)
            elif path.suffix == ".tif":
                tifffile.imwrite(path, pixels, photometric="minisblack")
            else:
                path.write_bytes(imagecodecs.png_encode(pixels))
        return tmp_path

    return write


def read(source):
    """Read a whole source."""
    grid = source.meta.levels[0].grid
    result = np.empty(grid.shape, source.meta.dtype)
    for index in grid.touched(grid.full_box):
        result[tuple(slice(*span) for span in grid.bounds(index))] = source.chunk(0, index).load()
    return result


def opened(path, **options):
    return open_pictures(os.fspath(path) if not isinstance(path, list) else path, **options)


def values(found):
    """Every image as the first value of each of its frames."""
    return [read(source)[(..., *(0,) * (2 + source.meta.rgb))].tolist() for source in found.sources]


def axes(found):
    return [dict(zip(source.meta.axes, source.meta.shape, strict=True)) for source in found.sources]


WIDE, DEEP = np.full((4, 6), 9, "u1"), np.full((4, 5), 900, "u2")
RGB, RGBA = np.full((4, 5, 3), 3, "u1"), np.full((4, 5, 4), 4, "u1")


def test_a_folder_is_one_stack(folder):
    found = opened(folder({f"{number}.png": number for number in (10, 2, 1)}))
    assert (found.kind, found.row_count, found.notes) == ("image folder", 3, [])
    assert axes(found) == [{"frame": 3, "y": 4, "x": 5}]
    assert values(found) == [[1, 2, 10]]


def test_no_picture_is_decoded_and_headers_are_read_for_a_short_time(folder, monkeypatch):
    monkeypatch.setattr(
        "napari_lazyload.sources.image_files.decode.decode", lambda *_: pytest.fail("decoded")
    )
    asked = []
    read_for = module.FileSet.read_for
    monkeypatch.setattr(
        module.FileSet,
        "read_for",
        lambda files, time: (asked.append(time), read_for(files, time)),
    )
    path = folder({f"{number}.png": number for number in range(5)})
    found = opened(path)
    opened(path, headers="all")
    most = settings.current().header_seconds
    assert 0.4 * most <= asked[0] <= most
    assert asked[1] == np.inf
    assert found.columns()["shape"].tolist() == ["4 x 5"] * 5


def test_the_time_for_headers_goes_with_the_machine():
    most = settings.current().header_seconds
    seconds = [module.header_seconds(listed * most) for listed in (0, 0.1, 0.2, 0.34, 10)]
    assert seconds == pytest.approx([0.4 * most, 0.4 * most, 0.6 * most, most, most])


def test_a_single_picture_has_no_axis_of_files(folder):
    found = opened(folder({"a.png": 7, "b.png": 8}) / "a.png")
    assert (found.kind, axes(found), found.row_count) == ("picture", [{"y": 4, "x": 5}], 1)
    assert found.columns()["original_filename"].tolist() == ["a.png"]
    assert (read(found.sources[0]) == 7).all()
    assert found.sources[0].meta.name == "a.png"


def test_a_picture_whose_name_does_not_say_so(folder):
    path = folder({"a.png": 7}) / "a.png"
    assert values(opened(path.rename(path.with_name("a.dat")))) == [7]


def test_lists_keep_their_order_and_are_one_stack(folder):
    path = folder({"a/1.png": 1, "a/2.png": 2, "b/1.png": 3, "b/2.png": 4})
    names = ["b/1.png", "a/2.png", "a/1.png", "b/2.png", "a/1.png"]
    found = opened([str(path / name) for name in names])
    assert (found.kind, found.path, axes(found)) == (
        "image list",
        str(path),
        [{"frame": 5, "y": 4, "x": 5}],
    )
    assert values(found) == [[3, 2, 1, 4, 1]]
    assert found.columns()["original_filename"].tolist() == names
    assert found.where() == [str(path / name) for name in names]
    assert axes(opened([str(path / "a" / "1.png")])) == [{"frame": 1, "y": 4, "x": 5}]


def test_globs(folder):
    path = folder({"a/1.png": 1, "a/2.png": 2, "b/1.png": 3, "b/2.png": 4, "b/2.tif": DEEP})
    found = opened(path / "*" / "*.png")
    assert (found.kind, axes(found)) == ("image glob", [{"folder": 2, "frame": 2, "y": 4, "x": 5}])
    assert opened(found.where()).columns()["original_filename"].tolist() == [
        "a/1.png",
        "a/2.png",
        "b/1.png",
        "b/2.png",
    ]


@pytest.mark.parametrize("kind", ["folder", "glob", "list", "picture"])
def test_a_pattern_chooses_in_whatever_is_opened(folder, kind):
    path = folder({"a1.png": 1, "a2.png": 2, "b1.png": 3})
    paths = {
        "folder": path,
        "glob": path / "*",
        "list": [str(path / name) for name in ("a2.png", "b1.png", "a1.png")],
        "picture": path / "a1.png",
    }
    found = opened(paths[kind], pattern="a*")
    assert sorted(found.columns()["original_filename"]) == (
        ["a1.png", "a2.png"] if kind != "picture" else ["a1.png"]
    )
    with pytest.raises(SourceOpenError, match=r"found none \(.*x does not match 'c\*'"):
        opened(paths[kind], pattern="c*")


# --- sub-folders
# ------------------------------------------------------------------------------------------

REGULAR = {
    f"{folder}/{number}.png": 10 * place + number
    for place, folder in enumerate("ab")
    for number in (1, 2, 10)
}


def test_sub_folders_that_agree_become_an_axis(folder):
    found = opened(folder(REGULAR))
    assert axes(found) == [{"folder": 2, "frame": 3, "y": 4, "x": 5}]
    assert values(found) == [[[1, 2, 10], [11, 12, 20]]]
    columns = found.columns()
    assert columns["folder"].tolist() == [0, 0, 0, 1, 1, 1]
    assert columns["frame"].tolist() == [0, 1, 2, 0, 1, 2]


TREES = {
    "nested": (
        [f"{a}/{b}/{c}" for a in "ab" for b in "xy" for c in "12"],
        {"folder_1": 2, "folder_2": 2, "frame": 2},
    ),
    "one folder": (["a/1", "a/2"], {"frame": 2}),
    "one in each": (["a/1", "b/1", "c/1"], {"frame": 3}),
    "one of each": (["a/b/1"], {"frame": 1}),
    "one folder above": (["a/x/1", "a/x/2", "a/y/1", "a/y/2"], {"folder": 2, "frame": 2}),
    "uneven": (["a/1", "a/2", "b/1"], {"frame": 3}),
    "uneven above": (["a/x/1", "a/y/1", "b/x/1"], {"frame": 3}),
    "several depths": (["1", "a/1", "a/2"], {"frame": 3}),
    "several depths of one length": (["a/1", "a/2", "b/x/1", "b/x/2"], {"frame": 4}),
    "case": (["A/1", "A/2", "a/1", "a/2"], {"folder": 2, "frame": 2}),
}


@pytest.mark.parametrize(("names", "expected"), TREES.values(), ids=TREES)
def test_trees(folder, names, expected):
    path = folder({f"{name}.png": number for number, name in enumerate(names)})
    if len({str(entry) for entry in path.iterdir()}) < len({name.split("/")[0] for name in names}):
        pytest.skip("the file system does not tell case apart")
    found = opened(path)
    assert found.sources[0].row_map.axes == expected
    assert np.ravel(values(found)[0]).tolist() == list(range(len(names)))


def test_sub_folders_as_one_stack_apart_or_not_at_all(folder):
    path = folder({**REGULAR, "0.png": 99})
    assert values(opened(path, subfolders="stack")) == [[99, 1, 2, 10, 11, 12, 20]]
    found = opened(path, subfolders="separate")
    assert values(found) == [[99], [1, 2, 10], [11, 12, 20]]
    assert [source.meta.name for source in found.sources] == [
        path.name,
        f"{path.name}/a",
        f"{path.name}/b",
    ]
    assert found.columns()["image"].tolist() == [0, 1, 1, 1, 2, 2, 2]
    assert found.notes == []
    found = opened(path, subfolders="ignore")
    assert (values(found), found.skipped) == ([[99]], {"sub-folder": 2})


def test_sub_folders_of_several_shapes(folder):
    path = folder({"a/1.png": 1, "a/2.png": 2, "b/1.png": WIDE, "b/2.png": WIDE})
    assert axes(opened(path)) == [{"frame": 2, "y": 4, "x": 5}, {"frame": 2, "y": 4, "x": 6}]
    assert axes(opened(path, mixed="pad"))[0] == {"folder": 2, "frame": 2, "y": 4, "x": 6}


def test_never_more_than_so_many_images(folder):
    path = folder({f"{number}/a.png": number for number in range(4)})
    assert len(opened(path, subfolders="separate", max_images=4).sources) == 4
    with pytest.raises(
        SourceOpenError,
        match=r"would open as 4 images; 3 is the most. Use subfolders='stack' or max",
    ):
        opened(path, subfolders="separate", max_images=3)


def test_groups_within_separate_folders_count_too(folder):
    path = folder(
        {
            f"{number}/{name}.png": pixels
            for number in range(3)
            for name, pixels in (("a", 1), ("b", WIDE))
        }
    )
    assert len(opened(path, subfolders="separate").sources) == 6
    found = opened(path, subfolders="separate", mixed="pad")
    assert [source.meta.kind for source in found.sources] == ["image", "labels"] * 3
    with pytest.raises(SourceOpenError, match="would open as 6 images; 5 is the most"):
        opened(path, subfolders="separate", max_images=5)


def test_64_images_are_the_most_without_asking(folder):
    path = folder({f"{number}/a.png": 0 for number in range(65)})
    with pytest.raises(SourceOpenError, match="65 images; 64 is the most"):
        opened(path, subfolders="separate")


# --- groups and padding
# ----------------------------------------------------------------------------------------------

MIXED = {
    "1.png": 1,
    "2.png": WIDE,
    "3.png": 3,
    "4.png": DEEP,
    "5.png": WIDE,
    "6.png": RGB,
    "7.png": RGBA,
}


def test_like_goes_with_like(folder):
    found = opened(folder(MIXED))
    assert [source.meta.name.partition(" ")[2] for source in found.sources] == [
        *(
            "[4 x 5 uint8]",
            "[4 x 6 uint8]",
            "[4 x 5 uint16]",
            "[4 x 5 x 3 uint8]",
            "[4 x 5 x 4 uint8]",
        ),
    ]
    assert found.columns()["original_filename"].tolist() == [
        f"{number}.png" for number in (1, 3, 2, 5, 4, 6, 7)
    ]
    assert found.columns()["image"].tolist() == [0, 0, 1, 1, 2, 3, 4]
    assert found.rows == (range(2), range(2, 4), range(4, 5), range(5, 6), range(6, 7))
    assert "5 shapes or types" in found.notes[0]
    assert [source.meta.rgb for source in found.sources] == [False, False, False, True, True]
    for source, frames in zip(found.sources, ([1, 3], [9, 9], [900], [3], [4]), strict=True):
        assert [int(frame.flat[0]) for frame in read(source)] == frames


def test_a_group_of_sub_folders_keeps_their_axis(folder):
    pictures = {f"{place}/{n}.png": n for place in "ab" for n in (1, 2)} | {
        f"{place}/wide.png": WIDE for place in "ab"
    }
    assert axes(opened(folder(pictures))) == [
        {"folder": 2, "frame": 2, "y": 4, "x": 5},
        {"frame": 2, "y": 4, "x": 6},
    ]


def test_padded_into_one(folder):
    found = opened(folder(MIXED), mixed="pad")
    frames, coverage = found.sources
    assert (frames.meta.shape, frames.meta.dtype, frames.meta.rgb) == (
        (7, 4, 6, 4),
        np.dtype("u2"),
        True,
    )
    assert (coverage.meta.shape, coverage.meta.kind) == ((7, 4, 6), "labels")
    assert found.rows == (range(7), range(7))
    assert "image" not in found.columns()
    assert read(frames)[:, 0, 0, 0].tolist() == [1, 9, 3, 900, 9, 3, 4]
    assert read(coverage).sum(axis=(1, 2)).tolist() == [20, 24, 20, 20, 24, 20, 20]
    assert "look dark" in found.notes[0]


def test_floats_need_no_coverage(folder):
    found = opened(
        folder({"1.tif": np.ones((2, 5), "f4"), "2.tif": np.ones((3, 5), "i8")}), mixed="pad"
    )
    (source,) = found.sources
    assert source.meta.dtype == np.dtype("f8")
    assert np.isnan(read(source)[0, 2]).all()
    assert "above 2**53 are rounded" in found.notes[0]


def test_one_kind_is_not_padded(folder):
    found = opened(folder(REGULAR), mixed="pad")
    assert axes(found) == [{"folder": 2, "frame": 3, "y": 4, "x": 5}]
    assert found.notes == []


def test_more_groups_than_images_are_padded(folder):
    path = folder({f"{width}.png": np.ones((2, width), "u1") for width in range(1, 67)})
    found = opened(path)
    assert axes(found) == [{"frame": 66, "y": 2, "x": 66}] * 2
    assert "66 groups of different shape or type" in found.notes[0]
    assert read(found.sources[0]).sum() == 2 * sum(range(1, 67))
    assert len(opened(path, max_images=66).sources) == 66


def test_what_no_one_frame_can_hold_stays_apart(folder):
    """Pages and colours cannot be one frame: never an exception, never a wrong value."""
    pictures = {
        "1.png": 1,
        "2.png": WIDE,
        "3.tif": np.ones((2, 4, 5), "u1"),
        "4.tif": np.full((3, 4, 6), 2, "u1"),
    }
    found = opened(folder(pictures), mixed="pad")
    assert axes(found)[::2] == [
        {"frame": 2, "y": 4, "x": 6},
        {"frame": 2, "page": 3, "y": 4, "x": 6},
    ]
    assert read(found.sources[2]).sum(axis=(1, 2, 3)).tolist() == [40, 144]
    assert len({source.meta.name for source in found.sources}) == 4


def test_names_of_groups_are_unique(folder):
    path = folder({"1.png": RGB})
    tifffile.imwrite(
        path / "2.tif", np.ones((4, 5, 3), "u1"), photometric="minisblack", planarconfig="contig"
    )
    names = [source.meta.name for source in opened(path).sources]
    assert len(set(names)) == len(names) == 2


def test_files_that_cannot_be_read_go_with_the_most(folder):
    found = opened(folder({"1.png": WIDE, "2.png": b"text", "3.png": 3, "4.png": 4}))
    assert axes(found) == [{"frame": 1, "y": 4, "x": 6}, {"frame": 3, "y": 4, "x": 5}]
    assert found.columns()["original_filename"].tolist() == ["1.png", "2.png", "3.png", "4.png"]
    (row, reason), *rest = found.problems().items()
    assert (row, rest) == (1, [])
    assert "2.png" in reason


def test_palettes_and_scales_that_differ_are_told(folder):
    path = folder({})
    for number in range(2):
        palette = np.full((3, 256), 257 * (number + 1), "u2")
        pixels = np.zeros((4, 5), "u1")
        tags = {
            "photometric": "palette",
            "colormap": palette,
            "resolution": (5e4 + number,) * 2,
            "resolutionunit": 3,
        }
        tifffile.imwrite(path / f"{number}.tif", pixels, **tags)
    found = opened(path)
    assert found.sources[0].meta.colormap is None
    assert found.sources[0].meta.scale is None
    assert ["different palettes" in found.notes[0], "different pixel sizes" in found.notes[1]] == [
        True,
        True,
    ]


# --- what was not looked at
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 1000])
def test_time_decides_nothing(folder, seconds):
    """Thumbnails lie between the planes; a few planes differ where no header is read first."""
    pictures = {}
    for number in range(300):
        pictures[f"img_{number}.png"] = number % 251
        pictures[f"img_{number}_thumb.png"] = np.full((2, 2), number % 251, "u1")
    path = folder(pictures | {"img_7.png": WIDE})
    settings.update(header_seconds=seconds)
    try:
        found = opened(path)
    finally:
        settings.update(header_seconds=None)
    assert axes(found) == [{"frame": 300, "y": 4, "x": 5}, {"frame": 300, "y": 2, "x": 2}]
    assert sum(dict(found.problems()).keys()) == (7 if seconds else 0)
    assert found.background is None or scan(found) == [7]
    assert list(found.problems()) == [7]


def scan(found):
    rows = []
    found.background(lambda: False, rows.append)
    return rows


def test_the_background_finds_what_differs(folder, hurried):
    pictures = {f"{number}.png": number for number in range(1, 9)}
    path = folder(pictures | {"4.png": WIDE, "6.png": b"", "8.png": b"text"})
    found = opened(path)
    assert axes(found) == [{"frame": 8, "y": 4, "x": 5}]
    assert (found.problems(), list(found.columns()["shape"])) == ({}, ["4 x 5", *[""] * 7])
    assert np.isnan(found.columns()["size_bytes"][1:]).all()
    assert np.isnat(found.columns()["modified"][1:]).all()
    assert scan(found) == [3, 5, 7]
    problems = found.problems()
    assert problems[3] == "expected 4 x 5 uint8, found 4 x 6 uint8; reopen in groups to see it"
    assert "is empty (0 bytes)" in problems[5]
    assert "found text" in problems[7]
    columns = found.columns()
    assert list(columns["shape"]) == ["4 x 5"] * 3 + ["4 x 6", "4 x 5", "", "4 x 5", ""]
    assert columns["size_bytes"][5] == 0
    assert not np.isnat(columns["modified"]).any()
    assert scan(found) == []


def test_axes_are_named_where_they_alone_differ(folder, hurried):
    path = folder({"1.tif": np.zeros((3, 4, 5), "u1")})
    tifffile.imwrite(
        path / "2.tif", np.zeros((3, 4, 5), "u1"), imagej=True, metadata={"axes": "ZYX"}
    )
    found = opened(path)
    assert scan(found) == [1]
    assert found.problems()[1].startswith(
        "expected 3 x 4 x 5 uint8 (page, y, x), found 3 x 4 x 5 uint8 (z, y, x);"
    )


def test_the_background_stops_when_told(folder, hurried):
    found = opened(folder({f"{number}.png": number for number in range(1, 9)}))
    calls = iter([False, False, True])
    found.background(lambda: next(calls), lambda row: pytest.fail("nothing is wrong"))
    assert list(found.columns()["shape"]) == ["4 x 5"] * 3 + [""] * 5


def test_what_does_not_fit_a_padded_frame_is_found(folder, hurried):
    found = opened(folder({"1.png": WIDE, "2.png": 2, "3.png": DEEP}), mixed="pad")
    assert axes(found) == [{"frame": 3, "y": 4, "x": 6}]
    assert scan(found) == [1, 2]


def test_nothing_is_left_for_the_background_where_all_is_known(folder):
    assert opened(folder({"1.png": 1, "2.png": 2})).background is None


@pytest.mark.filterwarnings("ignore:.*one image for each")
def test_separate_folders_are_each_looked_at(folder, hurried):
    path = folder(
        {
            "a/1.png": 1,
            "a/2.png": 2,
            "b/1.png": WIDE,
            "b/2.png": WIDE,
            "c/1.png": b"text",
            "c/2.png": DEEP,
        }
    )
    found = opened(path, subfolders="separate")
    assert axes(found) == [
        {"frame": 2, "y": 4, "x": 5},
        {"frame": 2, "y": 4, "x": 6},
        {"frame": 2, "y": 4, "x": 5},
    ]
    assert scan(found) == [5]


def test_a_row_that_is_mended_is_looked_at_again(folder):
    path = folder({"1.png": 1, "2.png": b"text", "3.png": 3})
    found = opened(path)
    assert list(found.problems()) == [1]
    folder({"2.png": 2})
    found.recheck(1)
    assert found.problems() == {}
    folder({"2.png": WIDE})
    found.recheck(1)
    assert "found 4 x 6 uint8" in found.problems()[1]
    (path / "2.png").unlink()
    found.recheck(1)
    assert "cannot be found" in found.problems()[1]


# --- what is left out, what is an error
# ------------------------------------------------------------------------------


def test_what_is_left_out(folder):
    path = folder(
        {"1.png": 1, "2.png": b"", "3.png": b"", "t.csv": b"", ".x.png": b"", "s/Thumbs.db": b""}
    )
    found = opened(path)
    assert found.skipped == {"empty file": 2, "sidecar": 1, "hidden file": 1, "system file": 1}
    assert found.left_out["empty file"] == ["2.png", "3.png"]
    assert found.left_out["system file"] == ["s/Thumbs.db"]
    assert axes(found) == [{"frame": 1, "y": 4, "x": 5}]


ERRORS = {
    "empty folder": ({}, "expected pictures, found an empty folder. Choose a folder with"),
    "no pictures": (
        {"a.csv": b"", "b.xyz": b"", "c.xyz": b""},
        "found none (2 x not a picture, 1 x sidecar)",
    ),
    "a Zarr store alone": ({"a.zarr/0/c.png": b""}, "found none (1 x Zarr or N5 store)"),
    "all empty": ({"1.png": b"", "2.png": b""}, "none of 2 pictures can be read. The first:"),
    "all broken": ({"1.png": b"text", "2.png": b"text"}, "found text that begins with 'text'"),
}


@pytest.mark.parametrize(("content", "message"), ERRORS.values(), ids=ERRORS)
def test_folders_without_a_picture(folder, content, message):
    path = folder(content)
    with pytest.raises(SourceOpenError) as info:
        opened(path)
    assert message in str(info.value)
    assert str(path) in str(info.value)
    assert info.value.path == str(path)


def test_a_picture_that_cannot_be_read(folder):
    path = folder({"a.png": b""})
    with pytest.raises(SourceOpenError, match=r"^\S*a\.png: the file is empty \(0 bytes\)"):
        opened(path / "a.png")
    with pytest.raises(SourceOpenError, match=r"nothing\.png does not exist"):
        opened(path / "nothing.png")


def test_many_that_cannot_be_read_are_not_all_tried(folder, monkeypatch):
    monkeypatch.setattr(
        module.FileSet,
        "read_deciding",
        lambda files: [files.read_header(row) for row in range(2)],
    )
    with pytest.raises(SourceOpenError, match="none of the 2 tried of 3 pictures can be read"):
        opened(folder({f"{number}.png": b"text" for number in range(3)}))


WRONG = {
    "unknown": (
        {"colour": 1},
        TypeError,
        "'colour' is not an option of image folders; there are: subfolders, mixed",
    ),
    "choice": ({"mixed": "both"}, ValueError, "mixed must be one of 'groups', 'pad', got 'both'"),
    "no text": (
        {"subfolders": ["axis"]},
        ValueError,
        r"subfolders must be one of 'axis', 'stack', 'separate', 'ignore'",
    ),
    "headers": ({"headers": True}, ValueError, "headers must be one of 'budget', 'all', got True"),
    "pattern": ({"pattern": 3}, TypeError, "pattern must be a glob pattern such as"),
    "number": (
        {"max_images": 0},
        ValueError,
        "max_images must be a whole number of at least 1, got 0",
    ),
    "bool": ({"max_images": True}, ValueError, "max_images must be a whole number"),
}


@pytest.mark.parametrize(("options", "error", "message"), WRONG.values(), ids=WRONG)
def test_wrong_options(folder, options, error, message):
    with pytest.raises(error, match=message):
        opened(folder({"1.png": 1}), **options)


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(os, "geteuid"), reason="permissions of Unix"
)
def test_without_permission():
    """As nobody where the tests run as root, whom nothing is forbidden."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for number in range(3):
            (folder / f"{number}.png").write_bytes(
                imagecodecs.png_encode(np.full((4, 5), number, "u1"))
            )
        (folder / "1.png").chmod(0)
        closed = folder / "closed"
        closed.mkdir(mode=0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            found = opened(folder)
            assert found.skipped == {"folder that cannot be listed (Permission denied)": 1}
            assert "may not be read" in found.problems()[1]
            with pytest.raises(
                SourceOpenError,
                match=r"closed cannot be listed: Permission denied.*you may read it",
            ):
                opened(closed)
            with pytest.raises(
                SourceOpenError, match=r"may not be looked at. Check the permissions"
            ):
                opened(closed / "a.png")
            with pytest.raises(SourceOpenError, match="may not be read"):
                opened(folder / "1.png")
        finally:
            if root:
                os.seteuid(0)
            closed.chmod(0o755)
