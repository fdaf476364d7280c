"""From a location to a store: folder, zip file or server."""

from __future__ import annotations

import os
import uuid
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from napari_lazyload.core.errors import MissingDependencyError, SourceOpenError
from napari_lazyload.sources.zarr.connection import first_line, plain_url
from napari_lazyload.sources.zarr.remote_store import _KNOWN, _SAME_AS, RemoteStore, _connection
from napari_lazyload.sources.zarr.store import ZIP_SUFFIXES, LocalStore, Store


def open_remote(url: str, **storage_options: Any) -> Store:
    """Return the store at an address; nothing is read, except for a zip file its directory.

    Parameters
    ----------
    url : str
        ``http``, ``https``, ``s3``, ``gs`` or ``az``.
    **storage_options
        What obstore's store of that kind takes, such as ``endpoint``, ``region`` or
        ``access_key_id``; besides ``anon`` (False: begin with the user's credentials; True: never
        use them), ``headers`` (a dict, sent with each request), ``timeout`` (seconds that one
        request may take), and ``client_options`` of obstore.

    Raises
    ------
    SourceOpenError
        If the address is of another kind, or an option is not known.
    MissingDependencyError
        If obstore is not installed.
    """
    scheme, _, rest = url.partition("://")
    scheme = _SAME_AS.get(scheme.lower(), scheme.lower())
    shown = plain_url(url)
    if scheme not in _KNOWN or not urlsplit(f"{scheme}://{rest}").netloc:
        known = ", ".join(f"{name}://" for name in _KNOWN)
        msg = f"{shown}: expected an address that begins with {known} and has a host or bucket"
        raise SourceOpenError(msg, shown)
    options = tuple(sorted((name, _frozen(value)) for name, value in storage_options.items()))
    store = RemoteStore(f"{scheme}://{rest}", options, uuid.uuid4().hex)
    try:
        _connection(store)
    except MissingDependencyError:
        raise
    except Exception as err:  # noqa: BLE001 - obstore's own, which know no common reason
        msg = f"{shown}: not an address that can be read, or not with these options ({first_line(err)})"
        raise SourceOpenError(msg, shown) from None
    path = urlsplit(store.url).path.rstrip("/")
    if not path.lower().endswith(ZIP_SUFFIXES):
        return store
    from napari_lazyload.sources.zarr.zip_store import open_zip

    folder, _, name = path.rpartition("/")
    outer = RemoteStore(
        urlunsplit(urlsplit(store.url)._replace(path=folder)), options, store.opening
    )
    return open_zip(outer, name)


def _frozen(value: Any) -> Any:
    """Return an option as what can be told from another one: a dictionary as pairs."""
    return (
        tuple((name, _frozen(one)) for name, one in sorted(value.items()))
        if isinstance(value, dict)
        else value
    )


def open_store(path_or_url: str, **storage_options: Any) -> Store:
    """Return the store at a path or URL; nothing is read, except for a zip file its directory.

    Parameters
    ----------
    path_or_url : str
        A folder, a ``.zip`` or ``.ozx`` file, or an address with ``http``, ``https``, ``s3``,
        ``gs`` or ``az``.
    **storage_options
        For addresses: what obstore's store of that kind takes, such as ``endpoint``, ``region``,
        ``access_key_id``.

    Raises
    ------
    SourceOpenError
        If there is no such folder or zip file, it cannot be read, or the address is of another
        kind.
    MissingDependencyError
        If an address needs the extra ``remote``.
    """
    scheme = path_or_url.partition("://")[0].lower() if "://" in path_or_url else ""
    scheme = "" if len(scheme) == 1 else scheme  # a drive of Windows
    if scheme and scheme != "file":
        pass

        return open_remote(path_or_url, **storage_options)
    path = _file_path(path_or_url) if scheme else os.path.abspath(path_or_url)
    if storage_options:
        msg = f"{path}: options are for addresses, a local path takes none; got {', '.join(sorted(storage_options))}"
        raise SourceOpenError(msg, path)
    if os.path.isdir(path):
        return LocalStore(path)
    if not os.path.isfile(path):
        msg = f"{path}: there is no such folder or file; expected a Zarr folder, or a zip file of one. Check the path"
        raise SourceOpenError(msg, path)
    if not path.lower().endswith(ZIP_SUFFIXES):
        msg = f"{path}: a file; expected a Zarr folder, or one in a file that ends with {' or '.join(ZIP_SUFFIXES)}"
        raise SourceOpenError(msg, path)
    from napari_lazyload.sources.zarr.zip_store import open_zip

    folder, name = os.path.split(path)
    return open_zip(LocalStore(folder), name)


def _file_path(url: str) -> str:
    """Return the local path of a ``file://`` address."""
    path = unquote(urlsplit(url).path)
    return os.path.abspath(path.lstrip("/") if os.name == "nt" else path)
