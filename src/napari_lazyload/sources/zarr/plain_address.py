"""Addresses as they are shown: without what lets others in."""

from __future__ import annotations

import re

from napari_lazyload.core.confidential import public_address


def without_login(url: str) -> str:
    """Return an address without user name and password."""
    return re.sub("^([a-zA-Z0-9+.-]+://)[^/?#]*@", r"\1", url)


def plain_url(url: str) -> str:
    """Return an address without user name, password and query, which may hold a signature."""
    return public_address(without_login(url))[0].rstrip("/")


def first_line(err: Exception) -> str:
    """Return the first line of an error's text, without addresses."""
    return re.sub(r"\S+://\S+", "...", str(err).split("\n", 1)[0])[:300]
