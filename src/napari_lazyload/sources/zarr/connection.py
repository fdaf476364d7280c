"""The connection of one process to a server: obstore's client, and what it learnt of the server.

obstore's errors hold the address with all credentials in it. So they are neither shown nor kept as
causes.
"""

from __future__ import annotations

import base64
import os
import re
import threading
from datetime import timedelta
from time import sleep
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from napari_lazyload.core.errors import ChunkReadError, MissingDependencyError
from napari_lazyload.core.retry import retrying
from napari_lazyload.sources.zarr.aws import aws_settings, find_region
from napari_lazyload.sources.zarr.listing import list_names
from napari_lazyload.sources.zarr.plain_address import first_line, plain_url, without_login
from napari_lazyload.sources.zarr.store import (
    MOST_METADATA,
    MOST_WHOLE,
    AccessDeniedError,
    check_size,
    read_error,
)
from napari_lazyload.sources.zarr.web import (
    BUSY,
    MOST_WAIT,
    PassingError,
    StatusError,
    TooLongError,
    body_of,
    encodings_of,
    fetch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

WEB = ("http", "https")
CREDENTIALS = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_CLIENT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
    ),
}
"""Variables of the environment that announce credentials. Without any, obstore would ask the
service that clouds have for their own machines, which elsewhere costs seconds."""
CONNECT_SECONDS, REQUEST_SECONDS = 10.0, 60.0
_RETRY_SECONDS = 30.0
KEPT_WHOLE = 256 << 20
"""Most bytes of the one file that is kept where a server does not answer ranges."""
_SECRET = re.compile("key|secret|token|password|sas|credential|service_account|headers")
_PASSING = re.compile("HTTP error(?!: builder)|timed? ?out|connection")
_UNTAKEN = re.compile("Content-Length|invalid utf-8")
"""What obstore cannot take: answers of unknown length, and error pages with an encoding."""
_WRONG_REGION = "incorrectly configured region"


class NoAnswerError(ChunkReadError):
    """A server that gave no answer, or none that can be used, however often it was asked."""


class SilentServerError(NoAnswerError):
    """A server that said nothing at all."""


class _UnusableError(ChunkReadError):
    """An answer that will be the same next time."""


class _BeyondTheEndError(_UnusableError):
    """A range that begins behind the last byte."""


class _WrongRegionError(Exception):
    """A bucket that is in another region."""


