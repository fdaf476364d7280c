"""Reading metadata in few round trips: steps that say which nodes they need next, run side by side.

A *reading* is a generator. It yields paths within the store, is sent the nodes that are there, and
returns what it made of them. Readings that run together ask together, so that ten images take as
many round trips as one.
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


def run_together(readings: Sequence[MetadataRead]) -> MetadataRead:
    """Run several readings side by side; return what each returns, or the `SourceOpenError` that it raised."""
    results: list[Any] = [None] * len(readings)
    waiting: dict[int, list[str]] = {}

    def go_on(number: int, nodes: Nodes | None) -> None:
        waiting.pop(number, None)
        try:
            waiting[number] = readings[number].send(nodes)  # type: ignore[arg-type] # the first one is None
        except StopIteration as end:
            results[number] = end.value
        except SourceOpenError as err:
            results[number] = err

    for number in range(len(readings)):
        go_on(number, None)
    while waiting:
        nodes = yield list(dict.fromkeys(chain.from_iterable(waiting.values())))
        for number in list(waiting):
            go_on(number, nodes)
    return results


def metadata_fetcher(node: Node) -> Callable[[Iterable[str]], Nodes]:
    """Return what finds nodes by their path in the store: without a request where consolidated metadata know them.

    Below a folder without metadata of its own, nodes may be of any version.
    """
    start = f"{node.path}/" if node.path else ""
    axis_attributes = node.metadata or node.consolidated

    def fetch(paths: Iterable[str]) -> Nodes:
        wanted = list(paths)
        below = {
            path: path.removeprefix(start)
            for path in wanted
            if path.startswith(start) and axis_attributes
        }
        found = node.nodes(below.values())
        rest = [path for path in wanted if path not in below]
        others = read_nodes(node.store, rest) if rest else {}
        return {**others, **{path: found[name] for path, name in below.items()}}

    return fetch


def run(reading: MetadataRead, fetch: Callable[[Iterable[str]], Nodes]) -> Any:
    """Return what a reading makes of the nodes that `fetch` finds.

    Raises
    ------
    SourceOpenError
        If the reading does.
    """
    nodes: Any = None
    while True:
        try:
            wanted = reading.send(nodes)
        except StopIteration as end:
            return end.value
        nodes = fetch(wanted) if wanted else {}
