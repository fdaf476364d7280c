"""What a store or a server announces, or unpacks to, is compared with what is expected first."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numcodecs
import numpy as np
import pytest
import zarr

import napari_lazyload as nl
from helpers.server import FolderServer
from napari_lazyload.core import retry
from napari_lazyload.sources.zarr import codecs, connection, store
from napari_lazyload.sources.zarr.open_store import ending_at_silence, open_store

PIXELS = np.arange(64 * 64, dtype="u2").reshape(64, 64)
HUGE = bytes(64 << 20)
CODECS = [
    numcodecs.Zstd(),
    numcodecs.GZip(),
    numcodecs.Zlib(),
    numcodecs.BZ2(1),
    numcodecs.LZMA(preset=0),
    numcodecs.LZ4(),
    numcodecs.Blosc("zstd"),
]


def written(path, codec=None, filters=None, **more):
    """Write an array of one chunk."""
    zarr.create_array(
        str(path),
        shape=PIXELS.shape,
        chunks=PIXELS.shape,
        dtype="u2",
        zarr_format=2,
        compressors=codec,
        filters=filters,
        **more,
    )[...] = PIXELS
    return path


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.codec_id)
def test_a_chunk_that_unpacks_to_too_much_is_an_error(tmp_path, codec, filtered, monkeypatch):
    filters = [numcodecs.Delta("u2")] if filtered else None
    path = written(tmp_path / "a.zarr", codec, filters)
    np.testing.assert_array_equal(nl.open_dataset(path).images[0].data, PIXELS)
    (path / "0.0").write_bytes(codec.encode(HUGE))
    decoded, made = [], codecs._numcodec
    monkeypatch.setattr(codecs, "_numcodec", lambda text: Recording(made(text), decoded))
    with pytest.raises(nl.ChunkReadError, match=r"unpacks to more than|decodes to|damaged"):
        np.asarray(nl.open_dataset(path).images[0].data)
    assert all(len(found) <= 1 << 20 for found in decoded)


class Recording:
    """A codec of numcodecs that keeps what it decodes to."""

    def __init__(self, codec, decoded):
        self.codec, self.decoded = codec, decoded

    def decode(self, data):
        found = self.codec.decode(data)
        self.decoded.append(memoryview(found).cast("B"))
        return found


@pytest.mark.parametrize("codec", CODECS[:5], ids=lambda codec: codec.codec_id)
def test_no_more_is_unpacked_than_is_expected(codec):
    from napari_lazyload.sources.zarr.unpack import TooLargeError, unpack

    packed = bytes(codec.encode(HUGE))
    with pytest.raises(TooLargeError, match="more than the 9000 bytes"):
        unpack(codec.codec_id, codec.get_config(), packed, 9000)
    assert unpack(codec.codec_id, codec.get_config(), bytes(codec.encode(b"abc")), 3) == b"abc"


@pytest.mark.filterwarnings("ignore:Numcodecs codecs")
def test_a_chunk_that_zarr_decodes_is_bounded_too(tmp_path):
    delta = pytest.importorskip("zarr.codecs.numcodecs").Delta
    path = tmp_path / "a.zarr"
    zarr.create_array(
        str(path),
        shape=PIXELS.shape,
        chunks=PIXELS.shape,
        dtype="u2",
        filters=[delta(dtype="<u2")],
        compressors=[zarr.codecs.ZstdCodec()],
    )[...] = PIXELS
    np.testing.assert_array_equal(nl.open_dataset(path).images[0].data, PIXELS)
    (path / "c" / "0" / "0").write_bytes(numcodecs.Zstd().encode(HUGE))
    with pytest.raises(nl.ChunkReadError, match="unpacks to more than"):
        np.asarray(nl.open_dataset(path).images[0].data)


def test_a_chunk_or_a_part_of_a_shard_that_is_too_long_is_not_read(tmp_path):
    path = written(tmp_path / "a.zarr")
    (path / "0.0").write_bytes(b"")
    os.truncate(path / "0.0", 1 << 40)
    with pytest.raises(
        nl.ChunkReadError,
        match=r"0\.0: expected at most 196,608 bytes, found 1,099,511,627,776: .* not read$",
    ):
        np.asarray(nl.open_dataset(path).images[0].data)
    shards = {"shards": (64, 64), "chunks": (32, 32), "compressors": None}
    zarr.create_array(str(tmp_path / "b.zarr"), shape=(64, 64), dtype="u2", **shards)[...] = PIXELS
    shard = tmp_path / "b.zarr" / "c" / "0" / "0"
    index = np.array([[0, 1 << 41], [0, 5], [0, 5], [0, 5]], "<u8").tobytes()
    from napari_lazyload.sources.zarr.codecs import crc32c

    body = shard.read_bytes()[: 64 * 64 * 2]
    shard.write_bytes(body + index + crc32c(index).to_bytes(4, "little"))
    with pytest.raises(nl.ChunkReadError, match="found 2,199,023,255,552"):
        np.asarray(nl.open_dataset(tmp_path / "b.zarr").images[0].data[:9, :9])


@pytest.mark.parametrize("name", [".zarray", ".zattrs"])
def test_metadata_that_are_too_long_are_not_read(tmp_path, name):
    path = written(tmp_path / "a.zarr")
    (path / name).touch()
    os.truncate(path / name, 1 << 40)
    with pytest.raises(nl.SourceOpenError, match=r"at most 67,108,864 bytes, found 1,099"):
        nl.open_dataset(path)


def test_metadata_in_a_zip_file_are_not_unpacked_beyond_that(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zarr.json", HUGE + b" ")
    with pytest.raises(nl.SourceOpenError, match="at most 67,108,864 bytes, found 67,108,865"):
        nl.open_dataset(tmp_path / "a.zarr.zip")
    path = tmp_path / "b.zarr.zip"  # it says that it is short
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zarr.json", HUGE)
    block = path.read_bytes()
    size = len(HUGE).to_bytes(4, "little")
    assert block.count(size) == 2
    path.write_bytes(block.replace(size, (100).to_bytes(4, "little")))
    with pytest.raises(nl.SourceOpenError, match="damaged"):
        nl.open_dataset(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")
@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", [".zarray", ".zattrs", "zarr.json", "0.0"])
def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path, name, kind):
    path = written(tmp_path / "a.zarr")
    (path / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path / name)
    else:
        (path / name).symlink_to("/dev/zero")
    with pytest.raises((nl.SourceOpenError, nl.ChunkReadError), match="a pipe or a device"):
        np.asarray(nl.open_dataset(path).images[0].data)


@pytest.mark.parametrize("side", [2**31, 2**40])
def test_a_chunk_that_no_memory_holds_is_an_error_of_the_package(tmp_path, side):
    path = written(tmp_path / "a.zarr")
    metadata = json.loads((path / ".zarray").read_text())
    metadata |= {"shape": [side, side], "chunks": [side, side], "fill_value": 1}
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / "0.0").unlink()
    with pytest.raises(nl.ChunkReadError, match="a chunk that fits into the memory"):
        np.asarray(nl.open_dataset(path).images[0].data[:2, :2])


@pytest.mark.parametrize("filters", [True, 7, "shuffle"])
def test_filters_that_are_no_list_are_refused(tmp_path, filters):
    path = written(tmp_path / "a.zarr")
    metadata = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps(metadata | {"filters": filters}))
    with pytest.raises(nl.SourceOpenError, match='expected filters and a compressor with an "id"'):
        nl.open_dataset(path)


# --- servers

pytest.importorskip("obstore", reason="the extra 'remote' is not installed")


@pytest.fixture
def boasting():
    """The address of a server that announces 200 GB and sends a few bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                talk, _ = listener.accept()
            except OSError:
                return
            talk.recv(4096)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 200000000000\r\n"
            talk.sendall(head + b"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n{}")
            talk.close()

    threading.Thread(target=answer, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def test_an_answer_that_says_it_is_vast_does_not_end_the_process(boasting):
    code = f"""if True:
        import napari_lazyload as nl
        try:
            nl.open_dataset({boasting + "/a.zarr"!r})
        except nl.SourceOpenError as err:
            print(err)
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "at most 67,108,864 bytes, found 200,000,000,000" in done.stdout


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_is_not_unpacked_beyond_what_is_expected(tmp_path, encoding, monkeypatch):
    import imagecodecs

    pack = {
        "gzip": lambda data: numcodecs.GZip().encode(data),
        "deflate": lambda data: numcodecs.Zlib().encode(data),
        "br": imagecodecs.brotli_encode,
        "zstd": imagecodecs.zstd_encode,
    }[encoding]
    path = written(tmp_path / "a.zarr")
    text = (path / ".zattrs").read_bytes() if (path / ".zattrs").exists() else b"{}"
    (path / ".zattrs").write_bytes(text)

    def change(key, status, body, headers):
        if status != 200:
            return status, body, headers
        body = pack(b" " * 200_000 + body) if key.endswith(".zattrs") else pack(body)
        return status, bytes(body), headers | {"Content-Encoding": encoding}

    monkeypatch.setattr(store, "MOST_METADATA", 100_000)
    with FolderServer(tmp_path, change=change) as server:
        remote = open_store(f"{server.url}/a.zarr")
        assert json.loads(remote.get(".zarray", 100_000))["shape"] == [64, 64]
        with pytest.raises(nl.ChunkReadError, match=r"at most 100,000 bytes|cannot be decoded"):
            remote.get(".zattrs", 100_000)


def test_a_silent_server_is_waited_for_once_in_an_opening(tmp_path, monkeypatch):
    written(tmp_path / "a.zarr")
    asked, get = [], connection.Connection.get
    monkeypatch.setattr(
        connection.Connection, "get", lambda *args: asked.append(args[1]) or get(*args)
    )
    with FolderServer(tmp_path, fault=lambda *_: "hang") as server:
        with pytest.raises(nl.SourceOpenError, match="no usable answer"):
            nl.open_dataset(f"{server.url}/a.zarr", timeout=0.3)
        assert len(asked) == len(set(asked)) == 5  # the files of one node, at the same time
        asked.clear()
        remote = open_store(f"{server.url}/a.zarr", timeout=0.3)
        with ending_at_silence():
            for _ in range(3):
                with pytest.raises(nl.ChunkReadError, match="no usable answer"):
                    remote.get("0.0")
        assert asked == ["0.0"]
        with pytest.raises(nl.ChunkReadError, match="no usable answer"):
            remote.get("0.0")
        assert asked == ["0.0"] * 2


def test_what_was_not_answered_is_not_asked_again(tmp_path, monkeypatch):
    attempts, retrying = [], connection.retrying
    monkeypatch.setattr(
        connection,
        "retrying",
        lambda call, passing, **more: retrying(
            lambda: attempts.append(0) or call(), passing, **more
        ),
    )
    with (
        FolderServer(tmp_path, fault=lambda *_: "hang") as server,
        pytest.raises(nl.ChunkReadError, match=r"for 0\.2 seconds"),
    ):
        open_store(server.url, timeout=0.2).get("key")
    assert len(attempts) == 1


def test_one_key_that_fails_does_not_fail_what_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "_RETRY_SECONDS", 0)
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(64, 64), chunks=(64, 64), dtype="u2")[
        ...
    ] = PIXELS

    def fault(key, _attempt):
        return 500 if key.endswith((".zattrs", ".zgroup")) else None

    with FolderServer(tmp_path, fault=fault) as server:
        image = nl.open_dataset(f"{server.url}/a.zarr").images[0]
        np.testing.assert_array_equal(image.data, PIXELS)


def test_a_range_is_asked_for_again_when_the_server_says(tmp_path, monkeypatch):
    pauses, attempts = [], []
    monkeypatch.setattr(connection, "sleep", pauses.append)
    monkeypatch.setattr(connection, "retrying", partial(retry.retrying, first_pause=0.01))
    (tmp_path / "key").write_bytes(b"0123456789")

    def busy(_key, status, body, headers):
        attempts.append(0)
        if len(attempts) < 3:
            return 503, b"", {"Retry-After": "7"}
        return status, body, headers

    with FolderServer(tmp_path, change=busy) as server:
        assert open_store(server.url).get_range("key", 2, 3) == b"234"
        assert pauses == [7.0]
        lower = [{name.lower(): told[name] for name in told} for told in server.headers]
        assert [told.get("range") for told in lower] == ["bytes=2-4"] * 3
        attempts.clear()
        assert open_store(server.url).get_range("key", -3, 2) == b"78"


class Endless(BaseHTTPRequestHandler):
    """A bucket that has another page of names for ever."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self):
        kind = type(self)
        kind.asked += 1
        names = "".join(
            f"<CommonPrefixes><Prefix>p{kind.asked}_{number}/</Prefix></CommonPrefixes>"
            for number in range(9)
        )
        page = f"<NextContinuationToken>t{kind.asked}</NextContinuationToken>{names}"
        body = f"<ListBucketResult><IsTruncated>true</IsTruncated>{page}</ListBucketResult>"
        self.send_response(200 if "list-type" in self.path else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        """Print nothing."""


@pytest.mark.timeout(25)
def test_a_listing_without_an_end_is_given_up():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    options = {"endpoint": endpoint, "region": "us-east-1", "anon": True, "timeout": 2}
    try:
        bucket = open_store("s3://bucket", **options)
        with pytest.raises(nl.ChunkReadError, match=r"not all listed after 2 seconds"):
            bucket.list_dir("")
        assert Endless.asked
    finally:
        server.shutdown()
        server.server_close()
