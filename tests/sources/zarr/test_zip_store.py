"""Zip files as stores: read in place, and what is wrong with some of them."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest
import zarr

from helpers.stores import ArraySource, array_at
from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.loading.read_box import read_box
from napari_lazyload.sources.zarr.open_store import open_store

PIXELS = np.arange(60 * 70, dtype="uint16").reshape(60, 70)


def write_zip(path, files, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


@pytest.fixture(params=[".zip", ".ozx"])
def zipped(tmp_path, request):
    path = tmp_path / f"a{request.param}"
    with zarr.storage.ZipStore(path, mode="w") as store:
        array = zarr.create_array(store, shape=PIXELS.shape, chunks=(16, 32), dtype="uint16")
        array[...] = PIXELS
    return str(path)


def test_an_array_that_zarr_zipped_reads_bit_by_bit(zipped):
    source = ArraySource(array_at(zipped))

    assert np.array_equal(read_box(source, 0, ((3, 60), (0, 69))), PIXELS[3:60, :69])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_entries_stored_and_deflated_give_the_same(tmp_path, method):
    data = bytes(range(256)) * 40
    store = open_store(
        write_zip(tmp_path / "a.zip", {"zarr.json": b"{}", "c/0": data, "empty": b""}, method)
    )

    assert store.get("c/0") == data
    assert store.get("empty") == b""
    assert store.get_range("c/0", 300, 7) == data[300:307]
    assert store.get_range("c/0", -7, 99) == data[-7:]
    assert store.get_range("c/0", len(data) + 5, 3) == b""
    assert store.get("c/1") is store.get("c") is store.get_range("c/1", 0, 1) is None
    assert store.size("c/0") == len(data)
    assert store.size("c/1") is None


def test_an_extra_field_as_long_as_may_be_is_passed_over(tmp_path):
    entry = zipfile.ZipInfo("c/0")
    entry.extra = b"\x01\xca\xf0\x0f" + bytes(0x0FF0)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("zarr.json", b"{}")
        archive.writestr(entry, b"0123456789")

    store = open_store(str(tmp_path / "a.zip"))

    assert store.get("c/0") == b"0123456789"
    assert store.get_range("c/0", 2, 3) == b"234"


def test_names_are_listed_folder_by_folder(tmp_path):
    store = open_store(
        write_zip(tmp_path / "a.zip", {"zarr.json": b"{}", "b/c/0": b"", "b/a": b"", "d/": b""})
    )

    assert store.list_dir("") == ["b", "zarr.json"]
    assert store.list_dir("b") == ["a", "c"]
    assert store.list_dir("nowhere") == []


def test_a_single_folder_around_the_store_is_left_away(tmp_path):
    files = {"my.zarr/": b"", "my.zarr/zarr.json": b"{}", "my.zarr/c/0": b"1"}
    store = open_store(write_zip(tmp_path / "a.zip", files))

    assert store.get("zarr.json") == b"{}"
    assert store.list_dir("") == ["c", "zarr.json"]


def test_a_store_with_one_array_below_it_is_no_folder_around_a_store(tmp_path):
    store = open_store(write_zip(tmp_path / "a.zip", {".zgroup": b"{}", "only/.zarray": b"{}"}))

    assert store.list_dir("") == [".zgroup", "only"]


def test_names_that_all_begin_with_a_slash_and_backslashes_are_tolerated(tmp_path):
    store = open_store(write_zip(tmp_path / "a.zip", {"/.zgroup": b"{}", "/v\\0": b"1"}))

    assert store.get("v/0") == b"1"


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/passwd", "..", "C:/evil", "..\\evil"]
)
def test_entries_that_lead_out_are_refused(tmp_path, name):
    path = write_zip(tmp_path / "a.zip", {"zarr.json": b"{}", name: b"1"})

    with pytest.raises(SourceOpenError, match="leads out of the zip file"):
        open_store(path)


def test_links_encrypted_and_strange_entries_are_refused_when_read(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("zarr.json", b"{}")
        archive.writestr(link, b"/etc/passwd")
        archive.writestr("packed", b"1", zipfile.ZIP_LZMA)
    store = open_store(str(tmp_path / "a.zip"))

    with pytest.raises(ChunkReadError, match="symbolic link"):
        store.get("link")
    with pytest.raises(ChunkReadError, match="stored or deflated"):
        store.get("packed")
    assert isinstance(store.outcomes(["link"])["link"], ChunkReadError)


@pytest.mark.parametrize("keep", [0, 1, 30, 200, -1, -30, -200])
def test_a_file_cut_short_is_refused_when_it_is_opened(zipped, keep):
    with open(zipped, "rb") as file:
        data = file.read()
    with open(zipped, "wb") as file:
        file.write(data[:keep])

    with pytest.raises(SourceOpenError, match="cut short or none at all"):
        open_store(zipped)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_bytes_are_found_by_their_checksum(tmp_path, method):
    path = write_zip(tmp_path / "a.zip", {"zarr.json": b"{}", "c/0": b"0123456789" * 20}, method)
    with open(path, "r+b") as file:
        file.seek(file.read().index(b"c/0") + 8)
        file.write(b"\xff")

    with pytest.raises(ChunkReadError, match=r"a\.zip/c/0: the zip file is cut short or damaged"):
        open_store(path).get("c/0")


def test_a_replaced_file_is_seen_and_has_another_stamp(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"zarr.json": b"{}", "c/0": b"old"})
    store = open_store(path)
    before = store.stamp("c/0")
    assert store.get("c/0") == b"old"

    write_zip(tmp_path / "a.zip", {"zarr.json": b"{ }", "more": b"", "c/0": b"new"})
    os.utime(path, ns=(5, 5))

    assert store.get("c/0") == b"new"
    assert store.stamp("c/0") not in (before, None)
    assert store.stamp("c/1") is None


def test_a_file_that_vanished_or_broke_meanwhile_fails_each_chunk(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"zarr.json": b"{}", "c/0": b"old"})
    store = open_store(path)

    with open(path, "wb") as file:
        file.write(b"no zip")
    with pytest.raises(ChunkReadError, match="cut short or none at all"):
        store.get("c/0")
    os.remove(path)
    with pytest.raises(ChunkReadError, match="not there any more"):
        store.get("c/0")


def test_it_pickles_without_its_directory(zipped):
    store = open_store(zipped)

    assert pickle.loads(pickle.dumps(store)) == store
    assert len(pickle.dumps(store)) < 400 + len(zipped)


def test_nothing_is_left_open_and_nothing_is_written(zipped):
    with open(zipped, "rb") as file:
        before = file.read()

    read_box(ArraySource(array_at(zipped)), 0, ((0, 60), (0, 70)))

    with open(zipped, "rb") as file:  # that it is closed is what every test checks
        assert file.read() == before


@pytest.mark.parametrize("where", ["header", "size"])
def test_a_directory_that_does_not_fit_its_file_is_an_error_of_the_entry(tmp_path, where):
    path = write_zip(tmp_path / "a.zip", {"zarr.json": b"{}", "c/0": b"0123456789"})
    with open(path, "r+b") as file:
        data = file.read()
        if where == "header":  # the second local header
            file.seek(data.index(b"PK\x03\x04", 4))
            file.write(b"none")
        else:  # both sizes in the directory
            file.seek(data.rindex(b"PK\x01\x02") + 20)
            file.write((5000).to_bytes(4, "little") * 2)
    store = open_store(path)

    for read in (store.get, lambda key: store.get_range(key, 0, 5000)):
        with pytest.raises(ChunkReadError, match="cut short or damaged"):
            read("c/0")


def test_a_directory_larger_than_the_tail_that_is_read_first_is_read_whole(tmp_path):
    files = {f"c/{number:05}": b"%d" % number for number in range(2000)}
    store = open_store(write_zip(tmp_path / "a.zip", {"zarr.json": b"{}", **files}))

    assert len(store.list_dir("c")) == 2000
    assert store.get("c/01999") == b"1999"
