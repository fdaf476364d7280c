"""From a location to a store: a folder, a zip file, or a server (http, https, s3, gs, az).

Servers are read by obstore. Where one denies a request without credentials, those of the
environment are tried; if they help, they are used from then on. A web server need not list files,
and ranges are used only while it answers them.
"""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlsplit, urlunsplit

from napari_lazyload.core.cancelling import wait_for
from napari_lazyload.core.errors import MissingDependencyError
from napari_lazyload.sources.zarr.connection import (
    CREDENTIALS,
    WEB,
    Connection,
    NoAnswerError,
    SilentServerError,
    refuse_after_fork,
)
from napari_lazyload.sources.zarr.location import is_address
from napari_lazyload.sources.zarr.plain_address import first_line, plain_url
from napari_lazyload.sources.zarr.store import (
    MOST_METADATA,
    ZIP_SUFFIXES,
    LocalStore,
    Store,
    check_key,
    open_error,
    outcome_of,
)
from napari_lazyload.sources.zarr.zip_store import open_zip

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from napari_lazyload.core.errors import ChunkReadError

T = TypeVar("T")

SCHEMES = (*WEB, *CREDENTIALS)
_SAME_AS = {"gcs": "gs", "azure": "az"}
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

    def get(self, key: str, most: int = MOST_METADATA) -> bytes | None:
        """See `Store`."""
        return _ask(partial(self.connect().get, check_key(key), most))

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `Store`."""
        if not length:
            return b""
        return _ask(partial(self.connect().get_range, check_key(key), start, length))

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """See `Store`."""
        silent: list[NoAnswerError] = []

        def ask(key: str) -> bytes | ChunkReadError | None:
            if silent:  # what does not answer is not asked for all that remains
                return silent[0]
            outcome = outcome_of(self.get, key)
            if isinstance(outcome, NoAnswerError):
                silent.append(outcome)
            return outcome

        found = _ask(lambda: at_once(ask, keys))
        _note_silence(error for error in found.values() if isinstance(error, SilentServerError))
        return found

    def list_dir(self, prefix: str) -> list[str] | None:
        """See `Store`; None for web servers, and for buckets that do not let this user list."""
        return _ask(partial(self.connect().names, prefix and check_key(prefix)))

    def size(self, key: str) -> int | None:
        """See `Store`."""
        return _ask(partial(self.connect().size, check_key(key)))

    def stamp(self, key: str) -> Hashable:
        """See `Store`."""
        return self.opening


_silence: ContextVar[list[SilentServerError] | None] = ContextVar("silence", default=None)
"""While something is opened: the error of the server that did not answer."""


@contextmanager
def ending_at_silence() -> Iterator[None]:
    """Let the first request that a server does not answer end all that is asked in the block.

    Else each would be waited for in turn, a minute or so each.
    """
    token = _silence.set([])
    try:
        yield
    finally:
        _silence.reset(token)


def _note_silence(errors: Iterable[SilentServerError]) -> None:
    silence = _silence.get()
    if silence is not None:
        silence.extend(errors)


def _ask(call: Callable[[], T]) -> T:
    """Return what a call that waits for the server returns."""
    if silence := _silence.get():
        raise silence[0]
    try:
        return wait_for(call)
    except SilentServerError as err:
        _note_silence([err])
        raise


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


def open_store(root: str, **storage_options: Any) -> Store:
    """Return the store at the `root` of a `StoreLocation`.

    Nothing is read but the directory of a zip file.

    Parameters
    ----------
    root : str
        The absolute path of a folder, of a ``.zip`` or ``.ozx`` file, or an address with ``http``,
        ``https``, ``s3``, ``gs`` or ``az``.
    **storage_options
        For addresses: what obstore's store of that kind takes, such as ``endpoint``, ``region`` or
        ``access_key_id``; besides ``anon`` (False: begin with the user's credentials; True: never
        use them), ``headers`` (a dict, sent with each request), ``timeout`` (seconds for one
        request), and ``client_options`` of obstore.

    Raises
    ------
    SourceOpenError
        If there is no such folder or zip file, it cannot be read, the address is of another kind,
        or an option is not known.
    MissingDependencyError
        If an address needs the extra ``remote``.
    """
    if is_address(root):
        return _open_remote(root, storage_options)
    if os.path.isdir(root):
        return LocalStore(root)
    if not os.path.isfile(root):
        raise open_error(
            root,
            "there is no such folder or file; expected a Zarr folder, or a zip file of one. "
            "Check the path",
        )
    if not root.lower().endswith(ZIP_SUFFIXES):
        raise open_error(
            root,
            "a file; expected a Zarr folder, or one in a file that ends with "
            f"{' or '.join(ZIP_SUFFIXES)}",
        )
    folder, name = os.path.split(root)
    return open_zip(LocalStore(folder), name)


def _open_remote(url: str, options: dict[str, Any]) -> Store:
    scheme, _, rest = url.partition("://")
    scheme = _SAME_AS.get(scheme.lower(), scheme.lower())
    parts = urlsplit(f"{scheme}://{rest}")
    if scheme not in SCHEMES or not parts.netloc:
        raise open_error(
            plain_url(url),
            f"expected an address that begins with {', '.join(map('{}://'.format, SCHEMES))} "
            "and has a host or bucket",
        )
    store = RemoteStore(f"{scheme}://{rest}", _frozen(options), uuid.uuid4().hex)
    try:
        store.connect()
    except MissingDependencyError:
        raise
    except Exception as err:  # noqa: BLE001 - obstore's errors have no common base
        raise open_error(
            plain_url(url),
            f"not an address that can be read, or not with these options ({first_line(err)})",
        ) from None
    folder, _, name = parts.path.rstrip("/").rpartition("/")
    if not name.lower().endswith(ZIP_SUFFIXES):
        return store
    return open_zip(replace(store, url=urlunsplit(parts._replace(path=folder))), name)


def _frozen(value: Any) -> Any:
    """Return an option in a hashable form: a dictionary as sorted pairs."""
    if not isinstance(value, dict):
        return value
    return tuple((name, _frozen(inner)) for name, inner in sorted(value.items()))
