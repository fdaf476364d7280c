"""What opening a path gives, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from napari_lazyload.core.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from napari_lazyload.core.row_map import RowMap
    from napari_lazyload.core.source import ChunkKey

Columns: TypeAlias = "Mapping[str, Sequence[Any]]"


IMAGE = "image"
"""The column of the meta table with the number of each row's image, where there are several."""


def _no_columns() -> Columns:
    return {}


class RowSource(Source, Protocol):
    """A source that shows rows of the meta table."""

    @property
    def row_map(self) -> RowMap:
        """Which row it shows where."""


class Below:
    """The paths of the files below a folder, or of the arrays below a node of a store.

    Parameters
    ----------
    root : str
        The folder or node, itself one of them.
    names : callable, optional
        Returns the names of those that are meant, relative to the folder; all by default.
    """

    def __init__(self, root: str, names: Callable[[], Iterable[str]] | None = None) -> None:
        self._root = root.rstrip("/\\")
        self._names = names
        self._known: frozenset[str] = frozenset()

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str) or not path.startswith(self._root):
            return False
        inside = path[len(self._root) :]
        if self._names is None:
            return not inside or inside[0] in "/\\"
        if not self._known:  # of a million files they are listed when the first is looked for
            self._known = frozenset(self._names())
        return inside[1:] in self._known


@dataclass(slots=True)
class OpenResult:
    """One opened path: sources, and what the meta table is made from. No pixel was read.

    Parameters
    ----------
    path : str
        Where it came from.
    kind : str
        What it is, for people: "image folder", "picture".
    sources : tuple of RowSource
        One for each image.
    columns : callable
        Returns the columns of the meta table, all of one length, in slider order, image after
        image.
    rows : tuple of range
        Which rows of the table each image shows; two images may show the same ones.
    row_name : str
        What a row is, for people.
    problems : callable
        Returns ``{row: reason}`` of the rows that are known not to load, or not to fit.
    recheck : callable
        Forgets what is known of a row that failed, before a retry.
    files : container of str
        The files, or the arrays of a store, that its chunks name in their keys, so that closing
        frees them.
    skipped : dict of str to int
        How many files were left out, by reason.
    left_out : dict of str to list of str
        Their names, by reason; of very many the first ones.
    notes : list of str
        What the user should be told once.
    background : callable or None
        ``background(cancelled, found)``: finds out the rest, in a worker thread; calls `found` with
        each row that has a problem.
    where : callable
        Returns the absolute path, or list of them, that opens the same again.
    """

    path: str
    kind: str
    sources: tuple[RowSource, ...]
    rows: tuple[range, ...]
    row_name: str = "file"
    columns: Callable[[], Columns] = _no_columns
    problems: Callable[[], dict[int, str]] = dict
    recheck: Callable[[int], Any] = lambda _row: None
    files: Container[str] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    background: Callable[[Callable[[], bool], Callable[[int], Any]], None] | None = None
    where: Callable[[], str | list[str]] = str

    @property
    def row_count(self) -> int:
        """Number of rows of the table."""
        return max((rows.stop for rows in self.rows), default=0)

    def owns(self, key: ChunkKey) -> bool:
        """Return whether a chunk belongs to this path."""
        return key.file in self.files

    def only(self, number: int) -> OpenResult:
        """Return what is left when one image alone is kept."""
        start, stop = self.rows[number].start, self.rows[number].stop
        columns, problems, recheck, background = (
            self.columns,
            self.problems,
            self.recheck,
            self.background,
        )

        def scan(cancelled: Callable[[], bool], found: Callable[[int], Any]) -> None:
            if background is not None:
                background(
                    cancelled, lambda row: found(row - start) if start <= row < stop else None
                )

        return replace(
            self,
            sources=(self.sources[number],),
            rows=(range(stop - start),),
            columns=lambda: {
                name: values[start:stop] for name, values in columns().items() if name != IMAGE
            },
            problems=lambda: {
                row - start: why for row, why in problems().items() if start <= row < stop
            },
            recheck=lambda row: recheck(row + start),
            background=None if background is None else scan,
        )
