"""Pixels in one file, or spread over several along the slowest axis."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.binary.header_checks import data_file
from napari_lazyload.sources.binary.read_strided import check_extent, item_count
from napari_lazyload.sources.binary.strided import Frames, StridedFileSource, StridedLayout
from napari_lazyload.sources.files import FileStamp, file_name, open_error, refuse_if

if TYPE_CHECKING:
    from collections.abc import Sequence


_DAMAGED = "the header is damaged, or describes other files"
_NUMBERED = re.compile(r"(.*?)%(0?)([0-9]{0,2})[diu](.*?)((?:\s+-?[0-9]+){2,4})", re.ASCII)
_MOST_FILES = 1_000_000
LINE_END = 2
"""Bytes of the end of a line, which a text editor leaves behind the pixels."""


def numbered_names(path: str, text: str) -> list[str] | None:
    """Return the names that a pattern such as ``slice%03d.raw 1 100 1`` stands for.

    The numbers are the first, the last and the step. None for a text that is no pattern.

    Raises
    ------
    SourceOpenError
        If there are no such names, or too many.
    """
    found = _NUMBERED.fullmatch(text)
    if found is None:
        return None
    before, zero, width, after, numbers = found.groups()
    first, last, step, *_ = (*map(int, numbers.split()), 1)
    refuse_if(
        step == 0 or not 0 <= (last - first) // step < _MOST_FILES or int(width or 0) > 20,
        path,
        f"a pattern of at most {_MOST_FILES:,} data files, such as 'slice%03d.raw 1 100 1'",
        repr(text),
        "the header is damaged",
    )
    count, digits = (last - first) // step + 1, int(width or 0)
    chosen = range(first, first + count * step, step)
    return [f"{before}{str(number).rjust(digits, zero or ' ')}{after}" for number in chosen]


def stamped_files(path: str, names: Sequence[str], *, outside: bool) -> list[tuple[str, FileStamp]]:
    """Return the data files that a header names, each with its stamp.

    Raises
    ------
    SourceOpenError
        If one is missing, or lies outside the folder of the header and may not.
    """
    found = [data_file(path, name, outside=outside) for name in names]
    return [(data, FileStamp.at_open(data, header=path)) for data in found]


def check_single(path: str, files: Sequence[tuple[str, FileStamp]]) -> None:
    """Refuse compressed pixels that are spread over several files."""
    refuse_if(
        len(files) > 1,
        path,
        "one compressed data file",
        f"{len(files)}",
        "save it uncompressed, or in one file",
    )


def source_of_files(
    path: str,
    layout: StridedLayout,
    axes: tuple[str, ...],
    files: Sequence[tuple[str, FileStamp]],
    *,
    start: int,
    skip: int,
    exact: bool,
    **placed: Any,
) -> StridedFileSource:
    """Return the source of the data files of a header.

    Parameters
    ----------
    path : str
        The header.
    layout : StridedLayout
        Of the whole image; its offset does not count.
    axes : tuple of str
        Of the image.
    files : sequence of (str, FileStamp)
        The data files, in order.
    start : int
        Where the data part of each begins.
    skip : int
        Bytes of the data part before the pixels; -1 where these are the end of the file.
    exact : bool
        Whether bytes behind the pixels are refused; a line's end is allowed.
    **placed
        More fields of `ImageMeta`.

    Raises
    ------
    SourceOpenError
        If a file is too short or too long, or the image cannot be spread evenly over them.
    """
    lead, count = _spread(path, layout, len(files))
    each = item_count(layout.shape) * layout.dtype.itemsize // len(files)
    offsets = {_offset(path, *file, start, skip, each=each, exact=exact) for file in files}
    refuse_if(len(offsets) > 1, path, "data files of one size", "several", "open them one by one")
    placing = StridedLayout(layout.shape, layout.dtype, offsets.pop(), layout.strides)
    frames = Frames(lead, layout.strides[lead - 1], count) if len(files) > 1 else None
    return StridedFileSource(placing, files, file_name(path), axes, frames=frames, **placed)


def _spread(path: str, layout: StridedLayout, files: int) -> tuple[int, int]:
    """Return how many leading axes count frames, and how many frames each data file has."""
    planes = 1
    for lead, size in enumerate(layout.shape, 1):
        planes *= size
        ahead, within = list(layout.strides[:lead]), layout.strides[lead:]
        slowest_first = ahead == sorted(ahead, reverse=True) and ahead[-1] >= max(within, default=0)
        if files > 1 and not slowest_first:
            break
        if planes == files or (lead == 1 and planes % files == 0):
            return lead, planes // files
    raise open_error(
        path,
        "as many planes in each data file",
        f"{files} of them for {' x '.join(map(str, layout.shape))} pixels",
        _DAMAGED,
    )


def _offset(
    path: str, data: str, stamp: FileStamp, start: int, skip: int, *, each: int, exact: bool
) -> int:
    """Return where the pixels of one file begin, after a look at its size."""
    size = stamp.size
    offset = start + max(0, skip)
    if skip == -1:
        offset = size - each
    refuse_if(
        offset < start,
        path,
        f"{each:,} bytes as its header says",
        f"{max(0, size - start):,} bytes in {data!r}",
        "it is truncated, or described wrongly: copy it again",
    )
    ended = 0 < size - offset - each <= LINE_END and _ends_with_newline(data)
    check_extent(data, size, offset + each, exact=exact and skip != -1 and not ended)
    return offset


def _ends_with_newline(path: str) -> bool:
    """Whether a text editor, or a writer of lines, left its mark behind the pixels."""
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
