"""Answers of web servers that obstore leaves as they are, or cannot take.

They are encoded bodies, pages for people in the place of a file that is not there, answers that do
not tell their length, and those that say when to come back.
"""

from __future__ import annotations

import gzip
import io
import re
import time
import urllib.error
import urllib.request
import zlib
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from napari_lazyload.sources.zarr.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGE = re.compile(rb"[\s\xef\xbb\xbf]*<(!doctype html|html|!--)", re.IGNORECASE)
BUSY = (408, 425, 429)
"""Statuses below 500 after which the same request may be answered."""
MOST_WAIT = 20.0
"""Most seconds that are waited where a server tells when to come back."""


class PassingError(Exception):
    """An answer that may differ next time: too busy, a broken connection, none at all.

    Parameters
    ----------
    reason : str
        In words.
    wait : float
        Seconds after which the server wants to be asked again.
    silent : bool
        Whether there was no answer at all.
    """

    def __init__(self, reason: str, wait: float = 0.0, *, silent: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.silent = silent


class TooLongError(Exception):
    """A body that is longer than it may be; it was not read to its end."""


class StatusError(Exception):
    """An answer with a status that is an error; its text is the status and its name."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def body_of(data: bytes, headers: Mapping[str, str], most: int) -> bytes | None:
    """Return the body of an answer, decoded; None for a page, which stands for a missing file.

    Raises
    ------
    PassingError
        If it is damaged.
    TooLongError
        If it has more than `most` bytes.
    """
    for name in reversed(encodings_of(headers)):
        decode = _DECODERS.get(name)
        try:
            data = data if decode is None else decode(data, most + 1)
        except (OSError, EOFError, ValueError, RuntimeError, zlib.error) as err:
            raise PassingError(f"its Content-Encoding {name!r} cannot be decoded: {err}") from err
    if len(data) > most:
        raise TooLongError
    return None if PAGE.match(data[:200]) else data


def encodings_of(headers: Mapping[str, str]) -> list[str]:
    """Return the encodings of a body, in the order in which they were applied."""
    named = {name.lower(): value for name, value in headers.items()}.get("content-encoding", "")
    parts = (part.strip().lower() for part in named.split(","))
    return [part for part in parts if part not in ("", "identity", "aws-chunked")]


def _gunzip(data: bytes, most: int) -> bytes:
    # Some servers leave the header on what they have decoded already.
    if not data.startswith(b"\x1f\x8b"):
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(most)


def _inflate(data: bytes, most: int) -> bytes:
    for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):  # some send it without its header
        stream = zlib.decompressobj(bits)
        with suppress(zlib.error):
            found = stream.decompress(data, most)
            if stream.eof or len(found) == most:
                return found
    raise zlib.error("it is incomplete or damaged")


def _unbrotli(data: bytes, most: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.brotli_decode(data, out=min(most, _DENSEST_BROTLI * len(data))))


def _unzstd(data: bytes, most: int) -> bytes:
    return unpack("zstd", {}, data, most) or b""


_DENSEST_BROTLI = 1 << 14
"""Most times that a body of brotli is unpacked to its size."""

_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}


def fetch(
    root: str, key: str, headers: Mapping[str, str], seconds: float, most: int
) -> bytes | None:
    """Return the body at a key below an address, by the standard library; None for nothing there.

    Raises
    ------
    PassingError
        If the answer may be another one next time.
    StatusError
        If it is an error.
    TooLongError
        If the body has more than `most` bytes.
    NotImplementedError
        If the headers ask for a part, and the server sends all.
    """
    parts = urlsplit(root)
    url = parts._replace(
        netloc=parts.netloc.rpartition("@")[2],
        path=f"{quote(parts.path, safe='/%:@!$&()*+,;=~')}/{quote(key)}",
        fragment="",
    )
    request = urllib.request.Request(urlunsplit(url))
    for name, value in headers.items():  # a login is for this server, not for where it leads to
        request.add_unredirected_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            if "Range" in headers and answer.status != HTTPStatus.PARTIAL_CONTENT:
                raise NotImplementedError  # it sends the whole file
            return body_of(answer.read(most + 1), dict(answer.headers.items()), most)
    except urllib.error.HTTPError as err:
        if err.code in (404, 410):
            return None
        reason = f"{err.code} {err.reason}"
        if err.code in BUSY or err.code >= 500:
            raise PassingError(reason, seconds_to_wait(err.headers.get("Retry-After"))) from None
        raise StatusError(err.code, reason) from None
    except (OSError, HTTPException) as err:
        raise PassingError(f"no answer: {err.__class__.__name__}", silent=True) from None


def seconds_to_wait(value: Any) -> float:
    """Return the seconds that a ``Retry-After`` asks for: a number, or a date."""
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
