"""Which reader takes a path, and what is said where none does."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePath

import numpy as np
import pytest

from napari_lazyload.core.errors import SourceOpenError, UnknownFormatError
from napari_lazyload.sources.formats import FORMATS
from napari_lazyload.sources.registry import can_open, normalise, open_path

HERE = os.fspath(Path("a.png"))
SPELLINGS = {
    "text": ("a.png", "a.png"),
    "path": (PurePath("a.png"), HERE),
    "bytes": (b"a.png", "a.png"),
    "list": (["a.png", PurePath("b.png")], ["a.png", "b.png"]),
    "tuple": (("a.png",), ["a.png"]),
    "generator": ((name for name in "ab"), ["a", "b"]),
    "array": (np.array(["a.png", "b.png"]), ["a.png", "b.png"]),
}


@pytest.mark.parametrize(("given", "expected"), SPELLINGS.values(), ids=SPELLINGS)
def test_a_path_may_be_spelled_in_many_ways(given, expected):
    assert normalise(given) == expected


def test_the_home_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert normalise("~/a.png") == f"{tmp_path}/a.png"
    assert normalise(["~/a.png", "b~"]) == [f"{tmp_path}/a.png", "b~"]


WRONG = {
    "nothing": (None, TypeError, "expected a path or a list of paths, got None"),
    "number": (3, TypeError, "expected a path or a list of paths, got 3"),
    "numbers": ([1, 2], TypeError, r"got \[1, 2\]"),
    "empty": ("", ValueError, "expected a path, got an empty string"),
    "one empty": (["a.png", ""], ValueError, "got an empty string"),
    "empty list": ([], ValueError, "got an empty list"),
}


@pytest.mark.parametrize(("given", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_path(given, error, message):
    with pytest.raises(error, match=message):
        open_path(given)


@pytest.fixture
def folder(tmp_path, write_folder):
    write_folder(tmp_path, 2)
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "store.zarr").mkdir()
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "zarr.json").touch()
    (tmp_path / "a[1]").mkdir()
    return tmp_path


TAKEN = {
    "": True,
    "img_0.png": True,
    "IMG_9.PNG": True,
    "notes.txt": False,
    "nothing": False,
    "store.zarr": True,
    "plain": True,
    "a[1]": True,
    "*": True,
    "img_?.png": True,
    "*.[pt]*": True,
    "*.npy": True,
    "*.txt": False,
    "*.zarr": False,
}


@pytest.mark.parametrize(("name", "taken"), TAKEN.items(), ids=TAKEN)
def test_what_is_taken_from_its_name_and_kind_alone(folder, monkeypatch, name, taken):
    monkeypatch.setattr(os, "open", lambda *_args, **_kwargs: pytest.fail("a file was opened"))
    assert can_open(folder / name) is taken


def test_lists_are_taken_where_a_picture_is_in_them(folder):
    assert can_open([folder / "notes.txt", folder / "img_0.png"])
    assert not can_open([folder / "notes.txt"])
    assert open_path([folder / "notes.txt", folder / "img_0.png"]).skipped == {"sidecar": 1}


def test_a_list_of_one_folder_is_that_folder_and_of_several_an_error(folder):
    assert can_open([folder])
    assert open_path([folder]).kind == "image folder"
    with pytest.raises(
        UnknownFormatError, match=r"is a folder, one of 2 paths: open one folder at a time"
    ):
        open_path([folder, folder / "a[1]"])


def test_a_folder_whose_name_looks_like_a_glob(folder, write_folder):
    write_folder(folder / "a[1]", 3)
    assert open_path(folder / "a[1]").row_count == 3
    assert open_path(folder / "a[1]" / "img_[01].png").row_count == 2


UNKNOWN = {
    "text": (
        "notes.txt",
        r"notes\.txt: no reader here knows this format. Known: .*pictures; supported_formats\(\)",
    ),
    "packed": (
        "head.nrrd.gz",
        r"expected a file that can be read in place, .* \(\.gz\): unpack it first",
    ),
    "packed text": ("notes.txt.gz", r"notes\.txt\.gz: no reader here knows this format"),
}


@pytest.mark.parametrize(("name", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_no_reader_knows(folder, name, message):
    (folder / name).touch()
    with pytest.raises(UnknownFormatError, match=message) as info:
        open_path(folder / name)
    assert isinstance(info.value, (OSError, ValueError))
    assert info.value.path == str(folder / name)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("https://x.org/a.png", "pictures are opened from local paths"),
        ("https://x.org/a.PNG?size=1", "pictures are opened from local paths"),
        (["a.png", "s3://bucket/b.png"], "is one of 2 paths; expected one address at a time"),
        ("ftp://x.org/a.zarr", "begin with ftp:// cannot be opened; known are http, https, s3"),
    ],
)
def test_addresses(path, message):
    with pytest.raises(UnknownFormatError, match=message):
        open_path(path)
    assert can_open(path)  # so that the message above is what people see


@pytest.mark.parametrize("name", ["nothing", "nothing.png", "nothing/img.png", "nothing.xyz"])
def test_what_is_not_there(folder, name):
    with pytest.raises(SourceOpenError, match="does not exist") as info:
        open_path(folder / name)
    assert not isinstance(info.value, UnknownFormatError)
    with pytest.raises(SourceOpenError, match="does not exist"):
        open_path([folder / name])


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is another one")
def test_a_name_too_long_for_the_file_system(folder):
    for name in ("x" * 300, "x" * 300 + ".png"):
        with pytest.raises(
            SourceOpenError, match=r"longer than the file system allows. The longest has 30\d char"
        ):
            open_path(folder / name)


def test_a_reader_by_name(folder):
    names = [row.name for row in FORMATS]
    assert names[0] == "zarr"
    assert names[-1] == "pictures"
    assert open_path(folder, format="pictures").row_count == 2
    with pytest.raises(SourceOpenError, match="found text that begins with 'text'"):
        open_path(folder / "notes.txt", format="pictures")
    with pytest.raises(ValueError, match=r"format must be one of 'zarr', .*'pictures', got 'word'"):
        open_path(folder, format="word")
    with pytest.raises(SourceOpenError, match="expected images or arrays"):
        open_path(folder, format="zarr")
