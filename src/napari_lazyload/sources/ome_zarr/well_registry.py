"""What is known of the wells of a plate: read for a few at opening, for the others when a chunk of theirs is."""

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
from napari_lazyload.sources.ome_zarr.options import Options, place
from napari_lazyload.sources.ome_zarr.tolerant import as_dict, as_dicts, as_number, as_text, ome_of
from napari_lazyload.sources.zarr.node import read_nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_lazyload.core.metadata import Kind
    from napari_lazyload.sources.ome_zarr.batched_metadata import MetadataRead, Nodes
    from napari_lazyload.sources.zarr.array import ZarrArray
    from napari_lazyload.sources.zarr.node import Node
    from napari_lazyload.sources.zarr.store import Store

Acquisition = int | str | None


@dataclass(frozen=True, slots=True)
class Well:
    """One well, as the plate tells of it.

    Parameters
    ----------
    path : str
        Within the store.
    row, column : int
        Where it is in the mosaic.
    row_name, column_name : str
        What people call that.
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
        Which one it belongs to; None where nobody says.
    """

    path: str
    acquisition: Acquisition = None


def fields_of(node: Node) -> list[Field]:
    """Return the fields that a well tells of; without such metadata its children, or where fields mostly are.

    Raises
    ------
    SourceOpenError
        If a path leads out of the store.
    """
    well = as_dict(ome_of(node.attributes).get("well"))
    found = [
        (as_text(one.get("path")), one.get("acquisition")) for one in as_dicts(well.get("images"))
    ]
    if not found:
        children = node.children()
        names = ["0"] if children is None else [one for one in children if one.isdigit()]
        found = [(name, None) for name in sorted(names, key=int)]
    return [Field(place(node, path), as_acquisition(number)) for path, number in found if path]


def as_acquisition(said: Any) -> Acquisition:
    """Return the number (or else the name) of an acquisition."""
    number = as_number(said)
    return int(number) if number is not None and number == int(number) else as_text(said)


_books: weakref.WeakValueDictionary[str, WellRegistry] = weakref.WeakValueDictionary()


class WellRegistry:
    """The wells of a plate. Copies in one process are one; in another process a copy reads for itself.

    Parameters
    ----------
    store : Store
        Where they are.
    wells : tuple of Well
        In the order of the table.
    fetch : callable, optional
        Finds nodes by path; where it knows of consolidated metadata, wells cost no request. Stays
        in this process.

    Attributes
    ----------
    problems : dict of int to str
        What is wrong with wells that were read.
    room : dict of Acquisition to int
        So many fields of each well are shown.
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
        _books[self.token] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return (_book, (self.token, self.store, self.wells))

    def known_fields(self, well: int) -> list[Field] | None:
        """Return the fields of a well that was read, without reading."""
        return self._fields.get(well)

    def record(self, well: int, fields: list[Field] | None) -> None:
        """Note the fields of a well; None where there is no such well."""
        self._fields[well] = fields
        where = self.store.address(self.wells[well].path)
        if fields is None:
            self.problems[well] = (
                f"{where}: the plate lists it, but it is not there; it is shown blank"
            )
            return
        for acquisition, capacity in self.capacity.items():
            count = sum(acquisition is None or field.acquisition == acquisition for field in fields)
            if count > capacity:
                self.problems[well] = (
                    f"{where}: {capacity} of {count} fields are shown; open it alone to see all"
                )

    def forget(self, well: int) -> None:
        """Forget what was read of a well, so that it is read again."""
        self._fields.pop(well, None)
        self.problems.pop(well, None)
        start = f"{self.wells[well].path}/".lstrip("/")
        for key in [key for key in self._arrays if key[0].startswith(start)]:
            del self._arrays[key]

    def fields(self, well: int) -> list[Field] | None:
        """Return the fields of a well, reading its metadata if they are not known; None where it is not there.

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
        """Return whether the metadata of a well were read, or it was found not to be there."""
        return well in self._fields

    def knows_arrays(self, field: Field, label: str) -> bool:
        """Return whether :meth:`arrays` of the same needs to read nothing."""
        return (field.path, label) in self._arrays

    def arrays(self, field: Field, label: str) -> tuple[ZarrArray, ...] | None:
        """Return the levels of a field, or of one of its label images; None where it is not there.

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

    def _run(self, reading: MetadataRead, path: str) -> Any:
        try:
            return run(reading, self._fetch)
        except SourceOpenError as err:
            raise ChunkReadError(str(err), self.store.address(path)) from err

    def scan(self, cancelled: Callable[[], bool], found: Callable[[int], Any]) -> None:
        """Read the metadata of every well that is not known yet."""
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
    finding = yield from read_image(node, "field", Options(labels=False), kind=kind)
    return finding.images[0].source.arrays


def _forget_locks() -> None:
    """Free all locks: a forked process has none of the threads that hold them."""
    for book in list(_books.values()):
        book._locks.clear()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def _book(token: str, store: Store, wells: tuple[Well, ...]) -> WellRegistry:
    """Return the book of this process, made anew where there is none."""
    book = _books.get(token)
    if book is None:
        book = WellRegistry(store, wells)
        book.token = token
        _books[token] = book
    return book
