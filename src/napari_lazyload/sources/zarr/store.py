"""Where Zarr keys are read from: a local folder, a zip file, or a server; nothing here can write.

A *key* is a path within the store, with slashes, such as ``"0/.zarray"``. A store is small, frozen,
hashable and picklable; whatever it needs to read with (connections, the directory of a zip file) is
made on first use, in each process for itself.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.files import FileStamp

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

ZIP_SUFFIXES = (".zip", ".ozx")
MOST_METADATA = 64 << 20
"""No file of metadata is longer than so many bytes."""
MOST_WHOLE = 2 << 30
"""No file is read whole that is longer, for a part of it."""
_OUTSIDE = frozenset(("", ".", ".."))


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

    def get(self, key: str, most: int = MOST_METADATA) -> bytes | None:
        """Return all bytes of a key; None where it is not there.

        Raises
        ------
        ChunkReadError
            If it cannot be read, or is longer than `most` bytes; an `AccessDeniedError` where
            reading is not allowed.
        """

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """Return `length` bytes from `start` on, or fewer at the end; None where it is not there.

        A negative `start` counts from the end, as for a slice.

        Raises
        ------
        ChunkReadError
            As for :meth:`get`.
        """

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """Return :meth:`get` of each key, or its error; all are requested in one round trip."""

    def list_dir(self, prefix: str) -> list[str] | None:
        """Return the sorted names right under `prefix`; None where the store cannot list them.

        A prefix that is not there has no names.
        """

    def size(self, key: str) -> int | None:
        """Return the number of bytes of a key; None where it is not there."""

    def stamp(self, key: str) -> Hashable:
        """Return the stamp of a key, which changes when it is replaced; its bytes are not read.

        Folders and zip files give size and time of change (None: not there). A server is assumed
        not to change while a store of it is open: the stamp is the same for all keys, and another
        one for each opening.
        """

    def address(self, key: str) -> str:
        """Return the path or URL of a key for messages, without credentials."""


def open_error(address: str, text: str) -> SourceOpenError:
    """Return the error for a node or store that cannot be opened."""
    return SourceOpenError(f"{address}: {text}", address)


def read_error(address: str, text: str) -> ChunkReadError:
    """Return the error for a key that cannot be read."""
    return ChunkReadError(f"{address}: {text}", address)


def check_size(address: str, found: int, most: int) -> None:
    """Refuse a key that is longer than it can be; before memory is taken for it.

    Raises
    ------
    ChunkReadError
        If it is longer than `most` bytes.
    """
    if found > most:
        raise read_error(
            address,
            f"expected at most {most:,} bytes, found {found:,}: it is damaged, or no such file. "
            "It was not read",
        )


def is_key(key: str) -> bool:
    """Return whether a key stays within a store."""
    if os.sep != "/" and (os.sep in key or ":" in key):
        return False
    return "\0" not in key and _OUTSIDE.isdisjoint(key.split("/"))


def check_key(key: str) -> str:
    """Return a key unchanged if it stays within the store.

    Raises
    ------
    ChunkReadError
        If it is absolute, contains ``..``, or contains a sign that leads out on this system.
    """
    if not is_key(key):
        raise ChunkReadError(
            f"{key!r} is no place within a Zarr store: expected names with slashes between them, "
            "and no '..'",
            key,
        )
    return key


def outcome_of(get: Callable[[str], bytes | None], key: str) -> bytes | ChunkReadError | None:
    """Return the bytes of a key, None where it is not there, or the error of reading it."""
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

    def get(self, key: str, most: int = MOST_METADATA) -> bytes | None:
        """See `Store`."""

        def read(file: Any) -> bytes:
            size = os.fstat(file.fileno()).st_size
            check_size(self.address(key), size, most)
            return _read_all(file, size + 1)

        return self._read(key, read)

    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """See `Store`."""

        def read(file: Any) -> bytes:
            begin = start if start >= 0 else max(0, file.seek(0, os.SEEK_END) + start)
            file.seek(begin)
            return _read_all(file, length)

        return self._read(key, read)

    def _read(self, key: str, read: Callable[[Any], bytes]) -> bytes | None:
        path = self.address(check_key(key))
        try:
            with open(path, "rb", buffering=0, opener=_open_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise read_error(path, "expected a file, found a pipe or a device")
                return read(file)
        except ChunkReadError:  # one of our own, which is an OSError too
            raise
        except IsADirectoryError:
            return None
        except (FileNotFoundError, NotADirectoryError):
            self._refuse_broken_link(path)
            return None
        except OSError as err:
            raise _os_error(path, err) from err

    def _refuse_broken_link(self, path: str) -> None:
        """Raise where a link leads nowhere: it says that there is something to read."""
        while not os.path.lexists(path) and len(path) > len(self.root):
            path = os.path.dirname(path)
        if os.path.islink(path) and not os.path.exists(path):
            raise read_error(
                path,
                f"a link to {os.readlink(path)!r}, which is not there: the data were not fetched, "
                "or moved. Get them first (such as by datalad get or git annex get), then retry",
            )

    def outcomes(self, keys: Iterable[str]) -> dict[str, bytes | ChunkReadError | None]:
        """See `Store`."""
        return {key: outcome_of(self.get, key) for key in keys}

    def list_dir(self, prefix: str) -> list[str] | None:
        """See `Store`."""
        path = self.address(check_key(prefix) if prefix else "")
        try:
            return sorted(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as err:
            raise _os_error(path, err) from err

    def size(self, key: str) -> int | None:
        """See `Store`."""
        stamp = self.stamp(key)
        return None if stamp is None else stamp.size

    def stamp(self, key: str) -> FileStamp | None:
        """See `Store`."""
        path = self.address(check_key(key))
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            raise _os_error(path, err) from err
        return FileStamp.from_stat(found)


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; of a named pipe nobody is waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_all(file: Any, length: int) -> bytes:
    """Read `length` bytes, or up to the end: a single call of `read` may return fewer."""
    data: bytes = file.read(length)
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data


def _os_error(path: str, err: OSError) -> ChunkReadError:
    reason = err.strerror or err
    msg = f"{path}: cannot be read ({reason}). Check the file and its permissions, then retry"
    return (AccessDeniedError if isinstance(err, PermissionError) else ChunkReadError)(msg, path)
