"""Where an export goes: written beside its final name, and moved there when it is complete."""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import ExportError, LazyLoadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_STORE_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def check_target(path: str, *, overwrite: bool, store: bool, sources: Iterable[str]) -> None:
    """Raise an error for a target that cannot be written, before anything is read.

    Parameters
    ----------
    path : str
        Absolute.
    overwrite : bool
        Whether something that is there may be replaced.
    store : bool
        Whether the target is a folder.
    sources : iterable of str
        Local files and folders that the pixels come from.

    Raises
    ------
    ExportError
        If its folder is missing, something is there already, or it is part of what is read.
    """
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        found = "is a file" if os.path.exists(folder) else "does not exist"
        msg = f"{path}: the folder {folder} {found}; make it first, or choose another one"
        raise ExportError(msg, path)
    for source in sources:
        if _meets(path, source):
            msg = f"{path}: is part of what is read ({source}); write to another place"
            raise ExportError(msg, path)
    if os.path.lexists(path):
        _check_replaced(path, overwrite=overwrite, store=store)


def _check_replaced(path: str, *, overwrite: bool, store: bool) -> None:
    if not overwrite:
        raise _exists(path)
    if os.path.isdir(path) and not os.path.islink(path):
        # A typing mistake must not cost anybody a folder of other files.
        names = os.listdir(path)
        if not store or (names and not set(_STORE_FILES).intersection(names)):
            msg = (
                f"{path}: is a folder that is no Zarr store, which is never replaced; "
                "choose another name"
            )
            raise ExportError(msg, path)


def _exists(path: str) -> ExportError:
    msg = f"{path}: exists already; choose another name, or pass overwrite=True to replace it"
    return ExportError(msg, path)


def _meets(path: str, source: str) -> bool:
    """Whether a target is a source, lies in one that is a folder, or holds it."""
    path, source = os.path.realpath(path), os.path.realpath(source)
    return path == source or _holds(source, path) or (os.path.exists(path) and _holds(path, source))


def _holds(folder: str, path: str) -> bool:
    return os.path.isdir(folder) and path.startswith(folder.rstrip(os.sep) + os.sep)


def check_space(path: str, nbytes: int) -> None:
    """Raise an error for what cannot fit the disk.

    Raises
    ------
    ExportError
        If fewer bytes are free.
    """
    try:
        free = shutil.disk_usage(os.path.dirname(path)).free
    except OSError:  # a file system that does not say
        return
    if free < nbytes:
        raise _no_space(path, f"it needs {_size(nbytes)}, {_size(free)} are free")


def _no_space(path: str, why: str) -> ExportError:
    msg = (
        f"{path}: the disk has not enough space ({why}). "
        "Free some, or write a smaller region or a coarser level"
    )
    return ExportError(msg, path)


def _size(nbytes: int) -> str:
    if nbytes >= 2**29:
        return f"{nbytes / 2**30:.1f} GiB"
    return f"{nbytes / 2**20:.1f} MiB"


@contextmanager
def atomic_target(path: str, *, overwrite: bool) -> Iterator[str]:
    """Give a path to write to, and move what is there to `path` at the end; on an error remove it.

    The folder that both are in has a hidden folder meanwhile. It holds what is written, and what
    that replaces.

    Parameters
    ----------
    path : str
        The final name, absolute.
    overwrite : bool
        Whether what has that name may be replaced.

    Yields
    ------
    str
        A path of the same name in that hidden folder, where nothing is.

    Raises
    ------
    ExportError
        If the system refuses to write. Errors of reading, and errors of the caller, pass through.
    """
    folder, name = os.path.split(path)
    hidden = os.path.join(folder, f".{name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        os.mkdir(hidden)
        made = os.path.join(hidden, name)
        yield made
        _sync(made)
        if not overwrite and os.path.lexists(path):  # it came meanwhile
            raise _exists(path)
        _move(made, path, os.path.join(hidden, "replaced"))
    except LazyLoadError:
        raise
    except OSError as err:
        raise _failed(path, err) from err
    finally:
        _remove(hidden)


def _failed(path: str, err: OSError) -> ExportError:
    import errno

    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(path, str(err))
    if isinstance(err, PermissionError) or err.errno == errno.EROFS:
        msg = f"{path}: it is not allowed to write there ({err}); choose another folder"
        return ExportError(msg, path)
    msg = f"{path}: cannot be written ({type(err).__name__}: {err}); nothing was changed there"
    return ExportError(msg, path)


def _sync(made: str) -> None:
    """Have a file on the disk before its name is; the many files of a store are not waited for."""
    if os.path.isfile(made):
        with open(made, "rb+") as file:
            os.fsync(file.fileno())


def _move(made: str, path: str, aside: str) -> None:
    """Give a finished target its name. What has that name until then stays if this fails."""
    if not os.path.isdir(made) or not os.path.lexists(path):
        os.replace(made, path)
        return
    os.replace(path, aside)
    try:
        os.replace(made, path)
    except BaseException:
        os.replace(aside, path)
        raise


def _remove(folder: str) -> None:
    def writable(function: Any, path: str, _error: Any) -> None:
        with suppress(OSError):  # Windows keeps files that are read-only
            os.chmod(path, stat.S_IWRITE | stat.S_IREAD | stat.S_IEXEC)
            function(path)

    import sys

    if sys.version_info >= (3, 12):
        shutil.rmtree(folder, onexc=writable)
    else:
        shutil.rmtree(folder, onerror=writable)
