"""Which other files a data set of HDF5 has pixels in: only those in its own folder may be read.

Links, virtual data sets and raw data can name any file of the user, also one by way of another.
Nothing is opened here before it is known to be a plain file in the right place.
"""

from __future__ import annotations

import functools
import glob
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_lazyload.sources.files import FileStamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_lazyload.core.chunks import Box

_MOST_STEPS = 32
"""So many links and data sets may lead from one to the next."""


class ElsewhereError(Exception):
    """Pixels that may not be read; the text says where they are."""


def open_file(path: str) -> Any:
    """Return an open file of h5py, even if another process has locked it for writing."""
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as err:
        if "lock" not in str(err):
            raise
        return h5py.File(path, "r", locking=False)


def beside(path: str, name: str, *, outside: bool) -> str:
    """Return the path of a file that a file of HDF5 names, looked for as HDF5 does.

    Raises
    ------
    ElsewhereError
        If it lies in another folder, and `outside` does not allow that, or is no plain file.
    """
    folder = os.path.dirname(path)
    places = [os.path.join(folder, name), os.path.abspath(name)]
    if os.path.isabs(name):  # of the machine that wrote it
        places.insert(1, os.path.join(folder, os.path.basename(name)))
    found = os.path.normpath(next(filter(os.path.lexists, places), places[0]))
    if not outside and not found.startswith(os.path.join(folder, "")):
        raise ElsewhereError(
            "in a file of another folder (if you trust it, open it with outside=True)"
        )
    if os.path.exists(found) and not os.path.isfile(found):
        raise ElsewhereError("in something that is no file")
    return found


def follow(file: Any, path: str, name: str, *, outside: bool, steps: int = 0) -> tuple[str, str]:
    """Return in which file an object really is, and its name there.

    Parameters
    ----------
    file : h5py.File
        Where to begin.
    path : str
        Its absolute path.
    name : str
        Of the object.
    outside : bool
        Whether files of other folders may be read.
    steps : int
        How many links were followed before.

    Raises
    ------
    ElsewhereError
        If a link leads where it may not.
    KeyError
        If there is no such object.
    """
    import h5py

    if steps > _MOST_STEPS:
        raise ElsewhereError("behind links without an end")
    at = ""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for number, part in enumerate(parts):
        link = file.get(f"{at}/{part}", getlink=True)
        rest = "/".join(parts[number + 1 :])
        if isinstance(link, h5py.SoftLink):
            start = "" if link.path.startswith("/") else at
            aim = f"{start}/{link.path}/{rest}"
            return follow(file, path, aim, outside=outside, steps=steps + 1)
        if isinstance(link, h5py.ExternalLink):
            target = beside(path, link.filename, outside=outside)
            with open_file(target) as other:
                aim = f"{link.path}/{rest}"
                return follow(other, target, aim, outside=outside, steps=steps + 1)
        at = f"{at}/{part}"
    return path, at


def find_inside(group: Any, name: str) -> Any:
    """Return an object of a group, None where there is none, or links lead to another file."""
    file = group.file
    path = os.path.abspath(os.fsdecode(file.filename))
    with suppress(ElsewhereError, KeyError, OSError, RuntimeError, TypeError, ValueError):
        real, inner = follow(file, path, f"{group.name}/{name}", outside=False)
        if real == path:
            return file[inner]
    return None


def other_files(path: str, dataset: Any, *, outside: bool) -> tuple[str, ...]:
    """Return the other files that a data set names.

    Raises
    ------
    ElsewhereError
        If one of them may not be read.
    """
    found = dict.fromkeys(target for target, _ in _sources(path, dataset, None, outside))
    found.pop(path, None)
    return tuple(found)


def check_sources(
    path: str, dataset: Any, box: Box | None, *, outside: bool, steps: int = 0
) -> None:
    """Look at all files that a box of a data set is read from, and at those behind them.

    None is all of a data set. For an empty box it is those files that HDF5 opens for the shape.

    Raises
    ------
    ElsewhereError
        If one of them may not be read.
    """
    if steps > _MOST_STEPS:
        raise ElsewhereError("behind virtual data sets without an end")
    for target, name in _sources(path, dataset, box, outside):
        if name and os.path.exists(target):
            _check_source(target, FileStamp.or_none(target), name, outside, steps + 1)


@functools.lru_cache(maxsize=4096)
def _check_source(
    path: str, _stamp: FileStamp | None, name: str, outside: bool, steps: int
) -> None:
    with open_file(path) as file, suppress(KeyError):  # what is not there is a fill value
        real, inner = follow(file, path, name, outside=outside)
        if real == path:
            check_sources(path, file[inner], None, outside=outside, steps=steps)
        else:
            with open_file(real) as other:
                check_sources(real, other[inner], None, outside=outside, steps=steps)


def _sources(path: str, dataset: Any, box: Box | None, outside: bool) -> Iterator[tuple[str, str]]:
    """Yield each file that a data set names, and the data set in it; "" for raw data."""
    for raw, _, _ in dataset.external or ():
        yield beside(path, os.fsdecode(raw), outside=outside), ""
    if not dataset.is_virtual:
        return
    for source in _virtual_sources(path, FileStamp.or_none(path), dataset.name):
        if not _touches(source, box):
            continue
        name = source.file
        if name == ".":
            yield path, source.dataset
        elif "%" in name:  # HDF5 counts files by %b, and has %% for the sign
            beside(path, name, outside=outside)
            pattern = glob.escape(name).replace("%b", "*").replace("%%", "%")
            for folder in (glob.escape(os.path.dirname(path)), os.curdir):
                for found in glob.iglob(os.path.join(folder, pattern)):
                    target = beside(path, os.path.abspath(found), outside=outside)
                    yield target, source.dataset
        else:
            yield beside(path, name, outside=outside), source.dataset


class _Named(NamedTuple):
    """What a virtual data set says of one source: its bounds, None without an end, and names."""

    bounds: tuple[tuple[int, ...], tuple[int, ...]] | None
    file: str
    dataset: str


@functools.lru_cache(maxsize=64)
def _virtual_sources(path: str, _stamp: FileStamp | None, name: str) -> tuple[_Named, ...]:
    """Return the sources of a virtual data set, which may be thousands: worked out once a file."""
    found = []
    with open_file(path) as file:
        for source in file[name].virtual_sources():
            try:
                bounds = source.vspace.get_select_bounds()
            except (RuntimeError, ValueError):
                bounds = None
            found.append(_Named(bounds, str(source.file_name), str(source.dset_name)))
    return tuple(found)


def _touches(source: _Named, box: Box | None) -> bool:
    """Whether the pixels of a source may lie in a box; None is all of a data set."""
    if source.bounds is None or box is None:  # without an end, HDF5 looks how far it goes
        return True
    if not box:
        return False
    edges = zip(*source.bounds, box, strict=True)
    return all(low < stop and high >= start for low, high, (start, stop) in edges)
