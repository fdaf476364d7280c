"""From a location to a store: folder, zip file or server."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from napari_lazyload.core.errors import MissingDependencyError
from napari_lazyload.sources.zarr.connection import CREDENTIALS, WEB, first_line, plain_url
from napari_lazyload.sources.zarr.location import is_address
from napari_lazyload.sources.zarr.remote_store import RemoteStore
from napari_lazyload.sources.zarr.store import ZIP_SUFFIXES, LocalStore, Store, open_error
from napari_lazyload.sources.zarr.zip_store import open_zip

SCHEMES = (*WEB, *CREDENTIALS)
_SAME_AS = {"gcs": "gs", "azure": "az"}


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
