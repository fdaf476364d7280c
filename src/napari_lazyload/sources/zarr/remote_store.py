"""Zarr stores on servers: http(s) by plain requests, s3, gs and az by their own, all through obstore.

Where a server is asked without credentials first, and denies, those of the environment are tried;
if they help, they are used from then on. Nothing is taken for granted of a web server: no listing,
and ranges only while it answers them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from napari_lazyload.sources.zarr.connection import CREDENTIALS, WEB, Connection, plain_url
from napari_lazyload.sources.zarr.store import check_key, first_error, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from napari_lazyload.core.errors import ChunkReadError

T = TypeVar("T")

AT_ONCE = 32
"""Most requests of one call that are under way at the same time."""
_SAME_AS = {"gcs": "gs", "azure": "az"}
_KNOWN = (*WEB, *CREDENTIALS)


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """A folder on a server, made by :func:`open_remote`.

    Parameters
    ----------
    url : str
        With all that it takes to read it.
    options : tuple of (str, Any)
        Of obstore's store, sorted.
    opening : str
        Names this opening: what is at a key is taken to stay while it lasts.
    """

    url: str = field(repr=False)
    options: tuple[tuple[str, Any], ...] = field(repr=False)
    opening: str
    is_local: ClassVar[bool] = False

    @property
    def root(self) -> str:
        """The address, without credentials."""
        return plain_url(self.url)

    @property
    def anonymous(self) -> bool:
        """Whether the server is asked without credentials, by now."""
        return _connection(self).anonymous

    def address(self, key: str) -> str:
        """See `Store`."""
        return f"{self.root}/{key}" if key else self.root

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        return _connection(self).get(check_key(key))

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `Store`."""
        return _connection(self).get_range(check_key(key), start, length) if length else b""

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """See `Store`."""
        return at_once(lambda key: outcome_of(self.get, key), keys)

    def many(self, keys: Iterable[str]) -> dict[str, bytes | None]:
        """See `Store`."""
        return first_error(self.outcomes(keys))

    def list_dir(self, prefix: str) -> list[str] | None:
        """See `Store`; None for web servers, and for buckets that do not let this user list."""
        return _connection(self).names(check_key(prefix) if prefix else "")

    def size(self, key: str) -> int | None:
        """See `Store`."""
        return _connection(self).size(check_key(key))

    def stamp(self, key: str) -> Hashable:
        """See `Store`."""
        return self.opening


def at_once(call: Callable[[str], T], keys: Iterable[str]) -> dict[str, T]:
    """Return what `call` returns for each key, called for many at the same time.

    The threads are daemons: leaving Python does not wait for a server that hangs.
    """
    wanted = list(dict.fromkeys(keys))
    left = iter(wanted)
    found: dict[str, T] = {}
    errors: list[Exception] = []

    def work() -> None:
        for key in left:  # a list's iterator gives each item once, whichever thread asks
            try:
                found[key] = call(key)
            except Exception as err:  # noqa: BLE001 - for the caller, in whose thread it belongs
                errors.append(err)

    threads = [
        Thread(target=work, daemon=True, name="lazyload-metadata") for _ in wanted[1:AT_ONCE]
    ]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return {key: found[key] for key in wanted}


def _connect(store: RemoteStore) -> Connection:
    return Connection(store.url, dict(store.options))


_connection = lru_cache(maxsize=64)(_connect)
_left: list[Any] = []


def _begin_anew() -> None:
    """Let a forked child make connections of its own; those of the parent would wait for its threads to end them."""
    global _connection  # noqa: PLW0603 - a fact of the process
    _left.append(_connection)
    _connection = lru_cache(maxsize=64)(_connect)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
