"""The names in a bucket: a listing that does not end is given up, and its memory with it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Thread
from typing import Any

from napari_lazyload.sources.zarr.store import read_error


def list_names(client: Any, start: str, address: str, seconds: float) -> list[str]:
    """Return the names right under a prefix, as one of obstore's stores lists them.

    Parameters
    ----------
    client : obstore.store.ObjectStore
        The bucket.
    start : str
        The prefix, with a slash at its end; "" for all of the bucket.
    address : str
        Of the prefix, for messages.
    seconds : float
        How long it may take: a bucket can send page after page for ever.

    Raises
    ------
    ChunkReadError
        If it takes longer.
    Exception
        Of obstore.
    """
    import obstore

    async def ask() -> Any:
        return await asyncio.wait_for(
            obstore.list_with_delimiter_async(client, start or None), seconds
        )

    result: Future[Any] = Future()

    def work() -> None:  # in a thread, for there may be an event loop in this one
        try:
            result.set_result(asyncio.run(ask()))
        except BaseException as err:  # noqa: BLE001 - for the thread that waits
            result.set_exception(err)

    Thread(target=work, daemon=True, name="lazyload-listing").start()
    try:
        found = result.result()
    except TimeoutError:
        raise read_error(
            address, f"its names are not all listed after {seconds:g} seconds. Open a place in it"
        ) from None
    paths = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
    return sorted(path.rstrip("/").removeprefix(start) for path in paths)
