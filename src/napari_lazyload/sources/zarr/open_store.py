"""From a location to a store: folder, zip file or server."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from napari_lazyload.core.errors import MissingDependencyError
from napari_lazyload.sources.zarr.connection import CREDENTIALS, WEB, first_line, plain_url
from napari_lazyload.sources.zarr.remote_store import RemoteStore
from napari_lazyload.sources.zarr.store import ZIP_SUFFIXES, LocalStore, Store, open_error
from napari_lazyload.sources.zarr.zip_store import open_zip

SCHEMES = (*WEB, *CREDENTIALS)
_SAME_AS = {"gcs": "gs", "azure": "az"}


def open_remote(url: str, **storage_options: Any) -> Store:
    """Return the store at an address; nothing is read but the directory of a zip file.

    Parameters
    ----------
    url : str
        ``http``, ``https``, ``s3``, ``gs`` or ``az``.
    **storage_options
        What obstore's store of that kind takes, such as ``endpoint``, ``region`` or
        ``access_key_id``; besides ``anon`` (False: begin with the user's credentials; True: never
        use them), ``headers`` (a dict, sent with each request), ``timeout`` (seconds for one
        request), and ``client_options`` of obstore.

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
    parts = urlsplit(f"{scheme}://{rest}")
    if scheme not in SCHEMES or not parts.netloc:
        known = ", ".join(map("{}://".format, SCHEMES))
        raise open_error(
            shown, f"expected an address that begins with {known} and has a host or bucket"
        )
    options = _frozen(storage_options)
    store = RemoteStore(f"{scheme}://{rest}", options, uuid.uuid4().hex)
    try:
        store.connect()
    except MissingDependencyError:
        raise
    except Exception as err:  # noqa: BLE001 - obstore's errors have no common base
        reason = first_line(err)
        raise open_error(
            shown, f"not an address that can be read, or not with these options ({reason})"
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


def open_store(path_or_url: str, **storage_options: Any) -> Store:
    """Return the store at a path or URL; nothing is read but the directory of a zip file.

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
    scheme, separator, _ = path_or_url.lower().partition("://")
    if not separator or len(scheme) < 2:  # one letter: a drive of Windows
        path = os.path.abspath(path_or_url)
    elif scheme == "file":
        path = _file_path(path_or_url)
    else:
        return open_remote(path_or_url, **storage_options)
    if storage_options:
        raise open_error(
            path,
            "options are for addresses, a local path takes none; got "
            f"{', '.join(sorted(storage_options))}",
        )
    if os.path.isdir(path):
        return LocalStore(path)
    if not os.path.isfile(path):
        raise open_error(
            path,
            "there is no such folder or file; expected a Zarr folder, or a zip file of one. "
            "Check the path",
        )
    if not path.lower().endswith(ZIP_SUFFIXES):
        endings = " or ".join(ZIP_SUFFIXES)
        raise open_error(
            path, f"a file; expected a Zarr folder, or one in a file that ends with {endings}"
        )
    folder, name = os.path.split(path)
    return open_zip(LocalStore(folder), name)


def _file_path(url: str) -> str:
    """Return the local path of a ``file://`` address."""
    path = unquote(urlsplit(url).path)
    return os.path.abspath(path.lstrip("/") if os.name == "nt" else path)
