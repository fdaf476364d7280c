"""Answers of web servers that obstore leaves as they are, or cannot take.

They are encoded bodies, pages for people in the place of a file that is not there, answers that do
not tell their length, and those that say when to come back.
"""

from __future__ import annotations

import gzip
import re
import time
import urllib.error
import urllib.request
import zlib
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

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
    """

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class StatusError(Exception):
    """An answer with a status that is an error; its text is the status and its name."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def body_of(data: bytes, headers: Mapping[str, str]) -> bytes | None:
    """Return the body of an answer, decoded; None for a page, which stands for a missing file.

    Raises
    ------
    PassingError
        If it is damaged.
    """
    for name in reversed(encodings_of(headers)):
        try:
            data = _DECODERS.get(name, bytes)(data)
        except (OSError, EOFError, ValueError, RuntimeError, zlib.error) as err:
            raise PassingError(f"its Content-Encoding {name!r} cannot be decoded: {err}") from err
    return None if PAGE.match(data[:200]) else data


def encodings_of(headers: Mapping[str, str]) -> list[str]:
    """Return the encodings of a body, in the order in which they were applied."""
    named = {name.lower(): value for name, value in headers.items()}.get("content-encoding", "")
    parts = (part.strip().lower() for part in named.split(","))
    return [part for part in parts if part not in ("", "identity", "aws-chunked")]


def _gunzip(data: bytes) -> bytes:
    # Some servers leave the header on what they have decoded already.
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:  # some send it without its header
        return zlib.decompress(data, -15)


def _by_imagecodecs(name: str) -> Callable[[bytes], bytes]:
    def decode(data: bytes) -> bytes:
        import imagecodecs

        return bytes(getattr(imagecodecs, name)(data))

    return decode


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _by_imagecodecs("brotli_decode"),
    "zstd": _by_imagecodecs("zstd_decode"),
}


def fetch(root: str, key: str, headers: Mapping[str, str], seconds: float) -> bytes | None:
    """Return the body at a key below an address, by the standard library; None for nothing there.

    Raises
    ------
    PassingError
        If the answer may be another one next time.
    StatusError
        If it is an error.
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
            return body_of(answer.read(), dict(answer.headers.items()))
    except urllib.error.HTTPError as err:
        if err.code in (404, 410):
            return None
        reason = f"{err.code} {err.reason}"
        if err.code in BUSY or err.code >= 500:
            raise PassingError(reason, seconds_to_wait(err.headers.get("Retry-After"))) from None
        raise StatusError(err.code, reason) from None
    except (OSError, HTTPException) as err:
        raise PassingError(f"no answer: {err.__class__.__name__}") from None


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
