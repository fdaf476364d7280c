"""Pixels in one file or spread over several along the slowest axis, behind what is to be skipped in each."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from napari_lazyload.sources.binary.read_strided import check_extent, item_count
from napari_lazyload.sources.binary.strided import Frames, StridedLayout, StridedSource
from napari_lazyload.sources.files import file_name, open_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lazyload.sources.files import FileStamp

_DAMAGED = "the header is damaged, or describes other files"
_NUMBERED = re.compile(r"(.*?)%(0?)([0-9]{0,2})[diu](.*?)((?:\s+-?[0-9]+){2,4})", re.ASCII)
_MOST_FILES = 1_000_000


def numbered_names(path: str, said: str) -> list[str] | None:
    """Return the names that ``slice%03d.raw 1 100 1`` stands for (first, last, step); None for any other name.

    Raises
    ------
    SourceOpenError
        If they are none, or too many.
    """
    found = _NUMBERED.fullmatch(said)
    if found is None:
        return None
    before, zero, width, after, numbers = found.groups()
    first, last, step, *_ = (*map(int, numbers.split()), 1)
    if step == 0 or not 0 <= (last - first) // step < _MOST_FILES or int(width or 0) > 20:
        expected = (
            f"a pattern of at most {_MOST_FILES:,} data files, such as 'slice%03d.raw 1 100 1'"
        )
        raise open_error(path, expected, repr(said), "the header is damaged")
    chosen = range(first, last + (1 if step > 0 else -1), step)
    return [f"{before}{str(one).rjust(int(width or 0), zero or ' ')}{after}" for one in chosen]


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
) -> StridedSource:
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
        Whether bytes behind the pixels are refused; a line's end is put up with.
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
    if len(offsets) > 1:
        raise open_error(path, "data files of one size", "several", "open them one by one")
    placing = StridedLayout(layout.shape, layout.dtype, offsets.pop(), layout.strides)
    frames = Frames(lead, layout.strides[lead - 1], count) if len(files) > 1 else None
    return StridedSource(placing, files, file_name(path), axes, frames=frames, **placed)


def _spread(path: str, layout: StridedLayout, files: int) -> tuple[int, int]:
    """Return how many leading axes are spread over data files, and how many frames of them each file has."""
    planes = 1
    for lead, size in enumerate(layout.shape, 1):
        planes *= size
        ahead, within = layout.strides[:lead], layout.strides[lead:]
        if files > 1 and (
            list(ahead) != sorted(ahead, reverse=True) or ahead[-1] < max(within, default=0)
        ):
            break
        if planes == files or (lead == 1 and planes % files == 0):
            return lead, planes // files
    found = f"{files} of them for {' x '.join(map(str, layout.shape))} pixels"
    raise open_error(path, "as many planes in each data file", found, _DAMAGED)


def _offset(
    path: str, data: str, stamp: FileStamp, start: int, skip: int, *, each: int, exact: bool
) -> int:
    """Return where the pixels of one file begin, after a look at its size."""
    size = stamp.size
    offset = size - each if skip == -1 else start + max(0, skip)
    if offset < start:
        hint = "it is truncated, or described wrongly: copy it again"
        found = f"{max(0, size - start):,} bytes in {data!r}"
        raise open_error(path, f"{each:,} bytes as its header says", found, hint)
    ended = 0 < size - offset - each <= 2 and _ends_with_newline(data)
    check_extent(data, size, offset + each, exact=exact and skip != -1 and not ended)
    return offset


def _ends_with_newline(path: str) -> bool:
    """Return whether a text editor, or a writer of lines, left its mark behind the pixels."""
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
