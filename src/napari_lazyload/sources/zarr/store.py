"""Where Zarr keys are read from: a local folder, a zip file, or a server. Read-only: nothing here can write.

A *key* is a path within the store, with slashes, such as ``"0/.zarray"``. A store is small, frozen,
hashable and picklable; whatever it needs to read with (connections, the directory of a zip file) is
made on first use, in each process for itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from napari_lazyload.core.errors import ChunkReadError
from napari_lazyload.sources.files import FileStamp

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

ZIP_SUFFIXES = (".zip", ".ozx")


class AccessDeniedError(ChunkReadError):
    """A key that the server or the file system does not let this user read (403, no permission)."""


@runtime_checkable
class Store(Protocol):
    """Bytes by key. All members may be used from any thread, several at a time.

    Attributes
    ----------
    root : str
        Absolute path or URL, without credentials: for messages and names.
    is_local : bool
        Whether a read costs no round trip: a folder or a zip file on this machine.
    anonymous : bool
        Whether a server is asked without credentials: it may answer "denied" for what is not there.
    """

    def __hash__(self) -> int: ...

    @property
    def root(self) -> str:
        """See the class."""

    @property
    def is_local(self) -> bool:
        """See the class."""

    @property
    def anonymous(self) -> bool:
        """See the class."""

    def get(self, key: str) -> bytes | None:
        """Return all bytes of a key; None where it is not there.

        Raises
        ------
        ChunkReadError
            If it cannot be read; an `AccessDeniedError` where that is not allowed.
        """

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """Return `length` bytes from `start` on, fewer where the key ends before; None where it is not there.

        A negative `start` counts from the end, as for a slice.

        Raises
        ------
        ChunkReadError
            As for :meth:`get`.
        """

    def many(self, keys: Iterable[str]) -> dict[str, bytes | None]:
        """Return :meth:`get` of each key, asked for at the same time: one round trip.

        Raises
        ------
        ChunkReadError
            The first error, once all were asked for.
        """

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """Return :meth:`many`, with the error in the place of what cannot be read."""

    def list_dir(self, prefix: str) -> list[str] | None:
        """Return the names of files and folders right under `prefix`, sorted; None where that cannot be told.

        A prefix that is not there has no names.
        """

    def size(self, key: str) -> int | None:
        """Return how many bytes a key has; None where it is not there."""

    def stamp(self, key: str) -> Hashable:
        """Return what tells a replaced key from the old one, without reading it.

        Folders and zip files give size and time of change (None: not there). A server is taken not
        to change while a store of it is open: the stamp is the same for all keys, and another one
        for each opening.
        """

    def address(self, key: str) -> str:
        """Return path or URL of a key for messages, without credentials."""


def check_key(key: str) -> str:
    """Return a key as it is, if it stays within the store.

    Raises
    ------
    ChunkReadError
        If it is absolute, has ``..`` in it, or what only one operating system takes as such.
    """
    parts = key.split("/")
    outside = "\0" in key or any(part in ("", ".", "..") for part in parts)
    if outside or (os.sep != "/" and any(sign in key for sign in (os.sep, ":"))):
        msg = f"{key!r} is no place within a Zarr store: expected names with slashes between them, and no '..'"
        raise ChunkReadError(msg, key)
    return key


def first_error(outcomes: dict[str, bytes | ChunkReadError | None]) -> dict[str, bytes | None]:
    """Return what was read, or raise the first error."""
    found: dict[str, bytes | None] = {}
    for key, outcome in outcomes.items():
        if isinstance(outcome, ChunkReadError):
            raise outcome
        found[key] = outcome
    return found


def outcome_of(get: Callable[[str], bytes | None], key: str) -> bytes | ChunkReadError | None:
    """Return what reading a key gives, or the error."""
    try:
        return get(key)
    except ChunkReadError as err:
        return err


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder.

    Keys cannot leave it; symbolic links in it are followed, wherever they lead, as by all programs.

    Parameters
    ----------
    root : str
        Absolute path.
    """

    root: str
    is_local: ClassVar[bool] = True
    anonymous: ClassVar[bool] = False

    def address(self, key: str) -> str:
        """Return the path of a key."""
        return os.path.join(self.root, *key.split("/")) if key else self.root

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        return self._read(key, lambda file: file.read())

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `Store`."""

        def read(file: Any) -> bytes:
            if start >= 0:
                file.seek(start)
            else:
                file.seek(max(0, file.seek(0, os.SEEK_END) + start))
            return _read_all(file, length)

        return self._read(key, read)

    def _read(self, key: str, read: Callable[[Any], bytes]) -> bytes | None:
        path = self.address(check_key(key))
        try:
            with open(path, "rb", buffering=0) as file:
                return read(file)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as err:
            raise _read_error(path, err) from err

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """See `Store`."""
        return {key: outcome_of(self.get, key) for key in keys}

    def many(self, keys: Iterable[str]) -> dict[str, bytes | None]:
        """See `Store`."""
        return first_error(self.outcomes(keys))

    def list_dir(self, prefix: str) -> list[str] | None:
        """See `Store`."""
        path = self.address(check_key(prefix) if prefix else "")
        try:
            return sorted(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as err:
            raise _read_error(path, err) from err

    def size(self, key: str) -> int | None:
        """See `Store`."""
        stamp = self.stamp(key)
        return None if stamp is None else stamp.size

    def stamp(self, key: str) -> FileStamp | None:
        """See `Store`."""
        path = self.address(check_key(key))
        try:
            stat = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            raise _read_error(path, err) from err
        return FileStamp.from_stat(stat)


def _read_all(file: Any, length: int) -> bytes:
    """Read so many bytes, or up to the end: one call may give fewer."""
    data: bytes = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data


def _read_error(path: str, err: OSError) -> ChunkReadError:
    kind = AccessDeniedError if isinstance(err, PermissionError) else ChunkReadError
    return kind(
        f"{path}: cannot be read ({err.strerror or err}). Check the file and its permissions, then retry",
        path,
    )
