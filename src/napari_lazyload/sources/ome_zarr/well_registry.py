"""The wells of a plate: a few are read at opening, the others when their first chunk is."""

from __future__ import annotations

import os
import threading
import uuid
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.ome_zarr.batched_metadata import run
from napari_lazyload.sources.ome_zarr.images import read_image
from napari_lazyload.sources.ome_zarr.source import Options, place
from napari_lazyload.sources.ome_zarr.tolerant import as_dict, as_dicts, as_text, as_whole, ome_of
from napari_lazyload.sources.zarr.node import read_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_lazyload.core.metadata import Kind
    from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, Nodes
    from napari_lazyload.sources.zarr.array import ZarrArray
    from napari_lazyload.sources.zarr.node import Node
    from napari_lazyload.sources.zarr.store import Store

Acquisition = int | str | None


@dataclass(frozen=True, slots=True)
class Well:
    """One well, as the plate lists it.

    Parameters
    ----------
    path : str
        Within the store.
    row, column : int
        Its place in the mosaic.
    row_name, column_name : str
        The names of that place.
    """

    path: str
    row: int = 0
    column: int = 0
    row_name: str = ""
    column_name: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of view of a well.

    Parameters
    ----------
    path : str
        Within the store.
    acquisition : int, str or None
        The one that it belongs to; None where the metadata do not say.
    """

    path: str
    acquisition: Acquisition = None


def fields_of(node: Node) -> list[Field]:
    """Return the fields that a well lists; without a list those of its children with a number.

    Raises
    ------
    SourceOpenError
        If a path leads out of the store.
    """
    images = as_dicts(as_dict(ome_of(node.attributes).get("well")).get("images"))
    if not images:
        # A server may not list its files: most wells have a field "0".
        names = ["0"] if node.children() is None else node.numbered_children()
        return [Field(place(node, name)) for name in names]
    listed = [(as_text(image.get("path")), image.get("acquisition")) for image in images]
    return [Field(place(node, path), as_acquisition(number)) for path, number in listed if path]


def as_acquisition(value: Any) -> Acquisition:
    """Return the number (or else the name) of an acquisition."""
    number = as_whole(value)
    return as_text(value) if number is None else number


def of_acquisition(fields: Iterable[Field] | None, acquisition: Acquisition) -> list[Field]:
    """Return the fields of an acquisition, of all where it is None."""
    chosen = list(fields or ())
    if acquisition is None:
        return chosen
    return [field for field in chosen if field.acquisition == acquisition]


_registries: weakref.WeakValueDictionary[str, WellRegistry] = weakref.WeakValueDictionary()


class WellRegistry:
    """The wells of a plate, and the metadata of those that were read.

    All copies within one process are one object; a copy in another process reads for itself.

    Parameters
    ----------
    store : Store
        The store that they are in.
    wells : tuple of Well
        In the order of the table.
    fetch : callable, optional
        Finds nodes by path. Wells cost no request where it has consolidated metadata. It stays in
        this process.

    Attributes
    ----------
    problems : dict of int to str
        The problems of wells that were read.
    capacity : dict of Acquisition to int
        Most fields of each well that are shown.
    """

    def __init__(
        self, store: Store, wells: tuple[Well, ...], fetch: Callable[..., Nodes] | None = None
    ) -> None:
        self.store = store
        self.wells = wells
        self.token = uuid.uuid4().hex
        self._fetch = fetch or (lambda paths: read_nodes(store, paths))
        self._fields: dict[int, list[Field] | None] = {}
        self._arrays: dict[tuple[str, str], tuple[ZarrArray, ...] | None] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self.problems: dict[int, str] = {}
        self.capacity: dict[Acquisition, int] = {}
        _registries[self.token] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return (_registry, (self.token, self.store, self.wells))

    def known_fields(self, well: int) -> list[Field] | None:
        """Return the fields of a well that was read, without reading."""
        return self._fields.get(well)

    def record(self, well: int, fields: list[Field] | None) -> None:
        """Record the fields of a well; None where there is no such well."""
        self._fields[well] = fields
        where = self.store.address(self.wells[well].path)
        if fields is None:
            self.problems[well] = (
                f"{where}: the plate lists it, but it is not there; it is shown blank"
            )
        for acquisition, capacity in self.capacity.items():
            count = len(of_acquisition(fields, acquisition))
            if count > capacity:
                self.problems[well] = (
                    f"{where}: {capacity} of {count} fields are shown; open it alone to see all"
                )

    def forget(self, well: int) -> None:
        """Forget the metadata of a well, so that they are read again."""
        self._fields.pop(well, None)
        self.problems.pop(well, None)
        start = f"{self.wells[well].path}/".lstrip("/")
        for key in list(self._arrays):
            if key[0].startswith(start):
                del self._arrays[key]

    def fields(self, well: int) -> list[Field] | None:
        """Return the fields of a well, which is read if need be; None where it is not there.

        Raises
        ------
        ChunkReadError
            If the metadata are broken or cannot be read.
        """
        with self._lock(well):
            if well not in self._fields:
                path = self.wells[well].path
                node = self._run(_node(path), path)
                self.record(well, None if node is None else fields_of(node))
            return self._fields[well]

    def knows_well(self, well: int) -> bool:
        """Return whether a well was read, or found not to be there."""
        return well in self._fields

    def knows_arrays(self, field: Field, label: str) -> bool:
        """Return whether :meth:`arrays` needs to read nothing."""
        return (field.path, label) in self._arrays

    def known_arrays(self, field: Field, label: str) -> tuple[ZarrArray, ...] | None:
        """Return :meth:`arrays` without reading; None where they are not known."""
        return self._arrays.get((field.path, label))

    def record_arrays(self, path: str, arrays: tuple[ZarrArray, ...]) -> None:
        """Record the levels of the field at a path."""
        self._arrays[path, ""] = arrays

    def arrays(self, field: Field, label: str) -> tuple[ZarrArray, ...] | None:
        """Return the levels of a field, or of a label image of it; None where it is not there.

        Raises
        ------
        ChunkReadError
            If the metadata are broken or cannot be read.
        """
        key = (field.path, label)
        with self._lock(key):
            if key not in self._arrays:
                path = f"{field.path}/labels/{label}" if label else field.path
                self._arrays[key] = self._run(_levels(path, "labels" if label else "image"), path)
            return self._arrays[key]

    def _lock(self, key: Any) -> threading.Lock:
        return self._locks.setdefault(key, threading.Lock())

    def _run(self, read: MetadataRead, path: str) -> Any:
        try:
            return run(read, self._fetch)
        except SourceOpenError as err:
            raise ChunkReadError(str(err), self.store.address(path)) from err

    def scan(self, cancelled: Callable[[], bool], found: Callable[[int], Any]) -> None:
        """Read every well that is not known yet."""
        for well in range(len(self.wells)):
            if cancelled():
                return
            try:
                self.fields(well)
            except ChunkReadError as err:
                self.problems[well] = str(err)
            if well in self.problems:
                found(well)


def _node(path: str) -> MetadataRead:
    found = (yield [path]).get(path)
    if isinstance(found, SourceOpenError):
        raise found
    return found


def _levels(path: str, kind: Kind) -> MetadataRead:
    node = yield from _node(path)
    if node is None:
        return None
    opened = yield from read_image(node, "field", Options(labels=False), kind=kind)
    return opened.images[0].source.arrays


def _forget_locks() -> None:
    """Free all locks: a forked process has none of the threads that hold them."""
    for registry in list(_registries.values()):
        registry._locks.clear()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def _registry(token: str, store: Store, wells: tuple[Well, ...]) -> WellRegistry:
    """Return the registry of this process, a new one where there is none."""
    registry = _registries.get(token)
    if registry is None:
        registry = WellRegistry(store, wells)
        registry.token = token
        _registries[token] = registry
    return registry
