"""Checks that the headers of all binaries go through."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lazyload.core.errors import LazyLoadError, MissingDependencyError
from napari_lazyload.core.metadata import RGB_AXIS
from napari_lazyload.sources.binary.read_strided import item_count
from napari_lazyload.sources.files import BadOptionError, open_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


KINDS = "biufc"
"""Kinds of NumPy's types whose values are pixels."""

MOST_HEADER = 1 << 20
"""No header of text is longer than so many bytes."""


@contextmanager
def reading_header(path: str, title: str) -> Iterator[None]:
    """Turn whatever a parser trips over into the package's error: it is a damaged file.

    Parameters
    ----------
    path : str
        The file.
    title : str
        What it should be: "a NumPy array".
    """
    try:
        yield
    except LazyLoadError:
        raise
    except ImportError as err:
        name = (err.name or str(err)).split(".")[0]
        msg = f"{path}: {title} needs the package {name!r}: pip install 'napari-lazyload[formats]'"
        raise MissingDependencyError(msg) from err
    except MemoryError as err:
        raise open_error(
            path, title, "one whose header asks for more memory than there is", "it is damaged"
        ) from err
    except OSError as err:
        if err.errno is None:
            raise open_error(
                path,
                title,
                describe_error(err),
                "it is damaged or of another format: export it again",
            ) from err
        found = f"an error of the system: {err.strerror}"
        raise open_error(
            path, title, found, "check the path, the permissions and the disk"
        ) from err
    except Exception as err:
        raise open_error(
            path, title, describe_error(err), "it is damaged or of another format: export it again"
        ) from err


def describe_error(error: Exception) -> str:
    """Return what is said of a parser that failed."""
    text = " ".join(str(error).split())[:200]
    return f"one whose header cannot be read ({type(error).__name__}: {text})"


def check_image(path: str, shape: Sequence[int], dtype: np.dtype[Any], *, least: int = 2) -> None:
    """Refuse what is no image: too few axes, no pixels, values that are no numbers.

    Raises
    ------
    SourceOpenError
        With what it is.
    """
    said = f"shape {tuple(shape)} of {dtype}"
    if dtype.hasobject:
        raise open_error(
            path, "numbers", said, "Python objects are never loaded: save the numbers alone"
        )
    if dtype.kind not in KINDS:
        raise open_error(path, "numbers", said, "this type of value cannot be shown as pixels")
    if len(shape) < least:
        hint = "a series of numbers is no image: read it with its own library"
        raise open_error(path, f"an image of at least {least} axes", said, hint)
    if any(size < 1 for size in shape) or len(shape) > 32:
        raise open_error(
            path,
            "an image with at least one pixel along each of at most 32 axes",
            said,
            "it is damaged",
        )
    if item_count(shape) * dtype.itemsize >= 1 << 63:
        raise open_error(path, "an image of less than 8 EiB", said, "it is damaged")


def default_axes(shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Return names for axes that nothing names: the end of ``t c z y x``, of four ``t z y x``.

    8-bit pictures whose last axis has 3 or 4 samples are taken for colours.
    """
    ndim = len(shape)
    if ndim >= 3 and dtype == np.uint8 and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4:
        return (*default_axes(shape[:-1], np.dtype(bool)), RGB_AXIS)
    if ndim == 4:
        return ("t", "z", "y", "x")
    return (*(f"axis{number}" for number in range(max(0, ndim - 5))), *"tczyx"[max(0, 5 - ndim) :])


def named_axes(path: str, axes: Any, shape: Sequence[int]) -> tuple[str, ...] | None:
    """Return the names that a user gave as an option.

    Raises
    ------
    ValueError
        If there is not one for each axis, one comes twice, or ``"s"`` is not that of 3 or 4
        colours, the last one.
    """
    if axes is None:
        return None
    names = tuple(map(str, axes)) if isinstance(axes, Iterable) else ()
    if len(names) != len(shape) or len(set(names)) != len(names):
        msg = f"axes={axes!r}: {path} has {len(shape)} axes of {tuple(shape)} pixels: name each of them, each differently"
        raise BadOptionError(msg)
    if RGB_AXIS in names and (names[-1] != RGB_AXIS or shape[-1] not in (3, 4)):
        msg = f"axes={axes!r}: {path} has {tuple(shape)} pixels; {RGB_AXIS!r} names 3 or 4 colours along the last axis"
        raise BadOptionError(msg)
    return names


def data_file(header: str, name: str, *, outside: bool = False) -> str:
    """Return the absolute path of a data file that a header names.

    Parameters
    ----------
    header : str
        Absolute path of the header.
    name : str
        As written there; relative to the folder of the header.
    outside : bool
        Whether it may lie outside that folder: a header from elsewhere could point at any file of
        the user.

    Raises
    ------
    SourceOpenError
        If it lies outside.
    """
    name = name.strip()
    plain = name.replace("\\", "/")
    absolute = (
        PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).drive) or "\0" in name
    )
    climbs = ".." in PurePosixPath(plain).parts
    if not name or ((absolute or climbs) and not outside):
        found = f"{name!r}" if name else "no name"
        hint = "move the data beside the header, or trust the header and open it with outside=True"
        raise open_error(header, "the name of a data file in the header's own folder", found, hint)
    folder = os.path.dirname(header)
    found = os.path.normpath(os.path.join(folder, name))
    # As written on Windows, and read elsewhere.
    return (
        found
        if plain == name or os.path.exists(found)
        else os.path.normpath(os.path.join(folder, plain))
    )


def header_text(block: bytes) -> str:
    """Return the text of a header, which may name files in any script: UTF-8, or Latin-1 where it is none."""
    try:
        return block.decode("utf-8-sig")
    except UnicodeDecodeError:
        return block.decode("latin-1")