class Connection:
    """Sends requests to one server; may be used from any thread.

    Parameters
    ----------
    url : str
        Of a folder, with the credentials to read it.
    options : dict
        See :func:`napari_lazyload.sources.zarr.open_store.open_store`.

    Raises
    ------
    MissingDependencyError
        If obstore is not installed.
    Exception
        Of obstore, if the address or the options make no sense.
    """

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        try:
            import obstore
        except ImportError as err:
            raise MissingDependencyError(
                "reading from an address needs obstore: pip install 'napari-lazyload[remote]'"
            ) from err
        self._obstore = obstore
        self._url = url
        self._scheme = url.split("://", 1)[0]
        anonymous = options.pop("anon", None)
        self._options = options
        self._defaults: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        if self._scheme == "s3":
            given = " ".join(options).lower()
            settings, self._keys = aws_settings()
            self._defaults = {name: settings[name] for name in settings if name not in given}
        self._mode: Literal["anonymous", "signed", "undecided"] = "anonymous"
        announced = any(map(os.environ.get, CREDENTIALS.get(self._scheme, ())))
        if anonymous is None and (announced or self._keys):
            self._mode = "undecided"
        if anonymous is False or self._given_credentials():
            self._mode = "signed"
        self._connect()
        self._ranges = True
        self._refused: set[str] = set()
        self._busy: set[str] = set()
        self._whole: tuple[str, bytes | None] | None = None
        self._lock = threading.Lock()

    @property
    def anonymous(self) -> bool:
        """Whether requests carry no credentials, by now."""
        return self._mode != "signed"

    def _given_credentials(self) -> bool:
        """Return whether the user gave credentials with the address."""
        parts = urlsplit(self._url)
        in_url = self._scheme in WEB and ("@" in parts.netloc or bool(parts.query))
        return in_url or bool(_SECRET.search(" ".join(self._options).lower()))

    def _connect(self) -> None:
        self._client = self._make(signed=self._mode == "signed")
        self._signed_client = self._make(signed=True) if self._mode == "undecided" else None

    def _make(self, *, signed: bool) -> Any:
        """Return obstore's store."""
        from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

        options = {**self._defaults, **self._options}
        if signed and not self._given_credentials():
            options |= self._keys
        seconds = float(options.pop("timeout", REQUEST_SECONDS))
        client: dict[str, Any] = {
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": timedelta(seconds=min(seconds, CONNECT_SECONDS)),
        }
        if headers := {**self._login(), **dict(options.pop("headers", ()))}:
            client["default_headers"] = headers
        client |= dict(options.pop("client_options", ()))
        if any(str(text).startswith("http://") for text in (self._url, *options.values())):
            client["allow_http"] = True
        options["client_options"] = client
        # `retrying` does that: obstore gives up at once on an answer that breaks off in its middle,
        # where the server sends no ETag.
        options["retry_config"] = {"max_retries": 0}
        if self._scheme in WEB:
            return HTTPStore(without_login(self._url), **options)
        kinds: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
        if not signed:
            options["skip_signature"] = True
        return kinds[self._scheme].from_url(self._url, **options)

    def _login(self) -> dict[str, str]:
        """Return the header for the user name and password in a web address."""
        parts = urlsplit(self._url)
        if self._scheme not in WEB or parts.username is None:
            return {}
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}

    # --- Requests

    def get(self, key: str, most: int = MOST_METADATA) -> bytes | None:
        """Return all bytes of a key, decoded; None where it is not there, or a page instead.

        Raises
        ------
        ChunkReadError
            If there are more than `most`; they are not read.
        """

        def read(client: Any) -> bytes | None:
            if key in self._busy:  # this time to hear when to come back, which obstore keeps back
                self._busy.discard(key)
                return self._fetch(key, most)
            answer = self._obstore.get(client, key)
            check_size(self._address(key), int(answer.meta["size"]), most)
            data = bytes(answer.bytes())
            if self._scheme not in WEB:
                return data
            try:
                return body_of(data, dict(answer.attributes), most)
            except TooLongError:
                check_size(self._address(key), most + 1, most)
                raise

        try:
            return self._ask(key, read)
        except NotImplementedError:  # the answer does not tell its length
            return self._ask(key, lambda _client: self._fetch(key, most))

    def _fetch(self, key: str, most: int, part: str = "") -> bytes | None:
        headers = {**self._login(), **dict(self._options.get("headers", ()))}
        if part:
            headers["Range"] = f"bytes={part}"
        try:
            return fetch(self._url, key, headers, self._seconds, most)
        except TooLongError:
            check_size(self._address(key), most + 1, most)
            raise

    @property
    def _seconds(self) -> float:
        """How long a request may take."""
        return float(self._options.get("timeout", REQUEST_SECONDS))

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """Return some bytes of a key, as `Store.get_range`.

        All bytes are requested where the server does not know ranges.
        """
        if self._ranges:
            try:
                return self._ask(key, lambda client: self._range(client, key, start, length))
            except _BeyondTheEndError:
                return b""
            except NotImplementedError:
                pass
        whole = self._get_whole(key)
        if whole is None:
            return None
        self._ranges = False
        begin = max(0, len(whole) + start) if start < 0 else start
        return whole[begin : begin + length]

    def _range(self, client: Any, key: str, start: int, length: int) -> bytes | None:
        if key in self._busy:
            self._busy.discard(key)
            part = f"{start}-{start + length - 1}" if start >= 0 else str(start)
            found = self._fetch(key, max(length, -start), part)
            return found and found[:length]
        if start < 0 and self._scheme == "az":  # which has no ranges from the end
            start = max(0, int(self._obstore.head(client, key)["size"]) + start)
        wanted: Any = (start, start + length) if start >= 0 else {"suffix": -start}
        answer = self._obstore.get(client, key, options={"range": wanted})
        about = dict(answer.attributes)
        is_page = str(about.get("Content-Type", "")).startswith("text/html")
        if self._scheme in WEB and (is_page or encodings_of(about)):
            raise NotImplementedError  # a part of a page, or of an encoded body, is of no use
        begin, end = answer.range
        check_size(self._address(key), end - begin, max(length, -start))
        return bytes(answer.bytes())[:length]

    def _get_whole(self, key: str) -> bytes | None:
        """Return all of a key. The last is kept: a request for a part is seldom the only one."""
        with self._lock:
            kept = self._whole
            if kept is None or kept[0] != key:
                kept = (key, self.get(key, MOST_WHOLE))
                self._whole = kept if len(kept[1] or b"") <= KEPT_WHOLE else None
            return kept[1]

    def names(self, prefix: str) -> list[str] | None:
        """Return the names right under a prefix; None where the server does not list them."""
        if self._scheme in WEB:
            return None
        start, address = f"{prefix}/".lstrip("/"), self._address(prefix)
        try:
            found = self._ask(
                prefix, lambda client: list_names(client, start, address, self._seconds)
            )
        except (AccessDeniedError, _UnusableError):
            return None
        return found or []

    def size(self, key: str) -> int | None:
        """Return the number of bytes of a key; None where it is not there."""
        try:
            found = self._ask(key, lambda client: self._obstore.head(client, key))
        except NotImplementedError:
            whole = self._get_whole(key)
            return None if whole is None else len(whole)
        return None if found is None else int(found["size"])

    # --- Answers

    def _address(self, key: str) -> str:
        return f"{plain_url(self._url)}/{key}".rstrip("/")

    def _ask(self, key: str, request: Callable[[Any], T]) -> T | None:
        """Return the answer, retried where that may help; None if there is nothing at the key."""

        def attempt() -> T | None:
            try:
                return self._answer(key, request)
            except PassingError as err:
                if err.wait:
                    sleep(min(err.wait, MOST_WAIT))
                raise

        try:
            # Not again after a silence: who asks waits so long in all.
            return retrying(
                attempt,
                lambda err: isinstance(err, PassingError),
                deadline=min(self._seconds, _RETRY_SECONDS),
            )
        except PassingError as err:
            failed = err
        address = self._address(key)
        raise (SilentServerError if failed.silent else NoAnswerError)(
            f"{address}: the server gave no usable answer, asked several times, or for "
            f"{self._seconds:g} seconds ({failed}). Check it and retry",
            address,
        )

    def _answer(self, key: str, request: Callable[[Any], T]) -> T | None:
        try:
            return self._request(key, request, self._client)
        except AccessDeniedError:
            if self._mode != "undecided" or key in self._refused:
                raise
        except _WrongRegionError:
            self._go_to_region(key)
            return self._request(key, request, self._client)
        try:
            found = self._request(key, request, self._signed_client)
        except AccessDeniedError:
            self._refused.add(key)  # the credentials do not help, or it is not there
            raise
        self._client, self._mode = self._signed_client, "signed"
        return found

    def _go_to_region(self, key: str) -> None:
        """Connect to the region where the bucket is, which Amazon tells everybody."""
        region = None if "region" in self._options else find_region(urlsplit(self._url).netloc)
        if region is None:
            raise read_error(
                self._address(key),
                "the bucket is in another region: give its name, such as region='eu-west-1'",
            )
        self._options["region"] = region
        self._connect()

    def _request(self, key: str, request: Callable[[Any], T], client: Any) -> T | None:
        """Return the answer to one request, with obstore's errors classified."""
        from obstore.exceptions import NotSupportedError

        try:
            return request(client)
        except FileNotFoundError:
            return None
        except NotSupportedError:
            error: Exception = NotImplementedError()
        except (NotImplementedError, PassingError, ChunkReadError):
            raise
        except Exception as err:  # noqa: BLE001 - obstore's generic error, known by its text
            error = self._classified(key, err)
        raise error

    def _classified(self, key: str, err: Exception) -> Exception:
        """Return the error of this module for one of obstore's."""
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        status, reason = _status(err)
        if self._scheme in WEB and _UNTAKEN.search(reason):
            return NotImplementedError()
        address = self._address(key)
        if status in (401, 403) or isinstance(err, (PermissionDeniedError, UnauthenticatedError)):
            msg = f"{address}: access denied ({reason}). {self._advice()}"
            return AccessDeniedError(msg, address)
        if _WRONG_REGION in reason and self._scheme == "s3":
            return _WrongRegionError()
        if status in (429, 503) and self._scheme in WEB:
            self._busy.add(key)
        if status in BUSY or status >= 500 or (not status and _PASSING.search(reason)):
            return PassingError(reason, silent=not status)
        msg = f"{address}: the server's answer cannot be used ({reason}). Check the address"
        return (_BeyondTheEndError if status == 416 else _UnusableError)(msg, address)

    def _advice(self) -> str:
        if self._mode == "signed":
            return "The credentials do not allow it: check them"
        names = CREDENTIALS.get(self._scheme)
        if not names:
            return "It is not open to everybody: check the address, or log in by headers={...}"
        return (
            f"It is not open to everybody: check the address, or set {names[0]} and what belongs "
            "to it"
        )


_process: int | None = None
"""The process in which obstore was first used."""


def refuse_after_fork(address: str) -> None:
    """Raise in a process forked from one in which obstore was used: it would wait for ever."""
    global _process  # noqa: PLW0603 - a fact of the process
    if _process is None:
        _process = os.getpid()
    if _process != os.getpid():
        raise read_error(
            address,
            "cannot be read in a process that was forked from one that reads addresses. "
            'Start processes by "spawn": multiprocessing.get_context("spawn")',
        )


def _status(err: Exception) -> tuple[int, str]:
    """Return the status of an answer, 0 where there was none, and the reason in words."""
    if isinstance(err, StatusError):
        return err.status, str(err)
    line = first_line(err)
    if found := re.search(r"status code: (\d{3})([A-Za-z -]*)", line):
        return int(found[1]), f"{found[1]}{found[2].rstrip()}"
    return 0, line.rpartition(" - ")[2]
