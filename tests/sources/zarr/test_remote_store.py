"""Stores on a web server that lists nothing: round trips, ranges, faults, retries, secrets."""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle
import shutil
import threading
import time
import traceback
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from operator import attrgetter, methodcaller
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import zarr

import napari_lazyload as nl
from helpers.server import FolderServer
from helpers.stores import ArraySource, array_at
from napari_lazyload.core import retry
from napari_lazyload.core.cancelling import cancellable
from napari_lazyload.core.errors import (
    ChunkReadError,
    LazyLoadWarning,
    MissingDependencyError,
    SourceOpenError,
)
from napari_lazyload.loading.read_box import read_box
from napari_lazyload.sources.zarr import connection, web
from napari_lazyload.sources.zarr.node import read_node
from napari_lazyload.sources.zarr.open_store import RemoteStore, at_once, open_store, plain_url
from napari_lazyload.sources.zarr.store import AccessDeniedError, Store
from napari_lazyload.sources.zarr.web import seconds_to_wait

pytest.importorskip("obstore", reason="the extra 'remote' is not installed")

PIXELS = np.arange(40 * 60, dtype="uint16").reshape(40, 60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A consolidated group with an array in chunks, one in shards, and the same in a zip file."""
    folder = tmp_path_factory.mktemp("served")
    root = zarr.open_group(
        folder / "a b.zarr", mode="w", zarr_format=2, attributes={"name": "served"}
    )
    for name in ("plain", "labels/inner"):
        root.create_array(name, shape=PIXELS.shape, chunks=(10, 20), dtype="uint16")[...] = PIXELS
    zarr.consolidate_metadata(root.store)
    sharded = zarr.create_array(
        str(folder / "sharded.zarr"),
        shape=PIXELS.shape,
        chunks=(10, 20),
        shards=(20, 60),
        dtype="uint16",
    )
    sharded[...] = PIXELS
    shutil.make_archive(str(folder / "packed"), "zip", folder / "sharded.zarr")
    return folder


@pytest.fixture
def serve(folder):
    """A function that starts the server of that folder."""
    servers = []

    def start(**options):
        server = FolderServer(folder, **options)
        servers.append(server)
        return server.__enter__()

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(
        connection,
        "retrying",
        lambda call, passing, **more: retry.retrying(call, passing, first_pause=0.01, **more),
    )


def read_all(array):
    return read_box(ArraySource(array), 0, array.grid.full_box, keep=False)


def test_an_address_is_a_store_that_is_not_local_and_lists_nothing(serve):
    store = open_store(f"{serve().url}/a b.zarr/")

    assert isinstance(store, Store)
    assert (store.is_local, store.anonymous, store.list_dir("")) == (False, True, None)
    assert store.root.endswith("/a b.zarr")
    assert store.get("plain/0.0") == store.outcomes(["plain/0.0"])["plain/0.0"]
    assert store.get("nowhere") is None
    assert store.size("plain/0.0") == len(store.get("plain/0.0"))
    assert store.size("nowhere") is None


def test_opening_asks_for_nothing_and_a_whole_group_costs_one_round_trip(serve):
    server = serve(latency=0.05)
    store = open_store(f"{server.url}/a%20b.zarr")
    assert server.requests == []

    root = read_node(store)
    image = root.child("labels").child("inner")

    assert root.attributes == {"name": "served"}
    assert root.children() == ("labels", "plain")
    assert (len(server.requests), server.most_at_once) == (5, 5)
    assert np.array_equal(read_all(array_at(store, image.path)), PIXELS)


def test_an_image_that_is_not_consolidated_costs_a_round_trip_a_depth(serve, folder):
    server = serve(latency=0.05)
    shutil.copytree(folder / "a b.zarr", folder / "loose.zarr", dirs_exist_ok=True)
    (folder / "loose.zarr" / ".zmetadata").unlink()
    root = read_node(open_store(f"{server.url}/loose.zarr"))
    assert (len(server.requests), server.most_at_once) == (5, 5)

    server.forget()
    found = root.nodes(["plain", "labels", "labels/inner"])

    assert [found[name].kind for name in found] == ["array", "group", "array"]
    # Three times the files of version 2; labels may be of version 3, too.
    assert server.most_at_once == len(server.requests) == 3 * 4 + 2
    assert root.children() is None


@pytest.mark.parametrize("path", ["a b.zarr/plain", "sharded.zarr", "packed.zip"])
def test_pixels_are_the_same_and_only_what_is_touched_is_sent(serve, path, folder):
    server = serve()
    array = array_at(f"{server.url}/{path}")
    server.forget()

    box = ((12, 18), (25, 38))
    assert np.array_equal(read_box(ArraySource(array), 0, box, keep=False), PIXELS[12:18, 25:38])
    one_chunk = server.sent_nbytes
    assert np.array_equal(read_all(array), PIXELS)

    assert one_chunk < server.sent_nbytes / 4
    if path.startswith("a b"):
        assert one_chunk == (folder / path / "1.1").stat().st_size
        assert len(server.requests) == 1 + 12


def test_chunks_in_shards_cost_their_index_once_and_a_range_each(serve):
    server = serve()
    array = array_at(f"{server.url}/sharded.zarr")
    server.forget()

    assert np.array_equal(read_all(array), PIXELS)

    assert len(server.requests) == 2 + 12
    assert all("Range" in headers or "range" in headers for headers in server.headers)


@pytest.mark.parametrize("path", ["a b.zarr/plain", "sharded.zarr", "packed.zip"])
def test_a_server_without_ranges_is_read_too_and_each_file_once_in_a_row(serve, path):
    server = serve(ranges=False)
    array = array_at(f"{server.url}/{path}")

    assert np.array_equal(read_all(array), PIXELS)
    assert (
        server.requests.count("packed.zip") <= 3
    )  # its size, the range that was refused, and all of it


def test_a_large_file_of_a_server_without_ranges_is_not_kept(serve, monkeypatch):
    monkeypatch.setattr(connection, "KEPT_WHOLE", 100)
    server = serve(ranges=False)
    store = open_store(server.url)
    for _ in range(2):
        assert store.get_range("packed.zip", 0, 2) == b"PK"
    assert (
        server.requests.count("packed.zip") == 3
    )  # the range that was refused, and all of it twice


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
@pytest.mark.parametrize("ranges", [True, False])
def test_ranges_are_those_of_a_folder(tmp_path, start, length, expected, ranges):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "file").write_bytes(b"0123456789")

    with FolderServer(tmp_path, ranges=ranges) as server:
        store = open_store(f"{server.url}/a.zarr")
        assert store.get_range("file", start, length) == expected
        assert store.get_range("nowhere", start, 1) is None


@pytest.mark.parametrize("fault", [500, 502, 503, 429, "drop", "cut"])
def test_faults_that_pass_are_asked_again(serve, fault):
    server = serve(fault=lambda _key, attempt: fault if attempt < 2 else None)
    array = array_at(f"{server.url}/sharded.zarr")

    assert np.array_equal(read_all(array), PIXELS)
    assert server.requests.count("sharded.zarr/zarr.json") == 3


def test_an_answer_that_breaks_off_is_asked_again_without_an_etag_too(serve, monkeypatch):
    send = BaseHTTPRequestHandler.send_header
    monkeypatch.setattr(
        BaseHTTPRequestHandler,
        "send_header",
        lambda self, name, value: None if name == "ETag" else send(self, name, value),
    )
    server = serve(fault=lambda _key, attempt: "cut" if attempt < 2 else None)

    assert open_store(f"{server.url}/a b.zarr").get("plain/0.0")
    assert server.requests.count("a b.zarr/plain/0.0") == 3


@pytest.mark.parametrize("fault", [500, "drop", "cut"])
def test_faults_that_stay_are_an_error_with_the_address_after_a_few_times(serve, fault):
    server = serve(fault=lambda key, _attempt: fault if key.endswith("1.1") else None)
    array = array_at(f"{server.url}/a b.zarr/plain")

    with pytest.raises(
        ChunkReadError, match=r"plain/1\.1: the server gave no usable answer, asked several"
    ) as caught:
        array.chunk((1, 1)).load()
    assert caught.value.path == f"{server.url}/a b.zarr/plain/1.1"
    assert server.requests.count("a b.zarr/plain/1.1") == 4
    assert np.array_equal(array.chunk((0, 0)).load(), PIXELS[:10, :20])
    with pytest.raises(SourceOpenError, match="no usable answer"):
        read_node(open_store(f"{serve(fault=lambda *_: fault).url}/a b.zarr"))


@pytest.mark.parametrize("fault", [400, 416, 301])
def test_answers_that_no_retry_betters_are_an_error_at_once(serve, fault):
    server = serve(fault=lambda *_: fault)

    with pytest.raises(ChunkReadError, match="cannot be used"):
        open_store(f"{server.url}/a b.zarr").get("plain/0.0")
    assert len(server.requests) == 1


def test_a_server_that_does_not_answer_is_given_up_in_time(serve):
    server = serve(fault=lambda *_: "hang")
    store = open_store(f"{server.url}/a b.zarr", timeout=0.2)

    with pytest.raises(SourceOpenError, match="no usable answer"):
        read_node(store)  # without an end it would wait for ever


def test_a_server_that_is_not_there_is_an_error(serve):
    server = serve()
    server.__exit__()

    with pytest.raises(SourceOpenError, match="no usable answer"):
        read_node(open_store(f"{server.url}/a.zarr"))


def test_an_address_with_nothing_is_no_node(serve):
    assert read_node(open_store(f"{serve().url}/nowhere.zarr")) is None


@pytest.mark.parametrize("status", [401, 403])
def test_denied_metadata_are_an_error(serve, status):
    server = serve(
        fault=lambda key, _attempt: status if key.endswith((".zgroup", ".zattrs")) else None
    )

    with pytest.raises(
        SourceOpenError, match=rf"access denied \({status}.*check the address, or log in"
    ):
        read_node(open_store(f"{server.url}/a b.zarr"))
    assert len(server.requests) == 5


def test_a_bucket_that_denies_what_is_not_there_opens_for_an_anonymous_user(serve, folder):
    def deny_missing(key, _attempt):
        return None if (folder / key).is_file() else 403

    server = serve(fault=deny_missing)
    store = open_store(f"{server.url}/a b.zarr")

    assert read_node(store).children() == ("labels", "plain")
    with pytest.raises(SourceOpenError, match="access denied"):
        read_node(store, "nowhere")


def test_a_denied_chunk_is_blank_and_flagged_for_an_anonymous_user(serve):
    server = serve(fault=lambda key, _attempt: 403 if key.endswith(("1.1", "1.2")) else None)
    array = array_at(f"{server.url}/a b.zarr/plain")

    with pytest.warns(
        LazyLoadWarning, match="does not let an anonymous user read this chunk"
    ) as warned:
        found = read_all(array)

    assert not found[10:20, 20:].any()
    assert np.array_equal(found[20:], PIXELS[20:])
    assert array.denied_keys == {"1.1", "1.2"}
    assert len(warned) == 1


@pytest.mark.parametrize("how", ["headers", "query", "user"])
def test_a_denied_chunk_is_an_error_for_a_user_with_credentials(serve, how):
    server = serve(fault=lambda key, _attempt: 403 if key.endswith("1.1") else None)
    url, options = f"{server.url}/a b.zarr/plain", {}
    if how == "headers":
        options = {"headers": {"Authorization": "Bearer hidden"}}
    elif how == "query":
        url += "?sig=hidden"
    else:
        url = url.replace("http://", "http://me:hidden@")
    array = array_at(open_store(url, **options))

    with pytest.raises(AccessDeniedError, match="The credentials do not allow it"):
        array.chunk((1, 1)).load()
    sent = server.headers[-1].get("authorization", "")
    assert sent.startswith({"headers": "Bearer", "query": "", "user": "Basic"}[how])


def test_no_secret_is_in_messages_names_or_keys(serve):
    server = serve(
        fault=lambda key, _attempt: (
            500 if key.endswith("0.0") else 403 if key.endswith("0.1") else None
        )
    )
    url = server.url.replace("http://", "http://me:hidden@")
    store = open_store(f"{url}/a b.zarr/plain?sig=hidden#hidden")
    array = array_at(store)

    for index in ((0, 0), (0, 1)):
        with pytest.raises(ChunkReadError) as caught:
            array.chunk(index).load()
        assert "hidden" not in "".join(traceback.format_exception(caught.value)) + caught.value.path
    assert "hidden" not in f"{store!r} {store.root} {array!r} {array.chunk((0, 0)).key}"
    with pytest.raises(SourceOpenError) as opened:
        open_store(url, **dict.fromkeys(["unknown_option"], url))
    assert "hidden" not in "".join(traceback.format_exception(opened.value))


def test_what_an_error_says_is_told_without_addresses():
    error = ValueError("Error at https://me:hidden@host/a?sig=hidden: refused\ndebug: hidden")
    assert connection.first_line(error) == "Error at ... refused"


def test_a_login_in_an_address_may_have_any_characters(serve):
    server = serve()
    store = open_store(server.url.replace("http://", "http://me%40home:a%3Ab@") + "/a b.zarr")
    assert store.get(".zgroup")
    sent = {name.lower(): value for name, value in server.headers[-1].items()}
    assert sent["authorization"] == f"Basic {base64.b64encode(b'me@home:a:b').decode()}"


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://me:pw@host:80/a.zarr/?sig=1#x", "https://host:80/a.zarr"),
        ("s3://bucket/a@b/c.zarr", "s3://bucket/a@b/c.zarr"),
        ("http://host?sig=/1", "http://host"),
    ],
)
def test_plain_addresses_have_no_credentials(url, plain):
    assert plain_url(url) == plain


def test_chunks_pickle_and_load_in_another_process(serve):
    server = serve()
    chunk = array_at(f"{server.url}/a b.zarr/plain").chunk((1, 1))
    assert len(pickle.dumps(chunk)) < 1500

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(methodcaller("load"), chunk).result(60)
        key = pool.submit(attrgetter("key"), chunk).result(60)

    assert np.array_equal(found, PIXELS[10:20, 20:40])
    assert key == chunk.key


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_is_told_to_be_spawned_instead_of_waiting_for_ever(serve):
    chunk = array_at(f"{serve().url}/a b.zarr/plain").chunk((1, 1))
    chunk.load()
    context = get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=_load_or_tell, args=(chunk, queue), daemon=True)

    process.start()
    process.join(60)
    try:
        assert process.exitcode == 0
        assert 'Start processes by "spawn"' in queue.get()
    finally:
        process.kill()
        process.join()
        process.close()
        queue.close()


def _load_or_tell(chunk, queue):
    try:
        queue.put(repr(chunk.load()))
    except ChunkReadError as err:
        queue.put(str(err))


def test_the_stamp_is_one_for_an_opening_and_another_for_the_next(serve):
    url = f"{serve().url}/a b.zarr"
    first, second = open_store(url), open_store(url)

    assert (
        first.stamp("plain/0.0")
        == first.stamp("plain/0.1")
        == pickle.loads(pickle.dumps(first)).stamp("x")
    )
    assert first.stamp("plain/0.0") != second.stamp("plain/0.0")


def test_many_threads_read_at_once(serve):
    server = serve(latency=0.02)
    array = array_at(f"{server.url}/a b.zarr/plain")

    with ThreadPoolExecutor(6) as pool:
        list(
            pool.map(
                lambda index: array.chunk(index).load(), array.grid.touched(array.grid.full_box)
            )
        )
    assert server.most_at_once > 1


def test_metadata_threads_end_with_the_call(serve):
    store = open_store(f"{serve().url}/a b.zarr")

    assert len(store.outcomes([f"plain/{y}.{x}" for y in range(4) for x in range(3)])) == 12
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("lazyload-metadata")
    ]


def test_an_unforeseen_error_of_one_of_many_is_raised_in_the_callers_thread():
    def call(key):
        if key == "7":
            raise KeyError(key)
        return key * 2

    assert at_once(call, "abca") == {"a": "aa", "b": "bb", "c": "cc"}
    assert at_once(call, "") == {}
    with pytest.raises(KeyError, match="7"):
        at_once(call, "123456789")


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "a/../../b", "a//b"])
def test_keys_do_not_leave_the_address(serve, key):
    server = serve()
    store = open_store(f"{server.url}/a b.zarr")

    with pytest.raises(ChunkReadError, match="no place within a Zarr store"):
        store.get(key)
    assert server.requests == []


@pytest.mark.parametrize("url", ["http:///a.zarr", "gopher://host/a", "s3:///a"])
def test_strange_addresses_are_refused(url):
    with pytest.raises(SourceOpenError, match="expected an address that begins with http://"):
        open_store(url)


def test_the_extra_is_named_where_obstore_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)

    with pytest.raises(MissingDependencyError, match=r"napari-lazyload\[remote\]"):
        open_store("http://127.0.0.1:1/a.zarr")


def test_a_zip_file_at_an_address_is_read_in_place(serve):
    server = serve()
    store = open_store(f"{server.url}/packed.zip")

    assert store.root == f"{server.url}/packed.zip"
    assert not store.is_local
    assert server.requests == ["packed.zip"] * 2  # its size, and its end
    assert store.list_dir("") == ["c", "zarr.json"]
    assert server.sent_nbytes < Path(server.folder, "packed.zip").stat().st_size + 1
    with pytest.raises(SourceOpenError, match="not there any more"):
        open_store(f"{server.url}/nowhere.zip")


def test_a_chunk_in_a_zip_file_costs_one_request_and_a_shard_one_more_for_where_it_begins(
    serve, folder
):
    with zarr.storage.ZipStore(folder / "stored.zip", mode="w") as packed:
        zarr.create_array(
            packed, shape=PIXELS.shape, chunks=(10, 20), shards=(20, 60), dtype="uint16"
        )[...] = PIXELS
    with zarr.storage.ZipStore(folder / "plain.zip", mode="w") as packed:
        zarr.create_array(packed, shape=PIXELS.shape, chunks=(10, 20), dtype="uint16")[...] = PIXELS
    server = serve()
    for name, requests in (("stored", 2 + 2 + 12), ("plain", 12)):
        array = array_at(f"{server.url}/{name}.zip")
        server.forget()

        assert np.array_equal(read_all(array), PIXELS)
        assert len(server.requests) == requests


def test_stores_are_equal_by_their_opening():
    store = RemoteStore("http://h/a", (("headers", (("A", "b"),)),), "1")

    assert pickle.loads(pickle.dumps(store)) == store
    assert store != RemoteStore("http://h/a", (), "1")


@pytest.mark.parametrize("name", ["a b.zarr/plain", "sharded.zarr"])
@pytest.mark.parametrize("signed", [True, False])
def test_a_server_that_denies_what_is_not_there_opens_for_everybody(serve, folder, signed, name):
    sent = {"headers": {"Authorization": "Bearer x"}} if signed else {}
    missing = "1.1" if name.startswith("a") else "c/1/0"

    def deny(key, _attempt):
        return None if (folder / key).is_file() and not key.endswith(missing) else 403

    array = array_at(open_store(f"{serve(fault=deny).url}/{name}", **sent))
    with pytest.warns(LazyLoadWarning, match=r"user read this chunk, or it is not there"):
        assert not array.chunk((2, 1) if missing == "c/1/0" else (1, 1)).load().any()
    assert np.array_equal(array.chunk((0, 0)).load(), PIXELS[:10, :20])


ENCODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": imagecodecs.brotli_encode,
    "zstd": imagecodecs.zstd_encode,
    "identity": bytes,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["a b.zarr/plain", "sharded.zarr"])
def test_answers_with_an_encoding_are_decoded(serve, encoding, name):
    def encode(key, status, body, headers):
        return status, ENCODINGS[encoding](body), {**headers, "Content-Encoding": encoding}

    server = serve(change=encode, ranges=encoding == "identity")
    assert np.array_equal(read_all(array_at(f"{server.url}/{name}")), PIXELS)


def test_an_encoding_that_is_wrong_is_named(serve):
    def lie(key, status, body, headers):
        return status, body, {**headers, "Content-Encoding": "br"}

    with pytest.raises(ChunkReadError, match="its Content-Encoding 'br' cannot be decoded"):
        open_store(serve(change=lie).url).get("a b.zarr/.zgroup")


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("name", ["a b.zarr/plain", "sharded.zarr"])
def test_answers_without_a_length_are_read(serve, ranges, name):
    def in_pieces(key, status, body, headers):
        return status, body, {**headers, "Transfer-Encoding": "chunked"}

    server = serve(change=in_pieces, ranges=ranges)
    url = server.url.replace("http://", "http://me:hidden@")
    assert np.array_equal(read_all(array_at(f"{url}/{name}")), PIXELS)
    assert {
        headers.get("Authorization", headers.get("authorization"))[:5] for headers in server.headers
    } == {"Basic"}


class Redirecting(BaseHTTPRequestHandler):
    """Sends every request on to where `target` is, and keeps the headers."""

    target = ""
    seen: list = []

    def do_GET(self):
        self.seen.append(self.headers.get("Authorization"))
        self.send_response(302)
        self.send_header("Location", self.target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Telling(Redirecting):
    """Answers, and keeps the headers."""

    seen: list = []

    def do_GET(self):
        self.seen.append(self.headers.get("Authorization"))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


def test_a_login_goes_to_no_other_server():
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (Redirecting, Telling)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    addresses = [f"http://127.0.0.1:{server.server_address[1]}" for server in servers]
    Redirecting.target = f"{addresses[1]}/other"
    try:
        assert web.fetch(addresses[0], "key", {"Authorization": "Basic secret"}, 20, 9) == b"ok"
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    assert (Redirecting.seen, Telling.seen) == (["Basic secret"], [None])


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("name", ["a b.zarr/plain", "sharded.zarr"])
def test_a_page_for_people_stands_for_what_is_not_there(serve, folder, ranges, name, tmp_path):
    shutil.copytree(folder / name, tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / ("1.1" if name.startswith("a") else "c/1/0")).unlink()

    def start_page(key, status, body, headers):
        if status == 404:
            return 200, b"\n<!DOCTYPE html><html>app</html>", {"Content-Type": "text/html"}
        return status, body, headers

    with FolderServer(tmp_path, change=start_page, ranges=ranges) as server:
        array = array_at(f"{server.url}/a.zarr")
        expected = PIXELS.copy()
        if name.startswith("a"):
            expected[10:20, 20:40] = 0
        else:
            expected[20:] = 0
        assert np.array_equal(read_all(array), expected)
        with pytest.raises(AssertionError, match="no node"):
            array_at(f"{server.url}/nowhere.zarr")


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_answers_for_now_are_asked_for_again_when_the_server_says(serve, status, monkeypatch):
    pauses = []
    monkeypatch.setattr(connection, "sleep", pauses.append)
    attempts = Counter()

    def busy(key, found, body, headers):
        attempts[key] += 1
        if attempts[key] > 2:
            return found, body, headers
        return status, b"", {"Retry-After": "7"}

    store = open_store(f"{serve(change=busy).url}/a b.zarr")
    assert json.loads(store.get(".zgroup")) == {"zarr_format": 2}
    assert attempts == {"a b.zarr/.zgroup": 3}
    assert pauses == ([7.0] if status in (429, 503) else [])


def test_a_date_to_come_back_at_is_seconds_to_wait():
    assert seconds_to_wait("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert seconds_to_wait("Thu, 01 Jan 2999 00:00:00 GMT") > 1e9
    assert [seconds_to_wait(told) for told in (None, "soon", "-1", "2.5")] == [0, 0, 0, 2.5]


def test_a_store_that_is_deleted_on_its_server_is_an_error_and_not_blank(tmp_path, folder):
    shutil.copytree(folder / "a b.zarr", tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "plain" / "0.0").unlink()
    with FolderServer(tmp_path) as server:
        array = array_at(f"{server.url}/a.zarr", "plain")
        assert not array.chunk((0, 0)).load().any()
        shutil.rmtree(tmp_path / "a.zarr")
        with pytest.raises(ChunkReadError, match="deleted, moved or unmounted"):
            array.chunk((1, 0)).load()


@pytest.mark.parametrize("path", ["a b.zarr", "packed.zip", "nowhere"])
def test_opening_ends_when_another_thread_cancels_it(serve, path):
    server = serve(fault=lambda *_: "hang")
    event = threading.Event()

    def cancel_when_asked():
        while not server.requests:
            time.sleep(0.001)
        event.set()

    canceller = threading.Thread(target=cancel_when_asked)
    canceller.start()
    with cancellable(event), pytest.raises(nl.CancelledError, match="opening was cancelled"):
        nl.open_dataset(f"{server.url}/{path}")
    canceller.join()
    with cancellable(threading.Event()), nl.open_dataset(f"{serve().url}/a b.zarr") as dataset:
        assert np.array_equal(dataset.images[0].data.compute(scheduler="sync"), PIXELS)


def test_a_server_that_does_not_answer_is_not_asked_for_the_rest(serve):
    server = serve(fault=lambda *_: "drop")
    found = open_store(server.url).outcomes([f"{number}" for number in range(200)])

    assert len(found) == 200
    assert {str(error) for error in found.values()} >= {str(found["199"])}
    assert all("no usable answer" in str(error) for error in found.values())
    assert len(set(server.requests)) < 100
