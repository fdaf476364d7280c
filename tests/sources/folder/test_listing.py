"""Which files of a folder are pictures, in which order, and what is said of the others."""

from __future__ import annotations

import ntpath
import os
import pickle
import random
import sys
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.files import not_there
from napari_lazyload.sources.folder import listing as file_listing
from napari_lazyload.sources.folder.listing import (
    MAX_DEPTH,
    MAX_NAMED,
    Listing,
    list_files,
    list_folder,
    list_glob,
    path_key,
)

needs_links = pytest.mark.skipif(
    sys.platform == "win32", reason="links need a privilege on Windows"
)


@pytest.fixture
def tree(tmp_path):
    """A function that makes empty files, and folders where a name ends with a slash."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return tmp_path

    return make


def names(listing):
    return listing.names.tolist()


ORDERED = {
    "numbers": ["img1.png", "img2.png", "img10.png", "img100.png"],
    "case does not count": ["IMG1.png", "img2.PNG", "Img3.png", "IMG10.png"],
    "leading zeros": ["a01.png", "a1.png", "a2.png", "a010.png"],
    "unicode": ["bild_ä1.png", "bild_ä2.png", "bild_ä10.png"],
    "folders as numbers": ["t2/z1.png", "t2/z10.png", "t10/z1.png"],
    "folders between files": ["a.png", "aa/x.png", "b.png"],
}


@pytest.mark.parametrize("expected", ORDERED.values(), ids=ORDERED)
def test_natural_order_whatever_the_file_system_says(tree, monkeypatch, expected):
    folder = tree(*expected)
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = random.Random(7).sample(found := list(entries), len(found))

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Shuffled)
    assert names(list_folder(str(folder))) == expected


def test_composed_and_decomposed_names_sort_alike(tree):
    forms = [
        unicodedata.normalize(form, f"é{number}.png")
        for number, form in ((1, "NFD"), (2, "NFC"), (10, "NFD"))
    ]
    if len(set(os.listdir(tree(*forms)))) == 3:
        assert names(list_folder(str(tree()))) == forms


def test_two_files_of_one_name_in_different_case(tree):
    folder = tree("b.png", "A.png", "a.png")
    if len(os.listdir(folder)) == 3:
        assert names(list_folder(str(folder))) == ["A.png", "a.png", "b.png"]


def test_folders_that_differ_in_case_stay_apart():
    mixed = ["run/2.png", "Run/1.png", "run/1.png", "Run/2.png"]
    assert sorted(mixed, key=path_key) == ["Run/1.png", "Run/2.png", "run/1.png", "run/2.png"]


@given(st.lists(st.text("aA1 9é_./", min_size=1, max_size=8), unique=True))
def test_the_order_is_total_and_keeps_folders_together(paths):
    ordered = sorted(paths, key=path_key)
    backwards = paths[::-1]
    assert ordered == sorted(backwards, key=path_key)
    folders = [path.rpartition("/")[0] for path in ordered if path.count("/") == 1]
    runs = [
        folder for place, folder in enumerate(folders) if place == 0 or folders[place - 1] != folder
    ]
    assert len(runs) == len(set(runs))


LEFT_OUT = {
    "hidden file": [".hidden.png", "._a.png", ".DS_Store", ".git/x.png"],
    "system file": ["Thumbs.db", "desktop.ini", "__MACOSX/a.png"],
    "sidecar": ["frames.csv", "notes.TXT", "metadata.json", "readme.md"],
    "not a picture": ["stack.npy", "noext", "movie.mp4", "a.png.part"],
    "Zarr or N5 store": [
        "x.zarr/0/c.png",
        "y.ZARR/a.png",
        "plain/zarr.json",
        "old/.zgroup",
        "z.n5/a.png",
    ],
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_what_is_no_picture_is_left_out_and_counted(tree, reason):
    listing = list_folder(str(tree("a.png", *LEFT_OUT[reason])))
    assert names(listing) == ["a.png"]
    assert listing.skipped_counts() == {reason: len(LEFT_OUT[reason])}


def test_names_left_out_are_remembered_up_to_a_number(tree):
    listing = list_folder(str(tree("a.png", "b.txt", "sub/c.txt")))
    assert listing.skipped["sidecar"] == ["b.txt", "sub/c.txt"]
    for number in range(MAX_NAMED + 5):
        listing.skip("many", str(number))
    assert len(listing.skipped["many"]) == MAX_NAMED
    assert listing.skipped_counts()["many"] == MAX_NAMED + 5


def test_every_suffix_counts_in_any_case_and_a_folder_may_look_like_a_picture(tree):
    listing = list_folder(str(tree("a.PNG", "b.Tiff", "c.png/d.jpg", "e.png/")))
    assert names(listing) == ["a.PNG", "b.Tiff", "c.png/d.jpg"]


def test_sub_folders_can_be_left_alone(tree):
    listing = list_folder(str(tree("a.png", "s/b.png", "t/c.png")), recurse=False)
    assert names(listing) == ["a.png"]
    assert listing.skipped_counts() == {"sub-folder": 2}


def test_folders_are_entered_to_a_depth(tree):
    deep = "/".join("d" * (MAX_DEPTH + 1))
    listing = list_folder(str(tree("a.png", f"{deep[2:]}/b.png", f"{deep}/c.png")))
    assert names(listing) == ["a.png", f"{deep[2:]}/b.png"]
    assert listing.skipped_counts() == {f"folder more than {MAX_DEPTH} deep": 1}


@needs_links
def test_links_that_lead_back_are_not_followed(tree):
    folder = tree("a.png", "s/t/b.png")
    (folder / "itself").symlink_to(folder)
    (folder / "s" / "t" / "up").symlink_to(folder / "s")
    (folder / "s" / "top").symlink_to("/")
    listing = list_folder(str(folder))
    assert names(listing) == ["a.png", "s/t/b.png"]
    assert listing.skipped_counts() == {"link to a folder around it": 3}


@needs_links
def test_a_linked_folder_elsewhere_is_entered_and_may_not_lead_back_either(tree):
    tree("here/a.png", "there/b.png")
    (tree() / "here" / "link").symlink_to(tree() / "there")
    (tree() / "there" / "back").symlink_to(tree() / "here")
    listing = list_folder(str(tree() / "here"))
    assert names(listing) == ["a.png", "link/b.png"]
    assert listing.skipped_counts() == {"link to a folder around it": 1}


@needs_links
def test_links_that_lead_nowhere_or_round_in_circles(tree):
    folder = tree("a.png")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    (folder / "round.png").symlink_to(folder / "round.png")
    (folder / "round").symlink_to(folder / "round")
    listing = list_folder(str(folder))
    assert names(listing) == [
        "a.png",
        "gone.png",
        "round.png",
    ]  # pictures that will not load: rows that say so
    assert listing.skipped_counts() == {"not a picture": 1}


ODD_NAMES = [
    "with space.png",
    "日本語 ü.png",
    "new\nline.png",
    "a[1]*?.png",
    "quote'\".png",
    "%20.png",
    "x" * 251 + ".png",
]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_odd_names(tree, name):
    folder = tree(name)
    listing = list_folder(str(folder))
    assert names(listing) == [name]
    assert os.path.exists(listing.path(0))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such name")
def test_a_name_that_is_no_text(tree):
    with open(os.fsencode(tree()) + b"/\xff1.png", "wb"):
        listing = list_folder(str(tree()))
    assert os.path.exists(pickle.loads(pickle.dumps(listing)).path(0))


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    with pytest.raises(
        SourceOpenError, match=r"nothing cannot be listed: No such file.*Check that it exists"
    ):
        list_folder(str(tmp_path / "nothing"))

    def refused(path):
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refused)
        with pytest.raises(SourceOpenError, match="cannot be listed: Permission denied"):
            list_folder(str(tmp_path))


def test_a_sub_folder_that_cannot_be_listed_is_left_out(tree, monkeypatch):
    folder = tree("a.png", "closed/b.png", "open/c.png")
    scandir = os.scandir

    def some(path):
        if "closed" in path:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", some)
    listing = list_folder(str(folder))
    assert names(listing) == ["a.png", "open/c.png"]
    assert listing.skipped_counts() == {"folder that cannot be listed (Permission denied)": 1}


PATTERNS = {
    "*.png": ["a1.png", "s/a2.png"],
    "a1.*": ["a1.png", "a1.tif"],
    "s/*.png": ["s/a2.png"],
    "a[2-9].png": ["s/a2.png"],
    "nothing": [],
}


@pytest.mark.parametrize(("pattern", "expected"), PATTERNS.items(), ids=PATTERNS)
def test_patterns_choose_among_the_pictures(tree, pattern, expected):
    listing = list_folder(str(tree("a1.png", "a1.tif", "s/a2.png")), pattern=pattern)
    assert names(listing) == expected
    assert listing.skipped_counts().get(f"does not match {pattern!r}", 0) == 3 - len(expected)


def test_files_named_one_by_one_keep_their_order_and_may_come_twice(tree):
    folder = tree("a/1.png", "b/2.tif", "b/3.png")
    listing = list_files(
        [folder / "b" / "3.png", str(folder / "a" / "1.png"), folder / "b" / "3.png"]
    )
    assert (listing.root, names(listing)) == (str(folder), ["b/3.png", "a/1.png", "b/3.png"])
    assert listing.path(1) == os.path.join(str(folder), "a/1.png")


def test_what_is_no_picture_in_a_list_is_left_out(tree):
    folder = tree("1.png", ".2.png", "Thumbs.db", "t.csv", "sub/")
    listing = list_files(
        [folder / name for name in ("1.png", ".2.png", "Thumbs.db", "t.csv", "sub")]
    )
    assert names(listing) == ["1.png", ".2.png"]  # a hidden file that is named is meant
    assert listing.skipped_counts() == {"system file": 1, "sidecar": 1, "sub-folder": 1}


def test_a_list_of_one_in_a_folder_and_relative_paths(tree, monkeypatch):
    folder = tree("deep/1.png")
    monkeypatch.chdir(folder)
    listing = list_files(["deep/1.png"])
    monkeypatch.chdir("/")
    assert (listing.root, names(listing)) == (str(folder / "deep"), ["1.png"])
    assert os.path.exists(listing.path(0))


def test_files_on_several_drives(monkeypatch):
    flat = SimpleNamespace(st_mode=0o100644)
    monkeypatch.setattr(file_listing.os, "path", ntpath)
    monkeypatch.setattr(file_listing.os, "sep", "\\")
    monkeypatch.setattr(file_listing.os, "stat", lambda _path: flat)
    listing = list_files(["C:\\data\\a.png", "D:/more/b.png"])
    assert (listing.root, names(listing)) == ("", ["C:/data/a.png", "D:/more/b.png"])
    assert listing.path(1) == "D:/more/b.png"
    listing = list_files(["C:\\data\\s1\\a.png", "c:/data/s2/b.png"])
    assert (listing.root.lower(), names(listing)) == ("c:\\data", ["s1/a.png", "s2/b.png"])


def test_a_file_that_is_not_there(tree):
    folder = tree("1.png")
    with pytest.raises(SourceOpenError, match=r"2\.png does not exist. Check the path"):
        list_files([folder / "1.png", folder / "2.png"])


WRONG_PATHS = {
    "missing": ("nothing/a.png", "does not exist. Check the path"),
    "long": (
        "x" * 300 + ".png",
        "longer than the file system allows. The longest has 304 characters",
    ),
    "file as folder": ("file.png/a.png", "a part of it is a file"),
    "null": ("a\0b.png", "is not a path"),
    "loop": ("round.png", "goes round in circles"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows words it in another way")
@pytest.mark.parametrize(("name", "expected"), WRONG_PATHS.values(), ids=WRONG_PATHS)
def test_what_is_wrong_with_a_path_is_said(tree, name, expected):
    folder = tree("file.png")
    (folder / "round.png").symlink_to(folder / "round.png")
    assert expected in str(not_there(str(folder / name)))
    with pytest.raises(SourceOpenError, match=r".+"):
        list_files([folder / name])


def test_a_path_that_is_there_after_all(tree):
    assert str(not_there(str(tree("a.png") / "a.png"))).endswith("a.png cannot be opened")


def test_a_glob_on_a_drive_that_is_not_there(monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda _path: False)
    root = os.path.abspath(os.sep)
    with pytest.raises(SourceOpenError, match="no file matches"):
        list_glob(os.path.join(root, "nothing-here", "*.png"))


def test_a_path_that_may_not_be_looked_at(monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", refused)
    error = not_there("/secret/a.png")
    monkeypatch.undo()
    assert "may not be looked at. Check the permissions" in str(error)


GLOBS = {
    "*.png": ["img1.png", "img2.png", "img10.png"],
    "img?.png": ["img1.png", "img2.png"],
    "*": ["img1.png", "img2.png", "img2.tif", "img10.png"],
    "s/*": ["s/a.png"],
    "*/*.png": ["s/a.png"],
    "**/*.png": ["img1.png", "img2.png", "img10.png", "s/a.png", "s/t/b.png"],
    "**": ["img1.png", "img2.png", "img2.tif", "img10.png", "s/a.png", "s/t/b.png"],
    "s/**/*.png": ["s/a.png", "s/t/b.png"],
}


@pytest.mark.parametrize(("pattern", "expected"), GLOBS.items(), ids=GLOBS)
def test_globs(tree, pattern, expected):
    folder = tree(
        "img10.png", "img2.png", "img1.png", "img2.tif", "notes.txt", "s/a.png", "s/t/b.png"
    )
    listing = list_glob(os.path.join(str(folder), pattern))
    found = [
        os.path.relpath(listing.path(row), folder).replace(os.sep, "/")
        for row in range(len(listing.names))
    ]
    assert found == expected
    assert listing.skipped_counts().get("sidecar", 0) == (pattern in ("*", "**"))


def test_a_glob_in_a_folder_whose_name_looks_like_a_glob(tree):
    folder = tree("a[1]/x1.png", "a[1]/s/x2.png", "a1/wrong.png")
    assert names(list_glob(str(folder / "a[1]" / "*.png"))) == ["x1.png"]
    assert names(list_glob(str(folder / "a[1]" / "**" / "*.png"))) == ["s/x2.png", "x1.png"]
    assert names(list_glob(str(folder / "a[0-9]" / "*.png"))) == ["a1/wrong.png"]


def test_a_relative_glob(tree, monkeypatch):
    monkeypatch.chdir(tree("a1.png", "s/a2.png"))
    assert names(list_glob("*.png")) == ["a1.png"]
    assert names(list_glob("s/*.png")) == ["a2.png"]


@needs_links
def test_a_glob_finds_each_file_once_though_links_go_in_circles(tree):
    folder = tree("a.png", "s/b.png")
    (folder / "s" / "back").symlink_to(folder)
    assert names(list_glob(str(folder / "**" / "*.png"))) == ["a.png", "s/b.png"]


@pytest.mark.parametrize("pattern", ["*.tif", "nothing/*.png", "s/"])
def test_a_glob_without_a_match(tree, pattern):
    with pytest.raises(SourceOpenError, match="no file matches"):
        list_glob(os.path.join(str(tree("a.png", "s/")), pattern) + "*.tif")


def test_a_glob_in_a_folder_that_cannot_be_listed(tree, monkeypatch):
    folder = tree("a.png")

    def refused(path):
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refused)
        with pytest.raises(SourceOpenError, match="cannot be listed: Permission denied"):
            list_glob(str(folder / "*.png"))


def test_names_may_be_taken_away_by_a_mask():
    listing = Listing("/r", np.array(["a", "b", "c"], object))
    listing.keep(np.array([True, False, True]), "why")
    assert (names(listing), listing.skipped) == (["a", "c"], {"why": ["b"]})
