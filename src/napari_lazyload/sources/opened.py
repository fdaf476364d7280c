"""What opening a path gives, whatever the format."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from napari_lazyload.core.source import Source

Columns: TypeAlias = "Mapping[str, Sequence[Any]]"


def _no_columns() -> Columns:
    return {}


@dataclass(slots=True)
class Opened:
    """One opened path: sources, and what the meta table is made from. No pixel was read.

    Parameters
    ----------
    path : str
        Where it came from.
    kind : str
        What it is, for people: "image folder", "picture".
    sources : tuple of Source
        One for each image.
    columns : callable
        Returns the columns of the meta table, all of one length, in slider order, image after image.
    rows : tuple of range
        Which rows of the table each image shows; two images may show the same ones.
    problems : callable
        Returns ``{row: reason}`` of the rows that are known not to load, or not to fit.
    recheck : callable
        Forgets what is known of a row that failed, before a retry.
    owns : callable
        Returns whether a chunk key belongs to this path, so that closing frees its chunks.
    skipped : dict of str to int
        How many files were left out, by reason.
    notes : list of str
        What the user should be told once.
    background : callable or None
        ``background(cancelled, found)``: finds out the rest, row by row, in a worker thread.
    """

    path: str
    kind: str
    sources: tuple[Source, ...]
    rows: tuple[range, ...]
    columns: Callable[[], Columns] = _no_columns
    problems: Callable[[], dict[int, str]] = dict
    recheck: Callable[[int], Any] = lambda _row: None
    owns: Callable[[Hashable], bool] = lambda _key: False
    skipped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    background: Callable[[Callable[[], bool], Callable[[int], Any]], None] | None = None

    @property
    def row_count(self) -> int:
        """Number of rows of the table."""
        return max((rows.stop for rows in self.rows), default=0)

    def only(self, number: int) -> Opened:
        """Return what is left when one image alone is kept."""
        start, stop = self.rows[number].start, self.rows[number].stop
        columns, problems, recheck, background = self.columns, self.problems, self.recheck, self.background

        def scan(cancelled: Callable[[], bool], found: Callable[[int], Any]) -> None:
            if background is not None:
                background(cancelled, lambda row: found(row - start) if start <= row < stop else None)

        return replace(
            self,
            sources=(self.sources[number],),
            rows=(range(stop - start),),
            columns=lambda: {name: values[start:stop] for name, values in columns().items()},
            problems=lambda: {row - start: why for row, why in problems().items() if start <= row < stop},
            recheck=lambda row: recheck(row + start),
            background=None if background is None else scan,
        )
