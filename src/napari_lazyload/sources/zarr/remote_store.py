"""Zarr stores on servers: http, https, s3, gs and az, all by obstore.

Where a server denies a request without credentials, those of the environment are tried; if they
help, they are used from then on. A web server need not list files, and ranges are used only while
it answers them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from napari_lazyload.sources.zarr.connection import Connection, plain_url, refuse_after_fork
from napari_lazyload.sources.zarr.store import check_key, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from napari_lazyload.core.errors import ChunkReadError

T = TypeVar("T")

AT_ONCE = 32
"""Most requests of one call that are under way at the same time."""


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """A folder on a server, made by `open_store`.

    Parameters
    ----------
    url : str
        With all that it takes to read it.
    options : tuple of (str, Any)
        Of obstore's store, sorted.
    opening : str
        Names this opening: no key is expected to change while it lasts.
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
        """Whether requests carry no credentials, by now."""
        return self.connect().anonymous

    def connect(self) -> Connection:
        """Return the connection of this process to the server.

        Raises
        ------
        ChunkReadError
            In a process that was forked from one that used it.
        """
        refuse_after_fork(self.root)
        return _connection(self)

    def address(self, key: str) -> str:
        """See `Store`."""
        return f"{self.root}/{key}" if key else self.root

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        return self.connect().get(check_key(key))

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `Store`."""
        return self.connect().get_range(check_key(key), start, length) if length else b""

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """See `Store`."""
        return at_once(lambda key: outcome_of(self.get, key), keys)

    def list_dir(self, prefix: str) -> list[str] | None:
        """See `Store`; None for web servers, and for buckets that do not let this user list."""
        return self.connect().names(prefix and check_key(prefix))

    def size(self, key: str) -> int | None:
        """See `Store`."""
        return self.connect().size(check_key(key))

    def stamp(self, key: str) -> Hashable:
        """See `Store`."""
        return self.opening


def at_once(call: Callable[[str], T], keys: Iterable[str]) -> dict[str, T]:
    """Return the result of `call` for each key, called for many keys at the same time.

    The threads are daemons: leaving Python does not wait for a server that hangs, as it would for
    those of a `ThreadPoolExecutor`.
    """
    wanted = dict.fromkeys(keys)
    remaining = iter(list(wanted))
    found: dict[str, T] = {}
    errors: list[Exception] = []

    def work() -> None:
        for key in remaining:  # a list's iterator gives each key to one thread alone
            try:
                found[key] = call(key)
            except Exception as err:  # noqa: BLE001 - for the caller, in whose thread it belongs
                errors.append(err)

    threads = []
    for _ in range(1, min(len(wanted), AT_ONCE)):
        threads.append(Thread(target=work, daemon=True, name="lazyload-metadata"))
        threads[-1].start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return {key: found[key] for key in wanted}


@lru_cache(maxsize=64)
def _connection(store: RemoteStore) -> Connection:
    return Connection(store.url, dict(store.options))
