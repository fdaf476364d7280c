"""Buckets on a local S3 server: anonymous first, then credentials; listing; ranges; regions."""

from __future__ import annotations

import io
import json
import logging
import os
import urllib.error
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
import zarr

from helpers.server import FolderServer
from helpers.stores import ArraySource, array_at
from napari_lazyload.core.errors import ChunkReadError, LazyLoadWarning, SourceOpenError
from napari_lazyload.loading.read_box import read_box
from napari_lazyload.sources.zarr import connection as remote_connection
from napari_lazyload.sources.zarr.aws import aws_settings, find_region
from napari_lazyload.sources.zarr.connection import Connection
from napari_lazyload.sources.zarr.node import read_node
from napari_lazyload.sources.zarr.open_store import open_store
from napari_lazyload.sources.zarr.store import AccessDeniedError

pytest.importorskip("obstore", reason="the extra 'remote' is not installed")
boto3 = pytest.importorskip("boto3", reason="moto, the S3 server of the tests, is not installed")
moto = pytest.importorskip(
    "moto.server", reason="moto, the S3 server of the tests, is not installed"
)

PIXELS = np.arange(40 * 60, dtype="uint16").reshape(40, 60)
KEYS = {"access_key_id": "a", "secret_access_key": "b"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """A server with a bucket that everybody may read, but for one chunk, and a private one."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    folder = tmp_path_factory.mktemp("bucket")
    root = zarr.open_group(folder / "a b.zarr", mode="w", zarr_format=3)
    root.create_array("plain", shape=PIXELS.shape, chunks=(10, 20), dtype="uint16")[...] = PIXELS
    root.create_array(
        "sharded", shape=PIXELS.shape, chunks=(10, 20), shards=(20, 60), dtype="uint16"
    )[...] = PIXELS
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    for bucket in ("open", "private"):
        client.create_bucket(Bucket=bucket, ACL="public-read" if bucket == "open" else "private")
        for path in filter(Path.is_file, folder.rglob("*")):
            key = path.relative_to(folder).as_posix()
            free = bucket == "open" and not key.endswith("plain/c/1/1")
            client.put_object(
                Bucket=bucket,
                Key=key,
                Body=path.read_bytes(),
                ACL="public-read" if free else "private",
            )
    client.close()
    yield url
    server.stop()


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch):
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(name, raising=False)


def bucket(endpoint, name, **options):
    return open_store(f"s3://{name}/a b.zarr", endpoint=endpoint, region="us-east-1", **options)


def read_all(array):
    return read_box(ArraySource(array), 0, array.grid.full_box, keep=False)


def test_an_open_bucket_is_read_and_listed_without_credentials(endpoint):
    store = bucket(endpoint, "open")

    assert (store.root, store.is_local, store.anonymous) == ("s3://open/a b.zarr", False, True)
    assert read_node(store).children() == ("plain", "sharded")
    assert store.list_dir("plain") == ["c", "zarr.json"]
    assert store.list_dir("nowhere") == []
    assert store.size("plain/zarr.json") == len(store.get("plain/zarr.json"))
    assert store.get("nowhere") is store.size("nowhere") is None
    assert np.array_equal(read_all(array_at(store, "sharded")), PIXELS)


@pytest.mark.parametrize(
    ("start", "length"), [(2, 3), (0, 9), (-4, 2), (-4, 9), (-9999, 3), (99999, 3)]
)
def test_ranges_are_those_of_a_folder(endpoint, start, length):
    store = bucket(endpoint, "open")
    data = store.get("zarr.json")
    begin = max(0, len(data) + start) if start < 0 else start

    assert store.get_range("zarr.json", start, length) == data[begin : begin + length]
    assert store.get_range("nowhere", start, length) is None


def test_a_denied_chunk_of_an_open_bucket_is_blank_and_flagged(endpoint):
    array = array_at(bucket(endpoint, "open"), "plain")

    with pytest.warns(LazyLoadWarning, match="does not let an anonymous user"):
        found = read_all(array)
    assert not found[10:20, 20:40].any()
    assert np.array_equal(found[20:], PIXELS[20:])
    assert array.denied_keys == {"plain/c/1/1"}


def test_a_private_bucket_is_denied_and_the_error_names_what_to_set(endpoint):
    with pytest.raises(SourceOpenError, match=r"access denied \(403.*set AWS_ACCESS_KEY_ID"):
        read_node(bucket(endpoint, "private"))


def test_a_bucket_that_lets_nobody_list_does_not_tell_its_names(endpoint, monkeypatch):
    from obstore.exceptions import PermissionDeniedError

    async def refuse(*_):
        raise PermissionDeniedError

    monkeypatch.setattr("obstore.list_with_delimiter_async", refuse)
    assert bucket(endpoint, "private").list_dir("") is None


def test_credentials_of_the_environment_come_second_and_stay_if_they_help(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    private, open_to_all = bucket(endpoint, "private"), bucket(endpoint, "open")

    assert (private.anonymous, open_to_all.anonymous) == (True, True)
    assert np.array_equal(read_all(array_at(private, "plain")), PIXELS)
    assert open_to_all.get("zarr.json")
    assert (private.anonymous, open_to_all.anonymous) == (False, True)


def test_credentials_given_with_the_address_are_used_at_once(endpoint):
    store = bucket(endpoint, "private", **KEYS)

    assert not store.anonymous
    assert np.array_equal(read_all(array_at(store, "sharded")), PIXELS)


def test_whoever_wants_to_stay_anonymous_does(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")

    with pytest.raises(AccessDeniedError):
        bucket(endpoint, "private", anon=True).get("zarr.json")
    store = bucket(endpoint, "private", anon=False)
    assert not store.anonymous
    assert store.get("zarr.json")


def test_an_unknown_option_is_refused_by_name(endpoint):
    with pytest.raises(SourceOpenError, match="not with these options"):
        bucket(endpoint, "open", color="blue")


@pytest.fixture
def bucket_server(tmp_path):
    """A folder server whose first folder counts as a bucket; it lists nothing."""
    (tmp_path / "bucket" / "a b.zarr").mkdir(parents=True)
    (tmp_path / "bucket" / "a b.zarr" / "zarr.json").write_bytes(b"0123456789")
    with FolderServer(tmp_path) as server:
        yield server


def cloud(kind, server):
    if kind == "az":
        return open_store("az://bucket/a b.zarr", account_name="account", endpoint=server.url)
    if kind == "s3":
        return open_store("s3://bucket/a b.zarr", region="us-east-1", endpoint=server.url)
    nobody = {"client_email": "", "private_key": "", "private_key_id": ""}
    account = json.dumps({"gcs_base_url": server.url, "disable_oauth": True, **nobody})
    return open_store(
        "gs://bucket/a b.zarr", service_account_key=account, client_options={"allow_http": True}
    )


@pytest.mark.parametrize("kind", ["s3", "gs", "az"])
def test_each_kind_of_cloud_asks_for_the_right_places(bucket_server, kind):
    store = cloud(kind, bucket_server)

    assert store.root == f"{kind}://bucket/a b.zarr"
    assert store.anonymous == (kind != "gs")
    assert store.get("zarr.json") == b"0123456789"
    assert store.get("nowhere") is None
    assert store.size("zarr.json") == 10
    assert store.get_range("zarr.json", 2, 3) == b"234"
    bucket_server.forget()
    assert store.get_range("zarr.json", -4, 2) == b"67"
    assert bucket_server.sent_nbytes <= 4  # not all of it
    assert store.get_range("zarr.json", -400, 2) == b"01"
    assert store.list_dir("") is None
    assert set(bucket_server.requests) <= {
        "bucket/a b.zarr/zarr.json",
        "bucket/a b.zarr/nowhere",
        "bucket",
    }


def test_credentials_that_do_not_help_are_tried_once_and_left(bucket_server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    bucket_server.fault = lambda key, _attempt: 403 if key.endswith("denied") else None
    store = cloud("s3", bucket_server)

    for _ in range(2):
        with pytest.raises(AccessDeniedError, match="access denied"):
            store.get("denied")
    assert store.anonymous
    signed = ["authorization" in headers for headers in bucket_server.headers]
    assert signed == [False, True, False]
    assert store.get("zarr.json") == b"0123456789"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's folder, in which a function writes the two files of AWS."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    def write(**files):
        (tmp_path / ".aws").mkdir()
        for name, text in files.items():
            (tmp_path / ".aws" / name).write_text(text)

    return write


KEYS_OF_ME = "[me]\naws_access_key_id = a\naws_secret_access_key = b\n"


@pytest.mark.parametrize("how", ["services", "profile", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_endpoint_region_and_keys_are_those_of_other_tools(endpoint, home, monkeypatch, how):
    config = "[profile me]\nregion = eu-north-1\n"
    if how == "services":
        config += f"services = local\n[services local]\ns3 =\n  endpoint_url = {endpoint}\n"
    elif how == "profile":
        config += f"endpoint_url = {endpoint}\n"
    else:
        config += "endpoint_url = http://127.0.0.1:1\n"
        monkeypatch.setenv(how, endpoint)
    if how == "AWS_ENDPOINT_URL_S3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    home(config=config, credentials=KEYS_OF_ME)
    monkeypatch.setenv("AWS_PROFILE", "me")
    array = array_at(open_store("s3://private/a b.zarr"), "plain")

    assert np.array_equal(array.chunk((0, 0)).load(), PIXELS[:10, :20])
    assert not array.store.anonymous


def test_what_is_set_nearer_comes_first(home, monkeypatch):
    home(config="[default]\nregion = one\nendpoint_url = http://one\n", credentials="broken")
    assert aws_settings() == ({"endpoint": "http://one", "region": "one"}, {})
    monkeypatch.setenv("AWS_DEFAULT_REGION", "two")
    assert aws_settings()[0]["region"] == "two"
    monkeypatch.setenv("AWS_REGION", "three")
    assert aws_settings()[0]["region"] == "three"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert aws_settings() == ({"region": "three"}, {})
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert aws_settings() == ({"region": "three"}, {})


def test_a_bucket_with_dots_is_found_by_its_path(bucket_server):
    os.rename(
        os.path.join(bucket_server.folder, "bucket"), os.path.join(bucket_server.folder, "a.b.c")
    )
    store = open_store("s3://a.b.c/a b.zarr", region="us-east-1", endpoint=bucket_server.url)
    assert store.get("zarr.json") == b"0123456789"


class WrongRegionError(Exception):
    def __str__(self):
        return (
            "Generic S3 error: GET - Received redirect, this normally indicates an incorrectly "
            "configured region"
        )


def test_a_bucket_in_another_region_is_followed_there_once(endpoint, monkeypatch):
    connection = Connection("s3://open/a b.zarr", {"endpoint": endpoint})
    asked = []

    def ask(client):
        asked.append(client)
        if len(asked) == 1:
            raise WrongRegionError
        return client.config.get("region")

    monkeypatch.setattr(remote_connection, "find_region", lambda name: {"open": "eu-west-1"}[name])
    assert connection._ask("zarr.json", ask) == "eu-west-1"
    asked.clear()
    with pytest.raises(ChunkReadError, match="the bucket is in another region: give its name"):
        connection._ask("zarr.json", ask)


@pytest.mark.parametrize("region", ["eu-west-1", None])
@pytest.mark.parametrize("denied", [True, False])
def test_the_region_is_told_in_a_header_even_to_those_who_may_not_look_in(
    monkeypatch, region, denied
):
    headers = Message()
    if region:
        headers["x-amz-bucket-region"] = region

    class Answer(io.BytesIO):
        pass

    def answer(request, timeout):
        assert (request.full_url, request.method) == ("https://name.s3.amazonaws.com/", "HEAD")
        if denied:
            raise urllib.error.HTTPError(request.full_url, 403, "Forbidden", headers, io.BytesIO())
        found = Answer()
        found.headers = headers
        return found

    monkeypatch.setattr("urllib.request.urlopen", answer)
    assert find_region("name") == region


def test_a_region_that_cannot_be_asked_for_is_none(monkeypatch):
    def fail(_request, timeout):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    assert find_region("name") is None
