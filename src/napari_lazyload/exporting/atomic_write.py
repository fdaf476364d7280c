"""Where an export goes: written beside its final name, and moved there when it is complete."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import shutil
import stat
import sys
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped] # ships no types

from napari_lazyload.core.errors import ExportError, LazyLoadError, LazyLoadWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux; see renameat2(2)."""
_AT_ONCE = 8
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
        raise ExportError(
            f"{path}: the folder {folder} {found}; make it first, or choose another one", path
        )
    for source in sources:
        if _meets(path, source):
            raise ExportError(
                f"{path}: is part of what is read ({source}); write to another place", path
            )
    if os.path.lexists(path):
        _check_replaced(path, overwrite=overwrite, store=store)


def _check_replaced(path: str, *, overwrite: bool, store: bool) -> None:
    if not overwrite:
        raise _exists(path)
    if os.path.isdir(path) and not os.path.islink(path):
        # A typing mistake must not cost anybody a folder of other files.
        try:
            names = os.listdir(path)
        except OSError as err:
            raise _failed(path, err) from err
        if not store or (names and not set(_STORE_FILES).intersection(names)):
            raise ExportError(
                f"{path}: is a folder that is no Zarr store, which is never replaced; "
                "choose another name",
                path,
            )


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

    The folder that both are in has a hidden folder meanwhile. It holds what is written, what that
    replaces, and which process does it: the next export to that name removes what a killed one
    left. All is on the disk before it has its name, so that no power cut leaves half of it there.

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
    hidden = os.path.join(folder, f".{name}{_MARK}{uuid.uuid4().hex[:8]}")
    made = os.path.join(hidden, name)
    try:
        clear_leftovers(path)
        if not overwrite and os.path.lexists(path):  # put back just now
            raise _exists(path)
        _make_owned(hidden)
        yield made
        _sync(made)
        if not overwrite and os.path.lexists(path):  # it came meanwhile
            raise _exists(path)
        _move(made, path, os.path.join(hidden, _REPLACED))
        _confirm(path)
    except LazyLoadError:
        raise
    except OSError as err:
        raise _failed(path, err) from err
    finally:
        text = _clear(hidden, path)
        if text:
            warnings.warn(text, LazyLoadWarning, stacklevel=3)


def _clear(hidden: str, path: str) -> str:
    """Put back what was moved aside in vain, and remove the rest; return what is left, in words."""
    aside = os.path.join(hidden, _REPLACED)
    if os.path.lexists(aside) and not os.path.lexists(path):
        try:
            os.replace(aside, path)
        except OSError as err:  # it is the only copy: nothing is removed
            return f"{path}: what it was before is kept as {aside} ({err}). Move it back by hand"
    _remove(hidden)
    if os.path.lexists(hidden):
        return f"{hidden}: what is left of an export could not be removed; remove it by hand"
    return ""


def _confirm(path: str) -> None:
    """Have the new name on the disk."""
    try:
        _sync_folder(os.path.dirname(path))
    except OSError as err:
        msg = f"{path}: is written, and the disk did not confirm its name ({err}). Check the disk"
        raise ExportError(msg, path) from err


# --- who writes

_MARK, _REPLACED, _OWNER, _UNNAMED = ".partial-", "replaced", "owner.json", "owner.json.new"


def _make_owned(hidden: str) -> None:
    """Make the hidden folder, and write into it which process it belongs to."""
    while True:
        os.mkdir(hidden)
        with suppress(FileNotFoundError):  # another export took it for a leftover, while empty
            unnamed = os.path.join(hidden, _UNNAMED)
            with open(unnamed, "w", encoding="utf-8") as file:
                json.dump(_this_process(), file)
            _sync_file(unnamed)
            os.replace(unnamed, os.path.join(hidden, _OWNER))
            # What is moved in later must not be lost with a folder that nobody knows of.
            _sync_folder(hidden)
            _sync_folder(os.path.dirname(hidden))
            return


def _this_process() -> dict[str, Any]:
    own = psutil.Process()
    return {"host": _machine(), "pid": own.pid, "started": own.create_time()}


def _machine() -> str:
    """Return what tells this machine from others that see the same folder under the same name."""
    return f"{platform.node()} {uuid.getnode():x}"


def clear_leftovers(path: str) -> None:
    """Remove what killed exports to a target left, and put back what they had moved aside.

    Only of processes of this machine that are gone; what cannot be removed stays.
    """
    folder, name = os.path.split(path)
    start = f".{name}{_MARK}"
    for found in os.listdir(folder):
        hidden = os.path.join(folder, found)
        if not found.startswith(start) or len(found) != len(start) + 8 or _is_owned(hidden):
            continue
        _clear(hidden, path)


def _is_owned(hidden: str) -> bool:
    """Whether a hidden folder belongs to a process that may still run, or is no export's."""
    try:
        with open(os.path.join(hidden, _OWNER), encoding="utf-8") as file:
            owner = json.load(file)
        if owner["host"] != _machine():
            return True
        started = float(psutil.Process(owner["pid"]).create_time())
        return abs(started - float(owner["started"])) < 1
    except psutil.NoSuchProcess:
        return False
    except FileNotFoundError:  # killed before it was written, or somebody else's
        try:
            return bool(set(os.listdir(hidden)) - {_UNNAMED})
        except OSError:
            return True
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return True


# --- to the disk


def _failed(path: str, err: OSError) -> ExportError:
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(path, str(err))
    if isinstance(err, PermissionError) or err.errno == errno.EROFS:
        msg = f"{path}: it is not allowed to write there ({err}); choose another folder"
        return ExportError(msg, path)
    msg = f"{path}: cannot be written ({type(err).__name__}: {err}); nothing was changed there"
    return ExportError(msg, path)


def _sync(made: str) -> None:
    """Have a file, or all of a store, on the disk before its name is."""
    if os.path.isfile(made):
        _sync_file(made)
        return
    files: list[str] = []
    folders: list[str] = [os.path.dirname(made)]
    for folder, _, names in os.walk(made):
        folders.append(folder)
        files += [os.path.join(folder, name) for name in names]
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # the system joins what is asked for together
        list(pool.map(_sync_file, files))
    for folder in folders:
        _sync_folder(folder)


def _sync_file(path: str) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Have the names in a folder on the disk, where the system can be told to."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives
            raise
    finally:
        os.close(handle)


def _move(made: str, path: str, aside: str) -> None:
    """Give a finished target its name. What has that name until then stays if this fails."""
    if not os.path.isdir(made) or not os.path.lexists(path):
        os.replace(made, path)
        return
    if _exchange(made, path):
        return
    os.replace(path, aside)
    try:
        _sync_folder(os.path.dirname(aside))
        os.replace(made, path)
    except BaseException:
        os.replace(aside, path)
        raise


def _exchange(one: str, other: str) -> bool:
    """Exchange two names in one step; return whether the system can do that (Linux)."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    failed = int(rename(_HERE, names[0], _HERE, names[1], _EXCHANGE))
    return failed == 0


def _remove(folder: str) -> None:
    """Remove a folder, as far as the system lets it; what fails once is tried a second time."""

    def writable(_function: Any, path: str, _error: Any) -> None:
        with suppress(OSError):  # Windows keeps files that are read-only
            os.chmod(path, stat.S_IWRITE | stat.S_IREAD | stat.S_IEXEC)

    for _ in range(2):
        if sys.version_info >= (3, 12):
            shutil.rmtree(folder, onexc=writable)
        else:
            shutil.rmtree(folder, onerror=writable)
