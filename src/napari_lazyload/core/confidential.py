"""Addresses and options without what nobody else may see: keys, passwords, logins, signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_HARMLESS = frozenset(
    [
        "acquisition",
        "allow_http",
        "anon",
        "bucket",
        "channels",
        "chunks",
        "format",
        "labels",
        "level",
        "max_images",
        "mixed",
        "on_error",
        "pattern",
        "region",
        "request_payer",
        "scene",
        "subfolders",
        "system",
        "timeout",
        "virtual_hosted_style_request",
    ]
)
"""Options of addresses whose values may be shown. All others may be secret: storages have many."""


def public_address(address: str) -> tuple[str, list[str]]:
    """Return an address without login, query and fragment, and the names of those that it had.

    A path is returned as it is.

    Examples
    --------
    >>> public_address("https://me:word@host/a.zarr?sig=1")
    ('https://host/a.zarr', ['login', 'query'])
    """
    if "://" not in address:
        return address, []
    try:
        parts = urlsplit(address)
    except ValueError:
        return address.partition("://")[0] + "://...", ["address"]
    login, _, host = parts.netloc.rpartition("@")
    web = parts.scheme.lower() in ("http", "https")
    secret = login if web or ":" in login else ""  # abfss://container@account has no login
    left_out = {"login": secret, "query": parts.query, "fragment": parts.fragment}
    shown = parts._replace(netloc=host if secret else parts.netloc, query="", fragment="")
    return urlunsplit(shown), [name for name, value in left_out.items() if value]


def public_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the options of an address that may be shown, and the names of the others."""
    shown = {name: value for name, value in options.items() if name in _HARMLESS}
    return shown, [name for name in options if name not in _HARMLESS]
