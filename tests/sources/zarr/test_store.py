"""Folders as stores: keys stay inside, ranges, listing, what tells a replaced file, errors."""

from __future__ import annotations

import os
import pickle
import sys

import pytest

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.zarr.location import find_store
from napari_lazyload.sources.zarr.open_store import open_store
from napari_lazyload.sources.zarr.store import AccessDeniedError, LocalStore, Store

needs_links = pytest.mark.skipif(
    sys.platform == "win32", reason="links need a privilege on Windows"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outside").write_bytes(b"secret")
    root = tmp_path / "a.zarr"
    (root / "c" / "0").mkdir(parents=True)
    (root / "zarr.json").write_bytes(b"{}")
    (root / "c" / "0" / "0").write_bytes(b"0123456789")
    return root


def test_a_folder_is_a_store_of_its_files(folder):
    store = open_store(str(folder))

    assert isinstance(store, Store)
    assert (store.root, store.is_local, store.anonymous) == (str(folder), True, False)
    assert store.get("c/0/0") == b"0123456789"
    assert store.address("c/0/0") == str(folder / "c" / "0" / "0")
    assert store.size("c/0/0") == 10


@pytest.mark.parametrize("key", ["c/1/0", "nowhere", "zarr.json/0", "c/0"])
def test_what_is_not_there_is_none(folder, key):
    store = open_store(str(folder))

    assert store.get(key) is None
    assert store.get_range(key, 0, 1) is None


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (2, 3, b"234"),
        (8, 9, b"89"),
        (20, 3, b""),
        (-4, 2, b"67"),
        (-4, 9, b"6789"),
        (-99, 3, b"012"),
        (0, 0, b""),
    ],
)
def test_ranges_count_from_the_start_or_the_end_and_stop_there(folder, start, length, expected):
    assert open_store(str(folder)).get_range("c/0/0", start, length) == expected


@pytest.mark.parametrize(
    "key", ["../outside", "c/../../outside", "/etc/passwd", "c//0", "", "c/./0", "c/0\0", ".."]
)
def test_keys_do_not_leave_the_folder(folder, key):
    store = open_store(str(folder))

    with pytest.raises(ChunkReadError, match="no place within a Zarr store"):
        store.get(key)
    with pytest.raises(ChunkReadError, match="no place within a Zarr store"):
        store.stamp(key)
    if key:
        with pytest.raises(ChunkReadError, match="no place within a Zarr store"):
            store.list_dir(key)


def test_outcomes_are_the_bytes_or_the_error_of_each_key(folder):
    store = open_store(str(folder))

    found = store.outcomes(["zarr.json", "no", "../outside"])
    assert (found["zarr.json"], found["no"]) == (b"{}", None)
    assert isinstance(found["../outside"], ChunkReadError)
    assert "outside" in str(found["../outside"])


def test_names_are_listed_in_order_and_a_missing_folder_has_none(folder):
    store = open_store(str(folder))

    assert store.list_dir("") == ["c", "zarr.json"]
    assert store.list_dir("c/0") == ["0"]
    assert store.list_dir("nowhere") == store.list_dir("zarr.json") == []


def test_the_stamp_changes_with_the_file_and_tells_of_its_coming(folder):
    store = open_store(str(folder))
    file = folder / "c" / "0" / "0"
    before = store.stamp("c/0/0")
    assert store.stamp("c/0/1") is None

    os.utime(file, ns=(1, 1))
    touched = store.stamp("c/0/0")
    file.write_bytes(b"0")
    os.utime(file, ns=(1, 1))

    assert len({before, touched, store.stamp("c/0/0")}) == 3


@needs_links
def test_links_are_followed_and_loops_are_an_error_of_their_own(folder):
    (folder / "linked").symlink_to("c")
    (folder / "loop").symlink_to("loop")
    (folder / "c" / "up").symlink_to("..")
    store = open_store(str(folder))

    assert store.get("linked/0/0") == b"0123456789"
    assert store.get("c/up/c/up/zarr.json") == b"{}"
    assert "loop" in store.list_dir("")
    with pytest.raises(ChunkReadError, match="loop: cannot be read"):
        store.get("loop")


def test_a_file_that_may_not_be_read_is_denied(folder, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(AccessDeniedError, match="permissions"):
        open_store(str(folder)).get("zarr.json")


def test_stores_are_equal_by_their_folder_and_pickle_small(folder):
    store = open_store(str(folder))

    assert pickle.loads(pickle.dumps(store)) == store == LocalStore(str(folder))
    assert len(pickle.dumps(store)) < 300 + len(str(folder))


def test_relative_paths_and_file_addresses_open_too(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)

    assert find_store("a.zarr").root == str(folder)
    assert find_store(folder.as_uri()).root == str(folder)


def test_what_is_no_store_is_refused_by_name(folder):
    with pytest.raises(SourceOpenError, match="there is no such folder"):
        open_store(str(folder / "nowhere"))
    with pytest.raises(SourceOpenError, match=r"ends with \.zip or \.ozx"):
        open_store(str(folder / "zarr.json"))
    with pytest.raises(SourceOpenError, match="expected an address that begins with"):
        open_store("ftp://host/a.zarr")
