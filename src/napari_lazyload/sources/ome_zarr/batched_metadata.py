"""Metadata in few round trips: readings that yield the paths they need, run side by side.

A *reading* (`MetadataRead`) is a generator, such as :func:`~.images.read_image`. It reads nothing
itself: it yields a list of paths within the store, is sent the nodes there, and at last returns the
images that it made of them. So whoever runs it decides how nodes are fetched. A reading may hand
over to another by ``yield from``.

That saves round trips to a server: :func:`run_together` joins the lists of several readings into
one, so that ten images cost as many round trips as one. :func:`run` runs a reading to its end, by a
function from :func:`metadata_fetcher`.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_lazyload.core.errors import SourceOpenError
from napari_lazyload.sources.zarr.node import read_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from napari_lazyload.sources.zarr.node import Node

    Nodes = Mapping[str, Node | SourceOpenError | None]

MetadataRead: TypeAlias = "Generator[list[str], Nodes, Any]"
"""A reading: yields paths, is sent the nodes there (None: no node), returns its result."""


def run_together(reads: Sequence[MetadataRead]) -> MetadataRead:
    """Run several readings side by side, as one reading.

    Returns a list with the result of each, or the `SourceOpenError` that it raised.
    """
    results: list[Any] = [None] * len(reads)
    waiting: dict[int, list[str]] = {}

    def advance(number: int, nodes: Nodes | None) -> None:
        waiting.pop(number, None)
        try:
            waiting[number] = reads[number].send(nodes)  # type: ignore[arg-type] # None starts it
        except StopIteration as end:
            results[number] = end.value
        except SourceOpenError as err:
            results[number] = err

    for number in range(len(reads)):
        advance(number, None)
    while waiting:
        nodes = yield list(dict.fromkeys(chain.from_iterable(waiting.values())))
        for number in list(waiting):
            advance(number, nodes)
    return results


def metadata_fetcher(node: Node) -> Callable[[Iterable[str]], Nodes]:
    """Return the function that fetches nodes by their path in the store, in one round trip.

    It costs no request for nodes in the consolidated metadata of `node`. Below a folder without
    metadata of its own, nodes may be of any version.
    """
    start = f"{node.path}/".lstrip("/")

    def fetch(paths: Iterable[str]) -> Nodes:
        wanted = list(paths)
        below = {path: path.removeprefix(start) for path in wanted if path.startswith(start)}
        if not (node.metadata or node.consolidated):
            below = {}
        found = node.nodes(below.values())
        nodes = read_nodes(node.store, filter(lambda path: path not in below, wanted))
        return nodes | {path: found[name] for path, name in below.items()}

    return fetch


def run(read: MetadataRead, fetch: Callable[[Iterable[str]], Nodes]) -> Any:
    """Run a reading to its end, with the nodes that `fetch` finds, and return its result.

    Raises
    ------
    SourceOpenError
        If the reading does.
    """
    nodes: Any = None
    while True:
        try:
            wanted = read.send(nodes)
        except StopIteration as end:
            return end.value
        nodes = fetch(wanted) if wanted else {}
