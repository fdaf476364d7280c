"""What opening a path gives, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from napari_lazyload.core.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from napari_lazyload.core.chunks import BlockIndex

Columns: TypeAlias = "Mapping[str, Sequence[Any]]"


IMAGE = "image"
"""The column of the meta table with the number of each row's image, where there are several."""


def _no_columns() -> Columns:
    return {}


class RowSource(Source, Protocol):
    """A source whose first axes count rows of the meta table."""

    @property
    def row_axes(self) -> dict[str, int]:
        """Name and length of each of these axes, slowest first."""

    def position(self, index: BlockIndex) -> int:
        """Return the place, among the rows of this image, that an index (of a chunk or a pixel) belongs to."""

    def frame_index(self, position: int) -> BlockIndex:
        """Return the index along the axes that count rows; the inverse of `position`."""


class OneRow:
    """A source whose image is one row of the meta table."""

    @property
    def row_axes(self) -> dict[str, int]:
        """No axis counts rows."""
        return {}

    def position(self, _index: BlockIndex) -> int:
        """Return the only row."""
        return 0

    def frame_index(self, _position: int) -> BlockIndex:
        """Return that no axis counts rows."""
        return ()


def position_of_chunk(source: RowSource, level: int, index: BlockIndex) -> int:
    """Return the place, among the rows of an image, that a chunk belongs to.

    Where it takes more than the axes that count rows, the source has a method
    ``chunk_position(level, index)``.
    """
    own: Callable[[int, BlockIndex], int] | None = getattr(source, "chunk_position", None)
    return source.position(index) if own is None else own(level, index)


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
    owns : callable
        Returns whether a chunk key belongs to this path, so that closing frees its chunks.
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
    owns: Callable[[Hashable], bool] = lambda _key: False
    skipped: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    background: Callable[[Callable[[], bool], Callable[[int], Any]], None] | None = None
    where: Callable[[], str | list[str]] = str

    @property
    def row_count(self) -> int:
        """Number of rows of the table."""
        return max((rows.stop for rows in self.rows), default=0)

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
