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
from napari_lazyload.sources.files import open_error, refuse_if, refuse_option_if

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


KINDS = "biufc"
"""Kinds of NumPy's types whose values are pixels."""

MOST_HEADER = 1 << 20
"""No header of text is longer than so many bytes."""


@contextmanager
def reading_header(path: str, title: str) -> Iterator[None]:
    """Raise any error of a parser as the package's own: the file is damaged.

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
    except Exception as err:
        found, hint = describe_error(err), "it is damaged or of another format: export it again"
        if isinstance(err, OSError) and err.errno is not None:
            found = f"an error of the system: {err.strerror}"
            hint = "check the path, the permissions and the disk"
        raise open_error(path, title, found, hint) from err


def describe_error(error: Exception) -> str:
    """Return the words for an error of a parser."""
    text = " ".join(str(error).split())[:200]
    return f"one whose header cannot be read ({type(error).__name__}: {text})"


def check_image(path: str, shape: Sequence[int], dtype: np.dtype[Any], *, least: int = 2) -> None:
    """Refuse what is no image: too few axes, no pixels, or values that are no numbers.

    Raises
    ------
    SourceOpenError
        With what it is.
    """
    found = f"shape {tuple(shape)} of {dtype}"
    refuse_if(
        dtype.hasobject,
        path,
        "numbers",
        found,
        "Python objects are never loaded: save the numbers alone",
    )
    refuse_if(
        dtype.kind not in KINDS,
        path,
        "numbers",
        found,
        "this type of value cannot be shown as pixels",
    )
    refuse_if(
        len(shape) < least,
        path,
        f"an image of at least {least} axes",
        found,
        "a series of numbers is no image: read it with its own library",
    )
    refuse_if(
        min(shape, default=1) < 1 or len(shape) > 32,
        path,
        "an image with at least one pixel along each of at most 32 axes",
        found,
        "it is damaged",
    )
    refuse_if(
        item_count(shape) * dtype.itemsize >= 1 << 63,
        path,
        "an image of less than 8 EiB",
        found,
        "it is damaged",
    )


def default_axes(shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Return names for the axes of an image that has none.

    Images of 8 bits whose last axis has 3 or 4 samples have colors, ``"s"``, along it; the other
    axes are those of `gray_axes`.
    """
    is_color = len(shape) >= 3 and dtype == np.uint8 and shape[-1] in (3, 4)
    if is_color and min(shape[-3:-1]) > 4:
        return (*gray_axes(shape[:-1]), RGB_AXIS)
    return gray_axes(shape)


def gray_axes(shape: Sequence[int]) -> tuple[str, ...]:
    """Return names for the axes of an image that has none, and no colors.

    They are the end of ``t c z y x``, of four ``t z y x``; those before are ``axis0``, ``axis1``.
    """
    ndim = len(shape)
    if ndim == 4:
        return ("t", "z", "y", "x")
    return (*(f"axis{number}" for number in range(ndim - 5)), *"tczyx"[max(0, 5 - ndim) :])


def named_axes(path: str, axes: Any, shape: Sequence[int]) -> tuple[str, ...] | None:
    """Return the names of axes that a user gives as an option, after a check; None for none.

    Raises
    ------
    BadOptionError
        If there is not one name for each axis, two are the same, or ``"s"`` is not the last axis,
        of 3 or 4 colors.
    """
    if axes is None:
        return None
    names = tuple(map(str, axes)) if isinstance(axes, Iterable) else ()
    problem = ""
    if len(names) != len(shape) or len(set(names)) != len(names):
        problem = f"expected {len(shape)} different names, one for each axis"
    elif RGB_AXIS in names and (names[-1] != RGB_AXIS or shape[-1] not in (3, 4)):
        problem = f"{RGB_AXIS!r} names 3 or 4 colors along the last axis"
    refuse_option_if(
        problem, f"axes={axes!r}: {path} has {len(shape)} axes of {tuple(shape)} pixels; {problem}"
    )
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
    absolute = PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).drive)
    leaves = absolute or "\0" in name or ".." in PurePosixPath(plain).parts
    refuse_if(
        not name or (leaves and not outside),
        header,
        "the name of a data file in the header's own folder",
        f"{name!r}" if name else "no name",
        "move the data beside the header, or trust the header and open it with outside=True",
    )
    folder = os.path.dirname(header)
    path = os.path.normpath(os.path.join(folder, name))
    if plain != name and not os.path.exists(path):  # as written on Windows, and read elsewhere
        path = os.path.normpath(os.path.join(folder, plain))
    return path


def header_text(block: bytes) -> str:
    """Return the text of a header: UTF-8, or Latin-1 where it is no UTF-8."""
    try:
        return block.decode("utf-8-sig")
    except UnicodeDecodeError:
        return block.decode("latin-1")
